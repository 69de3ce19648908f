"""An item: the article, or how far it has come, or why it has not; and what its reader does with it."""

from typing import Any

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from atlas import items, tags
from atlas.api.edge import policy
from atlas.api.saving import asked_for
from atlas.api.state import state
from atlas.database.engine import read
from atlas.stages.table import DONE, Stage
from atlas.web.forms import Form
from atlas.web.page import back, found, keep, page
from atlas.web.render import web_link

router = APIRouter(include_in_schema=False)


@router.get("/items/{item_id:row}")
def item(request: Request, item_id: int) -> Response:
    """Show an item: the article, or how far it has come, or why it has not."""
    parts = state(request)
    with read(parts.engine) as conn:
        row = found(items.get(conn, item_id))
        original = items.get(conn, row["duplicate_of"]) if row["duplicate_of"] else None
        newer, older = items.neighbours(conn, item_id)
        history = items.history(conn, item_id)
        tagged = tags.of(conn, [item_id]).get(item_id, [])
    answer = page(
        request,
        "item.html",
        item=row,
        original=original,
        newer=newer,
        older=older,
        history=history,
        tags=tagged,
    )
    media = row["media"] or {}
    if web_link(media.get("audio") or media.get("video")):
        answer.headers["Content-Security-Policy"] = policy(secure=parts.settings.secure_cookies, media=True)
    return keep(request, answer, row["title"] or row["url"]) if row["stage"] in DONE else answer


@router.post("/items/{item_id:row}/read")
def mark_read(request: Request, item_id: int, form: Form) -> Response:
    """Note that an item was read; on to the library."""
    read_now = form.get("read") == "1"
    parts = state(request)
    with parts.engine.begin() as conn:
        if not items.mark_read(conn, item_id, now=parts.clock(), read=read_now):
            found(None)
    return back(form, "/" if read_now else f"/items/{item_id}")


@router.post("/items/{item_id:row}/retry")
async def retry(request: Request, item_id: int, form: Form) -> Response:
    """Queue an item that had failed for good once more."""
    row = await run_in_threadpool(_get, request, item_id)
    if row["stage"] == Stage.PERMANENT_ERROR:
        await state(request).saver.add(asked_for(request, row["url"], row["title"]))
    return back(form, f"/items/{item_id}")


def _get(request: Request, item_id: int) -> dict[str, Any]:
    with read(state(request).engine) as conn:
        return found(items.get(conn, item_id))
