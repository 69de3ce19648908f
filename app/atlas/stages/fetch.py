"""110 → 190: get what the address answers, and keep it."""

from dataclasses import replace
from typing import Any

from sqlalchemy.engine import Connection

from atlas import items, originals
from atlas.fallbacks.look import look
from atlas.items import Leased, Step
from atlas.net.errors import FetchError
from atlas.sources import handed
from atlas.stages.ask import ask, learn
from atlas.stages.context import Context, LeaseLost
from atlas.stages.table import Stage


def fetch(ctx: Context, leased: Leased) -> tuple[Leased, bytes]:
    """Fetch an item; return it at its new stage, still leased, and the bytes that came.

    What its own site does not give is looked for elsewhere, of what is tried again at the last try. The
    original is on the disk before the item says so. Raises FetchError, BreakerOpen, LeaseLost and Stopping.
    """
    try:
        response, seconds = ask(ctx, leased)
    except FetchError as error:
        is_last = leased.attempts + 1 >= ctx.settings.max_attempts
        if error.code == "rate_limited" or (error.retry and not is_last):
            raise
        if (found_elsewhere := look(ctx, leased, error.code, error.message)) is None:
            raise
        return found_elsewhere
    found: dict[str, Any] = {
        "original_sha256": originals.put(ctx.settings.data_dir, response.body),
        "original_type": handed.from_outside(response.content_type),
        "final_url": response.final_url,
    }
    steps = [
        Step(Stage.FETCH_ATTEMPTING, f"Asked {leased.host}"),
        Step(Stage.ACQUISITION_COMPLETE, _what_came(leased, response.final_url, len(response.body))),
    ]

    def write(conn: Connection) -> None:
        now = ctx.clock()
        due = ctx.lease_end(now)
        if not items.advance(conn, leased, steps, now=now, due=due, fields=found, keep_lease=True):
            raise LeaseLost
        learn(conn, ctx, leased.host, "answered", seconds)

    ctx.write(write)
    return replace(leased, stage=Stage.ACQUISITION_COMPLETE, **found), response.body


def _what_came(leased: Leased, final_url: str, size: int) -> str:
    redirected = "" if final_url == leased.url else f", from {final_url}"
    return f"Received {size:,} bytes{redirected}"
