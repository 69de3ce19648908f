"""In which language a text is: by its script, and by the small words that every text needs.

A page's own word is taken unless the text speaks clearly against it: templates say "en" above texts in all
languages.
"""

import re
from collections import Counter, defaultdict
from pathlib import Path

from atlas.reading.tree import words

#: Characters looked at: what a text is in shows soon.
_SAMPLE = 4_000
#: Fewer words than this prove nothing.
_FEWEST = 20
#: So many different small words of a language are no chance.
_FEWEST_DISTINCT = 4
#: Share of a text's words that are small words of its language, at least.
_LEAST_SHARE = 0.12
#: Against what a page says itself, it takes more, and so many times what its own language reaches.
_CLEAR_SHARE = 0.2
_CLEAR_RATIO = 1.6

_LETTERS = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")


def _read_words() -> dict[str, frozenset[str]]:
    text = Path(__file__).with_name("small_words.txt").read_text(encoding="utf-8")
    rows = [row for row in text.replace("\n ", " ").splitlines() if not row.startswith("#")]
    return {name: words(listed) for name, _, listed in (row.partition(":") for row in rows)}


_WORDS = _read_words()
#: Words that are frequent in all kinds of texts and never what one is about.
DULL_WORDS = _WORDS.pop("dull")
#: Small words by language: articles, prepositions, pronouns, forms of "to be" and "to have".
SMALL_WORDS = _WORDS

#: The language of what is written in a script that (nearly) no other uses.
_SCRIPTS = (
    ("el", re.compile(r"[\u0370-\u03ff\u1f00-\u1fff]")),
    ("he", re.compile(r"[\u0590-\u05ff]")),
    ("th", re.compile(r"[\u0e00-\u0e7f]")),
    ("ko", re.compile(r"[\uac00-\ud7af\u1100-\u11ff]")),
    ("hi", re.compile(r"[\u0900-\u097f]")),
    ("bn", re.compile(r"[\u0980-\u09ff]")),
    ("ta", re.compile(r"[\u0b80-\u0bff]")),
    ("ka", re.compile(r"[\u10a0-\u10ff]")),
    ("hy", re.compile(r"[\u0530-\u058f]")),
)
_BEYOND_LATIN = re.compile(r"[\u0370-\ud7ff]")
_KANA = re.compile(r"[\u3040-\u30ff]")
_HAN = re.compile(r"[\u3400-\u9fff]")
_ARABIC = re.compile(r"[\u0600-\u06ff]")
_PERSIAN = re.compile(r"[\u067e\u0686\u0698\u06af\u06cc]")
_LANGUAGES_OF: defaultdict[str, list[str]] = defaultdict(list)
for _language, _listed in SMALL_WORDS.items():
    for _word in _listed:
        _LANGUAGES_OF[_word].append(_language)


def language_of(text: str, said: str | None) -> str | None:
    """Return the language of a text as a BCP 47 tag: `said`, what the text shows, or None if nobody knows."""
    sample = text[:_SAMPLE]
    script = _by_script(sample)
    if script:
        return said if said and _primary(said) in {script, *_SAME_SCRIPT.get(script, ())} else script
    shares = _shares(sample)
    if not shares:
        return said
    best, share = max(shares.items(), key=lambda pair: pair[1])
    if said is None:
        return best if share >= _LEAST_SHARE else None
    own = shares.get(_KIN.get(_primary(said), _primary(said)), 0.0)
    clear = share >= _CLEAR_SHARE and share >= own * _CLEAR_RATIO
    return best if clear else said


#: Written as another language that is told by its words.
_KIN = {"nb": "no", "nn": "no", "gl": "pt", "hr": "sr", "bs": "sr", "ms": "id"}
_SAME_SCRIPT = {
    "ar": ("fa", "ur", "ps", "ckb"),
    "fa": ("ar", "ur", "ps", "ckb"),
    "hi": ("mr", "ne", "sa"),
    "he": ("yi", "iw"),
    "zh": ("yue", "wuu", "ja"),
}


def _primary(tag: str) -> str:
    return tag.replace("_", "-").partition("-")[0].lower()


def _by_script(sample: str) -> str | None:
    if len(_BEYOND_LATIN.findall(sample)) < len(sample) * 0.2:
        return None
    letters = sum(character.isalpha() for character in sample)
    if letters < _FEWEST:
        return None
    kana, han = len(_KANA.findall(sample)), len(_HAN.findall(sample))
    if kana + han > letters * 0.4:
        return "ja" if kana > (kana + han) * 0.1 else "zh"
    for language, script in _SCRIPTS:
        if len(script.findall(sample)) > letters * 0.5:
            return language
    if (arabic := len(_ARABIC.findall(sample))) > letters * 0.5:
        return "fa" if len(_PERSIAN.findall(sample)) > arabic * 0.02 else "ar"
    return None


def _shares(sample: str) -> dict[str, float]:
    """Return which share of a text are small words of each language; nothing for a short text."""
    found = [word.replace("\u2019", "'").casefold() for word in _LETTERS.findall(sample)]
    if len(found) < _FEWEST:
        return {}
    hits: Counter[str] = Counter()
    distinct: Counter[str] = Counter()
    for word, count in Counter(found).items():
        for language in _LANGUAGES_OF.get(word, ()):
            hits[language] += count
            distinct[language] += 1
    return {one: count / len(found) for one, count in hits.items() if distinct[one] >= _FEWEST_DISTINCT}
