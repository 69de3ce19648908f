"""Which feeds are followed, and how. Apart from `feeds`, which asks them: the API carries no parser."""

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from atlas.database.dialect import MAX_ID, insert
from atlas.database.tables import feeds, items
from atlas.sources import rules
from atlas.sources.rules import RuleError
from atlas.urls import InvalidUrl, normalise

__all__ = ["InvalidUrl", "OptionError", "RuleError"]

#: What of an entry is kept: `auto` its own text if it is whole, else the page; `feed`; `page`.
FULL_TEXT = ("auto", "feed", "page")
#: Shortest and longest pause between two polls, in seconds.
SHORTEST_INTERVAL, LONGEST_INTERVAL = 60, 30 * 86_400
LONGEST_RETENTION_DAYS = 36_500
MAX_TITLE_CHARS = 500
MAX_FOLDER_CHARS = 100

_SHOWN: tuple[sa.Column[Any], ...] = (
    feeds.c.id, feeds.c.url, feeds.c.title, feeds.c.named, feeds.c.site_url, feeds.c.image, feeds.c.kind,
    feeds.c.folder, feeds.c.interval_seconds, feeds.c.full_text, feeds.c.retention_days, feeds.c.rules,
    feeds.c.due_at, feeds.c.polled_at, feeds.c.succeeded_at, feeds.c.failures, feeds.c.error,
    feeds.c.paused_at, feeds.c.notified_at, feeds.c.added_at,
)  # fmt: skip

# The condition of ix_items_unread, literally: else neither engine recognises it.
_UNREAD = sa.text("items.read_at IS NULL AND items.stage IN (590, 595)")


class OptionError(ValueError):
    """An option that a feed cannot have; the message says why, to the person who set it."""


def subscribe(
    conn: Connection,
    url: str,
    *,
    now: dt.datetime,
    interval_seconds: int = 3600,
    title: str | None = None,
    folder: str | None = None,
) -> dict[str, Any]:
    """Follow a feed, or a web page that has one; return its row. One that is followed already stays as it is.

    Nothing is fetched here: the feed is due at once. A name and password in the address are kept apart from
    it. Raises InvalidUrl, and OptionError for an interval, title or folder that cannot be.
    """
    address, login = _split_login(_without_feed_scheme(url))
    clean, key, _ = normalise(address)
    row = {"url": clean, "url_key": key, "due_at": now, "added_at": now, "login": login}
    row |= _checked({"interval_seconds": interval_seconds, "folder": folder}, now)
    if title := _line(title, MAX_TITLE_CHARS):
        row |= {"title": title, "named": True}
    conn.execute(insert(conn, feeds).values(row).on_conflict_do_nothing(index_elements=["url_key"]))
    feed_id: int = conn.execute(sa.select(feeds.c.id).where(feeds.c.url_key == key)).scalar_one()
    found = get(conn, feed_id)
    assert found is not None, "it was added, or is there already"  # noqa: S101
    return found


def address_of(url: str) -> tuple[str, str]:
    """Return the address a feed is followed at, and the key that all spellings share. Raises InvalidUrl."""
    clean, key, _ = normalise(_split_login(_without_feed_scheme(url))[0])
    return clean, key


def list_feeds(conn: Connection, *, folder: str | None = None) -> list[dict[str, Any]]:
    """Return all feeds (of a folder), with how many unread items each has: by title, those without one last.

    `broken` tells of one that has failed for so long that its owner should look at it.
    """
    query = sa.select(*_SHOWN).order_by(feeds.c.title.is_(None), sa.func.lower(feeds.c.title), feeds.c.id)
    if folder is not None:
        query = query.where(feeds.c.folder == folder)
    unread = _unread_counts(conn)
    return [_shown(row, unread.get(row.id, 0)) for row in conn.execute(query)]


def get(conn: Connection, feed_id: int) -> dict[str, Any] | None:
    """Return one feed as `list_feeds` does; None when there is none by that id."""
    if not 0 < feed_id <= MAX_ID:
        return None
    row = conn.execute(sa.select(*_SHOWN).where(feeds.c.id == feed_id)).one_or_none()
    return None if row is None else _shown(row, _unread_counts(conn, feed_id).get(feed_id, 0))


def folders(conn: Connection) -> list[dict[str, Any]]:
    """Return the folders in order: `folder` (None last: feeds in none), and its `feeds` and `unread`."""
    found: dict[str | None, dict[str, Any]] = {}
    for feed in list_feeds(conn):
        entry = found.setdefault(feed["folder"], {"folder": feed["folder"], "feeds": 0, "unread": 0})
        entry["feeds"] += 1
        entry["unread"] += feed["unread"]
    return sorted(found.values(), key=lambda one: (one["folder"] is None, (one["folder"] or "").casefold()))


def broken(conn: Connection) -> list[dict[str, Any]]:
    """Return the feeds whose owner should look at them, longest broken first: see `notified_at`."""
    query = sa.select(*_SHOWN).where(feeds.c.notified_at.is_not(None))
    rows = conn.execute(query.order_by(feeds.c.notified_at, feeds.c.id))
    return [_shown(row, 0) for row in rows]


def update(
    conn: Connection, feed_id: int, changes: Mapping[str, Any], *, now: dt.datetime
) -> dict[str, Any] | None:
    """Change options of a feed; return it as it is now, None when there is none by that id.

    `title` (None: its own again), `folder`, `interval_seconds`, `full_text`, `retention_days`, `rules`,
    `paused` (True or False). Raises OptionError, or RuleError for rules, with a sentence.
    """
    if not 0 < feed_id <= MAX_ID:
        return None
    values = _checked(changes, now)
    if values:
        conn.execute(feeds.update().where(feeds.c.id == feed_id).values(values))
    return get(conn, feed_id)


