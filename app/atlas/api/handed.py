"""What a person hands in: notes, files, and what their browser shows of a page."""

import secrets
from datetime import datetime
from functools import partial
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field, model_validator
from starlette.concurrency import run_in_threadpool

from atlas import items, originals
from atlas.api.edge import request_id
from atlas.api.errors import Problem, documented
from atlas.api.items import Added
from atlas.api.state import State, state
from atlas.database.dialect import MAX_ID
from atlas.database.engine import read
from atlas.items import New
from atlas.sources import handed
from atlas.sources.handed import Refused

router = APIRouter(prefix="/api", tags=["handed in"])

_Id = Annotated[int, Path(description="The item's id.", ge=1, le=MAX_ID)]
_Title = Annotated[str | None, Field(max_length=500)]
_Tags = Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=50)]
_REFUSED = documented(401, 403, 413, 422, 429, 503)


class NewNote(BaseModel):
    """A note to keep."""

    text: str = Field(description="What it says, in Markdown.", max_length=900_000)
    title: _Title = Field(None, description="Without one, its first heading or line.")
    tags: _Tags = Field([], description="What it is filed under.")


class ChangedNote(BaseModel):
    """What a note shall say from now on."""

    text: str = Field(description="What it says, in Markdown.", max_length=900_000)
    title: _Title = Field(None, description="null: it stays; empty: its first heading or line.")


class Version(BaseModel):
    """What a note said before."""

    id: int
    at: datetime = Field(description="When it was replaced.")
    title: str | None


class Note(BaseModel):
    """A note, as it was written."""

    id: int
    title: str | None
    text: str = Field(description="Markdown.")
    versions: list[Version] = Field(description="Oldest first.")


class Text(BaseModel):
    """A text."""

    text: str


class Capture(BaseModel):
    """What a browser shows of a page: the whole of it (`html`), or what was selected there."""

    url: str = Field(description="The page's address.", examples=["https://example.org/article"])
    title: _Title = Field(None, description="The page's title.")
    html: str = Field("", description="The whole page, as HTML.")
    selection: str = Field("", description="What was selected, as HTML.")
    text: str = Field("", description="What was selected, as plain text.")
    tags: _Tags = Field([], description="What it is filed under.")

    @model_validator(mode="after")
    def _one_content(self) -> "Capture":
        if sum(bool(part.strip()) for part in (self.html, self.selection, self.text)) != 1:
            raise ValueError("needs exactly one of html, selection and text")
        return self


@router.post("/notes", status_code=202, response_model=Added, responses=_REFUSED)
async def add_note(request: Request, note: NewNote, response: Response) -> items.Added:
    """Keep a note."""
    make = partial(
        handed.note,
        state(request).settings.data_dir,
        note.text,
        now=state(request).clock(),
        correlation_id=request_id(request),
        key=secrets.token_hex(16),
        title=note.title,
        tags=note.tags,
    )
    return await _add(request, response, make)


@router.get("/notes/{item_id}", response_model=Note, responses=documented(401, 404, 422, 503))
def get_note(request: Request, item_id: _Id) -> dict[str, Any]:
    """Look at a note as it was written, and at when it was changed."""
    parts = state(request)
    with read(parts.engine) as conn:
        found = _note(items.get(conn, item_id), item_id)
        versions = items.versions_of(conn, item_id)
    text = _original(parts, found["original_sha256"]).decode("utf-8", "replace")
    return {"id": item_id, "title": found["title"], "text": text, "versions": versions}


@router.get(
    "/notes/{item_id}/versions/{version_id}", response_model=Text, responses=documented(401, 404, 422, 503)
)
def get_version(
    request: Request,
    item_id: _Id,
    version_id: Annotated[int, Path(description="The version's id.", ge=1, le=MAX_ID)],
) -> dict[str, str]:
    """Look at what a note said before it was changed."""
    parts = state(request)
    with read(parts.engine) as conn:
        _note(items.get(conn, item_id), item_id)
        found = [one for one in items.versions_of(conn, item_id) if one["id"] == version_id]
    if not found:
        raise Problem(404, "not_found", f"The note {item_id} has no version {version_id}.")
    return {"text": _original(parts, found[0]["original_sha256"]).decode("utf-8", "replace")}


