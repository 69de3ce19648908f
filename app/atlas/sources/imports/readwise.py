"""Readwise Reader's CSV: Title, URL, ID, Document tags, Saved date, Reading progress, Location, Seen."""

import re
from collections.abc import Iterator
from typing import IO

from atlas.sources.imports.record import Entry, Record, Refused, labels, line, moment
from atlas.sources.imports.table import rows

#: A text as Python writes it, in the list that the tags are.
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"")
_FINISHED = 0.99


def read(file: IO[bytes]) -> Iterator[Entry]:
    """Return what an export of Readwise Reader holds. Its own shortlist becomes stars."""
    for number, row in rows(file):
        if isinstance(row, Refused):
            yield row
            continue
        location = row.get("location", "").strip().lower()
        yield Record(
            row.get("url", ""),
            line(row.get("title")),
            added_at=moment(row.get("saved date")),
            tags=_tags(row.get("document tags", "")),
            read=location == "archive" or _progress(row.get("reading progress", "")) >= _FINISHED,
            starred=location == "shortlist",
            where=f"line {number}",
        )


def _tags(text: str) -> tuple[str, ...]:
    if not text.lstrip().startswith("["):
        return labels(text)
    found = (single or double for single, double in _QUOTED.findall(text))
    return labels([re.sub(r"\\(.)", r"\1", tag) for tag in found])


def _progress(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
