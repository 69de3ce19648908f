"""linkding's API as JSON (`/api/bookmarks/`). The HTML it exports is Netscape's format."""

from collections.abc import Iterator
from typing import IO

from atlas.sources.imports.record import Entry, Record, Refused, labels, line, moment, prose
from atlas.sources.imports.stream import elements


def read(file: IO[bytes]) -> Iterator[Entry]:
    """Return what an answer of linkding's API holds. What is not marked as unread there counts as read."""
    for number, one in elements(file, "results.item", "item"):
        if isinstance(one, Refused):
            yield one
            continue
        notes = [text for text in (prose(one.get("description")), prose(one.get("notes"))) if text]
        yield Record(
            str(one.get("url") or ""),
            line(one.get("title")) or line(one.get("website_title")),
            added_at=moment(one.get("date_added")),
            tags=labels(one.get("tag_names")),
            read=one.get("is_archived") is True or one.get("unread") is False,
            note="\n\n".join(notes) or None,
            where=f"entry {number}",
        )
