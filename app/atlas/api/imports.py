"""Imports: hand in a file, see how far it is, fetch its report, stop it."""

import csv
import errno
import io
import json
import tempfile
from collections.abc import Iterator
from datetime import datetime
from typing import IO, Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, BeforeValidator, Field
from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from atlas.api.edge import request_id
from atlas.api.errors import Problem, documented
from atlas.api.state import state
from atlas.database.dialect import MAX_ID
from atlas.database.engine import read
from atlas.sources import imports

router = APIRouter(prefix="/api/imports", tags=["imports"])

_given = BeforeValidator(lambda value: None if value == "" else value)
_Id = Annotated[int, Path(description="The import's id.")]
_CHUNK = 1 << 20
#: Lines of a report read at once.
_PAGE = 1000
_COLUMNS = ("position", "outcome", "url", "item_id", "message")


class ImportFailure(BaseModel):
    """Why an import ended before its file did."""

    code: str
    message: str


class Import(BaseModel):
    """An import, and how far it is."""

    id: int
    format: str
    name: str
    state: str = Field(description="waiting, running, done, failed or cancelled.")
    dry_run: bool = Field(description="Whether it only tells what would happen.")
    position: int = Field(description="Records dealt with so far.")
    total: int | None = Field(description="Records in the file; null until they were counted.")
    counts: dict[str, int] = Field(
        description="What became of them: added, duplicate, subscribed, followed, refused, skipped."
    )
    error: ImportFailure | None
    created_at: datetime
    finished_at: datetime | None


class ImportPage(BaseModel):
    """Some imports, newest first."""

    items: list[Import]
    next: str | None = Field(description="`cursor` of the next page; null on the last.")


class ImportRow(BaseModel):
    """What became of one record."""

    position: int
    outcome: str
    url: str
    item_id: int | None
    message: str | None


@router.post(
    "",
    status_code=202,
    response_model=Import,
    responses=documented(401, 403, 413, 422, 503, 507),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def start(
    request: Request,
    response: Response,
    name: Annotated[str, Query(description="What to call it: the file's name.", max_length=200)] = "",
    form: Annotated[
        Annotated[str, Field(max_length=40)] | None,
        _given,
        Query(alias="format", description="Its format, if what is in it shall not tell."),
    ] = None,
    dry_run: Annotated[bool, Query(description="Only tell what would happen.")] = False,  # noqa: FBT002
) -> dict[str, Any]:
    """Import a file: the body is the file itself, of any format Atlas knows.

    It is kept durably when this answers, and read by a worker: look at the import to see it go on. What is
    here already is not changed by it, and the same file once more adds nothing.
    """
    parts = state(request)
    # Beside the originals, where there is room for it if anywhere.
    with tempfile.TemporaryFile(dir=await run_in_threadpool(_made, parts.settings.data_dir)) as file:
        try:
            await received(request, file)
            started = await run_in_threadpool(
                imports.start,
                parts.engine,
                parts.settings,
                file,
                name=name,
                now=parts.clock(),
                form=form,
                dry_run=dry_run,
                correlation_id=request_id(request),
            )
        except imports.Unreadable as error:
            raise Problem(422, "unreadable_file", str(error)) from None
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise Problem(507, "disk_full", "There is no room for this file on the disk.") from None
    response.headers["Location"] = f"/api/imports/{started['id']}"
    return started


async def received(request: Request, file: IO[bytes]) -> None:
    """Write the body of a request to a file as it comes."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        chunks.append(chunk)
        size += len(chunk)
        if size >= _CHUNK:
            await run_in_threadpool(file.write, b"".join(chunks))
            chunks, size = [], 0
    await run_in_threadpool(file.write, b"".join(chunks))


def _made(directory: Any) -> Any:  # noqa: ANN401 - a path
    directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    return directory


@router.get("", response_model=ImportPage, responses=documented(401, 422, 503))
def list_imports(
    request: Request,
    limit: Annotated[int, Query(description="How many at most.", ge=1, le=200)] = 50,
    cursor: Annotated[
        Annotated[int, Field(ge=1, le=MAX_ID)] | None, _given, Query(description="`next` of the page before.")
    ] = None,
) -> dict[str, Any]:
    """List imports, newest first."""
    with read(state(request).engine) as conn:
        found, following = imports.list_imports(conn, limit=limit, cursor=cursor)
    return {"items": found, "next": None if following is None else str(following)}


@router.get("/{import_id}", response_model=Import, responses=documented(401, 404, 422, 503))
def get(request: Request, import_id: _Id) -> dict[str, Any]:
    """Look at an import: how far it is, and what became of its records."""
    return existing(state(request).engine, import_id)


@router.get(
    "/{import_id}/report",
    response_model=list[ImportRow],
    responses={
        **documented(401, 404, 422, 503),
        200: {"description": "A line for each record.", "content": {"text/csv": {}}},
    },
)
def report(
    request: Request,
    import_id: _Id,
    form: Annotated[
        Literal["json", "csv"], Query(alias="format", description="json (a list) or csv (a table).")
    ] = "json",
    outcome: Annotated[
        Annotated[str, Field(max_length=20)] | None, _given, Query(description="Only records it befell.")
    ] = None,
) -> Response:
    """Fetch the report: what became of each record, as far as the import is."""
    engine = state(request).engine
    existing(engine, import_id)
    rows = _rows(engine, import_id, outcome)
    body, kind = (
        (_csv(rows), "text/csv; charset=utf-8") if form == "csv" else (_json(rows), "application/json")
    )
    name = f"atlas-import-{import_id}.{form}"
    return StreamingResponse(
        body, media_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )


@router.post("/{import_id}/cancel", response_model=Import, responses=documented(401, 403, 404, 409, 422, 503))
def cancel(request: Request, import_id: _Id) -> dict[str, Any]:
    """End an import where it is. What it has added stays."""
    parts = state(request)
    found = existing(parts.engine, import_id)
    with parts.engine.begin() as conn:
        if not imports.cancel(conn, import_id, now=parts.clock()):
            raise Problem(409, "import_ended", f"This import has ended already: it is {found['state']}.")
    return existing(parts.engine, import_id)


def existing(engine: Engine, import_id: int) -> dict[str, Any]:
    """Return an import. Raises Problem."""
    with read(engine) as conn:
        found = imports.get(conn, import_id)
    if found is None:
        raise Problem(404, "not_found", f"There is no import {import_id}.")
    return found


def _rows(engine: Engine, import_id: int, outcome: str | None) -> Iterator[list[dict[str, Any]]]:
    after = 0
    while True:
        with read(engine) as conn:
            rows = imports.report(conn, import_id, outcome=outcome, after=after, limit=_PAGE)
        if not rows:
            return
        yield rows
        after = rows[-1]["position"]


def _json(pages: Iterator[list[dict[str, Any]]]) -> Iterator[bytes]:
    before = b"[\n"
    for rows in pages:
        yield before + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()
        before = b",\n"
    yield b"\n]\n" if before != b"[\n" else b"[]\n"


def _csv(pages: Iterator[list[dict[str, Any]]]) -> Iterator[bytes]:
    yield (",".join(_COLUMNS) + "\r\n").encode()
    for rows in pages:
        text = io.StringIO()
        csv.writer(text).writerows([_cell(row[name]) for name in _COLUMNS] for row in rows)
        yield text.getvalue().encode()


def _cell(value: object) -> object:
    """Keep spreadsheets from taking text for a formula."""
    return (
        f"'{value}"
        if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
        else value
    )
