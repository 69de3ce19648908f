"""Ways in for a person: an address, and what a bookmarklet or a phone sends."""

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from atlas.api.errors import Problem
from atlas.api.saving import asked_for
from atlas.api.state import state
from atlas.urls import InvalidUrl
from atlas.web.forms import Form
from atlas.web.page import page, see
from atlas.web.words import find_url

router = APIRouter(include_in_schema=False)


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
        return await run_in_threadpool(
            page, request, "add.html", here="add", url=typed, title=title, error=str(error), status=status
        )
    return see(f"/items/{added.id}")
