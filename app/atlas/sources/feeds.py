"""Feeds that are followed: asked when due, by one poller at a time; new entries become items.

A poller holds a feed as a worker holds an item: a token in the row and a `due_at` in the future. What a feed
has shown stands in `feed_entries` by the digest of its guid, so nothing is taken twice. Everything that came
from outside is read by a child process; here only what it found is written.
"""

import base64
import datetime as dt
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol
from urllib.parse import urlsplit

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection, Engine

from atlas import items
from atlas.database.tables import feed_entries, feeds
from atlas.net.client import FetchError, Response
from atlas.settings import Settings
from atlas.sources.taking import keep_bodies, take
from atlas.sources.videos import feed_of
from atlas.stages.pool import TooComplexError
from atlas.urls import InvalidUrl, normalise

#: How long a feed stays with a poller that went silent; longer than any poll takes (seconds).
LEASE_SECONDS = 300
#: Longest pause of a feed that fails, and shortest of one that asks us to come back later.
MAX_PAUSE_SECONDS = 86_400.0
MIN_PAUSE_SECONDS = 60.0
#: Pause of a feed whose entries found the queue full.
FULL_PAUSE_SECONDS = 300.0
#: Caches are told "fresh for a year" too easily; we believe no more than this.
MAX_FRESH_SECONDS = 4 * 3600.0
#: Pages that offer several feeds: how many of them are tried.
MAX_TRIED = 3
#: After so many failures in a row a feed is called broken, and its owner is told once.
NOTICE_AFTER = 5
#: As in `reading`: characters of a digest by which an entry is known.
_KNOWN_CHARS = 16

_ACCEPT = "application/atom+xml, application/rss+xml, application/feed+json, application/xml;q=0.9, */*;q=0.5"
_MAX_AGE = re.compile(r"(?:^|,)\s*max-age\s*=\s*\"?(\d{1,9})", re.IGNORECASE)
_MAX_VALIDATOR_CHARS = 1000
_DEADLOCK = "40P01"
_READ_ANEW = {"etag": None, "last_modified": None}

log = structlog.stdlib.get_logger(__name__)


class Fetches(Protocol):
    """Gets a URL, or raises FetchError."""

    def get(self, url: str, *, headers: Mapping[str, str] | None = None) -> Response:
        """Get `url`."""


class Asks(Protocol):
    """Has a child process do a job, or raises TooComplexError."""

    def ask(self, job: str, raw: bytes, **request: Any) -> dict[str, Any]:  # noqa: ANN401 - what JSON can write
        """Do `job`."""


@dataclass(frozen=True, slots=True)
class Polled:
    """What came of asking a feed: how many items are new, or the code of what went wrong."""

    feed_id: int
    new_items: int = 0
    error: str | None = None


