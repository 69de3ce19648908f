"""Two items with the same text: what a person gave the one that goes aside, the one that stays takes over."""

import datetime as dt

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from atlas.database.dialect import insert
from atlas.database.tables import highlights, item_tags, items
from atlas.items import note_sighting


def hand_over(conn: Connection, item_id: int, original: int, *, now: dt.datetime) -> None:
    """Let `original` have tags, star, note and highlights of a duplicate, and learn where that came from.

    What was a duplicate of it points at the original, too.
    """
    conn.execute(items.update().where(items.c.duplicate_of == item_id).values(duplicate_of=original))
    carried = sa.select(sa.literal(original), item_tags.c.tag_id).where(item_tags.c.item_id == item_id)
    new = insert(conn, item_tags).from_select(["item_id", "tag_id"], carried)
    conn.execute(new.on_conflict_do_nothing())
    conn.execute(highlights.update().where(highlights.c.item_id == item_id).values(item_id=original))
    query = sa.select(
        items.c.starred_at, items.c.note, items.c.source, items.c.url, items.c.title, items.c.feed_id,
        items.c.import_id,
    )  # fmt: skip
    mine = conn.execute(query.where(items.c.id == item_id)).one()
    note_sighting(conn, original, dict(mine._mapping), now=now)
    its = items.update().where(items.c.id == original)
    if mine.starred_at is not None:
        conn.execute(its.where(items.c.starred_at.is_(None)).values(starred_at=mine.starred_at))
    if mine.note:
        before = sa.func.coalesce(items.c.note, "")
        both = sa.case((before == "", mine.note), else_=before + "\n\n" + mine.note)
        conn.execute(its.values(note=both))
