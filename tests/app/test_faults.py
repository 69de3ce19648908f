"""Bad days: workers killed in the middle of their work, hostile sites, a database that goes away."""

import datetime as dt
import errno
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from private_postgres import Postgres, find_binaries
from reading_corpus import CORPUS
from sqlalchemy.engine import Connection, Engine
from webserver import ARTICLE, Page, WebServer

from atlas import items, originals
from atlas.database import migrate
from atlas.database.engine import make_engine, read
from atlas.database.tables import contents, hosts, transitions, workers
from atlas.database.tables import items as items_table
from atlas.net.client import Fetcher
from atlas.search import search
from atlas.settings import Settings
from atlas.stages.pool import ReaderPool
from atlas.stages.table import TERMINAL, Stage
from atlas.worker import Limits, Worker, utc_now

pytestmark = pytest.mark.slow

APP = Path(__file__).resolve().parents[2] / "app"


def add(engine: Engine, *urls: str) -> list[int]:
    with engine.begin() as conn:
        return [items.add(conn, url, now=utc_now(), correlation_id="test").id for url in urls]


def stages(engine: Engine) -> dict[int, int]:
    with read(engine) as conn:
        return items.counts(conn)


def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


class Process:
    """`atlas work` as a process of its own, with a log to look at."""

    def __init__(self, settings: Settings, log: Path, **options: object) -> None:
        own = {
            "data_dir": settings.data_dir,
            "database_url": settings.database_url,
            "allowed_networks": "127.0.0.0/8",
            "host_delay_seconds": 0,
            "lease_seconds": 3,
            "wayback_enabled": False,
            **options,
        }
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ATLAS_")}
        environment |= {f"ATLAS_{name.upper()}": str(value) for name, value in own.items() if value != ""}
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "atlas", "work"],
                cwd=APP,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self, seconds: float = 25) -> int:
        """Ask it to stop; return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def events(self) -> list[dict]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


def article(name: object) -> str:
    """A page with a text of its own."""
    words = " ".join(f"word{name}x{number}" for number in range(40))
    return ARTICLE.replace("quiet", f"quiet {name}").replace("<p>", f"<p>{words}. </p><p>", 1)


def check_nothing_lost_doubled_or_stuck(engine: Engine, found: list[int], settings: Settings) -> None:
    """Every item is at an end, got there once, and what it holds is whole."""
    with read(engine) as conn:
        rows = conn.execute(sa.select(items_table).order_by(items_table.c.id)).all()
        ends = conn.execute(
            sa.select(transitions.c.item_id, sa.func.count())
            .where(transitions.c.stage.in_(TERMINAL))
            .group_by(transitions.c.item_id)
        ).all()
        kept = Counter(conn.execute(sa.select(contents.c.item_id)).scalars())
    assert [row.id for row in rows] == found
    assert {row.stage for row in rows} <= TERMINAL
    assert {(row.lease, row.due_at) for row in rows} == {(None, None)}
    assert dict(map(tuple, ends)) == dict.fromkeys(found, 1)
    assert kept == Counter(row.id for row in rows if row.stage == Stage.COMPLETE)
    for row in rows:
        if row.stage == Stage.COMPLETE:
            assert originals.get(settings.data_dir, row.original_sha256)


def all_ended(engine: Engine) -> bool:
    return all(stage in TERMINAL for stage in stages(engine))


def kill_again_and_again(
    engine: Engine, start: Callable[[], Process], times: int, pause: tuple[float, float]
) -> int:
    """Kill workers at moments nobody chose, once each has begun to work; return how often that was."""
    chance = random.Random(7)
    killed = 0
    while killed < times and not all_ended(engine):
        running = start()
        try:
            before = sum(count for stage, count in stages(engine).items() if stage in TERMINAL)
            wait_for(
                lambda before=before: (
                    sum(count for stage, count in stages(engine).items() if stage in TERMINAL) > before
                    or all_ended(engine)
                )
            )
            time.sleep(chance.uniform(*pause))
        finally:
            running.kill()
        killed += 1
    return killed


def test_a_worker_killed_in_the_middle_loses_doubles_and_blocks_nothing(settings, engine, tmp_path) -> None:
    with WebServer() as web:
        web.pages = {f"/{n}": slow_page(article(n), 0.05) for n in range(60)}
        found = add(engine, *(web.url(f"/{n}") for n in range(60)))

        def start() -> Process:
            return Process(settings, tmp_path / "log", max_attempts=20)

        assert kill_again_and_again(engine, start, 4, (0, 0.15)) == 4
        last = start()
        wait_for(lambda: all_ended(engine))
        assert last.end() == 0
    check_nothing_lost_doubled_or_stuck(engine, found, settings)
    assert stages(engine) == {Stage.COMPLETE: 60}
    with read(engine) as conn:
        assert search(conn, "quiet")[0] == 60
        assert search(conn, "word7x11")[0] == 1
        assert (
            conn.execute(
                sa.select(workers.c.name).where(workers.c.name.endswith(f":{last.process.pid}"))
            ).all()
            == []
        )


def slow_page(body: str, seconds: float) -> Callable[[object], Page]:
    def answer(_: object) -> Page:
        time.sleep(seconds)
        return Page(body)

    return answer


def test_two_workers_share_a_queue(settings, engine, tmp_path) -> None:
    both = threading.Event()  # no page is answered before each has one, however slow the machine

    def answer(n: int) -> Callable[[object], Page]:
        return lambda _: both.wait(30) and Page(article(n))

    with WebServer() as web:
        web.pages = {f"/{n}": answer(n) for n in range(40)}
        pair = [Process(settings, tmp_path / f"log{n}", worker_threads=1) for n in range(2)]
        try:
            found = add(engine, *(web.url(f"/{n}") for n in range(40)))
            wait_for(lambda: len(web.paths) == 2)
            both.set()
            wait_for(lambda: all_ended(engine))
        finally:
            statuses = [process.end() for process in pair]
        asked = Counter(web.paths)
    assert statuses == [0, 0]
    check_nothing_lost_doubled_or_stuck(engine, found, settings)
    assert asked == Counter(f"/{n}" for n in range(40)), "no page was asked for twice"
    done = [sum(event["event"] == "item" for event in process.events()) for process in pair]
    assert sum(done) == 40
    assert min(done) > 0


def alive(engine: Engine) -> int:
    with read(engine) as conn:
        return conn.execute(sa.select(sa.func.count()).select_from(workers)).scalar_one()


@pytest.mark.long
def test_a_stopped_worker_gives_back_what_it_holds(settings, engine, tmp_path) -> None:
    with WebServer() as web:
        found = add(engine, web.url("/silent/1"), web.url("/silent/2"))
        process = Process(settings, tmp_path / "log", fetch_timeout_seconds=60)
        wait_for(lambda: len(web.paths) == 2)
        started = time.monotonic()
        assert process.end() == 0
        assert time.monotonic() - started < 20
    with read(engine) as conn:
        rows = conn.execute(sa.select(items_table).where(items_table.c.id.in_(found))).all()
    assert [(row.stage, row.lease, row.attempts) for row in rows] == [(110, None, 0)] * 2
    assert all(row.due_at <= utc_now() for row in rows)
    assert alive(engine) == 0


@pytest.mark.long
def test_a_stop_of_all_its_processes_costs_no_page(plain_settings, tmp_path) -> None:
    """As systemd stops a unit: the readers get the signal too."""
    engine = make_engine(plain_settings)
    migrate.upgrade(engine)
    with WebServer() as web:
        web.pages = {f"/{n}": Page(article(n)) for n in range(80)}
        found = add(engine, *(web.url(f"/{n}") for n in range(80)))
        for _ in range(3):
            process = Process(plain_settings, tmp_path / "log")
            done = stages(engine).get(Stage.COMPLETE, 0)
            wait_for(lambda done=done: stages(engine).get(Stage.COMPLETE, 0) > done)
            os.killpg(process.process.pid, signal.SIGTERM)
            assert process.process.wait(25) == 0
        process = Process(plain_settings, tmp_path / "log")
        wait_for(lambda: all_ended(engine))
        assert process.end() == 0
    check_nothing_lost_doubled_or_stuck(engine, found, plain_settings)
    assert stages(engine) == {Stage.COMPLETE: 80}
    engine.dispose()


REDIRECT = "/redirect/302/"
FORBIDDEN = "forbidden_address"

#: Where a page that can be read ends; they have the same text here.
READ = (590, 599)
#: A name that does not exist is known not to exist, or cannot be looked up where there is no name server.
NO_NAME = (777, 888)

#: Where a bad day leads: path, stage, code, and words of the reason.
BAD_DAYS = [
    ("/article/fine", READ, None, None),
    ("/gzip", READ, None, None),
    ("/wrong-charset", READ, None, None),
    ("/status/404", 777, "http_404", "does not exist"),
    ("/status/410", 777, "http_410", "removed for good"),
    ("/status/401", 777, "http_401", "login"),
    ("/status/403", 777, "http_403", "refuses"),
    ("/status/500", 888, "http_500", "itself has a problem"),
    ("/status/429", 666, "rate_limited", "too busy"),
    ("/status/503/7", 666, "rate_limited", "too busy"),
    ("/loop/1", 777, "too_many_redirects", "more than 5 redirects"),
    ("/cookie", 777, "too_many_redirects", "redirects"),
    ("/no-location", 777, "bad_response", "where to"),
    ("/large", 777, "body_too_large", "larger than 20 MB"),
    ("/large/announced", 777, "body_too_large", "larger than 20 MB"),
    ("/endless", 888, "timeout", "did not finish within 3 seconds"),
    ("/silent", 888, "timeout", None),
    ("/slow-headers", 888, "timeout", None),
    ("/bomb/gzip", 777, "decompression_bomb", "unpack"),
    ("/bomb/deflate", 777, "decompression_bomb", "unpack"),
    ("/nested-bomb", 777, "bad_response", "compression"),
    ("/gzip/broken", 777, "bad_response", "damaged"),
    ("/gzip/cut", 888, "connection_failed", "broke off"),
    ("/brotli", 777, "bad_response", "compression"),
    ("/truncated", 888, "connection_failed", "broke off"),
    ("/hang-up", 888, "connection_failed", "broke off"),
    ("/garbage", 777, "bad_response", "proper HTTP"),
    ("/binary", 777, "not_html", None),
    ("/empty", 777, "empty_page", None),
    ("/metadata", 777, FORBIDDEN, None),
    (REDIRECT + quote("http://10.1.2.3/", safe=""), 777, FORBIDDEN, None),
    (REDIRECT + quote("http://[::1]/", safe=""), 777, FORBIDDEN, None),
    (REDIRECT + quote("http://2852039166/", safe=""), 777, FORBIDDEN, None),
    (REDIRECT + quote("file:///etc/passwd", safe=""), 777, "invalid_url", "web addresses only"),
]

#: The same for addresses that are bad by themselves.
BAD_ADDRESSES = [
    ("http://169.254.169.254/opc/v2/instance/", 777, FORBIDDEN),
    ("http://[fd00:ec2::254]/latest/meta-data/", 777, FORBIDDEN),
    ("http://2130706433.invalid/", NO_NAME, "dns_failure"),
    ("http://no-such-host.invalid/", NO_NAME, "dns_failure"),
    ("http://127.0.0.1:1/", 888, "connection_failed"),
]


def test_every_bad_day_ends_as_a_stage_with_a_reason(settings, engine) -> None:
    own = settings.model_copy(
        update={
            "allowed_networks": Settings(_env_file=None, allowed_networks="127.0.0.0/8").allowed_networks,
            "host_delay_seconds": 0,
            "fetch_connect_timeout_seconds": 1,
            "worker_threads": 12,
        }
    )
    with WebServer() as web:
        late = {web.url(path): rest for path, *rest in BAD_DAYS if rest[1] == "timeout"}
        others = {web.url(path): rest for path, *rest in BAD_DAYS if rest[1] != "timeout"}
        others |= {url: [stage, code, None] for url, stage, code in BAD_ADDRESSES}
        # What is large takes its time to arrive on a slow machine: so short is patience with what never ends.
        run_to_the_end(own.model_copy(update={"fetch_timeout_seconds": 60}), engine, others)
        run_to_the_end(own.model_copy(update={"fetch_timeout_seconds": 3}), engine, late)
    expected = others | late
    with read(engine) as conn:
        rows = {row.url: row for row in conn.execute(sa.select(items_table))}
    for url, (stage, code, words) in expected.items():
        row = rows[url]
        assert row.stage in (stage if isinstance(stage, tuple) else (stage,)), url
        assert (row.error or {}).get("code") == code, url
        assert row.lease is None, url
        if code:
            message = row.error["message"]
            assert re.fullmatch(r"[A-Z0-9][^\n]{10,300}", message), message
            assert words is None or words in message, message
            assert (row.due_at is None) == (row.stage == 777)


def run_to_the_end(settings: Settings, engine: Engine, urls) -> None:
    """Work until nothing is due."""
    add(engine, *urls)
    with ReaderPool(2, 20, 1024) as reader, stop_resting(engine):
        Worker(settings, engine, Fetcher(settings), reader, limits=Limits(once=True)).run()


@contextmanager
def stop_resting(engine: Engine) -> Iterator[None]:
    """All bad days have one host here: let none of them hold up the others."""
    done = threading.Event()

    def clear() -> None:
        while not done.wait(0.05):
            with engine.begin() as conn:
                conn.execute(sa.text("DELETE FROM hosts"))
                conn.execute(sa.text("DELETE FROM breakers"))

    thread = threading.Thread(target=clear)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.fixture
def own_server(tmp_path) -> Iterator[tuple[Postgres, Settings]]:
    """A PostgreSQL server that may be stopped, with a migrated database."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL server is installed (/usr/lib/postgresql/*/bin)")
    with Postgres(binaries) as server:
        name = server.create(template="template0")
        settings = Settings(_env_file=None, data_dir=tmp_path / "data", database_url=server.url(name))
        engine = make_engine(settings)
        migrate.upgrade(engine)
        engine.dispose()
        yield server, settings


