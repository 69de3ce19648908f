"""Which feeds are followed. Apart from `feeds`, which asks them: the API carries no parser of feeds."""

import datetime as dt
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from atlas.database.dialect import insert
from atlas.database.tables import feeds
from atlas.urls import normalise

_SHOWN = (
    feeds.c.id, feeds.c.url, feeds.c.title, feeds.c.site_url, feeds.c.interval_seconds, feeds.c.due_at,
    feeds.c.polled_at, feeds.c.succeeded_at, feeds.c.failures, feeds.c.error, feeds.c.added_at,
)  # fmt: skip


def subscribe(
    conn: Connection, url: str, *, now: dt.datetime, interval_seconds: int = 3600
) -> dict[str, Any]:
    """Follow a feed, or a web page that has one; return its row. One that is followed already stays as it is.

    Nothing is fetched here: the feed is due at once. Raises InvalidUrl.
    """
    clean, key, _ = normalise(_without_feed_scheme(url))
    row = {"url": clean, "url_key": key, "interval_seconds": interval_seconds, "due_at": now, "added_at": now}
    conn.execute(insert(conn, feeds).values(row).on_conflict_do_nothing(index_elements=["url_key"]))
    found = conn.execute(sa.select(*_SHOWN).where(feeds.c.url_key == key)).one()
    return dict(found._mapping)


def _without_feed_scheme(url: str) -> str:
    """Turn the `feed:` addresses that browsers and podcast sites hand out into web addresses."""
    url = url.strip()
    if url.lower().startswith(("feed:http:", "feed:https:")):
        return url[5:]
    return "https:" + url[5:] if url.lower().startswith("feed://") else url


def list_feeds(conn: Connection) -> list[dict[str, Any]]:
    """Return all feeds, by title, those without one last."""
    query = sa.select(*_SHOWN).order_by(feeds.c.title.is_(None), sa.func.lower(feeds.c.title), feeds.c.id)
    return [dict(row._mapping) for row in conn.execute(query)]
