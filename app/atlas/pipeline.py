"""The way of one item through its steps, and what becomes of it when one of them fails.

Two transactions an item: what was fetched is kept before it is read, and everything that reading gives is
written with the last stage. A worker that dies in between costs one step; whoever leases the item next goes
on from there.
"""

import datetime as dt
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection

from atlas import items, originals
from atlas.database.tables import transitions
from atlas.fallbacks import wayback
from atlas.fallbacks.look import look
from atlas.items import ItemError, Leased
from atlas.net.errors import FetchError
from atlas.patience import Stopping
from atlas.resilience.breakers import BreakerOpen
from atlas.resilience.retries import wait_seconds
from atlas.sources.videos import video_id
from atlas.stages.context import Context, LeaseLost
from atlas.stages.fetch import fetch
from atlas.stages.finish import finish
from atlas.stages.page import Page, PageError
from atlas.stages.table import FETCHING, Stage
from atlas.stages.video import take_video
from atlas.telemetry import errors
from atlas.telemetry.tally import Tally

#: How often an item may be put off because its site asked for it; then it is given up.
MAX_POSTPONED = 20

#: The longest wait before the next try, in seconds.
MAX_WAIT = 86_400.0

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an item in a worker's hands: complete, duplicate, failed, retried, released, lost."""

    name: str
    code: str = ""


class StepBroke(Exception):  # noqa: N818
    """A step ended in a way nobody expected; the cause is the exception it was."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.stage = stage


def process(ctx: Context, leased: Leased, *, tally: Tally, stopping: Callable[[], bool]) -> Outcome:
    """Take a leased item as far as it goes; afterwards it is leased no more.

    Between steps it is given back when `stopping`. Raises Stopping when that happens while the database is
    away: then the lease runs out by itself.
    """
    try:
        if leased.attempts >= ctx.settings.max_attempts:
            return _fail(ctx, leased, _never_finished(leased))
        try:
            return _go(ctx, leased, tally, stopping)
        except (FetchError, BreakerOpen, PageError, StepBroke) as error:
            return _went_wrong(ctx, leased, error)
    except LeaseLost:
        log.warning("lease lost", item=leased.id)
        return Outcome("lost")


def _went_wrong(
    ctx: Context, leased: Leased, error: FetchError | BreakerOpen | PageError | StepBroke
) -> Outcome:
    match error:
        case FetchError():
            return _fetch_failed(ctx, leased, error)
        case BreakerOpen():
            return _put_off(ctx, leased, error)
        case PageError():
            return _fail(ctx, leased, ItemError(error.code, error.message, error.stage))
        case StepBroke():
            return _step_broke(ctx, leased, error)


def release(ctx: Context, leased: Leased) -> Outcome:
    """Give an item back as it is, for any worker to take at once."""

    def write(conn: Connection) -> bool:
        now = ctx.clock()
        return items.advance(conn, leased, [], now=now, due=now)

    return _checked(ctx, write, Outcome("released"))


def _go(ctx: Context, leased: Leased, tally: Tally, stopping: Callable[[], bool]) -> Outcome:
    raw = None if leased.stage in FETCHING else _kept(ctx, leased)
    if raw is None and (video := video_id(leased.url)) is not None:
        with _step(tally, "video", Stage.FETCH_ATTEMPTING):
            take_video(ctx, leased, video)
        return Outcome("complete")
    if raw is None:
        with _step(tally, "fetch", Stage.FETCH_ATTEMPTING):
            leased, raw = fetch(ctx, leased)
        if stopping():
            return release(ctx, leased)
    leased, page = _read(ctx, leased, raw, tally)
    with _step(tally, "finish", Stage.FINALISATION_STARTED):
        stage = finish(ctx, leased, page)
    return Outcome("duplicate" if stage == Stage.DUPLICATE else "complete")


def _read(ctx: Context, leased: Leased, raw: bytes, tally: Tally) -> tuple[Leased, Page]:
    """Read what came; of a wall or an empty shell, another source's copy if there is one."""
    try:
        with _step(tally, "read", Stage.PROCESSING_STARTED):
            return leased, ctx.reader.read(raw, leased.original_type, _base(leased))
    except PageError as error:
        with _step(tally, "fallback", Stage.FALLBACK_ATTEMPTING):
            found = look(ctx, leased, error.code, error.message)
        if found is None:
            raise
        leased, raw = found
        with _step(tally, "read", Stage.PROCESSING_STARTED):
            return leased, ctx.reader.read(raw, leased.original_type, _base(leased))


def _base(leased: Leased) -> str:
    """Return the address that links in it start from."""
    return wayback.page_address(leased.final_url or leased.url)


def _kept(ctx: Context, leased: Leased) -> bytes | None:
    """Return what was fetched earlier; None when it is not here (any more) and must be fetched again."""
    if leased.original_sha256 is None:
        return None
    try:
        return originals.get(ctx.settings.data_dir, leased.original_sha256)
    except (originals.OriginalMissing, originals.OriginalCorrupt) as error:
        log.warning("original not usable", item=leased.id, reason=str(error))
        return None


