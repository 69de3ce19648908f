"""The first so many items, in some order, that meet all of some conditions.

Left alone neither engine does this well when many items meet each condition and few meet all. So conditions
are counted first, up to MANY. What few items meet leads to them, and the others are tests of their rows;
unless walking through the library in its order will sooner have met enough.
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
    lead = _lead(conn, conditions, limit)
    if order == "published":
        return _by_date(conn, _query(conditions, lead), beyond, limit)
    newest = order == "newest"
    words = next((one for one in conditions if one.ordered is not None), None)
    if words is not None and words.ordered is not None and lead is None:
        tests = [_often(one) for one in conditions if one is not words]
        found = words.ordered(newest, None if beyond is None else beyond.id, tests)
        return [row.id for row in conn.execute(found.limit(limit))]
    query = _query(conditions, lead)
    if beyond is not None:
        query = query.where(items.c.id < beyond.id if newest else items.c.id > beyond.id)
    query = query.order_by(items.c.id.desc() if newest else items.c.id)
    return list(conn.execute(query.limit(limit)).scalars())


def _by_date(conn: Connection, query: sa.Select[Any], beyond: Place | None, limit: int) -> list[int]:
    found: list[int] = []
    date = items.c.published_at
    if beyond is None or beyond.published_at is not None:
        dated = query.where(date.is_not(None))
        if beyond is not None:
            earlier = sa.or_(date < beyond.published_at, items.c.id < beyond.id)
            dated = dated.where(date <= beyond.published_at, earlier)
        dated = dated.order_by(date.desc(), items.c.id.desc()).limit(limit)
        found = list(conn.execute(dated).scalars())
        beyond = None
    if len(found) < limit:
        undated = query.where(date.is_(None)).order_by(items.c.id.desc())
        undated = undated if beyond is None else undated.where(items.c.id < beyond.id)
        found += conn.execute(undated.limit(limit - len(found))).scalars()
    return found


def chosen(conn: Connection, conditions: Sequence[Condition]) -> sa.Select[Any]:
    """Return a query for the ids of the items that meet all conditions, without order or limit."""
    return _query(conditions, _lead(conn, conditions, None))


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
    if lead is None or lead.condition.ids is None:
        return sa.select(items.c.id).where(*(_often(one) for one in conditions))
    test = (lambda one: one.clause) if lead.size <= FEW else _often
    few = lead.condition.ids.cte("few").prefix_with("MATERIALIZED")
    query = sa.select(items.c.id).select_from(few.join(items, items.c.id == few.c.id))
    return query.where(*(test(one) for one in conditions if one is not lead.condition))


def _often(condition: Condition) -> sa.ColumnElement[bool]:
    """Return the test for many rows."""
    return condition.clause if condition.bulk is None else condition.bulk


def _lead(conn: Connection, conditions: Sequence[Condition], limit: int | None) -> _Lead | None:
    """Return the condition that leads to the first `limit` items (None: to all); None: walk through all."""
    ways = [condition for condition in conditions if condition.ids is not None]
    if not ways:
        return None
    columns = [
        bounded(way.ids if way.roughly is None else way.roughly, MANY + 1).label(f"n{n}")
        for n, way in enumerate(ways)
    ]
    last = sa.select(sa.func.max(items.c.id)).scalar_subquery().label("last")
    *sizes, total = conn.execute(sa.select(*columns, last)).one()
    least = min(range(len(ways)), key=sizes.__getitem__)
    if sizes[least] > MANY:
        return None
    if limit is not None and sizes[least] > FEW:
        share = math.prod(min(1.0, size / max(total or 1, 1)) for size in sizes)
        if share and limit / share < sizes[least]:
            return None
    return _Lead(ways[least], sizes[least])
