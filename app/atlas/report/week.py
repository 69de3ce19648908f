"""What a week brought, asked of the database. Dates and numbers; the words stand in `atlas.report.letter`."""

import datetime as dt
import shutil
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from atlas import status
from atlas.database.tables import breakers, errors, feeds, items, transitions
from atlas.settings import Settings
from atlas.stages.table import DONE, Stage
from atlas.telemetry.advice import Advice, advice

#: How many days the charts go back, the week included.
CHART_DAYS = 28

#: How many of each list are shown.
MOST_SHOWN = 8

#: A healthy disk has at least so much room left.
DISK_LOW = 0.10


@dataclass(frozen=True, slots=True)
class Failure:
    """Why items were given up this week: how many, and an example."""

    advice: Advice
    count: int
    example: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Week:
    """Everything the letter tells of. Lists are cut to MOST_SHOWN; counts are whole."""

    since: dt.datetime
    until: dt.datetime
    #: By (kind, source): how many items were added, and how many were known already.
    came: dict[tuple[str, str], int]
    known: int
    finished: int
    given_up: int
    #: Of those given up, how many are not among the dead letters any more.
    recovered: int
    retrying: int
    failures: list[Failure]
    #: By day, the oldest first: items added and items given up.
    days: list[dt.date]
    added_by_day: list[int]
    failed_by_day: list[int]
    #: `title`, `id`, `new`, `read`, `starred`
    best_feeds: list[dict[str, Any]]
    #: `title`, `url`, `message`, `failures`, `succeeded_at`
    broken_feeds: list[dict[str, Any]]
    broken_feeds_count: int
    #: `id`, `title`, `url`, `advice`, `updated_at`
    dead_letters: list[dict[str, Any]]
    dead_letters_count: int
    #: `name`, `reason`, `opened_at`
    open_breakers: list[dict[str, Any]]
    errors_count: int
    error_ids: list[str]
    workers_alive: int
    queue: int
    oldest_seconds: float
    readable: int
    database_bytes: int
    disk_free: int | None
    disk_total: int | None

    @property
    def new(self) -> int:
        """How many items came in."""
        return sum(self.came.values())

    def by_kind(self) -> dict[str, int]:
        """Return what came in by kind, the most first."""
        return _most_first([(kind, count) for (kind, _), count in self.came.items()])

    def by_source(self) -> dict[str, int]:
        """Return what came in by source, the most first."""
        return _most_first([(source, count) for (_, source), count in self.came.items()])

    def usual(self) -> float | None:
        """Return how many items the weeks before this one brought on average; None when there was none."""
        before = self.added_by_day[:-7]
        if not any(before):
            return None
        first = next(index for index, count in enumerate(before) if count)
        return sum(before) / max(len(before) - first, 7) * 7

    @property
    def disk_low(self) -> bool:
        """Whether the disk has little room left."""
        return bool(self.disk_total) and (self.disk_free or 0) < DISK_LOW * (self.disk_total or 1)


