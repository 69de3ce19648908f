"""The Google Reader API, as FreshRSS and Miniflux serve it: NetNewsWire, Reeder, FeedMe, newsboat speak it.

Readers show what feeds brought. A folder of feeds and a tag of items are both a "label" to them. Any `T`
(their token against forged requests) will do, as nothing here is done by a cookie.
"""

import datetime as dt
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter
from sqlalchemy.engine import Connection
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from atlas import accounts, tags
from atlas.api.auth import principal
from atlas.api.errors import Problem
from atlas.api.rows import row_number
from atlas.api.state import state
from atlas.clients import atom, streams
from atlas.clients.logins import agent_of, who_logs_in
from atlas.clients.params import Given, Params
from atlas.clients.streams import Clause, Entry, Wanted
from atlas.database.dialect import MAX_ID
from atlas.database.engine import read
from atlas.export.opml import opml
from atlas.library import change
from atlas.sources import subscriptions

router = APIRouter(include_in_schema=False)
API = "/reader/api/0"
#: Where the routes stand: at the root, as Miniflux has them, and where FreshRSS does.
PREFIXES = ("", "/api/greader", "/api/greader.php")

#: How long a client that logged in with the account's password stays logged in.
LOGIN_SECONDS = 90 * 86_400
MAX_IDS = 10_000
MAX_ENTRIES = 1_000
#: What a label is called at most.
MAX_LABEL = 100

#: Added to an item's number, so that no client can mistake its forms. NetNewsWire writes plain hexadecimal
#: digits where others write decimal ones: "10" could be either, "a00000000000a" and "2814749767106570" are
#: not. Still exact as a number of JavaScript's.
OFFSET = 0xA_0000_0000_0000
ITEM = "tag:google.com,2005:reader/item/"

_STATE = re.compile(r"user/[^/]+/state/com\.google/([a-z-]+)")
_LABEL = re.compile(r"user/[^/]+/label/(.+)", re.DOTALL)
READING_LIST = "user/-/state/com.google/reading-list"
_OK = "OK"


@router.api_route("/accounts/ClientLogin", methods=["GET", "POST"])
def client_login(request: Request, given: Given) -> Response:
    """Take name and password (or token), and return what the client shall send from now on."""
    if request.method == "GET":
        raise Problem(405, "method_not_allowed", "Name and password are no part of an address: use POST.")
    found = who_logs_in(request, given.get("Email"), given.get("Passwd"))
    if found is None:
        raise Problem(401, "BadAuthentication", "Name or password is wrong.")
    user, token = found
    if token is None:
        parts = state(request)
        with parts.engine.begin() as conn:
            token, _ = accounts.create_login(
                conn, user, f"Google Reader: {agent_of(request)}", parts.clock(), seconds=LOGIN_SECONDS
            )
    return PlainTextResponse(f"SID={token}\nLSID={token}\nAuth={token}\n")


@router.api_route(f"{API}/token", methods=["GET"])
def edit_token(request: Request) -> Response:
    """Return a token against forged requests, as clients insist on one."""
    name = principal(request).name
    return PlainTextResponse(hashlib.sha256(f"atlas edit {name}".encode()).hexdigest()[:57])


@router.get(f"{API}/user-info")
def user_info(request: Request) -> Response:
    """Say whose account it is."""
    who = principal(request)
    user_id = str(who.user_id)
    return JSONResponse(
        {"userId": user_id, "userName": who.name, "userProfileId": user_id, "userEmail": who.name}
    )


@router.get(f"{API}/preference/list")
def preferences() -> Response:
    """Say that there are none."""
    return JSONResponse({"prefs": []})


@router.get(f"{API}/preference/stream/list")
def stream_preferences() -> Response:
    """Say that there are none."""
    return JSONResponse({"streamprefs": {}})


@router.get(f"{API}/subscription/list")
def list_subscriptions(request: Request) -> Response:
    """List the feeds."""
    with read(state(request).engine) as conn:
        found = [_subscription(feed) for feed in subscriptions.list_feeds(conn)]
    return JSONResponse({"subscriptions": found})


