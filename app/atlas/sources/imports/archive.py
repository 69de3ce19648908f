"""ZIP files: their members as files, none of which is ever written to a path it names."""

import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, cast

from atlas.sources.imports.record import Unreadable

#: Most files in an archive, and most bytes they may unpack to in all.
MOST_MEMBERS = 500_000
MOST_BYTES = 20_000_000_000
#: Largest unpacked file kept in memory.
IN_MEMORY = 4_000_000
#: Largest file that is read whole: an article, a picture of one, a book.
LARGEST_WHOLE = 50_000_000

#: What reading a damaged archive may raise; NotImplementedError is zipfile's word for a compression it lacks.
BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError)
_CHUNK = 1 << 16


def opened(file: IO[bytes]) -> zipfile.ZipFile:
    """Open an archive. Raises Unreadable for what is none, or is too large."""
    file.seek(0)
    try:
        archive = zipfile.ZipFile(file)
    except BROKEN:
        raise Unreadable("This ZIP file is damaged: its list of files cannot be read.") from None
    members = archive.infolist()
    if len(members) > MOST_MEMBERS:
        raise Unreadable(f"This ZIP file holds more than {MOST_MEMBERS:,} files.")
    if sum(member.file_size for member in members) > MOST_BYTES:
        raise Unreadable(f"This ZIP file unpacks to more than {MOST_BYTES // 10**9} GB.")
    return archive


def whole(archive: zipfile.ZipFile, name: str | zipfile.ZipInfo, limit: int = LARGEST_WHOLE) -> bytes:
    """Return what a member holds. Raises Unreadable when it is damaged, locked, or larger than `limit`."""
    try:
        with archive.open(name) as member:
            raw = member.read(limit + 1)
    except KeyError:
        raise Unreadable("It is not in this ZIP file.") from None
    except BROKEN as error:
        raise Unreadable(_reason(error)) from None
    if len(raw) > limit:
        raise Unreadable(f"This file is larger than {limit // 1_000_000} MB.")
    return raw


def head(archive: zipfile.ZipFile, member: zipfile.ZipInfo, size: int) -> bytes:
    """Return how a member begins. Raises Unreadable when it is damaged or locked."""
    try:
        with archive.open(member) as file:
            return file.read(size)
    except BROKEN as error:
        raise Unreadable(_reason(error)) from None


@contextmanager
def unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[IO[bytes]]:
    """Unpack a member into a file without a name, as long as the block lasts. Raises Unreadable."""
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as file:
        try:
            with archive.open(member) as packed:
                left = member.file_size  # what it says of itself counted against the limit of all
                while chunk := packed.read(_CHUNK):
                    left -= len(chunk)
                    if left < 0:
                        raise Unreadable("This file is larger than the ZIP file says.")
                    file.write(chunk)
        except BROKEN as error:
            raise Unreadable(_reason(error)) from None
        file.seek(0)
        yield cast("IO[bytes]", file)


def _reason(error: Exception) -> str:
    locked = "password" in str(error) or "encrypted" in str(error)
    return "This file is locked by a password." if locked else "This file is damaged in the ZIP file."
