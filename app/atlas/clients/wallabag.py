"""The wallabag API (version 2): apps for Android and iOS, KOReader and other readers, browser extensions.

It shows what was saved (see `kept`). Archived is read, starred is starred. The id and secret of a client,
which wallabag wants besides name and password, may be anything. Addresses work with `.json` and without.
"""

import datetime as dt
import html
import re
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlencode

from fastapi import APIRouter
from sqlalchemy.engine import Connection
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from atlas import accounts, deleting, tags
from atlas.api.auth import principal
from atlas.api.edge import request_id
from atlas.api.errors import Problem
from atlas.api.state import state
from atlas.clients import annotations, kept
from atlas.clients.kept import Wanted
from atlas.clients.logins import agent_of, who_logs_in
from atlas.clients.params import Given, Params
from atlas.database.dialect import MAX_ID
from atlas.database.engine import read
from atlas.export.epub import TYPE as EPUB
from atlas.export.epub import epub
from atlas.export.selection import Selection, rows
from atlas.items import Lane, New
from atlas.library import change
from atlas.sources import handed
from atlas.urls import InvalidUrl, normalise

router = APIRouter(include_in_schema=False, prefix="/wallabag")

#: What clients are told they talk to: the last version whose API this is.
VERSION = "2.6.9"
ACCESS_SECONDS = 3600
REFRESH_SECONDS = 14 * 86_400
MAX_PER_PAGE = 500
#: Addresses that may be asked after in one request.
MAX_URLS = 1_000
WORDS_A_MINUTE = 200

_Route = TypeVar("_Route", bound=Callable[..., Any])


def _route(method: str, path: str) -> Callable[[_Route], _Route]:
    """Register a route with and without `.json` at its end."""

    def register(function: _Route) -> _Route:
        for suffix in ("", ".json"):
            router.add_api_route(path + suffix, function, methods=[method])
        return function

    return register


# Logging in


@router.post("/oauth/v2/token")
def token(request: Request, given: Given) -> Response:
    """Give a client a token for name and password, or another one in time."""
    match given.get("grant_type"):
        case "password":
            return _by_password(request, given)
        case "refresh_token":
            return _by_refresh(request, given.get("refresh_token"))
        case _:
            raise Problem(400, "unsupported_grant_type", "Use password or refresh_token as grant_type.")


def _by_password(request: Request, given: Params) -> Response:
    parts = state(request)
    found = who_logs_in(request, given.get("username"), given.get("password"))
    if found is None:
        raise Problem(400, "invalid_grant", "Invalid username and password combination")
    user, own = found
    if own is not None:  # a token used as password stands for itself, and is revoked where it is listed
        return _tokens(own, own)
    with parts.engine.begin() as conn:
        return _tokens(*_login(conn, user, f"wallabag: {agent_of(request)}", parts.clock()))


def _by_refresh(request: Request, plain: str) -> Response:
    parts = state(request)
    with parts.engine.begin() as conn:
        found = accounts.use_refresh(conn, plain, parts.clock())
        if found is not None:
            user, name, _ = found
            return _tokens(*_login(conn, user, name, parts.clock()))
        if accounts.check_token(conn, plain, parts.clock()) is not None:
            return _tokens(plain, plain)
    raise Problem(400, "invalid_grant", "Refresh token has expired")


def _login(conn: Connection, user: accounts.User, name: str, now: dt.datetime) -> tuple[str, str]:
    return accounts.create_login(
        conn, user, name, now, seconds=ACCESS_SECONDS, refresh_seconds=REFRESH_SECONDS
    )


def _tokens(access: str, refresh: str) -> Response:
    return JSONResponse(
        {
            "access_token": access,
            "expires_in": ACCESS_SECONDS,
            "token_type": "bearer",
            "scope": None,
            "refresh_token": refresh,
        }
    )


@_route("GET", "/api/version")
def version() -> Response:
    """Say which wallabag this is like."""
    return JSONResponse(VERSION)


