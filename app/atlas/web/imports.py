"""Imports: hand in a file, watch it go on, look at what became of each record."""

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from atlas.api.edge import request_id
from atlas.api.errors import Problem
from atlas.api.state import state
from atlas.database.engine import read
from atlas.sources import imports as store
from atlas.sources.imports import ENDED, FORMATS, OUTCOMES, Unreadable
from atlas.sources.imports.store import create
from atlas.web.forms import Form, SentForm
from atlas.web.page import found, number, page, see

router = APIRouter(include_in_schema=False)

LIST_LIMIT = 20
REPORT_LIMIT = 100

#: What became of a record, in words.
OUTCOME_WORDS = {
    "added": "Added",
    "duplicate": "Here already",
    "subscribed": "Feeds followed",
    "followed": "Feeds followed already",
    "refused": "Refused",
    "skipped": "Skipped",
}


@router.get("/imports")
def imports(request: Request) -> Response:
    """Ask for a file, and show what was imported before."""
    return _imports(request)


@router.post("/imports")
async def start(request: Request, sent: SentForm) -> Response:
    """Keep a file and have it imported."""
    parts = state(request)
    if not sent.files:
        return await run_in_threadpool(_imports, request, error="Choose a file first.", status=422)
    (file, *_) = sent.files
    try:
        started = await run_in_threadpool(
            store.start,
            parts.engine,
            parts.settings,
            file.file,
            name=file.filename or "",
            now=parts.clock(),
            form=sent.fields.get("format") or None,
            dry_run=sent.fields.get("dry_run") == "1",
            correlation_id=request_id(request),
        )
    except Unreadable as error:
        return await run_in_threadpool(_imports, request, error=str(error), status=422)
    return see(f"/imports/{started['id']}")


@router.get("/imports/{import_id:row}")
def one(request: Request, import_id: int) -> Response:
    """Show how far an import is, and what became of its records."""
    outcome = request.query_params.get("outcome", "")
    after = number(request, "after") or 0
    with read(state(request).engine) as conn:
        row = found(store.get(conn, import_id))
        rows = store.report(
            conn,
            import_id,
            outcome=outcome if outcome in OUTCOMES else None,
            after=after,
            limit=REPORT_LIMIT,
        )
    return page(
        request,
        "import.html",
        here="add",
        job=row,
        ended=row["state"] in ENDED,
        words=OUTCOME_WORDS,
        rows=rows,
        outcome=outcome if outcome in OUTCOMES else "",
        further=rows[-1]["position"] if len(rows) == REPORT_LIMIT else None,
    )


@router.post("/imports/{import_id:row}/cancel")
def cancel(request: Request, import_id: int, form: Form) -> Response:  # noqa: ARG001 - the form is its proof
    """End an import where it is; what it has added stays."""
    parts = state(request)
    with parts.engine.begin() as conn:
        found(store.get(conn, import_id))
        store.cancel(conn, import_id, now=parts.clock())
    return see(f"/imports/{import_id}")


@router.post("/imports/{import_id:row}/run")
def run(request: Request, import_id: int, form: Form) -> Response:  # noqa: ARG001 - the form is its proof
    """Do in earnest what a dry run only told."""
    parts = state(request)
    with parts.engine.begin() as conn:
        row = found(store.get(conn, import_id))
        if not row["dry_run"]:
            raise Problem(409, "no_dry_run", "This import was no dry run.")
        started = create(
            conn,
            form=row["format"],
            name=row["name"],
            sha256=row["original_sha256"],
            now=parts.clock(),
            correlation_id=request_id(request),
        )
    return see(f"/imports/{started['id']}")


def _imports(request: Request, *, error: str = "", status: int = 200) -> Response:
    with read(state(request).engine) as conn:
        rows, following = store.list_imports(conn, limit=LIST_LIMIT, cursor=number(request, "before"))
    return page(
        request,
        "imports.html",
        here="add",
        imports=rows,
        older=following,
        formats=FORMATS,
        error=error,
        status=status,
    )
