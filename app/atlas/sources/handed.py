"""What a person hands in: notes, files, whole pages as their browser shows them, and pieces of pages.

Each function keeps the bytes first and returns the item to add (`items.add`, or the API's `Saver`), which
has nothing to fetch any more. What was handed in twice is one item: by its address, or by its bytes.
"""

import datetime as dt
import hashlib
import html
import re
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from sqlalchemy.engine import Connection

from atlas import items, originals
from atlas.items import INTERNAL, Lane, New
from atlas.urls import normalise

#: Types of files that can be read, by the ending of their names.
TYPES = {
    ".pdf": "application/pdf",
    ".html": "text/html",
    ".htm": "text/html",
    ".xhtml": "application/xhtml+xml",
    ".txt": "text/plain",
    ".text": "text/plain",
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".eml": "message/rfc822",
}

#: Said of an original that a person chose, after its type: it is believed, however short it is; and of a
#: piece of a page, which is kept whole.
HANDED = "; handed=yes"
PIECE = "; handed=part"

_MAX_NAME = 200


#: How a site would say it of its own pages.
_CLAIM = re.compile(r";\s*handed\s*=", re.IGNORECASE)


def from_outside(content_type: str) -> str | None:
    """Return a type as a site gave it: only a person's word makes us believe whatever comes."""
    return _CLAIM.sub("; x-handed=", content_type) or None


class Refused(Exception):  # noqa: N818
    """What was handed in cannot be kept; the message says why."""


def note(
    data_dir: Path,
    text: str,
    *,
    now: dt.datetime,
    correlation_id: str,
    key: str,
    title: str | None = None,
    tags: Sequence[str] = (),
    source: str = "api",
) -> New:
    """Return a note in Markdown to be added; `key` tells it from all others. Raises Refused."""
    fields = _note_fields(data_dir, text, title, now)
    return New(
        f"{INTERNAL}note/{key}",
        correlation_id,
        kind="note",
        lane=Lane.NOW,
        title=_title(title),
        source=source,
        tags=tuple(tags),
        fields=fields,
        internal=True,
    )


def edit_note(
    conn: Connection,
    data_dir: Path,
    item_id: int,
    text: str,
    *,
    now: dt.datetime,
    correlation_id: str,
    title: str | None = None,
) -> bool:
    """Give a note another text, and another title unless None; the text before stays among its versions.

    Returns False when there is no such note. Raises Refused.
    """
    found = items.get(conn, item_id)
    if found is None or not is_note(found):
        return False
    fields = _note_fields(data_dir, text, title, now)
    if title is not None:
        fields |= {"title": _title(title), "titled_at": now if _title(title) else None}
    return items.replace_original(
        conn, item_id, fields, reason="Edited", now=now, correlation_id=correlation_id
    )


def is_note(item: dict[str, Any]) -> bool:
    """Tell whether an item, as `items.get` gives it, is a note that was written here in Markdown."""
    return item["kind"] == "note" and (item["original_type"] or "").startswith("text/markdown")


def note_text(data_dir: Path, item: dict[str, Any]) -> str:
    """Return the Markdown of a note, from what `items.get` says of it. Raises what `originals.get` raises."""
    return originals.get(data_dir, item["original_sha256"] or "").decode("utf-8", "replace")


def file(
    data_dir: Path,
    name: str,
    raw: bytes,
    *,
    now: dt.datetime,
    correlation_id: str,
    content_type: str = "",
    title: str | None = None,
    tags: Sequence[str] = (),
    source: str = "file",
) -> New:
    """Return a file to be added: PDF, HTML, Markdown, plain text or a mail. Raises Refused."""
    media_type = file_type(name, raw, content_type)
    sha256 = originals.put(data_dir, raw)
    given = _title(title)
    return New(
        f"{INTERNAL}file/{sha256}",
        correlation_id,
        kind="mail" if media_type == "message/rfc822" else "file",
        lane=Lane.NOW,
        title=given or _title(PurePath(name.replace("\\", "/")).name) or "File",
        source=source,
        tags=tuple(tags),
        fields={
            "original_sha256": sha256,
            "original_type": media_type + HANDED,
            "titled_at": now if given else None,
        },
        internal=True,
    )


