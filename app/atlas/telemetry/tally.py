"""What Atlas counts: steps of items and how long they took, how items ended, and whatever `count` is told.

Most processes listen on no port. Each adds what it has counted to the table `counters` every few seconds (the
worker with its heartbeat), where the API's /metrics reads it. So the sums hold for all processes on all
machines and outlive them; a killed one loses what it counted since it last wrote.
"""

import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from atlas.database.dialect import insert
from atlas.database.tables import counters
from atlas.telemetry.catalogue import COUNTED

#: Upper bounds of the histogram of step durations, in seconds.
STEP_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

_OUTCOMES = "item_outcomes"
_STEP = "step_seconds:"
_COUNT = "count:"
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

    def outcome(self, outcome: str, code: str = "", kind: str = "article") -> None:
        """Count an item of a kind that left the worker's hands, and the code of its error if it has one."""
        self.add({(_OUTCOMES, f"{outcome}:{code}:{kind}"): 1})

    def count(self, name: str, *labels: str, by: float = 1) -> None:
        """Count something of the catalogue. Raises ValueError when it, or so many labels, is not in there."""
        entry = COUNTED.get(name)
        if entry is None or len(labels) != len(entry.labels):
            raise ValueError(f"{name}{labels} is not in atlas.telemetry.catalogue")
        self.add({(_COUNT + name, ":".join(label.replace(":", ".") for label in labels)): by})

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


#: What this process counts.
PROCESS = Tally()


def count(name: str, *labels: str, by: float = 1) -> None:
    """Count something that happened in this process: `count("transcripts", "feed", "fetched")`.

    Raises ValueError when it is not in the catalogue.
    """
    PROCESS.count(name, *labels, by=by)


def save(engine: Engine, tally: Tally = PROCESS) -> None:
    """Add what was counted to the sums in the database; what cannot be written is kept for the next time.

    Raises what the database raises.
    """
    counts = tally.drain()
    if not counts:
        return
    try:
        with engine.begin() as conn:
            write(conn, counts)
    except BaseException:
        tally.add(counts)
        raise


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
    """All that was counted: `outcomes` by (outcome, code, kind), `steps` and `counts` by name and labels."""

    outcomes: dict[tuple[str, str, str], float]
    steps: dict[str, Durations]
    counts: dict[str, dict[tuple[str, ...], float]]


def read_sums(conn: Connection) -> Sums:
    """Read what all processes have counted so far."""
    outcomes: dict[tuple[str, str, str], float] = defaultdict(float)
    steps: dict[str, dict[str, float]] = defaultdict(dict)
    counts: dict[str, dict[tuple[str, ...], float]] = defaultdict(dict)
    for name, label, value in conn.execute(sa.select(counters.c.name, counters.c.label, counters.c.value)):
        parts = label.split(":")
        if name == _OUTCOMES:
            # Before there were other kinds, none was noted.
            outcome, code, kind = (*parts, "article")[:3]
            outcomes[outcome, code, kind] += value
        elif name.startswith(_STEP):
            steps[name.removeprefix(_STEP)][label] = value
        elif name.startswith(_COUNT):
            counts[name.removeprefix(_COUNT)][tuple(parts)] = value
    durations = {name: _durations(found) for name, found in sorted(steps.items())}
    return Sums(dict(outcomes), durations, dict(counts))


def _durations(found: Mapping[str, float]) -> Durations:
    buckets, so_far = [], 0.0
    for bound in (*map(str, STEP_BUCKETS), _REST):
        so_far += found.get(bound, 0)
        buckets.append((bound, so_far))
    return Durations(buckets, found.get(_SUM, 0))
