"""Metrics for Prometheus, served by the API: its own requests, and from the database how all of Atlas does.

The state of queue, feeds and workers is asked of the database when someone scrapes, at most every few
seconds. No label holds a URL, a host or anything else that strangers choose.
"""

import datetime as dt
import threading
import time
from collections.abc import Callable, Iterator

import sqlalchemy as sa
from prometheus_client import CollectorRegistry, Histogram, ProcessCollector
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

from atlas import __version__, items, status
from atlas.database.engine import read
from atlas.stages.table import Stage
from atlas.telemetry.tally import read_sums

#: How long an answer of the database is good for, in seconds.
CACHE_SECONDS = 5.0

REQUEST_BUCKETS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

Clock = Callable[[], dt.datetime]


class Metrics:
    """The metrics of one API process."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._requests = Histogram(
            "atlas_request_seconds",
            "How long requests took, by the pattern of their route.",
            ["method", "route", "status"],
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

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            if time.monotonic() - self._asked_at >= CACHE_SECONDS:
                self._found = self._ask()
                self._asked_at = time.monotonic()
            yield from self._found

    def _ask(self) -> list[Metric]:
        up = GaugeMetricFamily("atlas_database_up", "Whether the database answered (1) or not (0).")
        build = InfoMetricFamily("atlas_build", "Which Atlas this is.", {"version": __version__})
        found: list[Metric] = [build, up]
        started = time.perf_counter()
        try:
            with read(self._engine) as conn:
                found += _state(conn, self._clock())
        except sa.exc.SQLAlchemyError:
            up.add_metric([], 0)
        else:
            up.add_metric([], 1)
            text = "How long the database took to tell all the state that is shown here."
            found.append(_gauge("atlas_database_state_seconds", text, time.perf_counter() - started))
        return found


def _state(conn: Connection, now: dt.datetime) -> list[Metric]:
    stages = items.counts(conn)
    return [
        _by_stage(stages),
        _gauge("atlas_dead_letters", "Items given up.", stages.get(Stage.PERMANENT_ERROR, 0)),
        *_queue(conn, now),
        _failed(conn),
        _feeds(conn),
        *_workers(conn, now),
        *_sums(conn),
    ]


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value)


def _by_stage(stages: dict[int, int]) -> Metric:
    metric = GaugeMetricFamily("atlas_items", "Items by stage.", labels=["stage"])
    for stage, count in sorted(stages.items()):
        metric.add_metric([str(int(stage))], count)
    return metric


def _queue(conn: Connection, now: dt.datetime) -> list[Metric]:
    length = GaugeMetricFamily("atlas_queue_length", "Items a worker may take now.", labels=["lane"])
    text = "How long the item that waits longest has been due."
    wait = GaugeMetricFamily("atlas_queue_oldest_wait_seconds", text, labels=["lane"])
    for found in status.waiting(conn, now):
        length.add_metric([found.lane.name.lower()], found.length)
        wait.add_metric([found.lane.name.lower()], found.oldest_seconds)
    return [length, wait]


def _failed(conn: Connection) -> Metric:
    text = "Items that wait to be tried again or were given up, by reason."
    metric = GaugeMetricFamily("atlas_items_failed", text, labels=["code"])
    for code, count in sorted(status.failed(conn).items()):
        metric.add_metric([code], count)
    return metric


def _feeds(conn: Connection) -> Metric:
    metric = GaugeMetricFamily("atlas_feeds", "Feeds by how they did when last asked.", labels=["state"])
    for state, count in status.feed_states(conn).items():
        metric.add_metric([state], count)
    return metric


def _workers(conn: Connection, now: dt.datetime) -> list[Metric]:
    text = "How long ago a worker last said it lives; none are listed when all have signed off."
    age = GaugeMetricFamily("atlas_worker_heartbeat_age_seconds", text, labels=["worker"])
    uptime = GaugeMetricFamily(
        "atlas_worker_uptime_seconds", "How long a worker has lived.", labels=["worker"]
    )
    for worker in status.workers_seen(conn, now):
        age.add_metric([worker.name], worker.silent_seconds)
        uptime.add_metric([worker.name], worker.uptime_seconds)
    return [age, uptime]


def _sums(conn: Connection) -> list[Metric]:
    sums = read_sums(conn)
    text = "Items that left a worker's hands: how (complete, duplicate, failed, retried, released) and why."
    outcomes = CounterMetricFamily("atlas_item_outcomes", text, labels=["outcome", "code"])
    for (outcome, code), count in sorted(sums.outcomes.items()):
        outcomes.add_metric([outcome, code], count)
    steps = HistogramMetricFamily("atlas_step_seconds", "How long the steps of items took.", labels=["step"])
    for name, durations in sums.steps.items():
        steps.add_metric([name], durations.buckets, durations.total_seconds)
    return [outcomes, steps]
