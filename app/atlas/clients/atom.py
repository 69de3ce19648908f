"""Entries as Atom with Google Reader's marks, and their enclosures."""

import datetime as dt
from collections.abc import Iterable, Sequence
from xml.etree import ElementTree as ET

from atlas.clients.streams import Entry

_ATOM = "http://www.w3.org/2005/Atom"
_GOOGLE = "http://www.google.com/reader/"
#: What XML cannot hold, whoever wrote it into a title.
_FORBIDDEN = {code: None for code in range(32) if code not in (9, 10, 13)} | {0xFFFE: None, 0xFFFF: None}


def feed(stream: str, rows: Iterable[tuple[str, Entry, Sequence[str]]], now: dt.datetime) -> bytes:
    """Return entries, each with its id and its states, as an Atom feed."""
    root = ET.Element("feed", {"xmlns": _ATOM})
    _add(root, "id", f"tag:google.com,2005:reader/{stream}")
    _add(root, "title", stream)
    _add(root, "updated", _time(now))
    for item_id, row, states in rows:
        entry = ET.SubElement(root, "entry")
        _add(entry, "id", item_id)
        _add(entry, "title", row.title)
        ET.SubElement(entry, "link", {"rel": "alternate", "href": _clean(row.url), "type": "text/html"})
        _add(entry, "published", _time(row.published_at or row.added_at))
        _add(entry, "updated", _time(row.published_at or row.added_at))
        if row.author:
            _add(ET.SubElement(entry, "author"), "name", row.author)
        for name in states:
            label = name.rpartition("/")[2]
            ET.SubElement(
                entry, "category", {"term": _clean(name), "scheme": _GOOGLE, "label": _clean(label)}
            )
        for found in enclosures(row):
            link = {"rel": "enclosure", "href": _clean(found["href"]), "type": _clean(found["type"])}
            ET.SubElement(entry, "link", link)
        _add(entry, "content", row.html).set("type", "html")
    text: str = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}'.encode()


def enclosures(row: Entry) -> list[dict[str, str]]:
    """Return the sound and film of an entry."""
    media = row.media or {}
    address = media.get("audio") or media.get("video")
    kind = media.get("type") or ("audio/mpeg" if "audio" in media else "video/mp4")
    return [{"href": address, "type": kind, "length": str(media.get("bytes") or 0)}] if address else []


def _add(parent: ET.Element, name: str, text: str) -> ET.Element:
    found = ET.SubElement(parent, name)
    found.text = _clean(text)
    return found


def _clean(text: str) -> str:
    return text.translate(_FORBIDDEN).encode("utf-8", "ignore").decode()


def _time(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
