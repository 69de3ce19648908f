"""The first so many items, in some order, that meet all of some conditions.

Left alone neither engine does this well when many items meet each condition and few meet all. So conditions
are counted first, up to MANY: what few items meet leads to them, and the others are tests of their rows. When
each is met by many, items are walked through in their order.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from atlas.database.tables import items
from atlas.search.conditions import Condition

#: Items that are looked at one by one rather than walking through the library.
MANY = 10_000

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
    query = chosen(conn, conditions)
    if order == "published":
        return _by_date(conn, query, beyond, limit)
    if beyond is not None:
        query = query.where(items.c.id < beyond.id if order == "newest" else items.c.id > beyond.id)
    query = query.order_by(items.c.id.desc() if order == "newest" else items.c.id)
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
    lead = _rarest(conn, conditions)
    tests = [condition.clause for condition in conditions if condition is not lead]
    if lead is None or lead.ids is None:
        return sa.select(items.c.id).where(*tests)
    few = lead.ids.cte("few").prefix_with("MATERIALIZED")
    return sa.select(items.c.id).select_from(few.join(items, items.c.id == few.c.id)).where(*tests)


def bounded(ids: Any, most: int) -> sa.ScalarSelect[int]:  # noqa: ANN401 - a select or several united
    """Return a query that counts ids, up to `most`."""
    some = sa.select(sa.literal_column("1")).select_from(ids.subquery()).limit(most).subquery()
    return sa.select(sa.func.count()).select_from(some).scalar_subquery()


def _rarest(conn: Connection, conditions: Sequence[Condition]) -> Condition | None:
    ways = [condition for condition in conditions if condition.ids is not None]
    if not ways:
        return None
    columns = [bounded(way.ids, MANY + 1).label(f"n{n}") for n, way in enumerate(ways)]
    sizes = list(conn.execute(sa.select(*columns)).one())
    least = min(range(len(ways)), key=sizes.__getitem__)
    return ways[least] if sizes[least] <= MANY else None
