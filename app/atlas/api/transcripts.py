"""Transcripts of items: read them, and hand them in."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from atlas import transcripts
from atlas.api.errors import Problem, documented
from atlas.api.state import state
from atlas.database.dialect import MAX_ID
from atlas.database.engine import read
from atlas.sources.transcripts import Segment, TranscriptError, parse
from atlas.telemetry.tally import count

router = APIRouter(prefix="/api/items", tags=["transcripts"])

ItemId = Annotated[int, Path(ge=1, le=MAX_ID, description="The item's id.")]


class Said(BaseModel):
    """A piece of what was said."""

    start: float | None = Field(description="Seconds from the beginning; null when it is not known.")
    end: float | None
    speaker: str | None
    text: str


class Transcript(BaseModel):
    """What was said, when and by whom."""

    source: str = Field(description="Where it came from: feed, page, youtube, pushed.")
    language: str | None
    at: datetime = Field(description="When it came.")
    segments: list[Said]


_FORMS = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {"schema": {"type": "string"}}
            for kind in ("text/vtt", "application/x-subrip", "application/json", "text/plain")
        },
    }
}


@router.get("/{item_id}/transcript", response_model=Transcript, responses=documented(401, 404, 422, 503))
def show(request: Request, item_id: ItemId) -> dict[str, Any]:
    """Return the transcript of an item."""
    with read(state(request).engine) as conn:
        found = transcripts.get(conn, item_id)
        search = None if found else transcripts.search_of(conn, item_id)
    if found is None:
        later = "It is still looked for." if search else "None is looked for any more."
        raise Problem(404, "no_transcript", f"There is no transcript of this. {later}")
    return _shown(found)


@router.put(
    "/{item_id}/transcript",
    response_model=Transcript,
    responses=documented(401, 403, 404, 409, 413, 422, 503),
    openapi_extra=_FORMS,
)
async def put(
    request: Request,
    item_id: ItemId,
    language: Annotated[
        str | None, Query(max_length=35, pattern=r"^[A-Za-z0-9-]*$", description="Such as `en`.")
    ] = None,
) -> dict[str, Any]:
    """Hand in a transcript as WebVTT, SubRip, JSON (podcast namespace, Whisper) or plain text.

    What it is written in is found by its looks. It takes the place of any other, and is searched at once.
    """
    raw = await request.body()
    return await run_in_threadpool(_put, request, item_id, raw, language or None)


def _put(request: Request, item_id: int, raw: bytes, language: str | None) -> dict[str, Any]:
    parts = state(request)
    try:
        segments: list[Segment] = parse(raw.decode("utf-8-sig", "replace"))
    except TranscriptError as error:
        raise Problem(422, "no_transcript", str(error)) from None
    with parts.engine.begin() as conn:
        now = parts.clock()
        if not transcripts.save(conn, item_id, segments, source="pushed", language=language, now=now):
            if not transcripts.is_item(conn, item_id):
                raise Problem(404, "not_found", "There is no item by that id.")
            raise Problem(409, "not_ready", "There is nothing to read of this item yet; try again later.")
        found = transcripts.get(conn, item_id)
    count("transcripts", "pushed", "fetched")
    assert found is not None  # noqa: S101 - it was written in the same transaction
    return _shown(found)


@router.delete("/{item_id}/transcript", status_code=204, responses=documented(401, 403, 404, 422, 503))
def delete(request: Request, item_id: ItemId) -> Response:
    """Remove the transcript of an item."""
    with state(request).engine.begin() as conn:
        if not transcripts.remove(conn, item_id):
            raise Problem(404, "no_transcript", "There is no transcript of this.")
    return Response(status_code=204)


def _shown(found: dict[str, Any]) -> dict[str, Any]:
    names = ("start", "end", "speaker", "text")
    return {**found, "segments": [dict(zip(names, one, strict=True)) for one in found["segments"]]}
