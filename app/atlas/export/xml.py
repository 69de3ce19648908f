"""Words in XML: escaped, and without the characters that no XML may hold."""

import re
from html import escape

_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)


def clean(text: str | None) -> str:
    """Return a text without the characters that no XML may hold."""
    return _FORBIDDEN.sub("", text or "")


def words(text: str | None) -> str:
    """Return a text as it stands in XML, in elements and in attributes."""
    return escape(clean(text))
