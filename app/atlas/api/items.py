"""Items: add one, look at one, list them, change them."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from atlas import deleting, items, library, tags
from atlas.api.errors import Problem, documented
from atlas.api.saving import asked_for
from atlas.api.state import state
from atlas.database.engine import read

router = APIRouter(prefix="/api/items", tags=["items"])

#: Items changed in one transaction by a bulk change: others write in between.
_PIECE = 500

ItemId = Annotated[int, Path(description="The item's id.")]

#: An empty query parameter (`?stage=`) is one that was not given.
_given = BeforeValidator(lambda value: None if value == "" else value)
_Stage = Annotated[int, Field(ge=0, le=999)]
_Word = Annotated[str, Field(max_length=30)]
_Words = Annotated[str, Field(max_length=400)]
_Site = Annotated[str, Field(max_length=253)]
_Tag = Annotated[str, Field(min_length=1, max_length=100)]
_Tags = Annotated[list[_Tag], Field(max_length=tags.MAX_TAGS)]
_Place = Annotated[str, Field(max_length=80)]
_Number = Annotated[int, Field(ge=1, le=2**63 - 1)]
_State = Literal["ready", "waiting", "failed", "ignored", "duplicate"]
#: A moment; without a zone it is UTC.
_Moment = Annotated[datetime, AfterValidator(lambda at: at if at.tzinfo else at.replace(tzinfo=UTC))]


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
    source: str = Field(description="How it came in: api, web, cli, client, feed, import, mail or file.")
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
    starred_at: datetime | None = Field(description="When you starred it.")
    progress: float = Field(description="How far you have read, 0 to 1.")
    note: str | None = Field(description="What you wrote about it.")
    tags: list[str]
    summary: str | None
    keywords: list[Any] | None = Field(description="Words that are typical of it.")
    ignored_at: datetime | None = Field(description="When you set it aside after it had failed.")
    due_at: datetime | None = Field(description="When the next step is due; null when nothing is left to do.")


class Sighting(BaseModel):
    """Where else an item was met after it was here."""

    at: datetime
    source: str
    url: str
    title: str | None
    feed_id: int | None
    feed_title: str | None


class FullItem(Item):
    """An item with what is in it."""

    final_url: str | None = Field(description="Where the address led in the end.")
    text: str | None = Field(description="The article as plain text; null until it was read.")
    html: str | None = Field(description="The article as sanitised HTML; null until it was read.")
    media: Any = Field(description="Sound, film and transcripts that belong to it.")
    also_seen_in: list[Sighting] = Field(description="Feeds and imports that showed it too.")


class ItemPage(BaseModel):
    """Some items."""

    items: list[Item]
    next: str | None = Field(description="`cursor` of the next page; null on the last.")


class RelatedItem(Item):
    """An item that has something in common with another."""

    score: float = Field(description="How much, 0 to 1.")


class Related(BaseModel):
    """The items that have most in common with one."""

    items: list[RelatedItem]


class Step(BaseModel):
    """A stage an item has been at."""

    at: datetime
    stage: int
    reason: str
    correlation_id: str = Field(description="The request or poll that set it going, as in the log.")


class History(BaseModel):
    """An item's way, oldest step first."""

    items: list[Step]
    next: str | None = Field(description="`cursor` of the next page; null on the last.")


