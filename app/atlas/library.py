"""The library: one way to list items and one to change what their reader thinks of them, for everybody.

Listing: a `Filter` says which, the order is `newest` or `oldest` (as they came in) or `published`, and each
page ends in a cursor for the next one that new items do not disturb. Changing: read, starred, progress, note,
title and tags, of one item or of all that a filter finds.
"""

import datetime as dt
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from atlas import tags
from atlas.database.dialect import MAX_ID
from atlas.database.tables import contents, items, relations
from atlas.search import conditions as where
from atlas.search.conditions import Condition
from atlas.search.pick import Order, Place, bounded, chosen, pick
from atlas.search.query import parse
from atlas.search.results import asked
from atlas.stages.table import DONE

__all__ = ["Order"]

#: What an item shows in lists, with `tags` beside it.
SHOWN = (
    items.c.id, items.c.kind, items.c.url, items.c.host, items.c.stage, items.c.lane, items.c.due_at,
    items.c.attempts, items.c.error, items.c.duplicate_of, items.c.feed_id, items.c.title, items.c.byline,
    items.c.site, items.c.language, items.c.excerpt, items.c.image, items.c.published_at, items.c.word_count,
    items.c.read_at, items.c.added_at, items.c.updated_at, items.c.source, items.c.import_id,
    items.c.starred_at, items.c.progress, items.c.note, items.c.summary, items.c.keywords, items.c.media,
    items.c.ignored_at,
)  # fmt: skip

#: Counts beside filters go no further: "10,000 or more".
COUNTED = 10_000

#: Longest note, in characters.
MAX_NOTE = 20_000
#: Longest title, in characters.
MAX_TITLE = 500

_PIECE = 500  # items changed by one statement

#: States of an item in the library; each is also an `is:` of the search language.
STATES = ("ready", "waiting", "failed", "ignored", "duplicate")


class BadCursor(Exception):  # noqa: N818
    """A cursor that this order of the library never gave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which items: those that meet everything given here. Duplicates only by `state`, `stage` or `q`."""

    kind: str | None = None
    source: str | None = None
    #: Names of tags; an item has them all.
    tags: tuple[str, ...] = ()
    #: One of STATES.
    state: str | None = None
    stage: int | Collection[int] | None = None
    feed_id: int | None = None
    #: Items of the feeds in this folder.
    folder: str | None = None
    #: A host and all below it.
    site: str | None = None
    read: bool | None = None
    starred: bool | None = None
    highlighted: bool | None = None
    #: Added before, added then or later.
    before: dt.datetime | None = None
    after: dt.datetime | None = None
    import_id: int | None = None
    #: Anything the search language knows.
    q: str = ""


EVERYTHING = Filter()


@dataclass(frozen=True, slots=True)
class Page:
    """Some items, and the cursor of the next page (None: this is the last)."""

    rows: list[dict[str, Any]]
    next: str | None


def listing(
    conn: Connection,
    wanted: Filter = EVERYTHING,
    *,
    order: Order = "newest",
    limit: int = 50,
    cursor: str | None = None,
) -> Page:
    """Return a page of items as lists show them: SHOWN and `tags`. Raises BadCursor."""
    ids = pick(conn, _conditions(conn, wanted), order=order, beyond=_place(cursor, order), limit=limit + 1)
    found = rows(conn, ids[:limit])
    return Page(found, _cursor(found[-1], order) if len(ids) > limit and found else None)


def ids(
    conn: Connection,
    wanted: Filter = EVERYTHING,
    *,
    order: Order = "newest",
    limit: int = 10_000,
    cursor: str | None = None,
) -> tuple[list[int], str | None]:
    """Return the same page as ids alone, which may be long. Raises BadCursor."""
    found = pick(conn, _conditions(conn, wanted), order=order, beyond=_place(cursor, order), limit=limit + 1)
    if len(found) <= limit:
        return found, None
    query = sa.select(items.c.id, items.c.published_at).where(items.c.id == found[limit - 1])
    return found[:limit], _cursor(dict(conn.execute(query).one()._mapping), order)


def rows(conn: Connection, item_ids: Sequence[int]) -> list[dict[str, Any]]:
    """Return items as lists show them, in the order of `item_ids`; those that are gone are left out."""
    query = sa.select(*SHOWN).where(items.c.id.in_(item_ids))
    found = {row.id: dict(row._mapping) for row in conn.execute(query)} if item_ids else {}
    tagged = tags.of(conn, list(found)) if found else {}
    for item_id, row in found.items():
        row["tags"] = tagged.get(item_id, [])
    return [found[item_id] for item_id in item_ids if item_id in found]


