"""Ways in for a person: an address, a note, a piece of a page, files, a page as the browser shows it.

What a bookmarklet or a phone sends here is shown in a form first: nothing is kept before its owner says so.
"""

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from atlas import items
from atlas.api.edge import request_id
from atlas.api.errors import Problem
from atlas.api.saving import asked_for
from atlas.api.state import state
from atlas.database.engine import read
from atlas.items import Added, New
from atlas.sources import handed
from atlas.sources.handed import Refused
from atlas.urls import InvalidUrl
from atlas.web.failed import pasted
from atlas.web.forms import Form, SentForm
from atlas.web.page import found, number, page, see
from atlas.web.words import find_url

router = APIRouter(include_in_schema=False)

#: What goes wrong with what a person hands in; the message is for that person.
_TROUBLES = (InvalidUrl, Refused, Problem)
_SHARED = 20_000


@router.get("/add")
def add_form(request: Request) -> Response:
    """Ask whether to save what a bookmarklet or a phone's share sheet sent here."""
    given = request.query_params
    url, text, title = (given.get(name, "")[:_SHARED].strip() for name in ("url", "text", "title"))
    address = find_url(url, text, title)
    if text and not address.startswith(("http://", "https://")):  # words without an address are a note
        return page(request, "note.html", here="add", item=None, title=title, text=text, tags="", error="")
    return page(
        request,
        "add.html",
        here="add",
        url=address,
        title="" if address in title else title,
        tags="",
        text="" if text.replace(address, "").strip() in ("", title) else text,
        error="",
    )


@router.post("/add")
async def add(request: Request, form: Form) -> Response:
    """Save a page and go where it will be seen to arrive, or say what is in the way."""
    typed, title = form.get("url", "").strip(), form.get("title", "").strip()

    def make() -> New:
        return _ours(asked_for(request, find_url(typed), title[:500] or None), form)

    again = {"url": typed, "title": title, "tags": form.get("tags", ""), "text": ""}
    return await _kept(request, make, "add.html", again)


@router.get("/add/note")
def note_form(request: Request) -> Response:
    """Ask for a note."""
    text, title = (request.query_params.get(name, "")[:_SHARED] for name in ("text", "title"))
    return page(request, "note.html", here="add", item=None, title=title, text=text, tags="", error="")


@router.post("/add/note")
async def add_note(request: Request, form: Form) -> Response:
    """Keep a note."""
    parts = state(request)

    def make() -> New:
        note = handed.note(
            parts.settings.data_dir,
            form.get("text", ""),
            now=parts.clock(),
            correlation_id=request_id(request),
            key=secrets.token_hex(16),
            title=form.get("title") or None,
        )
        return _ours(note, form)

    again = {"item": None, **{name: form.get(name, "") for name in ("title", "text", "tags")}}
    return await _kept(request, make, "note.html", again)


@router.get("/items/{item_id:row}/edit")
def edit_form(request: Request, item_id: int) -> Response:
    """Show a note to be changed."""
    parts = state(request)
    with read(parts.engine) as conn:
        item = found(items.get(conn, item_id))
    if not handed.is_note(item):
        found(None)
    text = handed.note_text(parts.settings.data_dir, item)
    return page(
        request, "note.html", here="library", item=item, title=item["title"] or "", text=text, error=""
    )


@router.post("/items/{item_id:row}/edit")
def edit(request: Request, item_id: int, form: Form) -> Response:
    """Give a note another text; what it said before is kept."""
    parts = state(request)
    text, title = form.get("text", ""), form.get("title", "")
    with read(parts.engine) as conn:
        item = found(items.get(conn, item_id))
    try:
        with parts.engine.begin() as conn:
            changed = handed.edit_note(
                conn,
                parts.settings.data_dir,
                item_id,
                text,
                now=parts.clock(),
                correlation_id=request_id(request),
                title=title if title != (item["title"] or "") else None,
            )
    except Refused as error:
        return page(
            request,
            "note.html",
            here="library",
            item=item,
            title=title,
            text=text,
            error=str(error),
            status=422,
        )
    if not changed:
        found(None)
    return see(f"/items/{item_id}")


@router.get("/add/text")
def text_form(request: Request) -> Response:
    """Ask whether to keep a piece of a page."""
    asked = {name: request.query_params.get(name, "")[:_SHARED] for name in ("url", "text", "title")}
    return page(
        request,
        "text.html",
        here="add",
        url=asked["url"],
        text=asked["text"],
        title=asked["title"],
        tags="",
        error="",
    )


