"""Asking all feeds that are due, in a few threads: a worker in short rounds, `atlas poll` once by hand."""

import datetime as dt
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import structlog
from sqlalchemy.engine import Engine

from atlas.database.engine import read
from atlas.patience import is_outage
from atlas.settings import Settings
from atlas.sources import feeds
from atlas.sources.feeds import Asks, Fetches, Polled
from atlas.stages.context import Context

#: Feeds of how many hosts are asked at the same time.
THREADS = 4
#: No feed is begun after so many seconds; it stays due for the next round.
ROUND_SECONDS = 240.0

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Round:
    """What a round did: feeds read, feeds that failed, feeds left for the next, new items."""

    read: int = 0
    failed: int = 0
    left: int = 0
    new_items: int = 0


def utc_now() -> dt.datetime:
    """Return the present moment."""
    return dt.datetime.now(dt.UTC)


def poll_due(
    settings: Settings,
    engine: Engine,
    fetcher: Fetches,
    reader: Asks,
    *,
    clock: Callable[[], dt.datetime] = utc_now,
    seconds: float = ROUND_SECONDS,
) -> Round:
    """Ask every feed that is due, those of one host after one another. Raises when the database is away."""
    with read(engine) as conn:
        waiting = feeds.due(conn, clock())
    if not waiting:
        return Round()
    end = time.monotonic() + seconds
    with ThreadPoolExecutor(THREADS, "poll") as threads:

        def ask(feed_ids: list[int]) -> list[Polled]:
            return _ask_host(_Parts(settings, engine, fetcher, reader, clock), feed_ids, end)

        results = [polled for found in threads.map(ask, _by_host(waiting)) for polled in found]
    failed = sum(polled.error is not None for polled in results)
    return Round(
        read=len(results) - failed,
        failed=failed,
        left=len(waiting) - len(results),
        new_items=sum(polled.new_items for polled in results),
    )


@dataclass(frozen=True, slots=True)
class _Parts:
    settings: Settings
    engine: Engine
    fetcher: Fetches
    reader: Asks
    clock: Callable[[], dt.datetime]


def _by_host(waiting: Iterable[tuple[int, str]]) -> list[list[int]]:
    hosts: dict[str, list[int]] = {}
    for feed_id, host in waiting:
        hosts.setdefault(host, []).append(feed_id)
    return list(hosts.values())


def _ask_host(parts: _Parts, feed_ids: list[int], end: float) -> list[Polled]:
    """Ask the feeds of one host, politely, until the time is up."""
    results = []
    for number, feed_id in enumerate(feed_ids):
        if number:
            time.sleep(parts.settings.host_delay_seconds)
        if time.monotonic() >= end:
            break
        try:
            polled = feeds.poll(
                parts.settings, parts.engine, parts.fetcher, parts.reader, feed_id, now=parts.clock()
            )
        except Exception as error:
            if is_outage(error):
                raise
            log.exception("feed broke its reading", feed=feed_id)
            polled = Polled(feed_id, error="internal_error")
        if polled is not None:
            results.append(polled)
    return results


#: How long a worker asks feeds before it sees to something else, in seconds.
CHORE_SECONDS = 20.0


def poll_chore(ctx: Context) -> None:
    """Ask the feeds that are due, for a little while: see `atlas.chores`."""
    done = poll_due(ctx.settings, ctx.engine, ctx.fetcher, ctx.reader, clock=ctx.clock, seconds=CHORE_SECONDS)
    log.info("feeds polled", **asdict(done))
