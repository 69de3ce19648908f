"""Google Takeout: the history of what was watched on YouTube (JSON), and the channels subscribed to (CSV)."""

import re
from collections.abc import Iterator, Mapping
from typing import IO, Any

from atlas.sources.imports.record import Entry, Record, Refused, labels, line, moment
from atlas.sources.imports.stream import elements
from atlas.sources.imports.table import rows

_WATCHED = re.compile(r"^(?:Watched|Listened to) | angesehen$")
_CHANNEL = re.compile(r"UC[\w-]{22}")
CHANNEL_FEED = "https://www.youtube.com/feeds/videos.xml?channel_id="


def read_history(file: IO[bytes]) -> Iterator[Entry]:
    """Return the videos of `watch-history.json`. Advertisements are skipped."""
    for number, one in elements(file, "item"):
        yield one if isinstance(one, Refused) else _watched(one, f"entry {number}")


def _watched(one: Mapping[str, Any], where: str) -> Entry:
    details, url = one.get("details"), one.get("titleUrl")
    if isinstance(details, list) and "From Google Ads" in labels(details):
        return Refused("An advertisement.", url=str(url or ""), where=where, skipped=True)
    if not isinstance(url, str):
        return Refused("A video that is gone: its address is not known.", where=where, skipped=True)
    title = _WATCHED.sub("", line(one.get("title")) or "")
    channels = labels(one.get("subtitles"))
    return Record(
        url.replace("\\u003d", "="),
        None if title.startswith("http") else title or None,
        kind="video",
        added_at=moment(one.get("time")),
        read=True,
        fields={"byline": line(channels[0])} if channels else {},
        where=where,
    )


def read_subscriptions(file: IO[bytes]) -> Iterator[Entry]:
    """Return the channels of `subscriptions.csv` as feeds. Its columns are named in the user's language."""
    for number, row in rows(file):
        where = f"line {number}"
        if isinstance(row, Refused):
            yield row
            continue
        cells = [cell.strip() for cell in row.values()]
        channel = next((cell for cell in cells if _CHANNEL.fullmatch(cell)), None)
        if channel is None:
            yield Refused("There is no YouTube channel in this row.", url=", ".join(cells)[:200], where=where)
            continue
        title = line(cells[-1]) if len(cells) > 2 else None
        yield Record(CHANNEL_FEED + channel, title, kind="feed", folder="YouTube", where=where)
