"""Three readers for what a feed can be: a fast one for XML, a tolerant one for broken XML, and one for JSON.

They take a tidy document and give back text as it stands there. They never raise: None means "not with me".
"""

import html
import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import fastfeedparser  # type: ignore[import-untyped]
import feedparser  # type: ignore[import-untyped]

from atlas.media import Media
from atlas.sources.extras import enclosure, paragraphs, read_extras, seconds

#: The tolerant reader is slow; a broken feed longer than this is not worth its time.
MAX_TOLERANT_CHARS = 2_000_000

_ROOT_BASE = re.compile(r"""<[^<>]{0,2000}?\sxml:base\s*=\s*["']([^"'<>]{1,2000})["']""")
_PLAIN_TYPES = frozenset({"text", "text/plain"})


@dataclass(slots=True)
class FoundEntry:
    """An entry as it stands in the feed; "" for what is not there."""

    guid: str = ""
    link: str = ""
    title: str = ""
    author: str = ""
    published_at: datetime | None = None
    html: str = ""
    media: Media = field(default_factory=Media)


@dataclass(slots=True)
class Found:
    """A feed as it stands there. `base` is what it says its links are relative to."""

    title: str = ""
    link: str = ""
    base: str = ""
    #: Without a base, links are meant relative to the site (RSS) rather than to the feed itself (Atom).
    links_follow_site: bool = False
    image: str = ""
    entries: list[FoundEntry] = field(default_factory=list)


def read_fast(text: str) -> Found | None:
    """Read XML with fastfeedparser: a hundred times as fast, and enough for nearly every feed."""
    try:
        found = fastfeedparser.parse(b'<?xml version="1.0" encoding="utf-8"?>' + text.encode())
    except Exception:  # noqa: BLE001 (a parser on hostile input; the tolerant one says more)
        return None
    entries = [
        FoundEntry(
            guid=_text(entry.get("id")),
            link=_text(entry.get("link")) or _first_link(entry.get("links")),
            title=_text(entry.get("title")),
            author=_text(entry.get("author")),
            published_at=_from_iso(entry.get("published") or entry.get("updated")),
            html=_body(entry.get("content")) or _text(entry.get("description")),
        )
        for entry in found.get("entries", ())
    ]
    feed = found.get("feed", {})
    return _found(text, _text(feed.get("title")), _text(feed.get("link")), entries)


def read_tolerant(text: str) -> Found | None:
    """Read XML with feedparser, which makes something of nearly anything."""
    if len(text) > MAX_TOLERANT_CHARS:
        return None
    headers = {"content-type": "application/xml; charset=utf-8"}
    try:
        found = feedparser.parse(
            io.BytesIO(text.encode()),
            response_headers=headers,
            sanitize_html=False,
            resolve_relative_uris=False,
        )
    except Exception:  # noqa: BLE001 (as above)
        return None
    if not found.get("version"):
        return None
    entries = [
        FoundEntry(
            guid=_text(entry.get("id")),
            link=_text(entry.get("link")),
            title=_text(entry.get("title")),
            author=_text(entry.get("author")),
            published_at=_from_tuple(entry.get("published_parsed") or entry.get("updated_parsed")),
            html=_body(entry.get("content")) or _text(entry.get("summary")),
        )
        for entry in found.entries
    ]
    return _found(text, _text(found.feed.get("title")), _text(found.feed.get("link")), entries)


def read_json(text: str) -> Found | None:
    """Read a JSON Feed; entries that make no sense are left out."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not isinstance(found.get("items"), list):
        return None
    entries = [
        FoundEntry(
            guid=_text(item.get("id")),
            link=_text(item.get("url")) or _text(item.get("external_url")),
            title=_text(item.get("title")),
            author=_json_author(item) or _json_author(found),
            published_at=_from_iso(item.get("date_published") or item.get("date_modified")),
            html=_text(item.get("content_html"))
            or paragraphs(_text(item.get("content_text") or item.get("summary"))),
            media=_attachments(item),
        )
        for item in found["items"]
        if isinstance(item, dict)
    ]
    title, link = _text(found.get("title")), _text(found.get("home_page_url"))
    return Found(title, link, image=_text(found.get("icon")), entries=entries)


def _found(text: str, title: str, link: str, entries: list[FoundEntry]) -> Found:
    base = _ROOT_BASE.match(text)
    is_atom = re.match(r"<(?:\w+:)?feed\b", text) is not None
    extras = read_extras(text)
    if len(extras.entries) == len(entries):  # else they cannot be told apart
        for entry, extra in zip(entries, extras.entries, strict=True):
            entry.media = extra.media
            entry.html = entry.html.strip() or extra.notes
    return Found(title, link, html.unescape(base[1]) if base else "", not is_atom, extras.image, entries)


def _text(value: object) -> str:
    """Give what stands there as text; numbers are ids in careless JSON feeds."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) else ""


def _items(value: object) -> Iterable[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _first_link(links: object) -> str:
    """Find the link that says nothing of what it is, which in Atom means the entry itself."""
    return next(
        (_text(link.get("href")) for link in _items(links) if link.get("rel") in (None, "", "alternate")), ""
    )


def _body(contents: object) -> str:
    """Take the longest of an entry's bodies, as HTML."""
    bodies = [
        paragraphs(_text(content.get("value")))
        if content.get("type") in _PLAIN_TYPES
        else _text(content.get("value"))
        for content in _items(contents)
    ]
    return max(bodies, key=len, default="")


def _attachments(item: Mapping[str, Any]) -> Media:
    """Take the first sound or film of a JSON entry, and its picture."""
    media = Media()
    for file in _items(item.get("attachments")):
        url = _text(file.get("url")).strip()
        found = enclosure(url, _text(file.get("mime_type")), file.get("size_in_bytes"))
        if "audio" in found or "video" in found:
            media = found
            if length := seconds(str(file.get("duration_in_seconds") or "")):
                media["duration"] = length
            break
    if image := _text(item.get("image")).strip():
        media["image"] = image
    return media


def _json_author(holder: Mapping[str, Any]) -> str:
    authors = [*_items(holder.get("authors")), *_items([holder.get("author")])]
    return ", ".join(name for author in authors if (name := _text(author.get("name")).strip()))


def _from_iso(value: object) -> datetime | None:
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _from_tuple(value: Any) -> datetime | None:  # noqa: ANN401 (time.struct_time, as feedparser makes it)
    if not value:
        return None
    try:
        year, month, day, hour, minute, second = value[:6]
        return datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
    except (ValueError, TypeError, OverflowError):
        return None