@router.put(
    "/notes/{item_id}",
    status_code=202,
    response_model=Added,
    responses=documented(401, 403, 404, 413, 422, 503),
)
def change_note(request: Request, item_id: _Id, note: ChangedNote) -> dict[str, Any]:
    """Change a note. What it said before stays among its versions."""
    parts = state(request)
    with parts.engine.begin() as conn:
        _note(items.get(conn, item_id), item_id)
        try:
            handed.edit_note(
                conn,
                parts.settings.data_dir,
                item_id,
                note.text,
                now=parts.clock(),
                correlation_id=request_id(request),
                title=note.title,
            )
        except Refused as error:
            raise _refusal(error) from None
        found = items.get(conn, item_id)
    return _note(found, item_id)


@router.post(
    "/files",
    status_code=202,
    response_model=Added,
    responses=_REFUSED,
    openapi_extra={"requestBody": {"required": True, "content": {"application/octet-stream": {}}}},
)
async def add_file(
    request: Request,
    response: Response,
    name: Annotated[str, Query(description="The file's name.", min_length=1, max_length=300)],
    title: Annotated[str | None, Query(description="What to call it.", max_length=500)] = None,
    tag: Annotated[list[str], Query(description="What it is filed under; may be repeated.")] = [],  # noqa: B006
) -> items.Added:
    """Keep a file: PDF, HTML, Markdown, plain text or a mail (.eml). The body is the file itself."""
    make = partial(
        handed.file,
        state(request).settings.data_dir,
        name,
        await request.body(),
        now=state(request).clock(),
        correlation_id=request_id(request),
        content_type=request.headers.get("content-type", ""),
        title=title,
        tags=tag,
    )
    return await _add(request, response, make)


@router.post("/capture", status_code=202, response_model=Added, responses=_REFUSED)
async def capture(request: Request, page: Capture, response: Response) -> items.Added:
    """Keep what a browser shows of a page, for pages that only you can see.

    A whole page becomes the article of that address. If that is here and could be read, nothing of it is
    changed; if it failed or still waits, what the browser showed is read instead. What was selected becomes a
    note of its own that says where it is from.
    """
    parts = state(request)
    common: dict[str, Any] = {
        "correlation_id": request_id(request),
        "title": page.title,
        "tags": page.tags,
    }
    make = (
        partial(handed.page, parts.settings.data_dir, page.url, page.html, **common)
        if page.html.strip()
        else partial(
            handed.selection,
            parts.settings.data_dir,
            page.url,
            now=parts.clock(),
            text=page.text,
            markup=page.selection,
            **common,
        )
    )
    return await _add(request, response, make)


@router.get(
    "/items/{item_id}/original",
    response_class=Response,
    responses={**documented(401, 404, 422, 503), 200: {"content": {"application/octet-stream": {}}}},
)
def get_original(request: Request, item_id: _Id) -> Response:
    """Download an item's original: the bytes as they came in."""
    parts = state(request)
    with read(parts.engine) as conn:
        found = items.get(conn, item_id)
    if found is None or not found["original_sha256"]:
        raise Problem(404, "not_found", f"There is no original of an item {item_id}.")
    raw = _original(parts, found["original_sha256"])
    media_type = (found["original_type"] or "").partition(";")[0].strip().lower()
    ending = next((end for end, kind in handed.TYPES.items() if kind == media_type), "")
    name = (found["title"] or f"item {item_id}")[:100]
    name = quote(name if ending and name.lower().endswith(ending) else name + ending, safe="")
    # A stranger's page must not run as one of ours: it is saved, never shown.
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{name}"}
    return Response(raw, media_type="application/octet-stream", headers=headers)


async def _add(request: Request, response: Response, make: "partial[New]") -> items.Added:
    try:
        new = await run_in_threadpool(make)
    except Refused as error:
        raise _refusal(error) from None
    added = await state(request).saver.add(new)
    response.headers["Location"] = f"/api/items/{added.id}"
    return added


def _refusal(error: Refused) -> Problem:
    return Problem(422, "not_readable", str(error))


def _note(found: dict[str, Any] | None, item_id: int) -> dict[str, Any]:
    if found is None or not handed.is_note(found):
        raise Problem(404, "not_found", f"There is no note {item_id}.")
    return found


def _original(parts: State, sha256: str) -> bytes:
    try:
        return originals.get(parts.settings.data_dir, sha256)
    except (originals.OriginalMissing, originals.OriginalCorrupt):
        message = "Its original is missing or damaged. `atlas audit` says more."
        raise Problem(404, "original_missing", message) from None
