"""Search in everything that was read."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from atlas.api.errors import documented
from atlas.api.state import state
from atlas.database.engine import read
from atlas.search import search as find

router = APIRouter(prefix="/api/search", tags=["search"])


class Hit(BaseModel):
    """An item found."""

    id: int
    title: str
    url: str
    site: str | None
    snippet: str = Field(description="Where it was found: safe HTML, the words in `<mark>`.")
    added_at: datetime


class Hits(BaseModel):
    """What was found."""

    total: int = Field(description="How many items match in all.")
    items: list[Hit] = Field(description="The best of them, best first.")


@router.get("", response_model=Hits, responses=documented(401, 422, 503))
def search(
    request: Request,
    q: Annotated[
        str,
        Query(description='Words that must all occur; "a phrase"; -not this word.', max_length=400),
    ],
    limit: Annotated[int, Query(description="How many at most.", ge=1, le=100)] = 20,
    offset: Annotated[int, Query(description="How many to skip.", ge=0, le=100_000)] = 0,
) -> dict[str, Any]:
    """Find items by the words in their title and text."""
    with read(state(request).engine) as conn:
        total, hits = find(conn, q, limit=limit, offset=offset)
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
            }
            for hit in hits
        ],
    }