def _subscription(feed: dict[str, Any]) -> dict[str, Any]:
    folder = feed["folder"]
    return {
        "id": f"feed/{feed['id']}",
        "title": feed["title"] or feed["url"],
        "categories": [{"id": f"user/-/label/{folder}", "label": folder}] if folder else [],
        "url": feed["url"],
        "htmlUrl": feed["site_url"] or feed["url"],
        "iconUrl": feed["image"] or "",
    }


@router.get(f"{API}/subscription/export")
def export_subscriptions(request: Request) -> Response:
    """Return the feeds as OPML."""
    with read(state(request).engine) as conn:
        text = opml(subscriptions.list_feeds(conn), now=state(request).clock())
    return Response(text, media_type="text/x-opml; charset=utf-8")


@router.post(f"{API}/subscription/edit")
def edit_subscription(request: Request, given: Given) -> Response:
    """Follow feeds, leave them, give them another title or folder."""
    parts = state(request)
    folder = _label(given.get("a")) if given.get("a") else None
    with parts.engine.begin() as conn:
        for number, stream in enumerate(given.all("s")):
            title = given.all("t")[number].strip() if number < len(given.all("t")) else ""
            match given.get("ac"):
                case "subscribe":
                    _follow(request, conn, stream.removeprefix("feed/"), title=title or None, folder=folder)
                case "unsubscribe":
                    subscriptions.unsubscribe(conn, _feed_id(conn, stream))
                case "edit":
                    feed_id = _feed_id(conn, stream)
                    _edit(conn, feed_id, given, title=title, folder=folder, now=parts.clock())
                case other:
                    raise Problem(400, "invalid_request", f"“{other[:40]}” is no action on a subscription.")
    return PlainTextResponse(_OK)


def _follow(
    request: Request, conn: Connection, url: str, *, title: str | None = None, folder: str | None = None
) -> dict[str, Any]:
    parts = state(request)
    try:
        return subscriptions.subscribe(
            conn,
            url,
            now=parts.clock(),
            interval_seconds=parts.settings.feed_interval_seconds,
            title=title,
            folder=folder,
        )
    except ValueError as error:
        raise Problem(400, "invalid_url", str(error)) from None


def _edit(
    conn: Connection, feed_id: int, given: Params, *, title: str, folder: str | None, now: dt.datetime
) -> None:
    """Apply title and folder; a feed is in one folder, so adding one leaves the other."""
    values: dict[str, Any] = {"title": title} if title else {}
    feed = subscriptions.get(conn, feed_id) or {}
    if folder:
        values["folder"] = folder
    elif given.get("r") and _label(given.get("r")) == feed.get("folder"):
        values["folder"] = None
    subscriptions.update(conn, feed_id, values, now=now)


@router.post(f"{API}/subscription/quickadd")
def quick_add(request: Request, given: Given) -> Response:
    """Follow a feed, or the feed of a page."""
    url = given.get("quickadd").removeprefix("feed/").strip()
    url = url if "://" in url or url.startswith("feed:") else f"https://{url}"
    with state(request).engine.begin() as conn:
        feed = _follow(request, conn, url)
    return JSONResponse(
        {
            "numResults": 1,
            "query": feed["url"],
            "streamId": f"feed/{feed['id']}",
            "streamName": feed["title"] or feed["url"],
        }
    )


@router.get(f"{API}/tag/list")
def list_tags(request: Request) -> Response:
    """List labels: the folders of feeds, then the tags of items."""
    with read(state(request).engine) as conn:
        folders = [row["folder"] for row in subscriptions.folders(conn) if row["folder"]]
        names = [row["name"] for row in tags.counts(conn)]
    found: list[dict[str, Any]] = [{"id": "user/-/state/com.google/starred"}]
    found += [{"id": f"user/-/label/{name}", "type": "folder"} for name in folders]
    found += [{"id": f"user/-/label/{name}", "type": "tag"} for name in names if name not in folders]
    return JSONResponse({"tags": found})