@pytest.mark.long
def test_postgresql_stops_and_comes_back_under_a_running_worker(own_server, tmp_path) -> None:
    server, settings = own_server
    engine = make_engine(settings)
    with WebServer() as web:
        web.pages = {f"/{n}": slow_page(article(n), 0.2) for n in range(60)}
        found = add(engine, *(web.url(f"/{n}") for n in range(60)))
        process = Process(settings, tmp_path / "log", lease_seconds=20)
        wait_for(lambda: stages(engine).get(Stage.COMPLETE, 0) > 3)
        engine.dispose()
        with stopped(server):
            time.sleep(3)
            assert process.process.poll() is None
        wait_for(lambda: all_ended(engine))
        assert process.end() == 0
    check_nothing_lost_doubled_or_stuck(engine, found, settings)
    assert stages(engine) == {Stage.COMPLETE: 60}
    told = Counter(event["event"] for event in process.events() if event["level"] != "info")
    assert told == {"database unavailable": 1, "database is back": 1}
    engine.dispose()


@pytest.mark.long
def test_a_worker_starts_and_stops_without_its_database(own_server, tmp_path) -> None:
    server, settings = own_server
    with stopped(server):
        process = Process(settings, tmp_path / "log")
        wait_for(lambda: "database unavailable" in (tmp_path / "log").read_text())
        assert process.end() == 0
        waiting = Process(settings, tmp_path / "log")
        time.sleep(1)
    engine = make_engine(settings)
    with WebServer() as web:
        found = add(engine, web.url("/article"))
        wait_for(lambda: all_ended(engine))
        assert waiting.end() == 0
    check_nothing_lost_doubled_or_stuck(engine, found, settings)
    engine.dispose()


