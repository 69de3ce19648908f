"""The one function for searching, whatever the engine.

Both rank by how often and where the words stand (a title counts more), among the newest RANKED matches only:
a very common word has matches by the ten thousand, and reading them all to put them in order would take
seconds.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from atlas.database.dialect import is_sqlite
from atlas.database.tables import contents, items
from atlas.search import fts5, tsvector
from atlas.search.query import Term, parse
from atlas.search.snippet import snippet

#: How many matches are put in order of relevance; among more, the newest.
RANKED = 1000

#: How much of a text is looked through for a snippet, in characters.
SNIPPET_SOURCE = 30_000


@dataclass(frozen=True, slots=True)
class Hit:
    """An item found. `snippet_html` is safe HTML, the searched words in <mark>."""

    id: int
    title: str
    url: str
    site: str | None
    snippet_html: str
    added_at: dt.datetime


def search(conn: Connection, q: str, *, limit: int = 20, offset: int = 0) -> tuple[int, list[Hit]]:
    """Return how many items match, and `limit` of them from `offset`, best first.

    What `q` may hold says `query.parse`; nothing in it raises. Only the newest RANKED matches can be paged
    through.
    """
    terms = parse(q)
    if not terms:
        return 0, []
    engine = fts5 if is_sqlite(conn) else tsvector
    total, ids = engine.best(conn, terms, ranked=RANKED, limit=limit, offset=offset)
    return total, _hits(conn, ids, terms) if ids else []


def newest(conn: Connection, q: str, *, below: int, limit: int) -> list[int]:
    """Return the ids of the newest items `q` finds, newest first: at most `limit`, all less than `below`."""
    terms = parse(q)
    engine = fts5 if is_sqlite(conn) else tsvector
    return engine.newest(conn, terms, below=below, limit=limit) if terms else []


def rebuild(conn: Connection) -> None:
    """Index everything anew, should the index ever be doubted. Takes minutes for a large library."""
    (fts5 if is_sqlite(conn) else tsvector).rebuild(conn)


def _hits(conn: Connection, ids: Sequence[int], terms: tuple[Term, ...]) -> list[Hit]:
    text = sa.func.substr(contents.c.text, 1, SNIPPET_SOURCE).label("text")
    query = sa.select(items.c.id, contents.c.title, items.c.url, items.c.site, items.c.added_at, text)
    query = query.select_from(items.join(contents)).where(items.c.id.in_(ids))
    rows = {row.id: row for row in conn.execute(query)}
    return [
        Hit(row.id, row.title, row.url, row.site, snippet(row.text, terms), row.added_at)
        for row in (rows[item_id] for item_id in ids if item_id in rows)
    ]
