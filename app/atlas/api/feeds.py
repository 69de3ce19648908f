"""Feeds: follow, list, change, ask now, leave."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from atlas.api.errors import Problem, documented
from atlas.api.state import state
from atlas.database.dialect import MAX_ID
from atlas.database.engine import read
from atlas.sources import subscriptions
from atlas.sources.subscriptions import OptionError, RuleError

router = APIRouter(prefix="/api/feeds", tags=["feeds"])

FeedId = Annotated[int, Path(ge=1, le=MAX_ID, description="The feed's id.")]
_ID_ERRORS = (401, 404, 422, 503)


class Rule(BaseModel):
    """What happens to an entry that a pattern is found in."""

    action: Literal["keep", "drop", "tag"] = Field(
        description="`drop` it; give it a `tag`; or `keep`: where a feed has such rules, only what one of "
        "them finds comes in."
    )
    field: Literal["title", "url", "author", "content", "any"] = Field(
        default="any", description="Where to look."
    )
    pattern: str = Field(
        description="A regular expression (Python's); case makes no difference.", examples=[r"\bsponsored\b"]
    )
    tag: str | None = Field(default=None, description="For `tag`: which.")


class NewFeed(BaseModel):
    """A feed to follow."""

    url: str = Field(
        description="Its address, or that of a page that names it. A name and password in it "
        "(https://name:password@...) are kept apart and sent to the feed's own site alone.",
        examples=["https://example.org/feed.xml"],
    )
    title: str | None = Field(default=None, description="What to call it, instead of its own title.")
    folder: str | None = None


class Changes(BaseModel):
    """Options to change; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")

    title: str | None = Field(default=None, description="null: its own again.")
    folder: str | None = Field(default=None, description="null: none.")
    interval_seconds: int | None = Field(default=None, description="How often it is asked.")
    full_text: Literal["auto", "feed", "page"] | None = Field(
        default=None,
        description="What is kept of an entry: `auto` its own text if it is whole, else the page; always "
        "what the `feed` has; always the `page`.",
    )
    retention_days: int | None = Field(
        default=None, description="Days after which read entries that nobody marked go; null: never."
    )
    rules: list[Rule] | None = Field(default=None, description="What is kept, dropped and tagged.")
    paused: bool | None = None


class FeedFailure(BaseModel):
    """Why a feed could not be read the last time."""

    code: str
    message: str


class Feed(BaseModel):
    """A feed, and how it is."""

    id: int
    url: str
    title: str | None = Field(description="null until it was read.")
    named: bool = Field(description="The title was given by its owner.")
    site_url: str | None
    image: str | None
    kind: str = Field(description="What its entries are: feed (articles), podcast, video.")
    folder: str | None
    unread: int
    interval_seconds: int = Field(description="How often it is asked.")
    full_text: str
    retention_days: int | None
    rules: list[Rule]
    due_at: datetime = Field(description="When it is asked next.")
    polled_at: datetime | None
    succeeded_at: datetime | None
    failures: int = Field(description="How many times in a row it could not be read.")
    error: FeedFailure | None
    broken: bool = Field(description="It has failed for so long that someone should look at it.")
    paused_at: datetime | None
    added_at: datetime


class Feeds(BaseModel):
    """All feeds."""

    items: list[Feed]


@router.post("", status_code=201, response_model=Feed, responses=documented(401, 403, 413, 422, 503))
def follow(request: Request, new: NewFeed) -> dict[str, Any]:
    """Follow a feed: it is read within a minute, and then regularly. One that is followed stays as it is."""
    parts = state(request)
    with parts.engine.begin() as conn:
        return subscriptions.subscribe(
            conn,
            new.url,
            now=parts.clock(),
            interval_seconds=parts.settings.feed_interval_seconds,
            title=new.title,
            folder=new.folder,
        )


@router.get("", response_model=Feeds, responses=documented(401, 422, 503))
def list_feeds(
    request: Request,
    folder: Annotated[str | None, Query(description="Only those in this folder.")] = None,
    broken: Annotated[bool | None, Query(description="Only those that are, or are not.")] = None,
) -> dict[str, Any]:
    """List the feeds, with how many unread items each has."""
    with read(state(request).engine) as conn:
        found = subscriptions.list_feeds(conn, folder=folder)
    return {"items": [feed for feed in found if broken is None or feed["broken"] is broken]}


@router.get("/{feed_id}", response_model=Feed, responses=documented(*_ID_ERRORS))
def show(request: Request, feed_id: FeedId) -> dict[str, Any]:
    """Return one feed."""
    with read(state(request).engine) as conn:
        return _found(subscriptions.get(conn, feed_id))


@router.patch("/{feed_id}", response_model=Feed, responses=documented(*_ID_ERRORS, 403, 413))
def change(request: Request, feed_id: FeedId, changes: Changes) -> dict[str, Any]:
    """Change options of a feed: how often it is asked, what is kept of it, and what it is called."""
    parts = state(request)
    values = changes.model_dump(exclude_unset=True)
    try:
        with parts.engine.begin() as conn:
            return _found(subscriptions.update(conn, feed_id, values, now=parts.clock()))
    except RuleError as error:
        raise Problem(422, "invalid_rule", str(error)) from None
    except OptionError as error:
        raise Problem(422, "invalid_option", str(error)) from None


@router.delete("/{feed_id}", status_code=204, responses=documented(*_ID_ERRORS, 403))
def leave(request: Request, feed_id: FeedId) -> Response:
    """Follow a feed no more. What it brought stays."""
    with state(request).engine.begin() as conn:
        if not subscriptions.unsubscribe(conn, feed_id):
            raise _unknown()
    return Response(status_code=204)


@router.post(
    "/{feed_id}/refresh", status_code=202, response_model=Feed, responses=documented(*_ID_ERRORS, 403)
)
def refresh(request: Request, feed_id: FeedId) -> dict[str, Any]:
    """Have a feed asked within a minute, also one that is paused, which then goes on."""
    parts = state(request)
    with parts.engine.begin() as conn:
        subscriptions.refresh(conn, feed_id, now=parts.clock())
        return _found(subscriptions.get(conn, feed_id))


def _found(feed: dict[str, Any] | None) -> dict[str, Any]:
    if feed is None:
        raise _unknown()
    return feed


def _unknown() -> Problem:
    return Problem(404, "not_found", "There is no feed by that id.")