class Change(BaseModel):
    """What to change; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")

    read: bool = Field(default=False, description="Mark as read, or as unread.")
    starred: bool = Field(default=False, description="Star, or take the star.")
    progress: float = Field(0.0, ge=0, le=1, description="How far you have read.")
    note: str | None = Field(None, max_length=library.MAX_NOTE, description="Null or empty: no note.")
    title: str | None = Field(
        None,
        max_length=library.MAX_TITLE,
        description="What to call it, also after it is read anew. Null: its own title comes back then.",
    )
    tags: _Tags = Field([], description="These tags and no others.")
    add_tags: _Tags = Field([], description="These tags too.")
    remove_tags: _Tags = Field([], description="Not these tags.")

    def given(self) -> dict[str, Any]:
        """Return what is to be changed."""
        return self.model_dump(exclude_unset=True)


class Filter(BaseModel):
    """Which items: those that meet everything given. Duplicates only by `state`, `stage` or `q`."""

    model_config = ConfigDict(extra="forbid")

    q: _Words = Field("", description="What a search finds: words and operators.")
    state: _State | None = None
    stage: _Stage | None = None
    kind: _Word | None = None
    source: _Word | None = None
    tags: _Tags = []
    feed_id: _Number | None = None
    folder: _Words | None = None
    site: _Site | None = None
    read: bool | None = None
    starred: bool | None = None
    highlighted: bool | None = None
    before: _Moment | None = None
    after: _Moment | None = None
    import_id: _Number | None = None

    def meant(self) -> library.Filter:
        """Return the library's filter."""
        return library.Filter(**{**self.model_dump(), "tags": tuple(self.tags)})


class Bulk(BaseModel):
    """A change to many items at once."""

    model_config = ConfigDict(extra="forbid")

    ids: Annotated[list[_Number], Field(max_length=1000)] | None = Field(
        None, description="These items. Ids of nothing do not matter."
    )
    filter: Filter | None = Field(None, description="Or all that a filter finds; {} is the whole library.")
    change: Change | None = Field(None, description="What to change of each.")
    delete: bool = Field(default=False, description="Or remove them for good.")

    @model_validator(mode="after")
    def _one_of_both(self) -> "Bulk":
        if (self.ids is None) == (self.filter is None):
            raise ValueError("either “ids” or “filter” says which items")
        if (self.change is None) == (not self.delete):
            raise ValueError("either “change” or “delete” says what to do with them")
        return self


class Changed(BaseModel):
    """How many items were changed, or removed with their duplicates."""

    items: int


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
    q: Annotated[_Words | None, _given, Query(description="What a search finds: words, operators.")] = None,
    state_: Annotated[_State | None, _given, Query(alias="state", description="How it is.")] = None,
    stage: Annotated[_Stage | None, _given, Query(description="Only items at this stage.")] = None,
    kind: Annotated[_Word | None, _given, Query(description="Only this kind.")] = None,
    source: Annotated[_Word | None, _given, Query(description="Only what came in this way.")] = None,
    tag: Annotated[_Tags, Query(description="Only what carries this tag; given twice, both.")] = [],  # noqa: B006
    feed: Annotated[_Number | None, _given, Query(description="Only what this feed showed.")] = None,
    folder: Annotated[_Words | None, _given, Query(description="Only from feeds in this folder.")] = None,
    site: Annotated[_Site | None, _given, Query(description="Only this host and those below it.")] = None,
    read_: Annotated[
        bool | None, _given, Query(alias="read", description="Read, or ready and unread.")
    ] = None,
    starred: Annotated[bool | None, _given, Query(description="With a star, or without.")] = None,
    highlighted: Annotated[bool | None, _given, Query(description="With highlights, or without.")] = None,
    before: Annotated[_Moment | None, _given, Query(description="Added before this moment.")] = None,
    after: Annotated[_Moment | None, _given, Query(description="Added then or later.")] = None,
    batch: Annotated[
        _Number | None, _given, Query(alias="import", description="Only of this import.")
    ] = None,
    order: Annotated[
        library.Order, Query(description="As they came in; or by their own dates, newest first.")
    ] = "newest",
    limit: Annotated[int, Query(description="How many at most.", ge=1, le=200)] = 50,
    cursor: Annotated[_Place | None, _given, Query(description="`next` of the page before.")] = None,
) -> dict[str, Any]:
    """List items without their text. Duplicates show only when asked for, as by `state=duplicate`."""
    wanted = library.Filter(
        q=q or "", state=state_, stage=stage, kind=kind, source=source, tags=tuple(tag), feed_id=feed,
        folder=folder, site=site, read=read_, starred=starred, highlighted=highlighted, before=before,
        after=after, import_id=batch,
    )  # fmt: skip
    try:
        with read(state(request).engine) as conn:
            page = library.listing(conn, wanted, order=order, limit=limit, cursor=cursor)
    except library.BadCursor:
        raise Problem(422, "invalid_request", "“cursor” must be “next” of the page before.") from None
    return {"items": page.rows, "next": page.next}


