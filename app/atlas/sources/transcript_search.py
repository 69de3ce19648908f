"""Looking for the transcripts of episodes and videos, after these can be read already: see `atlas.chores`.

An item without a transcript is complete with its notes. What may have one has a row in `transcript_searches`:
asked when due, again after some hours and days as transcripts often come later, and given up after a week.
Where: the feed's own links (best form first), then the episode's page; for videos, YouTube.
"""

import datetime as dt
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection

from atlas import transcripts
from atlas.database.tables import items, transcript_searches
from atlas.media import TranscriptLink
from atlas.net.errors import FetchError
from atlas.patience import Stopping
from atlas.resilience import breakers
from atlas.resilience.breakers import BreakerOpen
from atlas.sources.transcripts import Segment, TranscriptError, checked
from atlas.sources.videos import video_id
from atlas.stages.context import Context
from atlas.stages.pool import TooComplexError
from atlas.telemetry.tally import count

#: How long one round may take, and how many videos it asks for: YouTube minds more.
ROUND_SECONDS = 20.0
MAX_VIDEOS = 5
#: Pauses after the first try, the second and so on, in seconds; then it is given up.
PAUSES = (6 * 3600, 86_400, 2 * 86_400, 4 * 86_400)
#: What was published longer ago (in days) gets no more than one try: nothing comes later any more.
OLD_DAYS = 30
#: How long a search stays with a worker that went silent, in seconds.
LEASE_SECONDS = 600
BREAKER = "provider:youtube"

_ORDER = {"vtt": 0, "json": 0, "srt": 1, "html": 2, "text": 3}

log = structlog.stdlib.get_logger(__name__)


@dataclass(slots=True)
class _Round:
    """One look at what is due."""

    ctx: Context
    videos: int = 0
    asked: dict[str, float] = field(default_factory=dict)


