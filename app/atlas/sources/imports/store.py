"""The rows of imports: started, looked at, cancelled. What is in the files is read elsewhere (`work`)."""

import datetime as dt
import secrets
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from atlas.database.dialect import MAX_ID
from atlas.database.tables import import_rows, imports

#: What can become of a record: `skipped` is what nobody would want (advertisements), `refused` what cannot
#: be taken over, `followed` a feed that was followed already.
OUTCOMES = ("added", "duplicate", "subscribed", "followed", "refused", "skipped")
#: States an import does not leave any more.
ENDED = ("done", "failed", "cancelled")

_SHOWN = (
    imports.c.id, imports.c.format, imports.c.name, imports.c.state, imports.c.dry_run, imports.c.position,
    imports.c.total, imports.c.counts, imports.c.error, imports.c.original_sha256, imports.c.correlation_id,
    imports.c.created_at, imports.c.finished_at,
)  # fmt: skip


def create(
    conn: Connection,
    *,
    form: str,
    name: str,
    sha256: str,
    now: dt.datetime,
    dry_run: bool = False,
    correlation_id: str | None = None,
) -> dict[str, Any]:
    """Note down an import whose file is kept; return it. A worker begins with it within seconds."""
    row = {
        "format": form,
        "name": name[:200] or "import",
        "original_sha256": sha256,
        "state": "waiting",
        "dry_run": dry_run,
        "counts": {},
        "due_at": now,
        "correlation_id": correlation_id or secrets.token_hex(8),
        "created_at": now,
    }
    new_id: int = conn.execute(imports.insert().values(row).returning(imports.c.id)).scalar_one()
    found = get(conn, new_id)
    assert found is not None  # noqa: S101 - it was just written
    return found


def get(conn: Connection, import_id: int) -> dict[str, Any] | None:
    """Return an import and how far it is; None when there is no such import."""
    if not 0 < import_id <= MAX_ID:
        return None
    found = conn.execute(sa.select(*_SHOWN).where(imports.c.id == import_id)).one_or_none()
    return _row(dict(found._mapping)) if found else None


def list_imports(
    conn: Connection, *, limit: int = 50, cursor: int | None = None
) -> tuple[list[dict[str, Any]], int | None]:
    """Return at most `limit` imports, newest first, and the cursor of the next page (None: the last)."""
    query = sa.select(*_SHOWN).order_by(imports.c.id.desc()).limit(limit + 1)
    if cursor is not None:
        query = query.where(imports.c.id < min(cursor, MAX_ID))
    rows = [_row(dict(row._mapping)) for row in conn.execute(query)]
    return rows[:limit], (rows[limit - 1]["id"] if len(rows) > limit else None)


def report(
    conn: Connection, import_id: int, *, outcome: str | None = None, after: int = 0, limit: int = 100
) -> list[dict[str, Any]]:
    """Return what became of records after position `after`: position, outcome, url, item_id, message."""
    columns = (
        import_rows.c.position, import_rows.c.outcome, import_rows.c.url, import_rows.c.item_id,
        import_rows.c.message,
    )  # fmt: skip
    query = sa.select(*columns).where(import_rows.c.import_id == import_id, import_rows.c.position > after)
    if outcome is not None:
        query = query.where(import_rows.c.outcome == outcome)
    query = query.order_by(import_rows.c.position).limit(limit)
    return [dict(row._mapping) for row in conn.execute(query)]


def cancel(conn: Connection, import_id: int, *, now: dt.datetime) -> bool:
    """End an import where it is; what it has added stays. False when it has ended, or never was."""
    if not 0 < import_id <= MAX_ID:
        return False
    change = imports.update().where(imports.c.id == import_id, imports.c.state.not_in(ENDED))
    change = change.values(state="cancelled", lease=None, due_at=None, finished_at=now)
    return conn.execute(change).rowcount > 0


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    counts = row["counts"] or {}
    return {**row, "counts": {name: counts.get(name, 0) for name in OUTCOMES}}
