"""The feeds that are followed, and how they are."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from atlas.api.state import state
from atlas.database.engine import read
from atlas.sources import subscriptions
from atlas.urls import InvalidUrl
from atlas.web.forms import Form
from atlas.web.page import page, see
from atlas.web.words import find_url

router = APIRouter(include_in_schema=False)


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


def _feeds(request: Request, *, url: str = "", error: str = "", status: int = 200) -> Response:
    with read(state(request).engine) as conn:
        rows = subscriptions.list_feeds(conn)
    return page(request, "feeds.html", here="feeds", feeds=rows, url=url, error=error, status=status)
