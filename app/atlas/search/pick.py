"""The first so many items, in some order, that meet all of some conditions.

Left alone neither engine does this well when many items meet each condition and few meet all. So conditions
are counted first. What few items meet leads to them, and the others are tests of their rows; unless walking
through the library in its order will sooner have met enough, of which the items that come first give an idea.
"""

import datetime as dt
import functools
import math
import operator
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from atlas.database.dialect import is_sqlite
from atlas.database.tables import items
from atlas.search.conditions import Condition

#: The most items that are looked at one by one rather than walking through the library.
MANY = 10_000
#: Of so few items the words are looked up one by one.
FEW = 500
#: So many items are tried before anything else is thought of.
NEAR = 1000

#: As they came in, or by the date they bear: the newest first, and what bears none after them.
Order = Literal["newest", "oldest", "published"]


@dataclass(frozen=True, slots=True)
class Place:
    """An item's place in an order: its id, and the date it bears."""

    id: int
    published_at: dt.datetime | None = None


def pick(
    conn: Connection,
    conditions: Sequence[Condition],
    *,
    order: Order = "newest",
    beyond: Place | None = None,
    limit: int,
) -> list[int]:
    """Return the ids of the first `limit` items that meet all conditions, after the place `beyond`."""
    with _by_index(conn):
        return _pick(conn, conditions, order, beyond, limit)


@contextmanager
def _by_index(conn: Connection) -> Iterator[None]:
    """Keep PostgreSQL to its indexes.

    It does not count that words are stored apart from their rows, and would rather read them all.
    """
    if is_sqlite(conn):
        yield
        return
    conn.execute(_SCANS, {"to": "off"})
    yield
    conn.execute(_SCANS, {"to": "on"})


_SCANS = sa.text("SELECT set_config('enable_seqscan', :to, true)")


def _pick(
    conn: Connection, conditions: Sequence[Condition], order: Order, beyond: Place | None, limit: int
) -> list[int]:
    place = _Way(order, _start(conditions, order, beyond))
    words = next((one for one in conditions if one.ordered is not None), None)
    lead = _few(conn, conditions)
    met = None
    if lead is None and limit <= FEW and _have_ways_but_no_words(conditions):
        for number in (NEAR, 4 * NEAR):
            near = _near(conn, conditions, place, number, limit)
            if len(near) >= limit:
                return near
            met = len(near) / number
            if met * 4 * NEAR < limit:
                break
    if lead is None:
        lead = _lead(conn, conditions, limit, met)
    beyond = place.beyond
    if order == "published":
        return _by_date(conn, _query(conditions, lead), beyond, limit)
    newest = order == "newest"
    if words is not None and words.ordered is not None and lead is None:
        tests = [_often(one) for one in conditions if one is not words]
        found = words.ordered(newest, None if beyond is None else beyond.id, tests)
        return [row.id for row in conn.execute(found.limit(limit))]
    return list(conn.execute(_by_id(_query(conditions, lead), beyond, newest=newest).limit(limit)).scalars())


@dataclass(frozen=True, slots=True)
class _Way:
    """An order, and the place in it to begin after."""

    order: Order
    beyond: Place | None


def _start(conditions: Sequence[Condition], order: Order, beyond: Place | None) -> Place | None:
    """Return where to begin: what is beyond the dates asked for need not be met."""
    if order == "newest":
        ends = [one.last + 1 for one in conditions if one.last is not None]
        ends += [] if beyond is None else [beyond.id]
        return Place(min(ends)) if ends else None
    if order == "oldest":
        ends = [one.first - 1 for one in conditions if one.first is not None]
        ends += [] if beyond is None else [beyond.id]
        return Place(max(ends)) if ends else None
    return beyond


def _by_id(query: sa.Select[Any], beyond: Place | None, *, newest: bool) -> sa.Select[Any]:
    if beyond is not None:
        query = query.where(items.c.id < beyond.id if newest else items.c.id > beyond.id)
    return query.order_by(items.c.id.desc() if newest else items.c.id)


def _have_ways_but_no_words(conditions: Sequence[Condition]) -> bool:
    if any(one.ordered is not None or one.roughly is not None for one in conditions):
        return False
    return any(one.ids is not None for one in conditions)


def _near(conn: Connection, conditions: Sequence[Condition], way: _Way, number: int, limit: int) -> list[int]:
    """Return the first items that are among the next `number`.

    What is asked for most is met there, and so many rows are soon looked at.
    """
    ids = sa.select(items.c.id)
    if way.order != "published":
        near = _by_id(ids, way.beyond, newest=way.order == "newest")
    elif way.beyond is None or way.beyond.published_at is not None:
        near = _dated(ids, way.beyond)
    else:
        return []
    few = near.limit(number).cte("few").prefix_with("MATERIALIZED")
    query = sa.select(items.c.id).select_from(_joined(few)).where(*(one.clause for one in conditions))
    dated = way.order == "published"
    query = _dated(query, None) if dated else _by_id(query, None, newest=way.order == "newest")
    return list(conn.execute(query.limit(limit)).scalars())


