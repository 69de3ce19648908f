"""Reading a file of any size in little memory, whatever is in it: bytes with a limit, text, lines, JSON."""

import codecs
import io
from collections.abc import Iterator
from typing import IO, Any, cast

from atlas.sources.imports.record import Refused, Unreadable

#: Bytes looked at to tell what a file is and how it is encoded.
HEAD = 65_536
#: Most bytes between two records; what is larger is no record.
LARGEST_RECORD = 64_000_000
#: Longest line of a text, in characters.
LONGEST_LINE = 200_000

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Metered(io.RawIOBase):
    """A file that ends with Unreadable when too much is read of it before `mark` is called again."""

    def __init__(self, file: IO[bytes], limit: int = LARGEST_RECORD) -> None:
        super().__init__()
        self._file = file
        self._limit = limit
        self._read = 0

    def readable(self) -> bool:  # noqa: D102
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes, at most HEAD of them. Raises Unreadable."""
        found = self._file.read(min(size, HEAD) if size >= 0 else HEAD)
        self._read += len(found)
        if self._read > self._limit:
            raise Unreadable(f"Something in this file is larger than {self._limit // 1_000_000} MB.")
        return found

    def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401 - any buffer
        """Fill `buffer` as far as there is something. Raises Unreadable."""
        found = self.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)

    def mark(self) -> None:
        """Begin to count anew: a record has been read."""
        self._read = 0


def encoding_of(head: bytes) -> str:
    """Return how a text that begins so is encoded."""
    for bom, encoding in _BOMS:
        if head.startswith(bom):
            return encoding
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        from atlas.sources.charset import decode  # noqa: PLC0415 - a detector of 20 MB

        return decode(head, None)[1]
    return "utf-8"


def text_of(file: IO[bytes], limit: int = LARGEST_RECORD) -> tuple[io.TextIOWrapper, Metered]:
    """Return a file as text, from its beginning; what is no character becomes U+FFFD."""
    file.seek(0)
    encoding = encoding_of(file.read(HEAD))
    file.seek(0)
    metered = Metered(file, limit)
    return io.TextIOWrapper(io.BufferedReader(metered), encoding, errors="replace", newline=None), metered


def lines(file: IO[bytes]) -> Iterator[tuple[int, str | Refused]]:
    """Return the lines of a text, numbered from 1; Refused in place of one that is too long."""
    text, metered = text_of(file)
    number = 0
    while found := text.readline(LONGEST_LINE):
        number += 1
        if len(found) == LONGEST_LINE and not found.endswith("\n"):
            while (rest := text.readline(LONGEST_LINE)) and not rest.endswith("\n"):
                metered.mark()
            reason = f"This line is longer than {LONGEST_LINE:,} characters."
            yield number, Refused(reason, where=f"line {number}")
            continue
        if not found.isspace():
            metered.mark()
        yield number, found.rstrip("\n")


def elements(file: IO[bytes], *prefixes: str) -> Iterator[tuple[int, dict[str, Any] | Refused]]:
    """Return the objects of a JSON list, numbered from 1, without holding the list.

    The list is the first of `prefixes` (in ijson's words: "item", "bookmarks.item") that holds anything.
    Where the JSON ends to be JSON, the last to be returned is Refused.
    """
    for prefix in prefixes:
        found = False
        for one in _elements(file, prefix):
            found = True
            yield one
        if found:
            return


def _elements(file: IO[bytes], prefix: str) -> Iterator[tuple[int, dict[str, Any] | Refused]]:
    import ijson  # type: ignore[import-untyped]  # noqa: PLC0415 - only for these formats

    number = 0
    file.seek(0)
    head = file.read(HEAD)
    file.seek(0)
    if (encoding := encoding_of(head)) == "utf-8-sig":
        file.seek(3)
    metered = Metered(file)
    source: Any = metered
    if encoding not in ("utf-8", "utf-8-sig"):
        source = _Recoded(io.TextIOWrapper(io.BufferedReader(metered), encoding, errors="replace"))
    try:
        for one in ijson.items(source, prefix, use_float=True):
            number += 1
            metered.mark()
            if isinstance(one, dict):
                yield number, cast("dict[str, Any]", one)
            else:
                yield number, Refused("This entry is no object.", where=f"entry {number}")
    except (ijson.JSONError, ValueError, RecursionError):
        reason = "The file is not valid JSON from here on; what follows could not be read."
        yield number + 1, Refused(reason, where=f"after entry {number}")


class _Recoded:
    """A text as bytes in UTF-8, which is all that JSON parsers read."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text

    def read(self, size: int = -1) -> bytes:
        return self._text.read(size).encode("utf-8", "replace")
