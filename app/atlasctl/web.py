"""One request, for asking our own services how they are, or to do something."""

import contextlib
import re
import socket
import time
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

LIMIT = 64 * 1024
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Answer(NamedTuple):
    """A status and the body, cut where the whole answer passed the limit (64 KiB unless told)."""

    status: int
    body: str


class NoAnswerError(Exception):
    """Nothing that speaks HTTP answered; the text says what happened instead."""


def get(
    url: str,
    *,
    timeout: float,
    host: str | None = None,
    verify: bool = True,
    ca_file: str | None = None,
) -> Answer:
    """GET `url` (no redirects, no proxies) within `timeout` seconds in all.

    `host` is sent as Host header and TLS server name when the address alone does not say which site is meant.
    """
    parts = urlsplit(url)
    with _connection(parts, timeout) as (connected, deadline):
        if parts.scheme == "https":
            name = host or parts.hostname or ""
            with _tls(connected, name, verify=verify, ca_file=ca_file) as secured:
                return _exchange(secured, "GET", parts, deadline, host=host)
        return _exchange(connected, "GET", parts, deadline, host=host)


def ask(method: str, url: str, *, timeout: float, body: bytes = b"", limit: int = LIMIT) -> Answer:
    """Send JSON to a service on this machine (http only), or nothing, and return what it says."""
    parts = urlsplit(url)
    with _connection(parts, timeout) as (connected, deadline):
        return _exchange(connected, method, parts, deadline, body=body, limit=limit)


@contextlib.contextmanager
def _connection(parts: SplitResult, timeout: float) -> Iterator[tuple[socket.socket, float]]:
    """Connect; whatever goes wrong, then or later, is no answer."""
    deadline = time.monotonic() + timeout
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=timeout) as connected:
            yield connected, deadline
    except TimeoutError:
        raise NoAnswerError(f"no answer within {timeout:g} s") from None
    except OSError as error:
        raise NoAnswerError(error.strerror or str(error)) from None


def _exchange(
    connected: socket.socket,
    method: str,
    parts: SplitResult,
    deadline: float,
    *,
    host: str | None = None,
    body: bytes = b"",
    limit: int = LIMIT,
) -> Answer:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    content = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
    # HTTP/1.0: nothing chunked, and the end is the end. http.client would take longer to load than all of us.
    head = (
        f"{method} {target} HTTP/1.0\r\nHost: {host or parts.netloc}\r\nUser-Agent: atlasctl\r\n{content}\r\n"
    )
    connected.sendall(head.encode() + body)
    return _answer(_read(connected, deadline, limit))


def _tls(plain: socket.socket, name: str, *, verify: bool, ca_file: str | None) -> socket.socket:
    import ssl

    context = ssl.create_default_context(cafile=ca_file)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(plain, server_hostname=name)


def _read(connected: socket.socket, deadline: float, limit: int) -> bytes:
    """Read what comes, up to a limit; what drips on after the deadline is no answer."""
    said = bytearray()
    while len(said) < limit:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connected.settimeout(left)
        piece = connected.recv(min(LIMIT, limit - len(said)))
        if not piece:
            break
        said += piece
    return bytes(said)


def _answer(said: bytes) -> Answer:
    head, _, body = said.partition(b"\r\n\r\n")
    status = re.match(rb"HTTP/1\.\d (\d{3})\b", head)
    if status is None:
        raise NoAnswerError(
            "something answers that does not speak HTTP" if said else "hung up without an answer"
        )
    return Answer(int(status[1]), body.decode("utf-8", "replace"))
