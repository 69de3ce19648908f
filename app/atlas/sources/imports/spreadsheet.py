"""Any other table with a column of addresses: Raindrop, Matter, a spreadsheet of one's own."""

from collections.abc import Iterator
from typing import IO

from atlas.sources.imports.record import Entry, Record, Refused, labels, line, moment, prose
from atlas.sources.imports.table import Row, rows

#: What columns are called.
URL = ("url", "link", "href", "address", "source url", "source_url", "uri")
_TITLE = ("title", "name")
_TAGS = ("tags", "labels", "document tags")
_FOLDER = ("folder", "collection")
_ADDED = (
    "created",
    "time_added",
    "date added",
    "added",
    "date",
    "timestamp",
    "saved",
    "last interaction date",
)
_NOTE = ("note", "notes", "description", "excerpt", "comment")
_STARRED = ("favorite", "favourite", "starred")
_STATE = ("status", "read", "archived", "in queue")
_YES = frozenset({"1", "true", "yes", "y", "x"})


def read(file: IO[bytes]) -> Iterator[Entry]:
    """Return what a table holds, by the names that columns usually have."""
    for number, row in rows(file):
        if isinstance(row, Refused):
            yield row
            continue
        tags = _cell(row, _TAGS)
        yield Record(
            _cell(row, URL),
            line(_cell(row, _TITLE)),
            added_at=moment(_cell(row, _ADDED)),
            tags=labels(tags, "|" if "|" in tags else ";" if ";" in tags and "," not in tags else ","),
            folder=line(_cell(row, _FOLDER)),
            read=_cell(row, _STATE).lower() in _YES | {"archive", "archived", "read"},
            starred=_cell(row, _STARRED).lower() in _YES,
            note=prose(_cell(row, _NOTE)),
            where=f"line {number}",
        )


def _cell(row: Row, names: tuple[str, ...]) -> str:
    return next((row[name].strip() for name in names if row.get(name, "").strip()), "")
