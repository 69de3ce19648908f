"""The page of alerts, served to nginx on a socket that systemd holds; when nobody asks, the process ends.

Nobody else reaches the socket, and nginx has asked for a password. A button is a POST that must bring the
token of the page, which is also the browser's cookie: a page of somebody else's can read neither.
"""

import contextlib
import hmac
import os
import re
import secrets
import socket
from collections.abc import Callable
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from atlasctl.alerts import sources
from atlasctl.alerts.history import episodes
from atlasctl.alerts.page import Look, render, style
from atlasctl.alerts.sources import Settings
from atlasctl.systemd import notify
from atlasctl.trouble import Trouble
from atlasctl.words import utc_now

#: It starts within a fifth of a second, so that it need not stay.
IDLE_SECONDS = 10
#: One connection may take so long to say what it wants.
PATIENCE_SECONDS = 10
MOST_BYTES = 4096
FIRST_SOCKET = 3
COOKIE = "__Host-atlas-alerts"
COOKIE_WORDS = "Path=/; Secure; HttpOnly; SameSite=Lax"
TOKEN = re.compile(r"[\w-]{32}")
HOURS = ("1", "24")
POLICY = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"


def serve(settings: Settings) -> int:
    """Answer on the socket systemd handed over, until nobody has asked for a while."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
        raise Trouble("This is for atlas-alerts.service; the page is at /alerts/.")
    server = Server(settings, socket.socket(fileno=FIRST_SOCKET), IDLE_SECONDS)
    while not server.idle:
        notify("WATCHDOG=1")
        server.handle_request()
    return 0


class Server(ThreadingHTTPServer):
    """Listens on a socket that is there already; `idle` once nobody came for `timeout` seconds."""

    def __init__(self, settings: Settings, listening: socket.socket, timeout: float) -> None:
        super().__init__(("", 0), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.timeout = timeout
        self.settings = settings
        self.idle = False

    def handle_timeout(self) -> None:
        """Note that nobody came."""
        self.idle = True


class Handler(BaseHTTPRequestHandler):
    """One request."""

    timeout = PATIENCE_SECONDS
    server: Server

    def do_GET(self) -> None:
        """Show the page, or its style."""
        address = urlsplit(self.path)
        if address.path == "/alerts/alerts.css":
            return self._answer(200, style(), kind="text/css", cache="max-age=3600")
        if address.path != "/alerts/":
            return self._answer(404, "There is no such page.\n", kind="text/plain")
        token = self._cookie() or secrets.token_urlsafe(24)
        done = parse_qs(address.query).get("done", [""])[0]
        now = utc_now()
        settings = self.server.settings
        body = render(look(settings, now), now, docs=settings.docs, token=token, done=done)
        return self._answer(200, body, cookie=token)

    do_HEAD = do_GET  # noqa: N815  (http.server's)

    def do_POST(self) -> None:
        """Do what a button says, and show the page again."""
        form = self._form()
        if form is None:
            return self._answer(413, "That is too much.\n", kind="text/plain")
        doing = {"/alerts/silence": self._silence, "/alerts/end": self._end}.get(self.path)
        if doing is None:
            return self._answer(404, "There is no such page.\n", kind="text/plain")
        if not self._is_ours(form.get("token", "")):
            return self._see("stale")
        return self._see(_do(doing, form))

    def _silence(self, form: dict[str, str]) -> str:
        """Keep an alert quiet that is there now: all its labels are taken, none of what the form says."""
        settings = self.server.settings
        if form.get("hours") not in HOURS:
            return "failed"
        for alert in sources.alerts(settings):
            if alert.id == form.get("alert"):
                length = timedelta(hours=int(form["hours"]))
                by = self.headers.get("Remote-User") or "the page of alerts"
                sources.silence(settings, alert.labels, length, utc_now(), by)
                return "silenced"
        return "gone"

    def _end(self, form: dict[str, str]) -> str:
        settings = self.server.settings
        wanted = form.get("silence")
        for silence in sources.silences(settings):
            if silence.id == wanted:
                sources.end_silence(settings, silence.id)
        return "ended"

    def _form(self) -> dict[str, str] | None:
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit() or int(length) > MOST_BYTES:
            return None
        said = self.rfile.read(int(length)).decode("utf-8", "replace")
        return {name: values[0] for name, values in parse_qs(said).items()}

    def _cookie(self) -> str:
        """Return the browser's token, if it has one of ours."""
        for part in self.headers.get("Cookie", "").split(";"):
            name, _, value = part.strip().partition("=")
            if name == COOKIE and TOKEN.fullmatch(value):
                return value
        return ""

    def _is_ours(self, token: str) -> bool:
        """Say whether a form comes from a page of ours."""
        if self.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            return False
        origin = self.headers.get("Origin")
        if origin and urlsplit(origin).netloc != self.headers.get("Host"):
            return False
        cookie = self._cookie()
        return bool(cookie) and hmac.compare_digest(cookie.encode(), token.encode())

    def _see(self, done: str) -> None:
        self._answer(303, "", more={"Location": f"/alerts/?done={done}"})

    def _answer(
        self,
        status: int,
        body: str,
        *,
        kind: str = "text/html",
        cache: str = "no-store",
        cookie: str = "",
        more: dict[str, str] | None = None,
    ) -> None:
        content = body.encode()
        self.send_response(status)
        headers = {
            "Content-Type": f"{kind}; charset=utf-8",
            "Content-Length": str(len(content)),
            "Content-Security-Policy": POLICY,
            "Cache-Control": cache,
            **({"Set-Cookie": f"{COOKIE}={cookie}; {COOKIE_WORDS}"} if cookie else {}),
            **(more or {}),
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def handle(self) -> None:
        """Answer; whoever has gone meanwhile needs none."""
        with contextlib.suppress(ConnectionError, TimeoutError):
            super().handle()

    def version_string(self) -> str:
        """Say nothing of what we are made of."""
        return "atlas"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (http.server's)
        """Say nothing: nginx has told who came."""


def look(settings: Settings, now: datetime) -> Look:
    """Ask both; what does not answer is said, and the other is shown."""
    found = Look()
    try:
        found = found._replace(alerts=sources.alerts(settings), silences=sources.silences(settings))
    except Trouble as error:
        found = found._replace(trouble=str(error))
    try:
        return found._replace(episodes=episodes(settings, now))
    except Trouble as error:
        return found._replace(history_trouble=str(error))


def _do(doing: Callable[[dict[str, str]], str], form: dict[str, str]) -> str:
    try:
        return doing(form)
    except Trouble:
        return "failed"