def count(conn: Connection, wanted: Filter = EVERYTHING, *, most: int = COUNTED) -> int:
    """Return how many items there are, counted no further than `most`."""
    found: int = conn.execute(sa.select(bounded(chosen(conn, _conditions(conn, wanted)), most))).scalar_one()
    return found


def tally(conn: Connection) -> dict[str, int]:
    """Return the counts beside the library's filters, each counted no further than COUNTED.

    `waiting`, `failed`, `ignored`, `duplicate`, `unread`, `starred`, `highlighted`.
    """
    names = ("waiting", "failed", "ignored", "duplicate", "unread", "starred", "highlighted")
    columns = [bounded(where.state(name).ids, COUNTED).label(name) for name in names]
    return dict(conn.execute(sa.select(*columns)).one()._mapping)


def related(conn: Connection, item_id: int, *, limit: int = 10) -> list[dict[str, Any]]:
    """Return the items that have most in common with one, as lists show them, with `score` (0 to 1)."""
    if not 0 < item_id <= MAX_ID:
        return []
    pairs = sa.union_all(
        sa.select(relations.c.other_id.label("id"), relations.c.score).where(relations.c.item_id == item_id),
        sa.select(relations.c.item_id.label("id"), relations.c.score).where(relations.c.other_id == item_id),
    ).subquery()
    query = sa.select(pairs).join(items, items.c.id == pairs.c.id).where(items.c.stage.in_(DONE))
    query = query.order_by(pairs.c.score.desc(), pairs.c.id.desc()).limit(limit)
    scores = {row.id: row.score for row in conn.execute(query)}
    return [{**row, "score": scores[row["id"]]} for row in rows(conn, list(scores))]


# Changes


def set_read(conn: Connection, item_ids: Collection[int], *, now: dt.datetime, read: bool = True) -> int:
    """Note that items were read, or were not; return how many were changed. When one was read first stays."""
    return _mark(conn, item_ids, items.c.read_at, now if read else None)


def set_starred(
    conn: Connection, item_ids: Collection[int], *, now: dt.datetime, starred: bool = True
) -> int:
    """Star items, or take their stars; return how many were changed."""
    return _mark(conn, item_ids, items.c.starred_at, now if starred else None)


def mark_all_read(conn: Connection, wanted: Filter, *, now: dt.datetime, until: dt.datetime) -> int:
    """Mark as read all unread items of a filter that were added up to `until`; return how many."""
    earlier = Condition(items.c.added_at <= until)
    unread = chosen(conn, [*_conditions(conn, replace(wanted, read=False)), earlier])
    return set_read(conn, list(conn.execute(unread).scalars()), now=now)


def change(conn: Connection, item_ids: Sequence[int], values: Mapping[str, Any], *, now: dt.datetime) -> int:
    """Change items; return how many of them there are.

    `values` may have `read` and `starred` (bool), `progress` (0 to 1), `note` and `title` (None or empty:
    none), `tags` (these and no others), `add_tags` and `remove_tags`. A title given here is kept when the
    item is read anew; without it the item's own title comes back then.
    """
    known = _existing(conn, item_ids)
    if not known:
        return 0
    if "read" in values:
        set_read(conn, known, now=now, read=values["read"])
    if "starred" in values:
        set_starred(conn, known, now=now, starred=values["starred"])
    columns: dict[str, Any] = {}
    if "progress" in values:
        columns["progress"] = min(1.0, max(0.0, values["progress"]))
    if "note" in values:
        columns["note"] = (values["note"] or "").strip()[:MAX_NOTE] or None
    if "title" in values:
        columns |= _retitle(conn, known, values["title"], now)
    if columns:
        for piece in _pieces(known):
            conn.execute(items.update().where(items.c.id.in_(piece)).values(**columns))
    _retag(conn, known, values)
    return len(known)


def matching(conn: Connection, wanted: Filter) -> list[int]:
    """Return the ids of all items of a filter, in no order, to be changed piece by piece."""
    return list(conn.execute(chosen(conn, _conditions(conn, wanted))).scalars())


