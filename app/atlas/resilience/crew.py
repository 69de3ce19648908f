"""How many hands a worker works with: as many as there is work for now, or usually is at this hour."""

import datetime as dt
import math

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from atlas.database.dialect import insert
from atlas.database.tables import items, loads

#: Waiting items that one more hand is worth.
PER_HAND = 2
#: Items an hour usually brings that one more hand stands ready for.
USUAL_PER_HAND = 600
#: How much the newest week counts against all before it.
WEIGHT = 0.3

_HOUR = dt.timedelta(hours=1)


def hands(busy: int, backlog: int, usual: float, most: int) -> int:
    """Return how many hands to work with, from 1 to `most`."""
    wanted = max(busy + math.ceil(backlog / PER_HAND), math.ceil(usual / USUAL_PER_HAND), 1)
    return min(wanted, most)


def hour_of(moment: dt.datetime) -> int:
    """Return the hour of the week (0 is Monday, 00:00 UTC)."""
    moment = moment.astimezone(dt.UTC)
    return moment.weekday() * 24 + moment.hour


def usual(conn: Connection, now: dt.datetime) -> float:
    """Return how many items this hour usually brings; 0 while nobody knows."""
    found = conn.execute(sa.select(loads.c["items"]).where(loads.c.hour == hour_of(now))).scalar()
    return float(found or 0.0)


def learn(conn: Connection, now: dt.datetime) -> None:
    """Count what the last whole hour brought, once."""
    end = now.astimezone(dt.UTC).replace(minute=0, second=0, microsecond=0)
    start = end - _HOUR
    brought = sa.select(sa.func.count()).select_from(items)
    brought = brought.where(items.c.added_at >= start, items.c.added_at < end)
    number = float(conn.execute(brought).scalar_one())
    new = insert(conn, loads).values(hour=hour_of(start), items=number, updated_at=start)
    mean = loads.c["items"] + (number - loads.c["items"]) * WEIGHT
    conn.execute(
        new.on_conflict_do_update(
            index_elements=["hour"],
            set_={"items": mean, "updated_at": start},
            where=loads.c.updated_at < start,
        )
    )
