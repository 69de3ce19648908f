"""What a text is about, by counting: words and pairs of words that return, stand early, and in the title.

For languages that put spaces between words. Which of them tell texts apart is only known among other texts:
see `atlas.related`.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise

from atlas.reading.language import DULL_WORDS, SMALL_WORDS

#: Terms that are kept of a text; `atlas.related` chooses among them.
MOST_TERMS = 14
#: Characters looked at.
_SAMPLE = 24_000
_SHORTEST, _LONGEST = 3, 30
#: Two words that follow each other so often are one term.
_LEAST_PAIRS = 3

_WORD = re.compile(r"[^\W\d_]+(?:[-'\u2019][^\W\d_]+)*\d{0,4}|[.!?:;,()\n]")
_SPACELESS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0e7f]")


def terms_of(title: str, text: str, language: str | None) -> tuple[str, ...]:
    """Return what a text is about, the weightiest first, as its words stand there; nothing when unsure."""
    sample = text[:_SAMPLE]
    if len(_SPACELESS.findall(sample[:2000])) > 200:
        return ()
    small = SMALL_WORDS.get((language or "").partition("-")[0].lower()) or SMALL_WORDS["en"]
    tokens = _WORD.findall(sample)
    times = Counter(tokens)
    key_of = {token: _key(token, small) for token in times}
    shown: dict[str, str] = {}
    count: Counter[str] = Counter()
    for token, number in times.most_common():  # the commonest spelling shows
        if key := key_of[token]:
            shown.setdefault(key, token)
            count[key] += number
    keys = [key_of[token] for token in tokens]
    pairs = Counter(pair for pair in pairwise(keys) if pair[0] and pair[1])
    count.update(
        {f"{one} {other}": number for (one, other), number in pairs.items() if number >= _LEAST_PAIRS}
    )
    first = {key: place for place, key in zip(range(len(keys) - 1, -1, -1), reversed(keys), strict=True)}
    named = {key for token in _WORD.findall(title) if (key := _key(token, small))}
    scores = {
        key: _score(key, number, first[key.partition(" ")[0]] / len(tokens), named, shown)
        for key, number in count.items()
        if number > 1 or key in named
    }
    return _best(scores, count, shown)


def _score(key: str, times: int, place: float, named: set[str], shown: Mapping[str, str]) -> float:
    parts = key.split(" ")
    score = 1 + math.log(times)
    score *= 1.6 if all(part in named for part in parts) else 1.0
    score *= 1.2 if place < 0.15 else 1.0
    score *= 1.5 if len(parts) > 1 else 1.0
    names = sum(shown[part][0].isupper() for part in parts) / len(parts)
    return score * (1 + 0.3 * names)


def _best(scores: dict[str, float], count: Counter[str], shown: Mapping[str, str]) -> tuple[str, ...]:
    """Choose the weightiest; a word that (nearly) only stands in a pair chosen already says nothing more."""
    chosen: list[str] = []
    within: Counter[str] = Counter()
    for key, _ in sorted(scores.items(), key=lambda pair: (-pair[1], pair[0])):
        if " " not in key and within[key] >= count[key] * 0.6:
            continue
        chosen.append(key)
        for part in key.split(" ") if " " in key else ():
            within[part] += count[key]
        if len(chosen) == MOST_TERMS:
            break
    return tuple(" ".join(shown[part] for part in key.split(" ")) for key in chosen)


def _key(token: str, small: frozenset[str]) -> str:
    """Return what all spellings of a word share; "" for one that says nothing."""
    word = token.replace("\u2019", "'").casefold().removesuffix("'s")
    if (
        not _SHORTEST <= len(word) <= _LONGEST
        or word in small
        or word in DULL_WORDS
        or word in SMALL_WORDS["en"]
    ):
        return ""
    if word.endswith("s") and len(word) > 4 and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    return word
