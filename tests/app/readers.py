"""Feeds and entries for the tests of what existing clients speak."""

from typing import Any

import sqlalchemy as sa
import visitor
from starlette.testclient import TestClient

from atlas import tags
from atlas.database.tables import items
from atlas.sources import subscriptions


def put_feed(client: TestClient, url: str = "https://example.org/feed.xml", **more: Any) -> int:
    """Follow a feed; `title` and `folder` may be given."""
    now = client.app.state.parts.clock()
    with visitor.engine_of(client).begin() as conn:
        return subscriptions.subscribe(conn, url, now=now, **more)["id"]


def put_entry(client: TestClient, feed_id: int, number: int, **more: Any) -> int:
    """A readable entry of a feed; `tags`, and all that visitor.put_article takes, may be given."""
    names = more.pop("tags", [])
    item = visitor.put_article(
        client,
        f"https://example.org/{feed_id}/{number}",
        **{"feed_id": feed_id, "title": f"Entry {number}", **more},
    )
    with visitor.engine_of(client).begin() as conn:
        tags.attach(conn, {item: names})
    return item


def state_of(client: TestClient, item_id: int) -> tuple[bool, bool]:
    """Whether an item is read, and whether it is starred."""
    with visitor.engine_of(client).connect() as conn:
        query = sa.select(items.c.read_at, items.c.starred_at).where(items.c.id == item_id)
        row = conn.execute(query).one()
    return row.read_at is not None, row.starred_at is not None


def tags_of(client: TestClient, item_id: int) -> list[str]:
    with visitor.engine_of(client).connect() as conn:
        return tags.of(conn, [item_id]).get(item_id, [])


def feeds_of(client: TestClient) -> list[dict[str, Any]]:
    with visitor.engine_of(client).connect() as conn:
        return subscriptions.list_feeds(conn)