@router.post(f"{API}/rename-tag")
def rename_tag(request: Request, given: Given) -> Response:
    """Rename a folder, or a tag."""
    _relabel(request, given.all("s")[:1], _label(given.get("dest")))
    return PlainTextResponse(_OK)


@router.post(f"{API}/disable-tag")
def disable_tag(request: Request, given: Given) -> Response:
    """Remove a folder, or a tag; feeds and items stay."""
    _relabel(request, given.all("s"), None)
    return PlainTextResponse(_OK)


def _relabel(request: Request, labels: Sequence[str], new: str | None) -> None:
    parts = state(request)
    with parts.engine.begin() as conn:
        for label in labels:
            old = _label(label)
            for feed in subscriptions.list_feeds(conn, folder=old):
                subscriptions.update(conn, feed["id"], {"folder": new}, now=parts.clock())
            for tag in tags.counts(conn):
                if tag["name"] == old and new is None:
                    tags.delete(conn, tag["id"])
                elif tag["name"] == old and new is not None:
                    tags.rename(conn, tag["id"], new)


@router.get(f"{API}/unread-count")
def unread_count(request: Request) -> Response:
    """Count what is unread: by feed, by folder, and all."""
    with read(state(request).engine) as conn:
        feeds = [feed for feed in subscriptions.list_feeds(conn) if feed["unread"]]
        newest = streams.newest(conn, [feed["id"] for feed in feeds])
    sums: dict[str, tuple[int, int]] = {}
    for feed in feeds:
        at = _microseconds(newest[feed["id"]]) if feed["id"] in newest else 0
        folder = [f"user/-/label/{feed['folder']}"] if feed["folder"] else []
        for stream in (f"feed/{feed['id']}", *folder, READING_LIST):
            count, latest = sums.get(stream, (0, 0))
            sums[stream] = count + feed["unread"], max(latest, at)
    found = [
        {"id": stream, "count": count, "newestItemTimestampUsec": str(latest)}
        for stream, (count, latest) in sums.items()
    ]
    return JSONResponse({"max": sums.get(READING_LIST, (0, 0))[0], "unreadcounts": found})


@router.api_route(f"{API}/stream/items/ids", methods=["GET", "POST"])
def item_ids(request: Request, given: Given) -> Response:
    """Return the ids of a stream, which clients compare with what they have."""
    limit = given.number("n", 20, most=MAX_IDS)
    with read(state(request).engine) as conn:
        rows = streams.ids(conn, _wanted(conn, given.all("s"), given, limit))
    refs = ",".join(  # thousands of objects that are all alike
        f'{{"id":"{row.id + OFFSET}","directStreamIds":[],"timestampUsec":"{_microseconds(row.added_at)}"}}'
        for row in rows[:limit]
    )
    more = json.dumps(_continuation([row.id for row in rows], limit))[1:]
    text = f'{{"itemRefs":[{refs}]{", " if more != "}" else ""}{more}'
    return Response(text, media_type="application/json")


@router.api_route(f"{API}/stream/items/count", methods=["GET", "POST"])
def item_count(request: Request, given: Given) -> Response:
    """Count a stream."""
    with read(state(request).engine) as conn:
        total = streams.count(conn, _wanted(conn, given.all("s"), given, 1).clauses)
    return PlainTextResponse(str(total))


@router.api_route(f"{API}/stream/items/contents", methods=["GET", "POST"])
def item_contents(request: Request, given: Given) -> Response:
    """Return items by id."""
    wanted = [found for found in map(_item_id, given.all("i")) if found is not None]
    with read(state(request).engine) as conn:
        found = streams.entries_of(conn, wanted[:MAX_ENTRIES])
    return _entries(request, READING_LIST, found, {})


