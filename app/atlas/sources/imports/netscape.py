"""Bookmarks as all browsers write them (Netscape's format), and linkding, Pinboard, Raindrop, Shaarli too.

Nothing closes what it opens in these files, so only a few tags are believed, in the order they come.
"""

import re
from collections.abc import Iterator
from typing import IO

from atlas.sources.imports.markup import LinkParser, entries
from atlas.sources.imports.record import Entry, Record, labels, line, moment, prose

#: Folders that browsers make themselves say nothing about what is in them.
_OWN = frozenset(
    {
        "bookmarks", "bookmarks bar", "bookmarks toolbar", "bookmarks menu", "other bookmarks",
        "mobile bookmarks", "favorites", "favorites bar", "favourites", "imported", "unsorted", "menu",
        "toolbar", "lesezeichen", "lesezeichenleiste", "lesezeichen-symbolleiste", "weitere lesezeichen",
    }
)  # fmt: skip
_NOTES = re.compile(r"\[linkding-notes\](.*?)\[/linkding-notes\]", re.DOTALL)
_ARCHIVED = "linkding:bookmarks.archived"
_DEEPEST = 50


def read(file: IO[bytes]) -> Iterator[Entry]:
    """Return the bookmarks of a file. Folders become tags."""
    return entries(file, _Bookmarks())


class _Bookmarks(LinkParser):
    def __init__(self) -> None:
        super().__init__()
        self._folders: list[str | None] = []
        self._named: str | None = None  # the folder whose list is about to begin
        self._link: dict[str, str] | None = None
        self._title: str | None = None
        self._link_where = ""
        self._in: str = ""  # the element whose text is being read: a, h3, dd

    def begin(self, tag: str, attributes: dict[str, str]) -> None:
        if tag not in {"a", "h3", "dd", "dt", "dl"}:
            return
        self._close_text()
        if tag != "dd":
            self._emit()
        if tag == "a":
            self._link, self._link_where = attributes, self.where()
        elif tag == "h3":
            own = {"personal_toolbar_folder", "unfiled_bookmarks_folder"} & attributes.keys()
            self._named = "" if own else None
        elif tag == "dl" and len(self._folders) < _DEEPEST:
            self._folders.append(self._named or None)
            self._named = None
        self._in = tag if tag in {"a", "h3", "dd"} else ""
        self.words()

    def end(self, tag: str) -> None:
        if tag in {"a", "h3"} and self._in == tag:
            self._close_text()
        elif tag == "dl":
            self._close_text()
            self._emit()
            if self._folders:
                self._folders.pop()

    def finish(self) -> None:
        self._close_text()
        self._emit()

    def _close_text(self) -> None:
        text = self.words()
        if self._in == "h3" and self._named is None:
            name = line(text) or ""
            self._named = "" if name.lower() in _OWN else name
        elif self._in == "a":
            self._title = line(text)
        elif self._in == "dd" and self._link is not None:
            self._link["dd"] = text
        self._in = ""

    def _emit(self) -> None:
        link, title = self._link, self._title
        self._link = self._title = None
        if link is None or "href" not in link:
            return
        folders = [folder for folder in self._folders if folder]
        if feed := link.get("feedurl"):
            folder = folders[-1] if folders else None
            self.found.append(Record(feed, title, kind="feed", folder=folder, where=self._link_where))
            return
        tags = (*labels(link.get("tags", "")), *folders)
        self.found.append(
            Record(
                link["href"].strip(),
                None if title == link["href"] else title,
                added_at=moment(link.get("add_date")),
                tags=tuple(tag for tag in tags if tag != _ARCHIVED),
                read=link.get("toread") == "0" or _ARCHIVED in tags,
                starred=link.get("starred") == "1",
                note=_note(link.get("dd", "")),
                where=self._link_where,
            )
        )


def _note(text: str) -> str | None:
    notes = " ".join(_NOTES.findall(text))
    return prose("\n\n".join(part.strip() for part in (_NOTES.sub("", text), notes) if part.strip()))