class FeedFailed(Exception):  # noqa: N818
    """A feed that cannot be read: a code for programs, a sentence for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class _News:
    """What a feed answered; without `found`, that nothing changed."""

    response: Response
    found: Mapping[str, Any] | None
    #: Where the feed is, when it has moved or a web page led there.
    moved_to: str | None = None
    #: Where the bodies of its entries are kept.
    bodies_sha256: str | None = None


def due(conn: Connection, now: dt.datetime, *, limit: int = 1000) -> list[tuple[int, str]]:
    """List the feeds to be asked, longest due first, as (id, host)."""
    query = sa.select(feeds.c.id, feeds.c.url).where(feeds.c.due_at <= now, feeds.c.paused_at.is_(None))
    rows = conn.execute(query.order_by(feeds.c.due_at, feeds.c.id).limit(limit))
    return [(row.id, _host(row.url)) for row in rows]


def _host(url: str) -> str:
    """Return the host of a feed; of an address that is none any more, the address: it fails by itself."""
    try:
        return normalise(url)[2]
    except InvalidUrl:
        return url


def is_any_due(conn: Connection, now: dt.datetime) -> bool:
    """Tell whether there is a feed to be asked."""
    return bool(due(conn, now, limit=1))


def poll(
    settings: Settings, engine: Engine, fetcher: Fetches, reader: Asks, feed_id: int, *, now: dt.datetime
) -> Polled | None:
    """Ask a feed that is due; None when it is not, or another poller has it.

    Whatever the feed answers is written into its row, and so is a fault of ours. Raises only the database's
    errors.
    """
    with engine.begin() as conn:
        feed = _lease(conn, feed_id, now)
        known = _known(conn, feed_id) if feed is not None else []
    if feed is None:
        return None
    try:
        news = _kept(settings, feed, _ask(fetcher, reader, feed, known))
        return _write(engine, lambda conn: _write_news(conn, settings, feed, news, now))
    except (FetchError, FeedFailed) as error:
        failure = error
    except sa.exc.SQLAlchemyError:
        raise
    except Exception:
        log.exception("feed broke its reading", feed=feed.id)
        message = "Atlas itself had a problem with this feed; the log tells more."
        failure = FeedFailed("internal_error", message)
    with engine.begin() as conn:
        return _write_failure(conn, feed, failure, now)


def _kept(settings: Settings, feed: sa.Row[Any], news: _News) -> _News:
    """Put the bodies that came on the disk before any item says that they are there."""
    if news.found is None:
        return news
    site = _title(feed, news.found)
    return replace(news, bodies_sha256=keep_bodies(settings.data_dir, feed, news.found["entries"], site))


def _title(feed: sa.Row[Any], found: Mapping[str, Any]) -> str | None:
    title: str | None = feed.title if feed.named else found["title"] or feed.title
    return title


def _write(engine: Engine, work: Callable[[Connection], Polled | None]) -> Polled | None:
    """Run `work` in a transaction; again when another that adds the same entries stood in its way."""
    for _ in range(2):
        try:
            with engine.begin() as conn:
                return work(conn)
        except sa.exc.DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != _DEADLOCK:
                raise
    with engine.begin() as conn:
        return work(conn)


def _lease(conn: Connection, feed_id: int, now: dt.datetime) -> sa.Row[Any] | None:
    lease = {"lease": secrets.token_hex(8), "due_at": now + dt.timedelta(seconds=LEASE_SECONDS)}
    mine = feeds.update().where(feeds.c.id == feed_id, feeds.c.due_at <= now, feeds.c.paused_at.is_(None))
    return conn.execute(mine.values(lease).returning(*feeds.c)).one_or_none()


def _known(conn: Connection, feed_id: int) -> list[str]:
    """Return what stands for the entries that the feed has shown."""
    short = sa.func.substr(feed_entries.c.guid_sha256, 1, _KNOWN_CHARS)
    return list(conn.execute(sa.select(short).where(feed_entries.c.feed_id == feed_id)).scalars())


def _ask(fetcher: Fetches, reader: Asks, feed: sa.Row[Any], known: list[str]) -> _News:
    headers = {"Accept": _ACCEPT, **_login(feed)}
    if _sendable(feed.etag):
        headers["If-None-Match"] = feed.etag
    if _sendable(feed.last_modified):
        headers["If-Modified-Since"] = feed.last_modified
    url = feed.url if feed.succeeded_at is not None else feed_of(feed.url) or feed.url
    response = fetcher.get(url, headers=headers)
    moved_to = url if url != feed.url else response.moved_to
    if response.status == 304:
        return _News(response, None, moved_to)
    found = _read(reader, feed, known, response)
    if "code" not in found:
        return _News(response, found, moved_to)
    if found["code"] == "not_a_feed" and feed.succeeded_at is None:
        return _ask_page(fetcher, reader, feed, found)
    raise FeedFailed(found["code"], found["message"])


def _login(feed: sa.Row[Any]) -> dict[str, str]:
    if not feed.login:
        return {}
    return {"Authorization": f"Basic {base64.b64encode(feed.login.encode()).decode()}"}


def _read(reader: Asks, feed: sa.Row[Any], known: list[str], response: Response) -> dict[str, Any]:
    try:
        found = reader.ask(
            "feed",
            response.body,
            content_type=response.content_type,
            url=response.final_url,
            known=known,
            rules=feed.rules or [],
        )
    except TooComplexError:
        message = "The feed is too complicated to be read: reading it took too much time or memory."
        raise FeedFailed("too_complex", message) from None
    if "broke" in found or not ("code" in found or "entries" in found):
        log.error("reader broke", feed=feed.id, error=found.get("broke"))
        raise FeedFailed("broken", "Atlas cannot make sense of this feed: its log says more.")
    return found


def _ask_page(fetcher: Fetches, reader: Asks, feed: sa.Row[Any], page: Mapping[str, Any]) -> _News:
    """Ask the feeds that a web page names. Raises FeedFailed, with the last trouble met."""
    error = FeedFailed(page["code"], page["message"])
    for url in page["feeds"][:MAX_TRIED]:
        try:
            normalise(url)
        except InvalidUrl as refused:
            error = FeedFailed("invalid_url", f"The page names a feed that cannot be followed. {refused}")
            continue
        response = fetcher.get(url, headers={"Accept": _ACCEPT})
        found = _read(reader, feed, [], response)
        if "code" not in found:
            return _News(response, found, moved_to=url)
        error = FeedFailed(found["code"], found["message"])
    raise error


def _write_failure(
    conn: Connection, feed: sa.Row[Any], error: FetchError | FeedFailed, now: dt.datetime
) -> Polled | None:
    pause = min(feed.interval_seconds * 2.0 ** min(feed.failures, 20), MAX_PAUSE_SECONDS)
    if isinstance(error, FetchError) and error.retry_after is not None:
        pause = max(error.retry_after, MIN_PAUSE_SECONDS)
        items.postpone_host(conn, _host(feed.url), until=now + dt.timedelta(seconds=pause))
    failures = feed.failures + 1
    stored = {"code": error.code, "message": error.message, "at": now.isoformat(timespec="seconds")}
    values: dict[str, Any] = {"failures": failures, "error": stored}
    is_gone = error.code == "http_410"
    if is_gone:
        stored["message"] = "The site has removed this feed for good, so it is asked no more. (HTTP 410)"
        values["paused_at"] = now
    if (failures >= NOTICE_AFTER or is_gone) and feed.notified_at is None:
        values["notified_at"] = now
        log.warning("feed is broken", feed=feed.id, code=error.code, failures=failures)
    if not _release(conn, feed, now, pause, values):
        return None
    log.warning("feed failed", feed=feed.id, code=error.code, failures=failures)
    return Polled(feed.id, error=error.code)


def _write_news(
    conn: Connection, settings: Settings, feed: sa.Row[Any], news: _News, now: dt.datetime
) -> Polled | None:
    values: dict[str, Any] = {"succeeded_at": now, "failures": 0, "error": None, "notified_at": None}
    if news.moved_to is not None:
        moved = _moved(conn, feed, news.moved_to)
        if moved is None and news.response.moved_to != news.moved_to:
            message = f"The feed of this page is followed already: {news.moved_to}"
            return _write_failure(conn, feed, FeedFailed("followed_already", message), now)
        values |= moved or {}
    pause = _pause(feed, news.response)
    found = news.found
    if found is None:
        return Polled(feed.id) if _release(conn, feed, now, pause, values) else None
    values |= {"site_url": found["site_url"] or feed.site_url, "image": found["image"] or feed.image}
    values |= {"kind": found["kind"]}
    title = _title(feed, found)
    values |= {"title": title, **_validators(news.response)}
    if not _release(conn, feed, now, pause, values):
        return None

    def room() -> int:
        return max(settings.max_queue_size - items.queue_size(conn, now), 0)

    taken = take(
        conn, feed, found["entries"], now=now, room=room, site=title, bodies_sha256=news.bodies_sha256
    )
    if taken.left or found["waiting"]:  # no validators: the feed must be sent again though it did not change
        pause = min(pause, FULL_PAUSE_SECONDS if taken.was_full else MIN_PAUSE_SECONDS)
        again = {"etag": None, "last_modified": None, "due_at": now + dt.timedelta(seconds=pause)}
        conn.execute(feeds.update().where(feeds.c.id == feed.id).values(again))
    if taken.new_items or found["slow_rules"]:
        left = taken.left + found["waiting"]
        slow = {"slow_rules": True} if found["slow_rules"] else {}
        log.info("feed brought news", feed=feed.id, new=taken.new_items, waiting=left, **slow)
    return Polled(feed.id, new_items=taken.new_items)


def _moved(conn: Connection, feed: sa.Row[Any], address: str) -> dict[str, Any] | None:
    """Return what to write for a feed that is elsewhere now; None when that one is followed already."""
    try:
        url, key, _ = normalise(address)
    except InvalidUrl:
        return {}
    if key == feed.url_key:
        return {}
    if conn.execute(sa.select(feeds.c.id).where(feeds.c.url_key == key)).first():
        return None
    log.info("feed moved", feed=feed.id)
    same_site = urlsplit(url)[:2] == urlsplit(feed.url)[:2]
    return {"url": url, "url_key": key, "login": feed.login if same_site else None}


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