@router.api_route(f"{API}/stream/contents", methods=["GET", "POST"])
@router.api_route(f"{API}/stream/contents/{{stream:path}}", methods=["GET", "POST"])
def stream_contents(request: Request, given: Given, stream: str = "") -> Response:
    """Return a stream with what is in it."""
    stream = stream or given.get("s") or READING_LIST
    found, more = _page(request, stream, given)
    return _entries(request, stream, found, more)


@router.get("/reader/atom/{stream:path}")
def stream_atom(request: Request, given: Given, stream: str = "") -> Response:
    """Return a stream as Atom, which newsboat reads."""
    found, _ = _page(request, stream or READING_LIST, given)
    rows = [(f"{ITEM}{row.id + OFFSET:016x}", row, _states(row)) for row in found]
    text = atom.feed(stream or READING_LIST, rows, state(request).clock())
    return Response(text, media_type="application/atom+xml; charset=utf-8")


def _page(request: Request, stream: str, given: Params) -> tuple[list[Entry], dict[str, str]]:
    limit = given.number("n", 20, most=MAX_ENTRIES)
    with read(state(request).engine) as conn:
        found = streams.entries(conn, _wanted(conn, [stream], given, limit))
    return found[:limit], _continuation([row.id for row in found], limit)


@router.post(f"{API}/edit-tag")
def edit_tag(request: Request, given: Given) -> Response:
    """Mark items as read, starred, or with a label; or not any more."""
    ids = [found for found in map(_item_id, given.all("i")) if found is not None]
    parts = state(request)
    now = parts.clock()
    with parts.engine.begin() as conn:
        for stream, is_added in [*((s, True) for s in given.all("a")), *((s, False) for s in given.all("r"))]:
            label, mark = _LABEL.fullmatch(stream), _STATE.fullmatch(stream)
            if label:
                change(conn, ids, {"add_tags" if is_added else "remove_tags": [label[1]]}, now=now)
            elif mark and mark[1] == "read":
                change(conn, ids, {"read": is_added}, now=now)
            elif mark and mark[1] == "kept-unread" and is_added:
                change(conn, ids, {"read": False}, now=now)
            elif mark and mark[1] == "starred":
                change(conn, ids, {"starred": is_added}, now=now)
    return PlainTextResponse(_OK)


@router.post(f"{API}/mark-all-as-read")
def mark_all_as_read(request: Request, given: Given) -> Response:
    """Mark a stream as read, up to a moment: what came since was not on the screen."""
    parts = state(request)
    now = parts.clock()
    with parts.engine.begin() as conn:
        clauses = _stream(conn, given.get("s") or READING_LIST)
        streams.mark_read(conn, clauses, until=_moment(given.get("ts")) or now, now=now)
    return PlainTextResponse(_OK)


# What a request means


def _wanted(conn: Connection, names: Sequence[str], given: Params, limit: int) -> Wanted:
    """Return which entries a request is about, and one more than it asks for."""
    clauses: list[Clause | sa.TextClause] = []
    for stream in [*names, *given.all("it")]:
        clauses += _stream(conn, stream)
    for stream in given.all("xt"):
        clauses += _without(conn, stream)
    if start := _moment(given.get("ot")):
        clauses.append(streams.since(start))
    if end := _moment(given.get("nt")):
        clauses.append(streams.until(end))
    return Wanted(
        clauses,
        oldest_first=given.get("r") == "o",
        beyond=row_number(given.get("c")),
        limit=limit + 1,
    )


def _stream(conn: Connection, name: str) -> list[Clause | sa.TextClause]:
    """Return the conditions of a stream. Raises Problem."""
    if name.startswith("feed/"):
        return [streams.of_feed(_feed_id(conn, name))]
    if label := _LABEL.fullmatch(name):
        return [streams.labelled(label[1])]
    found = _STATE.fullmatch(name)
    known: dict[str, list[Clause | sa.TextClause]] = {
        "reading-list": [],
        "read": [streams.READ],
        "starred": [streams.STARRED],
        "kept-unread": [streams.UNREAD],
        "unread": [streams.UNREAD],
        # What Google Reader had besides, and nobody here has anything of.
        "broadcast": [sa.false()],
        "like": [sa.false()],
    }
    if found is None or found[1] not in known:
        raise Problem(400, "invalid_stream", f"There is no stream “{name[:100]}”.")
    return known[found[1]]


