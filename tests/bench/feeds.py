"""How many entries a second a round of polling takes in: fetched, read, made safe, kept and indexed.

.venv/bin/python tests/bench/feeds.py [--feeds 200] [--entries 50] [--rounds 1]

Every entry has a body of its own of some 300 words, so nothing is left to be fetched: after the round all can
be read and searched. A second round finds nothing new.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from email.utils import format_datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "app"), str(ROOT / "tests" / "app")]

import datetime as dt  # noqa: E402
import subprocess  # noqa: E402

import sqlalchemy as sa  # noqa: E402
from processes import cpu_seconds, new_atlas  # noqa: E402
from search import databases  # noqa: E402

from atlas.database.engine import make_engine, read  # noqa: E402
from atlas.database.tables import contents, feeds  # noqa: E402
from atlas.net.client import Fetcher  # noqa: E402
from atlas.scheduler import poll_due  # noqa: E402
from atlas.search import search  # noqa: E402
from atlas.settings import Settings  # noqa: E402
from atlas.sources.subscriptions import subscribe  # noqa: E402
from atlas.stages.pool import ReaderPool  # noqa: E402
from atlas.telemetry import logs  # noqa: E402

WORDS = 300
#: Feeds of one host are asked one after another.
HOSTS = 8
_SYLLABLES = ("an", "be", "co", "di", "er", "fo", "gal", "hin", "is", "jo", "kel", "lu", "mer", "nor", "os")


@dataclass(frozen=True)
class Rate:
    """What a round did."""

    entries: int
    seconds: float
    #: Of the processors, without the web servers and the database's server.
    cpu_seconds: float
    again: float


def make_feeds(directory: Path, number: int, entries: int) -> None:
    """Write feeds to be served, each with words of its own."""
    dice = random.Random(7)
    words = ["".join(dice.choices(_SYLLABLES, k=dice.randint(1, 4))) for _ in range(8000)]
    moment = dt.datetime(2026, 11, 20, tzinfo=dt.UTC)
    for feed in range(number):
        rows = []
        for entry in range(entries):
            text = dice.choices(words, k=WORDS)
            parts = [" ".join(text[start : start + 60]) for start in range(0, WORDS, 60)]
            body = "".join(
                f"<p>{part} <a href='https://other.example/x/{entry}'>more</a>, <b>and</b> <i>so on</i>.</p>"
                for part in parts
            )
            date = format_datetime(moment - dt.timedelta(hours=entry))
            rows.append(
                f"<item><title>{' '.join(text[:6])}</title><link>https://site{feed}.example/{entry}</link>"
                f"<guid isPermaLink='false'>{feed}-{entry}</guid><pubDate>{date}</pubDate>"
                f"<dc:creator>Ada</dc:creator><content:encoded><![CDATA[{body}]]></content:encoded></item>"
            )
        spaces = (
            "xmlns:content='http://purl.org/rss/1.0/modules/content/' "
            "xmlns:dc='http://purl.org/dc/elements/1.1/'"
        )
        (directory / f"{feed}.xml").write_text(
            f"<?xml version='1.0'?><rss version='2.0' {spaces}><channel><title>Feed {feed}</title>"
            f"<link>https://site{feed}.example/</link>{''.join(rows)}</channel></rss>"
        )


def serve(directory: Path, host: str) -> tuple[str, subprocess.Popen[str]]:
    """Serve a directory on one of the machine's own addresses; return where, and the server."""
    command = [sys.executable, "-u", "-m", "http.server", "--bind", host, "--directory", str(directory), "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert server.stdout is not None
    port = int(server.stdout.readline().split(" port ")[1].split()[0])
    return f"http://{host}:{port}", server


def own_cpu(servers: list[tuple[str, subprocess.Popen[str]]]) -> float:
    """Return the processor time that this process and its reader have used."""
    return cpu_seconds(os.getpid()) - sum(cpu_seconds(server.pid) for _, server in servers)


def measure(directory: Path, database_url: str, number: int, entries: int) -> Rate:
    """Follow all feeds, and ask them twice."""
    local = {"allowed_networks": ["127.0.0.0/8"], "host_delay_seconds": 0}
    data = directory / "data"
    new_atlas(data, database_url, log_level="warning")
    settings = Settings(_env_file=None, data_dir=data, database_url=database_url, **local)
    engine = make_engine(settings)
    served = directory / "feeds"
    served.mkdir()
    make_feeds(served, number, entries)
    servers = [serve(served, f"127.0.0.{number}") for number in range(1, HOSTS + 1)]
    try:
        now = dt.datetime.now(dt.UTC)
        with engine.begin() as conn:
            for feed in range(number):
                subscribe(conn, f"{servers[feed % HOSTS][0]}/{feed}.xml", now=now)
        pool = ReaderPool(settings.reader_processes, 60, settings.reader_memory_mb)
        with pool as reader:
            pool.ask("feed", b"<rss></rss>", content_type=None, url="http://x.example/")
            started, cpu = time.perf_counter(), own_cpu(servers)
            done = poll_due(settings, engine, Fetcher(settings), reader)
            seconds, cpu = time.perf_counter() - started, own_cpu(servers) - cpu
            assert done.new_items == number * entries, done
            with engine.begin() as conn:
                conn.execute(feeds.update().values(due_at=now))
            started = time.perf_counter()
            assert poll_due(settings, engine, Fetcher(settings), reader).new_items == 0
            again = time.perf_counter() - started
        with read(engine) as conn:
            assert conn.execute(sa.select(sa.func.count()).select_from(contents)).scalar() == done.new_items
            assert search(conn, '"and so on"')[1]
    finally:
        for _, server in servers:
            server.terminate()
            server.wait()
        engine.dispose()
    return Rate(done.new_items, seconds, cpu, again)


def main() -> None:
    """Measure on each engine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--feeds", type=int, default=200)
    parser.add_argument("--entries", type=int, default=50)
    options = parser.parse_args()
    logs.configure("warning", "console", stream=sys.stderr)
    with databases() as urls:
        for name, url in urls.items():
            with tempfile.TemporaryDirectory(prefix="atlas-bench-") as directory:
                rate = measure(Path(directory), url, options.feeds, options.entries)
            each = 1000 * rate.cpu_seconds / rate.entries
            print(
                f"{name:12}{rate.entries / rate.seconds:8,.0f} entries/s ({rate.entries:,} in "
                f"{rate.seconds:.1f} s, {each:.2f} ms of a processor each); "
                f"{rate.entries / rate.again:,.0f} known ones/s"
            )


if __name__ == "__main__":
    main()
