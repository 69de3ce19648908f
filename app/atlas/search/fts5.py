"""Searching with SQLite's FTS5."""

import json
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from atlas.database.dialect import BigId
from atlas.database.tables import items
from atlas.search.conditions import Condition, Ids
from atlas.search.query import Query, Term

_TEXTS = sa.table("contents_fts", sa.column("rowid", BigId))
_CARDS = sa.table("cards", sa.column("rowid", BigId))
_TABLES = (_TEXTS, _CARDS)

# The weights are those of title and text; of title, address, notes and tags. A sum keeps FTS5 from beginning
# anew for each id.
_BEST = """
    SELECT rowid AS id, {rank} AS badness FROM {table}
    WHERE {table} MATCH :query AND rowid BETWEEN :first AND :last
        AND rowid + 0 IN (SELECT value FROM json_each(:ids))
"""
_ORDERED = sa.text(
    f"""
    SELECT id FROM (
        {_BEST.format(table="contents_fts", rank="bm25(contents_fts, 8.0, 1.0)")}
        UNION ALL {_BEST.format(table="cards", rank="bm25(cards, 8.0, 2.0, 4.0, 4.0)")}
    ) GROUP BY id ORDER BY min(badness), id DESC
    """  # noqa: S608 - our own words
)


def conditions(query: Query) -> list[Condition]:
    """Return what the words of a query ask of an item."""
    found = []
    if query.wanted:
        text = _wanted(query)
        ids = _ids(text)

        def ordered(newest: bool, beyond: int | None, tests: Sequence[sa.ColumnElement[bool]]) -> Ids:  # noqa: FBT001
            return _ordered(text, newest=newest, beyond=beyond, tests=tests)

        each = [sa.exists().where(_match(table, text), table.c.rowid == items.c.id) for table in _TABLES]
        found.append(Condition(sa.or_(*each), ids, bulk=items.c.id.in_(ids), ordered=ordered))
    if query.unwanted:
        unwanted = " OR ".join(map(_phrase, query.unwanted))
        found.append(Condition(items.c.id.not_in(_ids(unwanted))))
    return found


def ranked(conn: Connection, query: Query, ids: Sequence[int]) -> list[int]:
    """Return `ids` in order of relevance, best first."""
    values = {"query": _wanted(query), "first": min(ids), "last": max(ids), "ids": json.dumps(list(ids))}
    return list(conn.execute(_ORDERED, values).scalars())


def rebuild(conn: Connection) -> None:
    """Index everything anew."""
    conn.exec_driver_sql("INSERT INTO contents_fts (contents_fts) VALUES ('rebuild')")
    conn.exec_driver_sql("DELETE FROM cards")
    conn.exec_driver_sql("INSERT INTO cards (rowid, title, address, notes, tags) SELECT * FROM card_texts")


def check(conn: Connection) -> dict[str, int]:
    """Return what of the index does not fit its rows, by name; 1 stands for any number of texts."""
    try:
        conn.exec_driver_sql("INSERT INTO contents_fts (contents_fts, rank) VALUES ('integrity-check', 1)")
        texts = 0
    except sa.exc.DatabaseError:
        texts = 1
    return {"texts": texts, "cards": conn.exec_driver_sql(_CARDS_OFF).scalar_one()}


_CARDS_OFF = """
    SELECT (SELECT count(*) FROM card_texts t LEFT JOIN cards c ON c.rowid = t.item_id
            WHERE (c.title, c.address, c.notes, c.tags) IS NOT (t.title, t.address, t.notes, t.tags))
        + (SELECT count(*) FROM cards WHERE rowid NOT IN (SELECT id FROM items))
"""


def _ids(text: str) -> Ids:
    """Return the query for the ids whose text or card matches."""
    return sa.union(*(sa.select(table.c.rowid.label("id")).where(_match(table, text)) for table in _TABLES))


def _ordered(text: str, *, newest: bool, beyond: int | None, tests: Sequence[sa.ColumnElement[bool]]) -> Ids:
    """Return the same in order, of items that pass tests, beyond an id.

    FTS5 goes through its matches in either order, and SQLite merges the two as far as it has to.
    """
    parts = []
    for table in _TABLES:
        part = sa.select(table.c.rowid.label("id")).where(_match(table, text))
        if tests:
            part = part.where(sa.exists().where(items.c.id == table.c.rowid, *tests))
        if beyond is not None:
            part = part.where(table.c.rowid < beyond if newest else table.c.rowid > beyond)
        parts.append(part)
    return sa.union(*parts).order_by(sa.desc("id") if newest else sa.asc("id"))


def _match(table: sa.TableClause, text: str) -> sa.ColumnElement[bool]:
    return sa.literal_column(table.name).op("MATCH", is_comparison=True, return_type=sa.Boolean())(text)


def _wanted(query: Query) -> str:
    """Write the query for MATCH. Words hold letters, digits and marks only: none of them can be syntax."""
    return " AND ".join(f"({' OR '.join(map(_phrase, group))})" for group in query.wanted)


def _phrase(term: Term) -> str:
    return f'"{" ".join(term.words)}"' + ("*" if term.prefix else "")
