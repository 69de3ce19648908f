"""What an item may have to meet, each as a test of its row and, where an index is, a way to its id."""

import datetime as dt
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from atlas.database.dialect import Text, is_sqlite
from atlas.database.tables import feeds, highlights, item_tags, items, sightings, tags
from atlas.search.query import Operator
from atlas.stages.table import DONE, TERMINAL, Stage
from atlas.tags import clean

#: A query for ids, in a column called "id".
Ids = sa.Select[tuple[int]] | sa.CompoundSelect[tuple[int]]

#: So many items on the wrong side of a moment are walked past.
_PASSED = 500

#: The stages a state is made of.
WAITING = frozenset(Stage) - TERMINAL


@dataclass(frozen=True, slots=True)
class Condition:
    """`clause` is a test of a row of `items`; `ids` finds the same by an index, None where there is none.

    Words have more. In SQLite `bulk`, a test that costs much once and then little for each row; `ordered`, a
    query for ids from the newest on (True) or from the oldest, beyond an id, of those that pass tests, which
    reads no more matches than are asked for; `among`, which finds some of many ids; and `roughly`, which
    finds these and more, and is soon counted. In PostgreSQL `guess`, how many its planner expects to be
    found, and `by_index`: the index alone knows them, no text need be looked at.

    Dates know the ids between which all they match stands, where that is worth knowing. What is `thin` has an
    index of its own in which kind, source and stage stand beside the id.
    """

    clause: sa.ColumnElement[bool]
    ids: Ids | None = None
    bulk: sa.ColumnElement[bool] | None = None
    ordered: Callable[[bool, int | None, Sequence[sa.ColumnElement[bool]]], Ids] | None = None
    among: Callable[[sa.CTE], Ids] | None = None
    roughly: Ids | None = None
    guess: Callable[[sa.Connection], float] | None = None
    by_index: bool = True
    first: int | None = None
    last: int | None = None
    thin: bool = False


def negation(condition: Condition) -> Condition:
    """Return what the items meet that do not meet the condition."""
    return Condition(~sa.func.coalesce(condition.clause, sa.false()))


def any_of(conditions: Sequence[Condition]) -> Condition:
    """Return what the items meet that meet at least one of the conditions."""
    if len(conditions) == 1:
        return conditions[0]
    ways = [condition.ids for condition in conditions if condition.ids is not None]
    clause = sa.or_(*(condition.clause for condition in conditions))
    return Condition(clause, sa.union(*ways) if len(ways) == len(conditions) else None)


def _indexed(clause: sa.ColumnElement[bool], *, thin: bool = False) -> Condition:
    return Condition(clause, sa.select(items.c.id.label("id")).where(clause), thin=thin)


def _related(table: sa.Table, clause: sa.ColumnElement[bool]) -> Condition:
    """Match items with a row in another table."""
    there = sa.exists().where(table.c.item_id == items.c.id, clause)
    return Condition(there, sa.select(table.c.item_id.label("id")).where(clause).distinct())


def kind(value: str) -> Condition:
    """Match one kind."""
    return _indexed(items.c.kind == value, thin=True)


def source(value: str) -> Condition:
    """Match how it came in."""
    return _indexed(items.c.source == value, thin=True)


def batch(import_id: int) -> Condition:
    """Match what an import brought."""
    return _indexed(items.c.import_id == import_id)


def tag(conn: sa.Connection, name: str) -> Condition:
    """Match what carries a tag. PostgreSQL plans better for a tag's number than for its name."""
    key = next(iter(clean([name])), "")
    mine = conn.execute(sa.select(tags.c.id).where(tags.c.key == key)).scalar() or 0
    there = sa.exists().where(item_tags.c.item_id == items.c.id, item_tags.c.tag_id == mine)
    return Condition(there, sa.select(item_tags.c.item_id.label("id")).where(item_tags.c.tag_id == mine))


def feed(ids: Collection[int]) -> Condition:
    """Match what one of these feeds brought, or showed when it was here already."""
    came = _indexed(items.c.feed_id.in_(ids))
    return any_of([came, _related(sightings, sightings.c.feed_id.in_(ids))])


def hosts(names: Collection[str]) -> Condition:
    """Match what comes from one of these hosts."""
    return _indexed(items.c.host.in_(names))


def language(code: str) -> Condition:
    """Match a language, whatever the country: en finds en-GB too."""
    return Condition(sa.or_(items.c.language == code, items.c.language.ilike(f"{code}-%")))


def before(conn: sa.Connection, moment: dt.datetime) -> Condition:
    """Match what was added before. As ids mostly grow with time, there is a last one to begin at."""
    earlier = items.c.added_at < moment
    return _dated(earlier, last=_edge(conn, sa.func.max, earlier, items.c.added_at >= moment))


def after(conn: sa.Connection, moment: dt.datetime) -> Condition:
    """Match what was added then or later. There is a first one to end at."""
    later = items.c.added_at >= moment
    return _dated(later, first=_edge(conn, sa.func.min, later, items.c.added_at < moment))


def between(conn: sa.Connection, first: dt.datetime, end: dt.datetime) -> Condition:
    """Match what was added from `first` on, before `end`: few, where each alone may match many."""
    dates = sa.and_(items.c.added_at >= first, items.c.added_at < end)
    one = items.c.id + 0
    edges = conn.execute(sa.select(sa.func.min(one), sa.func.max(one)).where(dates)).one()
    return _dated(dates, first=edges[0], last=edges[1])


