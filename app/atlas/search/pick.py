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
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Connection

from atlas.database.dialect import BigId, is_sqlite, planned
from atlas.database.tables import items
from atlas.search.conditions import Condition

#: The most items that are looked at one by one rather than walking through the library.
MANY = 10_000
#: Of so few items that meet a condition all are looked at.
FEW = 500
#: Of no more than so many, one condition after the other is looked up for each.
SOME = 50
#: What it takes to look for words in what one item has, in rows looked at (PostgreSQL).
WORDS = 5
#: So many items are tried before anything else is thought of.
NEAR = 1000

#: As they came in, or by the date they bear: the newest first, and what bears none after them.
Order = Literal["newest", "oldest", "published"]


@dataclass(frozen=True, slots=True)
class Place:
    """An item's place in an order: its id, and the date it bears."""

    id: int
    published_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class _Way:
    """An order, and the place in it to begin after."""

    order: Order
    beyond: Place | None


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
    way = _Way(order, _start(conditions, order, beyond))
    words = _words(conditions)
    in_order = words is not None and words.ordered is not None and order != "published"
    alone = words is not None and not _others(conditions)
    if in_order and alone:
        return _in_order(conn, conditions, way, limit)
    lead, met = _few(conn, conditions), None
    if lead is None and limit <= FEW and _may_be_near(conditions, order):
        near, met = _near(conn, conditions, way, limit)
        if len(near) >= limit:
            return near
    if lead is None:
        lead = _lead(conn, conditions, order, limit, met)
    if order == "published":
        return _by_date(conn, _query(conditions, lead), way.beyond, limit)
    if in_order and lead is None:
        return _in_order(conn, conditions, way, limit)
    if alone and lead is not None:
        found = _first(conn, conditions, way, limit)
        if found is not None:
            return found
    query = _by_id(_query(conditions, lead), way.beyond, newest=order == "newest")
    return list(conn.execute(query.limit(limit)).scalars().all())


def _in_order(conn: Connection, conditions: Sequence[Condition], way: _Way, limit: int) -> list[int]:
    """Return the first items as their words are met in the index, which is in the order of ids."""
    words = _words(conditions)
    if words is None or words.ordered is None:
        raise ValueError("no condition knows its items in order")
    tests = [_often(one) for one in conditions if one is not words]
    found = words.ordered(way.order == "newest", None if way.beyond is None else way.beyond.id, tests)
    return [row.id for row in conn.execute(found.limit(limit)).all()]


def _words(conditions: Sequence[Condition]) -> Condition | None:
    """Return the condition that asks for words, if there is one."""
    return next((one for one in conditions if one.ordered is not None or one.guess is not None), None)


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


def _may_be_near(conditions: Sequence[Condition], order: Order) -> bool:
    """Say whether to try what comes first: not when words lead that way by themselves, or cost much a row."""
    words = _words(conditions)
    if words is not None and (order != "published" or words.among is None):
        return False
    if any(one.bulk is not None for one in conditions if one is not words):
        return False
    return any(one.ids is not None for one in conditions)


def _near(
    conn: Connection, conditions: Sequence[Condition], way: _Way, limit: int
) -> tuple[list[int], float]:
    """Return the first items that are among those next in order, and which part of these they are.

    What is asked for most is met there, and so many rows are soon looked at.
    """
    if way.order == "published" and way.beyond is not None and way.beyond.published_at is None:
        return [], 0.0
    found, met = _among_next(conn, conditions, way, limit, NEAR)
    if len(found) < limit <= met * 4 * NEAR:
        found, met = _among_next(conn, conditions, way, limit, 4 * NEAR)
    return found, met


def _among_next(
    conn: Connection, conditions: Sequence[Condition], way: _Way, limit: int, number: int
) -> tuple[list[int], float]:
    dated, newest = way.order == "published", way.order == "newest"
    ids = sa.select(items.c.id)
    ids = _dated(ids, way.beyond) if dated else _by_id(ids, way.beyond, newest=newest)
    few = ids.limit(number).cte("few").prefix_with("MATERIALIZED")
    query = _narrowed(sa.select(items.c.id).select_from(_joined(few)), conditions)
    query = _dated(query, None) if dated else _by_id(query, None, newest=newest)
    found = list(conn.execute(query.limit(limit)).scalars().all())
    return found, len(found) / number


def _first(conn: Connection, conditions: Sequence[Condition], way: _Way, limit: int) -> list[int] | None:
    """Return the first items if they are among those that come first by words alone; None if they are not."""
    words = _words(conditions)
    if words is None or words.ids is None:
        return None
    newest, number = way.order == "newest", 2 * limit
    few = words.ids.subquery()
    query = sa.select(few.c.id).order_by(few.c.id.desc() if newest else few.c.id).limit(number)
    if way.beyond is not None:
        query = query.where(few.c.id < way.beyond.id if newest else few.c.id > way.beyond.id)
    first = list(conn.execute(query).scalars().all())
    tests = [_often(one) for one in conditions if one is not words]
    given = sa.select(items.c.id).where(items.c.id == sa.any_(sa.literal(first, ARRAY(BigId))), *tests)
    found = list(conn.execute(_by_id(given, None, newest=newest).limit(limit)).scalars().all())
    return found if len(found) == limit or len(first) < number else None


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
    return _query(conditions, _few(conn, conditions) or _lead(conn, conditions, None, None))


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
    size: float


