"""karakeep's (once Hoarder's) JSON: bookmarks that are links or texts, and the lists they are on."""

from collections.abc import Iterator, Mapping
from typing import IO, Any

from atlas.sources.imports.record import MARKDOWN, Entry, Record, Refused, labels, line, moment, prose
from atlas.sources.imports.stream import elements


def read(file: IO[bytes]) -> Iterator[Entry]:
    """Return what an export of karakeep holds. Lists become tags, texts notes."""
    lists = {
        one["id"]: name
        for _, one in elements(file, "lists.item")
        if isinstance(one, dict) and isinstance(one.get("id"), str) and (name := line(one.get("name")))
    }
    for number, one in elements(file, "bookmarks.item"):
        yield one if isinstance(one, Refused) else _entry(one, lists, f"entry {number}")


def _entry(one: Mapping[str, Any], lists: Mapping[str, str], where: str) -> Entry:
    content = one.get("content")
    content = content if isinstance(content, dict) else {}
    text = prose(content.get("text")) if content.get("type") == "text" else None
    url = str(content.get("url") or "")
    if not text and not url:
        return Refused("Its file is not part of the export; only links and texts are.", where=where)
    on = one.get("lists")
    names = (
        [lists[key] for key in on if isinstance(key, str) and key in lists] if isinstance(on, list) else []
    )
    return Record(
        "" if text else url,
        line(one.get("title")),
        kind="note" if text else "article",
        added_at=moment(one.get("createdAt")),
        tags=(*labels(one.get("tags")), *names),
        read=one.get("archived") is True,
        starred=one.get("favourited") is True,
        note=prose(one.get("note")),
        content=text.encode("utf-8", "replace") if text else None,
        content_type=MARKDOWN if text else None,
        where=where,
    )