def unsubscribe(conn: Connection, feed_id: int) -> bool:
    """Follow a feed no more; what it brought stays. False when there is none by that id."""
    gone = feeds.delete().where(feeds.c.id == feed_id)
    return 0 < feed_id <= MAX_ID and conn.execute(gone).rowcount > 0


def refresh(conn: Connection, feed_id: int, *, now: dt.datetime) -> bool:
    """Have a feed asked at once; one that is paused goes on. False when there is none by that id."""
    change = feeds.update().where(feeds.c.id == feed_id).values(due_at=now, lease=None, paused_at=None)
    return 0 < feed_id <= MAX_ID and conn.execute(change).rowcount > 0


def mark_read(
    conn: Connection, *, now: dt.datetime, feed_id: int | None = None, folder: str | None = None,
    up_to: int | None = None,
) -> int:  # fmt: skip
    """Note that all was read that a feed, a folder or (neither given) all feeds brought; return how many.

    `up_to` is the newest item that was on the screen: what came since stays unread.
    """
    mine = sa.select(feeds.c.id)
    if feed_id is not None:
        mine = mine.where(feeds.c.id == feed_id)
    if folder is not None:
        mine = mine.where(feeds.c.folder == folder)
    change = items.update().where(_UNREAD, items.c.feed_id.in_(mine)).values(read_at=now)
    if up_to is not None:
        change = change.where(items.c.id <= min(up_to, MAX_ID))
    return conn.execute(change).rowcount


def _unread_counts(conn: Connection, feed_id: int | None = None) -> dict[int, int]:
    query = sa.select(items.c.feed_id, sa.func.count()).where(_UNREAD, items.c.feed_id.is_not(None))
    if feed_id is not None:
        query = query.where(items.c.feed_id == feed_id)
    return {row.feed_id: row[1] for row in conn.execute(query.group_by(items.c.feed_id))}


def _shown(row: sa.Row[Any], unread: int) -> dict[str, Any]:
    found = dict(row._mapping)
    return found | {"rules": found["rules"] or [], "unread": unread, "broken": row.notified_at is not None}


def _checked(changes: Mapping[str, Any], now: dt.datetime) -> dict[str, Any]:
    """Return the columns to write for options. Raises OptionError and RuleError."""
    values: dict[str, Any] = {}
    for name, value in changes.items():
        if name not in _OPTIONS:
            raise OptionError(f"A feed has no option called {name}.")
        values |= _OPTIONS[name](value, now)
    return values


def _title(value: Any, _now: dt.datetime) -> dict[str, Any]:  # noqa: ANN401 - as it came; so below
    title = _line(value, MAX_TITLE_CHARS)
    if title:
        return {"title": title, "named": True}
    return {"named": False, **_READ_ANEW}  # its own comes with the next poll


def _folder(value: Any, _now: dt.datetime) -> dict[str, Any]:  # noqa: ANN401
    return {"folder": _line(value, MAX_FOLDER_CHARS) or None}


def _interval(value: Any, _now: dt.datetime) -> dict[str, Any]:  # noqa: ANN401
    if not _is_number(value) or not SHORTEST_INTERVAL <= value <= LONGEST_INTERVAL:
        raise OptionError(f"A feed is asked every {SHORTEST_INTERVAL} to {LONGEST_INTERVAL:,} seconds.")
    return {"interval_seconds": value}


def _full_text(value: Any, _now: dt.datetime) -> dict[str, Any]:  # noqa: ANN401
    if value not in FULL_TEXT:
        raise OptionError(f"The full text comes from one of: {', '.join(FULL_TEXT)}.")
    return {"full_text": value}


def _retention(value: Any, _now: dt.datetime) -> dict[str, Any]:  # noqa: ANN401
    if value is not None and not (_is_number(value) and 1 <= value <= LONGEST_RETENTION_DAYS):
        raise OptionError("What was read is kept for a number of days, at least one, or for ever.")
    return {"retention_days": value}


def _rules(value: Any, _now: dt.datetime) -> dict[str, Any]:  # noqa: ANN401
    return {"rules": rules.checked(value or []) or None, **_READ_ANEW}


def _paused(value: Any, now: dt.datetime) -> dict[str, Any]:  # noqa: ANN401
    if not isinstance(value, bool):
        raise OptionError("A feed is paused or not: true or false.")
    return {"paused_at": now} if value else {"paused_at": None, "due_at": now}


_OPTIONS: dict[str, Callable[[Any, dt.datetime], dict[str, Any]]] = {
    "title": _title,
    "folder": _folder,
    "interval_seconds": _interval,
    "full_text": _full_text,
    "retention_days": _retention,
    "rules": _rules,
    "paused": _paused,
}
#: The whole feed must be sent again, though it has not changed.
_READ_ANEW = {"etag": None, "last_modified": None}


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _line(value: object, longest: int) -> str:
    if value is not None and not isinstance(value, str):
        raise OptionError("A title or folder is text.")
    return " ".join((value or "").split())[:longest]


def _without_feed_scheme(url: str) -> str:
    """Turn the `feed:` addresses that browsers and podcast sites hand out into web addresses."""
    url = url.strip()
    if url.lower().startswith(("feed:http:", "feed:https:")):
        return url[5:]
    return "https:" + url[5:] if url.lower().startswith("feed://") else url


def _split_login(url: str) -> tuple[str, str | None]:
    """Return the address without a name and password, and those as "name:password". Raises InvalidUrl."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url, None  # `normalise` says what is wrong with it
    login, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, None
    if parts.scheme != "https":
        raise InvalidUrl("A name and password in the address of a feed are sent by https:// only.")
    name, _, password = login.partition(":")
    return parts._replace(netloc=host).geturl(), f"{unquote(name)}:{unquote(password)}"
