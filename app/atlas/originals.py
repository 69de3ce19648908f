"""The bytes as they were fetched, kept by their SHA-256 so that everything can be read again later.

`<data_dir>/originals/ab/cd/<sha256>.zst`: a file is whole or not there, also after a power cut.
"""

import hashlib
import math
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import zstandard

_CHUNK = 1 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")


class OriginalMissing(Exception):  # noqa: N818
    """No original of that hash is kept."""


class OriginalCorrupt(Exception):  # noqa: N818
    """The file is there, but not the bytes that were kept."""


def put(data_dir: Path, raw: bytes) -> str:
    """Keep `raw` and return its SHA-256 in hex. Bytes that are here already are not written again."""
    sha256 = hashlib.sha256(raw).hexdigest()
    path = _path(data_dir, sha256)
    if not _is_there(path):
        _make_directory(path.parent)
        _write(path, zstandard.ZstdCompressor(level=3, write_checksum=True).compress(raw))
    return sha256


def get(data_dir: Path, sha256: str) -> bytes:
    """Return the original of that hash. Raises OriginalMissing or OriginalCorrupt."""
    path = _path(data_dir, sha256)
    try:
        with path.open("rb") as packed:
            raw = b"".join(zstandard.ZstdDecompressor().read_to_iter(packed))
    except FileNotFoundError:
        raise OriginalMissing(f"the original {sha256} is not in {path.parent}") from None
    except zstandard.ZstdError as error:
        raise OriginalCorrupt(f"the original {path} cannot be unpacked: {error}") from None
    if hashlib.sha256(raw).hexdigest() != sha256:
        raise OriginalCorrupt(f"the original {path} holds other bytes than its name says")
    return raw


def put_file(data_dir: Path, file: IO[bytes]) -> str:
    """Keep what a file holds, of any size, and return its SHA-256 in hex."""
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    path = _path(data_dir, digest.hexdigest())
    if not _is_there(path):
        _make_directory(path.parent)
        file.seek(0)
        compressor = zstandard.ZstdCompressor(level=3, write_checksum=True)
        with _written(path) as new:
            compressor.copy_stream(file, new)
    return digest.hexdigest()


@contextmanager
def unpacked(data_dir: Path, sha256: str) -> Iterator[IO[bytes]]:
    """Open an original of any size as a file without a name. Raises OriginalMissing or OriginalCorrupt."""
    path = _path(data_dir, sha256)
    digest = hashlib.sha256()
    with tempfile.TemporaryFile(dir=data_dir) as file:
        try:
            with path.open("rb") as packed:
                for chunk in zstandard.ZstdDecompressor().read_to_iter(packed):
                    digest.update(chunk)
                    file.write(chunk)
        except FileNotFoundError:
            raise OriginalMissing(f"the original {sha256} is not in {path.parent}") from None
        except zstandard.ZstdError as error:
            raise OriginalCorrupt(f"the original {path} cannot be unpacked: {error}") from None
        if digest.hexdigest() != sha256:
            raise OriginalCorrupt(f"the original {path} holds other bytes than its name says")
        file.seek(0)
        yield cast("IO[bytes]", file)


def kept(data_dir: Path) -> Iterator[str]:
    """Yield the SHA-256 of every original that is kept."""
    for path in (data_dir / "originals").glob("??/??/*.zst"):
        if _SHA256.fullmatch(path.stem) and path == _path(data_dir, path.stem):
            yield path.stem


def is_kept(data_dir: Path, sha256: str) -> bool:
    """Tell whether there is a file of that original."""
    return bool(_SHA256.fullmatch(sha256)) and _path(data_dir, sha256).exists()


def check(data_dir: Path, sha256: str) -> None:
    """Read an original of any size. Raises OriginalMissing or OriginalCorrupt."""
    path = _path(data_dir, sha256)
    digest = hashlib.sha256()
    try:
        with path.open("rb") as packed:
            for chunk in zstandard.ZstdDecompressor().read_to_iter(packed):
                digest.update(chunk)
    except FileNotFoundError:
        raise OriginalMissing(f"the original {sha256} is not in {path.parent}") from None
    except zstandard.ZstdError as error:
        raise OriginalCorrupt(f"the original {path} cannot be unpacked: {error}") from None
    if digest.hexdigest() != sha256:
        raise OriginalCorrupt(f"the original {path} holds other bytes than its name says")


def strays(data_dir: Path) -> Iterator[Path]:
    """Yield the files among the originals that are none: what a power cut left half written."""
    for path in (data_dir / "originals").rglob("*"):
        if path.is_file() and not (_SHA256.fullmatch(path.stem) and path == _path(data_dir, path.stem)):
            yield path


def written_at(data_dir: Path, sha256: str) -> float:
    """Return when an original was written, as a file's time; infinity when it is not kept."""
    try:
        return _path(data_dir, sha256).stat().st_mtime
    except FileNotFoundError:
        return math.inf


def remove(data_dir: Path, sha256: str) -> None:
    """Remove an original for good; one that is not kept does not matter."""
    _path(data_dir, sha256).unlink(missing_ok=True)


def _path(data_dir: Path, sha256: str) -> Path:
    if not _SHA256.fullmatch(sha256):
        raise OriginalMissing(f"{sha256!r} is no SHA-256")
    return data_dir / "originals" / sha256[:2] / sha256[2:4] / f"{sha256}.zst"


def _is_there(path: Path) -> bool:
    """Tell whether an original is kept, and if so make it young again: `atlas clean` leaves it alone."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def _make_directory(directory: Path) -> None:
    if not directory.exists():
        _make_directory(directory.parent)
        directory.mkdir(mode=0o750, exist_ok=True)
        _sync_directory(directory.parent)


def _write(path: Path, data: bytes) -> None:
    with _written(path) as file:
        file.write(data)


@contextmanager
def _written(path: Path) -> Iterator[IO[bytes]]:
    """Write beside the final name, to the disk, then rename: the rename is what makes it count."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
