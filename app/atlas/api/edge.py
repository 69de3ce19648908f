"""The outermost layer: gives requests an id, answers their headers, failures a shape (pure ASGI)."""

import logging
import re
import secrets
import time
from typing import Any

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from atlas.api.errors import Problem, client_answer, json_answer, problem_of, wants_page
from atlas.telemetry import errors
from atlas.telemetry.logs import correlated, note

#: Largest body of a request, in bytes.
MAX_BODY = 1_000_000
#: Routes that take larger ones (ID stands for any number), and the setting that says how large.
LARGE_BODIES = {
    ("POST", "/api/dead-letters/ID/content"): "upload_max_bytes",
    ("POST", "/api/capture"): "upload_max_bytes",
    ("POST", "/api/files"): "upload_max_bytes",
    ("POST", "/api/imports"): "import_max_bytes",
    ("POST", "/imports"): "import_max_bytes",
    ("POST", "/add/files"): "upload_max_bytes",
    ("POST", "/add/paste"): "upload_max_bytes",
    ("POST", "/failed/content"): "upload_max_bytes",
}

_NUMBER = re.compile(r"/[0-9]+(?=/)")
_SANE_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_QUIET = frozenset({"/health", "/ready", "/metrics"})

log = structlog.stdlib.get_logger(__name__)


def policy(*, secure: bool, media: bool = False) -> str:
    """Return what a page may load; `secure` when Atlas is reached by TLS, `media` to play sound and film.

    Episodes lie wherever their feeds say, behind several redirects, so no shorter list of hosts would do.
    """
    rules = [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        # Articles keep their pictures where they are, so pictures may come from anywhere; nothing else may.
        # They are asked for without a referrer. From a page by TLS, browsers fetch them by TLS only.
        "img-src 'self' data: https:" + ("" if secure else " http:"),
        "connect-src 'self'",
        "manifest-src 'self'",
        *(["media-src https:" + ("" if secure else " http:")] if media else []),
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types atlas",  # for the one address of the service worker
    ]
    if secure:
        rules.append("upgrade-insecure-requests")
    return "; ".join(rules)


def security_headers(*, secure: bool) -> dict[str, str]:
    """Return what every answer carries, unless it has its own; `secure` when Atlas is reached by TLS."""
    return {
        "Content-Security-Policy": policy(secure=secure),
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        # Nothing to other sites. Not "no-referrer": browsers would send our own forms with "Origin: null".
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=(), "
        "browsing-topics=(), clipboard-write=(self)",
        "X-Robots-Tag": "noindex, nofollow",
    }


class Edge:
    """Wraps all else. Raises nothing but what happens after an answer has begun."""

    def __init__(self, app: ASGIApp, *, headers: dict[str, str]) -> None:
        self.app = app
        self.headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self.headers)
        with correlated(exchange.id):
            await exchange.run(self.app)


def request_id(request: Request) -> str:
    """Return the id of a request: what the log, the item's history and the error shown all carry."""
    found: str = request.scope["atlas.request_id"]
    return found


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, headers: dict[str, str]) -> None:
        given = Headers(scope=scope).get("x-request-id", "")
        self.id = given if _SANE_ID.fullmatch(given) else secrets.token_hex(8)
        self.method: str = scope["method"]
        # A HEAD is a GET whose body stays here.
        method = "GET" if self.method == "HEAD" else self.method
        self.scope: Scope = {**scope, "atlas.request_id": self.id, "method": method}
        self._receive = receive
        self._send = send
        self._headers = headers
        self._read = 0
        setting = LARGE_BODIES.get((self.method, _NUMBER.sub("/ID", scope["path"])))
        settings = scope["app"].state.parts.settings
        self._most: int = getattr(settings, setting) if setting else MAX_BODY
        self.status = 0

    async def run(self, app: ASGIApp) -> None:
        started = time.perf_counter()
        try:
            await app(self.scope, self.receive, self.send)
        except ClientDisconnect:
            self.status = self.status or 499
        except Exception as error:  # every failure becomes an answer
            if self.status:
                raise
            await self.answer(error)
        finally:
            self.note(time.perf_counter() - started)

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._read += len(message.get("body", b""))
            if self._read > self._most:
                raise HTTPException(413, f"The request is larger than {self._most:,} bytes.")
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers.setdefault("Cache-Control", "no-store")
            headers["X-Request-ID"] = self.id
            for name, value in self._headers.items():
                headers.setdefault(name, value)
        elif self.method == "HEAD":
            message = {**message, "body": b""}
        await self._send(message)

    async def answer(self, error: Exception) -> None:
        problem = problem_of(error)
        if problem.status == 500:
            log.error("request failed", code=problem.code, exc_info=error)
            await run_in_threadpool(self.keep, error)
        elif problem.status == 503:
            log.warning("request failed", code=problem.code, reason=str(getattr(error, "orig", error)))
        response = error_answer(self.scope, problem)
        await response(self.scope, self.receive, self.send)

    def keep(self, error: Exception) -> None:
        route = getattr(self.scope.get("route"), "path", "an unknown address")
        parts = self.scope["app"].state.parts
        place = f"{self.method} {route}"
        errors.keep(parts.engine, error, error_id=self.id, where="request", place=place, now=parts.clock())

    def note(self, seconds: float) -> None:
        path = self.scope["path"]
        route = getattr(self.scope.get("route"), "path", "")
        self.scope["app"].state.parts.metrics.request(self.method, route, self.status, seconds)
        level = logging.DEBUG if path in _QUIET or path.startswith("/static/") else logging.INFO
        ms = round(seconds * 1000, 1)
        note(__name__, level, "request", method=self.method, path=path, status=self.status, ms=ms)


def error_answer(scope: Scope, problem: Problem) -> Response:
    """Return what the one who asked can read: a page for a person, JSON for a program."""
    error_id: str = scope["atlas.request_id"]
    client = scope.get("atlas.client")
    if client is not None:
        return client_answer(client, problem, error_id)
    if not wants_page(scope):
        return json_answer(problem, error_id)
    parts: Any = scope["app"].state.parts
    page: Response = parts.pages.answer(
        "error.html",
        now=parts.clock(),
        status=problem.status,
        message=problem.message,
        error_id=error_id,
        heading=_HEADINGS.get(problem.status, "That did not work"),
        known=scope.get("atlas.principal") is not None,
    )
    page.headers.update(problem.headers)
    return page


_HEADINGS = {
    404: "Nothing here",
    429: "Too much at once",
    500: "Something broke",
    503: "Atlas cannot reach its database",
}
