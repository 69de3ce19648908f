"""Asking an item's own site: with its cookies, under its breaker, at the pace it was found to like."""

import datetime as dt
import time
from functools import partial

from sqlalchemy.engine import Connection

from atlas import items, site_cookies
from atlas.database.engine import read
from atlas.items import Leased
from atlas.net.client import Response
from atlas.net.errors import FetchError
from atlas.resilience import breakers, pace
from atlas.resilience.breakers import BreakerOpen, Grant
from atlas.stages.context import Context

#: A site that has not answered for so long is taken for gone: its items fail, and are tried again daily.
GONE = dt.timedelta(days=1)


def ask(ctx: Context, leased: Leased) -> tuple[Response, float]:
    """Get an item's address; return the answer, and how many seconds it took.

    Raises FetchError, BreakerOpen and Stopping.
    """
    grant = ctx.patience.run(lambda: _allow(ctx, leased))
    cookies = ctx.patience.run(lambda: _cookies(ctx, leased.url))
    started = time.monotonic()
    try:
        if cookies:
            response = ctx.fetcher.get(leased.url, headers={"Cookie": cookies})
        else:
            response = ctx.fetcher.get(leased.url)
    except FetchError as error:
        learn_of = partial(_failed, ctx, leased, grant, error, time.monotonic() - started)
        ctx.patience.run(learn_of)
        raise
    except BaseException:
        ctx.patience.run(lambda: breakers.release(ctx.engine, grant, now=ctx.clock()))
        raise
    ctx.patience.run(lambda: breakers.success(ctx.engine, grant))
    return response, time.monotonic() - started


def learn(conn: Connection, ctx: Context, host: str, outcome: pace.Outcome, seconds: float) -> None:
    """Let the pace of a host follow what it did."""
    pace.note(conn, host, outcome, seconds, usual=ctx.settings.host_delay_seconds, now=ctx.clock())


def _allow(ctx: Context, leased: Leased) -> Grant:
    now = ctx.clock()
    try:
        return breakers.allow(ctx.engine, f"host:{leased.host}", now=now)
    except BreakerOpen as error:
        if error.opened_at is None or now - error.opened_at < GONE:
            raise
        message = f"{leased.host} has not answered since {error.opened_at:%Y-%m-%d}: {error.reason}"
        raise FetchError("host_down", message) from None


def _failed(ctx: Context, leased: Leased, grant: Grant, error: FetchError, seconds: float) -> None:
    """Note what an error says of the site: a page that is missing is an answer, too."""
    now, until = ctx.clock(), None
    outcome: pace.Outcome = "answered"
    if error.code == "rate_limited":
        outcome = "refused"
        breakers.release(ctx.engine, grant, now=now)
    elif error.retry:
        outcome = "failed"
        until = breakers.failure(ctx.engine, grant, error.message, now=now)
    else:
        breakers.success(ctx.engine, grant)
    with ctx.engine.begin() as conn:
        learn(conn, ctx, leased.host, outcome, seconds)
        if until is not None:
            items.postpone_host(conn, leased.host, until=until)


def _cookies(ctx: Context, url: str) -> str | None:
    with read(ctx.engine) as conn:
        return site_cookies.header_for(conn, url)
