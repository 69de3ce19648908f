"""Searching with PostgreSQL's tsvector."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from atlas.database.dialect import BigId
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
    found = []
    if query.wanted:
        text = " & ".join(f"({' | '.join(map(_phrase, group))})" for group in query.wanted)
        loose = text.replace("<->", "&")  # a phrase's words anywhere: the index alone knows
        found.append(Condition(_have(text), _ids(text), roughly=_ids(loose)))
    if query.unwanted:
        found.append(Condition(~_have(" | ".join(map(_phrase, query.unwanted)))))
    return found


def ranked(conn: Connection, query: Query, ids: Sequence[int]) -> list[int]:
    """Return `ids` in order of relevance, best first."""
    text = " & ".join(f"({' | '.join(map(_phrase, group))})" for group in query.wanted)
    return list(conn.execute(_ORDERED, {"ids": list(ids), "query": text}).scalars())


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
    query: sa.ColumnElement[object] = sa.func.to_tsquery(sa.literal_column("'atlas'::regconfig"), text)
    return table.c.words.op("@@", is_comparison=True, return_type=sa.Boolean())(query)


def _have(text: str) -> sa.ColumnElement[bool]:
    """Look at the words of one item: what is common is met soon, newest first.

    Not by EXISTS, for which PostgreSQL would find all items that have them first.
    """
    looks = [sa.select(_match(t, text)).where(t.c.item_id == items.c.id).scalar_subquery() for t in _TABLES]
    return sa.or_(*(sa.func.coalesce(look, sa.false()) for look in looks))


def _ids(text: str) -> Ids:
    return sa.union(*(sa.select(t.c.item_id.label("id")).where(_match(t, text)) for t in _TABLES))


def _phrase(term: Term) -> str:
    """Write a phrase for to_tsquery. Words hold letters, digits and marks only: none can be syntax."""
    ending = ":*" if term.prefix else ""
    return "(" + " <-> ".join(f"'{word}'{ending}" for word in term.words) + ")"
