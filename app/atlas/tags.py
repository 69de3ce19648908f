"""Tags: words an item is filed under. Case and spacing make no difference; the first spelling shows."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from atlas.database.dialect import MAX_ID, insert, write_rows
from atlas.database.tables import item_tags, tags

#: Longest name of a tag, in characters; what is longer is cut.
MAX_LENGTH = 60
#: Most tags of an item; what comes beyond is left out.
MAX_TAGS = 50


def clean(names: Iterable[str]) -> dict[str, str]:
    """Return names as they show by their keys: what all spellings share. What is no name is left out."""
    found: dict[str, str] = {}
    for name in names:
        shown = " ".join(unicodedata.normalize("NFC", name).replace(",", " ").split()).lstrip("#")[
            :MAX_LENGTH
        ]
        key = shown.casefold().strip()
        if key and len(found) < MAX_TAGS:
            found.setdefault(key, shown.strip())
    return found


def attach(conn: Connection, names: Mapping[int, Sequence[str]]) -> None:
    """Give items (by id) further tags; those they have already stay."""
    wanted = {item_id: clean(given) for item_id, given in names.items()}
    ids = _ids(conn, {key: name for found in wanted.values() for key, name in found.items()})
    rows = [{"item_id": item_id, "tag_id": ids[key]} for item_id, found in wanted.items() for key in found]
    write_rows(conn, insert(conn, item_tags).on_conflict_do_nothing(), rows)


def replace(conn: Connection, item_id: int, names: Sequence[str]) -> list[str]:
    """Give an item these tags and no others; return them as they show."""
    ids = _ids(conn, clean(names))
    gone = item_tags.delete().where(item_tags.c.item_id == item_id)
    conn.execute(gone.where(item_tags.c.tag_id.not_in(ids.values())) if ids else gone)
    attach(conn, {item_id: names})
    return of(conn, [item_id]).get(item_id, [])


def detach(conn: Connection, item_id: int, names: Sequence[str]) -> None:
    """Take tags from an item; those it does not have do not matter."""
    mine = sa.select(tags.c.id).where(tags.c.key.in_(clean(names)))
    conn.execute(item_tags.delete().where(item_tags.c.item_id == item_id, item_tags.c.tag_id.in_(mine)))


def detach_many(conn: Connection, item_ids: Sequence[int], names: Sequence[str]) -> None:
    """Take tags from several items."""
    mine = sa.select(tags.c.id).where(tags.c.key.in_(clean(names)))
    conn.execute(item_tags.delete().where(item_tags.c.item_id.in_(item_ids), item_tags.c.tag_id.in_(mine)))


def rename(conn: Connection, tag_id: int, name: str) -> int | None:
    """Give a tag another name; return its id, None when there is no such tag, or `name` is no name.

    If another tag has that name already, the two become one: that one.
    """
    found = clean([name])
    if not found or not 0 < tag_id <= MAX_ID:
        return None
    ((key, shown),) = found.items()
    if conn.execute(sa.select(tags.c.id).where(tags.c.id == tag_id)).first() is None:
        return None
    other: int | None = conn.execute(
        sa.select(tags.c.id).where(tags.c.key == key, tags.c.id != tag_id)
    ).scalar()
    if other is None:
        conn.execute(tags.update().where(tags.c.id == tag_id).values(name=shown, key=key))
        return tag_id
    carried = sa.select(item_tags.c.item_id, sa.literal(other)).where(item_tags.c.tag_id == tag_id)
    both = insert(conn, item_tags).from_select(["item_id", "tag_id"], carried)
    conn.execute(both.on_conflict_do_nothing())
    delete(conn, tag_id)
    return other


def delete(conn: Connection, tag_id: int) -> bool:
    """Take a tag from all items and forget it; return False when there is none."""
    if not 0 < tag_id <= MAX_ID:
        return False
    conn.execute(item_tags.delete().where(item_tags.c.tag_id == tag_id))
    return conn.execute(tags.delete().where(tags.c.id == tag_id)).rowcount > 0


def of(conn: Connection, item_ids: Sequence[int]) -> dict[int, list[str]]:
    """Return the tags of items as they show, in order; an item without any is not in it."""
    query = sa.select(item_tags.c.item_id, tags.c.name).join_from(item_tags, tags)
    query = query.where(item_tags.c.item_id.in_(item_ids)).order_by(tags.c.key)
    found: dict[int, list[str]] = {}
    for item_id, name in conn.execute(query):
        found.setdefault(item_id, []).append(name)
    return found


def counts(
    conn: Connection, *, begins: str = "", after: str = "", limit: int | None = None
) -> list[dict[str, Any]]:
    """Return the tags in use, in order: `id`, `name`, `key`, and how many `items` carry it.

    Those that begin with `begins`, whatever its case, and whose key comes after `after`; at most `limit`.
    """
    query = sa.select(tags.c.id, tags.c.name, tags.c.key, sa.func.count().label("items"))
    query = query.join_from(tags, item_tags).where(tags.c.key > after)
    if begins:
        query = query.where(tags.c.key.startswith(begins.casefold(), autoescape=True))
    query = query.group_by(tags.c.id, tags.c.name, tags.c.key).order_by(tags.c.key).limit(limit)
    return [dict(row._mapping) for row in conn.execute(query)]


def _ids(conn: Connection, names: Mapping[str, str]) -> dict[str, int]:
    """Return the ids of tags by key, making those that are new."""
    if not names:
        return {}
    known = sa.select(tags.c.key, tags.c.id).where(tags.c.key.in_(names))
    found = {row.key: row.id for row in conn.execute(known)}
    new = [{"key": key, "name": name} for key, name in sorted(names.items()) if key not in found]
    if new:
        conn.execute(insert(conn, tags).on_conflict_do_nothing(index_elements=["key"]), new)
        found = {row.key: row.id for row in conn.execute(known)}
    return found