@_route("GET", "/api/info")
def info() -> Response:
    """Say which wallabag this is like, at more length."""
    return JSONResponse({"appname": "wallabag", "version": VERSION, "allowed_registration": False})


@_route("GET", "/api/user")
def user(request: Request) -> Response:
    """Say whose account it is."""
    who = principal(request)
    return JSONResponse({"id": who.user_id, "username": who.name, "name": who.name, "email": who.name})


# Entries


@_route("GET", "/api/entries/exists")
def exists(request: Request, given: Given) -> Response:
    """Say which addresses, or SHA-1 sums of addresses, are saved here."""
    urls = [*given.all("urls[]"), *given.all("urls")][:MAX_URLS]
    hashes = [*given.all("hashed_urls[]"), *given.all("hashed_urls")][:MAX_URLS]
    alone = given.get("url") or given.get("hashed_url")
    wanted = [*urls, *given.all("url")]
    with read(state(request).engine) as conn:
        keys = {url: _key(url) for url in wanted}
        there = kept.by_key(conn, list(keys.values()))
        found = {url: there.get(key) for url, key in keys.items()}
        if hashes or given.get("hashed_url"):
            sums = {*hashes, *given.all("hashed_url")}
            by_hash = kept.by_hash(conn, sums)
            found |= {name: by_hash.get(name) for name in sums}
    shown = found if given.flag("return_id") else {name: one is not None for name, one in found.items()}
    if alone and not urls and not hashes:
        # Asked by both, the sum is for servers that would not have the address written into a log.
        both = [shown.get(name) for name in (given.get("url"), given.get("hashed_url")) if name in shown]
        return JSONResponse({"exists": next((one for one in both if one), both[0])})
    return JSONResponse(shown)


def _key(url: str) -> str:
    try:
        return normalise(url)[1]
    except InvalidUrl:
        return ""


