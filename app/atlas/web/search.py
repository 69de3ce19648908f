"""Finding what was read."""

from urllib.parse import urlencode

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from atlas.api.state import state
from atlas.database.engine import read
from atlas.search import RANKED
from atlas.search import search as find
from atlas.telemetry import tally
from atlas.web.page import number, page

router = APIRouter(include_in_schema=False)

SEARCH_LIMIT = 20

#: Operators a tap away.
NARROW = {
    "is:unread": "Unread",
    "is:starred": "Starred",
    "is:highlighted": "Highlighted",
    "kind:article": "Articles",
    "kind:podcast": "Podcasts",
    "kind:video": "Videos",
    "kind:note": "Notes",
}


@router.get("/search")
def search(request: Request) -> Response:
    """Find what was read by the words in it."""
    q = request.query_params.get("q", "").strip()[:400]
    start = min(number(request, "from") or 0, 100_000)
    with read(state(request).engine) as conn:
        total, hits = find(conn, q, limit=SEARCH_LIMIT, offset=start) if q else (0, [])
    if q:
        tally.count("searches", "found" if total else "nothing")
    return page(
        request,
        "search.html",
        here="search",
        q=q,
        total=total,
        most=RANKED,
        hits=hits,
        offset=start,
        limit=SEARCH_LIMIT,
        narrowed=_narrowed(q),
    )


def _narrowed(q: str) -> list[tuple[str, str, bool]]:
    """Return ways to narrow a search down: what they are called, the address, and whether each is on."""
    words = q.split()
    found = []
    for operator, label in NARROW.items():
        on = operator in words
        rest = [word for word in words if word != operator] if on else [*words, operator]
        found.append((label, "/search?" + urlencode({"q": " ".join(rest)}), on))
    return found
