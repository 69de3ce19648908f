"""Feeds that are followed: asked when due, by one poller at a time; new entries become items.

A poller holds a feed as a worker holds an item: a token in the row and a `due_at` in the future. What a feed
has shown stands in `feed_entries` by the digest of its guid, so nothing is taken twice.
"""

import datetime as dt
import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection, Engine

from atlas import items
from atlas.database.dialect import insert
from atlas.database.tables import feed_entries, feeds
from atlas.net.client import FetchError, Response
from atlas.settings import Settings
from atlas.sources.discovery import find_feeds
from atlas.sources.feed import Entry, Feed, FeedError, parse
from atlas.sources.parser import Parse
from atlas.sources.subscriptions import list_feeds, subscribe
from atlas.urls import InvalidUrl, normalise

__all__ = ["Fetches", "Polled", "due", "list_feeds", "poll", "subscribe"]

#: How long a feed stays with a poller that went silent; longer than any poll takes (seconds).
LEASE_SECONDS = 300
#: Longest pause of a feed that fails, and shortest of one that asks us to come back later.
MAX_PAUSE_SECONDS = 86_400.0
MIN_PAUSE_SECONDS = 60.0
#: Pause of a feed whose entries found the queue full.
FULL_PAUSE_SECONDS = 300.0
#: Caches are told "fresh for a year" too easily; we believe no more than this.
MAX_FRESH_SECONDS = 4 * 3600.0
#: Most new entries one poll takes; the rest comes with the next, so that no feed fills the queue alone.
MAX_NEW_ENTRIES = 200
#: Pages that offer several feeds: how many of them are tried.
MAX_TRIED = 3

_ACCEPT = "application/atom+xml, application/rss+xml, application/feed+json, application/xml;q=0.9, */*;q=0.5"
_MAX_AGE = re.compile(r"(?:^|,)\s*max-age\s*=\s*\"?(\d{1,9})", re.IGNORECASE)
_MAX_VALIDATOR_CHARS = 1000
_PIECE = 1000

log = structlog.stdlib.get_logger(__name__)


class Fetches(Protocol):
    """Gets a URL, or raises FetchError."""

    def get(self, url: str, *, headers: dict[str, str]) -> Response:
        """Get `url`."""


@dataclass(frozen=True, slots=True)
class Polled:
    """What came of asking a feed: how many items are new, or the code of what went wrong."""

    feed_id: int
    new_items: int = 0
    error: str | None = None


@dataclass(frozen=True, slots=True)
class _News:
    """What a feed answered; without `feed`, that nothing changed."""

    response: Response
    feed: Feed | None
    #: Where the feed is, when a web page led there.
    moved_to: str | None = None


def due(conn: Connection, now: dt.datetime, *, limit: int = 1000) -> list[tuple[int, str]]:
    """List the feeds to be asked, longest due first, as (id, host)."""
    query = sa.select(feeds.c.id, feeds.c.url).where(feeds.c.due_at <= now)
    rows = conn.execute(query.order_by(feeds.c.due_at, feeds.c.id).limit(limit))
    return [(row.id, normalise(row.url)[2]) for row in rows]


def poll(
    settings: Settings,
    engine: Engine,
    fetcher: Fetches,
    feed_id: int,
    now: dt.datetime,
    *,
    parse: Parse = parse,
) -> Polled | None:
    """Ask a feed that is due; None when it is not, or another poller has it.

    Whatever the feed answers is written into its row, and so is a fault of ours. Raises only the database's
    errors.
    """
    with engine.begin() as conn:
        feed = _lease(conn, feed_id, now)
    if feed is None:
        return None
    try:
        news = _ask(fetcher, feed, parse)
        with engine.begin() as conn:
            return _write_news(conn, settings, feed, news, now)
    except (FetchError, FeedError) as error:
        failure = error
    except sa.exc.SQLAlchemyError:
        raise
    except Exception:
        log.exception("feed broke its reading", feed=feed.id)
        message = "Atlas itself had a problem with this feed; the log tells more."
        failure = FeedError("internal_error", message)
    with engine.begin() as conn:
        return _write_failure(conn, feed, failure, now)


