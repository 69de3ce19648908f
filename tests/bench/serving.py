"""What the real server answers, on both engines: saving, lists and searches in a library of many items.

.venv/bin/python tests/bench/serving.py [--items 20000] [--seconds 5] [--clients 16]

The client shares the machine with the server, so on a small one the numbers are low rather than high.
"""

import argparse
import asyncio
import datetime as dt
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "app"), str(ROOT / "tests" / "app")]

from search import databases, fill, word  # noqa: E402
from sqlalchemy.engine import Engine  # noqa: E402

from atlas import accounts  # noqa: E402
from atlas.database import migrate  # noqa: E402
from atlas.database.engine import make_engine  # noqa: E402
from atlas.settings import Settings  # noqa: E402

#: Requests before the clock starts.
WARM_UP = 100


@dataclass
class Load:
    """Clients that ask as fast as they are answered, or at a rate: then late answers do not slow them down.

    At a rate the time of an answer counts from when its request was due, not from when it could be sent.
    """

    name: str
    clients: int
    request: Callable[[int], bytes]
    expected: int = 200
    #: Requests a second, of all clients; 0: as fast as they are answered.
    rate: float = 0
    times: list[float] = field(default_factory=list)
    errors: int = 0
    number: int = 0
    size: int = 0

    async def run(self, port: int, seconds: float) -> float:
        """Ask for `seconds`; return answers a second."""
        await self._ask(port, time.perf_counter() + 60, WARM_UP)
        self.times, self.errors = [], 0
        started = time.perf_counter()
        await asyncio.gather(*(self._ask(port, started + seconds, place=n) for n in range(self.clients)))
        return len(self.times) / (time.perf_counter() - started)

    async def _ask(self, port: int, until: float, most: int = 10**9, place: int | None = None) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        paced = self.rate > 0 and place is not None
        due = time.perf_counter() + ((place or 0) / self.rate if paced else 0)
        for _ in range(most):
            if (due if paced else time.perf_counter()) >= until:
                break
            if paced:
                await asyncio.sleep(max(0, due - time.perf_counter()))
            self.number += 1
            started = due if paced else time.perf_counter()
            due += self.clients / self.rate if paced else 0
            writer.write(self.request(self.number))
            head = await reader.readuntil(b"\r\n\r\n")
            self.size = int(head.lower().partition(b"content-length: ")[2].split(b"\r", 1)[0])
            await reader.readexactly(self.size)
            self.times.append(time.perf_counter() - started)
            self.errors += int(head[9:12]) != self.expected
        writer.close()


def get(path: str, header: str) -> Callable[[int], bytes]:
    """Write a GET."""
    request = f"GET {path} HTTP/1.1\r\nHost: atlas\r\nAccept: text/html\r\n{header}\r\n\r\n".encode()
    return lambda _number: request


def post(header: str, run: str) -> Callable[[int], bytes]:
    """Write a POST of an item that was not there before."""

    def request(number: int) -> bytes:
        body = f'{{"url": "https://h{number % 977}.example/{run}/{number}"}}'
        head = f"POST /api/items HTTP/1.1\r\nHost: atlas\r\nContent-Type: application/json\r\n{header}\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()

    return request


def loads(token: str, cookie: str, clients: int) -> list[Load]:
    """List what is measured. Saving comes last: it changes the library."""
    bearer, session = f"Authorization: Bearer {token}", f"Cookie: atlas={cookie}"
    texts = {"commonest word": word(0), "two common words": f"{word(1)}+{word(3)}", "rare word": word(20_000)}
    found = [Load("page: library", 1, get("/", session)), Load("page: library", clients, get("/", session))]
    found += [Load("page: reader", 1, get("/items/100", session))]
    found += [Load(f"page: search, {name}", 1, get(f"/search?q={q}", session)) for name, q in texts.items()]
    found += [Load("GET /api/items", 1, get("/api/items", bearer))]
    found += [
        Load(f"GET /api/search, {name}", 1, get(f"/api/search?q={q}", bearer)) for name, q in texts.items()
    ]
    found += [Load("GET /health", 1, get("/health", ""))]
    found += [
        Load("POST /api/items", 1, post(bearer, "one"), 202),
        Load("POST /api/items", clients, post(bearer, "many"), 202),
        Load("POST /api/items", 50, post(bearer, "fifty"), 202),
        Load("POST /api/items, 250 a second", 50, post(bearer, "paced250"), 202, rate=250),
        Load("POST /api/items, 500 a second", 50, post(bearer, "paced500"), 202, rate=500),
        Load("POST /api/items, all at once", 1000, post(bearer, "thousand"), 202),
    ]
    return found