def gather(conn: Connection, settings: Settings, *, until: dt.datetime, since: dt.datetime) -> Week:
    """Ask for everything about the time from `since` to `until`."""
    days = [until.date() - dt.timedelta(days=ago) for ago in reversed(range(CHART_DAYS))]
    came, known = _came(conn, since, until)
    given_up, recovered, failures = _given_up(conn, since, until)
    waiting = status.waiting(conn, until)
    seen = status.workers_seen(conn, until)
    broken, broken_count = _broken_feeds(conn)
    letters, letters_count = _dead_letters(conn)
    error_ids = list(
        conn.execute(
            sa.select(errors.c.id)
            .where(errors.c.at >= since, errors.c.at < until)
            .order_by(errors.c.at.desc())
        ).scalars()
    )
    usage = _disk(settings)
    return Week(
        since=since,
        until=until,
        came=came,
        known=known,
        finished=_reached(conn, DONE, since, until),
        given_up=given_up,
        recovered=recovered,
        retrying=sum(_count(conn, stage) for stage in (Stage.RATE_LIMITED, Stage.SYSTEM_ERROR)),
        failures=failures,
        days=days,
        added_by_day=_by_day(conn, days, _first_step()),
        failed_by_day=_by_day(conn, days, transitions.c.stage == Stage.PERMANENT_ERROR),
        best_feeds=_best_feeds(conn, since, until),
        broken_feeds=broken,
        broken_feeds_count=broken_count,
        dead_letters=letters,
        dead_letters_count=letters_count,
        open_breakers=_open_breakers(conn),
        errors_count=len(error_ids),
        error_ids=error_ids[:3],
        workers_alive=sum(worker.silent_seconds <= status.ALIVE.total_seconds() for worker in seen),
        queue=sum(lane.length for lane in waiting),
        oldest_seconds=max((lane.oldest_seconds for lane in waiting), default=0.0),
        readable=sum(_count(conn, stage) for stage in DONE),
        database_bytes=status.database_bytes(conn),
        disk_free=usage[0],
        disk_total=usage[1],
    )


def _most_first(pairs: Sequence[tuple[str, int]]) -> dict[str, int]:
    sums: dict[str, int] = defaultdict(int)
    for name, count in pairs:
        sums[name] += count
    return dict(sorted(sums.items(), key=lambda pair: -pair[1]))


def _within(since: dt.datetime, until: dt.datetime) -> sa.ColumnElement[bool]:
    return sa.and_(transitions.c.at >= since, transitions.c.at < until)


def _first_step() -> sa.ColumnElement[bool]:
    """Match an item's first step. Its `added_at` will not do: imports bring that from elsewhere."""
    earlier = transitions.alias()
    return ~sa.exists().where(earlier.c.item_id == transitions.c.item_id, earlier.c.id < transitions.c.id)


def _came(conn: Connection, since: dt.datetime, until: dt.datetime) -> tuple[dict[tuple[str, str], int], int]:
    known = (transitions.c.stage == Stage.DUPLICATE).label("known")
    query = sa.select(items.c.kind, items.c.source, known, sa.func.count())
    query = query.select_from(transitions.join(items, items.c.id == transitions.c.item_id))
    query = query.where(_within(since, until), _first_step()).group_by(items.c.kind, items.c.source, "known")
    came: dict[tuple[str, str], int] = {}
    already = 0
    for kind, source, is_known, count in conn.execute(query):
        if is_known:
            already += count
        else:
            came[kind, source] = count
    return came, already


def _reached(conn: Connection, stages: frozenset[Stage], since: dt.datetime, until: dt.datetime) -> int:
    query = sa.select(sa.func.count(transitions.c.item_id.distinct()))
    return conn.execute(query.where(_within(since, until), transitions.c.stage.in_(stages))).scalar_one()


def _count(conn: Connection, stage: Stage) -> int:
    query = sa.select(sa.func.count()).select_from(items).where(items.c.stage == stage)
    return conn.execute(query).scalar_one()


def _given_up(conn: Connection, since: dt.datetime, until: dt.datetime) -> tuple[int, int, list[Failure]]:
    """Return how many items were given up, how many of them are not so any more, and why the others are."""
    query = sa.select(transitions.c.item_id).distinct()
    ids = query.where(_within(since, until), transitions.c.stage == Stage.PERMANENT_ERROR)
    total = conn.execute(sa.select(sa.func.count()).select_from(ids.subquery())).scalar_one()
    still = sa.and_(items.c.id.in_(ids), items.c.stage == Stage.PERMANENT_ERROR)
    code = sa.func.coalesce(items.c.error["code"].as_string(), "unknown").label("code")
    reasons = sa.select(code, sa.func.count(), sa.func.max(items.c.id)).where(still).group_by("code")
    rows = sorted(conn.execute(reasons), key=lambda row: -row[1])
    examples = {
        row.id: row._asdict()
        for row in conn.execute(
            sa.select(items.c.id, items.c.title, items.c.url).where(items.c.id.in_([row[2] for row in rows]))
        )
    }
    failures = [Failure(advice(row[0]), row[1], examples[row[2]]) for row in rows]
    return total, total - sum(row[1] for row in rows), failures[:MOST_SHOWN]