@contextmanager
def _step(tally: Tally, name: str, stage: Stage) -> Iterator[None]:
    """Time a step, and tell what it may raise from what it may not."""
    started = time.perf_counter()
    try:
        yield
    except (FetchError, PageError, BreakerOpen, LeaseLost, Stopping):
        raise
    except Exception as error:
        raise StepBroke(stage) from error
    finally:
        tally.step(name, time.perf_counter() - started)


def _fetch_failed(ctx: Context, leased: Leased, error: FetchError) -> Outcome:
    known = ItemError(error.code, error.message, Stage.FETCH_ATTEMPTING)
    if error.code == "rate_limited":
        return _postpone(ctx, leased, known, error.retry_after)
    if error.retry:
        return _retry(ctx, leased, known, at_least=error.retry_after or 0)
    return _fail(ctx, leased, known)


def _put_off(ctx: Context, leased: Leased, error: BreakerOpen) -> Outcome:
    """Give the item back until its host may be asked again. That costs no attempt, and is no change."""

    def write(conn: Connection) -> bool:
        now = ctx.clock()
        at = max(error.retry_at, now) + dt.timedelta(seconds=random.uniform(0, 5))  # noqa: S311
        if not items.put_off(conn, leased, now=now, at=at):
            return False
        items.postpone_host(conn, leased.host, until=error.retry_at)
        return True

    return _checked(ctx, write, Outcome("retried", "host_rests"))


def _step_broke(ctx: Context, leased: Leased, error: StepBroke) -> Outcome:
    message = "Something broke inside Atlas while it handled this page."
    known = ItemError("internal_error", message, error.stage)
    log.error("step broke", item=leased.id, error_id=known.id, stage=error.stage, exc_info=error.__cause__)
    errors.keep(
        ctx.engine,
        error.__cause__ or error,
        error_id=known.id,
        where="worker",
        place=f"stage {error.stage:d} of an item",
        now=ctx.clock(),
        item_id=leased.id,
    )
    return _retry(ctx, leased, known)


def _never_finished(leased: Leased) -> ItemError:
    message = f"Atlas began with this page {leased.attempts} times and never came to an end."
    return ItemError("never_finished", message, leased.stage)


def _retry(ctx: Context, leased: Leased, error: ItemError, *, at_least: float = 0) -> Outcome:
    tries = leased.attempts + 1
    if tries >= ctx.settings.max_attempts:
        message = error.message if tries == 1 else f"{error.message} Tried {tries} times."
        return _fail(ctx, leased, ItemError(error.code, message, error.stage, error.id))
    wait = max(at_least, backoff(ctx.settings.retry_base_seconds, leased.attempts))

    def write(conn: Connection) -> bool:
        now = ctx.clock()
        return items.retry_later(conn, leased, error, now=now, at=now + dt.timedelta(seconds=wait))

    return _checked(ctx, write, Outcome("retried", error.code))


def _postpone(ctx: Context, leased: Leased, error: ItemError, retry_after: float | None) -> Outcome:
    """Come back when the site says so. That costs no attempt, but no site may put us off for ever."""

    def write(conn: Connection) -> Outcome:
        now = ctx.clock()
        before = _postponed(conn, leased.id)
        if before >= MAX_POSTPONED:
            message = f"{error.message} It said so {before + 1} times."
            given_up = ItemError(error.code, message, error.stage, error.id)
            if not items.fail(conn, leased, given_up, now=now):
                raise LeaseLost
            return Outcome("failed", error.code)
        wait = backoff(ctx.settings.retry_base_seconds, before) if retry_after is None else retry_after
        at = now + dt.timedelta(seconds=min(max(wait, ctx.settings.host_delay_seconds), MAX_WAIT))
        if not items.retry_later(conn, leased, error, now=now, at=at, spend_attempt=False):
            raise LeaseLost
        items.postpone_host(conn, leased.host, until=at)
        return Outcome("retried", error.code)

    return ctx.write(write)


def _postponed(conn: Connection, item_id: int) -> int:
    """Count how often an item was put off since it was last added."""
    mine = transitions.c.item_id == item_id
    added = sa.select(sa.func.max(transitions.c.id)).where(mine, transitions.c.stage == Stage.CONTENT_QUEUED)
    since = sa.func.coalesce(added.scalar_subquery(), 0)
    query = sa.select(sa.func.count()).select_from(transitions)
    query = query.where(mine, transitions.c.stage == Stage.RATE_LIMITED, transitions.c.id > since)
    return conn.execute(query).scalar_one()


def backoff(base_seconds: float, failures: int) -> float:
    """Return how long to wait after `failures` earlier ones: doubling, up to a day, never all at once."""
    return wait_seconds("article", failures, base_seconds=base_seconds)


def _fail(ctx: Context, leased: Leased, error: ItemError) -> Outcome:
    """Give the item up; but what its feed had of it is better than nothing, and then it is complete."""

    def write(conn: Connection) -> Outcome:
        now = ctx.clock()
        if items.keep_feed_text(conn, leased, error.message, now=now):
            return Outcome("complete")
        if not items.fail(conn, leased, error, now=now):
            raise LeaseLost
        return Outcome("failed", error.code)

    return ctx.write(write)


def _checked(ctx: Context, write: Callable[[Connection], bool], outcome: Outcome) -> Outcome:
    if not ctx.write(write):
        raise LeaseLost
    return outcome
