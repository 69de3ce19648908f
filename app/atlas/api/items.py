"""Items: add one, look at one, list them."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, BeforeValidator, Field

from atlas import items
from atlas.api.errors import Problem, documented
from atlas.api.saving import asked_for
from atlas.api.state import state
from atlas.database.dialect import MAX_ID
from atlas.database.engine import read

router = APIRouter(prefix="/api/items", tags=["items"])

#: An empty query parameter (`?stage=`) is one that was not given.
_given = BeforeValidator(lambda value: None if value == "" else value)
_Stage = Annotated[int, Field(ge=0, le=999)]
_Kind = Annotated[str, Field(max_length=20)]
_Words = Annotated[str, Field(max_length=400)]
_Cursor = Annotated[int, Field(ge=1, le=MAX_ID)]


class NewItem(BaseModel):
    """A page to save."""

    url: str = Field(description="Its address: http or https.", examples=["https://example.org/article"])
    title: str | None = Field(
        None, max_length=500, description="What to call it until its own title has been read."
    )


class Added(BaseModel):
    """What became of a page that was added."""

    id: int
    url: str = Field(description="The address as Atlas keeps it, without parameters that track readers.")
    stage: int = Field(description="110: queued. 599: it is here already, and `duplicate_of` says where.")
    duplicate_of: int | None = Field(description="The item that was here first. Nothing of it was changed.")


class Failure(BaseModel):
    """Why an item failed, or why it has to be tried again."""

    code: str = Field(description="A word for programs.", examples=["http_404"])
    message: str = Field(description="A sentence for people.")
    stage: int = Field(description="The stage at which it happened.")
    at: datetime
    id: str = Field(description="The error's id in the log.")


class Item(BaseModel):
    """An item, as lists show it."""

    id: int
    kind: str = Field(description="What it is.", examples=["article"])
    url: str
    stage: int = Field(
        description="Where it stands: 0 to 589 on its way, 590 and 595 readable, 599 a duplicate, 666 rate "
        "limited and 888 system error (both tried again), 777 failed for good."
    )
    error: Failure | None = Field(description="What went wrong last; null when nothing did.")
    duplicate_of: int | None
    feed_id: int | None = Field(description="The feed that brought it; null when it was added by hand.")
    title: str | None
    byline: str | None
    site: str | None
    language: str | None = Field(description="As in HTML's `lang`.")
    excerpt: str | None
    image: str | None = Field(description="The address of a picture that stands for it.")
    published_at: datetime | None
    word_count: int | None
    added_at: datetime
    updated_at: datetime
    read_at: datetime | None = Field(description="When you marked it as read.")
    due_at: datetime | None = Field(description="When the next step is due; null when nothing is left to do.")


class FullItem(Item):
    """An item with what is in it."""

    final_url: str | None = Field(description="Where the address led in the end.")
    text: str | None = Field(description="The article as plain text; null until it was read.")
    html: str | None = Field(description="The article as sanitised HTML; null until it was read.")


class ItemPage(BaseModel):
    """Some items, newest first."""

    items: list[Item]
    next: str | None = Field(description="`cursor` of the next page; null on the last.")


@router.post("", status_code=202, response_model=Added, responses=documented(401, 403, 413, 422, 429, 503))
async def add(request: Request, new: NewItem, response: Response) -> items.Added:
    """Save a page.

    It is kept durably when this answers; fetching and reading it follow: look at the item to see it arrive.
    A page that is here already is neither fetched again nor overwritten: the answer says where it is.
    """
    added = await state(request).saver.add(asked_for(request, new.url, new.title))
    response.headers["Location"] = f"/api/items/{added.id}"
    return added


@router.get("", response_model=ItemPage, responses=documented(401, 422, 503))
def list_items(  # noqa: PLR0917 - FastAPI passes them by name
    request: Request,
    stage: Annotated[_Stage | None, _given, Query(description="Only items at this stage.")] = None,
    kind: Annotated[_Kind | None, _given, Query(description="Only this kind.")] = None,
    q: Annotated[_Words | None, _given, Query(description="Only what contains these words.")] = None,
    limit: Annotated[int, Query(description="How many at most.", ge=1, le=200)] = 50,
    cursor: Annotated[_Cursor | None, _given, Query(description="`next` of the page before.")] = None,
) -> dict[str, Any]:
    """List items, newest first, without their text. Duplicates show only when asked for by `stage=599`."""
    with read(state(request).engine) as conn:
        rows, following = items.list_items(conn, stage=stage, kind=kind, q=q, limit=limit, cursor=cursor)
    return {"items": rows, "next": None if following is None else str(following)}


@router.get("/{item_id}", response_model=FullItem, responses=documented(401, 404, 422, 503))
def get(request: Request, item_id: Annotated[int, Path(description="The item's id.")]) -> dict[str, Any]:
    """Look at an item, with its text and HTML once it has been read."""
    with read(state(request).engine) as conn:
        found = items.get(conn, item_id)
    if found is None:
        raise Problem(404, "not_found", f"There is no item {item_id}.")
    return found
