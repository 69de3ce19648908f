"""A folder full of whatever, as a ZIP file: each file is recognised by what is in it, or reported."""

import posixpath
from collections.abc import Iterator
from dataclasses import replace
from typing import IO

from atlas.sources.imports import archive, omnivore
from atlas.sources.imports.detect import detect_head
from atlas.sources.imports.formats import FORMATS
from atlas.sources.imports.record import Entry, Refused, Unreadable
from atlas.sources.imports.stream import HEAD

#: What systems put beside people's files.
_LITTER = frozenset({".ds_store", "thumbs.db", "desktop.ini", "__macosx"})


def read(file: IO[bytes]) -> Iterator[Entry]:
    """Return what the files in an archive hold, one after the other. Raises Unreadable for no archive."""
    with archive.opened(file) as packed:
        lists = omnivore.folders(packed)
        for member in packed.infolist():
            name = shown(member.filename)
            if member.is_dir() or _LITTER.intersection(part.lower() for part in name.split("/")):
                continue
            if omnivore.belongs(member.filename, lists):
                continue
            try:
                begins = archive.head(packed, member, HEAD)
                folder = posixpath.dirname(member.filename)
                if omnivore.is_metadata(member.filename) and folder in lists:
                    with archive.unpacked(packed, member) as metadata:
                        yield from _placed(omnivore.read_metadata(metadata, packed, folder), name)
                    continue
                form = FORMATS[detect_head(begins)]
                if form.is_archive:
                    yield Refused("A ZIP file in a ZIP file is not opened: import it by itself.", where=name)
                    continue
                with archive.unpacked(packed, member) as unpacked:
                    yield from _placed(form.read(unpacked, name), name)
            except Unreadable as error:
                yield Refused(str(error), where=name)


def shown(name: str) -> str:
    """Return a member's name as it may be shown: one line, no way out of anywhere."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return "".join(char if char.isprintable() else "\ufffd" for char in "/".join(parts))[-200:]


def _placed(entries: Iterator[Entry], name: str) -> Iterator[Entry]:
    for entry in entries:
        where = name if entry.where in ("", name) else f"{name}, {entry.where}"
        yield replace(entry, where=where)
