"""Tags: list, rename, merge and remove them. Items get them by their own routes."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from atlas import tags
from atlas.api.errors import Problem, documented
from atlas.api.state import state
from atlas.database.engine import read

router = APIRouter(prefix="/api/tags", tags=["tags"])

TagId = Annotated[int, Path(description="The tag's id.")]


class Tag(BaseModel):
    """A tag that is in use."""

    id: int
    name: str
    items: int = Field(description="How many items carry it.")


class Tags(BaseModel):
    """Tags in order."""

    items: list[Tag]
    next: str | None = Field(description="`cursor` of the next page; null on the last.")


class NewName(BaseModel):
    """Another name for a tag."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=tags.MAX_LENGTH)


class Renamed(BaseModel):
    """The tag that has the name now."""

    id: int = Field(description="Another one than before, if the two became one.")


@router.get("", response_model=Tags, responses=documented(401, 422, 503))
def list_tags(
    request: Request,
    q: Annotated[str, Query(description="Only those that begin so.", max_length=100)] = "",
    limit: Annotated[int, Query(description="How many at most.", ge=1, le=1000)] = 200,
    cursor: Annotated[str, Query(description="`next` of the page before.", max_length=200)] = "",
) -> dict[str, Any]:
    """List the tags in use and how many items carry each."""
    with read(state(request).engine) as conn:
        found = tags.counts(conn, begins=q, after=cursor, limit=limit + 1)
    return {"items": found[:limit], "next": found[limit - 1]["key"] if len(found) > limit else None}


@router.patch("/{tag_id}", response_model=Renamed, responses=documented(401, 403, 404, 413, 422, 503))
def rename(request: Request, tag_id: TagId, new: NewName) -> dict[str, int]:
    """Rename a tag on all items. When there is one of that name already, the two become one."""
    if not tags.clean([new.name]):
        raise Problem(422, "invalid_request", "“name” must have more than spaces, commas and #.")
    with state(request).engine.begin() as conn:
        now_is = tags.rename(conn, tag_id, new.name)
    if now_is is None:
        raise _no_tag(tag_id)
    return {"id": now_is}


@router.delete("/{tag_id}", status_code=204, responses=documented(401, 403, 404, 422, 503))
def delete(request: Request, tag_id: TagId) -> Response:
    """Take a tag from all items. The items stay."""
    with state(request).engine.begin() as conn:
        if not tags.delete(conn, tag_id):
            raise _no_tag(tag_id)
    return Response(status_code=204)


def _no_tag(tag_id: int) -> Problem:
    return Problem(404, "not_found", f"There is no tag {tag_id}.")
