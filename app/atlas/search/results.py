"""The one function for searching, whatever the engine.

Words rank by how often and where they stand (a title counts more), among the newest RANKED matches only: a
very common word has matches by the ten thousand, and reading them all to put them in order would take
seconds. Operators alone list what they find, newest first.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from atlas.database.dialect import is_sqlite
from atlas.database.tables import contents, items
from atlas.search import fts5, tsvector
from atlas.search.conditions import Condition, any_of, not_duplicate, operator
from atlas.search.pick import pick
from atlas.search.query import Query, Term, parse
from atlas.search.snippet import snippet

#: How many matches are counted, and put in order of relevance; among more, the newest.
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
    kind: str
    stage: int
    read_at: dt.datetime | None


def search(conn: Connection, q: str, *, limit: int = 20, offset: int = 0) -> tuple[int, list[Hit]]:
    """Return how many items match, and `limit` of them from `offset`, best first.

    What `q` may hold says `query`; nothing in it raises. Only the newest RANKED matches can be paged through,
    and RANKED + 1 stands for any larger number.
    """
    query = parse(q)
    if not query:
        return 0, []
    found = pick(conn, asked(conn, query), limit=RANKED + 1)
    ids = found[:RANKED]
    if query.wanted and ids:
        ids = (fts5 if is_sqlite(conn) else tsvector).ranked(conn, query, ids)
    return len(found), _hits(conn, ids[offset : offset + limit], query.terms)


def asked(conn: Connection, query: Query, *, duplicates: bool = False) -> list[Condition]:
    """Return what a query asks of an item; duplicates are left out unless it, or the caller, wants them."""
    found: list[Condition] = (fts5 if is_sqlite(conn) else tsvector).conditions(query)
    found += [any_of([operator(conn, one) for one in group]) for group in query.where]
    asked_for = any(one.value == "duplicate" and not one.negative for group in query.where for one in group)
    return found if duplicates or asked_for else [*found, not_duplicate()]


def rebuild(conn: Connection) -> None:
    """Index everything anew, should the index ever be doubted. Takes minutes for a large library."""
    (fts5 if is_sqlite(conn) else tsvector).rebuild(conn)


def check(conn: Connection) -> dict[str, int]:
    """Return how many `texts` and `cards` are not indexed as they are. Reads everything; takes minutes.

    On SQLite it needs a transaction that may write, and counts texts only as 0 or 1 for any number.
    """
    return fts5.check(conn) if is_sqlite(conn) else tsvector.check(conn)


def _hits(conn: Connection, ids: Sequence[int], terms: tuple[Term, ...]) -> list[Hit]:
    if not ids:
        return []
    text = sa.func.substr(contents.c.text, 1, SNIPPET_SOURCE).label("text")
    query = sa.select(
        items.c.id, sa.func.coalesce(contents.c.title, items.c.title, "").label("title"), items.c.url,
        items.c.site, items.c.added_at, items.c.kind, items.c.stage, items.c.read_at, items.c.note, text,
    )  # fmt: skip
    query = query.select_from(items.outerjoin(contents)).where(items.c.id.in_(ids))
    rows = {row.id: row for row in conn.execute(query)}
    return [
        Hit(
            row.id, row.title, row.url, row.site, snippet(row.text or row.note or "", terms), row.added_at,
            row.kind, row.stage, row.read_at,
        )
        for row in (rows[item_id] for item_id in ids if item_id in rows)
    ]  # fmt: skip
