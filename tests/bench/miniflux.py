"""How quickly 200 feeds of 50 entries come in: Atlas on both engines and miniflux, in one run.

.venv/bin/python tests/bench/miniflux.py [--feeds 200] [--entries 50] [--rounds 3]

All ask the same server on this machine, each feed at an address of its own (127.1.x.y); both have PostgreSQL
as it is on a machine, waiting for the disk. Atlas is timed from the start of `atlas poll`, miniflux from the
request that starts its refresh, each until all entries stand in its database. What the processors did for it,
the database server's part included, is told as well: that does not depend on who else is on the machine.
miniflux comes from Debian's package (newer suites have it), unpacked below .cache/ and never installed.
"""

import argparse
import asyncio
import base64
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Engine

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "app"), str(ROOT / "tests" / "app")]

from private_postgres import Postgres, find_binaries  # noqa: E402
from processes import Atlas, cpu_seconds, free_port, new_atlas, running, wait_for_url  # noqa: E402

from atlas.database.engine import make_engine  # noqa: E402
from atlas.settings import Settings  # noqa: E402

CACHE = ROOT / ".cache" / "miniflux"
#: The suite of Debian that has the package.
SUITE = "trixie"
LONGEST_SECONDS = 300
MINIFLUX = "miniflux, PostgreSQL, in"
SENTENCE = "The lighthouse keeper wrote down what the sea brought, and the sea took it back by night. "
ITEM = """<item><title>Entry {entry} of feed {feed}</title><link>https://site{feed}.example/{entry}</link>
<guid isPermaLink="false">{feed}-{entry}</guid>
<pubDate>Sun, 22 Nov 2026 {hour:02}:{minute:02}:00 GMT</pubDate>
<description>A short word about entry {entry}.</description>
<content:encoded><![CDATA[{text}]]></content:encoded></item>"""
FEED = """<?xml version="1.0" encoding="UTF-8"?>
<rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/"><channel>
<title>Feed {feed}</title><link>https://site{feed}.example/</link><description>Made up</description>
{items}</channel></rss>"""


def feed_text(feed: int, entries: int) -> bytes:
    """Return a feed whose entries have their whole texts, of some 300 words."""
    items = []
    for entry in range(entries):
        paragraph = (
            f"<p>{SENTENCE * 3}<a href='https://site{feed}.example/more/{entry}'>More</a> of {entry}.</p>"
        )
        text = f"<h2>Of day {entry} in place {feed}</h2>" + paragraph * 6
        values = {"feed": feed, "entry": entry, "hour": entry // 60, "minute": entry % 60, "text": text}
        items.append(ITEM.format(**values))
    return FEED.format(feed=feed, items="\n".join(items)).encode()


def address(feed: int) -> str:
    """Return the address a feed has for itself: another host for those who ask."""
    return f"127.1.{feed // 250}.{feed % 250 + 1}"


async def serve(feeds: int, entries: int, port: int) -> None:
    """Serve the feeds, each at its address, until ended."""
    texts = {address(feed): feed_text(feed, entries) for feed in range(feeds)}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        text = texts[writer.get_extra_info("sockname")[0]]
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/rss+xml\r\nContent-Length: {len(text)}\r\n"
        writer.write(head.encode() + b"Connection: close\r\n\r\n" + text)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, list(texts), port)
    await server.serve_forever()


@contextmanager
def feed_server(feeds: int, entries: int) -> Iterator[list[str]]:
    """Run the server as a process; offer the addresses of its feeds."""
    port = free_port()
    arguments = ["--serve", str(port), "--feeds", str(feeds), "--entries", str(entries)]
    process = subprocess.Popen([sys.executable, __file__, *arguments])
    with running(process):
        urls = [f"http://{address(feed)}:{port}/feed.xml" for feed in range(feeds)]
        wait_for_url(urls[-1])
        yield urls


def wait_for(count: Callable[[], int], expected: int) -> None:
    """Wait until so many are there."""
    end = time.monotonic() + LONGEST_SECONDS
    while (found := count()) < expected:
        if time.monotonic() > end:
            raise TimeoutError(f"{found} of {expected} came in")
        time.sleep(0.02)


def counter(engine: Engine, statement: str) -> Callable[[], int]:
    """Return a function that counts by SQL."""

    def count() -> int:
        with engine.connect() as conn:
            return int(conn.exec_driver_sql(statement).scalar_one())

    return count


