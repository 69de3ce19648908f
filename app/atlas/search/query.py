"""The search language: words (all must occur), "phrases", -words and -"phrases" (must not), begin* of a word.

Anything a person may type is a query; what is no word is ignored.
"""

import unicodedata
from dataclasses import dataclass

#: Beyond these a query is cut: no one types more, and the engines' parsers have limits of their own.
MAX_LENGTH = 500
MAX_TERMS = 32

#: What telephones make of quotation marks.
_QUOTES = str.maketrans(dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb", '"'))


@dataclass(frozen=True, slots=True)
class Term:
    """Words that must stand side by side, or must not; of a word with `prefix` only the beginning counts."""

    words: tuple[str, ...]
    negative: bool = False
    prefix: bool = False


def parse(text: str) -> tuple[Term, ...]:
    """Read what a person typed. Never raises; returns () when there is nothing to look for."""
    pieces = unicodedata.normalize("NFC", text[:MAX_LENGTH]).translate(_QUOTES).split('"')
    terms: list[Term] = []
    for position, piece in enumerate(pieces):
        if position % 2:  # between two quotation marks
            terms += _term(piece, negative=_ends_in_minus(pieces[position - 1]))
        else:
            terms += [term for word in piece.split() for term in _word(word)]
    terms = list(dict.fromkeys(terms))[:MAX_TERMS]
    return tuple(terms) if any(not term.negative for term in terms) else ()


def words(text: str) -> tuple[str, ...]:
    """Split as both engines do: at everything but letters, digits and the marks that belong to them."""
    spaced = "".join(c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in text)
    return tuple(word for word in spaced.split() if any(c.isalnum() for c in word))


def _ends_in_minus(before: str) -> bool:
    return before.endswith("-") and (len(before) == 1 or before[-2].isspace())


def _word(word: str) -> list[Term]:
    return _term(word, negative=word.startswith("-"), prefix=word.endswith("*"))


def _term(text: str, *, negative: bool, prefix: bool = False) -> list[Term]:
    found = words(text)
    return [Term(found, negative, prefix and len(found) == 1)] if found else []
