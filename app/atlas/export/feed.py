"""Items as a feed with their whole text, for feed readers: Atom, or RSS 2.0."""

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.utils import format_datetime
from typing import Any

from atlas.export.xml import words

ATOM_TYPE = "application/atom+xml; charset=utf-8"
RSS_TYPE = "application/rss+xml; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Channel:
    """What a feed says of itself."""

    title: str
    #: The feed's own address, without what is secret in it; and where Atlas is.
    url: str
    home: str
    updated: dt.datetime


def atom(channel: Channel, rows: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """Return items (with `html`) as an Atom feed."""
    yield (
        '<?xml version="1.0" encoding="utf-8"?>\n<feed xmlns="http://www.w3.org/2005/Atom">\n'
        f"<id>{words(channel.url)}</id>\n<title>{words(channel.title)}</title>\n"
        f'<link rel="self" href="{words(channel.url)}"/>\n<link href="{words(channel.home)}"/>\n'
        f"<author><name>Atlas</name></author>\n<updated>{channel.updated.isoformat()}</updated>\n"
    ).encode("utf-8", "replace")
    for row in rows:
        yield _entry(channel, row).encode("utf-8", "replace")
    yield b"</feed>\n"


def rss(channel: Channel, rows: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """Return items (with `html`) as an RSS 2.0 feed."""
    yield (
        '<?xml version="1.0" encoding="utf-8"?>\n<rss version="2.0" '
        'xmlns:content="http://purl.org/rss/1.0/modules/content/" '
        'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:atom="http://www.w3.org/2005/Atom">\n<channel>\n'
        f"<title>{words(channel.title)}</title>\n<link>{words(channel.home)}</link>\n"
        f"<description>{words(channel.title)}</description>\n"
        f'<atom:link rel="self" type="application/rss+xml" href="{words(channel.url)}"/>\n'
        f"<lastBuildDate>{format_datetime(channel.updated, usegmt=True)}</lastBuildDate>\n"
    ).encode("utf-8", "replace")
    for row in rows:
        yield _item(channel, row).encode("utf-8", "replace")
    yield b"</channel>\n</rss>\n"


def _entry(channel: Channel, row: dict[str, Any]) -> str:
    published = row["published_at"] or row["added_at"]
    parts = [
        f"<id>{words(_own_address(channel, row))}</id>",
        f"<title>{words(_title(row))}</title>",
        f'<link href="{words(_link(channel, row))}"/>',
        f"<published>{published.isoformat()}</published>",
        f"<updated>{row['updated_at'].isoformat()}</updated>",
    ]
    if row["byline"]:
        parts.append(f"<author><name>{words(row['byline'])}</name></author>")
    parts += [f'<category term="{words(tag)}"/>' for tag in row["tags"]]
    if row["excerpt"]:
        parts.append(f"<summary>{words(row['excerpt'])}</summary>")
    if row["html"]:
        parts.append(f'<content type="html">{words(row["html"])}</content>')
    return "<entry>\n" + "\n".join(parts) + "\n</entry>\n"


def _item(channel: Channel, row: dict[str, Any]) -> str:
    published = row["published_at"] or row["added_at"]
    parts = [
        f"<title>{words(_title(row))}</title>",
        f"<link>{words(_link(channel, row))}</link>",
        f'<guid isPermaLink="false">{words(_own_address(channel, row))}</guid>',
        f"<pubDate>{format_datetime(published, usegmt=True)}</pubDate>",
    ]
    if row["byline"]:
        parts.append(f"<dc:creator>{words(row['byline'])}</dc:creator>")
    parts += [f"<category>{words(tag)}</category>" for tag in row["tags"]]
    if row["excerpt"]:
        parts.append(f"<description>{words(row['excerpt'])}</description>")
    if row["html"]:
        parts.append(f"<content:encoded>{words(row['html'])}</content:encoded>")
    return "<item>\n" + "\n".join(parts) + "\n</item>\n"


def _title(row: dict[str, Any]) -> str:
    title: str = row["title"] or row["url"]
    return title


def _own_address(channel: Channel, row: dict[str, Any]) -> str:
    return f"{channel.home}/items/{row['id']}"


def _link(channel: Channel, row: dict[str, Any]) -> str:
    """Return where an item came from; its own page for what has no address on the web."""
    url: str = row["url"]
    return url if url.startswith(("http://", "https://")) else _own_address(channel, row)
