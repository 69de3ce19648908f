"""How queue, feeds and workers do: what `atlas status` prints and /metrics tells."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from atlas.database.dialect import is_sqlite
from atlas.database.tables import breakers, feeds, imports, items, workers
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


def failed_by_kind(conn: Connection) -> dict[tuple[str, str], int]:
    """Return the same as `failed`, by kind and code."""
    code = items.c.error["code"].as_string()
    query = sa.select(items.c.kind, code, sa.func.count()).where(items.c.stage.in_(FAILED))
    found = conn.execute(query.group_by(items.c.kind, code))
    return {(kind, reason or "unknown"): count for kind, reason, count in found}


def items_by_kind_and_stage(conn: Connection) -> dict[tuple[str, int], int]:
    """Return how many items there are of each kind at each stage. Reads every item."""
    query = sa.select(items.c.kind, items.c.stage, sa.func.count()).group_by(items.c.kind, items.c.stage)
    return {(kind, stage): count for kind, stage, count in conn.execute(query)}


def dead_letters(conn: Connection) -> int:
    """Return how many items were given up and wait for a decision."""
    query = sa.select(sa.func.count()).select_from(items)
    query = query.where(items.c.stage == Stage.PERMANENT_ERROR, items.c.ignored_at.is_(None))
    return conn.execute(query).scalar_one()


def feed_states(conn: Connection) -> dict[str, int]:
    """Return how many feeds are "healthy", "broken" (when last asked), and "paused" (never asked)."""
    state = sa.case(
        (feeds.c.paused_at.is_not(None), "paused"), (feeds.c.failures > 0, "broken"), else_="healthy"
    )
    found = dict.fromkeys(("healthy", "broken", "paused"), 0)
    for name, count in conn.execute(sa.select(state.label("state"), sa.func.count()).group_by("state")):
        found[name] = count
    return found


def import_states(conn: Connection) -> dict[str, int]:
    """Return how many imports there are in each state."""
    query = sa.select(imports.c.state, sa.func.count()).group_by(imports.c.state)
    return {row.state: row[1] for row in conn.execute(query)}


def import_progress(conn: Connection) -> dict[str, int]:
    """Return how many records the unfinished imports have ("total", where known), and how many were read."""
    query = sa.select(sa.func.sum(imports.c.total), sa.func.sum(imports.c.position))
    total, done = conn.execute(query.where(imports.c.state.in_(("waiting", "running")))).one()
    return {"total": int(total or 0), "read": int(done or 0)}


def breaker_states(conn: Connection) -> dict[tuple[str, str], int]:
    """Return how many circuit breakers of hosts and of providers are closed, open and half open."""
    kind = sa.case((breakers.c.name.startswith("provider:"), "provider"), else_="host").label("kind")
    query = sa.select(kind, breakers.c.state, sa.func.count()).group_by(kind, breakers.c.state)
    found = {(name, state): 0 for name in ("host", "provider") for state in ("closed", "half_open", "open")}
    return found | {(name, state): count for name, state, count in conn.execute(query)}


def provider_breakers(conn: Connection) -> dict[str, str]:
    """Return the state of the breaker of each provider that has one."""
    query = sa.select(breakers.c.name, breakers.c.state).where(breakers.c.name.startswith("provider:"))
    return {name.removeprefix("provider:"): state for name, state in conn.execute(query)}


def database_bytes(conn: Connection) -> int:
    """Return how large the database is."""
    if is_sqlite(conn):
        pages = conn.exec_driver_sql("PRAGMA page_count").scalar_one()
        return int(pages * conn.exec_driver_sql("PRAGMA page_size").scalar_one())
    return int(conn.execute(sa.select(sa.func.pg_database_size(sa.func.current_database()))).scalar_one())


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
