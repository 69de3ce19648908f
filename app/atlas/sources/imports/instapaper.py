"""Instapaper's CSV: URL, Title, Selection, Folder, Timestamp, and lately Tags."""

import json
from collections.abc import Iterator
from typing import IO

from atlas.sources.imports.record import Entry, Record, Refused, labels, line, moment, prose
from atlas.sources.imports.table import rows

#: Folders that say in what state something is.
_STATES = frozenset({"unread", "archive", "starred"})


def read(file: IO[bytes]) -> Iterator[Entry]:
    """Return what an export of Instapaper holds."""
    for number, row in rows(file):
        if isinstance(row, Refused):
            yield row
            continue
        url, title, folder = row.get("url", ""), line(row.get("title")), row.get("folder", "").strip()
        yield Record(
            url,
            None if title == url else title,
            added_at=moment(row.get("timestamp")),
            tags=_tags(row.get("tags", "")),
            folder=None if folder.lower() in _STATES else line(folder),
            read=folder.lower() == "archive",
            starred=folder.lower() == "starred",
            note=prose(row.get("selection")),
            where=f"line {number}",
        )


def _tags(text: str) -> tuple[str, ...]:
    """Read tags written as a JSON list, or between commas."""
    if text.lstrip().startswith("["):
        try:
            return labels(json.loads(text))
        except (ValueError, RecursionError):
            text = text.strip("[] ").replace('"', "")
    return labels(text)
