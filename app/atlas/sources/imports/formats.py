"""The formats there are: what each is called, and which function reads it. Their code is loaded when used."""

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from atlas.sources.imports.record import Entry


@dataclass(frozen=True, slots=True)
class Format:
    """A format of files that can be imported."""

    #: For people.
    label: str
    #: Module and function, which takes the file and, for documents, its name.
    reader: str
    #: Files of it are ZIP files.
    is_archive: bool = False
    #: One file is one item, whose name may be all there is to call it.
    is_document: bool = False

    def read(self, file: IO[bytes], name: str = "") -> Iterator[Entry]:
        """Return what a file holds, as it is read. The iterator raises Unreadable."""
        module, _, function = self.reader.partition(":")
        read = getattr(importlib.import_module(f"atlas.sources.imports.{module}"), function)
        found: Iterator[Entry] = read(file, name) if self.is_document else read(file)
        return found


#: By the name that the API and the command line know them by.
FORMATS: dict[str, Format] = {
    "atlas": Format("Atlas (everything)", "atlas_export:read", is_archive=True),
    "opml": Format("OPML (feeds)", "opml:read"),
    "netscape": Format("Bookmarks (HTML)", "netscape:read"),
    "pocket_csv": Format("Pocket (CSV)", "pocket:read_csv"),
    "pocket_html": Format("Pocket (HTML)", "pocket:read_html"),
    "pocket_annotations": Format("Pocket (highlights)", "pocket:read_annotations"),
    "instapaper": Format("Instapaper (CSV)", "instapaper:read"),
    "omnivore": Format("Omnivore (ZIP)", "omnivore:read", is_archive=True),
    "omnivore_json": Format("Omnivore (JSON)", "omnivore:read_metadata"),
    "readwise": Format("Readwise Reader (CSV)", "readwise:read"),
    "wallabag": Format("wallabag (JSON)", "wallabag:read"),
    "linkding": Format("linkding (JSON)", "linkding:read"),
    "karakeep": Format("karakeep (JSON)", "karakeep:read"),
    "takeout": Format("YouTube history (Google Takeout, JSON)", "takeout:read_history"),
    "takeout_channels": Format("YouTube subscriptions (Google Takeout, CSV)", "takeout:read_subscriptions"),
    "table": Format("Table with a column of addresses (CSV)", "spreadsheet:read"),
    "links": Format("List of links", "links:read"),
    "page": Format("Saved web page", "page:read_html", is_document=True),
    "document": Format("Document (PDF, Markdown, text)", "page:read_document", is_document=True),
    "folder": Format("Folder of files (ZIP)", "folder:read", is_archive=True),
}
