"""Dead letters: what could not be saved, why, and the ways out of there."""

from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from atlas import dead_letters, items
from atlas.api.edge import request_id
from atlas.api.state import state
from atlas.database.engine import read
from atlas.web.forms import Form, Sent, SentForm
from atlas.web.page import back, found, number, numbers, page, see

router = APIRouter(include_in_schema=False)

LIST_LIMIT = 30


@router.get("/failed")
def failed(request: Request) -> Response:
    """Show what failed, or what of it was set aside, by reason if one is asked for."""
    aside = request.query_params.get("aside") == "yes"
    code = request.query_params.get("reason", "")[:100] or None
    with read(state(request).engine) as conn:
        rows, following = dead_letters.list_dead(
            conn, code=code, ignored=aside, limit=LIST_LIMIT, cursor=number(request, "before")
        )
        reasons = dead_letters.reasons(conn, ignored=aside)
        any_aside = aside or bool(dead_letters.reasons(conn, ignored=True))
    places = {"aside": "yes" if aside else "", "reason": code or "", "before": following or ""}
    return page(
        request,
        "failed.html",
        here="library",
        rows=rows,
        reasons=reasons,
        code=code,
        aside=aside,
        any_aside=any_aside,
        older=urlencode({name: value for name, value in places.items() if value}) if following else "",
    )


@router.post("/failed/retry")
def retry_all(request: Request, form: Form) -> Response:
    """Try everything again that failed for one reason, or for any."""
    parts = state(request)
    with read(parts.engine) as conn:
        reasons = [form["reason"]] if form.get("reason") else list(dead_letters.reasons(conn))
    for code in reasons:
        dead_letters.retry_all(parts.engine, code=code, now=parts.clock(), correlation_id=request_id(request))
    return see("/failed")


@router.post("/failed/{item_id:row}/aside")
def set_aside(request: Request, item_id: int, form: Form) -> Response:
    """Set a dead letter aside, or bring it back."""
    parts = state(request)
    with parts.engine.begin() as conn:
        if not dead_letters.ignore(conn, item_id, now=parts.clock(), ignored=form.get("aside") == "1"):
            found(None)
    return back(form, "/failed")


@router.get("/failed/{item_id:row}/content")
def content_form(request: Request, item_id: int) -> Response:
    """Ask for the text of what could not be fetched."""
    return _content(request, item_id)


@router.post("/failed/content")
def content(request: Request, sent: SentForm) -> Response:
    """Go on with a text or page that was handed in."""
    parts = state(request)
    (item_id, *_) = numbers(sent.fields.get("item", "")) or [0]
    markup = pasted(sent)
    if not markup:
        return _content(request, item_id, error="There is no text in it.", status=422)
    done = dead_letters.give_content(
        parts.engine,
        parts.settings.data_dir,
        item_id,
        markup,
        now=parts.clock(),
        correlation_id=request_id(request),
    )
    if not done:
        return _content(request, item_id, error="It can be read already; nothing was changed.", status=409)
    return see(f"/items/{item_id}")


def pasted(sent: Sent) -> str:
    """Return what was pasted as HTML, "" when that is nothing; plain text gets its paragraphs."""
    text = sent.fields.get("content", "")
    if not text.strip():
        return ""
    return text if "</" in text else dead_letters.html_of_text(text)


def _content(request: Request, item_id: int, **more: Any) -> Response:  # noqa: ANN401 - error and status
    with read(state(request).engine) as conn:
        item = found(items.get(conn, item_id))
    return page(request, "content.html", here="library", item=item, **{"error": "", **more})