@_route("GET", "/api/entries")
def list_entries(request: Request, given: Given) -> Response:
    """List what was saved, in pages; beyond the last there is none (404), by which clients know the end."""
    since = given.number("since", 0, most=2**33)
    wanted = Wanted(
        archived=given.flag("archive"),
        starred=given.flag("starred"),
        tags=_names(given.get("tags")),
        since=dt.datetime.fromtimestamp(since, dt.UTC) if since else None,
        host=given.get("domain_name").lower(),
        sort=given.get("sort", "created").lower(),
        order="asc" if given.get("order").lower() == "asc" else "desc",
    )
    size = max(1, given.number("perPage", 30, most=MAX_PER_PAGE))
    number = max(1, given.number("page", 1, most=2**31))
    with read(state(request).engine) as conn:
        total = kept.total(conn, wanted)
        pages = max(1, -(-total // size))
        if number > pages:
            raise Problem(404, "not_found", f"There is no page {number}; the last is {pages}.")
        page = kept.page(conn, wanted, number=number, size=size, full=given.get("detail") != "metadata")
    found = [_entry(request, row) for row in page]
    links = {"self": number, "first": 1, "last": pages}
    links |= {"next": number + 1} if number < pages else {}
    links |= {"previous": number - 1} if number > 1 else {}
    return JSONResponse(
        {
            "page": number,
            "limit": size,
            "pages": pages,
            "total": total,
            "_links": {name: {"href": _link(request, page)} for name, page in links.items()},
            "_embedded": {"items": found},
        }
    )


def _link(request: Request, page: int) -> str:
    query = [(name, value) for name, value in request.query_params.multi_items() if name != "page"]
    base = state(request).settings.public_url
    return f"{base}{request.url.path}?{urlencode([*query, ('page', page)])}"


@_route("POST", "/api/entries")
async def add_entry(request: Request, given: Given) -> Response:
    """Save a page: to be fetched, or with the content the client has of it."""
    try:
        new = await run_in_threadpool(_new, request, given)
        added = await state(request).saver.add(new)
    except (InvalidUrl, handed.Refused) as error:
        raise Problem(400, "invalid_url", str(error)) from None
    item_id = added.duplicate_of or added.id
    return await run_in_threadpool(_change, request, item_id, given, adding=True)


def _new(request: Request, given: Params) -> New:
    url, title, content = given.get("url").strip(), given.get("title").strip()[:500], given.get("content")
    names = tuple(_names(given.get("tags")))
    if content.strip() and title:
        data_dir = state(request).settings.data_dir
        return handed.page(
            data_dir,
            url,
            content,
            correlation_id=request_id(request),
            title=title,
            tags=names,
            source="client",
        )
    return New(url, request_id(request), title=title or None, lane=Lane.NOW, source="client", tags=names)


@_route("GET", "/api/entries/{entry_id:row}")
def get_entry(request: Request, entry_id: int) -> Response:
    """Return an entry."""
    with read(state(request).engine) as conn:
        return JSONResponse(_entry(request, _found(conn, entry_id)))


@router.get("/api/entries/{entry_id:row}/export.epub")
def export_entry(request: Request, entry_id: int) -> Response:
    """Return an entry as a book, as e-readers take it."""
    parts = state(request)
    with read(parts.engine) as conn:
        title = _found(conn, entry_id)["title"] or "Atlas"
    selected = rows(parts.engine, Selection(ids=(entry_id,)), content=True)
    return StreamingResponse(epub(selected, title=title, now=parts.clock()), media_type=EPUB)


@_route("PATCH", "/api/entries/{entry_id:row}")
def change_entry(request: Request, entry_id: int, given: Given) -> Response:
    """Archive, star, tag or rename an entry."""
    return _change(request, entry_id, given, adding=False)


def _change(request: Request, entry_id: int, given: Params, *, adding: bool) -> Response:
    values: dict[str, Any] = {}
    if (archived := given.flag("archive")) is not None and (archived or not adding):
        values["read"] = archived
    if (starred := given.flag("starred")) is not None and (starred or not adding):
        values["starred"] = starred
    if not adding:
        values |= {"title": given.get("title")} if given.get("title").strip() else {}
        values |= {"tags": _names(given.get("tags"))} if "tags" in given else {}
    parts = state(request)
    with parts.engine.begin() as conn:
        _found(conn, entry_id)
        change(conn, [entry_id], values, now=parts.clock())
        return JSONResponse(_entry(request, _found(conn, entry_id)))


@_route("DELETE", "/api/entries/{entry_id:row}")
def remove_entry(request: Request, entry_id: int, given: Given) -> Response:
    """Remove an entry for good."""
    with state(request).engine.begin() as conn:
        row = _found(conn, entry_id)
        deleting.remove(conn, entry_id)
    return JSONResponse({"id": entry_id} if given.get("expect") == "id" else _entry(request, row))


# Tags


@_route("GET", "/api/tags")
def list_tags(request: Request) -> Response:
    """List all tags."""
    with read(state(request).engine) as conn:
        found = tags.counts(conn)
    return JSONResponse([{**_tag(row["id"], row["name"]), "nbEntries": row["items"]} for row in found])


@_route("DELETE", "/api/tag/label")
@_route("DELETE", "/api/tags/label")
def remove_tags_by_name(request: Request, given: Given) -> Response:
    """Take tags from all items, by name."""
    wanted = tags.clean(_names(given.get("tag") or given.get("tags")))
    with state(request).engine.begin() as conn:
        found = [row for row in tags.counts(conn) if tags.clean([row["name"]]).keys() <= wanted.keys()]
        for row in found:
            tags.delete(conn, row["id"])
    if not found:
        raise Problem(404, "not_found", "Tag not found")
    shown = [_tag(row["id"], row["name"]) for row in found]
    return JSONResponse(shown if "tags" in given else shown[0])


@_route("DELETE", "/api/tags/{tag_id:row}")
def remove_tag(request: Request, tag_id: int) -> Response:
    """Take a tag from all items."""
    with state(request).engine.begin() as conn:
        name = next((row["name"] for row in tags.counts(conn) if row["id"] == tag_id), None)
        if name is None:
            raise Problem(404, "not_found", "Tag not found")
        tags.delete(conn, tag_id)
    return JSONResponse(_tag(tag_id, name))


@_route("GET", "/api/entries/{entry_id:row}/tags")
def tags_of_entry(request: Request, entry_id: int) -> Response:
    """List the tags of an entry."""
    with read(state(request).engine) as conn:
        return JSONResponse([_tag(*one) for one in _found(conn, entry_id)["tags"]])


@_route("POST", "/api/entries/{entry_id:row}/tags")
def tag_entry(request: Request, entry_id: int, given: Given) -> Response:
    """Give an entry further tags."""
    parts = state(request)
    with parts.engine.begin() as conn:
        _found(conn, entry_id)
        change(conn, [entry_id], {"add_tags": _names(given.get("tags"))}, now=parts.clock())
        return JSONResponse(_entry(request, _found(conn, entry_id)))


@_route("DELETE", "/api/entries/{entry_id:row}/tags/{tag_id:row}")
def untag_entry(request: Request, entry_id: int, tag_id: int) -> Response:
    """Take a tag from an entry."""
    parts = state(request)
    with parts.engine.begin() as conn:
        names = [name for number, name in _found(conn, entry_id)["tags"] if number == tag_id]
        change(conn, [entry_id], {"remove_tags": names}, now=parts.clock())
        return JSONResponse(_entry(request, _found(conn, entry_id)))


# What an entry looks like


def _found(conn: Connection, entry_id: int) -> dict[str, Any]:
    row = kept.get(conn, entry_id) if 0 < entry_id <= MAX_ID else None
    if row is None:
        raise Problem(404, "not_found", f"There is no entry {entry_id}.")
    return row


def _entry(request: Request, row: dict[str, Any]) -> dict[str, Any]:
    who = principal(request)
    url, given_url = row["final_url"] or row["url"], row["url"]
    return {
        "id": row["id"],
        "uid": None,
        "url": url,
        "given_url": given_url,
        "hashed_url": kept.sha1(url),
        "hashed_given_url": kept.sha1(given_url),
        "title": row["title"] or given_url,
        "content": _content(row),
        "is_archived": int(row["read_at"] is not None),
        "archived_at": _time(row["read_at"]),
        "is_starred": int(row["starred_at"] is not None),
        "starred_at": _time(row["starred_at"]),
        "is_public": False,
        "user_id": who.user_id,
        "user_name": who.name,
        "user_email": who.name,
        "created_at": _time(row["added_at"]),
        "updated_at": _time(row["changed_at"]),
        "published_at": _time(row["published_at"]),
        "published_by": [row["byline"]] if row["byline"] else [],
        "tags": [_tag(*one) for one in row["tags"]],
        "annotations": [annotations.shown(one, who.name) for one in row["annotations"]],
        "mimetype": row["original_type"] or "text/html",
        "language": row["language"],
        "reading_time": round((row["word_count"] or 0) / WORDS_A_MINUTE),
        "domain_name": row["host"],
        "preview_picture": row["image"],
        "origin_url": None,
        "http_status": None,
        "headers": None,
        "_links": {"self": {"href": f"/wallabag/api/entries/{row['id']}"}},
    }


def _content(row: dict[str, Any]) -> str:
    """Return what there is to read, or why there is nothing yet."""
    if row["html"]:
        return str(row["html"])
    if row["error"]:
        return f"<p>{html.escape(row['error']['message'])}</p>"
    return ""


def _tag(tag_id: int, name: str) -> dict[str, Any]:
    return {"id": tag_id, "label": name, "slug": re.sub(r"\W+", "-", name.lower()).strip("-") or str(tag_id)}


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _time(moment: dt.datetime | None) -> str | None:
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S+0000") if moment else None