@contextmanager
def stopped(server: Postgres) -> Iterator[None]:
    data = str(server.directory / "data")
    server.run("pg_ctl", "--pgdata", data, "--wait", "--mode", "fast", "stop")
    yield
    flags = f"-c listen_addresses='' -c unix_socket_directories='{server.directory}' -c fsync=off"
    server.run("pg_ctl", "--pgdata", data, "--wait", "--options", flags, "start")


def test_a_full_disk_is_waited_out(plain_settings, tmp_path) -> None:
    """SQLite says "disk full" as it says "away": the item is not blamed."""
    engine = make_engine(plain_settings)
    migrate.upgrade(engine)
    with WebServer() as web:
        web.pages = {"/": Page(article("full"))}
        found = add(engine, web.url("/"))
        with engine.connect() as conn:
            pages = conn.exec_driver_sql("PRAGMA page_count").scalar_one()
        full = {"on": True}

        def limit(connection: object, _record: object) -> None:
            connection.execute(f"PRAGMA max_page_count = {pages if full['on'] else 1_000_000}")

        sa.event.listen(engine, "checkout", lambda connection, record, _: limit(connection, record))
        own = plain_settings.model_copy(
            update={
                "allowed_networks": Settings(_env_file=None, allowed_networks="127.0.0.0/8").allowed_networks
            }
        )
        with ReaderPool(1, 20, 1024) as reader:
            worker = Worker(own, engine, Fetcher(own), reader, limits=Limits(once=True))
            thread = threading.Thread(target=worker.run)
            thread.start()
            time.sleep(2)
            assert stages(engine) != {Stage.COMPLETE: 1}
            full["on"] = False
            thread.join(30)
    assert stages(engine) == {Stage.COMPLETE: 1}
    check_nothing_lost_doubled_or_stuck(engine, found, plain_settings)
    engine.dispose()


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of saved pages is not beside the repository")
def test_the_whole_corpus_with_twenty_kills(settings, engine, tmp_path) -> None:
    with WebServer(CORPUS) as web:
        names = sorted(path.name for path in CORPUS.iterdir())
        found = add(engine, *(web.url(f"/{name}") for name in names))

        def start() -> Process:
            return Process(settings, tmp_path / "log", max_attempts=30, worker_threads=2)

        killed = kill_again_and_again(engine, start, 20, (0, 0.1))
        last = start()
        wait_for(lambda: all_ended(engine), 120)
        assert last.end() == 0
    assert killed == 20
    check_nothing_lost_doubled_or_stuck(engine, found, settings)
    ended = stages(engine)
    assert ended[Stage.COMPLETE] >= 80
    assert not any(event["event"] == "item not handled" for event in last.events())


