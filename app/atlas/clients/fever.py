"""The Fever API: Reeder, Unread, ReadKit, Fluent Reader and others speak it.

One address does everything. Its key is the MD5 of "name:password", so it takes a token in place of the
password: of an account's password we keep nothing an MD5 could be compared with.
"""

import datetime as dt
import zlib
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter
from sqlalchemy.engine import Connection
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from atlas import accounts
from atlas.api.auth import Principal, require, token_principal
from atlas.api.rows import row_number
from atlas.api.state import state
from atlas.clients import streams
from atlas.clients.logins import count_failure
from atlas.clients.params import Given, Params
from atlas.clients.streams import Clause, Entry, Wanted
from atlas.database.dialect import MAX_ID
from atlas.database.engine import read
from atlas.database.tables import feeds as feeds_table
from atlas.database.tables import items
from atlas.library import change
from atlas.sources import subscriptions

router = APIRouter(include_in_schema=False)

API_VERSION = 3
#: Items in an answer, as the protocol has it.
MAX_ITEMS = 50
#: For how long an item that is still being read holds back those after it (see `_settled`).
PATIENCE = dt.timedelta(minutes=10)


@router.api_route("/fever", methods=["GET", "POST"])
@router.api_route("/fever/", methods=["GET", "POST"])
def fever(request: Request, given: Given) -> Response:
    """Answer all that is asked for, after doing what is to be done."""
    who = _who(request, given.get("api_key"))
    if who is None:
        return JSONResponse({"api_version": API_VERSION, "auth": 0})
    require(who, "read")
    parts = state(request)
    if "mark" in given:
        require(who, "write")
        with parts.engine.begin() as conn:
            _mark(conn, given, parts.clock())
    with read(parts.engine) as conn:
        return JSONResponse(_answer(conn, given, parts.clock()))


def _who(request: Request, key: str) -> Principal | None:
    parts = state(request)
    now = parts.clock()
    with read(parts.engine) as conn:
        found = accounts.check_fever_key(conn, key, now) if key else None
    if found is not None:
        return token_principal(parts.engine, found, now)
    if key:
        count_failure(request, "fever")
    return None


def _answer(conn: Connection, given: Params, now: dt.datetime) -> dict[str, Any]:
    feeds = subscriptions.list_feeds(conn)
    polled = [feed["succeeded_at"] for feed in feeds if feed["succeeded_at"]]
    found: dict[str, Any] = {
        "api_version": API_VERSION,
        "auth": 1,
        "last_refreshed_on_time": _seconds(max(polled)) if polled else 0,
    }
    if "groups" in given:
        names = sorted({feed["folder"] for feed in feeds if feed["folder"]})
        found["groups"] = [{"id": _group_id(name), "title": name} for name in names]
    if "feeds" in given:
        found["feeds"] = [_feed(feed) for feed in feeds]
    if "groups" in given or "feeds" in given:
        found["feeds_groups"] = _feeds_groups(feeds)
    if "favicons" in given:
        found["favicons"] = []
    if "links" in given:
        found["links"] = []
    if "items" in given:
        found["total_items"] = streams.count(conn, [])
        found["items"] = [_item(row) for row in _items(conn, given, now)]
    marked = given.get("as")
    if "unread_item_ids" in given or marked in ("read", "unread"):
        found["unread_item_ids"] = _ids(conn, streams.UNREAD)
    if "saved_item_ids" in given or marked in ("saved", "unsaved"):
        found["saved_item_ids"] = _ids(conn, streams.STARRED)
    return found


def _items(conn: Connection, given: Params, now: dt.datetime) -> list[Entry]:
    clauses: list[Clause] = []
    if "feed_ids" in given:
        clauses.append(items.c.feed_id.in_(_numbers(given.get("feed_ids"))))
    if "group_ids" in given:
        clauses.append(_in_groups(conn, _numbers(given.get("group_ids"))))
    if "with_ids" in given:
        wanted = _numbers(given.get("with_ids"))[:MAX_ITEMS]
        return streams.entries(conn, Wanted([*clauses, items.c.id.in_(wanted)], limit=MAX_ITEMS))
    if "max_id" in given:
        beyond = given.number("max_id", 0, most=MAX_ID)
        return streams.entries(conn, Wanted(clauses, beyond=beyond or None, limit=MAX_ITEMS))
    beyond = given.number("since_id", 0, most=MAX_ID)
    page = Wanted([*clauses, _settled(conn, now)], oldest_first=True, beyond=beyond, limit=MAX_ITEMS)
    return streams.entries(conn, page)


