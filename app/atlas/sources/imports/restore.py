"""What our own export carries beyond a record, put back: the article as it was read, its transcript.

An export may have been tampered with: what would stand in our pages is made harmless again.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from atlas import items
from atlas.database.dialect import insert
from atlas.database.tables import feeds, sightings, transcripts
from atlas.sources.imports.record import Record, moment
from atlas.stages.page import PageError
from atlas.stages.table import DONE


def item(conn: Connection, item_id: int, record: Record, *, now: dt.datetime, correlation_id: str) -> None:
    """Make a new item what it was when it was exported."""
    kept: Mapping[str, Any] = record.kept or {}
    content = _content(kept, record.url)
    fields = dict(kept.get("fields") or {})
    if feed := kept.get("feed"):
        fields["feed_id"] = conn.execute(sa.select(feeds.c.id).where(feeds.c.url == feed)).scalar()
    items.restore(
        conn,
        item_id,
        fields=fields,
        content=content,
        now=now,
        correlation_id=correlation_id,
    )
    if transcript := kept.get("transcript"):
        new = insert(conn, transcripts).values(item_id=item_id, **transcript)
        conn.execute(new.on_conflict_do_nothing(index_elements=["item_id"]))
    if seen := kept.get("sightings"):
        rows = [{**one, "item_id": item_id} for one in seen]
        conn.execute(insert(conn, sightings).on_conflict_do_nothing(), rows)


def _content(kept: Mapping[str, Any], url: str) -> dict[str, str] | None:
    """Return what is read and searched, sanitised anew; None when it had not been read."""
    from atlas.stages.sanitise import sanitise  # noqa: PLC0415 - parsers are loaded when they are needed

    content = kept.get("content")
    if kept.get("stage") not in DONE or not isinstance(content, Mapping):
        return None
    title, text, markup = (content.get(name) for name in ("title", "text", "html"))
    try:
        html = sanitise(markup, url) if isinstance(markup, str) else ""
    except PageError:
        return None  # it is read again, from the original or from its address
    return {
        "title": title if isinstance(title, str) else "",
        "text": text if isinstance(text, str) else "",
        "html": html,
    }


def sighting(one: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a sighting as a row; None when it is none."""
    source, url, at = one.get("source"), one.get("url"), moment(one.get("at"))
    if not isinstance(source, str) or not isinstance(url, str) or at is None:
        return None
    title = one.get("title")
    key = one.get("key")
    return {
        "key": key if isinstance(key, str) else f"{source} {url}",
        "at": at,
        "source": source[:20],
        "url": url[:2048],
        "title": title if isinstance(title, str) else None,
    }
