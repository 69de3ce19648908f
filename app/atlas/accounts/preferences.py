"""What a user likes: small choices kept with the account, so that every browser shows the same."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from atlas.database.tables import users


def preferences(conn: Connection, user_id: int) -> dict[str, Any]:
    """Return what a user chose; empty when nothing yet, or when there is no such user."""
    return dict(conn.execute(sa.select(users.c.preferences).where(users.c.id == user_id)).scalar() or {})


def prefer(conn: Connection, user_id: int, changes: Mapping[str, Any]) -> None:
    """Remember choices; those not among `changes` stay."""
    kept = preferences(conn, user_id) | dict(changes)
    conn.execute(users.update().where(users.c.id == user_id).values(preferences=kept))
