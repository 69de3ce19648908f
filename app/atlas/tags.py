"""Tags: words an item is filed under. Case and spacing make no difference; the first spelling shows."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from atlas.database.dialect import insert
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
    if rows:
        conn.execute(insert(conn, item_tags).on_conflict_do_nothing(), rows)


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


def of(conn: Connection, item_ids: Sequence[int]) -> dict[int, list[str]]:
    """Return the tags of items as they show, in order; an item without any is not in it."""
    query = sa.select(item_tags.c.item_id, tags.c.name).join_from(item_tags, tags)
    query = query.where(item_tags.c.item_id.in_(item_ids)).order_by(tags.c.key)
    found: dict[int, list[str]] = {}
    for item_id, name in conn.execute(query):
        found.setdefault(item_id, []).append(name)
    return found


def counts(conn: Connection) -> list[dict[str, Any]]:
    """Return all tags in use: `name`, and `items` that carry it, in order."""
    query = sa.select(tags.c.id, tags.c.name, sa.func.count().label("items")).join_from(tags, item_tags)
    query = query.group_by(tags.c.id, tags.c.name, tags.c.key).order_by(tags.c.key)
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