def opml(urls: list[str]) -> str:
    """Return the feeds as OPML."""
    outlines = "".join(f'<outline type="rss" text="{url}" xmlUrl="{url}"/>' for url in urls)
    return f'<?xml version="1.0"?><opml version="2.0"><head/><body>{outlines}</body></opml>'


@dataclass(frozen=True)
class Took:
    """Seconds until all entries were in, and of the processors' time."""

    seconds: float
    processor: float


def postgres_cpu(server: Postgres | None) -> float:
    """Return what the database server has used of the processors so far."""
    if server is None:
        return 0.0
    return cpu_seconds(int((server.directory / "data" / "postmaster.pid").read_text().split()[0]))


def time_atlas(urls: list[str], entries: int, server: Postgres | None) -> dict[str, Took]:
    """Return what it took until all entries were in, and until all could be read and found."""
    database_url = ""
    if server is not None:
        server.execute("CREATE DATABASE atlas")
        database_url = server.url("atlas")
    with tempfile.TemporaryDirectory(prefix="atlas-bench-") as directory:
        data = Path(directory) / "data"
        queue = len(urls) * entries * 2
        atlas = new_atlas(data, database_url, log_level="warning", max_queue_size=queue, **_cores())
        follow(atlas, urls)
        engine = make_engine(Settings(_env_file=None, data_dir=data, database_url=database_url))
        items = counter(engine, "SELECT count(*) FROM items")
        started, before = time.perf_counter(), postgres_cpu(server)
        poll = atlas.start("poll", log=Path(directory) / "poll.log")
        with running(poll):
            wait_for(items, len(urls) * entries)
            seconds = time.perf_counter() - started
            _, _, used = os.wait4(poll.pid, 0)
            poll.returncode = 0
        came = Took(seconds, used.ru_utime + used.ru_stime + postgres_cpu(server) - before)
        ready = counter(engine, "SELECT count(*) FROM items WHERE stage = 590")
        if ready() == len(urls) * entries:
            engine.dispose()
            return {"in and readable": came}
        started, before = time.perf_counter(), postgres_cpu(server)
        worker = atlas.start("work", log=Path(directory) / "worker.log")
        with running(worker):
            wait_for(ready, len(urls) * entries)
            seconds = time.perf_counter() - started
            processor = cpu_seconds(worker.pid) + postgres_cpu(server) - before
        engine.dispose()
    return {"in": came, "readable": Took(came.seconds + seconds, came.processor + processor)}


def _cores() -> dict[str, int]:
    return {"reader_processes": os.cpu_count() or 1}


def follow(atlas: Atlas, urls: list[str]) -> None:
    """Follow the feeds without asking them."""
    code = """
import sys
from atlas.commands import now
from atlas.database.engine import make_engine
from atlas.settings import load_settings
from atlas.sources.subscriptions import subscribe
with make_engine(load_settings()).begin() as conn:
    for url in sys.stdin.read().split():
        subscribe(conn, url, now=now(), interval_seconds=3600)
"""
    subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "app",
        env=atlas.environment,
        input="\n".join(urls),
        text=True,
        check=True,
    )


def time_miniflux(program: Path, urls: list[str], entries: int, server: Postgres) -> Took:
    """Return what it took from the request to refresh until all entries were in."""
    server.execute("CREATE DATABASE miniflux")
    port = free_port()
    environment = {
        "DATABASE_URL": f"user={server.user} dbname=miniflux host={server.directory} sslmode=disable",
        "RUN_MIGRATIONS": "1",
        "CREATE_ADMIN": "1",
        "ADMIN_USERNAME": "admin",
        "ADMIN_PASSWORD": "benchmark",
        "LISTEN_ADDR": f"127.0.0.1:{port}",
        "DISABLE_SCHEDULER_SERVICE": "1",
        "LOG_LEVEL": "error",
    }

    def ask(method: str, path: str, body: str | None = None) -> None:
        credentials = base64.b64encode(b"admin:benchmark").decode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}{path}",
            data=None if body is None else body.encode(),
            method=method,
            headers={"Authorization": f"Basic {credentials}"},
        )
        with urllib.request.urlopen(request, timeout=60):
            pass

    engine = sa.create_engine(server.url("miniflux"))
    try:
        process = subprocess.Popen([program], env=environment)
        with running(process):
            wait_for_url(f"http://127.0.0.1:{port}/healthcheck")
            ask("POST", "/v1/import", opml(urls))
            wait_for(counter(engine, "SELECT count(*) FROM feeds"), len(urls))
            count = counter(engine, "SELECT count(*) FROM entries")
            started, before = time.perf_counter(), cpu_seconds(process.pid) + postgres_cpu(server)
            ask("PUT", "/v1/feeds/refresh")
            wait_for(count, len(urls) * entries)
            seconds = time.perf_counter() - started
            return Took(seconds, cpu_seconds(process.pid) + postgres_cpu(server) - before)
    finally:
        engine.dispose()
        server.drop("miniflux")


