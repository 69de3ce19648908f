"""The pages behind the login. Looking at one changes nothing; what does is a form (see `forms`)."""

import json
import re
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from atlas import __version__, accounts, items
from atlas.api.auth import principal
from atlas.api.errors import Problem
from atlas.api.saving import asked_for
from atlas.api.state import state
from atlas.database.engine import read
from atlas.search import search as find
from atlas.sources import subscriptions
from atlas.stages.table import Stage
from atlas.urls import InvalidUrl
from atlas.web.forms import Form
from atlas.web.words import STATES, find_url

router = APIRouter(include_in_schema=False)


class _RowId(Convertor[int]):
    """The number of a row: unlike Starlette's own `int`, never too long to be one."""

    regex = "[0-9]{1,18}"

    def convert(self, value: str) -> int:
        return int(value)

    def to_string(self, value: int) -> str:
        return str(value)


register_url_convertor("row", _RowId())

LIST_LIMIT = 40
SEARCH_LIMIT = 20
_SHA256 = re.compile("[0-9a-f]{64}")


def page(
    request: Request, template: str, *, here: str = "", status: int = 200, **context: object
) -> Response:
    """Render a page for whoever is logged in."""
    parts = state(request)
    who = principal(request)
    return parts.pages.answer(
        template, now=parts.clock(), secret=who.secret, here=here, status=status, user=who.name, **context
    )


def see(path: str) -> Response:
    """Send the browser on after a form."""
    return RedirectResponse(path, 303)


@router.get("/")
def library(request: Request) -> Response:
    """Show what there is, newest first."""
    chosen = STATES.get(request.query_params.get("state", ""), STATES[""])
    before, feed_id = _number(request, "before"), _number(request, "feed")
    with read(state(request).engine) as conn:
        feed = _feed(conn, feed_id) if feed_id is not None else None
        rows, following = items.list_items(
            conn, stage=chosen.stages, feed_id=feed_id, limit=LIST_LIMIT, cursor=before
        )
        tally = {
            key: items.count(conn, STATES[key].stages or ()) for key in ("waiting", "failed", "duplicate")
        }
    places = {"state": chosen.key, "feed": feed_id, "before": following}
    return page(
        request,
        "library.html",
        here="library",
        state=chosen,
        feed=feed,
        further=before is not None,
        rows=rows,
        older=urlencode({key: value for key, value in places.items() if value}) if following else "",
        tally=tally,
    )


@router.get("/items/{item_id:row}")
def item(request: Request, item_id: int) -> Response:
    """Show an item: the article, or how far it has come, or why it has not."""
    with read(state(request).engine) as conn:
        found = _found(items.get(conn, item_id))
        original = items.get(conn, found["duplicate_of"]) if found["duplicate_of"] else None
        newer, older = items.neighbours(conn, item_id)
        history = items.history(conn, item_id)
    return page(
        request, "item.html", item=found, original=original, newer=newer, older=older, history=history
    )


@router.post("/items/{item_id:row}/read")
def mark_read(request: Request, item_id: int, form: Form) -> Response:
    """Note that an item was read; on to the library."""
    read_now = form.get("read") == "1"
    parts = state(request)
    with parts.engine.begin() as conn:
        if not items.mark_read(conn, item_id, now=parts.clock(), read=read_now):
            _found(None)
    return see("/" if read_now else f"/items/{item_id}")


@router.post("/items/{item_id:row}/retry")
async def retry(request: Request, item_id: int, form: Form) -> Response:  # noqa: ARG001 - the form is its proof
    """Queue an item that had failed for good once more."""
    found = await run_in_threadpool(_get, request, item_id)
    if found["stage"] == Stage.PERMANENT_ERROR:
        await state(request).saver.add(asked_for(request, found["url"], found["title"]))
    return see(f"/items/{item_id}")


@router.get("/search")
def search(request: Request) -> Response:
    """Find what was read by the words in it."""
    q = request.query_params.get("q", "").strip()[:400]
    start = min(_number(request, "from") or 0, 100_000)
    with read(state(request).engine) as conn:
        total, hits = find(conn, q, limit=SEARCH_LIMIT, offset=start) if q else (0, [])
    return page(
        request, "search.html", here="search", q=q, total=total, hits=hits, offset=start, limit=SEARCH_LIMIT
    )


@router.get("/add")
def add_form(request: Request) -> Response:
    """Ask whether to save what a bookmarklet or a phone's share sheet sent here."""
    given = [request.query_params.get(name, "")[:4000] for name in ("url", "text", "title")]
    url, title = find_url(*given), given[2].strip()
    return page(request, "add.html", here="add", url=url, title="" if url in title else title, error="")