def _without(conn: Connection, name: str) -> list[Clause | sa.TextClause]:
    """Return the conditions that leave a stream out."""
    found = _STATE.fullmatch(name)
    if found and found[1] == "read":
        return [streams.UNREAD]
    clauses = [clause for clause in _stream(conn, name) if not isinstance(clause, sa.TextClause)]
    if not clauses:  # all but what is unread, or but everything
        return [streams.READ] if found and found[1] != "reading-list" else [sa.false()]
    return [sa.not_(sa.and_(*clauses))]


def _feed_id(conn: Connection, stream: str) -> int:
    """Return the feed a stream names by number or address; 0, which is none, when it is not followed."""
    name = stream.removeprefix("feed/")
    if (found := row_number(name)) is not None:
        return found
    return next((feed["id"] for feed in subscriptions.list_feeds(conn) if feed["url"] == name), 0)


def _label(stream: str) -> str:
    found = _LABEL.fullmatch(stream)
    name = " ".join(found[1].split()) if found else ""
    if not name or len(name) > MAX_LABEL:
        raise Problem(400, "invalid_label", "A label is user/-/label/ and a name.")
    return name


def _item_id(text: str) -> int | None:
    """Read an id in any of its forms: long, decimal, or hexadecimal with and without zeros before it."""
    text = text.strip().removeprefix(ITEM)
    is_decimal = text.isascii() and text.isdigit() and not text.startswith("0")
    try:
        found = int(text, 10 if is_decimal else 16) - OFFSET
    except ValueError:
        return None
    return found if 0 < found <= MAX_ID else None


def _moment(text: str) -> dt.datetime | None:
    """Read a time given in seconds, with or without a fraction, or in thousandths or millionths of them."""
    try:
        seconds = float(text)
        seconds /= 1e6 if seconds > 1e14 else 1e3 if seconds > 1e11 else 1
        return dt.datetime.fromtimestamp(seconds, dt.UTC) if seconds > 0 else None
    except (ValueError, OverflowError, OSError):
        return None


# What an answer looks like


def _entries(request: Request, stream: str, found: Iterable[Entry], more: dict[str, str]) -> Response:
    now = int(state(request).clock().timestamp())
    return JSONResponse({"id": stream, "updated": now, "items": [_entry(row) for row in found], **more})


def _entry(row: Entry) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": f"{ITEM}{row.id + OFFSET:016x}",
        "crawlTimeMsec": str(_microseconds(row.added_at) // 1000),
        "timestampUsec": str(_microseconds(row.added_at)),
        "published": int((row.published_at or row.added_at).timestamp()),
        "updated": int((row.published_at or row.added_at).timestamp()),
        "title": row.title,
        "canonical": [{"href": row.url}],
        "alternate": [{"href": row.url, "type": "text/html"}],
        "summary": {"direction": "ltr", "content": row.html},
        "categories": _states(row),
        "origin": {"streamId": f"feed/{row.feed_id}", "title": row.feed_title, "htmlUrl": row.feed_site},
    }
    if row.author:
        found["author"] = row.author
    if enclosures := atom.enclosures(row):
        found["enclosure"] = enclosures
    return found


def _states(row: Entry) -> list[str]:
    found = [READING_LIST]
    found += ["user/-/state/com.google/read"] if row.is_read else []
    found += ["user/-/state/com.google/starred"] if row.is_starred else []
    labels = dict.fromkeys([*([row.folder] if row.folder else []), *row.tags])
    return found + [f"user/-/label/{name}" for name in labels]


def _continuation(ids: Sequence[int], limit: int) -> dict[str, str]:
    return {"continuation": str(ids[limit - 1])} if 0 < limit < len(ids) else {}


def _microseconds(moment: dt.datetime) -> int:
    return int(moment.timestamp() * 1_000_000)
