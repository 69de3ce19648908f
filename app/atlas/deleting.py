"""Taking items out of the library for good. Their originals stay until `atlas clean` finds them orphaned."""

import datetime as dt
from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from atlas.database.dialect import MAX_ID
from atlas.database.tables import contents, items, relations, terms
from atlas.items import Step, note_steps
from atlas.stages.table import DONE, Stage

_PIECE = 500  # ids in one statement


def remove(conn: Connection, item_id: int) -> bool:
    """Remove an item with all that belongs to it; return False when there is none. See `remove_all`."""
    return remove_all(conn, [item_id]) > 0


def remove_all(conn: Connection, item_ids: Collection[int]) -> int:
    """Remove items, and the duplicates that point at them; return how many rows that were.

    What a feed has shown stays noted, so it does not come back. A worker that holds one finds its lease lost.
    """
    wanted = {item_id for item_id in item_ids if 0 < item_id <= MAX_ID}
    for piece in _pieces(sorted(wanted)):  # nobody adds a duplicate of these until they are gone
        conn.execute(sa.select(items.c.id).where(items.c.id.in_(piece)).with_for_update()).all()
    pieces = _pieces(sorted(_with_duplicates(conn, wanted)))
    for piece in pieces:  # so that none stands in another's way
        own = items.update().where(items.c.id.in_(piece), items.c.duplicate_of.is_not(None))
        conn.execute(own.values(duplicate_of=items.c.id))
    return sum(conn.execute(items.delete().where(items.c.id.in_(piece))).rowcount for piece in pieces)


def make_duplicate(conn: Connection, item_id: int, original: int, *, now: dt.datetime) -> bool:
    """Let a readable item be a duplicate of another with the same text: what was read of it goes, it stays.

    Returns False when it is no readable item (any more).
    """
    mine = items.update().where(items.c.id == item_id, items.c.stage.in_(DONE), items.c.lease.is_(None))
    change = mine.values(stage=Stage.DUPLICATE, duplicate_of=original, due_at=None, updated_at=now)
    if conn.execute(change).rowcount == 0:
        return False
    conn.execute(items.update().where(items.c.duplicate_of == item_id).values(duplicate_of=original))
    for table in (contents, terms):
        conn.execute(table.delete().where(table.c.item_id == item_id))
    conn.execute(
        relations.delete().where(sa.or_(relations.c.item_id == item_id, relations.c.other_id == item_id))
    )
    step = Step(Stage.DUPLICATE, f"The same text as item {original}")
    note_steps(conn, item_id, [step], correlation_id="clean", now=now)
    return True


def _with_duplicates(conn: Connection, ids: set[int]) -> set[int]:
    """Return ids with those of all duplicates, and of duplicates of those."""
    found, fresh = set(ids), set(ids)
    while fresh:
        fresh = {
            one
            for piece in _pieces(sorted(fresh))
            for one in conn.execute(sa.select(items.c.id).where(items.c.duplicate_of.in_(piece))).scalars()
        } - found
        found |= fresh
    return found


def _pieces(ids: list[int]) -> list[list[int]]:
    return [ids[start : start + _PIECE] for start in range(0, len(ids), _PIECE)]
