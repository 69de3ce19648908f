"""What every step of an item's way is given to work with."""

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from sqlalchemy.engine import Connection, Engine

from atlas.net.client import Response
from atlas.patience import Patience
from atlas.settings import Settings
from atlas.stages.page import Page

T = TypeVar("T")


class LeaseLost(Exception):  # noqa: N818
    """The item belongs to another worker by now: nothing may be written."""


class Fetches(Protocol):
    """Gets a URL, or raises FetchError."""

    def get(self, url: str, *, headers: Mapping[str, str] | None = None) -> Response:
        """Get `url`, with these further headers."""


class Reads(Protocol):
    """Reads a page outside this process, or raises PageError."""

    def read(self, raw: bytes, content_type: str | None, url: str) -> Page:
        """Read what `url` answered."""

    def ask(self, job: str, raw: bytes, **request: Any) -> dict[str, Any]:  # noqa: ANN401 - what JSON can write
        """Do a job of `pool_child.JOBS`. Raises TooComplexError."""


@dataclass(frozen=True, slots=True)
class Context:
    """The parts of a worker that steps use."""

    settings: Settings
    engine: Engine
    fetcher: Fetches
    reader: Reads
    clock: Callable[[], dt.datetime]
    patience: Patience

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction, again after an outage. Raises Stopping, and what `work` raises."""

        def once() -> T:
            with self.engine.begin() as conn:
                return work(conn)

        return self.patience.run(once)

    def lease_end(self, now: dt.datetime) -> dt.datetime:
        """Return when a lease given or prolonged `now` runs out."""
        return now + dt.timedelta(seconds=self.settings.lease_seconds)
