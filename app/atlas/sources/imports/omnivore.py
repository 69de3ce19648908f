"""Omnivore's ZIP: `metadata_0_to_99.json` and so on, `content/SLUG.html`, `highlights/SLUG.md`."""

import posixpath
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import IO, Any

from atlas.sources.imports import archive
from atlas.sources.imports.record import (
    HTML,
    Entry,
    Highlight,
    Record,
    Refused,
    Unreadable,
    document,
    is_article,
    labels,
    line,
    moment,
    prose,
)
from atlas.sources.imports.stream import HEAD, elements, encoding_of

_PDF = "application/pdf"


def read(file: IO[bytes]) -> Iterator[Entry]:
    """Return what an export of Omnivore holds, each with the article Omnivore kept. Raises Unreadable."""
    with archive.opened(file) as packed:
        for member in packed.infolist():
            if is_metadata(member.filename):
                with archive.unpacked(packed, member) as metadata:
                    yield from read_metadata(metadata, packed, posixpath.dirname(member.filename))


def is_metadata(name: str) -> bool:
    """Tell whether a member's name is one of Omnivore's lists."""
    base = posixpath.basename(name)
    return base.startswith("metadata_") and base.endswith(".json")


def folders(packed: zipfile.ZipFile) -> frozenset[str]:
    """Return the folders of an archive in which Omnivore's lists stand."""
    lists = (member for member in packed.infolist() if is_metadata(member.filename))
    return frozenset(
        posixpath.dirname(member.filename)
        for member in lists
        if b'"slug"' in archive.head(packed, member, HEAD)
    )


def belongs(name: str, in_folders: frozenset[str]) -> bool:
    """Tell whether a member is one of the articles or highlights that Omnivore's lists speak of."""
    parent, part = posixpath.split(posixpath.dirname(name))
    return part in {"content", "highlights"} and parent in in_folders


def read_metadata(
    file: IO[bytes], packed: zipfile.ZipFile | None = None, folder: str = ""
) -> Iterator[Entry]:
    """Return what one list holds; without the archive around it, without articles and highlights."""
    for number, one in elements(file, "item"):
        if isinstance(one, Refused):
            yield one
        else:
            yield _record(one, packed, folder, f"entry {number}")


def _record(one: Mapping[str, Any], packed: zipfile.ZipFile | None, folder: str, where: str) -> Record:
    slug, title, byline = one.get("slug"), line(one.get("title")), line(one.get("author"))
    published = moment(one.get("publishedAt"))
    raw, kind = None, None
    highlights: tuple[Highlight, ...] = ()
    if packed is not None and isinstance(slug, str):
        raw, kind = _content(packed, posixpath.join(folder, "content", slug), title, byline)
        highlights = tuple(_highlights(_text(packed, posixpath.join(folder, "highlights", f"{slug}.md"))))
    fields = {"byline": byline, "published_at": published, "image": line(one.get("thumbnail"), 2000)}
    return Record(
        str(one.get("url") or ""),
        title,
        added_at=moment(one.get("savedAt")),
        tags=labels(one.get("labels")),
        read=str(one.get("state")).lower() == "archived" or one.get("readingProgress") == 100,
        highlights=highlights,
        content=raw,
        content_type=kind,
        fields={name: value for name, value in fields.items() if value},
        where=where,
    )


def _content(
    packed: zipfile.ZipFile, path: str, title: str | None, byline: str | None
) -> tuple[bytes | None, str | None]:
    markup = _text(packed, f"{path}.html")
    if is_article(markup):
        return document(markup, title=title, author=byline), HTML
    with suppress(Unreadable):
        return archive.whole(packed, f"{path}.pdf"), _PDF
    return None, None


def _text(packed: zipfile.ZipFile, name: str) -> str:
    with suppress(Unreadable):
        raw = archive.whole(packed, name)
        return raw.decode(encoding_of(raw[:4096]), "replace")
    return ""


def _highlights(text: str) -> Iterator[Highlight]:
    """Read quotes (lines that begin with >) and the notes between them."""
    quote: list[str] = []
    note: list[str] = []
    for row in [*text.splitlines(), ">"]:
        if not row.startswith(">"):
            note.append(row)
            continue
        if quote and (note or row == ">"):
            if found := prose("\n".join(quote)):
                yield Highlight(found, prose("\n".join(note)))
            quote = []
        note = []
        quote.append(row[1:].strip())
