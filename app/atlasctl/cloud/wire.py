"""One HTTP exchange with a service, and not a second longer than it may take."""

import http.client
import ssl
import time
from typing import NamedTuple
from urllib.parse import urlsplit

from atlasctl.web import NoAnswerError

LIMIT = 32 * 1024 * 1024


class Answer(NamedTuple):
    """What came back; names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def exchange(
    method: str,
    url: str,
    *,
    headers: dict[str, str],
    body: bytes = b"",
    timeout: float,
    ca_file: str | None = None,
) -> Answer:
    """Send one request and return its answer, whatever its status; follow nothing, use no proxy.

    Raises NoAnswerError when none came within `timeout` seconds in all, or none that could be read.
    """
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    deadline = time.monotonic() + timeout
    connection = _connection(parts.scheme, parts.netloc, timeout, ca_file)
    try:
        connection.request(method, target, body=body or None, headers=headers)
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, found, _read(connection, answer, deadline))
    except TimeoutError:
        raise NoAnswerError(f"no answer within {timeout:g} s") from None
    except ssl.SSLCertVerificationError as error:
        raise NoAnswerError(f"its certificate is not trusted: {error.verify_message}") from None
    except OSError as error:
        raise NoAnswerError(error.strerror or str(error) or type(error).__name__) from None
    except http.client.HTTPException as error:
        raise NoAnswerError(f"something answers that does not speak HTTP ({type(error).__name__})") from None
    finally:
        connection.close()


def _connection(scheme: str, place: str, timeout: float, ca_file: str | None) -> http.client.HTTPConnection:
    if scheme == "https":
        context = ssl.create_default_context(cafile=ca_file)
        return http.client.HTTPSConnection(place, timeout=timeout, context=context)
    return http.client.HTTPConnection(place, timeout=timeout)


def _read(connection: http.client.HTTPConnection, answer: http.client.HTTPResponse, deadline: float) -> bytes:
    """Read the body; what drips on after the deadline, or is larger than all we ask for, is no answer."""
    said = b""
    while piece := answer.read1(65536):
        said += piece
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        if len(said) > LIMIT:
            raise NoAnswerError(f"answers more than {LIMIT // 1024 // 1024} MB")
        if connection.sock is not None:
            connection.sock.settimeout(left)
    if answer.length:
        raise NoAnswerError("hung up in the middle of its answer")
    return said
