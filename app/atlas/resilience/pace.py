"""How fast a host is asked: slower when it errs, refuses or takes long; faster again little by little.

What was learnt stands in `hosts`: the pause between two fetches (NULL: the setting's) and the running mean of
how long answers take.
"""

import datetime as dt
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from atlas.database.dialect import insert
from atlas.database.tables import hosts

Outcome = Literal["answered", "failed", "refused"]

#: The longest pause that is learnt, in seconds; what a host asks for itself (Retry-After) may be longer.
SLOWEST = 60.0
#: The first pause that is longer than none.
STEP = 0.5
#: A host that takes longer than this on average is in trouble: it is given as long to itself (seconds).
SLOW_ANSWER = 3.0


def next_delay(delay: float, usual: float, outcome: Outcome, mean: float | None) -> float:
    """Return the pause after `outcome`, between the usual one and the slowest."""
    if outcome != "answered":
        factor = 3.0 if outcome == "refused" else 2.0
        return min(max(delay, usual, STEP) * factor, max(SLOWEST, usual))
    wanted = max(usual, mean) if mean is not None and mean > SLOW_ANSWER else usual
    if delay < wanted:
        return min(wanted, max(SLOWEST, usual))
    return max(delay * 0.9, wanted)


def next_mean(mean: float | None, seconds: float) -> float:
    """Return the running mean after an answer that took so long; the last five weigh about as much."""
    return seconds if mean is None else mean + (seconds - mean) / 5


def note(
    conn: Connection, host: str, outcome: Outcome, seconds: float, *, usual: float, now: dt.datetime
) -> None:
    """Learn from a fetch."""
    query = sa.select(hosts.c.delay_seconds, hosts.c.latency_seconds).where(hosts.c.host == host)
    found = conn.execute(query.with_for_update()).one_or_none()
    known = None if found is None else found.delay_seconds
    mean = None if found is None else found.latency_seconds
    if outcome == "answered":
        mean = next_mean(mean, seconds)
    delay: float | None = next_delay(usual if known is None else max(known, usual), usual, outcome, mean)
    if delay is not None and delay <= usual * 1.01:
        delay = None
    learnt = {"delay_seconds": delay, "latency_seconds": mean}
    new = insert(conn, hosts).values(host=host, next_at=now, **learnt)
    conn.execute(new.on_conflict_do_update(index_elements=["host"], set_=learnt))