def _lease(conn: Connection, feed_id: int, now: dt.datetime) -> sa.Row[Any] | None:
    lease = {"lease": secrets.token_hex(8), "due_at": now + dt.timedelta(seconds=LEASE_SECONDS)}
    mine = feeds.update().where(feeds.c.id == feed_id, feeds.c.due_at <= now).values(lease)
    return conn.execute(mine.returning(*feeds.c)).one_or_none()


def _ask(fetcher: Fetches, feed: sa.Row[Any], parse: Parse) -> _News:
    headers = {"Accept": _ACCEPT}
    if _sendable(feed.etag):
        headers["If-None-Match"] = feed.etag
    if _sendable(feed.last_modified):
        headers["If-Modified-Since"] = feed.last_modified
    response = fetcher.get(feed.url, headers=headers)
    if response.status == 304:
        return _News(response, None)
    try:
        return _News(response, parse(response.body, response.content_type, response.final_url))
    except FeedError as error:
        if error.code != "not_a_feed" or feed.succeeded_at is not None:
            raise
        return _ask_page(fetcher, response, parse, error)


def _ask_page(fetcher: Fetches, page: Response, parse: Parse, error: FeedError) -> _News:
    """Ask the feeds that a web page names. Raises FeedError, the last one met."""
    for url in find_feeds(page.body, page.final_url)[:MAX_TRIED]:
        try:
            normalise(url)
        except InvalidUrl as refused:
            error = FeedError("invalid_url", f"The page names a feed that cannot be followed. {refused}")
            continue
        response = fetcher.get(url, headers={"Accept": _ACCEPT})
        try:
            found = parse(response.body, response.content_type, response.final_url)
        except FeedError as another:
            error = another
        else:
            return _News(response, found, moved_to=url)
    raise error


def _write_failure(
    conn: Connection, feed: sa.Row[Any], error: FetchError | FeedError, now: dt.datetime
) -> Polled | None:
    pause = min(feed.interval_seconds * 2.0 ** min(feed.failures, 20), MAX_PAUSE_SECONDS)
    if isinstance(error, FetchError) and error.retry_after is not None:
        pause = max(error.retry_after, MIN_PAUSE_SECONDS)
        items.postpone_host(conn, normalise(feed.url)[2], until=now + dt.timedelta(seconds=pause))
    stored = {"code": error.code, "message": error.message, "at": now.isoformat(timespec="seconds")}
    if not _release(conn, feed, now, pause, {"failures": feed.failures + 1, "error": stored}):
        return None
    log.warning("feed failed", feed=feed.id, code=error.code, failures=feed.failures + 1)
    return Polled(feed.id, error=error.code)


def _write_news(
    conn: Connection, settings: Settings, feed: sa.Row[Any], news: _News, now: dt.datetime
) -> Polled | None:
    values: dict[str, Any] = {"succeeded_at": now, "failures": 0, "error": None}
    if news.moved_to is not None:
        url, key, _ = normalise(news.moved_to)
        if conn.execute(sa.select(feeds.c.id).where(feeds.c.url_key == key)).first():
            error = FeedError("followed_already", f"The feed of this page is followed already: {url}")
            return _write_failure(conn, feed, error, now)
        values |= {"url": url, "url_key": key}
    pause = _pause(feed, news.response)
    if news.feed is None:
        return Polled(feed.id) if _release(conn, feed, now, pause, values) else None
    new = _unseen(conn, feed.id, news.feed.entries)
    room = max(settings.max_queue_size - items.queue_size(conn, now), 0)
    taken = new[: min(room, MAX_NEW_ENTRIES)]
    values |= {"title": news.feed.title or feed.title, "site_url": news.feed.site_url or feed.site_url}
    if len(taken) < len(new):  # no validators: the feed must be sent again though it has not changed
        pause = min(pause, MIN_PAUSE_SECONDS if room else FULL_PAUSE_SECONDS)
        values |= {"etag": None, "last_modified": None}
    else:
        values |= _validators(news.response)
    if not _release(conn, feed, now, pause, values):
        return None
    added = _add(conn, feed.id, taken, now)
    if added:
        log.info("feed brought news", feed=feed.id, new=added, waiting=len(new) - len(taken))
    return Polled(feed.id, new_items=added)


