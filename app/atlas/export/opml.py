"""The feeds that are followed as OPML, in their folders."""

import datetime as dt
from collections.abc import Sequence
from email.utils import format_datetime
from typing import Any

from atlas.export.xml import words


def opml(feeds: Sequence[dict[str, Any]], *, now: dt.datetime) -> bytes:
    """Return feeds (as `subscriptions.list_feeds` does) as OPML; those in no folder stand last."""
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<opml version="2.0">',
        f"<head><title>Atlas</title><dateCreated>{format_datetime(now, usegmt=True)}</dateCreated></head>",
        "<body>",
    ]
    for folder in sorted({feed["folder"] for feed in feeds if feed["folder"]}, key=str.casefold):
        lines.append(f'<outline text="{words(folder)}" title="{words(folder)}">')
        lines += [_outline(feed) for feed in feeds if feed["folder"] == folder]
        lines.append("</outline>")
    lines += [_outline(feed) for feed in feeds if not feed["folder"]]
    return "\n".join([*lines, "</body>", "</opml>", ""]).encode("utf-8", "replace")


def _outline(feed: dict[str, Any]) -> str:
    title = words(feed["title"] or feed["url"])
    site = f' htmlUrl="{words(feed["site_url"])}"' if feed["site_url"] else ""
    return f'<outline type="rss" text="{title}" title="{title}" xmlUrl="{words(feed["url"])}"{site}/>'