class _Missing(Exception):  # noqa: N818
    """No transcript was found this time: where it was looked for, how that ended, and why in words."""

    def __init__(
        self,
        source: str,
        outcome: str,
        message: str,
        *,
        for_good: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.source = source
        self.outcome = outcome
        self.message = message
        self.for_good = for_good
        self.retry_after = retry_after


def is_any_due(conn: Connection, now: dt.datetime) -> bool:
    """Tell whether a transcript should be looked for now."""
    due = sa.select(transcript_searches.c.item_id).where(transcript_searches.c.due_at <= now)
    return conn.execute(due.limit(1)).first() is not None


def look(ctx: Context) -> None:
    """Look for the transcripts that are due, for a little while."""
    ends = time.monotonic() + ROUND_SECONDS
    this = _Round(ctx)
    while time.monotonic() < ends and this.videos < MAX_VIDEOS:
        found = ctx.write(lambda conn: _lease(conn, ctx.clock()))
        if found is None:
            break
        _look_for(this, found)


def _lease(conn: Connection, now: dt.datetime) -> sa.Row[Any] | None:
    due = sa.select(transcript_searches.c.item_id).where(transcript_searches.c.due_at <= now)
    due = due.order_by(transcript_searches.c.due_at).limit(1).with_for_update(skip_locked=True)
    item_id = conn.execute(due).scalar()
    if item_id is None:
        return None
    mine = transcript_searches.c.item_id == item_id
    until = now + dt.timedelta(seconds=LEASE_SECONDS)
    conn.execute(transcript_searches.update().where(mine).values(due_at=until))
    columns: tuple[sa.Column[Any], ...] = (
        items.c.id, items.c.kind, items.c.url, items.c.media, items.c.published_at, items.c.added_at,
        transcript_searches.c.tries, transcript_searches.c.since, transcript_searches.c.error,
        items.c.title,
    )  # fmt: skip
    return conn.execute(sa.select(*columns).join_from(items, transcript_searches).where(mine)).one()


def _look_for(this: _Round, item: sa.Row[Any]) -> None:
    ctx = this.ctx
    try:
        if item.kind == "video":
            this.videos += 1
            segments, source, language = _of_video(ctx, item)
        else:
            segments, source, language = _of_episode(this, item)
    except BreakerOpen as error:
        ctx.write(partial(_put_off_videos, until=error.retry_at))
        return
    except _Missing as missing:
        count("transcripts", missing.source, missing.outcome)
        ctx.write(partial(_again, item=item, missing=missing, now=ctx.clock()))
        return
    except (Stopping, sa.exc.SQLAlchemyError):
        raise
    except Exception:
        log.exception("transcript search broke", item=item.id)
        broke = _Missing("page", "failed", "Atlas itself had a problem with this; its log says more.")
        ctx.write(partial(_again, item=item, missing=broke, now=ctx.clock()))
        return
    count("transcripts", source, "fetched")
    save = partial(transcripts.save, item_id=item.id, segments=segments, source=source)
    if not ctx.write(partial(save, language=language, now=ctx.clock())):
        gone = _Missing(source, "missing", "There is nothing to read of this item.", for_good=True)
        ctx.write(partial(_again, item=item, missing=gone, now=ctx.clock()))
        return
    log.info("transcript found", item=item.id, source=source, segments=len(segments))


def _put_off_videos(conn: Connection, until: dt.datetime) -> None:
    """Ask for no video before YouTube may be asked again; that costs none of them a try."""
    videos = sa.select(items.c.id).where(items.c.id == transcript_searches.c.item_id, items.c.kind == "video")
    change = transcript_searches.update().where(transcript_searches.c.due_at < until, videos.exists())
    conn.execute(change.values(due_at=until))


def _again(conn: Connection, item: sa.Row[Any], missing: _Missing, now: dt.datetime) -> None:
    """Say when to look again, or give up."""
    mine = transcript_searches.c.item_id == item.id
    is_old = (item.published_at or item.added_at) < now - dt.timedelta(days=OLD_DAYS)
    tries = item.tries + (missing.retry_after is None)
    is_over = tries > len(PAUSES) or (is_old and missing.outcome == "missing")
    if missing.for_good or is_over:
        conn.execute(transcript_searches.delete().where(mine))
        return
    pause = missing.retry_after if missing.retry_after is not None else PAUSES[tries - 1]
    error = {"code": missing.outcome, "message": missing.message}
    change = transcript_searches.update().where(mine)
    due_at = now + dt.timedelta(seconds=max(pause, 60))
    conn.execute(change.values(tries=tries, due_at=due_at, error=error))


# --- Videos


def _of_video(ctx: Context, item: sa.Row[Any]) -> tuple[list[Segment], str, str | None]:
    from atlas.sources import youtube  # noqa: PLC0415 - and with it a whole HTTP client

    video = (item.media or {}).get("video_id") or video_id(item.url)
    if not video:
        raise _Missing("youtube", "missing", "This is no video of YouTube's.", for_good=True)
    grant = breakers.allow(ctx.engine, BREAKER, now=ctx.clock())
    try:
        segments, language = youtube.fetch(video, ctx.settings)
    except youtube.VideoBlocked as error:
        limits = breakers.threshold(BREAKER)
        until = ctx.clock() + dt.timedelta(seconds=limits.rest_seconds)
        retry_at = breakers.failure(ctx.engine, grant, str(error), now=ctx.clock(), until=until) or until
        count("transcripts", "youtube", "blocked")
        raise BreakerOpen(BREAKER, retry_at, str(error)) from error
    except youtube.NoTranscript as error:
        breakers.success(ctx.engine, grant)
        raise _Missing("youtube", "missing", str(error), for_good=error.for_good) from error
    except youtube.VideoFailed as error:
        breakers.failure(ctx.engine, grant, str(error), now=ctx.clock())
        raise _Missing("youtube", "failed", str(error)) from error
    except BaseException:
        breakers.release(ctx.engine, grant, now=ctx.clock())
        raise
    breakers.success(ctx.engine, grant)
    try:
        return checked(segments), "youtube", language
    except TranscriptError as error:
        raise _Missing("youtube", "missing", str(error)) from error


# --- Episodes


def _of_episode(this: _Round, item: sa.Row[Any]) -> tuple[list[Segment], str, str | None]:
    """Take the first transcript that can be read: the feed's links by their form, then the episode's page."""
    media = item.media or {}
    trouble = _Missing("feed", "missing", "Neither the feed nor the page of this episode has a transcript.")
    for link in in_order(media.get("transcripts") or []):
        try:
            return _read(this, "transcript", link["url"])["segments"], "feed", link.get("language")
        except _Missing as missing:
            trouble = missing
    if item.url in (media.get("audio"), media.get("video")) or not item.url.startswith("http"):
        raise trouble
    try:
        found = _read(this, "episode", item.url)
        if "segments" in found:
            return found["segments"], "page", None
    except _Missing as missing:
        raise (trouble if media.get("transcripts") else missing) from None
    for address in found.get("links", []):
        try:
            return _read(this, "transcript", address)["segments"], "page", None
        except _Missing as missing:
            trouble = missing
    raise trouble


def in_order(links: Sequence[TranscriptLink]) -> list[TranscriptLink]:
    """Return transcripts best first: those that may name speakers and have times before those without."""
    return sorted(links, key=lambda link: _ORDER[_form(link)])


def _form(link: TranscriptLink) -> str:
    declared, path = link.get("type", ""), urlsplit(link["url"]).path.lower()
    for form, signs in (
        ("vtt", ("vtt",)), ("json", ("json",)), ("srt", ("srt", "subrip")), ("html", ("html",)),
    ):  # fmt: skip
        if any(sign in declared or path.endswith("." + sign) for sign in signs):
            return form
    return "text"


def _read(this: _Round, job: str, url: str) -> dict[str, Any]:
    """Fetch an address, politely, and have it read. Raises _Missing."""
    source = "feed" if job == "transcript" else "page"
    _wait(this, url)
    try:
        response = this.ctx.fetcher.get(url)
    except FetchError as error:
        outcome = "missing" if error.status in (404, 410) else "failed"
        raise _Missing(source, outcome, error.message, retry_after=error.retry_after) from error
    try:
        found = this.ctx.reader.ask(
            job, response.body, content_type=response.content_type, url=response.final_url
        )
    except TooComplexError as error:
        raise _Missing(source, "failed", str(error)) from error
    if "code" in found:
        raise _Missing(source, "missing", str(found.get("message")))
    if not ("segments" in found or "links" in found):
        log.error("reader broke", job=job, error=found.get("broke"))
        raise _Missing(source, "failed", "Atlas cannot make sense of this file: its log says more.")
    return found


def _wait(this: _Round, url: str) -> None:
    """Leave a host its pause between two questions."""
    host = urlsplit(url).netloc
    rest = this.asked.get(host, 0.0) + this.ctx.settings.host_delay_seconds - time.monotonic()
    if rest > 0:
        time.sleep(min(rest, ROUND_SECONDS))
    this.asked[host] = time.monotonic()
