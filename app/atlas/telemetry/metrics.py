"""Metrics for Prometheus, served by the API: its own requests, and from the database how all of Atlas does.

The state of queue, feeds and workers is asked of the database when someone scrapes, at most every few
seconds. What there is stands in `atlas.telemetry.catalogue`.
"""

import datetime as dt
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import sqlalchemy as sa
from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from sqlalchemy.engine import Connection, Engine

from atlas import __version__, status
from atlas.database.engine import read
from atlas.telemetry.catalogue import CATALOGUE, COUNTED
from atlas.telemetry.tally import read_sums

#: How long an answer of the database is good for, in seconds.
CACHE_SECONDS = 5.0

#: The same for what must look at every item.
COUNT_SECONDS = 60.0

REQUEST_BUCKETS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

Clock = Callable[[], dt.datetime]


class Metrics:
    """The metrics of one API process."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        # As many series again, which nobody asks for.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry(auto_describe=False)
        self._requests = Histogram(
            "atlas_request_seconds",
            CATALOGUE["atlas_request_seconds"].meaning,
            CATALOGUE["atlas_request_seconds"].labels,
            buckets=REQUEST_BUCKETS,
            registry=self._registry,
        )
        ProcessCollector(registry=self._registry)
        self._registry.register(_DatabaseCollector(engine, clock))

    def request(self, method: str, route: str, status_code: int, seconds: float) -> None:
        """Count a request. `route` is the pattern ("/api/items/{item_id}"), "" when nothing matched."""
        known = method if method in _METHODS else "other"
        self._requests.labels(known, route or "none", str(status_code)).observe(seconds)

    def render(self) -> tuple[bytes, str]:
        """Return the body and the content type of an answer to Prometheus. Works without a database too."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class _DatabaseCollector(Collector):
    """Asks the database, and remembers its answer for a moment."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._lock = threading.Lock()
        self._asked_at = -CACHE_SECONDS
        self._found: list[Metric] = []
        self._counted_at = -COUNT_SECONDS
        self._counted: list[Metric] = []

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            if time.monotonic() - self._asked_at >= CACHE_SECONDS:
                self._found = self._ask()
                self._asked_at = time.monotonic()
            yield from self._found

    def _ask(self) -> list[Metric]:
        up = _family("atlas_database_up")
        build = InfoMetricFamily("atlas_build", CATALOGUE["atlas_build"].meaning, {"version": __version__})
        found: list[Metric] = [build, up]
        started = time.perf_counter()
        try:
            with read(self._engine) as conn:
                found += [_gauge("atlas_database_seconds", _smallest(conn)), *self._state(conn)]
        except sa.exc.SQLAlchemyError:
            up.add_metric([], 0)
        else:
            up.add_metric([], 1)
            found.append(_gauge("atlas_database_state_seconds", time.perf_counter() - started))
        return found

    def _state(self, conn: Connection) -> list[Metric]:
        now = self._clock()
        if time.monotonic() - self._counted_at >= COUNT_SECONDS:
            self._counted = [*_items(conn), _gauge("atlas_database_bytes", status.database_bytes(conn))]
            self._counted_at = time.monotonic()
        return [
            *self._counted,
            *_queue(conn, now),
            _numbers("atlas_feeds", status.feed_states(conn)),
            _numbers("atlas_imports", status.import_states(conn)),
            _numbers("atlas_import_records", status.import_progress(conn)),
            *_breakers(conn),
            *_workers(conn, now),
            *_sums(conn),
        ]


def _smallest(conn: Connection) -> float:
    started = time.perf_counter()
    conn.execute(sa.select(1))
    return time.perf_counter() - started


def _family(name: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, CATALOGUE[name].meaning, labels=CATALOGUE[name].labels)


def _gauge(name: str, value: float) -> Metric:
    return GaugeMetricFamily(name, CATALOGUE[name].meaning, value)


def _numbers(name: str, found: Mapping[Any, float]) -> Metric:
    """Return a gauge that shows each of `found` under its labels."""
    metric = _family(name)
    for labels, value in sorted(found.items()):
        metric.add_metric([labels] if isinstance(labels, str) else labels, value)
    return metric


def _items(conn: Connection) -> list[Metric]:
    by_stage = status.items_by_kind_and_stage(conn)
    return [
        _numbers("atlas_items", {(kind, str(stage)): count for (kind, stage), count in by_stage.items()}),
        _gauge("atlas_dead_letters", status.dead_letters(conn)),
        _numbers("atlas_items_failed", status.failed_by_kind(conn)),
    ]


def _queue(conn: Connection, now: dt.datetime) -> list[Metric]:
    length, wait = _family("atlas_queue_length"), _family("atlas_queue_oldest_wait_seconds")
    for found in status.waiting(conn, now):
        length.add_metric([found.lane.name.lower()], found.length)
        wait.add_metric([found.lane.name.lower()], found.oldest_seconds)
    return [length, wait]


def _breakers(conn: Connection) -> list[Metric]:
    states = status.breaker_states(conn)
    shut = {"open": 1.0, "half_open": 0.5}
    providers = {name: shut.get(state, 0.0) for name, state in status.provider_breakers(conn).items()}
    return [_numbers("atlas_breakers", states), _numbers("atlas_provider_breaker_open", providers)]


def _workers(conn: Connection, now: dt.datetime) -> list[Metric]:
    age, uptime = _family("atlas_worker_heartbeat_age_seconds"), _family("atlas_worker_uptime_seconds")
    for worker in status.workers_seen(conn, now):
        age.add_metric([worker.name], worker.silent_seconds)
        uptime.add_metric([worker.name], worker.uptime_seconds)
    return [age, uptime]


def _sums(conn: Connection) -> list[Metric]:
    sums = read_sums(conn)
    outcomes = _counter("atlas_item_outcomes", sums.outcomes)
    steps = HistogramMetricFamily(
        "atlas_step_seconds", CATALOGUE["atlas_step_seconds"].meaning, labels=["step"]
    )
    for name, durations in sums.steps.items():
        steps.add_metric([name], durations.buckets, durations.total_seconds)
    counted = [_counter(entry.name, sums.counts.get(name, {})) for name, entry in COUNTED.items()]
    return [outcomes, steps, *counted]


def _counter(name: str, found: Mapping[Any, float]) -> Metric:
    metric = CounterMetricFamily(name, CATALOGUE[name].meaning, labels=CATALOGUE[name].labels)
    for labels, value in sorted(found.items()):
        metric.add_metric(labels, value)
    return metric
