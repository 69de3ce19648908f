"""Dead letters: what failed and why, and the ways out: try again, set aside, hand in the content."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, Field

from atlas import dead_letters
from atlas.api.edge import request_id
from atlas.api.errors import Problem, documented
from atlas.api.items import Failure
from atlas.api.state import state
from atlas.database.dialect import MAX_ID
from atlas.database.engine import read

router = APIRouter(prefix="/api/dead-letters", tags=["dead letters"])

ItemId = Annotated[int, Path(ge=1, le=MAX_ID, description="The item's id.")]
_ERRORS = documented(401, 403, 404, 422, 503)


class Moment(BaseModel):
    """A stage an item reached."""

    at: datetime
    stage: int
    reason: str
    correlation_id: str


class DeadLetter(BaseModel):
    """An item that failed."""

    id: int
    kind: str
    url: str
    host: str
    title: str | None
    source: str
    feed_id: int | None
    error: Failure | None = Field(description="Why it failed; `message` says it in plain words.")
    final: bool = Field(description="Another try would not change the reason: it is not tried by itself.")
    attempts: int
    revivals: int = Field(description="On how many days it was tried again by itself.")
    ignored_at: datetime | None = Field(description="When it was set aside.")
    added_at: datetime
    updated_at: datetime
    history: list[Moment] = Field(description="Every stage it has been at, oldest first.")


class DeadLetters(BaseModel):
    """Some dead letters, the newest items first."""

    items: list[DeadLetter]
    next: str | None = Field(description="`cursor` of the next page; null on the last.")
    reasons: dict[str, int] = Field(description="How many there are by reason, of those not set aside.")


class Content(BaseModel):
    """What is to be read instead of what could not be fetched: one of both."""

    text: str | None = Field(None, max_length=5_000_000, description="Plain text; empty lines part it.")
    html: str | None = Field(None, max_length=15_000_000, description="The page as the browser has it.")


class Done(BaseModel):
    """It is done."""

    ok: Literal[True] = True


class Retried(BaseModel):
    """What is tried again."""

    retried: int


@router.get("", response_model=DeadLetters, responses=documented(401, 422, 503))
def list_dead(
    request: Request,
    code: Annotated[str | None, Query(max_length=100, description="Only this reason.")] = None,
    ignored: Annotated[
        Literal["no", "yes", "any"], Query(description="Those set aside as well, or only those.")
    ] = "no",
    limit: Annotated[int, Query(ge=1, le=200, description="How many at most.")] = 50,
    cursor: Annotated[int | None, Query(ge=1, le=MAX_ID, description="`next` of the page before.")] = None,
) -> dict[str, Any]:
    """List the items that failed."""
    aside = {"no": False, "yes": True, "any": None}[ignored]
    with read(state(request).engine) as conn:
        rows, following = dead_letters.list_dead(
            conn, code=code or None, ignored=aside, limit=limit, cursor=cursor
        )
        reasons = dead_letters.reasons(conn)
    return {"items": rows, "next": None if following is None else str(following), "reasons": reasons}


@router.post("/retry", response_model=Retried, responses=documented(401, 403, 422, 503))
def retry_all(
    request: Request, code: Annotated[str, Query(min_length=1, max_length=100, description="The reason.")]
) -> dict[str, int]:
    """Try everything again that failed for one reason, unless it was set aside."""
    parts = state(request)
    total = dead_letters.retry_all(
        parts.engine, code=code, now=parts.clock(), correlation_id=request_id(request)
    )
    return {"retried": total}


@router.post("/{item_id}/retry", response_model=Done, responses=_ERRORS)
def retry(request: Request, item_id: ItemId) -> Done:
    """Try one again, now."""
    parts = state(request)
    with parts.engine.begin() as conn:
        done = dead_letters.retry(conn, item_id, now=parts.clock(), correlation_id=request_id(request))
    return _done(item_id, done=done)


@router.post("/{item_id}/ignore", response_model=Done, responses=_ERRORS)
def ignore(request: Request, item_id: ItemId) -> Done:
    """Set one aside: it is not tried again by itself, and lists leave it out."""
    return _set_aside(request, item_id, ignored=True)


@router.post("/{item_id}/unignore", response_model=Done, responses=_ERRORS)
def unignore(request: Request, item_id: ItemId) -> Done:
    """Bring one back that was set aside."""
    return _set_aside(request, item_id, ignored=False)


@router.post("/{item_id}/content", response_model=Done, responses={**_ERRORS, **documented(409, 413)})
def content(request: Request, item_id: ItemId, given: Content) -> Done:
    """Hand in what is to be read. Also for an item that still waits; one that can be read is not changed."""
    if bool(given.text and given.text.strip()) == bool(given.html and given.html.strip()):
        raise Problem(422, "invalid_request", "Send “text” or “html”, and something in it.")
    markup = given.html if given.html and given.html.strip() else dead_letters.html_of_text(given.text or "")
    parts = state(request)
    done = dead_letters.give_content(
        parts.engine,
        parts.settings.data_dir,
        item_id,
        markup,
        now=parts.clock(),
        correlation_id=request_id(request),
    )
    if not done:
        raise Problem(
            409, "not_waiting", f"Item {item_id} does not wait for content: it can be read, or is not there."
        )
    return Done()


def _set_aside(request: Request, item_id: int, *, ignored: bool) -> Done:
    parts = state(request)
    with parts.engine.begin() as conn:
        done = dead_letters.ignore(conn, item_id, now=parts.clock(), ignored=ignored)
    return _done(item_id, done=done)


def _done(item_id: int, *, done: bool) -> Done:
    if not done:
        raise Problem(404, "not_found", f"Item {item_id} is no dead letter.")
    return Done()
