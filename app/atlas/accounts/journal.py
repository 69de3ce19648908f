"""The record of what was done to accounts, and by whom."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from sqlalchemy.engine import Connection

from atlas.database.tables import audit as audit_table


def audit(
    conn: Connection, actor: str, action: str, detail: Mapping[str, Any] | None, now: dt.datetime
) -> None:
    """Record that `actor` (a user's name, "anonymous" or "system") did `action` ("login", "token.create").

    `detail` holds no secrets, and nothing a stranger typed where a secret could have gone by mistake.
    """
    row = {"at": now, "actor": actor, "action": action, "detail": dict(detail) if detail else None}
    conn.execute(audit_table.insert().values(row))