@pytest.mark.long
@pytest.mark.timeout(900)
def test_fifty_kills_of_two_workers_under_load(settings, engine, tmp_path) -> None:
    """Items keep coming in, two work, and one of the two is killed at a moment nobody chose, fifty times."""
    chance, found, killed = random.Random(11), [], 0
    with WebServer() as web:
        web.pages = {f"/{n}": slow_page(article(n), 0.03) for n in range(400)}
        urls = iter([web.url(f"/{n}") for n in range(400)])
        running: list[Process] = []
        while killed < 50:
            while len(running) < 2:
                running.append(
                    Process(
                        settings, tmp_path / "log", max_attempts=60, worker_threads=2, max_queue_size=10_000
                    )
                )
            found += add(engine, *islice(urls, 7))
            before = ended(engine)
            wait_for(lambda before=before: ended(engine) > before or all_ended(engine), 60)
            time.sleep(chance.uniform(0, 0.3))
            running.pop(chance.randrange(2)).kill()
            killed += 1
        found += add(engine, *urls)
        while len(running) < 2:
            running.append(Process(settings, tmp_path / "log", max_attempts=60, worker_threads=2))
        wait_for(lambda: all_ended(engine), 240)
        assert [process.end() for process in running] == [0, 0]
    check_nothing_lost_doubled_or_stuck(engine, found, settings)
    assert stages(engine) == {Stage.COMPLETE: 400}


