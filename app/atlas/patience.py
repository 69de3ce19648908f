"""Waiting for a database that is away, together and without filling the log."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa
import structlog

#: Seconds between two tries: the first wait and the longest.
FIRST_WAIT = 0.5
LONGEST_WAIT = 10.0

T = TypeVar("T")
log = structlog.stdlib.get_logger(__name__)


class Stopping(Exception):  # noqa: N818
    """The process was asked to stop while it waited for the database."""


def is_outage(error: BaseException) -> bool:
    """Tell whether the database could not be reached or could not take a write now; later it may."""
    if isinstance(error, sa.exc.DBAPIError) and "no such table" in str(error.orig):
        return False  # SQLite's word for a database that was never migrated
    if _is_too_much(error):
        return False
    if isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError | sa.exc.TimeoutError):
        return True
    return isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated


def _is_too_much(error: BaseException) -> bool:
    """Tell whether PostgreSQL is there and refused this statement: it took too long, or exceeds a limit."""
    state = str(getattr(getattr(error, "orig", None), "sqlstate", None) or "")
    return state == "57014" or state.startswith("54")


class Patience:
    """Does work on the database again until it succeeds. Threads share one: an outage is one event."""

    def __init__(self, stop: threading.Event, *, on_wait: Callable[[], None] = lambda: None) -> None:
        self._stop = stop
        self._on_wait = on_wait
        self._lock = threading.Lock()
        self._away_since: float | None = None

    @property
    def stopping(self) -> bool:
        """Whether the process was asked to stop."""
        return self._stop.is_set()

    def run(self, work: Callable[[], T]) -> T:
        """Return what `work` returns. Calls `on_wait` between tries; raises Stopping when asked to end."""
        wait = FIRST_WAIT
        while True:
            try:
                result = work()
            except sa.exc.SQLAlchemyError as error:
                if not is_outage(error):
                    raise
                self.away(error)
            else:
                self.back()
                return result
            self._on_wait()
            if self._stop.wait(wait):
                raise Stopping
            wait = min(wait * 2, LONGEST_WAIT)

    def away(self, error: Exception) -> None:
        """Note that the database did not answer."""
        with self._lock:
            if self._away_since is not None:
                return
            self._away_since = time.monotonic()
        log.error("database unavailable", reason=str(getattr(error, "orig", None) or error))

    def back(self) -> None:
        """Note that the database answered."""
        if self._away_since is None:  # nearly always
            return
        with self._lock:
            since, self._away_since = self._away_since, None
        if since is not None:
            log.warning("database is back", seconds=round(time.monotonic() - since, 1))
