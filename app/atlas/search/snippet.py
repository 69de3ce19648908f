"""The piece of a text that shows best why it was found, as HTML with the words marked."""

import re
import unicodedata
from html import escape
from itertools import islice

from atlas.search.query import Term

#: About how many characters a snippet has.
LENGTH = 240

#: How many places are considered, the first in the text.
PLACES = 50

#: Endings the engines' stemmers take off, longest first. What begins like a searched word without its ending
#: and ends in one of these is marked.
_ENDINGS = (
    "ations", "ation", "ingly", "edly", "ings", "ness", "ment", "ies", "ing", "ion", "ed", "es", "ly",
    "s", "y", "e",
)  # fmt: skip
_SHORTEST_STEM = 3

Span = tuple[int, int]


def snippet(text: str, terms: tuple[Term, ...]) -> str:
    """Return about LENGTH characters of `text` as safe HTML, the words of `terms` in <mark>."""
    folded = text.translate(_FOLD).lower()  # neither moves a character
    found = [match.span() for match in islice(_pattern(terms).finditer(folded), PLACES)] if terms else []
    start, end = _window(text, folded, found)
    parts = ["…"] if start else []
    position = start
    for begin, stop in found:
        if start <= begin and stop <= end:
            parts += [_plain(text[position:begin]), "<mark>", _plain(text[begin:stop]), "</mark>"]
            position = stop
    parts += [_plain(text[position:end]), "…" if end < len(text) else ""]
    return "".join(parts).strip()


def _plain(text: str) -> str:
    return escape(re.sub(r"\s+", " ", text))


def _pattern(terms: tuple[Term, ...]) -> re.Pattern[str]:
    """Match any of the wanted words in folded text; `terms` hold at least one."""
    wanted = {
        word.translate(_FOLD).lower(): term.prefix
        for term in terms
        if not term.negative
        for word in term.words
    }
    either = "|".join(
        re.escape(word) + r"\w*" if prefix else _inflected(word) for word, prefix in wanted.items()
    )
    return re.compile(rf"\b(?:{either})\b")


def _inflected(word: str) -> str:
    """Match the word, or its stem with another ending."""
    stem = word
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_STEM:
            stem = word.removesuffix(ending)
            break
    if len(stem) > _SHORTEST_STEM and stem[-1] == stem[-2]:  # runn(ing), as in run
        stem = stem[:-1]
    if len(stem) < _SHORTEST_STEM:
        return re.escape(word)
    last = re.escape(stem[-1])
    return rf"{re.escape(stem)}{last}?(?:{'|'.join(_ENDINGS)}|i\w{{1,4}})?"


def _window(text: str, folded: str, found: list[Span]) -> Span:
    """Choose where the most different words stand close together; begin and end between words."""
    best = _densest(folded, found) if found else 0
    start = max(0, min(best - LENGTH // 4, len(text) - LENGTH))
    end = min(len(text), start + LENGTH)
    if start:
        start = text.find(" ", start, best) + 1 or best
    if end < len(text):
        end = max(text.rfind(" ", best, end), start) or end
    return start, end


def _densest(folded: str, found: list[Span]) -> int:
    best, most = found[0][0], 0
    for index, (start, _) in enumerate(found):
        near = found[index : index + 10]
        different = {folded[a:b] for a, b in near if b <= start + LENGTH * 3 // 4}
        if len(different) > most:
            best, most = start, len(different)
    return best


def _fold_table() -> dict[int, str]:
    """Map accented Latin, Greek and Cyrillic letters to the letter below the accent, one for one."""
    table = {}
    for code in (*range(0xC0, 0x530), *range(0x1E00, 0x2000)):
        base = unicodedata.normalize("NFD", chr(code))[0]
        if base != chr(code):
            table[code] = base
    return table


_FOLD = _fold_table()