def ended(engine: Engine) -> int:
    return sum(count for stage, count in stages(engine).items() if stage in TERMINAL)


def test_a_database_that_can_only_be_read_is_waited_out(plain_settings, tmp_path) -> None:
    """As after a disk error, when the system mounts it read-only: nothing is blamed on the item."""
    engine = make_engine(plain_settings)
    migrate.upgrade(engine)
    read_only = {"on": True}

    def restrict(conn: Connection) -> None:
        if read_only["on"]:  # after our own handler, which allows writing anew with each transaction
            conn.exec_driver_sql("PRAGMA query_only = ON")

    with WebServer() as web:
        web.pages = {"/": Page(article("read-only"))}
        found = add(engine, web.url("/"))
        sa.event.listen(engine, "begin", restrict)
        own = on_loopback(plain_settings)
        with ReaderPool(1, 20, 1024) as reader:
            worker = Worker(own, engine, Fetcher(own), reader, limits=Limits(once=True))
            thread = threading.Thread(target=worker.run)
            thread.start()
            time.sleep(1.5)
            assert stages(engine) == {Stage.CONTENT_QUEUED: 1}
            read_only["on"] = False
            thread.join(30)
    assert stages(engine) == {Stage.COMPLETE: 1}
    check_nothing_lost_doubled_or_stuck(engine, found, plain_settings)
    engine.dispose()