def _mark(
    conn: Connection, item_ids: Collection[int], column: sa.Column[Any], value: dt.datetime | None
) -> int:
    changes = column.is_(None) if value is not None else column.is_not(None)
    return sum(
        conn.execute(
            items.update().where(items.c.id.in_(piece), changes).values({column.name: value})
        ).rowcount
        for piece in _pieces(item_ids)
    )


def _retitle(conn: Connection, known: Sequence[int], title: str | None, now: dt.datetime) -> dict[str, Any]:
    clean = " ".join((title or "").split())[:MAX_TITLE]
    if not clean:
        return {"titled_at": None}
    for piece in _pieces(known):
        conn.execute(contents.update().where(contents.c.item_id.in_(piece)).values(title=clean))
    return {"title": clean, "titled_at": now}


def _retag(conn: Connection, known: Sequence[int], values: Mapping[str, Any]) -> None:
    if "tags" in values:
        for item_id in known:
            tags.replace(conn, item_id, values["tags"])
    if values.get("add_tags"):
        for piece in _pieces(known):
            tags.attach(conn, dict.fromkeys(piece, values["add_tags"]))
    if values.get("remove_tags"):
        for piece in _pieces(known):
            tags.detach_many(conn, piece, values["remove_tags"])


def _existing(conn: Connection, item_ids: Sequence[int]) -> list[int]:
    return [
        item_id
        for piece in _pieces(item_ids)
        for item_id in conn.execute(sa.select(items.c.id).where(items.c.id.in_(piece))).scalars()
    ]


def _pieces(item_ids: Collection[int]) -> Iterator[list[int]]:
    possible = [item_id for item_id in dict.fromkeys(item_ids) if 0 < item_id <= MAX_ID]
    for start in range(0, len(possible), _PIECE):
        yield possible[start : start + _PIECE]


# What a filter and a cursor mean


def _conditions(conn: Connection, wanted: Filter) -> list[Condition]:
    by_stage = wanted.state is not None or wanted.stage is not None
    query = parse(wanted.q)
    found = asked(conn, query, duplicates=by_stage)
    if wanted.q.strip() and not query:  # what asks for nothing finds nothing, never everything
        found.append(Condition(sa.false()))
    chosen_stages = {wanted.stage} if isinstance(wanted.stage, int) else wanted.stage
    found += [] if wanted.state is None else [where.state(wanted.state)]
    found += [] if chosen_stages is None else [where.stages(chosen_stages)]
    found += [] if wanted.kind is None else [where.kind(wanted.kind)]
    found += [] if wanted.source is None else [where.source(wanted.source)]
    found += [where.tag(conn, name) for name in wanted.tags]
    found += [] if wanted.feed_id is None else [where.feed([wanted.feed_id])]
    found += [] if wanted.folder is None else [where.feed(where.feeds_in(conn, wanted.folder))]
    found += [] if wanted.site is None else [where.hosts(where.hosts_of(conn, wanted.site))]
    found += [] if wanted.read is None else [where.state("read" if wanted.read else "unread")]
    found += _yes_or_no("starred", wanted.starred) + _yes_or_no("highlighted", wanted.highlighted)
    found += _added(conn, wanted.after, wanted.before)
    found += [] if wanted.import_id is None else [where.batch(wanted.import_id)]
    return found


def _added(conn: Connection, first: dt.datetime | None, end: dt.datetime | None) -> list[Condition]:
    if first is not None and end is not None:
        return [where.between(conn, first, end)]
    found = [] if end is None else [where.before(conn, end)]
    return found if first is None else [where.after(conn, first)]


def _yes_or_no(state: str, wanted: bool | None) -> list[Condition]:  # noqa: FBT001
    if wanted is None:
        return []
    return [where.state(state) if wanted else where.negation(where.state(state))]


def _place(cursor: str | None, order: Order) -> Place | None:
    if cursor is None:
        return None
    date, dated, number = cursor.rpartition("~")
    if not (number.isascii() and number.isdigit() and len(number) < 40) or (dated and order != "published"):
        raise BadCursor
    place = Place(min(int(number), MAX_ID))
    if not dated:
        return place
    try:
        return replace(place, published_at=dt.datetime.fromisoformat(date))
    except ValueError:
        raise BadCursor from None


def _cursor(row: Mapping[str, Any], order: Order) -> str:
    if order != "published" or row["published_at"] is None:
        return str(row["id"])
    return f"{row['published_at'].isoformat()}~{row['id']}"
