"""Searching with PostgreSQL's tsvector."""

from collections.abc import Callable, Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from atlas.database.dialect import BigId, planned
from atlas.database.tables import items
from atlas.search.conditions import Condition, Ids
from atlas.search.query import Query, Term

_TEXTS = sa.table("search_index", sa.column("item_id", BigId), sa.column("words"))
_CARDS = sa.table("cards", sa.column("item_id", BigId), sa.column("words"))
_TABLES = (_TEXTS, _CARDS)
# The weights are those of the labels D, C, B, A (A is the title); 1 divides by the logarithm of the length.
_ORDERED = sa.text("""
    SELECT ids.id FROM unnest(CAST(:ids AS bigint[])) AS ids (id)
    LEFT JOIN search_index ON search_index.item_id = ids.id
    LEFT JOIN cards ON cards.item_id = ids.id
    ORDER BY greatest(
        ts_rank('{0.1, 0.1, 0.1, 1.0}', search_index.words, to_tsquery('atlas', :query), 1),
        ts_rank('{0.1, 0.1, 0.1, 1.0}', cards.words, to_tsquery('atlas', :query), 1) / 4
    ) DESC, ids.id DESC
""")


def conditions(query: Query) -> list[Condition]:
    """Return what the words of a query ask of an item."""
    unwanted = " | ".join(map(_phrase, query.unwanted))
    if query.wanted:
        text = _wanted(query)
        clause = sa.and_(_have(text), ~_have(unwanted)) if unwanted else _have(text)
        by_index = not any(len(term.words) > 1 for term in (*query.terms, *query.unwanted))
        return [Condition(clause, _ids(text, unwanted), guess=_guess(text, unwanted), by_index=by_index)]
    return [Condition(~_have(unwanted))] if unwanted else []


def ranked(conn: Connection, query: Query, ids: Sequence[int]) -> list[int]:
    """Return `ids` in order of relevance, best first."""
    return list(conn.execute(_ORDERED, {"ids": list(ids), "query": _wanted(query)}).scalars().all())


def rebuild(conn: Connection) -> None:
    """Index everything anew."""
    conn.exec_driver_sql("SET LOCAL statement_timeout = 0")
    conn.exec_driver_sql("DELETE FROM search_index")
    conn.exec_driver_sql("UPDATE contents SET title = title")
    conn.exec_driver_sql("DELETE FROM cards")
    conn.exec_driver_sql("INSERT INTO cards (item_id, words) SELECT item_id, words FROM card_texts")


def check(conn: Connection) -> dict[str, int]:
    """Return what of the index does not fit its rows, by name: how many texts, how many cards."""
    conn.exec_driver_sql("SET LOCAL statement_timeout = 0")
    return {
        "texts": conn.exec_driver_sql(_TEXTS_OFF).scalar_one(),
        "cards": conn.exec_driver_sql(_CARDS_OFF).scalar_one(),
    }


# The words of a very long text are not compared: it may be indexed in part.
_TEXTS_OFF = """
    SELECT count(*) FROM contents c LEFT JOIN search_index s ON s.item_id = c.item_id
    WHERE s.item_id IS NULL
        OR length(c.text) < 150000 AND s.words IS DISTINCT FROM atlas_words(c.title, c.text)
"""
_CARDS_OFF = """
    SELECT count(*) FROM card_texts t LEFT JOIN cards c ON c.item_id = t.item_id
    WHERE c.words IS DISTINCT FROM t.words
"""


def _match(table: sa.TableClause, text: str) -> sa.ColumnElement[bool]:
    return table.c.words.op("@@", is_comparison=True, return_type=sa.Boolean())(_query(text))


def _query(text: str) -> sa.ColumnElement[object]:
    return sa.func.to_tsquery(sa.literal_column("'atlas'::regconfig"), text)


def _have(text: str) -> sa.ColumnElement[bool]:
    """Look at the words of one item: what is common is met soon, newest first.

    Not by EXISTS, for which PostgreSQL would find all items that have them first.
    """
    looks = [sa.select(_match(t, text)).where(t.c.item_id == items.c.id).scalar_subquery() for t in _TABLES]
    return sa.or_(*(sa.func.coalesce(look, sa.false()) for look in looks))


def _ids(text: str, unwanted: str) -> Ids:
    """Return the query for the ids whose text or card matches while neither has what is unwanted."""
    parts = []
    for table, other in (_TABLES, reversed(_TABLES)):
        part = sa.select(table.c.item_id.label("id")).where(_match(table, _without(text, unwanted)))
        if unwanted:  # of words that PostgreSQL takes for none, only what is unwanted would be left
            part = part.where(sa.func.numnode(_query(text)) > 0)
            part = part.where(~sa.exists().where(other.c.item_id == table.c.item_id, _match(other, unwanted)))
        parts.append(part)
    return sa.union(*parts)


def _guess(text: str, unwanted: str) -> Callable[[Connection], float]:
    """Ask the planner how many there may be: that takes no time, and counting common words does."""
    query = _without(text, unwanted)
    texts, cards = (sa.select(table.c.item_id).where(_match(table, query)) for table in _TABLES)
    other = sa.select(_TEXTS.c.item_id).where(_match(_TEXTS, unwanted))

    def guess(conn: Connection) -> float:
        has, has_card = planned(conn, texts), planned(conn, cards)
        if not unwanted:
            return has + has_card
        # Most cards belong to a text.
        everything = max(planned(conn, sa.select(_TEXTS.c.item_id)), 1.0)
        return has + has_card * max(0.0, 1 - planned(conn, other) / everything)

    return guess


def _wanted(query: Query) -> str:
    return " & ".join(f"({' | '.join(map(_phrase, group))})" for group in query.wanted)


def _without(text: str, unwanted: str) -> str:
    return f"({text}) & !({unwanted})" if unwanted else text


def _phrase(term: Term) -> str:
    """Write a phrase for to_tsquery. Words hold letters, digits and marks only: none can be syntax."""
    ending = ":*" if term.prefix else ""
    return "(" + " <-> ".join(f"'{word}'{ending}" for word in term.words) + ")"
