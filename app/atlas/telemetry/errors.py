"""What broke inside Atlas is kept for a while under the id that whoever met it was shown.

Keeping never fails and never costs more than the error did: without a database there is the log only, and of
a flood of errors no more than so many a minute are written.
"""

import datetime as dt
import re
import threading
import time
import traceback
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection, Engine

from atlas.database.dialect import MAX_ID, insert
from atlas.database.tables import errors, items, transitions
from atlas.status import FAILED
from atlas.telemetry import tally
from atlas.telemetry.logs import correlation_id, mask

if TYPE_CHECKING:  # the API keeps errors too, and needs nothing of what fetches
    from atlas.stages.context import Context

#: How long they are kept, and at most how many.
KEPT_DAYS = 30
MOST_KEPT = 2000

#: At most so many a minute are written by one process; the log has them all.
MOST_A_MINUTE = 30

#: Longest traceback kept, in characters: of a longer one the end.
LONGEST_TRACEBACK = 20_000

#: SQLAlchemy tells the values of a statement, and those may be anything.
_PARAMETERS = re.compile(r"\[parameters: .*\]")

log = structlog.stdlib.get_logger(__name__)


class _Brake:
    """Lets so many through in a minute."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._passed: deque[float] = deque(maxlen=MOST_A_MINUTE)

    def lets_through(self) -> bool:
        now = time.monotonic()
        with self._lock:
            if len(self._passed) == MOST_A_MINUTE and now - self._passed[0] < 60:
                return False
            self._passed.append(now)
            return True


_brake = _Brake()


def keep(
    engine: Engine,
    error: BaseException,
    *,
    error_id: str,
    where: str,
    place: str,
    now: dt.datetime,
    item_id: int | None = None,
) -> None:
    """Keep an error nobody expected; raises nothing.

    `where` is request, worker or chore, `place` says which one.
    """
    try:
        tally.count("errors", where)
        if not _brake.lets_through():
            return
        row = {
            "at": now,
            "code": type(error).__name__,
            "message": _told(str(error))[:500],
            "place": place[:200],
            "item_id": item_id,
            "correlation_id": correlation_id.get(),
            "traceback": _told("".join(traceback.format_exception(error)))[-LONGEST_TRACEBACK:],
        }
        with engine.begin() as conn:
            new = insert(conn, errors).values(id=error_id, **row)
            conn.execute(new.on_conflict_do_update(index_elements=["id"], set_=row))
    except Exception as problem:  # noqa: BLE001 - telling of an error must not be the next one
        log.warning("error not kept", error_id=error_id, reason=str(getattr(problem, "orig", problem)))


def _told(text: str) -> str:
    return mask(_PARAMETERS.sub("[parameters not kept]", text)).replace("\0", "?")


def prune(ctx: "Context") -> None:
    """Forget errors that are old, or too many: a chore."""
    oldest = ctx.clock() - dt.timedelta(days=KEPT_DAYS)
    newest = sa.select(errors.c.id).order_by(errors.c.at.desc()).limit(MOST_KEPT)
    with ctx.engine.begin() as conn:
        conn.execute(errors.delete().where(errors.c.at < oldest))
        conn.execute(errors.delete().where(errors.c.id.not_in(newest.scalar_subquery())))


@dataclass(frozen=True, slots=True)
class Found:
    """What is known under an id: errors that were kept, items it concerns, and what happened to those."""

    errors: list[dict[str, Any]] = field(default_factory=list)
    items: list[dict[str, Any]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)


#: At most so many items and steps are told of.
_MOST = 50

_ITEM = (
    items.c.id, items.c.kind, items.c.url, items.c.title, items.c.stage, items.c.attempts, items.c.error,
    items.c.due_at, items.c.correlation_id, items.c.added_at,
)  # fmt: skip


def find(conn: Connection, wanted: str) -> Found:
    """Find what an id means: of an internal error, of the error of an item, or of a request."""
    kept = _rows(
        conn,
        sa.select(errors)
        .where(sa.or_(errors.c.id == wanted, errors.c.correlation_id == wanted))
        .order_by(errors.c.at),
    )
    ids = {row["item_id"] for row in kept if row["item_id"] is not None}
    failed = sa.select(items.c.id).where(items.c.stage.in_(FAILED), items.c.error["id"].as_string() == wanted)
    ids |= set(conn.execute(failed).scalars())
    of_request = sa.select(transitions.c.item_id).where(transitions.c.correlation_id == wanted).distinct()
    if not ids:
        ids |= set(conn.execute(of_request.limit(_MOST)).scalars())
    few = sorted(one for one in ids if 0 < one <= MAX_ID)[:_MOST]
    known = _rows(conn, sa.select(*_ITEM).where(items.c.id.in_(few)).order_by(items.c.id))
    steps = sa.select(transitions).where(transitions.c.item_id.in_(few)).order_by(transitions.c.id.desc())
    return Found(kept, known, list(reversed(_rows(conn, steps.limit(_MOST)))))


def _rows(conn: Connection, query: sa.Select[Any]) -> list[dict[str, Any]]:
    return [dict(row._mapping) for row in conn.execute(query.limit(_MOST))]
