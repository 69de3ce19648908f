"""Finding what was read."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from atlas.api.state import state
from atlas.database.engine import read
from atlas.search import search as find
from atlas.web.page import number, page

router = APIRouter(include_in_schema=False)

SEARCH_LIMIT = 20


@router.get("/search")
def search(request: Request) -> Response:
    """Find what was read by the words in it."""
    q = request.query_params.get("q", "").strip()[:400]
    start = min(number(request, "from") or 0, 100_000)
    with read(state(request).engine) as conn:
        total, hits = find(conn, q, limit=SEARCH_LIMIT, offset=start) if q else (0, [])
    return page(
        request, "search.html", here="search", q=q, total=total, hits=hits, offset=start, limit=SEARCH_LIMIT
    )