def on_loopback(settings: Settings) -> Settings:
    allowed = Settings(_env_file=None, allowed_networks="127.0.0.0/8").allowed_networks
    return settings.model_copy(update={"allowed_networks": allowed, "host_delay_seconds": 0})


def test_a_disk_without_room_for_originals_loses_nothing(settings, engine, monkeypatch) -> None:
    """The original cannot be written: the item is tried again, and nothing half is left behind."""
    full = {"on": True}
    write = originals._write

    def failing(path: Path, data: bytes) -> None:
        if full["on"]:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, data)

    monkeypatch.setattr(originals, "_write", failing)
    own = on_loopback(settings).model_copy(update={"retry_base_seconds": 0.2})
    with WebServer() as web:
        web.pages = {"/": Page(article("full"))}
        found = add(engine, web.url("/"))
        with ReaderPool(1, 20, 1024) as reader:
            Worker(own, engine, Fetcher(own), reader, limits=Limits(max_items=1)).run()
            with read(engine) as conn:
                (row,) = conn.execute(sa.select(items_table)).all()
            assert (row.stage, row.lease, row.original_sha256) == (Stage.SYSTEM_ERROR, None, None)
            full["on"] = False
            wait_for(lambda: row.due_at <= utc_now())
            Worker(own, engine, Fetcher(own), reader, limits=Limits(max_items=1)).run()
    assert stages(engine) == {Stage.COMPLETE: 1}
    check_nothing_lost_doubled_or_stuck(engine, found, settings)


@pytest.mark.parametrize("jump", [dt.timedelta(days=400), dt.timedelta(days=-400)])
def test_a_clock_that_jumps_under_a_worker(settings, engine, jump) -> None:
    """While an item is in hand the clock is set right: it ends once, and the next one goes through, too."""
    wrong = {"by": dt.timedelta(0)}

    def clock() -> dt.datetime:
        return utc_now() + wrong["by"]

    def answer(_: object) -> Page:
        wrong["by"] = jump
        return Page(article("jump"))

    own = on_loopback(settings)
    with WebServer() as web:
        web.pages = {"/first": answer, "/second": Page(article("second"))}
        found = add(engine, web.url("/first"))
        with ReaderPool(1, 20, 1024) as reader:
            Worker(own, engine, Fetcher(own), reader, clock=clock, limits=Limits(max_items=1)).run()
            with engine.begin() as conn:
                found.append(items.add(conn, web.url("/second"), now=clock(), correlation_id="test").id)
                conn.execute(sa.update(hosts).values(next_at=clock()))
            Worker(own, engine, Fetcher(own), reader, clock=clock, limits=Limits(max_items=1)).run()
    assert stages(engine) == {Stage.COMPLETE: 2}
    check_nothing_lost_doubled_or_stuck(engine, found, settings)