def _release(
    conn: Connection, feed: sa.Row[Any], now: dt.datetime, pause: float, values: dict[str, Any]
) -> bool:
    """Give the feed back; False when the lease was lost, so that nothing may be written."""
    same = {"lease": None, "polled_at": now, "due_at": now + dt.timedelta(seconds=pause)}
    mine = feeds.update().where(feeds.c.id == feed.id, feeds.c.lease == feed.lease)
    return conn.execute(mine.values(**same, **values)).rowcount > 0


def _pause(feed: sa.Row[Any], response: Response) -> float:
    """Return the seconds until the feed is asked again: its interval, or longer when it says so."""
    fresh = _MAX_AGE.search(response.headers.get("cache-control", ""))
    seconds = min(float(fresh[1]), MAX_FRESH_SECONDS) if fresh else 0.0
    return max(float(feed.interval_seconds), seconds)


def _validators(response: Response) -> dict[str, str | None]:
    names = {"etag": "etag", "last_modified": "last-modified"}
    found = {column: response.headers.get(header) for column, header in names.items()}
    return {column: value if _sendable(value) else None for column, value in found.items()}


def _sendable(value: str | None) -> bool:
    """Tell whether a validator is one, and can stand in a request."""
    if not value or len(value) > _MAX_VALIDATOR_CHARS:
        return False
    return value.isascii() and value.isprintable()


def _unseen(conn: Connection, feed_id: int, entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries that can be fetched and were not taken yet, in the order of the feed."""
    by_digest = {_digest(entry): entry for entry in reversed(entries) if entry.url}
    digests = list(by_digest)
    for start in range(0, len(digests), _PIECE):
        query = sa.select(feed_entries.c.guid_sha256).where(
            feed_entries.c.feed_id == feed_id,
            feed_entries.c.guid_sha256.in_(digests[start : start + _PIECE]),
        )
        for digest in conn.execute(query).scalars():
            del by_digest[digest]
    return list(reversed(by_digest.values()))


def _digest(entry: Entry) -> str:
    return hashlib.sha256(entry.guid.encode("utf-8", "replace")).hexdigest()


def _add(conn: Connection, feed_id: int, entries: Sequence[Entry], now: dt.datetime) -> int:
    """Make items of entries, the oldest first as feeds begin with the newest; return how many."""
    correlation_id = secrets.token_hex(8)
    added = 0
    for entry in reversed(entries):
        try:
            with conn.begin_nested():
                added += _add_one(conn, feed_id, entry, now, correlation_id)
        except InvalidUrl as error:
            log.info("entry without a usable address", feed=feed_id, reason=str(error))
        except sa.exc.DataError:
            log.exception("entry that the database refuses", feed=feed_id)
    return added


def _add_one(conn: Connection, feed_id: int, entry: Entry, now: dt.datetime, correlation_id: str) -> bool:
    """Note an entry; False when its address is here already: some feeds give new guids with every answer."""
    url = entry.url or ""
    known = items.find(conn, url)
    item_id = known
    if item_id is None:
        item_id = items.add(
            conn,
            url,
            now=now,
            correlation_id=correlation_id,
            lane=items.Lane.NORMAL,
            feed_id=feed_id,
            title=entry.title,
            source="feed",
        ).id
    seen = {"feed_id": feed_id, "guid_sha256": _digest(entry), "item_id": item_id, "seen_at": now}
    conn.execute(insert(conn, feed_entries).values(seen).on_conflict_do_nothing())
    return known is None
