"""What the wallabag API shows: what somebody saved or starred, not all that feeds bring."""

import datetime as dt
import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from atlas import tags
from atlas.clients.annotations import of_entries
from atlas.database.tables import contents, item_tags, items, sightings
from atlas.database.tables import tags as tags_table
from atlas.stages.table import Stage

Clause = sa.ColumnElement[bool]

_SAVED_TOO = sa.exists().where(
    sightings.c.item_id == items.c.id, sightings.c.feed_id.is_(None), sightings.c.source != "feed"
)
#: What came by a feed is kept once somebody saved it as well, or starred it.
KEPT: Clause = sa.and_(
    items.c.stage != Stage.DUPLICATE,
    sa.or_(items.c.source != "feed", items.c.starred_at.is_not(None), _SAVED_TOO),
)

_SORTS: dict[str, sa.ColumnElement[Any]] = {
    "created": items.c.id,
    "updated": items.c.updated_at,
    "archived": items.c.read_at,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which entries, and in which order."""

    archived: bool | None = None
    starred: bool | None = None
    #: Names of tags; an entry has them all.
    tags: Sequence[str] = ()
    since: dt.datetime | None = None
    host: str = ""
    sort: str = "created"
    order: Literal["asc", "desc"] = "desc"


def total(conn: Connection, wanted: Wanted) -> int:
    """Return how many entries there are."""
    return conn.execute(sa.select(sa.func.count()).select_from(items).where(*_clauses(wanted))).scalar_one()


def page(conn: Connection, wanted: Wanted, *, number: int, size: int, full: bool) -> list[dict[str, Any]]:
    """Return a page, the first being 1; without their content unless `full`."""
    column = _SORTS.get(wanted.sort, items.c.id)
    descending = wanted.order != "asc"
    query = _query(full=full).where(*_clauses(wanted))
    query = query.order_by(*((column.desc(), items.c.id.desc()) if descending else (column, items.c.id)))
    return _loaded(conn, query.offset((number - 1) * size).limit(size))


def get(conn: Connection, item_id: int) -> dict[str, Any] | None:
    """Return one entry, whoever saved it; None when there is none."""
    query = _query(full=True).where(items.c.id == item_id, items.c.stage != Stage.DUPLICATE)
    return next(iter(_loaded(conn, query)), None)


def by_key(conn: Connection, keys: Collection[str]) -> dict[str, int]:
    """Return the kept entries with these normalised addresses."""
    query = sa.select(items.c.url_key, items.c.id).where(items.c.url_key.in_(keys), KEPT)
    return {row.url_key: row.id for row in conn.execute(query)}


def by_hash(conn: Connection, hashes: Collection[str]) -> dict[str, int]:
    """Return the kept entries whose address has one of these SHA-1 sums: looks through all there are."""
    found: dict[str, int] = {}
    query = sa.select(items.c.id, items.c.url, items.c.final_url).where(KEPT).order_by(items.c.id.desc())
    for row in conn.execute(query):
        for url in filter(None, (row.url, row.final_url)):
            name = sha1(url)
            if name in hashes:
                found.setdefault(name, row.id)
    return found


def sha1(url: str) -> str:
    """Return what wallabag calls a hashed address."""
    return hashlib.sha1(url.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()


def _clauses(wanted: Wanted) -> list[Clause]:
    found = [KEPT]
    if wanted.archived is not None:
        found.append(items.c.read_at.is_not(None) if wanted.archived else items.c.read_at.is_(None))
    if wanted.starred is not None:
        found.append(items.c.starred_at.is_not(None) if wanted.starred else items.c.starred_at.is_(None))
    for key in tags.clean(wanted.tags):
        carried = sa.select(item_tags.c.item_id).join_from(item_tags, tags_table)
        found.append(items.c.id.in_(carried.where(tags_table.c.key == key)))
    if wanted.since is not None:
        marks = (items.c.updated_at, items.c.read_at, items.c.starred_at)
        found.append(sa.or_(*(column >= wanted.since for column in marks)))
    if wanted.host:
        found.append(items.c.host == wanted.host)
    return found


def _query(*, full: bool) -> sa.Select[Any]:
    columns: Iterable[sa.ColumnElement[Any]] = (
        items.c.id, items.c.url, items.c.final_url, items.c.host, items.c.title, items.c.byline,
        items.c.language, items.c.image, items.c.published_at, items.c.word_count, items.c.read_at,
        items.c.starred_at, items.c.added_at, items.c.updated_at, items.c.stage, items.c.error,
        items.c.excerpt, items.c.original_type,
    )  # fmt: skip
    if not full:
        return sa.select(*columns, sa.null().label("html"))
    joined = items.outerjoin(contents, contents.c.item_id == items.c.id)
    return sa.select(*columns, contents.c.html).select_from(joined)


def _loaded(conn: Connection, query: sa.Select[Any]) -> list[dict[str, Any]]:
    found = [dict(row._mapping) for row in conn.execute(query)]
    ids = [row["id"] for row in found]
    named: dict[int, list[tuple[int, str]]] = {}
    if ids:
        carried = sa.select(item_tags.c.item_id, tags_table.c.id, tags_table.c.name)
        carried = carried.join_from(item_tags, tags_table).where(item_tags.c.item_id.in_(ids))
        for item_id, tag_id, name in conn.execute(carried.order_by(tags_table.c.key)):
            named.setdefault(item_id, []).append((tag_id, name))
    marked: dict[int, list[dict[str, Any]]] = {}
    for one in of_entries(conn, ids):
        marked.setdefault(one["item_id"], []).append(one)
    for row in found:
        row["annotations"] = marked.get(row["id"], [])
        row["tags"] = named.get(row["id"], [])
        row["changed_at"] = max(
            moment for moment in (row["updated_at"], row["read_at"], row["starred_at"]) if moment
        )
    return found
