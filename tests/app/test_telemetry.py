"""Logs, metrics and the word to systemd."""

import io
import json
import logging
import os
import re
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import sqlalchemy as sa
import structlog
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from sqlalchemy.engine import Engine

from atlas import items
from atlas.database.engine import make_engine
from atlas.database.tables import breakers, counters, feeds, imports, workers
from atlas.items import ItemError
from atlas.resilience import breakers as breakers_of
from atlas.stages.table import Stage
from atlas.telemetry import logs, metrics, tally
from atlas.telemetry.catalogue import CATALOGUE, COUNTED
from atlas.telemetry.metrics import Metrics
from atlas.telemetry.systemd import notify, watchdog_seconds

APP = Path(__file__).resolve().parents[2] / "app"


@pytest.fixture(autouse=True)
def _logging_as_before():
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def written(form="json", level="info"):
    stream = io.StringIO()
    logs.configure(level, form, stream=stream)
    return stream


def events(stream) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_json_line_with_the_keys_in_order() -> None:
    stream = written()
    with logs.correlated("abc123"):
        structlog.stdlib.get_logger("atlas.test").info("two\nlines", item=7, path=Path("/x"))
    structlog.stdlib.get_logger("atlas.test").warning("outside")

    first, second = events(stream)
    assert list(first) == ["ts", "level", "event", "logger", "correlation_id", "item", "path"]
    assert first | {"ts": ""} == {
        "ts": "", "level": "info", "event": "two\nlines", "logger": "atlas.test",
        "correlation_id": "abc123", "item": 7, "path": "/x",
    }  # fmt: skip
    assert first["ts"].endswith("Z")
    assert "correlation_id" not in second


def test_other_libraries_log_the_same_way() -> None:
    stream = written()
    with logs.correlated("abc123"):
        logging.getLogger("uvicorn.error").info("Listening on %s", "port", extra={"color_message": "twice"})
    logging.getLogger("httpx2").info("every request")
    logging.getLogger("sqlalchemy.pool").warning("hm")

    first, second = events(stream)
    assert (first["event"], first["logger"], first["correlation_id"]) == (
        "Listening on port", "uvicorn.error", "abc123",
    )  # fmt: skip
    assert "color_message" not in first
    assert second["logger"] == "sqlalchemy.pool"


@pytest.mark.parametrize("form", ["json", "console"])
def test_the_short_way_writes_the_same_line(form, monkeypatch) -> None:
    monkeypatch.setattr(logs, "_stamp", lambda *args: args[2] | {"ts": "now"})
    stream = written(form)
    fields = {"path": "/x/atl_" + "s3cret-" * 6, "status": 200, "ms": 1.5}
    with logs.correlated("abc123"):
        structlog.stdlib.get_logger("atlas.test").info("request", **fields)
        logs.note("atlas.test", logging.INFO, "request", **fields)
    logs.note("atlas.test", logging.DEBUG, "request", **fields)

    long, short = stream.getvalue().splitlines()
    assert short == long
    assert "s3cret" not in short


def test_the_short_way_is_the_long_one_where_logs_go_elsewhere() -> None:
    logging.getLogger().handlers = []
    with structlog.testing.capture_logs() as captured:
        logs.note("atlas.test", logging.ERROR, "request", status=200)
    assert captured == [{"event": "request", "log_level": "error", "status": 200}]


def test_levels_are_kept() -> None:
    stream = written(level="warning")
    log = structlog.stdlib.get_logger("atlas.test")
    log.info("no")
    logging.getLogger("other").info("no")
    log.error("yes")
    assert [event["event"] for event in events(stream)] == ["yes"]


@pytest.mark.parametrize("form", ["json", "console"])
def test_secrets_stay_inside(form) -> None:
    stream = written(form)
    log = structlog.stdlib.get_logger("atlas.test")
    token = "atl_" + "s3cret-" * 6
    log.info("token %s", token, password="s3cret", headers={"Cookie": "s3cret", "Accept": "all"})
    log.info("settings", value=SecretStr("s3cret"), url="postgresql+psycopg://atlas:s3cret@db/atlas")
    log.info("list", urls=["https://me:s3cret@example.org/"], api_key="s3cret", session_token="s3cret")
    logging.getLogger("other").warning("Authorization of %s", token)
    try:
        int("https://me:s3cret@example.org/")
    except ValueError:
        log.exception("failed")

    assert "s3cret" not in stream.getvalue()
    assert logs.MASK in stream.getvalue()
    assert "example.org" in stream.getvalue()
    assert "ValueError" in stream.getvalue()


