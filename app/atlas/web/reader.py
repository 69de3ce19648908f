"""An item: the article, or how far it has come, or why it has not; and what its reader does with it."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from atlas import dead_letters, deleting, highlights, items, library, tags, transcripts
from atlas.api.edge import policy, request_id
from atlas.api.state import state
from atlas.database.engine import read
from atlas.stages.table import DONE
from atlas.web.forms import Form
from atlas.web.page import back, found, keep, page, see
from atlas.web.render import web_link

router = APIRouter(include_in_schema=False)

_PLACE = re.compile(r"[01](\.\d{1,9})?", re.ASCII)


@router.get("/items/{item_id:row}")
def item(request: Request, item_id: int) -> Response:
    """Show an item: the article, or how far it has come, or why it has not."""
    parts = state(request)
    with read(parts.engine) as conn:
        row = found(items.get(conn, item_id))
        around = _around(conn, row)
    answer = page(request, "item.html", item=row, **around)
    media = row["media"] or {}
    if web_link(media.get("audio") or media.get("video")):
        answer.headers["Content-Security-Policy"] = policy(secure=parts.settings.secure_cookies, media=True)
    return keep(request, answer, row["title"] or row["url"]) if row["stage"] in DONE else answer


def _around(conn: Connection, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what stands around an item on its page."""
    item_id = row["id"]
    newer, older = items.neighbours(conn, item_id)
    return {
        "original": items.get(conn, row["duplicate_of"]) if row["duplicate_of"] else None,
        "newer": newer,
        "older": older,
        "history": items.history(conn, item_id),
        "tags": tags.of(conn, [item_id]).get(item_id, []),
        "highlights": highlights.of_item(conn, item_id),
        "sightings": items.sightings_of(conn, item_id),
        "archived": _archived(row),
        "keywords": row["keywords"] or [],
        "related": library.related(conn, item_id, limit=5),
        "transcript": transcripts.get(conn, item_id),
    }


def _archived(row: Mapping[str, Any]) -> str:
    """Return the address of the archive that a page was read from, "" when it was read where it is."""
    came_from = web_link(row["final_url"])
    hosts = (urlsplit(came_from).hostname or "", urlsplit(row["url"]).hostname or "")
    return came_from if hosts[0] == "web.archive.org" != hosts[1] else ""


@router.post("/items/{item_id:row}/read")
def mark_read(request: Request, item_id: int, form: Form) -> Response:
    """Note that an item was read; on to the library."""
    read_now = form.get("read") == "1"
    _change(request, item_id, {"read": read_now})
    return back(form, "/" if read_now else f"/items/{item_id}")


@router.post("/items/{item_id:row}/star")
def star(request: Request, item_id: int, form: Form) -> Response:
    """Star an item, or take its star."""
    _change(request, item_id, {"starred": form.get("star") == "1"})
    return back(form, f"/items/{item_id}")


@router.post("/items/{item_id:row}/progress")
def keep_place(request: Request, item_id: int, form: Form) -> Response:
    """Note how far an item was read."""
    place = form.get("progress", "")
    if _PLACE.fullmatch(place):
        _change(request, item_id, {"progress": float(place)})
    return Response(status_code=204)


@router.post("/items/{item_id:row}/note")
def note(request: Request, item_id: int, form: Form) -> Response:
    """Keep what its reader thinks of an item."""
    _change(request, item_id, {"note": form.get("note", "")})
    return see(f"/items/{item_id}#highlights")


@router.post("/items/{item_id:row}/tags")
def retag(request: Request, item_id: int, form: Form) -> Response:
    """Give an item these tags and no others."""
    _change(request, item_id, {"tags": form.get("tags", "").split(",")})
    return see(f"/items/{item_id}")


@router.post("/items/{item_id:row}/highlights")
def highlight(request: Request, item_id: int, form: Form) -> Response:
    """Mark a passage."""
    parts = state(request)
    with parts.engine.begin() as conn:
        made = highlights.create(
            conn,
            item_id,
            form.get("quote", ""),
            now=parts.clock(),
            prefix=form.get("prefix", ""),
            suffix=form.get("suffix", ""),
            note=form.get("note", ""),
        )
    return see(f"/items/{item_id}#mark-{found(made)['id']}")


@router.post("/items/{item_id:row}/highlights/{highlight_id:row}")
def change_highlight(request: Request, item_id: int, highlight_id: int, form: Form) -> Response:
    """Change the note of a highlight."""
    parts = state(request)
    with parts.engine.begin() as conn:
        found(highlights.update(conn, highlight_id, {"note": form.get("note", "")}, now=parts.clock()))
    return see(f"/items/{item_id}#highlight-{highlight_id}")


@router.post("/items/{item_id:row}/highlights/{highlight_id:row}/delete")
def remove_highlight(request: Request, item_id: int, highlight_id: int, form: Form) -> Response:  # noqa: ARG001
    """Take a highlight away."""
    with state(request).engine.begin() as conn:
        if not highlights.delete(conn, highlight_id):
            found(None)
    return see(f"/items/{item_id}#highlights")


@router.post("/items/{item_id:row}/delete")
def delete(request: Request, item_id: int, form: Form) -> Response:  # noqa: ARG001 - the form is its proof
    """Remove an item for good."""
    with state(request).engine.begin() as conn:
        if not deleting.remove(conn, item_id):
            found(None)
    return see("/")


@router.post("/items/{item_id:row}/retry")
def retry(request: Request, item_id: int, form: Form) -> Response:
    """Queue an item that had failed for good once more; one that had not is left alone."""
    parts = state(request)
    with parts.engine.begin() as conn:
        found(items.get(conn, item_id))
        dead_letters.retry(conn, item_id, now=parts.clock(), correlation_id=request_id(request))
    return back(form, f"/items/{item_id}")


def _change(request: Request, item_id: int, values: Mapping[str, Any]) -> None:
    """Change what its reader thinks of an item. Raises Problem when there is none."""
    parts = state(request)
    with parts.engine.begin() as conn:
        if not library.change(conn, [item_id], values, now=parts.clock()):
            found(None)
