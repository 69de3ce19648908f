"""Circuit breakers: what fails again and again is left alone for a while, by all processes.

CLOSED lets everything through and counts failures in a row; OPEN lets nothing through until `retry_at`; then
HALF_OPEN lets exactly one probe through, whose outcome closes it, or opens it for twice as long. The state
stands in table `breakers`; a breaker without a row is closed and has not failed.

Around a call, with names such as "host:example.org" and "provider:searxng":

    with breakers.guard(engine, "provider:llm", clock, blames=FetchError):
        answer = ask()

Raises BreakerOpen, without calling, while the breaker is open. What is not in `blames` is nobody's fault.
"""

import datetime as dt
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from atlas.database.dialect import insert
from atlas.database.engine import read
from atlas.database.tables import breakers
from atlas.telemetry import tally

CLOSED, OPEN, HALF_OPEN = "closed", "open", "half_open"


@dataclass(frozen=True, slots=True)
class Threshold:
    """When a breaker opens, and for how long."""

    #: Failures in a row that open it, none longer than `window_seconds` after the one before.
    failures: int
    window_seconds: float
    #: The first rest; each probe that fails doubles it, up to the longest.
    rest_seconds: float
    longest_seconds: float
    #: How long a probe may take before it is taken for lost and another one goes out.
    probe_seconds: float


#: By the beginning of a breaker's name; the longest that fits counts.
THRESHOLDS: dict[str, Threshold] = {
    "host:": Threshold(5, 600, 60, 3600, 120),
    "provider:": Threshold(3, 900, 60, 3600, 120),
    # They block an address for hours, and asking on makes it worse.
    "provider:youtube": Threshold(2, 3600, 1800, 86_400, 120),
}


class BreakerOpen(Exception):  # noqa: N818
    """Nothing was asked: the breaker is open. `retry_at` says when to come back, `reason` why it opened."""

    def __init__(
        self, name: str, retry_at: dt.datetime, reason: str, opened_at: dt.datetime | None = None
    ) -> None:
        super().__init__(f"{name} is left alone until {retry_at:%Y-%m-%d %H:%M:%S} UTC: {reason}")
        self.name = name
        self.retry_at = retry_at
        self.reason = reason
        self.opened_at = opened_at


@dataclass(frozen=True, slots=True)
class Grant:
    """Leave to make one call; its outcome is told by `success`, `failure` or `release`."""

    name: str
    #: The call is the probe of a half-open breaker.
    probe: str | None = None
    #: Failures in a row when it was given.
    failures: int = 0


def threshold(name: str) -> Threshold:
    """Return what holds for a breaker. Raises KeyError for a name of no known kind."""
    return THRESHOLDS[max((start for start in THRESHOLDS if name.startswith(start)), key=len, default=name)]


@contextmanager
def guard(
    engine: Engine,
    name: str,
    clock: Callable[[], dt.datetime],
    *,
    blames: type[Exception] | tuple[type[Exception], ...] = Exception,
    until: Callable[[Exception], float | None] = lambda _: None,
) -> Iterator[Grant]:
    """Make a call under a breaker. Raises BreakerOpen, and what the call raises.

    `until` says of an error for how many seconds the other side asked to be left alone; None: it did not.
    """
    grant = allow(engine, name, now=clock())
    try:
        yield grant
    except blames as error:
        now, seconds = clock(), until(error)
        opened = None if seconds is None else now + dt.timedelta(seconds=seconds)
        failure(engine, grant, str(error), now=now, until=opened)
        raise
    except BaseException:
        release(engine, grant, now=clock())
        raise
    success(engine, grant)


def allow(engine: Engine, name: str, *, now: dt.datetime) -> Grant:
    """Ask for leave to make a call. Raises BreakerOpen. Writes nothing unless the call becomes the probe."""
    limits = threshold(name)
    with read(engine) as conn:
        found = _find(conn, name)
    if found is None or found.state == CLOSED:
        return Grant(name, failures=found.failures if found else 0)
    if now < _retry_at(found, now, limits):
        _tell(name, "blocked")
        raise _still_open(found, now, limits)
    with engine.begin() as conn:
        probe = secrets.token_hex(8)
        change = breakers.update().where(
            breakers.c.name == name,
            breakers.c.state == found.state,
            breakers.c.retry_at == found.retry_at,
            breakers.c.probe.is_not_distinct_from(found.probe),
        )
        until = now + dt.timedelta(seconds=limits.probe_seconds)
        taken = conn.execute(change.values(state=HALF_OPEN, probe=probe, retry_at=until, updated_at=now))
        if taken.rowcount:
            return Grant(name, probe, found.failures)
        other = _find(conn, name)
    if other is None or other.state == CLOSED:
        return Grant(name)
    _tell(name, "blocked")
    raise _still_open(other, now, limits)


