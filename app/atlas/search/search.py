"""Searching on either engine.

Both rank by how often and where the words stand (a title counts more), among the newest RANKED matches only: a very
common word has matches by the ten thousand, and reading them all to order them would take seconds.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from atlas.database.dialect import UtcDateTime, is_sqlite
from atlas.search.query import Term, parse
from atlas.search.snippet import snippet

#: How many matches are ordered by relevance; among more, the newest.
RANKED = 1000

#: How much of a text is looked through for a snippet, in characters.
SNIPPET_SOURCE = 50_000


@dataclass(frozen=True, slots=True)
class Hit:
    """An item found. `snippet_html` is safe HTML, the searched words in <mark>."""

    id: int
    title: str
    url: str
    site: str | None
    snippet_html: str
    added_at: dt.datetime


_SQLITE_COUNT = "SELECT count(*) FROM contents_fts WHERE contents_fts MATCH :query"
_SQLITE_RANK = """
    SELECT id FROM (
        SELECT rowid AS id, bm25(contents_fts, 8.0, 1.0) AS badness FROM contents_fts
        WHERE contents_fts MATCH :query ORDER BY rowid DESC LIMIT :ranked
    ) ORDER BY badness, id DESC LIMIT :limit OFFSET :offset
"""
_POSTGRESQL_COUNT = "SELECT count(*) FROM search_index WHERE words @@ to_tsquery('atlas', :query)"
_POSTGRESQL_RANK = """
    WITH newest AS MATERIALIZED (
        SELECT item_id, words FROM search_index WHERE words @@ to_tsquery('atlas', :query)
        ORDER BY item_id DESC LIMIT :ranked
    )
    SELECT item_id FROM newest
    ORDER BY ts_rank('{0.1, 0.1, 0.1, 1.0}', words, to_tsquery('atlas', :query), 1) DESC, item_id DESC
    LIMIT :limit OFFSET :offset
"""
_SHOWN = sa.text("""
    SELECT id, coalesce(contents.title, '') AS title, url, site, added_at, substr(text, 1, :source) AS text
    FROM items JOIN contents ON item_id = id WHERE id IN :ids
""").bindparams(sa.bindparam("ids", expanding=True), source=SNIPPET_SOURCE)


def search(conn: Connection, q: str, *, limit: int = 20, offset: int = 0) -> tuple[int, list[Hit]]:
    """Return how many items match, and those from `offset` in order of relevance. No `q` raises; see `query.parse`.

    Only the newest RANKED matches can be paged through.
    """
    terms = parse(q)
    if not terms:
        return 0, []
    count, rank, query = _statements(conn, terms)
    total: int = conn.execute(count, {"query": query}).scalar_one()
    if total == 0:
        return 0, []
    window = {"query": query, "ranked": RANKED, "limit": limit, "offset": offset}
    ids: list[int] = list(conn.execute(rank, window).scalars())
    return total, _hits(conn, ids, terms)


def matching_ids(conn: Connection, q: str) -> sa.Select[Any]:
    """Return a query for the ids of all items `q` finds, for use in `IN`."""
    terms = parse(q)
    if not terms:
        return sa.select(sa.literal(0)).where(sa.false())
    if is_sqlite(conn):
        table = sa.table("contents_fts", sa.column("rowid"), sa.column("contents_fts"))
        return sa.select(table.c.rowid).where(table.c.contents_fts.match(_fts5(terms)))
    index = sa.table("search_index", sa.column("item_id"), sa.column("words"))
    query = sa.func.to_tsquery(sa.literal_column("'atlas'"), _tsquery(terms))
    return sa.select(index.c.item_id).where(index.c.words.bool_op("@@")(query))


def rebuild(conn: Connection) -> None:
    """Index everything anew, should the index ever be doubted. Takes minutes for a large library."""
    if is_sqlite(conn):
        conn.exec_driver_sql("INSERT INTO contents_fts (contents_fts) VALUES ('rebuild')")
        return
    conn.exec_driver_sql("SET LOCAL statement_timeout = 0")
    conn.exec_driver_sql("DELETE FROM search_index")
    conn.exec_driver_sql("UPDATE contents SET title = title")


def _statements(conn: Connection, terms: tuple[Term, ...]) -> tuple[sa.TextClause, sa.TextClause, str]:
    if is_sqlite(conn):
        return sa.text(_SQLITE_COUNT), sa.text(_SQLITE_RANK), _fts5(terms)
    return sa.text(_POSTGRESQL_COUNT), sa.text(_POSTGRESQL_RANK), _tsquery(terms)


def _fts5(terms: tuple[Term, ...]) -> str:
    """Write the query for FTS5. Words hold letters, digits and marks only, so nothing in them can be syntax."""

    def phrase(term: Term) -> str:
        return f'"{" ".join(term.words)}"' + ("*" if term.prefix else "")

    wanted = " AND ".join(phrase(term) for term in terms if not term.negative)
    return f"({wanted})" + "".join(f" NOT {phrase(term)}" for term in terms if term.negative)


def _tsquery(terms: tuple[Term, ...]) -> str:
    """Write the query for to_tsquery; the same holds for its words."""

    def phrase(term: Term) -> str:
        words = " <-> ".join(f"'{word}'" + (":*" if term.prefix else "") for word in term.words)
        return f"{'!' if term.negative else ''}({words})"

    return " & ".join(phrase(term) for term in terms)


def _hits(conn: Connection, ids: list[int], terms: tuple[Term, ...]) -> list[Hit]:
    shown = _SHOWN.columns(added_at=UtcDateTime)
    rows = {row.id: row for row in conn.execute(shown, {"ids": ids})}
    return [
        Hit(row.id, row.title, row.url, row.site, snippet(row.text, terms), row.added_at)
        for row in (rows[item_id] for item_id in ids if item_id in rows)
    ]
