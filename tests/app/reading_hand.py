"""A worker's hand for tests: reads what is queued in this very process, and fetches nothing."""

import datetime as dt
import threading
from collections.abc import Callable

from sqlalchemy.engine import Engine

from atlas import items
from atlas.net.errors import FetchError
from atlas.patience import Patience
from atlas.pipeline import process
from atlas.settings import Settings
from atlas.stages.context import Context
from atlas.stages.page import Page
from atlas.stages.read import read_page
from atlas.telemetry.tally import Tally


class Reader:
    """Reads pages without a child process."""

    def read(self, raw: bytes, content_type: str | None, url: str) -> Page:
        return read_page(raw, content_type, url)


class Offline:
    """Answers nothing."""

    def get(self, url: str) -> object:
        raise FetchError("http_403", f"No access to {url}.", retry=False)


def read_all(settings: Settings, engine: Engine, clock: Callable[[], dt.datetime]) -> list[str]:
    """Process what is due; return what became of it."""
    ctx = Context(settings, engine, Offline(), Reader(), clock, Patience(threading.Event()))
    outcomes = []
    while True:
        leased = items.lease(engine, worker="test", now=clock(), lease_seconds=30, host_delay_seconds=0)
        if leased is None:
            return outcomes
        outcomes.append(process(ctx, leased, tally=Tally(), stopping=lambda: False).name)
