"""130 → 140 → 150 or 160 → 190: looking for an article where its own site does not give it.

Never in the way: whatever goes wrong here is a line in the item's history, and the reason its own site gave
stays the reason.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from urllib.parse import urlsplit

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection

from atlas import items, originals
from atlas.database.engine import read
from atlas.database.tables import contents
from atlas.database.tables import items as table
from atlas.fallbacks import elsewhere, wayback
from atlas.items import Leased, Step
from atlas.net.client import Response
from atlas.net.errors import FetchError
from atlas.resilience import breakers, quotas
from atlas.resilience.breakers import BreakerOpen
from atlas.sources import handed
from atlas.stages.context import Context, LeaseLost
from atlas.stages.page import PageError
from atlas.stages.table import Stage
from atlas.urls import InvalidUrl, normalise

#: Failures that another source may make good: the page is gone, closed to us, or its site is.
HOPEFUL = frozenset(
    {
        "http_401", "http_402", "http_403", "http_404", "http_405", "http_406", "http_410", "http_451",
        "too_many_redirects", "tls_error", "dns_failure", "timeout", "connection_failed", "host_down",
        "bad_response", "http_500", "http_502", "http_503", "http_504", "http_520", "http_521", "http_522",
        "http_523", "http_530",
        "login_wall", "soft_404", "needs_javascript", "cookie_wall", "empty_page",
    }
)  # fmt: skip

#: What a provider may do: fail, or answer nonsense, however deeply nested.
_TROUBLE = (FetchError, ValueError, RecursionError)
_MOST_CONFIRMED = 2  # results that are fetched and looked at

T = TypeVar("T")
log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Found:
    response: Response
    step: Step


def look(ctx: Context, leased: Leased, code: str, message: str) -> tuple[Leased, bytes] | None:
    """Look for what could not be fetched or read; return the item at stage 190, and the bytes; None: nowhere.

    Raises LeaseLost and Stopping.
    """
    if code not in HOPEFUL or leased.kind != "article" or not leased.host:
        return None
    if wayback.copied(leased.final_url or "") is not None or _was_read(ctx, leased):
        return None
    ways: list[Callable[[Context, Leased, list[Step]], _Found | None]] = []
    if ctx.settings.wayback_enabled:
        ways.append(_archived)
    if ctx.settings.search_provider:
        ways.append(_elsewhere)
    if not ways:
        return None
    steps = [Step(Stage.FETCH_FAILED, message)]
    for way in ways:
        found = way(ctx, leased, steps)
        if found is not None:
            return _keep(ctx, leased, found, steps)
    _advance(ctx, leased, steps, {})
    return None


def _archived(ctx: Context, leased: Leased, steps: list[Step]) -> _Found | None:
    def ask() -> _Found | str:
        address = wayback.newest(ctx.fetcher, ctx.settings.wayback_url, leased.url)
        if address is None:
            return "The Wayback Machine has no copy of it"
        response = ctx.fetcher.get(address)
        copy = wayback.copied(response.final_url)
        if copy is None:
            return "The Wayback Machine's copy leads elsewhere"
        return _Found(response, Step(Stage.CONTENT_ARCHIVED, f"The Wayback Machine's copy of {copy[0]}"))

    found = _ask(ctx, "wayback", "The Wayback Machine", steps, ask)
    if isinstance(found, str):
        steps.append(Step(Stage.FALLBACK_ATTEMPTING, found))
        return None
    return found


def _elsewhere(ctx: Context, leased: Leased, steps: list[Step]) -> _Found | None:
    key = ctx.settings.search_provider
    name = elsewhere.PROVIDERS[key].name
    what = elsewhere.wanted(_title(ctx, leased), leased.url)
    if what is None or not _allowed(ctx, name, steps):
        return None
    results = _ask(ctx, key, name, steps, lambda: elsewhere.search(ctx.fetcher, ctx.settings, what))
    if results is None:
        return None
    steps.append(Step(Stage.FALLBACK_ATTEMPTING, f"Asked {name} for \u201c{what.words[:200]}\u201d"))
    likely = [
        result.url
        for result in results
        if elsewhere.same(what, result.title) and not _is_same_page(result.url, leased.url)
    ]
    for url in likely[:_MOST_CONFIRMED]:
        response = _confirmed(ctx, what, url)
        if response is not None:
            where = urlsplit(response.final_url).hostname
            reason = f"An article of the same title at {where}, found by {name}"
            return _Found(response, Step(Stage.CONTENT_RETRIEVED, reason))
    steps.append(Step(Stage.FALLBACK_ATTEMPTING, "Nothing it found is surely the same article"))
    return None


def _confirmed(ctx: Context, what: elsewhere.Wanted, url: str) -> Response | None:
    """Fetch what was found; None unless the page itself has the wanted title."""
    try:
        response = ctx.fetcher.get(url)
        kind = handed.from_outside(response.content_type)
        page = ctx.reader.read(response.body, kind, response.final_url)
    except (FetchError, PageError):
        return None
    return response if elsewhere.same(what, page.title) else None


def _allowed(ctx: Context, name: str, steps: list[Step]) -> bool:
    key, most = ctx.settings.search_provider, ctx.settings.search_daily_quota
    if ctx.write(lambda conn: quotas.take(conn, key, most=most, now=ctx.clock())):
        return True
    used_up = f"{name} was not asked: the day's {most} questions are used up"
    steps.append(Step(Stage.FALLBACK_ATTEMPTING, used_up))
    return False


def _ask(ctx: Context, key: str, name: str, steps: list[Step], call: Callable[[], T]) -> T | None:
    """Ask a provider under its breaker; whatever goes wrong with it is written down, and no more."""
    try:
        with breakers.guard(ctx.engine, f"provider:{key}", ctx.clock, blames=_TROUBLE, until=_until):
            return call()
    except BreakerOpen:
        said = f"{name} was not asked: it is left alone for now"
    except _TROUBLE as error:
        log.warning("provider failed", provider=key, reason=str(error)[:200])
        said = f"{name} did not help: {str(error)[:200]}"
    steps.append(Step(Stage.FALLBACK_ATTEMPTING, said))
    return None


def _until(error: Exception) -> float | None:
    """Return how many seconds a provider asks to be left alone for, if it does."""
    if not isinstance(error, FetchError) or error.code != "rate_limited":
        return None
    return error.retry_after or 60.0


def _keep(ctx: Context, leased: Leased, found: _Found, steps: list[Step]) -> tuple[Leased, bytes]:
    response = found.response
    fields: dict[str, Any] = {
        "original_sha256": originals.put(ctx.settings.data_dir, response.body),
        "original_type": handed.from_outside(response.content_type),
        "final_url": response.final_url,
    }
    received = f"Received {len(response.body):,} bytes, from {response.final_url}"
    steps = [*steps, found.step, Step(Stage.ACQUISITION_COMPLETE, received)]
    _advance(ctx, leased, steps, fields)
    return replace(leased, stage=Stage.ACQUISITION_COMPLETE, **fields), response.body


def _advance(ctx: Context, leased: Leased, steps: list[Step], fields: dict[str, Any]) -> None:
    def write(conn: Connection) -> None:
        now = ctx.clock()
        due = ctx.lease_end(now)
        if not items.advance(conn, leased, steps, now=now, due=due, fields=fields, keep_lease=True):
            raise LeaseLost

    ctx.write(write)


def _was_read(ctx: Context, leased: Leased) -> bool:
    """Tell whether the item could be read before: then nothing takes the place of what it is."""
    with read(ctx.engine) as conn:
        query = sa.select(contents.c.item_id).where(contents.c.item_id == leased.id)
        return conn.execute(query).first() is not None


def _title(ctx: Context, leased: Leased) -> str | None:
    with read(ctx.engine) as conn:
        title: str | None = conn.execute(sa.select(table.c.title).where(table.c.id == leased.id)).scalar()
    return title


def _is_same_page(one: str, other: str) -> bool:
    try:
        return normalise(one)[1] == normalise(other)[1]
    except InvalidUrl:
        return True
