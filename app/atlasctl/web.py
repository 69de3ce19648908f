"""One GET, for asking our own services how they are."""

import contextlib
import re
import socket
import time
from typing import NamedTuple
from urllib.parse import urlsplit

LIMIT = 64 * 1024
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Answer(NamedTuple):
    """A status and the body, cut where the whole answer passed 64 KiB."""

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
    deadline = time.monotonic() + timeout
    port = parts.port or (443 if parts.scheme == "https" else 80)
    address = parts.hostname or ""
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    # HTTP/1.0: nothing chunked, and the end is the end. http.client would take longer to load than all of us.
    request = f"GET {target} HTTP/1.0\r\nHost: {host or parts.netloc}\r\nUser-Agent: atlasctl\r\n\r\n"
    try:
        with contextlib.ExitStack() as stack:
            connected = stack.enter_context(socket.create_connection((address, port), timeout=timeout))
            if parts.scheme == "https":
                connected = stack.enter_context(
                    _tls(connected, host or address, verify=verify, ca_file=ca_file)
                )
            connected.sendall(request.encode())
            return _answer(_read(connected, deadline))
    except TimeoutError:
        raise NoAnswerError(f"no answer within {timeout:g} s") from None
    except OSError as error:
        raise NoAnswerError(error.strerror or str(error)) from None


def _tls(plain: socket.socket, name: str, *, verify: bool, ca_file: str | None) -> socket.socket:
    import ssl

    context = ssl.create_default_context(cafile=ca_file)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(plain, server_hostname=name)


def _read(connected: socket.socket, deadline: float) -> bytes:
    """Read what comes, up to a limit; what drips on after the deadline is no answer."""
    said = b""
    while len(said) < LIMIT:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connected.settimeout(left)
        piece = connected.recv(LIMIT)
        if not piece:
            break
        said += piece
    return said


def _answer(said: bytes) -> Answer:
    head, _, body = said.partition(b"\r\n\r\n")
    status = re.match(rb"HTTP/1\.\d (\d{3})\b", head)
    if status is None:
        raise NoAnswerError(
            "something answers that does not speak HTTP" if said else "hung up without an answer"
        )
    return Answer(int(status[1]), body.decode("utf-8", "replace"))
