"""What a file is, by what is in it. Its name says nothing: people rename, browsers make things up."""

import re
from typing import IO

from atlas.sources.imports import archive, omnivore, spreadsheet
from atlas.sources.imports.links import URL
from atlas.sources.imports.record import Unreadable
from atlas.sources.imports.stream import HEAD, encoding_of
from atlas.sources.imports.table import header

_KEY = re.compile(r'"(\w{1,40})"\s*:')
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
#: Signs of JSON exports: keys that stand near their beginning.
_JSON: tuple[tuple[str, frozenset[str]], ...] = (
    ("karakeep", frozenset({"bookmarks", "createdAt"})),
    ("takeout", frozenset({"header", "title", "time"})),
    ("wallabag", frozenset({"url", "is_archived", "is_starred"})),
    ("linkding", frozenset({"url", "tag_names"})),
    ("omnivore_json", frozenset({"slug", "url", "savedAt"})),
    ("pocket_annotations", frozenset({"url", "highlights", "quote"})),
)
_TABLES: tuple[tuple[str, frozenset[str]], ...] = (
    ("pocket_csv", frozenset({"url", "time_added", "status"})),
    ("pocket_csv", frozenset({"url", "time_added", "tags"})),
    ("readwise", frozenset({"url", "document tags", "saved date"})),
    ("instapaper", frozenset({"url", "title", "selection", "folder"})),
)
_CHANNEL_ROW = re.compile(r"^UC[\w-]{22},https?://www\.youtube\.com/channel/", re.MULTILINE)
#: Part of the lines of a list of links that hold one.
_LINKS_SHARE = 0.5


def detect(file: IO[bytes]) -> str:
    """Return the name of a file's format. Raises Unreadable with a sentence that says what to do."""
    file.seek(0)
    name = detect_head(file.read(HEAD))
    return _archive(file) if name == "folder" else name


def detect_head(head: bytes) -> str:
    """Return the format of a file that begins so; "folder" for any archive. Raises Unreadable."""
    if head.startswith(_ZIP):
        return "folder"
    if head.startswith(b"%PDF-"):
        return "document"
    encoding = encoding_of(head)
    text = head.decode(encoding, "replace").lstrip("\ufeff \t\r\n")
    if not text:
        raise Unreadable("This file is empty.")
    if (b"\0" in head and not encoding.startswith(("utf-16", "utf-32"))) or _is_binary(text):
        raise Unreadable("This is no file Atlas can import: it is neither text, PDF nor ZIP.")
    if text.startswith("<"):
        return _markup(text)
    if text.startswith(("{", "[{", "[\n", "[ ", "[\r", "[]")):
        return _json(text)
    return _table(text) or _text(text)


def _is_binary(text: str) -> bool:
    strange = sum(char < "\t" or char == "\ufffd" for char in text[:4096])
    return strange > len(text[:4096]) * 0.1


def _archive(file: IO[bytes]) -> str:
    with archive.opened(file) as packed:
        names = packed.namelist()
        if any(name.rpartition("/")[2] == "atlas.json" for name in names):
            return "atlas"
        lists = omnivore.folders(packed)
        if lists and all(
            name.endswith("/") or omnivore.is_metadata(name) or omnivore.belongs(name, lists)
            for name in names
        ):
            return "omnivore"
    return "folder"


def _markup(text: str) -> str:
    low = text.lower()
    if "<opml" in low[:4096]:
        return "opml"
    if "netscape-bookmark-file" in low or ("<dt><a " in low and "add_date=" in low):
        return "netscape"
    if "time_added=" in low and "<a " in low:
        return "pocket_html"
    if "mdl-typography" in low and "outer-cell" in low:
        raise Unreadable(
            "This is the HTML form of a Google Takeout. Ask Takeout for your history once more and choose "
            "“JSON” for it under “Multiple formats”: only that can be read reliably."
        )
    if re.search(r"<(?:rss|feed|rdf:rdf)\b", low[:4096]):
        raise Unreadable("This is a feed. Subscribe to its address instead: then it stays up to date.")
    if re.search(r"<(?:html|body|!doctype html|head|article|p|div)\b", low):
        return "page"
    raise Unreadable("This is XML or HTML of a kind Atlas does not know.")


def _json(text: str) -> str:
    keys = frozenset(_KEY.findall(text))
    for name, signs in _JSON:
        if signs <= keys:
            return name
    raise Unreadable(
        "This is JSON of a kind Atlas does not know. It reads exports of wallabag, linkding, karakeep, "
        "Omnivore, Pocket and YouTube's history from Google Takeout."
    )


def _table(text: str) -> str | None:
    first, _, rest = text.partition("\n")
    names, _ = header(first)
    for name, signs in _TABLES:
        if signs <= names:
            return name
    if _CHANNEL_ROW.search(rest):
        return "takeout_channels"
    return "table" if len(names) > 1 and names.intersection(spreadsheet.URL) else None


def _text(text: str) -> str:
    rows = [row for row in text.splitlines() if row.strip() and not row.lstrip().startswith("#")]
    rows = rows[:-1] if len(rows) > 1 and len(text) > HEAD // 4 else rows  # the last may be cut off
    links = sum(1 for row in rows if URL.search(row))
    return "links" if links and links >= len(rows) * _LINKS_SHARE else "document"
