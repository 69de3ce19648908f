"""The piece of a text that shows best why it was found, as HTML with the words marked."""

import re
import unicodedata
from html import escape

from atlas.search.query import Term

#: About how many characters a snippet has.
LENGTH = 240

#: Endings the engines' stemmers take off, longest first: marked is what begins like a searched word without
#: its ending.
_ENDINGS = (
    "ations",
    "ation",
    "ingly",
    "edly",
    "ings",
    "ness",
    "ment",
    "ies",
    "ing",
    "ion",
    "ed",
    "es",
    "ly",
    "s",
    "y",
    "e",
)
_SHORTEST_STEM = 3


def snippet(text: str, terms: tuple[Term, ...]) -> str:
    """Return about LENGTH characters of `text` as safe HTML, the words of `terms` in <mark>."""
    text = " ".join(text.split())
    pattern = _pattern(terms)
    found = (
        [(match.start(), match.end()) for match in pattern.finditer(text.translate(_FOLD))] if pattern else []
    )
    start, end = _window(text, found)
    parts = ["…" if start else ""]
    position = start
    for begin, stop in found:
        if begin >= start and stop <= end:
            parts += [escape(text[position:begin]), "<mark>", escape(text[begin:stop]), "</mark>"]
            position = stop
    parts += [escape(text[position:end]), "…" if end < len(text) else ""]
    return "".join(parts)


def _pattern(terms: tuple[Term, ...]) -> re.Pattern[str] | None:
    wanted = {
        word.translate(_FOLD): term.prefix for term in terms if not term.negative for word in term.words
    }
    if not wanted:
        return None
    alternatives = [
        re.escape(word) + r"\w*" if prefix else _inflected(word) for word, prefix in wanted.items()
    ]
    return re.compile(rf"\b(?:{'|'.join(alternatives)})\b", re.IGNORECASE)


def _inflected(word: str) -> str:
    """Match the word, or its stem with another of the endings."""
    lower = word.lower()
    for ending in _ENDINGS:
        if lower.endswith(ending) and len(word) - len(ending) >= _SHORTEST_STEM:
            word = word[: -len(ending)]
            break
    double = word[-1] if word[-1:].isalpha() else ""
    if len(word) > _SHORTEST_STEM and word[-1:] == word[-2:-1]:  # runn(ing) is run
        word = word[:-1]
    if len(word) < _SHORTEST_STEM:
        return re.escape(word)
    return rf"{re.escape(word)}{re.escape(double)}?(?:{'|'.join(_ENDINGS)}|i\w{{1,4}})?"


def _window(text: str, found: list[tuple[int, int]]) -> tuple[int, int]:
    """Choose where the most different words stand close together; begin and end between words."""
    best = _densest(text, found) if found else 0
    start = max(0, min(best - LENGTH // 4, len(text) - LENGTH))
    end = min(len(text), start + LENGTH)
    if start:
        start = text.find(" ", start, best) + 1 or best
    if end < len(text):
        end = max(text.rfind(" ", start, end), start) or end
    return start, end


def _densest(text: str, found: list[tuple[int, int]]) -> int:
    best, most = found[0][0], 0
    for index, (start, _) in enumerate(found[:100]):
        near = {text[a:b].lower() for a, b in found[index : index + 10] if b <= start + LENGTH * 3 // 4}
        if len(near) > most:
            best, most = start, len(near)
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
