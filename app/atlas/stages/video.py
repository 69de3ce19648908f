"""110 → 590: a video on YouTube is complete with title, channel and picture; its transcript may follow."""

import json
from typing import Any
from urllib.parse import urlencode

from sqlalchemy.engine import Connection

from atlas import items, transcripts
from atlas.items import Leased, Step
from atlas.media import Media
from atlas.net.errors import FetchError
from atlas.sources.videos import watch_url
from atlas.stages.context import Context, LeaseLost
from atlas.stages.table import Stage

#: Who says what a video is, without a page of a megabyte around it.
OEMBED = "https://www.youtube.com/oembed"
_MAX_BYTES = 100_000
_MAX_CHARS = 500


def take_video(ctx: Context, leased: Leased, video: str) -> Stage:
    """Ask what a video is and write it with the last stage; return that.

    Raises FetchError, LeaseLost and Stopping.
    """
    response = ctx.fetcher.get(f"{OEMBED}?{urlencode({'url': watch_url(video), 'format': 'json'})}")
    found = _read(response.body)
    title, channel = _text(found, "title"), _text(found, "author_name")
    image = _text(found, "thumbnail_url")
    media = Media(video_id=video)
    if image and image.startswith("https://"):
        media["image"] = image
    fields: dict[str, Any] = {
        "kind": "video",
        "title": title,
        "byline": channel,
        "site": "YouTube",
        "image": media.get("image"),
        "media": media,
        "word_count": 0,
    }
    steps = [
        Step(Stage.FETCH_ATTEMPTING, "Asked YouTube what this video is"),
        Step(Stage.COMPLETE, "Ready to be watched; its transcript is looked for"),
    ]

    def write(conn: Connection) -> Stage:
        now = ctx.clock()
        own, is_named = items.own_title(conn, leased.id)
        kept = {name: value for name, value in fields.items() if value is not None}
        if own and (is_named or not title):
            kept["title"] = own
        if not items.advance(conn, leased, steps, now=now, due=None, fields=kept):
            raise LeaseLost
        items.write_content(conn, leased.id, title=kept.get("title") or "", text="", html="")
        transcripts.look_for(conn, leased.id, now=now)
        return Stage.COMPLETE

    return ctx.write(write)


def _read(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body[:_MAX_BYTES])
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise FetchError("bad_response", "YouTube does not say what this video is.", retry=True)
    return found


def _text(found: dict[str, Any], name: str) -> str | None:
    value = found.get(name)
    if not isinstance(value, str):
        return None
    return " ".join("".join(char for char in value if char.isprintable()).split())[:_MAX_CHARS] or None
