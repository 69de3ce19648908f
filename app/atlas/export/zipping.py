"""A ZIP file that is sent while it is written: nothing of it is kept."""

import io
import zipfile
from collections.abc import Iterator
from typing import Any


class Sink(io.RawIOBase):
    """Where a ZIP file is written to; `drain` hands over what has come so far."""

    def __init__(self) -> None:
        super().__init__()
        self._chunks: list[bytes] = []

    def writable(self) -> bool:  # noqa: D102
        return True

    def write(self, data: Any, /) -> int:  # noqa: ANN401, D102 - any buffer
        chunk = bytes(data)
        self._chunks.append(chunk)
        return len(chunk)

    def drain(self) -> Iterator[bytes]:
        """Return what was written since the last call, if anything."""
        chunks, self._chunks = self._chunks, []
        if chunks:
            yield b"".join(chunks)


def written(sink: Sink) -> zipfile.ZipFile:
    """Return a ZIP file that is written to `sink`; its members need no room in memory."""
    return zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, compresslevel=6)
