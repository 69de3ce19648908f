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
    unwanted = _unwanted(query)
    if query.wanted:
        return [_words(_wanted(query), unwanted)]
    if query.unwanted:
        return [Condition(~_any(unwanted), bulk=items.c.id.not_in(sa.union_all(*_parts(unwanted, ""))))]
    return []


def _words(text: str, unwanted: str) -> Condition:
    def ordered(newest: bool, beyond: int | None, tests: Sequence[sa.ColumnElement[bool]]) -> Ids:  # noqa: FBT001
        return _ordered(_parts(text, unwanted), newest=newest, beyond=beyond, tests=tests)

    def among(few: sa.CTE) -> Ids:
        # A sum has FTS5 go through its matches once, not begin anew for each id.
        parts = [(part, part.selected_columns[0] + 0) for part in _parts(text, unwanted)]
        return sa.union(*(part.where(number.in_(sa.select(few.c.id))) for part, number in parts))

    clause = sa.and_(_any(text), ~_any(unwanted)) if unwanted else _any(text)
    ids = sa.union(*_parts(text, unwanted))
    roughly = sa.union_all(*_parts(_without(text, unwanted), ""))
    return Condition(clause, ids, items.c.id.in_(ids), ordered=ordered, among=among, roughly=roughly)


def ranked(conn: Connection, query: Query, ids: Sequence[int]) -> list[int]:
    """Return `ids` in order of relevance, best first."""
    text = _without(_wanted(query), _unwanted(query))
    values = {"query": text, "first": min(ids), "last": max(ids), "ids": json.dumps(list(ids))}
    return list(conn.execute(_ORDERED, values).scalars().all())


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


def _any(text: str) -> sa.ColumnElement[bool]:
    """Look whether the text or the card of one item matches."""
    return sa.or_(*(sa.exists().where(_match(table, text), table.c.rowid == items.c.id) for table in _TABLES))


def _without(text: str, unwanted: str) -> str:
    return f"({text}) NOT ({unwanted})" if unwanted else text


def _parts(text: str, unwanted: str) -> list[sa.Select[tuple[int]]]:
    """Return the queries for the ids whose text, or card, matches while neither has what is unwanted."""
    parts = []
    for table, other in (_TABLES, reversed(_TABLES)):
        part = sa.select(table.c.rowid.label("id")).where(_match(table, _without(text, unwanted)))
        if unwanted:
            part = part.where(table.c.rowid.not_in(sa.select(other.c.rowid).where(_match(other, unwanted))))
        parts.append(part)
    return parts


def _ordered(
    parts: Sequence[sa.Select[tuple[int]]],
    *,
    newest: bool,
    beyond: int | None,
    tests: Sequence[sa.ColumnElement[bool]],
) -> Ids:
    """Return ids in order, of items that pass tests, beyond an id.

    FTS5 goes through its matches in either order, and SQLite merges the two as far as it has to.
    """
    ordered = []
    for part, table in zip(parts, _TABLES, strict=True):
        if tests:
            part = part.where(sa.exists().where(items.c.id == table.c.rowid, *tests))  # noqa: PLW2901
        if beyond is not None:
            part = part.where(table.c.rowid < beyond if newest else table.c.rowid > beyond)  # noqa: PLW2901
        ordered.append(part)
    return sa.union(*ordered).order_by(sa.desc("id") if newest else sa.asc("id"))


def _match(table: sa.TableClause, text: str) -> sa.ColumnElement[bool]:
    return sa.literal_column(table.name).op("MATCH", is_comparison=True, return_type=sa.Boolean())(text)


def _wanted(query: Query) -> str:
    """Write the query for MATCH. Words hold letters, digits and marks only: none of them can be syntax."""
    return " AND ".join(f"({' OR '.join(map(_phrase, group))})" for group in query.wanted)


def _unwanted(query: Query) -> str:
    return " OR ".join(map(_phrase, query.unwanted))


def _phrase(term: Term) -> str:
    return f'"{" ".join(term.words)}"' + ("*" if term.prefix else "")