def _dated(dates: sa.ColumnElement[bool], *, first: int | None = None, last: int | None = None) -> Condition:
    # As a test of a row it is kept from leading by the index of dates away from the order of ids.
    clauses: list[sa.ColumnElement[bool]] = [sa.func.coalesce(dates, sa.false())]
    clauses += [] if first is None else [items.c.id >= first]
    clauses += [] if last is None else [items.c.id <= last]
    ids = sa.select(items.c.id.label("id")).where(dates)
    return Condition(sa.and_(*clauses), ids, first=first, last=last)


def _edge(
    conn: sa.Connection,
    extreme: Callable[[sa.ColumnElement[int]], sa.ColumnElement[int]],
    side: sa.ColumnElement[bool],
    other_side: sa.ColumnElement[bool],
) -> int | None:
    """Return the last or first id of one side of a moment; None where so few are beyond that they can be met.

    A sum has it found by the index of dates, not by walking from the end of all ids.
    """
    others = sa.select(items.c.added_at).where(other_side).limit(_PASSED + 1)
    many = sa.select(sa.func.count()).select_from(others.subquery()).scalar_subquery() > _PASSED
    found = sa.select(sa.func.coalesce(extreme(items.c.id + 0), 0)).where(side).scalar_subquery()
    edge: int | None = conn.execute(sa.select(sa.case((many, found), else_=None))).scalar_one()
    return edge


def stages(chosen: Collection[int]) -> Condition:
    """Match what stands at one of these stages."""
    return _indexed(items.c.stage.in_(sorted(int(stage) for stage in chosen)))


def not_duplicate() -> Condition:
    """Match all but what was here already."""
    return Condition(items.c.stage != Stage.DUPLICATE)


# The condition of ix_items_unread, literally: else neither engine recognises it. Without a type: a Boolean
# that is no column is compared with 1 on SQLite.
_UNREAD: sa.ColumnElement[bool] = sa.literal_column("(items.read_at IS NULL AND items.stage IN (590, 595))")


def state(name: str) -> Condition:
    """Match a state of `query.STATES`. Raises KeyError for another word."""
    return _STATES[name]


_GIVEN_UP = items.c.stage == Stage.PERMANENT_ERROR
_STATES: dict[str, Condition] = {
    "unread": _indexed(_UNREAD),
    "read": _indexed(items.c.read_at.is_not(None)),
    "archived": _indexed(items.c.read_at.is_not(None)),  # what other services call it
    "starred": _indexed(items.c.starred_at.is_not(None)),
    "highlighted": _related(highlights, sa.true()),
    "annotated": any_of(
        [_indexed(items.c.note.is_not(None)), _related(highlights, highlights.c.note.is_not(None))]
    ),
    "tagged": Condition(sa.exists().where(item_tags.c.item_id == items.c.id)),
    "ready": stages(DONE),
    "waiting": stages(WAITING),
    "failed": _indexed(sa.and_(_GIVEN_UP, items.c.ignored_at.is_(None))),
    "ignored": _indexed(sa.and_(_GIVEN_UP, items.c.ignored_at.is_not(None))),
    "duplicate": stages([Stage.DUPLICATE]),
}


def operator(conn: sa.Connection, asked: Operator) -> Condition:
    """Return what an operator of a query means in this library."""
    found = _OPERATORS[asked.name](conn, asked)
    return negation(found) if asked.negative else found


def feeds_called(conn: sa.Connection, name: str) -> list[int]:
    """Return the feeds of that number, or with that in their title or address."""
    if name.isascii() and name.isdigit() and len(name) <= 18:
        return [int(name)]
    called = sa.or_(
        feeds.c.title.icontains(name, autoescape=True), feeds.c.url.icontains(name, autoescape=True)
    )
    return list(conn.execute(sa.select(feeds.c.id).where(called)).scalars())


def feeds_in(conn: sa.Connection, folder: str) -> list[int]:
    """Return the feeds in a folder."""
    query = sa.select(feeds.c.id).where(sa.func.lower(feeds.c.folder) == folder.lower())
    return list(conn.execute(query).scalars())


def hosts_of(conn: sa.Connection, site: str) -> list[str]:
    """Return the hosts that belong to a site: itself and what is below it."""
    if is_sqlite(conn):  # it cannot read a host backwards, and has a list of them all
        query = sa.select(_sites.c.host).where(_sites.c.host.endswith(f".{site}", autoescape=True))
    else:
        backwards = sa.func.reverse(items.c.host).startswith(f".{site}"[::-1], autoescape=True)
        query = sa.select(items.c.host).where(backwards).distinct()
    return [site, *conn.execute(query.limit(1000)).scalars()]


_sites = sa.table("sites", sa.column("host", Text))


_OPERATORS: dict[str, Any] = {
    "kind": lambda _, asked: kind(asked.value),
    "source": lambda _, asked: source(asked.value),
    "tag": lambda conn, asked: tag(conn, asked.value),
    "is": lambda _, asked: state(asked.value),
    "before": lambda conn, asked: before(conn, asked.moment),
    "after": lambda conn, asked: after(conn, asked.moment),
    "lang": lambda _, asked: language(asked.value),
    "feed": lambda conn, asked: feed(feeds_called(conn, asked.value)),
    "folder": lambda conn, asked: feed(feeds_in(conn, asked.value)),
    "site": lambda conn, asked: hosts(hosts_of(conn, asked.value)),
}