def _by_day(conn: Connection, days: Sequence[dt.date], which: sa.ColumnElement[bool]) -> list[int]:
    starts = [dt.datetime.combine(day, dt.time(), dt.UTC) for day in days]
    bucket = sa.case(
        *((transitions.c.at >= start, index) for index, start in reversed(list(enumerate(starts))))
    ).label("day")
    end = starts[-1] + dt.timedelta(days=1)
    query = sa.select(bucket, sa.func.count(transitions.c.item_id.distinct()))
    query = query.where(_within(starts[0], end), transitions.c.stage != Stage.DUPLICATE, which)
    found = {row[0]: row[1] for row in conn.execute(query.group_by("day"))}
    return [found.get(index, 0) for index in range(len(days))]


def _best_feeds(conn: Connection, since: dt.datetime, until: dt.datetime) -> list[dict[str, Any]]:
    """Return the feeds whose new items were read and marked most; then those that brought most."""
    new = sa.func.count().label("new")
    was_read = sa.func.count(items.c.read_at).label("read")
    starred = sa.func.count(items.c.starred_at).label("starred")
    query = sa.select(feeds.c.id, feeds.c.title, feeds.c.url, new, was_read, starred)
    query = query.select_from(items.join(feeds, feeds.c.id == items.c.feed_id))
    query = query.where(items.c.added_at >= since, items.c.added_at < until, items.c.stage != Stage.DUPLICATE)
    query = query.group_by(feeds.c.id, feeds.c.title, feeds.c.url)
    rows = sorted(conn.execute(query), key=lambda row: (-(row.read + 2 * row.starred), -row.new, row.id))
    return [{**row._asdict(), "title": row.title or row.url} for row in rows[:MOST_SHOWN]]


def _broken_feeds(conn: Connection) -> tuple[list[dict[str, Any]], int]:
    query = sa.select(
        feeds.c.id, feeds.c.title, feeds.c.url, feeds.c.error, feeds.c.failures, feeds.c.succeeded_at
    )
    query = query.where(feeds.c.failures > 0, feeds.c.paused_at.is_(None))
    rows = conn.execute(query.order_by(feeds.c.failures.desc(), feeds.c.id)).all()
    shown = [
        {
            **row._asdict(),
            "title": row.title or row.url,
            "message": (row.error or {}).get("message", "It could not be read."),
        }
        for row in rows[:MOST_SHOWN]
    ]
    return shown, len(rows)


def _dead_letters(conn: Connection) -> tuple[list[dict[str, Any]], int]:
    query = sa.select(items.c.id, items.c.title, items.c.url, items.c.error, items.c.updated_at)
    query = query.where(items.c.stage == Stage.PERMANENT_ERROR, items.c.ignored_at.is_(None))
    rows = conn.execute(query.order_by(items.c.id.desc()).limit(MOST_SHOWN))
    shown = [
        {**row._asdict(), "title": row.title or row.url, "advice": advice((row.error or {}).get("code", ""))}
        for row in rows
    ]
    return shown, status.dead_letters(conn)


def _open_breakers(conn: Connection) -> list[dict[str, Any]]:
    query = sa.select(breakers.c.name, breakers.c.reason, breakers.c.opened_at, breakers.c.state)
    query = query.where(breakers.c.state != "closed").order_by(breakers.c.opened_at, breakers.c.name)
    return [row._asdict() for row in conn.execute(query.limit(MOST_SHOWN))]


def _disk(settings: Settings) -> tuple[int | None, int | None]:
    try:
        usage = shutil.disk_usage(settings.data_dir)
    except OSError:
        return None, None
    return usage.free, usage.total
