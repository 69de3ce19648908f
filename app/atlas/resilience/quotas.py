"""Allowances: how often a provider may be asked in a day (UTC)."""

import datetime as dt

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from atlas.database.dialect import insert
from atlas.database.tables import quotas


def take(conn: Connection, name: str, *, most: int, now: dt.datetime) -> bool:
    """Use one of the day's allowance; False when it is used up."""
    if most < 1:
        return False
    day = now.astimezone(dt.UTC).date().isoformat()
    new = insert(conn, quotas).values(name=name, day=day, used=1)
    new = new.on_conflict_do_update(
        index_elements=["name", "day"], set_={"used": quotas.c.used + 1}, where=quotas.c.used < most
    )
    return conn.execute(new.returning(quotas.c.used)).first() is not None


def used(conn: Connection, name: str, *, now: dt.datetime) -> int:
    """Return how much of the day's allowance is used."""
    day = now.astimezone(dt.UTC).date().isoformat()
    query = sa.select(quotas.c.used).where(quotas.c.name == name, quotas.c.day == day)
    return conn.execute(query).scalar() or 0


def forget(conn: Connection, *, now: dt.datetime) -> None:
    """Remove the days that are over for long."""
    before = (now.astimezone(dt.UTC).date() - dt.timedelta(days=31)).isoformat()
    conn.execute(quotas.delete().where(quotas.c.day < before))
