"""Searching with SQLite's FTS5."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from atlas.search.query import Term

_COUNT = sa.text("SELECT count(*) FROM contents_fts WHERE contents_fts MATCH :query")
_NEWEST = sa.text("""
    SELECT rowid FROM contents_fts WHERE contents_fts MATCH :query AND rowid < :below
    ORDER BY rowid DESC LIMIT :limit
""")
# The weights are those of title and text.
_BEST = sa.text("""
    SELECT id FROM (
        SELECT rowid AS id, bm25(contents_fts, 8.0, 1.0) AS badness FROM contents_fts
        WHERE contents_fts MATCH :query ORDER BY rowid DESC LIMIT :ranked
    ) ORDER BY badness, id DESC LIMIT :limit OFFSET :offset
""")


def best(
    conn: Connection, terms: Sequence[Term], *, ranked: int, limit: int, offset: int
) -> tuple[int, list[int]]:
    """Return how many items match, and the ids from `offset` of the newest `ranked` in order of relevance."""
    query = _query(terms)
    total: int = conn.execute(_COUNT, {"query": query}).scalar_one()
    if total == 0:
        return 0, []
    values = {"query": query, "ranked": ranked, "limit": limit, "offset": offset}
    return total, list(conn.execute(_BEST, values).scalars())


def newest(conn: Connection, terms: Sequence[Term], *, below: int, limit: int) -> list[int]:
    """Return the ids of the newest matches less than `below`, newest first."""
    return list(conn.execute(_NEWEST, {"query": _query(terms), "below": below, "limit": limit}).scalars())


def rebuild(conn: Connection) -> None:
    """Index everything anew."""
    conn.exec_driver_sql("INSERT INTO contents_fts (contents_fts) VALUES ('rebuild')")


def _query(terms: Sequence[Term]) -> str:
    """Write the query for MATCH. Words hold letters, digits and marks only: none of them can be syntax."""
    wanted = " AND ".join(_phrase(term) for term in terms if not term.negative)
    return f"({wanted})" + "".join(f" NOT {_phrase(term)}" for term in terms if term.negative)


def _phrase(term: Term) -> str:
    return f'"{" ".join(term.words)}"' + ("*" if term.prefix else "")
