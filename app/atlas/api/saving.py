"""Adding items fast: requests that arrive together are committed together.

A commit costs a disk flush, whether it carries one item or fifty. While one transaction is under way, the
requests that come in line up and share the next one, so durable commits do not limit how many are answered.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from atlas import items
from atlas.api.edge import request_id
from atlas.api.errors import Problem
from atlas.items import Added, Lane, New

#: Most items in one transaction: keeps the write lock of SQLite short for the worker.
BATCH = 64
#: How long a counted queue size is believed, in seconds; what we add meanwhile is added to it.
COUNT_SECONDS = 1.0
#: When to come back after the queue was found full, in seconds.
QUEUE_RETRY_SECONDS = 30


def asked_for(request: Request, url: str, title: str | None) -> New:
    """Return what to add for a request: before what feeds bring, as someone waits for it."""
    return New(url, request_id(request), title=title, lane=Lane.NOW)


class Saver:
    """Adds items in shared transactions. Used on the event loop; the database is asked in a thread."""

    def __init__(self, engine: Engine, max_queue_size: int, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._max_queue_size = max_queue_size
        self._clock = clock
        self._waiting: list[tuple[New, asyncio.Future[Added]]] = []
        self._task: asyncio.Task[None] | None = None
        self._queue_size = 0
        self._counted_at = -COUNT_SECONDS

    async def add(self, new: New) -> Added:
        """Add an item durably.

        Raises InvalidUrl; Problem 429 when the queue is full; what the database raises when it is away.
        """
        future: asyncio.Future[Added] = asyncio.get_running_loop().create_future()
        self._waiting.append((new, future))
        if self._task is None:
            self._task = asyncio.create_task(self._drain())
        return await future

    async def _drain(self) -> None:
        batch: list[tuple[New, asyncio.Future[Added]]] = []
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
                outcomes = await run_in_threadpool(self._commit, [new for new, _ in batch])
                for (_, future), outcome in zip(batch, outcomes, strict=True):
                    _settle(future, outcome)
        finally:
            self._task = None
            for _, future in [*batch, *self._waiting]:
                future.cancel()  # only what was left unsettled when this task itself was cancelled
            self._waiting = []

    def _commit(self, news: Sequence[New]) -> list[Added | Exception]:
        """Add all in one transaction; if that fails, each in its own, so that one cannot take others down."""
        try:
            return self._commit_together(news)
        except Exception as error:  # noqa: BLE001 - whatever it is, each request gets its own answer
            if len(news) == 1:
                return [error]
        return [outcome for new in news for outcome in self._commit([new])]

    def _commit_together(self, news: Sequence[New]) -> list[Added | Exception]:
        with self._engine.begin() as conn:
            now = self._clock()
            room = max(0, self._room(conn, now))
            outcomes: list[Added | Exception] = [*items.add_many(conn, news[:room], now=now)]
        self._queue_size += sum(isinstance(one, Added) and one.duplicate_of is None for one in outcomes)
        return outcomes + [_queue_full() for _ in news[room:]]

    def _room(self, conn: sa.Connection, now: datetime) -> int:
        """Return how many more items may wait."""
        if time.monotonic() - self._counted_at >= COUNT_SECONDS:
            self._queue_size = items.queue_size(conn, now)
            self._counted_at = time.monotonic()
        return self._max_queue_size - self._queue_size


def _settle(future: asyncio.Future[Added], outcome: Added | Exception) -> None:
    if future.done():  # whoever asked has gone
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def _queue_full() -> Problem:
    return Problem(
        429,
        "queue_full",
        "Too many pages are waiting to be fetched. Try again in half a minute.",
        {"Retry-After": str(QUEUE_RETRY_SECONDS)},
    )
