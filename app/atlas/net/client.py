"""The HTTP client for everything Atlas fetches from the world: one GET, guarded and bounded.

Each fetch has its own connections, so that nothing checked for one is used by another, and keeps no cookies,
reads no proxy settings and sends no credentials. A redirect from https to http is followed, as old sites
still make them and we send nothing secret; the way taken stands in `Response.redirects`.
"""

import email.utils
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import httpcore2
import httpx2

from atlas.net.body import ACCEPT_ENCODING, read_body, too_large
from atlas.net.errors import FetchError
from atlas.net.guard import Deadline, GuardedBackend, Resolver, look_up, out_of_time
from atlas.settings import Settings

__all__ = ["FetchError", "Fetcher", "Response", "parse_retry_after"]

#: No site can make us wait longer than this.
MAX_RETRY_AFTER_SECONDS = 86_400.0

_ACCEPT = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?|[0-9a-f:.]*:[0-9a-f:.]*")
#: What of a caller's headers a redirect to another site may take along: keys have many names.
_PUBLIC_HEADERS = frozenset({"accept", "if-none-match", "if-modified-since"})

_STATUS_WORDS = {
    401: "The site asks for a login to show this page.",
    402: "The site asks for payment to show this page.",
    403: "The site refuses to show this page to Atlas.",
    404: "The page does not exist (any more).",
    405: "The site refuses to show this page to Atlas.",
    406: "The site has no version of this page that Atlas can read.",
    408: "The site gave up waiting.",
    410: "The page has been removed for good.",
    425: "The site asks to try again a little later.",
    451: "The page is blocked for legal reasons.",
}
_SMALL = 16 * 1024
_RETRY_STATUS = frozenset({408, 425})


@dataclass(frozen=True, slots=True)
class Response:
    """An answer. `status` is 2xx, or 304 when the request was conditional."""

    final_url: str
    status: int
    headers: Mapping[str, str]
    #: The whole header; empty when there was none.
    content_type: str
    body: bytes
    #: The addresses that redirected us, in order; empty when the first one answered itself.
    redirects: tuple[str, ...] = ()
    #: Where the first address has moved for good; None when it has not.
    moved_to: str | None = None


@dataclass(frozen=True, slots=True)
class _Redirect:
    url: httpx2.URL
    is_permanent: bool


class Fetcher:
    """Fetches URLs within the limits of the settings. Safe to share between threads."""

    def __init__(
        self, settings: Settings, *, resolver: Resolver = look_up, tls: ssl.SSLContext | None = None
    ) -> None:
        self._settings = settings
        self._resolver = resolver
        self._tls = tls or ssl.create_default_context()

    def get(self, url: str, *, headers: Mapping[str, str] | None = None) -> Response:
        """Get `url`, following redirects, within one time limit for everything together.

        Raises FetchError, and nothing else, whatever the other side does.
        """
        settings = self._settings
        target = _checked_url(url)
        extra = httpx2.Headers(dict(headers or {}))
        way: list[str] = []
        moved_to, is_permanent = None, True
        backend = GuardedBackend(
            allowed=settings.allowed_networks,
            deadline=Deadline(settings.fetch_timeout_seconds),
            connect_timeout=settings.fetch_connect_timeout_seconds,
            resolver=self._resolver,
        )
        with httpcore2.ConnectionPool(ssl_context=self._tls, network_backend=backend) as pool:
            while len(way) <= settings.fetch_max_redirects:
                answer = self._ask(pool, target, extra)
                if not isinstance(answer, _Redirect):
                    return Response(str(target), *answer, redirects=tuple(way), moved_to=moved_to)
                way.append(str(target))
                is_permanent = is_permanent and answer.is_permanent
                moved_to = str(answer.url) if is_permanent else moved_to
                if answer.url.origin != target.origin:
                    extra = httpx2.Headers({k: v for k, v in extra.items() if k in _PUBLIC_HEADERS})
                target = answer.url
        message = f"The site sends us on and on: more than {settings.fetch_max_redirects} redirects."
        raise FetchError("too_many_redirects", message)

    def _ask(
        self, pool: httpcore2.ConnectionPool, url: httpx2.URL, extra: httpx2.Headers
    ) -> _Redirect | tuple[int, httpx2.Headers, str, bytes]:
        """One request: where it redirects to, or the answer."""
        host = url.raw_host.decode("ascii")
        request_headers = httpx2.Headers(
            {"Host": url.netloc.decode("ascii"), "User-Agent": self._settings.user_agent, "Accept": _ACCEPT}
        )
        request_headers.update(extra)
        request_headers["Accept-Encoding"] = ACCEPT_ENCODING
        wire_url = httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        try:
            with pool.stream(
                "GET", wire_url, headers=request_headers.raw, extensions={"sni_hostname": host.rstrip(".")}
            ) as answer:
                return self._read(
                    answer, url, conditional="if-none-match" in extra or "if-modified-since" in extra
                )
        except httpcore2.ConnectTimeout as error:
            raise FetchError("timeout", f"{host} does not answer.", retry=True) from error
        except httpcore2.TimeoutException as error:  # nothing else waits longer than the deadline allows
            raise out_of_time(self._settings.fetch_timeout_seconds) from error
        except httpcore2.NetworkError as error:
            raise _connection_error(host, error) from error
        except httpcore2.ProtocolError as error:
            raise _protocol_error(host, error) from error

    def _read(
        self, answer: httpcore2.Response, url: httpx2.URL, *, conditional: bool
    ) -> _Redirect | tuple[int, httpx2.Headers, str, bytes]:
        status = answer.status
        headers = httpx2.Headers(answer.headers)
        announced = _content_length(headers)
        if status in (301, 302, 303, 307, 308):
            # Chunks would outdo the announced length, and never end.
            if announced is not None and announced <= _SMALL and "transfer-encoding" not in headers:
                answer.read()  # so that the connection can be used for the way on
            return _Redirect(_redirect(url, headers), status in (301, 308))
        if status >= 400:
            raise _status_error(status, headers)
        if not (200 <= status < 300 or (status == 304 and conditional)):
            message = f"The site gave an answer that makes no sense here (HTTP {status})."
            raise FetchError("bad_response", message, status=status)
        limit = self._settings.fetch_max_bytes
        if announced is not None and announced > limit:
            raise too_large(limit)
        body = read_body(answer.iter_stream(), headers.get("content-encoding", ""), limit)
        return status, headers, headers.get("content-type", ""), body


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds a Retry-After header asks to wait: 0 to a day, None when it says nothing we understand."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), MAX_RETRY_AFTER_SECONDS)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max((moment - now).total_seconds(), 0.0), MAX_RETRY_AFTER_SECONDS)