def success(engine: Engine, grant: Grant) -> None:
    """Tell that the call succeeded: the breaker is closed, and earlier failures are forgotten."""
    _tell(grant.name, "ok")
    if grant.probe is None and not grant.failures:  # nearly always
        return
    mine = breakers.delete().where(breakers.c.name == grant.name)
    state = breakers.c.state == CLOSED if grant.probe is None else breakers.c.probe == grant.probe
    with engine.begin() as conn:
        conn.execute(mine.where(state))


def failure(
    engine: Engine, grant: Grant, reason: str, *, now: dt.datetime, until: dt.datetime | None = None
) -> dt.datetime | None:
    """Tell that the call failed; return when the next is allowed, None while the breaker stays closed.

    `until` opens it at once: the other side said so itself.
    """
    _tell(grant.name, "failed")
    with engine.begin() as conn:
        return _count(conn, grant, reason[:300], now, until)


def release(engine: Engine, grant: Grant, *, now: dt.datetime) -> None:
    """Tell that the call told nothing about the other side: another may be the probe."""
    if grant.probe is None:
        return
    mine = breakers.update().where(breakers.c.name == grant.name, breakers.c.probe == grant.probe)
    with engine.begin() as conn:
        conn.execute(mine.values(state=OPEN, probe=None, retry_at=now, updated_at=now))


def not_closed(conn: Connection) -> list[dict[str, Any]]:
    """Return the breakers that are open or half open: `name`, `state`, `failures`, `reason`, `retry_at`."""
    query = sa.select(
        breakers.c.name, breakers.c.state, breakers.c.failures, breakers.c.reason, breakers.c.opened_at,
        breakers.c.retry_at,
    ).where(breakers.c.state != CLOSED)  # fmt: skip
    return [dict(row._mapping) for row in conn.execute(query.order_by(breakers.c.name).limit(1000))]


def forget(conn: Connection, *, now: dt.datetime) -> None:
    """Remove what says nothing any more: rows that nothing happened to for two days."""
    conn.execute(breakers.delete().where(breakers.c.updated_at < now - dt.timedelta(days=2)))


def _tell(name: str, outcome: str) -> None:
    """Count what came of asking a provider; hosts have no names in metrics."""
    kind, _, provider = name.partition(":")
    if kind == "provider":
        tally.count("provider_requests", provider, outcome)


def _find(conn: Connection, name: str) -> sa.Row[Any] | None:
    return conn.execute(sa.select(breakers).where(breakers.c.name == name)).one_or_none()


def _retry_at(found: sa.Row[Any], now: dt.datetime, limits: Threshold) -> dt.datetime:
    """Return when the next probe may go out; a clock that was set back keeps nothing shut for long."""
    latest = now + dt.timedelta(seconds=limits.longest_seconds)
    at: dt.datetime = found.retry_at or now
    return now if at > latest + dt.timedelta(days=1) else at


def _still_open(found: sa.Row[Any], now: dt.datetime, limits: Threshold) -> BreakerOpen:
    reason = found.reason or "It failed again and again."
    return BreakerOpen(found.name, _retry_at(found, now, limits), reason, found.opened_at)


def _count(
    conn: Connection, grant: Grant, reason: str, now: dt.datetime, until: dt.datetime | None
) -> dt.datetime | None:
    name, limits = grant.name, threshold(grant.name)
    fresh = {"name": name, "state": CLOSED, "failures": 0, "updated_at": now}
    # One statement: between a look and a lock, another's success may take the row away.
    kept = insert(conn, breakers).values(fresh)
    kept = kept.on_conflict_do_update(index_elements=["name"], set_={"name": kept.excluded.name})
    found = conn.execute(kept.returning(breakers)).one()
    if found.state != CLOSED and (grant.probe is None or found.probe != grant.probe):
        at: dt.datetime = found.retry_at  # begun before it opened: nothing new
        return at
    recent = now - found.updated_at <= dt.timedelta(seconds=limits.window_seconds)
    failures = (found.failures if recent or grant.probe else 0) + 1
    values: dict[str, Any] = {"failures": failures, "reason": reason, "updated_at": now, "probe": None}
    if until is not None or grant.probe is not None or failures >= limits.failures:
        beyond = min(max(failures - limits.failures, 0), 30)
        rest = min(limits.rest_seconds * 2.0**beyond, limits.longest_seconds)
        at = now + dt.timedelta(seconds=rest) if until is None else until
        values |= {"state": OPEN, "retry_at": at, "opened_at": found.opened_at or now}
    conn.execute(breakers.update().where(breakers.c.name == name).values(values))
    return values.get("retry_at")
