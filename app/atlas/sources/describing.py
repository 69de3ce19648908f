"""Saying of entries that came whole with a feed what pages are told while they are read: language, keywords.

Apart from the poll, which must be quick: see `atlas.chores`. How far this has come stands in `marks`.
"""

import datetime as dt
import time
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection

from atlas import items, related
from atlas.database.dialect import insert
from atlas.database.engine import read
from atlas.database.tables import contents, marks
from atlas.database.tables import items as items_table
from atlas.stages.context import Context
from atlas.stages.pool import TooComplexError
from atlas.stages.table import DONE

#: How long one round may take, in seconds, and how many items are read together.
ROUND_SECONDS = 10.0
BATCH = 20
_MARK = "feeds: described up to"
#: Characters that tell what a text is about.
_SAMPLE = 24_000

log = structlog.stdlib.get_logger(__name__)


def is_any_left(conn: Connection, _now: dt.datetime) -> bool:
    """Tell whether a feed brought something that nothing was said of yet."""
    return bool(_next(conn, limit=1))


def describe_some(ctx: Context) -> None:
    """Describe what feeds brought, in the order in which it came, for a little while."""
    ends = time.monotonic() + ROUND_SECONDS
    while time.monotonic() < ends:
        with read(ctx.engine) as conn:
            rows = _next(conn, limit=BATCH)
        for row in rows:
            _describe(ctx, row)
        if len(rows) < BATCH:
            break


def _next(conn: Connection, *, limit: int) -> list[sa.Row[Any]]:
    done = sa.select(marks.c.value["id"].as_integer()).where(marks.c.name == _MARK)
    columns: tuple[sa.Column[Any], ...] = (items_table.c.id, contents.c.title, contents.c.text)
    query = (
        sa.select(*columns, items_table.c.language)
        .join_from(items_table, contents)
        .where(
            items_table.c.id > sa.func.coalesce(done.scalar_subquery(), 0),
            items_table.c.source == "feed",
            items_table.c.stage.in_(DONE),
            items_table.c.keywords.is_(None),
        )
    )
    return list(conn.execute(query.order_by(items_table.c.id).limit(limit)))


def _describe(ctx: Context, row: sa.Row[Any]) -> None:
    item_id, language = row.id, row.language
    try:
        found = ctx.reader.ask("describe", row.text[:_SAMPLE].encode(), title=row.title, language=language)
    except TooComplexError:
        found = {}

    def write(conn: Connection) -> None:
        now = ctx.clock()
        keywords = related.describe(conn, item_id, found.get("terms") or [])
        items.set_described(conn, item_id, language=found.get("language") or language, keywords=keywords)
        new = {"value": {"id": item_id}, "updated_at": now}
        mark = insert(conn, marks).values(name=_MARK, **new)
        conn.execute(mark.on_conflict_do_update(index_elements=["name"], set_=new))

    ctx.write(write)