def _settled(conn: Connection, now: dt.datetime) -> Clause:
    """Match what comes before the first entry that is still being read.

    A client asks for what came after the last one it has. An entry whose page takes a minute longer would
    then be passed over for ever, so those after it wait for it, but not for long.
    """
    underway = sa.select(sa.func.min(items.c.id)).where(
        items.c.due_at.is_not(None), items.c.feed_id.is_not(None), items.c.added_at > now - PATIENCE
    )
    first = conn.execute(underway).scalar()
    return sa.true() if first is None else items.c.id < first


def _mark(conn: Connection, given: Params, now: dt.datetime) -> None:
    """Mark an item, a feed or a group. What the protocol does not know is passed over, as Fever did."""
    what, how, number = given.get("mark"), given.get("as"), given.number("id", -1, most=MAX_ID)
    changes = {
        "read": {"read": True},
        "unread": {"read": False},
        "saved": {"starred": True},
        "unsaved": {"starred": False},
    }
    if what == "item" and how in changes:
        change(conn, [number], changes[how], now=now)
    elif what in ("feed", "group") and how == "read" and number >= 0:
        before = given.number("before", 0, most=MAX_ID)
        until = dt.datetime.fromtimestamp(before, dt.UTC) if 0 < before < 2**33 else now
        clauses = [streams.of_feed(number)] if what == "feed" else []
        if what == "group" and number > 0:  # the group 0 is everything
            clauses = [_in_groups(conn, [number])]
        streams.mark_read(conn, clauses, until=until, now=now)


def _ids(conn: Connection, clause: Clause | sa.TextClause) -> str:
    rows = streams.ids(conn, Wanted([clause], oldest_first=True, limit=100_000))
    return ",".join(str(row.id) for row in rows)


def _item(row: Entry) -> dict[str, Any]:
    return {
        "id": row.id,
        "feed_id": row.feed_id,
        "title": row.title,
        "author": row.author,
        "html": row.html,
        "url": row.url,
        "is_saved": int(row.is_starred),
        "is_read": int(row.is_read),
        "created_on_time": _seconds(row.published_at or row.added_at),
    }


def _feed(feed: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": feed["id"],
        "favicon_id": 0,
        "title": feed["title"] or feed["url"],
        "url": feed["url"],
        "site_url": feed["site_url"] or feed["url"],
        "is_spark": 0,
        "last_updated_on_time": _seconds(feed["succeeded_at"]) if feed["succeeded_at"] else 0,
    }


def _feeds_groups(feeds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: dict[str, list[str]] = {}
    for feed in feeds:
        if feed["folder"]:
            found.setdefault(feed["folder"], []).append(str(feed["id"]))
    return [{"group_id": _group_id(name), "feed_ids": ",".join(ids)} for name, ids in sorted(found.items())]


def _in_groups(conn: Connection, group_ids: list[int]) -> Clause:
    names = conn.execute(sa.select(feeds_table.c.folder).distinct()).scalars()
    mine = [name for name in names if name and _group_id(name) in group_ids]
    return items.c.feed_id.in_(sa.select(feeds_table.c.id).where(feeds_table.c.folder.in_(mine)))


def _group_id(folder: str) -> int:
    """Return a number for a folder, which has none of its own: always the same, and never 0."""
    return (zlib.crc32(folder.encode()) & 0x7FFFFFFF) or 1


def _numbers(text: str) -> list[int]:
    return [one for part in text.split(",") if (one := row_number(part.strip())) is not None]


def _seconds(moment: dt.datetime) -> int:
    return int(moment.timestamp())
