"""Chores: what must be done again and again, each by one worker at a time. The worker's clerk does them.

A row of `marks` says when a chore was begun last and whether it is still being done; who changes that row
has the chore. Whoever is killed over it loses it after the chore's `longest_seconds`.
"""

import datetime as dt
import importlib
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection

from atlas import dead_letters, items, scheduler
from atlas.database.dialect import insert
from atlas.database.engine import read
from atlas.database.tables import marks
from atlas.patience import Stopping, is_outage
from atlas.resilience import upkeep
from atlas.sources import describing, feeds, retention, transcript_search
from atlas.sources.imports import work as imports
from atlas.stages.context import Context
from atlas.telemetry import errors

_PREFIX = "chore:"

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Chore:
    """Something to be done every so many seconds.

    `run` may raise what it likes: it is logged, and the chore comes round again. `wanted` (a read, cheap)
    says whether there is anything to do, for what is looked at often.
    """

    name: str
    every_seconds: float
    run: Callable[[Context], None]
    wanted: Callable[[Connection, dt.datetime], bool] | None = None
    longest_seconds: float = 900


def _send_report(ctx: Context) -> None:
    if ctx.settings.report_to:  # the templates are loaded only where they are used
        importlib.import_module("atlas.report.post").send_if_due(ctx)


def _watch_mail(ctx: Context) -> None:
    if ctx.settings.imap_host:
        importlib.import_module("atlas.sources.mailbox").watch(ctx)


def _summarise(ctx: Context) -> None:
    if ctx.settings.llm_url:
        importlib.import_module("atlas.enhancing.summaries").run(ctx)


#: All there are. Chores must end soon when they cannot reach what they need: they take turns.
CHORES: tuple[Chore, ...] = (
    Chore("feeds", 15, scheduler.poll_chore, feeds.is_any_due),
    Chore("transcripts", 15, transcript_search.look, transcript_search.is_any_due),
    Chore("descriptions", 15, describing.describe_some, describing.is_any_left),
    Chore("retention", 6 * 3600, retention.remove_old),
    Chore("errors", 86_400, errors.prune),
    Chore("resting hosts", 15, upkeep.put_off_resting, items.any_waits_for_resting),
    Chore("dead letters", 3600, dead_letters.revive, dead_letters.any_to_revive),
    Chore("mail", 300, _watch_mail),
    Chore("summaries", 120, _summarise),
    Chore("loads", 1800, upkeep.learn_loads),
    Chore("breakers", 86_400, upkeep.forget_breakers),
    Chore("weekly report", 900, _send_report),
    Chore("imports", 1, imports.run, wanted=imports.is_wanted, longest_seconds=90),
)


@dataclass(slots=True)
class Clerk:
    """Does the chores that are due; `go_round` is called again and again by one thread."""

    ctx: Context
    chores: Sequence[Chore] = CHORES
    _looked: dict[str, float] = field(default_factory=dict)

    def go_round(self) -> None:
        """Do each chore that is due and that no one else does.

        Raises Stopping, and the database's errors when it is away.
        """
        for chore in self.chores:
            try:
                if not (self._is_worth_a_look(chore) and self._take(chore)):
                    continue
            except Exception as error:
                if is_outage(error):
                    raise
                log.exception("chore not begun", chore=chore.name)
                continue
            self._do(chore)

    def _is_worth_a_look(self, chore: Chore) -> bool:
        if time.monotonic() < self._looked.get(chore.name, 0.0):
            return False
        self._looked[chore.name] = time.monotonic() + min(chore.every_seconds, 30.0)
        now = self.ctx.clock()
        with read(self.ctx.engine) as conn:
            if chore.wanted is not None and not chore.wanted(conn, now):
                return False
            mark = conn.execute(sa.select(marks.c.updated_at).where(marks.c.name == _PREFIX + chore.name))
            begun = mark.scalar()
        return begun is None or begun <= now - dt.timedelta(seconds=chore.every_seconds)

    def _take(self, chore: Chore) -> bool:
        """Claim the chore; False when it is not due, or another worker is doing it."""
        now, name = self.ctx.clock(), _PREFIX + chore.name
        due = marks.c.updated_at <= now - dt.timedelta(seconds=chore.every_seconds)
        given_up = marks.c.updated_at <= now - dt.timedelta(seconds=chore.longest_seconds)
        is_free = sa.or_(marks.c.value["busy"].as_boolean().is_(False), given_up)
        new = {"value": {"busy": True}, "updated_at": now}
        with self.ctx.engine.begin() as conn:
            claim = insert(conn, marks).values(name=name, **new)
            claim = claim.on_conflict_do_update(
                index_elements=["name"], set_=new, where=sa.and_(due, is_free)
            )
            return conn.execute(claim.returning(marks.c.name)).first() is not None

    def _do(self, chore: Chore) -> None:
        started, error = time.perf_counter(), ""
        try:
            chore.run(self.ctx)
        except Stopping:
            error = "stopped"
            raise
        except Exception as problem:
            error = type(problem).__name__
            if is_outage(problem):
                raise
            error_id, now = secrets.token_hex(4), self.ctx.clock()
            log.exception("chore failed", chore=chore.name, error_id=error_id)
            place = f"the chore {chore.name}"
            errors.keep(self.ctx.engine, problem, error_id=error_id, where="chore", place=place, now=now)
        finally:
            seconds = round(time.perf_counter() - started, 3)
            self._finish(chore, {"busy": False, "error": error, "seconds": seconds})

    def _finish(self, chore: Chore, value: dict[str, Any]) -> None:
        change = marks.update().where(marks.c.name == _PREFIX + chore.name).values(value=value)
        with self.ctx.engine.begin() as conn:
            conn.execute(change)