def _query(conditions: Sequence[Condition], lead: _Lead | None) -> sa.Select[Any]:
    if lead is None or lead.condition.ids is None:
        return sa.select(items.c.id).where(*(_often(one) for one in conditions))
    if lead.condition.thin and lead.size > FEW:
        return _narrowed(sa.select(items.c.id), conditions)
    few = lead.condition.ids.cte("few").prefix_with("MATERIALIZED")
    query = sa.select(items.c.id).select_from(_joined(few))
    others = [one for one in conditions if one is not lead.condition]
    if lead.size <= SOME:
        return query.where(*(one.clause for one in others))
    return _narrowed(query, others)


def _narrowed(query: sa.Select[Any], conditions: Sequence[Condition]) -> sa.Select[Any]:
    """Return what of a query meets the conditions; words are looked for last, in what is left then."""
    words = _words(conditions)
    query = query.where(*(_often(one) for one in conditions if one is not words))
    if words is None:
        return query
    passed = query.cte("passed").prefix_with("MATERIALIZED")
    if words.among is not None:
        passed = words.among(passed).cte("worded")
        return sa.select(items.c.id).select_from(_joined(passed))
    return sa.select(items.c.id).select_from(_joined(passed)).where(words.clause)


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
    conn: Connection,
    conditions: Sequence[Condition],
    order: Order | None,
    limit: int | None,
    met: float | None = None,
) -> _Lead | None:
    """Return the condition that leads to the first `limit` items (None: to all); None: walk through all.

    `met` is which part of the items that come first meet all conditions, if that is known; else it is guessed
    from how many meet each.
    """
    words = _words(conditions)
    if words is not None and words.guess is not None:
        return _cheapest(conn, conditions, order, limit)
    for most in (5 * FEW, MANY):
        # What is thin is as well walked through as led by.
        ways = [one for one in conditions if words or most < MANY or not one.thin]
        sizes, total = _sizes(conn, ways, most)
        least = min(sizes, key=lambda lead: lead.size, default=None)
        if least is not None and least.size <= most:
            break
    else:
        return None
    if limit is not None:
        shares = [_share(lead, total) for lead in sizes if not _is_begun_at(lead.condition, order)]
        share = math.prod(shares) if met is None else met
        if share and limit / share < least.size:
            return None
    return least


def _others(conditions: Sequence[Condition]) -> list[Condition]:
    """Return the conditions that lead to items but are no words."""
    words = _words(conditions)
    return [one for one in conditions if one is not words and one.ids is not None]


def _share(lead: _Lead, total: float) -> float:
    return min(1.0, max(lead.size, 1) / max(total, 1))


def _is_begun_at(condition: Condition, order: Order | None) -> bool:
    """Say whether going through the library begins where the condition is first met."""
    return (order == "newest" and condition.last is not None) or (
        order == "oldest" and condition.first is not None
    )


def _cheapest(
    conn: Connection, conditions: Sequence[Condition], order: Order | None, limit: int | None
) -> _Lead | None:
    """Choose as `_lead` does where there are words in PostgreSQL, which guesses how many items meet each.

    One costs what it takes to look at a row; at the words of a row, as much as at WORDS rows.
    """
    total = conn.execute(sa.select(sa.func.max(items.c.id))).scalar() or 1
    leads = [
        _Lead(one, planned(conn, one.ids) if one.guess is None else one.guess(conn))
        for one in conditions
        if one.ids is not None
    ]
    worded = next(lead for lead in leads if lead.condition.guess is not None)
    others = [lead for lead in leads if lead is not worded]
    share = math.prod(_share(lead, total) for lead in others if not _is_begun_at(lead.condition, order))
    # Items whose words are looked at before so many are found.
    checked = (total if limit is None else limit) / _share(worded, total)
    walked = min(total, checked / share)
    # Where conditions seldom meet, more than was guessed.
    best, least = None, 2 * walked + min(checked, walked * share) * WORDS
    cost = worded.size * (2 if worded.condition.by_index else WORDS + 1)
    if cost < least:
        best, least = worded, cost
    for lead in others:
        left = lead.size * math.prod(_share(other, total) for other in others if other is not lead)
        cost = lead.size * (0.5 if lead.condition.thin else 1.5) + left * WORDS
        if cost < least:
            best, least = lead, cost
    return best


def _sizes(conn: Connection, conditions: Sequence[Condition], most: int) -> tuple[list[_Lead], int]:
    """Count the items that meet each condition, up to one more than `most`; and about how many there are."""
    ways = [condition for condition in conditions if condition.ids is not None]
    counted = [way for way in ways if way.guess is None]
    guessed = [_Lead(way, max(1.0, way.guess(conn))) for way in ways if way.guess is not None]
    if not counted:
        return guessed, 0
    columns = [
        bounded(way.ids if way.roughly is None else way.roughly, most + 1).label(f"n{n}")
        for n, way in enumerate(counted)
    ]
    last = sa.select(sa.func.max(items.c.id)).scalar_subquery().label("last")
    *sizes, total = conn.execute(sa.select(*columns, last)).one()
    return [*map(_Lead, counted, sizes), *guessed], total or 0