def page(
    data_dir: Path,
    url: str,
    markup: str,
    *,
    correlation_id: str,
    title: str | None = None,
    tags: Sequence[str] = (),
    source: str = "api",
) -> New:
    """Return a page to be added with the HTML that a browser shows of it. Raises Refused and InvalidUrl.

    If the page is here and could be read, nothing of it is changed; if it failed or waits, this is read.
    """
    normalise(url)
    if not markup.strip():
        raise Refused("The page is empty.")
    return New(
        url,
        correlation_id,
        lane=Lane.NOW,
        title=_title(title),
        source=source,
        tags=tuple(tags),
        fields={
            "original_sha256": originals.put(data_dir, _bytes(markup)),
            "original_type": "text/html; charset=utf-8",
            "final_url": url,
        },
    )


def selection(
    data_dir: Path,
    url: str,
    *,
    now: dt.datetime,
    correlation_id: str,
    text: str = "",
    markup: str = "",
    title: str | None = None,
    tags: Sequence[str] = (),
    source: str = "api",
) -> New:
    """Return a note to be added that quotes a piece of a page, as text or HTML.

    It is a thing of its own: the whole page can be saved besides, before or after. Raises Refused and
    InvalidUrl.
    """
    clean, _, host = normalise(url)
    if not (text.strip() or markup.strip()):
        raise Refused("The selected text is empty.")
    quoted = (
        markup
        if markup.strip()
        else "".join(f"<p>{html.escape(part)}</p>" for part in text.split("\n\n") if part.strip())
    )
    address, name = html.escape(clean), html.escape(_title(title) or host)
    whole = f'<blockquote>{quoted}</blockquote>\n<p>From <a href="{address}">{name}</a></p>'
    key = hashlib.sha256(_bytes(f"{clean}\n{quoted}")).hexdigest()[:32]
    return New(
        f"{INTERNAL}note/{key}",
        correlation_id,
        kind="note",
        lane=Lane.NOW,
        title=_title(title) or f"From {host}",
        source=source,
        tags=tuple(tags),
        fields={
            "original_sha256": originals.put(data_dir, _bytes(whole)),
            "original_type": "text/html; charset=utf-8" + PIECE,
            "final_url": clean,
            "site": host.removeprefix("www."),
            "titled_at": now,
        },
        internal=True,
    )


def file_type(name: str, raw: bytes, content_type: str = "") -> str:
    """Say what a file is, by its first bytes, its name, and what it was called. Raises Refused."""
    if not raw.strip():
        raise Refused("The file is empty.")
    given = content_type.partition(";")[0].strip().lower()
    known = TYPES.get(PurePath(name.lower()).suffix) or (given if given in TYPES.values() else None)
    if raw.startswith(b"%PDF-"):
        known = "application/pdf"
    elif known == "application/pdf":
        raise Refused("This is no PDF file, although it is called one.")
    if known is None or (known != "application/pdf" and _is_binary(raw)):
        raise Refused("This file cannot be read: PDF, HTML, Markdown, plain text and mails (.eml) can.")
    return known


def _is_binary(raw: bytes) -> bool:
    return b"\0" in raw[:8192] and not raw.startswith((b"\xff\xfe", b"\xfe\xff"))


def _note_fields(data_dir: Path, text: str, title: str | None, now: dt.datetime) -> dict[str, Any]:
    if not text.strip():
        raise Refused("A note needs some text.")
    fields: dict[str, Any] = {
        "original_sha256": originals.put(data_dir, _bytes(text)),
        "original_type": "text/markdown; charset=utf-8" + HANDED,
    }
    return fields | ({"titled_at": now} if _title(title) else {})


def _title(title: str | None) -> str | None:
    return " ".join((title or "").split())[:_MAX_NAME] or None


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")
