"""OPML: the feeds somebody follows, in folders.

Read by Python's tolerant HTML parser: no entity is expanded, nothing fetched, and half a file gives half of
its feeds.
"""

from collections.abc import Iterator
from typing import IO

from atlas.sources.imports.markup import LinkParser, entries
from atlas.sources.imports.record import Entry, Record, Refused, line

_DEEPEST = 50


def read(file: IO[bytes]) -> Iterator[Entry]:
    """Return the feeds of a file. A feed belongs to its nearest folder; links of other types are links."""
    return entries(file, _Outlines())


class _Outlines(LinkParser):
    def __init__(self) -> None:
        super().__init__()
        self._folders: list[str | None] = []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "outline":
            self._outline({name: value or "" for name, value in attrs})

    def begin(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "outline":
            folder = self._outline(attributes)
            if len(self._folders) < _DEEPEST:
                self._folders.append(folder)

    def end(self, tag: str) -> None:
        if tag == "outline" and self._folders:
            self._folders.pop()

    def _outline(self, given: dict[str, str]) -> str | None:
        """Take in an outline; return its name if it is a folder."""
        name = line(given.get("text")) or line(given.get("title"))
        feed = given.get("xmlurl", "").strip()
        link = (given.get("url") or given.get("htmlurl") or "").strip()
        if not feed and not link:
            if given.get("type", "").lower() in {"rss", "atom"}:
                self.found.append(Refused("This feed has no address (xmlUrl).", name or "", self.where()))
            return name
        folder = next((folder for folder in reversed(self._folders) if folder), None)
        folder = folder or line(given.get("category", "").strip("/"))
        kind = "feed" if feed else "article"
        fields = {"site_url": given["htmlurl"].strip()} if feed and given.get("htmlurl") else {}
        title = None if name in (feed, link) else name
        self.found.append(
            Record(feed or link, title, kind=kind, folder=folder, fields=fields, where=self.where())
        )
        return None
