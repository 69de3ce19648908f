"""The annotations of the wallabag API: highlights and their notes.

wallabag places them by paths into the page; ours are found by their words, so no places are told.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter
from sqlalchemy.engine import Connection
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from atlas import highlights
from atlas.api.auth import principal
from atlas.api.errors import Problem
from atlas.api.state import state
from atlas.clients.params import Given
from atlas.database.engine import read
from atlas.database.tables import highlights as table

router = APIRouter(include_in_schema=False, prefix="/wallabag/api/annotations")


@router.get("/{entry_id:row}")
@router.get("/{entry_id:row}.json")
def list_annotations(request: Request, entry_id: int) -> Response:
    """List the annotations of an entry."""
    with read(state(request).engine) as conn:
        rows = [shown(row, principal(request).name) for row in of_entries(conn, [entry_id])]
    return JSONResponse({"total": len(rows), "rows": rows})


@router.post("/{entry_id:row}")
@router.post("/{entry_id:row}.json")
def add_annotation(request: Request, entry_id: int, given: Given) -> Response:
    """Mark a passage, with a note."""
    parts = state(request)
    with parts.engine.begin() as conn:
        row = highlights.create(
            conn, entry_id, given.get("quote"), now=parts.clock(), note=given.get("text") or None
        )
    return _answer(request, row, "There is no such entry, or no passage to mark.")


@router.put("/{annotation_id:row}")
@router.put("/{annotation_id:row}.json")
def change_annotation(request: Request, annotation_id: int, given: Given) -> Response:
    """Change the note."""
    parts = state(request)
    with parts.engine.begin() as conn:
        row = highlights.update(conn, annotation_id, {"note": given.get("text")}, now=parts.clock())
    return _answer(request, row, "There is no such annotation.")


@router.delete("/{annotation_id:row}")
@router.delete("/{annotation_id:row}.json")
def remove_annotation(request: Request, annotation_id: int) -> Response:
    """Take a mark away."""
    with state(request).engine.begin() as conn:
        row = highlights.get(conn, annotation_id)
        highlights.delete(conn, annotation_id)
    return _answer(request, row, "There is no such annotation.")


def of_entries(conn: Connection, entry_ids: Sequence[int]) -> list[dict[str, Any]]:
    """Return the annotations of entries, in the order of their texts."""
    query = sa.select(table).where(table.c.item_id.in_(entry_ids))
    return [dict(row._mapping) for row in conn.execute(query.order_by(table.c.item_id, table.c.position))]


def shown(row: dict[str, Any], user_name: str) -> dict[str, Any]:
    """Return an annotation as wallabag does."""
    return {
        "id": row["id"],
        "annotator_schema_version": "v1.0",
        "text": row["note"] or "",
        "quote": row["quote"],
        "ranges": [],
        "user": user_name,
        "created_at": _time(row["created_at"]),
        "updated_at": _time(row["updated_at"]),
    }


def _answer(request: Request, row: dict[str, Any] | None, trouble: str) -> Response:
    if row is None:
        raise Problem(404, "not_found", trouble)
    return JSONResponse(shown(row, principal(request).name))


def _time(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S+0000")