@router.post("/bulk", response_model=Changed, responses=documented(401, 403, 413, 422, 503))
def change_many(request: Request, bulk: Bulk) -> dict[str, int]:
    """Change or remove many items: those with these ids, or all that a filter finds now."""
    parts = state(request)
    chosen = bulk.ids
    if chosen is None:
        assert bulk.filter is not None  # noqa: S101 - Bulk has either
        with read(parts.engine) as conn:
            chosen = library.matching(conn, bulk.filter.meant())
    changed = 0
    for start in range(0, len(chosen), _PIECE):
        with parts.engine.begin() as conn:
            piece = chosen[start : start + _PIECE]
            if bulk.change is None:
                changed += deleting.remove_all(conn, piece)
            else:
                changed += library.change(conn, piece, bulk.change.given(), now=parts.clock())
    return {"items": changed}


@router.get("/{item_id}", response_model=FullItem, responses=documented(401, 404, 422, 503))
def get(request: Request, item_id: ItemId) -> dict[str, Any]:
    """Look at an item, with its text and HTML once it has been read."""
    with read(state(request).engine) as conn:
        found = items.get(conn, item_id)
        if found is None:
            raise nothing(item_id)
        mine = tags.of(conn, [item_id]).get(item_id, [])
        return {**found, "tags": mine, "also_seen_in": items.sightings_of(conn, item_id)}


@router.patch("/{item_id}", response_model=Item, responses=documented(401, 403, 404, 413, 422, 503))
def change(request: Request, item_id: ItemId, new: Change) -> dict[str, Any]:
    """Change what you think of an item: read, starred, progress, note, title, tags."""
    parts = state(request)
    with parts.engine.begin() as conn:
        if not library.change(conn, [item_id], new.given(), now=parts.clock()):
            raise nothing(item_id)
        (row,) = library.rows(conn, [item_id])
    return row


@router.delete("/{item_id}", status_code=204, responses=documented(401, 403, 404, 422, 503))
def delete(request: Request, item_id: ItemId) -> Response:
    """Remove an item and its duplicates for good. What a feed has shown does not come back by it."""
    with state(request).engine.begin() as conn:
        if not deleting.remove(conn, item_id):
            raise nothing(item_id)
    return Response(status_code=204)


@router.get("/{item_id}/history", response_model=History, responses=documented(401, 404, 422, 503))
def history(
    request: Request,
    item_id: ItemId,
    limit: Annotated[int, Query(description="How many steps at most.", ge=1, le=500)] = 100,
    cursor: Annotated[
        Annotated[int, Field(ge=0, le=10**9)] | None, _given, Query(description="`next` of the page before.")
    ] = None,
) -> dict[str, Any]:
    """Follow an item through its stages, oldest first, with the reason of each step."""
    start = cursor or 0
    with read(state(request).engine) as conn:
        steps = items.history(conn, item_id)
    if not steps:
        raise nothing(item_id)
    following = str(start + limit) if len(steps) > start + limit else None
    return {"items": steps[start : start + limit], "next": following}


@router.get("/{item_id}/related", response_model=Related, responses=documented(401, 404, 422, 503))
def related(
    request: Request,
    item_id: ItemId,
    limit: Annotated[int, Query(description="How many at most.", ge=1, le=50)] = 10,
) -> dict[str, Any]:
    """List the items that have most in common with one, the closest first."""
    with read(state(request).engine) as conn:
        if not library.rows(conn, [item_id] if 0 < item_id < 2**63 else []):
            raise nothing(item_id)
        return {"items": library.related(conn, item_id, limit=limit)}


def nothing(item_id: int) -> Problem:
    """Return the answer for an item that is not there."""
    return Problem(404, "not_found", f"There is no item {item_id}.")
