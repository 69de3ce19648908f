"""Parsing feeds in a process of their own: what a hostile feed can make a parser do ends at a time limit.

There are documents of a few hundred kilobytes on which the parsers for broken feeds spend minutes.
"""

import multiprocessing
import resource
from concurrent.futures import TimeoutError as FutureTimeoutError
from types import TracebackType
from typing import Protocol, Self

from pebble import ProcessExpired, ProcessPool

from atlas.settings import Settings
from atlas.sources.feed import Feed, FeedError, parse


class Parse(Protocol):
    """Reads a feed, as `atlas.sources.feed.parse` does."""

    def __call__(self, raw: bytes, content_type: str | None, url: str) -> Feed:
        """Read a feed that came from `url`. Raises FeedError."""


class ParserProcess:
    """Parses feeds one at a time, in a child process that starts with the first of them. Threads share it."""

    def __init__(self, settings: Settings) -> None:
        self._timeout = settings.reader_timeout_seconds
        self._pool = ProcessPool(
            max_workers=1,
            initializer=_limit_memory,
            initargs=(settings.reader_memory_mb * 1024 * 1024,),
            context=multiprocessing.get_context("spawn"),  # forking a process with threads can hang
        )

    def __call__(self, raw: bytes, content_type: str | None, url: str) -> Feed:
        """Read a feed that came from `url`. Raises FeedError, also (`too_complex`) when it took too long."""
        try:
            feed: Feed = self._pool.schedule(parse, (raw, content_type, url), timeout=self._timeout).result()
        except (FutureTimeoutError, ProcessExpired, MemoryError) as error:
            message = "The feed is too complicated to be read: reading it took too much time or memory."
            raise FeedError("too_complex", message) from error
        return feed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.stop()  # type: ignore[no-untyped-call]
        self._pool.join()


def _limit_memory(max_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (max_bytes, max_bytes))
