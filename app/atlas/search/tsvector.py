"""Searching with PostgreSQL's tsvector."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from atlas.database.dialect import MAX_ID
from atlas.search.query import Term

# One pass for number and newest: phrases are checked in the words themselves, and that is what takes time.
# The sum keeps PostgreSQL from looking at all ids first.
_FOUND = sa.text("""
    SELECT count(*) AS total, (array_agg(item_id ORDER BY item_id DESC))[1 : :most] AS newest
    FROM search_index WHERE words @@ to_tsquery('atlas', :query) AND item_id + 0 < :below
""")
# The weights are those of the labels D, C, B, A (A is the title); 1 divides by the logarithm of the length.
_BEST = sa.text("""
    SELECT item_id FROM search_index WHERE item_id = ANY(:ids)
    ORDER BY ts_rank('{0.1, 0.1, 0.1, 1.0}', words, to_tsquery('atlas', :query), 1) DESC, item_id DESC
    LIMIT :limit OFFSET :offset
""")
_SCANS = sa.text("SELECT set_config('enable_seqscan', :to, true), set_config('enable_indexscan', :to, true)")


def best(
    conn: Connection, terms: Sequence[Term], *, ranked: int, limit: int, offset: int
) -> tuple[int, list[int]]:
    """Return how many items match, and the ids from `offset` of the newest `ranked` in order of relevance."""
    query = _query(terms)
    total, ids = _found(conn, query, below=MAX_ID, most=ranked)
    values = {"ids": ids, "query": query, "limit": limit, "offset": offset}
    return total, list(conn.execute(_BEST, values).scalars()) if ids else []


def newest(conn: Connection, terms: Sequence[Term], *, below: int, limit: int) -> list[int]:
    """Return the ids of the newest matches less than `below`, newest first."""
    return _found(conn, _query(terms), below=below, most=limit)[1]


def rebuild(conn: Connection) -> None:
    """Index everything anew."""
    conn.exec_driver_sql("SET LOCAL statement_timeout = 0")
    conn.exec_driver_sql("DELETE FROM search_index")
    conn.exec_driver_sql("UPDATE contents SET title = title")


def _found(conn: Connection, query: str, *, below: int, most: int) -> tuple[int, list[int]]:
    # Left alone, PostgreSQL reads the words of every row when it expects many matches: it does not count that
    # they are stored apart from the row. The index alone is ten times quicker.
    conn.execute(_SCANS, {"to": "off"})
    found = conn.execute(_FOUND, {"query": query, "below": below, "most": most}).one()
    conn.execute(_SCANS, {"to": "on"})
    return found.total, found.newest or []


def _query(terms: Sequence[Term]) -> str:
    """Write the query for to_tsquery. Words hold letters, digits and marks only: none can be syntax."""
    return " & ".join(("!" if term.negative else "") + _phrase(term) for term in terms)


def _phrase(term: Term) -> str:
    ending = ":*" if term.prefix else ""
    return "(" + " <-> ".join(f"'{word}'{ending}" for word in term.words) + ")"