@router.post("/add")
async def add(request: Request, form: Form) -> Response:
    """Save a page and go where it will be seen to arrive, or say what is in the way."""
    typed, title = form.get("url", "").strip(), form.get("title", "").strip()
    try:
        added = await state(request).saver.add(asked_for(request, find_url(typed), title[:500] or None))
    except (InvalidUrl, Problem) as error:
        status = error.status if isinstance(error, Problem) else 422
        return page(request, "add.html", here="add", url=typed, title=title, error=str(error), status=status)
    return see(f"/items/{added.id}")


@router.get("/feeds")
def feeds(request: Request) -> Response:
    """Show the feeds and how they are."""
    return _feeds(request)


@router.post("/feeds")
def follow(request: Request, form: Form) -> Response:
    """Follow a feed."""
    typed = form.get("url", "").strip()
    parts = state(request)
    try:
        with parts.engine.begin() as conn:
            subscriptions.subscribe(
                conn,
                find_url(typed),
                now=parts.clock(),
                interval_seconds=parts.settings.feed_interval_seconds,
            )
    except InvalidUrl as error:
        return _feeds(request, url=typed, error=str(error), status=422)
    return see("/feeds")


@router.get("/settings")
def settings(request: Request) -> Response:
    """Show the ways in, the tokens and the sessions."""
    return _settings(request)


@router.post("/settings/tokens")
def create_token(request: Request, form: Form) -> Response:
    """Make a token and show it, this once."""
    name = form.get("name", "").strip()[:100] or "unnamed"
    parts, who = state(request), principal(request)
    with parts.engine.begin() as conn:
        plain = accounts.create_token(conn, accounts.User(who.user_id, who.name), name, parts.clock())
    return _settings(request, new_token=plain, new_token_name=name)


@router.post("/settings/tokens/{token_id:row}/revoke")
def revoke_token(request: Request, token_id: int, form: Form) -> Response:  # noqa: ARG001
    """Make a token worthless, at once."""
    parts = state(request)
    with parts.engine.begin() as conn:
        accounts.revoke_token(conn, token_id, parts.clock(), actor=principal(request).name)
    parts.tokens.forget()
    return see("/settings#tokens")


@router.post("/settings/sessions/{key}/revoke")
def end_session(request: Request, key: str, form: Form) -> Response:  # noqa: ARG001
    """Log a browser out from afar."""
    parts, who = state(request), principal(request)
    if not _SHA256.fullmatch(key):
        raise Problem(404, "not_found", "There is no such session.")
    with parts.engine.begin() as conn:
        accounts.end_session(conn, who.user_id, key, parts.clock(), actor=who.name)
    return see("/settings#sessions")


def _feeds(request: Request, *, url: str = "", error: str = "", status: int = 200) -> Response:
    with read(state(request).engine) as conn:
        rows = subscriptions.list_feeds(conn)
    return page(request, "feeds.html", here="feeds", feeds=rows, url=url, error=error, status=status)


def _settings(request: Request, *, new_token: str = "", new_token_name: str = "") -> Response:
    parts, who = state(request), principal(request)
    with read(parts.engine) as conn:
        tokens = accounts.list_tokens(conn)
        sessions = accounts.list_sessions(conn, who.user_id, parts.clock())
    return page(
        request,
        "settings.html",
        here="settings",
        version=__version__,
        public_url=parts.settings.public_url,
        bookmarklet=_bookmarklet(parts.settings.public_url),
        tokens=tokens,
        sessions=sessions,
        current=accounts.digest(who.secret),
        new_token=new_token,
        new_token_name=new_token_name,
    )


def _bookmarklet(public_url: str) -> str:
    """Return a link that opens our form with the page it is clicked on; saving is one more Enter."""
    target = json.dumps(f"{public_url}/add?url=")
    return (
        f"javascript:(()=>{{const e=encodeURIComponent;open({target}+e(location.href)"
        "+'&title='+e(document.title),'_blank','width=560,height=520')})()"
    )


def _feed(conn: Connection, feed_id: int) -> dict[str, Any]:
    return _found(next((feed for feed in subscriptions.list_feeds(conn) if feed["id"] == feed_id), None))


def _number(request: Request, name: str) -> int | None:
    """Return a number from the query; None when there is none, or none that could be an id."""
    text = request.query_params.get(name, "")
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else None


def _get(request: Request, item_id: int) -> dict[str, Any]:
    with read(state(request).engine) as conn:
        return _found(items.get(conn, item_id))


def _found(row: dict[str, Any] | None) -> dict[str, Any]:
    if row is None:
        raise Problem(404, "not_found", "There is nothing with this number.")
    return row
