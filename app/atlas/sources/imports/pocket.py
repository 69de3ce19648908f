"""Pocket: its CSV (`part_000000.csv`), the older `ril_export.html`, and the highlights beside the CSV."""

from collections.abc import Iterator
from typing import IO

from atlas.sources.imports.markup import LinkParser, entries
from atlas.sources.imports.record import Entry, Highlight, Record, Refused, labels, line, moment, prose
from atlas.sources.imports.stream import elements
from atlas.sources.imports.table import rows


def read_csv(file: IO[bytes]) -> Iterator[Entry]:
    """Return what a CSV of Pocket holds."""
    for number, row in rows(file):
        if isinstance(row, Refused):
            yield row
            continue
        url, title = row.get("url", ""), line(row.get("title"))
        yield Record(
            url,
            None if title == url else title,
            added_at=moment(row.get("time_added")),
            tags=labels(row.get("tags"), "|"),
            read=row.get("status", "").strip().lower() in {"archive", "archived", "read"},
            where=f"line {number}",
        )


def read_html(file: IO[bytes]) -> Iterator[Entry]:
    """Return what `ril_export.html` holds."""
    return entries(file, _Lists())


def read_annotations(file: IO[bytes]) -> Iterator[Entry]:
    """Return the highlights that came beside the CSV, each with its page."""
    for number, one in elements(file, "item"):
        if isinstance(one, Refused):
            yield one
            continue
        found = one.get("highlights")
        marked = [mark for mark in found if isinstance(mark, dict)] if isinstance(found, list) else []
        yield Record(
            str(one.get("url") or ""),
            line(one.get("title")),
            highlights=tuple(
                Highlight(quote, created_at=moment(mark.get("created_at")))
                for mark in marked
                if (quote := prose(mark.get("quote")))
            ),
            where=f"entry {number}",
        )


class _Lists(LinkParser):
    """Two lists of links: "Unread" and "Read Archive"."""

    def __init__(self) -> None:
        super().__init__()
        self._is_archive = False
        self._link: dict[str, str] | None = None

    def begin(self, tag: str, attributes: dict[str, str]) -> None:
        self.words()
        if tag == "a":
            self._link = attributes

    def end(self, tag: str) -> None:
        text = line(self.words())
        if tag == "h1":
            self._is_archive = "archive" in (text or "").lower()
        link = self._link
        if tag != "a" or link is None:
            return
        self._link = None
        url = link.get("href", "").strip()
        self.found.append(
            Record(
                url,
                None if text == url else text,
                added_at=moment(link.get("time_added")),
                tags=labels(link.get("tags", "")),
                read=self._is_archive,
                where=self.where(),
            )
        )
