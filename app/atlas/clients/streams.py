"""What feed readers ask for: the readable items that feeds brought, by feed, folder, tag and state."""

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from atlas import tags
from atlas.database.tables import contents, feeds, item_tags, items
from atlas.database.tables import tags as tags_table

Clause = sa.ColumnElement[bool]

# The condition of ix_items_unread, literally: else neither engine recognises it.
_UNREAD = sa.text("items.read_at IS NULL AND items.stage IN (590, 595)")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries: those that meet all of `clauses`."""

    clauses: Sequence[Clause | sa.TextClause] = ()
    oldest_first: bool = False
    #: The last id seen; the page begins beyond it.
    beyond: int | None = None
    limit: int = 20


READABLE: Clause = items.c.stage.in_((590, 595))
FROM_FEED: Clause = items.c.feed_id.is_not(None)
UNREAD = _UNREAD
READ: Clause = items.c.read_at.is_not(None)
STARRED: Clause = items.c.starred_at.is_not(None)


def of_feed(feed_id: int) -> Clause:
    """Match the entries of a feed."""
    return items.c.feed_id == feed_id


def labelled(name: str) -> Clause:
    """Match the entries of a folder's feeds, and what carries a tag of that name: readers know one word."""
    in_folder = items.c.feed_id.in_(sa.select(feeds.c.id).where(feeds.c.folder == name))
    tagged = sa.select(item_tags.c.item_id).join_from(item_tags, tags_table)
    return sa.or_(in_folder, items.c.id.in_(tagged.where(tags_table.c.key.in_(tags.clean([name])))))


def since(moment: dt.datetime) -> Clause:
    """Match what became readable at `moment` or later, and what changed since: never less than asked for.

    An entry whose page took an hour to fetch came an hour after the feed showed it; by `added_at` alone a
    client that asks for news would never see it.
    """
    return items.c.updated_at >= moment


def until(moment: dt.datetime) -> Clause:
    """Match what came before or at `moment`."""
    return items.c.added_at <= moment


def ids(conn: Connection, wanted: Wanted) -> list[sa.Row[Any]]:
    """Return a page of entries as `id`, `feed_id` and `added_at`."""
    return list(conn.execute(_page(sa.select(items.c.id, items.c.feed_id, items.c.added_at), wanted)))


def count(conn: Connection, clauses: Iterable[Clause | sa.TextClause]) -> int:
    """Return how many entries there are."""
    query = sa.select(sa.func.count()).select_from(items).where(FROM_FEED, READABLE, *clauses)
    return conn.execute(query).scalar_one()


def newest(conn: Connection, feed_ids: Collection[int]) -> dict[int, dt.datetime]:
    """Return when the newest unread entry of each feed came."""
    query = sa.select(items.c.feed_id, sa.func.max(items.c.added_at)).where(_UNREAD)
    query = query.where(items.c.feed_id.in_(feed_ids)).group_by(items.c.feed_id)
    return {row[0]: row[1] for row in conn.execute(query)}


def mark_read(
    conn: Connection, clauses: Iterable[Clause | sa.TextClause], *, until: dt.datetime, now: dt.datetime
) -> None:
    """Mark entries as read that were here at `until`: what became readable since was not on the screen."""
    which = [FROM_FEED, UNREAD, items.c.updated_at <= until, *clauses]
    conn.execute(items.update().where(*which).values(read_at=now))


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry as readers show it."""

    id: int
    url: str
    title: str
    author: str
    html: str
    feed_id: int | None
    feed_title: str
    feed_site: str
    folder: str | None
    added_at: dt.datetime
    updated_at: dt.datetime
    published_at: dt.datetime | None
    is_read: bool
    is_starred: bool
    media: Any = None
    tags: list[str] = field(default_factory=list)


def entries(conn: Connection, wanted: Wanted) -> list[Entry]:
    """Return a page of entries with what is in them."""
    return _loaded(conn, _page(_FULL, wanted))


def entries_of(conn: Connection, item_ids: Sequence[int]) -> list[Entry]:
    """Return entries by id, newest first; what is not there, or not readable, is left out."""
    return _loaded(conn, _FULL.where(items.c.id.in_(item_ids), READABLE).order_by(items.c.id.desc()))


_FULL = sa.select(
    items.c.id, items.c.url, items.c.title, items.c.byline, items.c.feed_id, items.c.added_at,
    items.c.updated_at, items.c.published_at, items.c.read_at, items.c.starred_at, items.c.media,
    items.c.host, contents.c.html, feeds.c.title.label("feed_title"), feeds.c.url.label("feed_url"),
    feeds.c.site_url.label("feed_site"), feeds.c.folder,
).select_from(
    items.outerjoin(contents, contents.c.item_id == items.c.id).outerjoin(
        feeds, feeds.c.id == items.c.feed_id
    )
)  # fmt: skip


def _page(query: sa.Select[Any], wanted: Wanted) -> sa.Select[Any]:
    query = query.where(FROM_FEED, READABLE, *wanted.clauses).limit(wanted.limit)
    if wanted.oldest_first:
        query = query.order_by(items.c.id)
        return query if wanted.beyond is None else query.where(items.c.id > wanted.beyond)
    query = query.order_by(items.c.id.desc())
    return query if wanted.beyond is None else query.where(items.c.id < wanted.beyond)


def _loaded(conn: Connection, query: sa.Select[Any]) -> list[Entry]:
    rows = conn.execute(query).all()
    tagged = tags.of(conn, [row.id for row in rows]) if rows else {}
    return [
        Entry(
            id=row.id,
            url=row.url,
            title=row.title or row.url,
            author=row.byline or "",
            html=row.html or "",
            feed_id=row.feed_id,
            feed_title=row.feed_title or row.feed_url or row.host,
            feed_site=row.feed_site or row.feed_url or row.url,
            folder=row.folder,
            added_at=row.added_at,
            updated_at=row.updated_at,
            published_at=row.published_at,
            is_read=row.read_at is not None,
            is_starred=row.starred_at is not None,
            media=row.media,
            tags=tagged.get(row.id, []),
        )
        for row in rows
    ]
