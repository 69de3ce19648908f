"""Removing what feeds brought long ago, was read, and that nobody marked: only where its owner asked for it.

What a feed has shown stays noted in `feed_entries`, so nothing that was removed comes back.
"""

import datetime as dt

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection

from atlas import deleting
from atlas.database.tables import feeds, highlights, item_tags, items, sightings, tags
from atlas.stages.context import Context
from atlas.stages.table import DONE

#: Items removed in one transaction.
BATCH = 200

log = structlog.stdlib.get_logger(__name__)


def remove_old(ctx: Context) -> None:
    """Remove what is older than its feed's owner wants it kept, in small transactions."""
    total = 0
    while True:
        removed = ctx.write(lambda conn: remove_some(conn, now=ctx.clock()))
        total += removed
        if not removed:
            break
    if total:
        log.info("old entries removed", items=total)


def remove_some(conn: Connection, *, now: dt.datetime, limit: int = BATCH) -> int:
    """Remove the first of what is too old; return how many rows that were."""
    for feed in conn.execute(sa.select(feeds.c.id, feeds.c.retention_days, feeds.c.rules).where(_LIMITED)):
        before = now - dt.timedelta(days=feed.retention_days)
        old = _old(feed.id, before, [rule["tag"] for rule in feed.rules or [] if "tag" in rule])
        ids: list[int] = [row.id for row in conn.execute(old.order_by(items.c.id).limit(limit))]
        if ids:
            return deleting.remove_all(conn, ids)
    return 0


_LIMITED = feeds.c.retention_days.is_not(None)


def _old(feed_id: int, before: dt.datetime, own_tags: list[str]) -> sa.Select[tuple[int]]:
    """Find what a feed brought and was read before a moment, and that nobody marked or saved besides.

    Tags that the feed's own rules give mark nothing.
    """
    by_hand = sa.select(item_tags.c.item_id).join(tags).where(item_tags.c.item_id == items.c.id)
    by_hand = by_hand.where(tags.c.key.not_in([tag.casefold() for tag in own_tags]))
    marked = sa.select(highlights.c.id).where(highlights.c.item_id == items.c.id)
    twin = items.alias()
    saved = sa.select(twin.c.id).where(twin.c.duplicate_of == items.c.id, twin.c.source != "feed")
    seen = sa.select(sightings.c.id).where(sightings.c.item_id == items.c.id, sightings.c.source != "feed")
    return sa.select(items.c.id).where(
        items.c.feed_id == feed_id,
        items.c.source == "feed",
        items.c.stage.in_(DONE),
        items.c.added_at < before,
        items.c.read_at < before,
        items.c.starred_at.is_(None),
        sa.func.coalesce(items.c.note, "") == "",
        ~by_hand.exists(),
        ~marked.exists(),
        ~saved.exists(),
        ~seen.exists(),
    )
