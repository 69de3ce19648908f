"""Bookmarks in Netscape's format, which all browsers and bookmark services read."""

from collections.abc import Iterable, Iterator
from typing import Any

from atlas.export.xml import words
from atlas.items import INTERNAL

_HEAD = """\
<!DOCTYPE NETSCAPE-Bookmark-file-1>
<META HTTP-EQUIV="Content-Type" CONTENT="text/html; charset=UTF-8">
<TITLE>Bookmarks</TITLE>
<H1>Bookmarks</H1>
<DL><p>
"""


def netscape(rows: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """Return items as bookmarks with their tags, notes and states; what has no web address is left out."""
    yield _HEAD.encode()
    for row in rows:
        if not row["url"].startswith(INTERNAL):
            yield _bookmark(row).encode("utf-8", "replace")
    yield b"</DL><p>\n"


def _bookmark(row: dict[str, Any]) -> str:
    attributes = {
        "HREF": row["url"],
        "ADD_DATE": str(int(row["added_at"].timestamp())),
        "PRIVATE": "1",
        "TOREAD": "0" if row["read_at"] else "1",
        "TAGS": ",".join(row["tags"]),
    }
    if row["starred_at"]:
        attributes["STARRED"] = "1"
    written = " ".join(f'{name}="{words(value)}"' for name, value in attributes.items())
    note = f"<DD>{words(row['note'])}\n" if row["note"] else ""
    return f"<DT><A {written}>{words(row['title'] or row['url'])}</A>\n{note}"