def _checked_url(url: str | httpx2.URL) -> httpx2.URL:
    """Return the URL without user name, password and fragment; raise FetchError when it is no web address."""
    try:
        parsed = httpx2.URL(url)
        if parsed.scheme not in ("http", "https"):
            raise FetchError(
                "invalid_url", f"Atlas opens web addresses only, and this is not one: {str(url)[:200]}"
            )
        port = 80 if parsed.port is None else parsed.port
        if not _HOST.fullmatch(parsed.raw_host.decode("ascii")) or not 0 < port < 65_536:
            raise FetchError("invalid_url", f"The address has no proper site name: {str(url)[:200]}")
        return parsed.copy_with(userinfo=b"", fragment=None)
    except (httpx2.InvalidURL, ValueError) as error:  # ValueError: brackets that do not match, and such
        raise FetchError("invalid_url", f"This is not a proper web address: {str(url)[:200]}") from error


def _content_length(headers: httpx2.Headers) -> int | None:
    text = headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() else None


def _redirect(url: httpx2.URL, headers: httpx2.Headers) -> httpx2.URL:
    location = headers.get("location", "").strip()
    if not location:
        raise FetchError("bad_response", "The site sends us on, but does not say where to.")
    try:
        return _checked_url(url.join(location))
    except (httpx2.InvalidURL, ValueError) as error:
        message = f"The site sends us on to something that is no web address: {location[:200]}"
        raise FetchError("invalid_url", message) from error


def _status_error(status: int, headers: httpx2.Headers) -> FetchError:
    wait = parse_retry_after(headers.get("retry-after"), datetime.now(UTC))
    if status == 429 or (status == 503 and wait is not None):
        message = "The site is too busy for us at the moment and asks to come back later."
        return FetchError("rate_limited", message, retry=True, retry_after=wait, status=status)
    if status >= 500:
        message = f"The site itself has a problem at the moment (HTTP {status})."
    else:
        words = _STATUS_WORDS.get(status, "The site refuses the request.")
        message = f"{words} (HTTP {status})"
    retry = status >= 500 or status in _RETRY_STATUS
    return FetchError(
        f"http_{status}", message, retry=retry, retry_after=wait if retry else None, status=status
    )


def _connection_error(host: str, error: httpcore2.NetworkError) -> FetchError:
    cause = error.args[0] if error.args else None  # httpcore2 wraps the error and then drops its cause
    if isinstance(cause, ssl.SSLCertVerificationError):
        message = f"{host} cannot prove who it is: {cause.verify_message.rstrip('.')}."
        return FetchError("tls_error", message)
    if isinstance(error, httpcore2.ConnectError) and isinstance(cause, ssl.SSLError):
        return FetchError("tls_error", f"No secure connection to {host} could be made.", retry=True)
    if isinstance(error, httpcore2.ConnectError):
        return FetchError("connection_failed", f"{host} cannot be reached.", retry=True)
    return FetchError("connection_failed", f"The connection to {host} broke off.", retry=True)


def _protocol_error(host: str, error: httpcore2.ProtocolError) -> FetchError:
    words = str(error)
    if words.startswith(("Server disconnected", "peer closed connection")):
        return FetchError("connection_failed", f"The connection to {host} broke off.", retry=True)
    return FetchError("bad_response", f"{host} does not speak proper HTTP.")