def _by_date(conn: Connection, query: sa.Select[Any], beyond: Place | None, limit: int) -> list[int]:
    found: list[int] = []
    if beyond is None or beyond.published_at is not None:
        found = list(conn.execute(_dated(query, beyond).limit(limit)).scalars())
        beyond = None
    if len(found) < limit:
        undated = query.where(items.c.published_at.is_(None)).order_by(items.c.id.desc())
        undated = undated if beyond is None else undated.where(items.c.id < beyond.id)
        found += conn.execute(undated.limit(limit - len(found))).scalars()
    return found


def _dated(query: sa.Select[Any], beyond: Place | None) -> sa.Select[Any]:
    """Return those of a query that bear a date, in the order of their dates."""
    date = items.c.published_at
    query = query.where(date.is_not(None))
    if beyond is not None:
        earlier = sa.or_(date < beyond.published_at, items.c.id < beyond.id)
        query = query.where(date <= beyond.published_at, earlier)
    return query.order_by(date.desc(), items.c.id.desc())


def chosen(conn: Connection, conditions: Sequence[Condition]) -> sa.Select[Any]:
    """Return a query for the ids of the items that meet all conditions, without order or limit."""
    return _query(conditions, _few(conn, conditions) or _lead(conn, conditions, None))


def bounded(ids: Any, most: int) -> sa.ColumnElement[int]:  # noqa: ANN401 - a select or several united
    """Return a query that counts ids, up to `most`; what several selects find counts in each."""
    parts: Sequence[Any] = ids.selects if isinstance(ids, sa.CompoundSelect) else [ids]
    counts = []
    for part in parts:
        some = (
            part.with_only_columns(sa.literal_column("1"), maintain_column_froms=True).limit(most).subquery()
        )
        counts.append(sa.select(sa.func.count()).select_from(some).scalar_subquery())
    return functools.reduce(operator.add, counts)


@dataclass(frozen=True, slots=True)
class _Lead:
    """The condition that leads to the items, and how many meet it."""

    condition: Condition
    size: int


def _query(conditions: Sequence[Condition], lead: _Lead | None) -> sa.Select[Any]:
    if lead is None or lead.condition.ids is None or (lead.condition.thin and lead.size > FEW):
        return sa.select(items.c.id).where(*(_often(one) for one in conditions))
    test = (lambda one: one.clause) if lead.size <= FEW else _often
    few = lead.condition.ids.cte("few").prefix_with("MATERIALIZED")
    query = sa.select(items.c.id).select_from(_joined(few))
    return query.where(*(test(one) for one in conditions if one is not lead.condition))


def _joined(few: sa.CTE) -> sa.Join:
    """Join a few ids with their items. A sum keeps SQLite from looking up the ids for the items."""
    return few.join(items, items.c.id == few.c.id + 0)


def _often(condition: Condition) -> sa.ColumnElement[bool]:
    """Return the test for many rows."""
    return condition.clause if condition.bulk is None else condition.bulk


def _few(conn: Connection, conditions: Sequence[Condition]) -> _Lead | None:
    """Return the condition that fewest items meet, if no more than FEW do."""
    sizes, _ = _sizes(conn, conditions, FEW)
    least = min(sizes, key=lambda lead: lead.size, default=None)
    return None if least is None or least.size > FEW else least


def _lead(
    conn: Connection, conditions: Sequence[Condition], limit: int | None, met: float | None = None
) -> _Lead | None:
    """Return the condition that leads to the first `limit` items (None: to all); None: walk through all.

    `met` is which part of the items that come first meet all conditions, if that is known; else it is guessed
    from how many meet each.
    """
    for most in (5 * FEW, MANY):
        # What is thin is as well walked through as led by.
        ways = conditions if most < MANY else [one for one in conditions if not one.thin]
        sizes, total = _sizes(conn, ways, most)
        least = min(sizes, key=lambda lead: lead.size, default=None)
        if least is not None and least.size <= most:
            break
    else:
        return None
    if limit is not None:
        share = math.prod(min(1.0, lead.size / max(total, 1)) for lead in sizes) if met is None else met
        if share and limit / share < least.size:
            return None
    return least


def _sizes(conn: Connection, conditions: Sequence[Condition], most: int) -> tuple[list[_Lead], int]:
    """Count the items that meet each condition, up to one more than `most`; and about how many there are."""
    ways = [condition for condition in conditions if condition.ids is not None]
    if not ways:
        return [], 0
    columns = [
        bounded(way.ids if way.roughly is None else way.roughly, most + 1).label(f"n{n}")
        for n, way in enumerate(ways)
    ]
    last = sa.select(sa.func.max(items.c.id)).scalar_subquery().label("last")
    *sizes, total = conn.execute(sa.select(*columns, last)).one()
    return list(map(_Lead, ways, sizes)), total or 0
