"""How queue, feeds and workers do: what `atlas status` prints and /metrics tells."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from atlas.database.tables import feeds, items, workers
from atlas.items import Lane
from atlas.stages.table import Stage

#: Items at these stages have an `error`.
FAILED = (Stage.RATE_LIMITED, Stage.PERMANENT_ERROR, Stage.SYSTEM_ERROR)

#: A worker that was silent for longer is taken for dead (it speaks every few seconds).
ALIVE = dt.timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many items of a lane a worker may take now, and how long the oldest has been due, in seconds."""

    lane: Lane
    length: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True)
class WorkerSeen:
    """A worker: how long ago it said it lives, for how long it has, and how many items it processed."""

    name: str
    silent_seconds: float
    uptime_seconds: float
    processed: int


def waiting(conn: Connection, now: dt.datetime) -> list[Waiting]:
    """Return the state of each lane."""
    query = sa.select(items.c.lane, sa.func.count(), sa.func.min(items.c.due_at))
    query = query.where(items.c.due_at <= now).group_by(items.c.lane)
    found = {lane: (count, (now - oldest).total_seconds()) for lane, count, oldest in conn.execute(query)}
    return [Waiting(lane, *found.get(lane, (0, 0.0))) for lane in Lane]


def failed(conn: Connection) -> dict[str, int]:
    """Return how many items wait to be tried again or were given up, by the code of their error."""
    code = items.c.error["code"].as_string()
    query = sa.select(code, sa.func.count()).where(items.c.stage.in_(FAILED)).group_by(code)
    return {reason or "unknown": count for reason, count in conn.execute(query)}


def feed_states(conn: Connection) -> dict[str, int]:
    """Return how many feeds answered when last asked ("healthy") and how many did not ("broken")."""
    broken = feeds.c.failures > 0
    query = sa.select(broken, sa.func.count()).group_by(broken)
    found = {bool(is_broken): count for is_broken, count in conn.execute(query)}
    return {"healthy": found.get(False, 0), "broken": found.get(True, 0)}


def workers_seen(conn: Connection, now: dt.datetime) -> list[WorkerSeen]:
    """Return the workers that have not signed off, the one heard of last first."""
    found = conn.execute(sa.select(workers).order_by(workers.c.seen_at.desc()))
    return [
        WorkerSeen(
            name=row.name,
            silent_seconds=max(0.0, (now - row.seen_at).total_seconds()),
            uptime_seconds=(row.seen_at - row.started_at).total_seconds(),
            processed=row.processed,
        )
        for row in found
    ]


def last_errors(conn: Connection, limit: int = 5) -> list[dict[str, Any]]:
    """Return the items that failed last: `id`, `url`, `stage`, `error`, `due_at` (None: given up)."""
    query = sa.select(items.c.id, items.c.url, items.c.stage, items.c.error, items.c.due_at)
    query = query.where(items.c.stage.in_(FAILED)).order_by(items.c.updated_at.desc(), items.c.id.desc())
    return [dict(row._mapping) for row in conn.execute(query.limit(limit))]
