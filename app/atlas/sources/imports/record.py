"""What a reader of some format finds in a file: records, feeds, and what had to be refused."""

import datetime as dt
import html
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

#: Longest note, and longest passage of a highlight, in characters; what is longer is cut.
LONGEST_TEXT = 100_000
#: Longest title and the like.
LONGEST_LINE = 500

HTML = "text/html; charset=utf-8"
TEXT = "text/plain; charset=utf-8"
MARKDOWN = "text/markdown; charset=utf-8"

_TAG = re.compile(r"<[^<>]*>")


class Unreadable(Exception):  # noqa: N818 - it is the file that is wrong
    """The file cannot be imported; the message says why and what to do, for the person who chose it."""


@dataclass(frozen=True, slots=True)
class Highlight:
    """A passage that was marked."""

    quote: str
    note: str | None = None
    created_at: dt.datetime | None = None
    #: Further columns, when the export is our own.
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Record:
    """Something to keep. Without a `url` its `content` is all there is."""

    url: str = ""
    title: str | None = None
    #: A kind of item, or "feed" for one to be followed.
    kind: str = "article"
    added_at: dt.datetime | None = None
    tags: tuple[str, ...] = ()
    #: Where it was filed: the folder of a feed, one more tag of anything else.
    folder: str | None = None
    read: bool = False
    starred: bool = False
    note: str | None = None
    highlights: tuple[Highlight, ...] = ()
    content: bytes | None = None
    content_type: str | None = None
    #: Further columns of the item, of `items.ADDABLE`, or of the feed.
    fields: Mapping[str, Any] = field(default_factory=dict)
    #: What only our own export carries: see `atlas.sources.imports.atlas_export`.
    kept: Mapping[str, Any] | None = None
    #: Where it stands in the file, for the report: "line 12".
    where: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """Something that cannot be taken over, and why. `skipped`: nor should it be."""

    reason: str
    url: str = ""
    where: str = ""
    skipped: bool = False


Entry = Record | Refused


def line(text: object, longest: int = LONGEST_LINE) -> str | None:
    """Return a title or the like on one line; None when there is nothing in it, or it is no text."""
    found = " ".join(text[: longest * 4].split())[:longest] if isinstance(text, str) else ""
    return found or None


def prose(text: object) -> str | None:
    """Return a note as it was written; None when there is nothing in it, or it is no text."""
    found = text.strip()[:LONGEST_TEXT] if isinstance(text, str) else ""
    return found or None


def plain(markup: object) -> str | None:
    """Return the text of a piece of HTML such as a description; None when there is nothing in it."""
    return prose(html.unescape(_TAG.sub(" ", markup))) if isinstance(markup, str) else None


def labels(found: object, separator: str = ",") -> tuple[str, ...]:
    """Return tags, be they one text, texts in a list, or objects with a name in a list."""
    if isinstance(found, str):
        return tuple(part for part in (one.strip() for one in found.split(separator)) if part)
    if not isinstance(found, Iterable) or isinstance(found, Mapping):
        return ()
    names = (one.get("name") or one.get("label") if isinstance(one, Mapping) else one for one in found)
    return tuple(name for name in names if isinstance(name, str) and name.strip())


_UNITS = ((1e17, 1e9), (1e16, None), (1e14, 1e6), (1e11, 1e3))
_WINDOWS_EPOCH = 11_644_473_600  # seconds from 1601, where Chrome's own clock begins, to 1970
_EARLIEST = dt.datetime(1970, 1, 2, tzinfo=dt.UTC)
_LATEST = dt.datetime(2200, 1, 1, tzinfo=dt.UTC)
_NUMBER = re.compile(r"-?\d{1,20}(?:\.\d{1,10})?")


def moment(value: object) -> dt.datetime | None:
    """Return the moment an export means: seconds (or milli-, micro-, nanoseconds) since 1970, or ISO 8601.

    None for what is none, or cannot be true. Times without a zone are taken for UTC.
    """
    if isinstance(value, str):
        value = value.strip()
        if not _NUMBER.fullmatch(value):
            return _plausible(_iso(value))
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return _plausible(dt.datetime.fromtimestamp(_seconds(value), dt.UTC))
    except (ValueError, OverflowError, OSError):
        return None


def _seconds(value: float) -> float:
    for least, unit in _UNITS:
        if value >= least:
            return value / 1e6 - _WINDOWS_EPOCH if unit is None else value / unit
    return float(value)


def _iso(text: str) -> dt.datetime | None:
    try:
        found = dt.datetime.fromisoformat(re.sub(r" ?(UTC|GMT)$", "+00:00", text[:40]))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=dt.UTC)


def _plausible(found: dt.datetime | None) -> dt.datetime | None:
    return found if found is not None and _EARLIEST <= found <= _LATEST else None


def document(
    body: str,
    *,
    title: str | None = None,
    author: str | None = None,
    language: str | None = None,
    published: dt.datetime | None = None,
) -> bytes:
    """Return the article of an export as the page it once was, so that reading it finds what was known."""
    head = ['<meta charset="utf-8">', f"<title>{html.escape(title or '')}</title>"]
    if author:
        head.append(f'<meta name="author" content="{html.escape(author)}">')
    if published:
        head.append(f'<meta property="article:published_time" content="{published.isoformat()}">')
    lang = f' lang="{html.escape(language)}"' if language else ""
    page = f"<!doctype html>\n<html{lang}><head>{''.join(head)}</head><body><article>{body}</article></body>"
    return (page + "</html>").encode("utf-8", "replace")


#: An article shorter than so many characters says too little to be kept instead of its page.
SHORTEST_ARTICLE = 500


def is_article(markup: object) -> bool:
    """Tell whether a piece of HTML is worth keeping in place of the page it came from."""
    return isinstance(markup, str) and len(_TAG.sub("", markup)) >= SHORTEST_ARTICLE