def test_a_traceback_is_text_without_the_values_of_variables() -> None:
    stream = written()
    hidden = "value of a variable"
    try:
        len(hidden) / 0
    except ZeroDivisionError:
        structlog.stdlib.get_logger("atlas.test").exception("failed")
    (event,) = events(stream)
    assert "ZeroDivisionError" in event["exception"]
    assert hidden not in event["exception"]


def test_characters_no_terminal_can_show_cost_no_line() -> None:
    code = (
        "from atlas.telemetry import logs; import structlog\n"
        "logs.configure('info', 'json'); structlog.stdlib.get_logger('x').info('odd \\udc80 ü')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=APP, capture_output=True, check=True, env={"PYTHONUTF8": "1"}
    )
    assert json.loads(done.stdout)["event"].startswith("odd ")
    assert done.stderr == b""


def test_words_for_people() -> None:
    stream = written("console")
    structlog.stdlib.get_logger("atlas.test").info("worker started", threads=4)
    assert "worker started" in stream.getvalue()
    assert "threads=4" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


class Listener:
    """A service manager's end of the notification socket."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(1)

    def hear(self) -> str:
        return self.socket.recv(4096).decode()


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_hears(tmp_path, monkeypatch, abstract) -> None:
    name = f"atlas-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    listener = Listener("\0" + name if abstract else name)
    monkeypatch.setenv("NOTIFY_SOCKET", "@" + name if abstract else name)
    assert notify("READY=1", "STATUS=Fine")
    assert listener.hear() == "READY=1\nSTATUS=Fine"
    listener.socket.close()


def test_without_systemd_nothing_happens(monkeypatch, tmp_path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody listens"))
    assert not notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", "vsock:2:1234")
    assert not notify("READY=1")


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [
        ("30000000", None, 15.0),
        ("30000000", "ours", 15.0),
        ("30000000", "1", None),
        ("0", None, None),
        ("", None, None),
        ("soon", None, None),
    ],
)
def test_the_watchdog_is_fed_twice_as_often_as_it_must(monkeypatch, usec, pid, seconds) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    if pid:
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if pid == "ours" else pid)
    assert watchdog_seconds() == seconds


def samples(rendered: bytes) -> dict[tuple, float]:
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(rendered.decode())
        for sample in family.samples
    }


def test_metrics_tell_how_everything_does(engine: Engine, clock) -> None:
    leased_error = ItemError("http_404", "Gone.", Stage.FETCH_ATTEMPTING)
    with engine.begin() as conn:
        items.add(conn, "https://example.org/1", now=clock.now, correlation_id="c")
    leased = items.lease(engine, worker="w", now=clock.now, lease_seconds=30, host_delay_seconds=0)
    with engine.begin() as conn:
        items.fail(conn, leased, leased_error, now=clock.now)
        items.add(conn, "https://example.org/2", now=clock.now, correlation_id="c")
        same = {"interval_seconds": 60, "due_at": clock.now, "added_at": clock.now}
        rows = [{**same, "url": url, "url_key": url, "failures": n} for url, n in (("a", 0), ("b", 3))]
        conn.execute(feeds.insert(), rows)
        started = clock.now
        seen = clock.advance(90)
        conn.execute(workers.insert().values(name="host:1", started_at=started, seen_at=seen, processed=5))
        counted = tally.Tally()
        counted.outcome("complete")
        counted.outcome("failed", "http_404")
        counted.step("fetch", 0.3)
        counted.step("fetch", 60)
        tally.write(conn, counted.drain())
    clock.advance(10)

    shown = Metrics(engine, clock)
    shown.request("GET", "/api/items/{item_id}", 200, 0.004)
    shown.request("BREW", "", 404, 0.001)
    body, kind = shown.render()
    found = samples(body)

    assert kind.startswith("text/plain")
    assert found["atlas_database_up",] == 1
    assert found["atlas_items", ("kind", "article"), ("stage", "777")] == 1
    assert found["atlas_items", ("kind", "article"), ("stage", "110")] == 1
    assert found["atlas_dead_letters",] == 1
    assert found["atlas_queue_length", ("lane", "normal")] == 1
    assert found["atlas_queue_length", ("lane", "now")] == 0
    assert found["atlas_queue_oldest_wait_seconds", ("lane", "normal")] == 100
    assert found["atlas_items_failed", ("code", "http_404"), ("kind", "article")] == 1
    assert found["atlas_feeds", ("state", "healthy")] == 1
    assert found["atlas_feeds", ("state", "broken")] == 1
    assert found["atlas_worker_heartbeat_age_seconds", ("worker", "host:1")] == 10
    assert found["atlas_worker_uptime_seconds", ("worker", "host:1")] == 90
    assert found["atlas_item_outcomes_total", ("code", ""), ("kind", "article"), ("outcome", "complete")] == 1
    assert (
        found["atlas_item_outcomes_total", ("code", "http_404"), ("kind", "article"), ("outcome", "failed")]
        == 1
    )
    assert found["atlas_step_seconds_bucket", ("le", "0.25"), ("step", "fetch")] == 0
    assert found["atlas_step_seconds_bucket", ("le", "0.5"), ("step", "fetch")] == 1
    assert found["atlas_step_seconds_bucket", ("le", "30.0"), ("step", "fetch")] == 1
    assert found["atlas_step_seconds_bucket", ("le", "+Inf"), ("step", "fetch")] == 2
    assert found["atlas_step_seconds_count", ("step", "fetch")] == 2
    assert found["atlas_step_seconds_sum", ("step", "fetch")] == pytest.approx(60.3)
    route = (("method", "GET"), ("route", "/api/items/{item_id}"), ("status", "200"))
    assert found["atlas_request_seconds_count", *route] == 1
    assert (
        found["atlas_request_seconds_count", ("method", "other"), ("route", "none"), ("status", "404")] == 1
    )
    assert "process_resident_memory_bytes" in body.decode()
    assert "example.org" not in body.decode()


def test_what_any_process_counts_is_served_and_survives_it(engine: Engine, clock) -> None:
    tally.count("transcripts", "feed", "fetched")
    tally.count("transcripts", "feed", "fetched", by=2)
    tally.save(engine)
    tally.save(engine)
    tally.count("transcripts", "feed", "fetched")
    found = samples(Metrics(engine, clock).render()[0])
    assert found["atlas_transcripts_total", ("outcome", "fetched"), ("source", "feed")] == 3


def test_what_cannot_be_written_is_kept(engine: Engine, plain_settings) -> None:
    away = plain_settings.model_copy(update={"database_url": "postgresql+psycopg://nobody@127.0.0.1:1/none"})
    tally.count("searches", "found")
    with pytest.raises(sa.exc.OperationalError):
        tally.save(make_engine(away))
    tally.save(engine)
    with engine.begin() as conn:
        assert tally.read_sums(conn).counts == {"searches": {("found",): 1}}


def test_the_catalogue_is_what_is_served(engine: Engine, clock) -> None:
    """docs/metrics.md is written from the catalogue: it tells of all there is, and of nothing else."""
    with engine.begin() as conn:
        items.add(conn, "https://example.org/1", now=clock.now, correlation_id="c")
    leased = items.lease(engine, worker="w", now=clock.now, lease_seconds=30, host_delay_seconds=0)
    with engine.begin() as conn:
        items.fail(conn, leased, ItemError("http_404", "Gone.", Stage.FETCH_ATTEMPTING), now=clock.now)
        conn.execute(workers.insert().values(name="w", started_at=clock.now, seen_at=clock.now, processed=5))
        breaker = {"state": "open", "failures": 5, "updated_at": clock.now}
        conn.execute(
            breakers.insert(), [{**breaker, "name": n} for n in ("provider:x", "host:secret.example")]
        )
        state = {"original_sha256": "0", "dry_run": False, "correlation_id": "c", "created_at": clock.now}
        conn.execute(
            imports.insert().values(
                format="opml", name="secret.example", state="running", position=3, total=9, **state
            )
        )
    tally.PROCESS.outcome("complete")
    tally.PROCESS.step("fetch", 1)
    for name, entry in COUNTED.items():
        tally.count(name, *entry.labels)
    tally.save(engine)
    shown = Metrics(engine, clock)
    shown.request("GET", "/", 200, 0.1)
    text = shown.render()[0].decode()
    served = {
        family.name: (family.type, family.documentation, labels_of(family))
        for family in text_string_to_metric_families(text)
        if not family.name.startswith("process_")
    }
    assert {name.removesuffix("_info") for name in served} == set(CATALOGUE)
    for entry in CATALOGUE.values():
        kind, meaning, labels = served[entry.name + ("_info" if entry.type == "info" else "")]
        assert (kind, meaning, labels) == (
            "gauge" if entry.type == "info" else entry.type,
            entry.meaning,
            set(entry.labels),
        )
    assert "secret" not in text
    found = samples(text.encode())
    assert found["atlas_breakers", ("state", "open"), ("type", "host")] == 1
    assert found["atlas_provider_breaker_open", ("provider", "x")] == 1
    assert found["atlas_import_records", ("progress", "read")] == 3
    assert found["atlas_imports", ("state", "running")] == 1
    assert found["atlas_database_bytes",] > 100_000


def test_everything_that_can_be_counted_is_counted_somewhere() -> None:
    """A counter that nothing counts would say "never" of what happens every day."""
    files = [path for path in (APP / "atlas").rglob("*.py") if path.name not in ("catalogue.py", "tally.py")]
    code = "".join(path.read_text() for path in files)
    assert [name for name in COUNTED if not re.search(rf'\bcount\(\s*"{name}"', code)] == []


def test_a_provider_is_counted_by_its_breaker(engine: Engine, clock) -> None:
    for name in ("provider:llm", "host:secret.example"):
        for _ in range(20):
            with suppress(OSError, breakers_of.BreakerOpen), breakers_of.guard(engine, name, clock):
                raise OSError("no")
    with breakers_of.guard(engine, "provider:imap", clock):
        pass
    counted = tally.PROCESS.drain()
    by_label = {label: count for (name, label), count in counted.items() if name == "count:provider_requests"}
    assert by_label["imap:ok"] == 1
    assert by_label["llm:failed"] + by_label["llm:blocked"] == 20
    assert by_label["llm:blocked"] > 0
    assert "secret" not in repr(counted)


def labels_of(family) -> set[str]:
    return {label for sample in family.samples for label in sample.labels} - {"le"}


@pytest.mark.parametrize(("name", "labels"), [("nothing", ()), ("searches", ()), ("searches", ("a", "b"))])
def test_only_what_is_in_the_catalogue_is_counted(name, labels) -> None:
    with pytest.raises(ValueError, match="catalogue"):
        tally.count(name, *labels)


def test_the_database_is_asked_once_in_a_while(engine: Engine, clock, monkeypatch) -> None:
    asked = []
    sa.event.listen(engine, "begin", asked.append)
    shown = Metrics(engine, clock)
    shown.render()
    shown.render()
    assert len(asked) == 1
    monkeypatch.setattr(metrics, "CACHE_SECONDS", 0)
    shown.render()
    assert len(asked) == 2


def test_metrics_without_a_database_say_so(plain_settings, clock) -> None:
    away = plain_settings.model_copy(update={"database_url": "postgresql+psycopg://nobody@127.0.0.1:1/none"})
    shown = Metrics(make_engine(away), clock)
    shown.request("GET", "/ready", 503, 0.1)
    found = samples(shown.render()[0])
    assert found["atlas_database_up",] == 0
    assert ("atlas_dead_letters",) not in found
    assert any(name[0] == "atlas_request_seconds_count" for name in found)


def test_counts_add_up_over_workers_and_survive_a_failed_write(engine: Engine) -> None:
    first, second = tally.Tally(), tally.Tally()
    for counted in (first, second):
        counted.outcome("complete")
        counted.step("read", 0.2)
    drained = first.drain()
    first.add(drained)  # as after a write that failed
    for counted in (first, second, first):
        with engine.begin() as conn:
            tally.write(conn, counted.drain())
    with engine.begin() as conn:
        sums = tally.read_sums(conn)
        assert conn.execute(sa.select(sa.func.count()).select_from(counters)).scalar() == 3
    assert sums.outcomes == {("complete", "", "article"): 2}
    assert sums.steps["read"].total_seconds == pytest.approx(0.4)
    assert sums.steps["read"].buckets[-1] == ("+Inf", 2)