@contextmanager
def server(environment: dict[str, str], directory: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Start `atlas serve`; yield its port and process once it is ready, and say how long that took."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    started = time.perf_counter()
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "atlas", "serve"],
            cwd=directory,
            env=os.environ | environment | {"ATLAS_API_PORT": str(port), "PYTHONPATH": str(ROOT / "app")},
            stdout=log,
            stderr=log,
        )
        try:
            while not ready(port):
                if process.poll() is not None or time.perf_counter() - started > 30:
                    raise SystemExit((directory / "log").read_text()[-2000:])
                time.sleep(0.02)
            print(f"ready after {time.perf_counter() - started:.2f} s, {memory_mb(process.pid):.0f} MB")
            yield port, process
        finally:
            process.terminate()
            process.wait()


def ready(port: int) -> bool:
    """Ask whether it serves."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5):
            return True
    except (urllib.error.URLError, ConnectionError):
        return False


def memory_mb(pid: int) -> float:
    """Return what a process holds in memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def prepare(engine: Engine, count: int) -> tuple[str, str]:
    """Fill the library; return a token and a session's cookie."""
    migrate.upgrade(engine)
    fill(engine, count, 330)
    now = dt.datetime.now(dt.UTC)
    with engine.begin() as conn:
        user = accounts.set_password(conn, "owner", "bench", now, actor="system")
        token = accounts.create_token(conn, user, "bench", now)
        if engine.dialect.name != "sqlite":
            conn.exec_driver_sql("SELECT setval(pg_get_serial_sequence('items', 'id'), max(id)) FROM items")
    cookie = accounts.login(engine, "owner", "bench", now=now, days=7, address="127.0.0.1")
    engine.dispose()
    assert cookie
    return token, cookie


def measure(url: str, directory: Path, options: argparse.Namespace) -> None:
    """Measure one engine."""
    settings = Settings(data_dir=directory / "data", database_url=url)
    token, cookie = prepare(make_engine(settings), options.items)
    environment = {
        "ATLAS_DATA_DIR": str(settings.data_dir),
        "ATLAS_DATABASE_URL": url,
        "ATLAS_MAX_QUEUE_SIZE": "100000000",
    }
    with server(environment, directory) as (port, process):
        print(f"{'':34}{'clients':>8}{'req/s':>8}{'p50 ms':>9}{'p95 ms':>9}{'KB':>7}{'errors':>8}")
        for load in loads(token, cookie, options.clients):
            rate = uvloop.run(load.run(port, options.seconds))
            p50, p95 = statistics.median(load.times), statistics.quantiles(load.times, n=20)[-1]
            figures = f"{load.clients:>8}{rate:>8.0f}{p50 * 1000:>9.2f}{p95 * 1000:>9.2f}"
            print(f"{load.name:34}{figures}{load.size / 1000:>7.1f}{load.errors:>8}", flush=True)
        print(f"{memory_mb(process.pid):.0f} MB in the end")


def main() -> None:
    """Measure each engine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--engine", choices=["sqlite", "postgresql"], help="only this one")
    options = parser.parse_args()
    with databases() as urls:
        for name, url in urls.items():
            if options.engine in (None, name):
                with tempfile.TemporaryDirectory(prefix="atlas-bench-") as directory:
                    print(f"\n{name}, {options.items} items")
                    measure(url, Path(directory), options)


if __name__ == "__main__":
    main()
