"""Highlights: mark passages, write on them, list them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from atlas import highlights, library
from atlas.api.errors import Problem, documented
from atlas.api.items import ItemId, nothing
from atlas.api.state import state
from atlas.database.dialect import MAX_ID
from atlas.database.engine import read

router = APIRouter(prefix="/api", tags=["highlights"])

Color = Literal["yellow", "green", "blue", "red", "purple"]
HighlightId = Annotated[int, Path(description="The highlight's id.")]
_given = BeforeValidator(lambda value: None if value == "" else value)
_Note = Annotated[str, Field(max_length=highlights.MAX_NOTE)]


class NewHighlight(BaseModel):
    """A passage to mark."""

    model_config = ConfigDict(extra="forbid")

    quote: str = Field(min_length=1, max_length=highlights.MAX_QUOTE, pattern=r"\S", description="Its words.")
    prefix: str = Field("", max_length=2000, description="What stands before it; needed if it occurs twice.")
    suffix: str = Field("", max_length=2000, description="What stands after it.")
    position: int = Field(0, ge=0, le=2**31 - 1, description="Characters before it in the item's text.")
    note: _Note | None = None
    color: Color = "yellow"


class HighlightChange(BaseModel):
    """What to change; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")

    note: _Note | None = Field(None, description="Null or empty: no note.")
    color: Color = "yellow"


class Highlight(BaseModel):
    """A marked passage."""

    id: int
    item_id: int
    quote: str
    prefix: str
    suffix: str
    position: int = Field(description="Characters before it when it was marked.")
    note: str | None
    color: str
    created_at: datetime
    updated_at: datetime


class PlacedHighlight(Highlight):
    """A marked passage and where it stands now."""

    start: int | None = Field(description="Characters before it in the item's text; null: not found there.")
    end: int | None


class ItemHighlights(BaseModel):
    """An item's highlights in the order of its text."""

    items: list[PlacedHighlight]


class ListedHighlight(Highlight):
    """A marked passage and the item it is from."""

    title: str | None
    url: str
    site: str | None


class HighlightPage(BaseModel):
    """Some highlights, newest first."""

    items: list[ListedHighlight]
    next: str | None = Field(description="`cursor` of the next page; null on the last.")


@router.get(
    "/items/{item_id}/highlights", response_model=ItemHighlights, responses=documented(401, 404, 422, 503)
)
def of_item(request: Request, item_id: ItemId) -> dict[str, Any]:
    """List an item's highlights in the order of its text."""
    with read(state(request).engine) as conn:
        if not library.rows(conn, [item_id] if 0 < item_id <= MAX_ID else []):
            raise nothing(item_id)
        return {"items": highlights.of_item(conn, item_id)}


@router.post(
    "/items/{item_id}/highlights",
    status_code=201,
    response_model=PlacedHighlight,
    responses=documented(401, 403, 404, 413, 422, 503),
)
def create(request: Request, item_id: ItemId, new: NewHighlight) -> dict[str, Any]:
    """Mark a passage. The same passage marked again is the highlight there was."""
    parts = state(request)
    with parts.engine.begin() as conn:
        made = highlights.create(conn, item_id, now=parts.clock(), **new.model_dump())
    if made is None:
        raise nothing(item_id)
    return made


@router.get("/highlights", response_model=HighlightPage, responses=documented(401, 422, 503))
def everywhere(
    request: Request,
    limit: Annotated[int, Query(description="How many at most.", ge=1, le=200)] = 50,
    cursor: Annotated[
        Annotated[int, Field(ge=1, le=MAX_ID)] | None, _given, Query(description="`next` of the page before.")
    ] = None,
) -> dict[str, Any]:
    """List the highlights of all items, newest first."""
    with read(state(request).engine) as conn:
        rows, following = highlights.everywhere(conn, limit=limit, below=cursor)
    return {"items": rows, "next": None if following is None else str(following)}


@router.patch(
    "/highlights/{highlight_id}",
    response_model=PlacedHighlight,
    responses=documented(401, 403, 404, 413, 422, 503),
)
def change(request: Request, highlight_id: HighlightId, new: HighlightChange) -> dict[str, Any]:
    """Write a note on a highlight, or give it another colour."""
    parts = state(request)
    with parts.engine.begin() as conn:
        found = highlights.update(conn, highlight_id, new.model_dump(exclude_unset=True), now=parts.clock())
    if found is None:
        raise _no_highlight(highlight_id)
    return found


@router.delete("/highlights/{highlight_id}", status_code=204, responses=documented(401, 403, 404, 422, 503))
def delete(request: Request, highlight_id: HighlightId) -> Response:
    """Take a highlight away, with its note."""
    with state(request).engine.begin() as conn:
        if not highlights.delete(conn, highlight_id):
            raise _no_highlight(highlight_id)
    return Response(status_code=204)


def _no_highlight(highlight_id: int) -> Problem:
    return Problem(404, "not_found", f"There is no highlight {highlight_id}.")
