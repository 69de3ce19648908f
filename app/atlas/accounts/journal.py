"""The record of what was done to accounts, and by whom."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from atlas.database.dialect import MAX_ID
from atlas.database.tables import audit as audit_table


def audit(
    conn: Connection, actor: str, action: str, detail: Mapping[str, Any] | None, now: dt.datetime
) -> None:
    """Record that `actor` (a user's name, "anonymous" or "system") did `action` ("login", "token.create").

    `detail` holds no secrets, and nothing a stranger typed where a secret could have gone by mistake.
    """
    row = {"at": now, "actor": actor, "action": action, "detail": dict(detail) if detail else None}
    conn.execute(audit_table.insert().values(row))


@dataclass(frozen=True, slots=True)
class AuditRow:
    """Something that was done."""

    id: int
    at: dt.datetime
    actor: str
    action: str
    detail: dict[str, Any] | None


def read_audit(conn: Connection, *, limit: int = 50, before: int | None = None) -> list[AuditRow]:
    """Return what was done, newest first; `before` is the id of the last one seen."""
    query = sa.select(audit_table).where(audit_table.c.id < (MAX_ID if before is None else before))
    found = conn.execute(query.order_by(audit_table.c.id.desc()).limit(limit))
    return [AuditRow(**row._mapping) for row in found]
