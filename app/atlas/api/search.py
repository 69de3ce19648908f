"""Search in everything that was read."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from atlas.api.errors import documented
from atlas.api.state import state
from atlas.database.engine import read
from atlas.search import search as find
from atlas.telemetry import tally

router = APIRouter(prefix="/api/search", tags=["search"])


class Hit(BaseModel):
    """An item found."""

    id: int
    title: str
    url: str
    site: str | None
    snippet: str = Field(description="Where it was found: safe HTML, the words in `<mark>`.")
    added_at: datetime
    kind: str
    stage: int = Field(description="590 and 595: can be read. Others are found by title, address and notes.")
    read_at: datetime | None


class Hits(BaseModel):
    """What was found."""

    total: int = Field(description="How many items match, up to 1,000; 1,001 says that there are more.")
    items: list[Hit] = Field(description="The best of them, best first.")


@router.get("", response_model=Hits, responses=documented(401, 422, 503))
def search(
    request: Request,
    q: Annotated[
        str,
        Query(
            description='Words that must all occur; "a phrase"; begin*; -not; one OR another; and operators: '
            "site: kind: tag: is: before: after: source: feed: folder: lang:, with a minus before them to "
            "leave out. Anything is a query.",
            max_length=400,
        ),
    ],
    limit: Annotated[int, Query(description="How many at most.", ge=1, le=100)] = 20,
    offset: Annotated[int, Query(description="How many to skip.", ge=0, le=100_000)] = 0,
) -> dict[str, Any]:
    """Find items by words in title, text, address, tags and notes. Operators alone list, newest first."""
    with read(state(request).engine) as conn:
        total, hits = find(conn, q, limit=limit, offset=offset)
    tally.count("searches", "found" if total else "nothing")
    return {
        "total": total,
        "items": [
            {
                "id": hit.id,
                "title": hit.title,
                "url": hit.url,
                "site": hit.site,
                "snippet": hit.snippet_html,
                "added_at": hit.added_at,
                "kind": hit.kind,
                "stage": hit.stage,
                "read_at": hit.read_at,
            }
            for hit in hits
        ],
    }
