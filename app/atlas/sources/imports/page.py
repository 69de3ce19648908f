"""Saved web pages and other documents: one file, one item."""

import re
from collections.abc import Iterator
from typing import IO

from atlas.sources.imports.record import HTML, MARKDOWN, TEXT, Entry, Record, Unreadable, line
from atlas.sources.imports.stream import HEAD, encoding_of

#: Largest document, in bytes.
LARGEST = 50_000_000
PDF = "application/pdf"

_ADDRESS = r"[\"']?(https?://[^\s\"'<>]+)"
#: Where a saved page says it came from, the surest first: browsers, SingleFile, the page itself.
_SOURCES = (
    re.compile(r"<!--\s*saved from url=\(\d+\)(https?://[^\s<>]+)", re.IGNORECASE),
    re.compile(r"<!--\s*Page saved with SingleFile\s+url:\s*(https?://[^\s<>]+)", re.IGNORECASE),
    re.compile(r"<link\b(?=[^<>]*\brel=[\"']?canonical\b)[^<>]*\bhref=" + _ADDRESS, re.IGNORECASE),
    re.compile(r"<meta\b(?=[^<>]*[\"']og:url[\"'])[^<>]*\bcontent=" + _ADDRESS, re.IGNORECASE),
)  # fmt: skip
_TITLE = re.compile(r"<title\b[^<>]*>([^<]{1,2000})</title>", re.IGNORECASE)
_MARKDOWN = re.compile(
    r"^(?:#{1,6} \S|[-*] \[[ x]\] |```|---\n)|\[[^\[\]\n]{1,500}\]\([^()\n]{1,2000}\)|\*\*\S", re.MULTILINE
)


def read_html(file: IO[bytes], name: str = "") -> Iterator[Entry]:
    """Return a saved page; its address is what it says of itself, and may be none."""
    raw = _whole(file)
    text = raw[: 4 * HEAD].decode(encoding_of(raw[:HEAD]), "replace")
    url = next((found[1] for source in _SOURCES if (found := source.search(text))), "")
    title = _TITLE.search(text)
    yield Record(
        url.replace("&amp;", "&"),
        line(title[1]) if title else line(name),
        kind="article" if url else "file",
        content=raw,
        content_type=HTML if encoding_of(raw[:HEAD]) == "utf-8" else "text/html",
        where=name,
    )


def read_document(file: IO[bytes], name: str = "") -> Iterator[Entry]:
    """Return a PDF, or a text in Markdown or without any form."""
    raw = _whole(file)
    kind = PDF
    if not raw.startswith(b"%PDF-"):
        text = raw.decode(encoding_of(raw[:HEAD]), "replace")
        raw, kind = text.encode("utf-8", "replace"), MARKDOWN if _MARKDOWN.search(text[:HEAD]) else TEXT
    title = line(name.rpartition("/")[2].rpartition(".")[0] or name)
    yield Record("", title, kind="file", content=raw, content_type=kind, where=name)


def _whole(file: IO[bytes]) -> bytes:
    file.seek(0)
    raw = file.read(LARGEST + 1)
    if len(raw) > LARGEST:
        raise Unreadable(f"This document is larger than {LARGEST // 1_000_000} MB.")
    return raw