@router.post("/add/text")
async def add_text(request: Request, form: Form) -> Response:
    """Keep a piece of a page, as a note that says where it is from."""
    parts = state(request)

    def make() -> New:
        piece = handed.selection(
            parts.settings.data_dir,
            find_url(form.get("url", "")),
            now=parts.clock(),
            correlation_id=request_id(request),
            text=form.get("text", ""),
            title=form.get("title") or None,
        )
        return _ours(piece, form)

    again = {name: form.get(name, "") for name in ("url", "title", "text", "tags")}
    return await _kept(request, make, "text.html", again)


@router.get("/add/files")
def files_form(request: Request) -> Response:
    """Ask for files."""
    return page(request, "files.html", here="add", results=(), error="")


@router.post("/add/files")
async def add_files(request: Request, sent: SentForm) -> Response:
    """Keep files, each an item of its own; say of each what became of it."""
    parts = state(request)
    results: list[tuple[str, Added | None, str]] = []
    for file in sent.files:
        name, raw, kind = file.filename or "", await file.read(), file.content_type or ""

        def make(name: str = name, raw: bytes = raw, kind: str = kind) -> New:
            handed_in = handed.file(
                parts.settings.data_dir,
                name,
                raw,
                now=parts.clock(),
                correlation_id=request_id(request),
                content_type=kind,
            )
            return _ours(handed_in, sent.fields, source="file")

        try:
            results.append((name, await _add(request, make), ""))
        except _TROUBLES as error:
            results.append((name, None, str(error)))
    if len(results) == 1 and results[0][1]:
        return see(f"/items/{results[0][1].id}")
    said, status = ("", 200) if results else ("Choose a file first.", 422)
    return await run_in_threadpool(
        page, request, "files.html", here="add", results=results, error=said, status=status
    )


@router.get("/add/paste")
def paste_form(request: Request) -> Response:
    """Ask for a page as a browser shows it: pasted, or handed over by the bookmarklet."""
    url, title = (request.query_params.get(name, "")[:_SHARED] for name in ("url", "title"))
    item_id = number(request, "item")
    if item_id is not None:
        with read(state(request).engine) as conn:
            item = found(items.get(conn, item_id))
        url, title = item["url"], item["title"] or ""
    answer = page(request, "paste.html", here="add", url=url, title=title, tags="", error="")
    # The page that the bookmarklet was clicked on speaks to this one, and must know it therefore. All it can
    # do is to fill in the form.
    answer.headers["Cross-Origin-Opener-Policy"] = "unsafe-none"
    return answer


@router.post("/add/paste")
async def add_paste(request: Request, sent: SentForm) -> Response:
    """Keep a page as it was pasted, as the article of its address."""
    parts, form = state(request), sent.fields

    def make() -> New:
        whole = handed.page(
            parts.settings.data_dir,
            find_url(form.get("url", "")),
            pasted(sent),
            correlation_id=request_id(request),
            title=form.get("title") or None,
        )
        return _ours(whole, form)

    again = {name: form.get(name, "") for name in ("url", "title", "tags")}
    return await _kept(request, make, "paste.html", again)


def bookmarklets(public_url: str) -> dict[str, str]:
    """Return links to be kept as bookmarks: they open our forms with the page they are clicked on.

    One sends the address and what is selected; the other the whole page as the browser shows it.
    """
    ours, form, paste = (json.dumps(public_url + path) for path in ("", "/add", "/add/paste"))
    head = (
        "javascript:(()=>{const e=encodeURIComponent,q='?url='+e(location.href)+'&title='+e(document.title)"
    )
    return {
        "page": f"{head},t=String(getSelection()).slice(0,4000);"
        f"open({form}+(t?'/text':'')+q+(t?'&text='+e(t):''),'_blank','width=560,height=640')}})()",
        "seen": f"{head},w=open({paste}+q,'_blank');"
        f"addEventListener('message',m=>{{if(m.source===w&&m.origin==={ours})"
        f"w.postMessage({{atlas:document.documentElement.outerHTML}},{ours})}})}})()",
    }


def _ours(new: New, form: Mapping[str, str], *, source: str = "web") -> New:
    """Return what a form adds, with the tags that were typed beside it."""
    return replace(new, source=source, tags=(*new.tags, *form.get("tags", "").split(",")))


async def _add(request: Request, make: Callable[[], New]) -> Added:
    return await state(request).saver.add(await run_in_threadpool(make))


async def _kept(
    request: Request, make: Callable[[], New], template: str, again: Mapping[str, object]
) -> Response:
    """Add what `make` returns and go where it will be seen to arrive; show the form again if it cannot be."""
    try:
        added = await _add(request, make)
    except _TROUBLES as error:
        status = error.status if isinstance(error, Problem) else 422
        return await run_in_threadpool(
            page, request, template, here="add", error=str(error), status=status, **again
        )
    return see(f"/items/{added.id}")
