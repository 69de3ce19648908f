"""How a ReaderPool and its children speak: a header in JSON and a body, after the lengths of both."""

import json
import socket
import struct
import time
from typing import Any

_LENGTHS = struct.Struct(">II")


def send(connection: socket.socket, header: dict[str, Any], body: bytes = b"") -> None:
    """Send a message. Raises OSError when nobody is there to take it."""
    head = json.dumps(header, ensure_ascii=False).encode("utf-8", "replace")
    connection.sendall(_LENGTHS.pack(len(head), len(body)) + head)
    connection.sendall(body)


def receive(connection: socket.socket, seconds: float | None = None) -> tuple[dict[str, Any], bytes]:
    """Wait for a message, for at most so many seconds in all.

    Raises TimeoutError, EOFError when the other side is gone, OSError or ValueError when it speaks nonsense.
    """
    ends = None if seconds is None else time.monotonic() + seconds
    head_length, body_length = _LENGTHS.unpack(_exactly(connection, _LENGTHS.size, ends))
    header = json.loads(_exactly(connection, head_length, ends))
    if not isinstance(header, dict):
        raise ValueError("no header")  # noqa: TRY004 - it came from outside
    return header, _exactly(connection, body_length, ends)


def _exactly(connection: socket.socket, size: int, ends: float | None) -> bytes:
    received = bytearray()
    while len(received) < size:
        connection.settimeout(None if ends is None else max(ends - time.monotonic(), 0.001))
        part = connection.recv(min(size - len(received), 1 << 20))
        if not part:
            raise EOFError("the other side has gone")
        received += part
    return bytes(received)
