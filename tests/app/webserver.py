"""A web server for tests, on loopback: serves a folder of pages, what a test hands it, and every bad manner.

    with WebServer(folder) as web:
        fetcher.get(web.url("/endless"))
        assert web.paths == ["/endless"]

The page of a folder is its `source.html` or `index.html`.
By hand: python tests/app/webserver.py FOLDER [PORT]
"""

import gzip
import socket
import ssl
import sys
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from mimetypes import guess_type
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

ARTICLE = (
    "<!doctype html><html lang=en><head><title>A quiet article</title></head>"
    "<body><article><h1>A quiet article</h1>"
    + "<p>Some words that stand for an article, long enough to be taken for one by whoever reads it. </p>"
    * 20
    + "</article></body></html>"
)


@dataclass
class Page:
    """What a test serves at a path."""

    body: bytes | str = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str | None = "text/html; charset=utf-8"


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str]


class WebServer:
    """Serves until its `with` block ends. `pages` may be changed meanwhile; `requests` are what came."""

    def __init__(
        self,
        folder: Path | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.pages: dict[str, Page | Callable[[Request], Page]] = {}
        self.requests: list[Request] = []
        self.stopping = threading.Event()
        self._folder = folder
        self._scheme = "https" if tls else "http"
        handler = type("Handler", (_Handler,), {"web": self})
        server = type(
            "Server", (_Server,), {"address_family": socket.AF_INET6 if ":" in host else socket.AF_INET}
        )
        self._server = server((host, port), handler)
        self.host = host
        self.port = self._server.server_address[1]
        if tls:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.005,), daemon=True)

    @property
    def paths(self) -> list[str]:
        return [request.path for request in self.requests]

    def url(self, path: str = "/", *, host: str | None = None) -> str:
        name = host or self.host
        return f"{self._scheme}://{f'[{name}]' if ':' in name else name}:{self.port}{path}"

    def find(self, path: str) -> Page | None:
        """The page of the folder at `path`."""
        if self._folder is None:
            return None
        file = (self._folder / unquote(path).strip("/")).resolve()
        if not file.is_relative_to(self._folder.resolve()):
            return None
        for candidate in (file, file / "source.html", file / "index.html"):
            if candidate.is_file():
                kind, _ = guess_type(candidate.name)
                return Page(candidate.read_bytes(), content_type=kind)
        return None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """Clients that hang up on our bad manners are what the tests want."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    web: WebServer

    def do_GET(self) -> None:
        request = Request("GET", self.path, {k.lower(): v for k, v in self.headers.items()})
        self.web.requests.append(request)
        path = urlsplit(self.path).path
        page = self.web.pages.get(self.path) or self.web.pages.get(path)
        if callable(page):
            page = page(request)
        if page := page or self.web.find(path):
            self.send_page(page)
            return
        name, _, argument = path.strip("/").partition("/")
        manner = getattr(self, f"bad_{name.replace('-', '_')}", None)
        if manner is None:
            self.send_page(Page("nothing here", 404))
        else:
            with suppress(ConnectionError, ssl.SSLError):
                manner(unquote(argument))

    def send_page(self, page: Page) -> None:
        body = page.body.encode() if isinstance(page.body, str) else page.body
        self.send_response(page.status)
        if page.content_type is not None:
            self.send_header("Content-Type", page.content_type)
        for name, value in page.headers.items():
            self.send_header(name, value)
        if page.status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if page.status != 304:
            self.wfile.write(body)

    def start(self, **headers: str) -> None:
        """Begin an answer whose end is the end of the connection."""
        self.close_connection = True
        self.send_response(200)
        for name, value in {"Content_Type": "text/html", "Connection": "close", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def bad_article(self, argument: str) -> None:
        """/article/NAME: a good page, as many of them as wanted."""
        self.send_page(Page(ARTICLE.replace("quiet", f"quiet {argument}".strip())))

    def bad_status(self, argument: str) -> None:
        """/status/500, /status/429/RETRY-AFTER"""
        status, _, retry_after = argument.partition("/")
        self.send_page(Page("no", int(status), {"Retry-After": retry_after} if retry_after else {}))

    def bad_redirect(self, argument: str) -> None:
        """/redirect/STATUS/LOCATION, the location quoted"""
        status, _, location = argument.partition("/")
        self.send_page(Page("", int(status), {"Location": location}))

    def bad_loop(self, argument: str) -> None:
        """/loop/1 leads to /loop/2 and so on"""
        self.send_page(Page("", 302, {"Location": f"/loop/{int(argument or 0) + 1}"}))

    def bad_metadata(self, _: str) -> None:
        self.send_page(Page("", 302, {"Location": "http://169.254.169.254/opc/v2/instance/"}))

    def bad_large(self, argument: str) -> None:
        """/large: 30 MB without saying so first; /large/announced says so"""
        megabytes = 30
        headers = {"Content_Length": str(megabytes * 1_000_000)} if argument else {}
        self.start(**headers)
        for _ in range(megabytes):
            self.wfile.write(b"<p>page</p>" * 90_909 + b"\n")

    def bad_endless(self, _: str) -> None:
        """A byte now and then, for ever."""
        self.start()
        while not self.web.stopping.is_set():
            self.wfile.write(b"x")
            time.sleep(0.05)

    def bad_slow_headers(self, _: str) -> None:
        self.close_connection = True
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not self.web.stopping.is_set():
            self.wfile.write(b"x")
            time.sleep(0.05)

    def bad_silent(self, _: str) -> None:
        """Takes the request and never says a word."""
        self.close_connection = True
        self.web.stopping.wait()

    def bad_bomb(self, argument: str) -> None:
        """/bomb/gzip, /bomb/deflate: 200 KB that unpack to 200 MB"""
        self.send_page(Page(_bomb(argument or "gzip"), headers={"Content-Encoding": argument or "gzip"}))

    def bad_nested_bomb(self, _: str) -> None:
        self.send_page(Page(gzip.compress(_bomb("gzip")), headers={"Content-Encoding": "gzip, gzip"}))

    def bad_gzip(self, argument: str) -> None:
        """/gzip: a packed article; /gzip/broken, /gzip/cut, /gzip/plain (says gzip, is not), /gzip/double"""
        packed = gzip.compress(ARTICLE.encode())
        bodies = {
            "": packed,
            "broken": packed[:20] + b"\xff\xff\xff\xff\xff\xff" + packed[26:],
            "cut": packed[:-30],
            "plain": ARTICLE.encode(),
            "double": packed + gzip.compress(b"and more"),
            "padded": packed + b"\0" * 100,
        }
        self.send_page(Page(bodies[argument], headers={"Content-Encoding": "gzip"}))

    def bad_deflate(self, argument: str) -> None:
        """/deflate: with zlib's header; /deflate/raw: without"""
        wbits = -zlib.MAX_WBITS if argument == "raw" else zlib.MAX_WBITS
        packer = zlib.compressobj(wbits=wbits)
        body = packer.compress(ARTICLE.encode()) + packer.flush()
        self.send_page(Page(body, headers={"Content-Encoding": "deflate"}))

    def bad_brotli(self, _: str) -> None:
        self.send_page(Page(b"\x0b\x02\x80brotli\x03", headers={"Content-Encoding": "br"}))

    def bad_wrong_charset(self, _: str) -> None:
        """Says UTF-8, is Windows-1252."""
        self.send_page(Page(ARTICLE.replace("quiet", "naïve café “quoted”").encode("cp1252")))

    def bad_binary(self, _: str) -> None:
        """A picture that calls itself HTML."""
        noise = bytes((i * 7919 + i // 251) % 256 for i in range(50_000))
        self.send_page(Page(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + noise))

    def bad_truncated(self, _: str) -> None:
        """Announces more than it sends."""
        self.start(Content_Length="100000")
        self.wfile.write(ARTICLE.encode())

    def bad_hang_up(self, _: str) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def bad_garbage(self, _: str) -> None:
        self.close_connection = True
        self.wfile.write(b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n")

    def bad_many_headers(self, _: str) -> None:
        self.close_connection = True
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for number in range(1_000_000):
            self.wfile.write(f"X-Header-{number}: {'x' * 100}\r\n".encode())

    def bad_cookie(self, _: str) -> None:
        """Redirects to itself until the cookie comes back."""
        self.send_page(Page("", 302, {"Location": "/cookie", "Set-Cookie": "seen=1"}))

    def bad_no_location(self, _: str) -> None:
        self.send_page(Page("", 302))

    def bad_empty(self, _: str) -> None:
        self.send_page(Page(""))

    def log_message(self, *_: object) -> None:
        """Tests look at `requests` instead."""


@cache
def _bomb(kind: str) -> bytes:
    packer = zlib.compressobj(9, wbits=31 if kind == "gzip" else zlib.MAX_WBITS)
    return b"".join([packer.compress(bytes(1_000_000)) for _ in range(200)]) + packer.flush()


if __name__ == "__main__":
    with WebServer(Path(sys.argv[1]), port=int(sys.argv[2]) if len(sys.argv) > 2 else 0) as server:
        print(server.url(), flush=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
