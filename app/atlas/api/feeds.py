"""Feeds: follow one, list them."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from atlas.api.errors import documented
from atlas.api.state import state
from atlas.database.engine import read
from atlas.sources import subscriptions

router = APIRouter(prefix="/api/feeds", tags=["feeds"])


class NewFeed(BaseModel):
    """A feed to follow."""

    url: str = Field(description="Its address.", examples=["https://example.org/feed.xml"])


class FeedFailure(BaseModel):
    """Why a feed could not be read the last time."""

    code: str
    message: str


class Feed(BaseModel):
    """A feed, and how it is."""

    id: int
    url: str
    title: str | None = Field(description="Its own; null until it was read.")
    site_url: str | None
    interval_seconds: int = Field(description="How often it is asked.")
    due_at: datetime = Field(description="When it is asked next.")
    polled_at: datetime | None
    succeeded_at: datetime | None
    failures: int = Field(description="How many times in a row it could not be read.")
    error: FeedFailure | None
    added_at: datetime


class Feeds(BaseModel):
    """All feeds."""

    items: list[Feed]


@router.post("", status_code=201, response_model=Feed, responses=documented(401, 403, 413, 422, 503))
def follow(request: Request, new: NewFeed) -> dict[str, Any]:
    """Follow a feed: it is read within minutes, then again and again. One followed already stays as it is."""
    parts = state(request)
    with parts.engine.begin() as conn:
        return subscriptions.subscribe(
            conn, new.url, now=parts.clock(), interval_seconds=parts.settings.feed_interval_seconds
        )


@router.get("", response_model=Feeds, responses=documented(401, 503))
def list_feeds(request: Request) -> dict[str, Any]:
    """List the feeds."""
    with read(state(request).engine) as conn:
        return {"items": subscriptions.list_feeds(conn)}
