"""One GET, for asking our own services how they are."""

import contextlib
import http.client
import socket
import time
from typing import NamedTuple
from urllib.parse import urlsplit

LIMIT = 64 * 1024
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Answer(NamedTuple):
    """A status and the first 64 KiB of the body."""

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
    try:
        with contextlib.ExitStack() as stack:
            connected = stack.enter_context(socket.create_connection((address, port), timeout=timeout))
            if parts.scheme == "https":
                connected = stack.enter_context(
                    _tls(connected, host or address, verify=verify, ca_file=ca_file)
                )
            connection = http.client.HTTPConnection(address, port)
            connection.sock = connected
            stack.callback(connection.close)
            connection.request(
                "GET", target, headers={"Host": host or parts.netloc, "User-Agent": "atlasctl"}
            )
            return _read(connection.getresponse(), connected, deadline)
    except TimeoutError:
        raise NoAnswerError(f"no answer within {timeout:g} s") from None
    except http.client.HTTPException as error:
        raise NoAnswerError(f"not an HTTP answer ({type(error).__name__})") from None
    except OSError as error:
        raise NoAnswerError(error.strerror or str(error)) from None


def _tls(plain: socket.socket, name: str, *, verify: bool, ca_file: str | None) -> socket.socket:
    import ssl

    context = ssl.create_default_context(cafile=ca_file)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(plain, server_hostname=name)


def _read(response: http.client.HTTPResponse, connected: socket.socket, deadline: float) -> Answer:
    """Read a bounded body; a body that drips is no answer either."""
    body = b""
    while len(body) < LIMIT:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connected.settimeout(left)
        piece = response.read1(LIMIT)
        if not piece:
            break
        body += piece
    return Answer(response.status, body[:LIMIT].decode("utf-8", "replace"))
