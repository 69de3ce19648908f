"""What workers count: steps, how long they took, how items ended.

A worker listens on no port. It adds what it has counted to the table `counters` with each heartbeat, where
the API's /metrics reads it. So the sums hold for all workers on all machines and outlive them; a killed
worker loses what it counted since its last heartbeat.
"""

import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from atlas.database.dialect import insert
from atlas.database.tables import counters

#: Upper bounds of the histogram of step durations, in seconds.
STEP_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

_OUTCOMES = "item_outcomes"
_STEP = "step_seconds:"
_SUM = "sum"
_REST = "+Inf"

Counts = Mapping[tuple[str, str], float]


class Tally:
    """What one process has counted and not written yet. Threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, str], float] = defaultdict(float)

    def step(self, name: str, seconds: float) -> None:
        """Count a step that took `seconds`."""
        index = bisect_left(STEP_BUCKETS, seconds)
        bucket = str(STEP_BUCKETS[index]) if index < len(STEP_BUCKETS) else _REST
        self.add({(_STEP + name, bucket): 1, (_STEP + name, _SUM): seconds})

    def outcome(self, outcome: str, code: str = "") -> None:
        """Count an item that left the worker's hands, and the code of its error if it has one."""
        self.add({(_OUTCOMES, f"{outcome}:{code}"): 1})

    def add(self, counts: Counts) -> None:
        """Add counts, also those that `drain` gave out and that could not be written."""
        with self._lock:
            for key, value in counts.items():
                self._counts[key] += value

    def drain(self) -> Counts:
        """Hand out everything counted since the last time."""
        with self._lock:
            counts, self._counts = self._counts, defaultdict(float)
        return counts


def write(conn: Connection, counts: Counts) -> None:
    """Add `counts` to the sums in the database."""
    if not counts:
        return
    rows = [{"name": name, "label": label, "value": value} for (name, label), value in sorted(counts.items())]
    statement = insert(conn, counters)
    total = counters.c.value + statement.excluded.value
    conn.execute(
        statement.on_conflict_do_update(index_elements=["name", "label"], set_={"value": total}), rows
    )


@dataclass(frozen=True, slots=True)
class Durations:
    """A histogram: of each bucket (upper bound, how many took at most so long), and all seconds."""

    buckets: list[tuple[str, float]]
    total_seconds: float


@dataclass(frozen=True, slots=True)
class Sums:
    """Everything workers have counted: `outcomes` by (outcome, code), `steps` by name."""

    outcomes: dict[tuple[str, str], float]
    steps: dict[str, Durations]


def read_sums(conn: Connection) -> Sums:
    """Read what all workers have counted so far."""
    outcomes: dict[tuple[str, str], float] = {}
    steps: dict[str, dict[str, float]] = defaultdict(dict)
    for name, label, value in conn.execute(sa.select(counters.c.name, counters.c.label, counters.c.value)):
        if name == _OUTCOMES:
            outcome, _, code = label.partition(":")
            outcomes[outcome, code] = value
        elif name.startswith(_STEP):
            steps[name.removeprefix(_STEP)][label] = value
    return Sums(outcomes, {name: _durations(found) for name, found in sorted(steps.items())})


def _durations(found: Mapping[str, float]) -> Durations:
    buckets, count = [], 0.0
    for bound in (*map(str, STEP_BUCKETS), _REST):
        count += found.get(bound, 0)
        buckets.append((bound, count))
    return Durations(buckets, found.get(_SUM, 0))
