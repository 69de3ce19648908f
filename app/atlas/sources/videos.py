"""Videos on YouTube: which address is one, and where the feed of a channel or playlist is."""

import re
from urllib.parse import parse_qs, urlsplit

_ID = re.compile(r"[\w-]{11}")
_CHANNEL = re.compile(r"UC[\w-]{22}")
_PLAYLIST = re.compile(r"[\w-]{10,64}")
_HOSTS = frozenset({"youtube.com", "www.youtube.com", "m.youtube.com", "music.youtube.com"})
_FEED = "https://www.youtube.com/feeds/videos.xml"


def video_id(url: str) -> str | None:
    """Return the id of the video that an address on YouTube is of; None for any other address."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    host = parts.netloc.lower()
    if host == "youtu.be":
        found = parts.path[1:].partition("/")[0]
    elif host in _HOSTS and parts.path == "/watch":
        found = parse_qs(parts.query).get("v", [""])[0]
    elif host in _HOSTS and parts.path.startswith(("/shorts/", "/live/", "/embed/", "/v/")):
        found = parts.path.split("/")[2]
    else:
        return None
    return found if _ID.fullmatch(found) else None


def watch_url(video: str) -> str:
    """Return the address people watch a video at."""
    return f"https://www.youtube.com/watch?v={video}"


def feed_of(url: str) -> str | None:
    """Return the feed of a channel or playlist whose address names it; None for any other address.

    The page of a channel by its name (/@name) names the feed in its head.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if parts.netloc.lower() not in _HOSTS:
        return None
    playlist = parse_qs(parts.query).get("list", [""])[0]
    if parts.path == "/playlist" and _PLAYLIST.fullmatch(playlist):
        return f"{_FEED}?playlist_id={playlist}"
    kind, _, channel = parts.path[1:].partition("/")
    channel = channel.partition("/")[0]
    if kind == "channel" and _CHANNEL.fullmatch(channel):
        return f"{_FEED}?channel_id={channel}"
    return None