def _rates(took: list[Took], total: int) -> tuple[float, float]:
    """Return the median entries a second, by the clock and of a processor's time."""
    by_clock = statistics.median(one.seconds for one in took)
    return total / by_clock, total / statistics.median(one.processor for one in took)


def find_miniflux() -> Path | None:
    """Return the program, fetched from Debian's package if need be; None when there is none to be had."""
    program = CACHE / "usr" / "bin" / "miniflux"
    if program.exists():
        return program
    command = ["apt-get", "indextargets", "--format", "$(ORIGIN) $(RELEASE) $(REPO_URI)"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        mirrors = {
            line.split()[2]
            for line in found.splitlines()
            if line.startswith("Debian ") and "-" not in line.split()[1]
        }
        if not mirrors:
            return None
        _unpack(mirrors.pop())
    except (OSError, subprocess.CalledProcessError):
        return None
    return program if program.exists() else None


def _unpack(mirror: str) -> None:
    """Download the package with lists of its own: the system's sources and lists stay as they are."""
    for folder in ("lists/partial", "archives/partial"):
        (CACHE / "apt" / folder).mkdir(parents=True, exist_ok=True)
    apt = CACHE / "apt"
    (apt / "status").touch()
    key = "/usr/share/keyrings/debian-archive-keyring.gpg"
    (apt / "sources.list").write_text(f"deb [signed-by={key}] {mirror} {SUITE} main\n")
    options = {
        "Dir::Etc::sourcelist": apt / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": apt / "lists",
        "Dir::State::status": apt / "status",
        "Dir::Cache": apt,
        "APT::Sandbox::User": "root",
    }
    flags = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    for verb in (["update"], ["download", "miniflux"]):
        subprocess.run(["apt-get", "-qq", *flags, *verb], cwd=apt, check=True, timeout=300)
    (package,) = apt.glob("miniflux_*.deb")
    subprocess.run(["dpkg", "-x", package, CACHE], check=True)


def main() -> None:
    """Measure all by turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--feeds", type=int, default=200)
    parser.add_argument("--entries", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", type=int, metavar="PORT", help="only serve the feeds")
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.feeds, options.entries, options.serve))
        return
    binaries, program = find_binaries(), find_miniflux()
    total = options.feeds * options.entries
    found: dict[str, list[Took]] = {}

    with feed_server(options.feeds, options.entries) as urls:
        for _ in range(options.rounds):
            for name, took in time_atlas(urls, options.entries, None).items():
                found.setdefault(f"Atlas, SQLite, {name}", []).append(took)
            if binaries is None:
                continue
            with Postgres(binaries, durable=True) as server:
                for name, took in time_atlas(urls, options.entries, server).items():
                    found.setdefault(f"Atlas, PostgreSQL, {name}", []).append(took)
                if program is not None:
                    took = time_miniflux(program, urls, options.entries, server)
                    found.setdefault(MINIFLUX, []).append(took)
    other = _rates(found[MINIFLUX], total) if MINIFLUX in found else None
    print(f"{'entries a second':36}{'by the clock':>14}{'':10}{'of a processor':>16}")
    for name, took in found.items():
        line = f"{name:36}"
        for rate, width, theirs in zip(_rates(took, total), (14, 16), other or (0, 0), strict=True):
            beside = f"({rate / theirs:.1f} x)" if theirs and name != MINIFLUX else ""
            line += f"{rate:{width}.0f} {beside:9}"
        print(line)
    if program is None or binaries is None:
        print("miniflux is not here to compare with: it takes PostgreSQL and Debian's package of it.")


if __name__ == "__main__":
    main()
