"""The library: what there is, newest first, and the ways to look at less of it."""

from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from atlas import items, tags
from atlas.api.state import state
from atlas.database.engine import read
from atlas.sources import subscriptions
from atlas.web.page import found, keep, number, page
from atlas.web.words import STATES

router = APIRouter(include_in_schema=False)

LIST_LIMIT = 40


@router.get("/")
def library(request: Request) -> Response:
    """Show what there is, newest first."""
    chosen = STATES.get(request.query_params.get("state", ""), STATES[""])
    before, feed_id = number(request, "before"), number(request, "feed")
    with read(state(request).engine) as conn:
        feed = _feed(conn, feed_id) if feed_id is not None else None
        rows, following = items.list_items(
            conn, stage=chosen.stages, feed_id=feed_id, limit=LIST_LIMIT, cursor=before
        )
        tagged = tags.of(conn, [row["id"] for row in rows])
        tally = {
            key: items.count(conn, STATES[key].stages or ()) for key in ("waiting", "failed", "duplicate")
        }
    places = {"state": chosen.key, "feed": feed_id, "before": following}
    answer = page(
        request,
        "library.html",
        here="library",
        state=chosen,
        feed=feed,
        further=before is not None,
        rows=rows,
        tags=tagged,
        older=urlencode({key: value for key, value in places.items() if value}) if following else "",
        tally=tally,
    )
    return answer if request.url.query else keep(request, answer, "Library")


def _feed(conn: Connection, feed_id: int) -> dict[str, Any]:
    return found(next((feed for feed in subscriptions.list_feeds(conn) if feed["id"] == feed_id), None))
