"""Everything as JSON lines and files, in one ZIP file that Atlas reads back: see docs/exporting.md.

`atlas.json` says what it is, `feeds.jsonl` and `items.jsonl` have a line each, `originals/` has the bytes as
they were fetched. Nothing in it needs Atlas to be read.
"""

import datetime as dt
import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from atlas import __version__, originals, tags
from atlas.database.engine import read
from atlas.database.tables import contents, feeds, highlights, items, sightings, transcripts
from atlas.export.zipping import Sink, written
from atlas.stages.table import Stage

FORMAT = "atlas-export"
#: Raised when readers of the one before could not read it any more.
VERSION = 1
PAGE = 200

_FEED = (
    feeds.c.url, feeds.c.title, feeds.c.named, feeds.c.site_url, feeds.c.kind, feeds.c.folder,
    feeds.c.interval_seconds, feeds.c.full_text, feeds.c.retention_days, feeds.c.rules, feeds.c.image,
    feeds.c.paused_at, feeds.c.added_at,
)  # fmt: skip
_ITEM = (
    items.c.id, items.c.kind, items.c.url, items.c.stage, items.c.source, items.c.title, items.c.byline,
    items.c.site, items.c.language, items.c.excerpt, items.c.image, items.c.published_at, items.c.word_count,
    items.c.text_sha256, items.c.final_url, items.c.added_at, items.c.updated_at, items.c.read_at,
    items.c.starred_at, items.c.titled_at, items.c.progress, items.c.note, items.c.summary,
    items.c.keywords, items.c.media, items.c.error,
)  # fmt: skip
_HIGHLIGHT = (
    highlights.c.item_id, highlights.c.quote, highlights.c.prefix, highlights.c.suffix, highlights.c.position,
    highlights.c.note, highlights.c.color, highlights.c.created_at,
)  # fmt: skip
_SIGHTING = (
    sightings.c.item_id, sightings.c.key, sightings.c.at, sightings.c.source, sightings.c.url,
    sightings.c.title,
)  # fmt: skip


def everything(
    engine: Engine, data_dir: Path, *, now: dt.datetime, with_originals: bool = True
) -> Iterator[bytes]:
    """Return the ZIP file, piece by piece. Originals that are damaged or gone are listed in `missing.txt`."""
    sink = Sink()
    with written(sink) as archive:
        about = {"format": FORMAT, "version": VERSION, "exported_at": now, "by": f"Atlas {__version__}"}
        archive.writestr("atlas.json", _json(about))
        yield from sink.drain()
        with archive.open("feeds.jsonl", "w", force_zip64=True) as file:
            for feed in _feeds(engine):
                file.write(_json(feed))
        yield from sink.drain()
        with archive.open("items.jsonl", "w", force_zip64=True) as file:
            for page in _pages(engine):
                for item in page:
                    file.write(_json(item))
                yield from sink.drain()
        if with_originals:
            yield from _originals(engine, data_dir, archive, sink)
    yield from sink.drain()


def original_path(sha256: str) -> str:
    """Return where an original stands in the ZIP file."""
    return f"originals/{sha256[:2]}/{sha256[2:4]}/{sha256}"


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, default=_plain).encode("utf-8", "replace") + b"\n"


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, dt.datetime) else str(value)


def _feeds(engine: Engine) -> Iterator[dict[str, Any]]:
    with read(engine) as conn:
        found = conn.execute(sa.select(*_FEED).order_by(feeds.c.id)).all()
    return (dict(row._mapping) for row in found)


def _pages(engine: Engine) -> Iterator[list[dict[str, Any]]]:
    """Return all items but duplicates, oldest first; what those told stands with their originals."""
    columns = (
        *_ITEM, items.c.original_sha256, items.c.original_type, feeds.c.url.label("feed"),
        contents.c.title.label("content_title"), contents.c.text, contents.c.html,
    )  # fmt: skip
    source = items.outerjoin(contents, contents.c.item_id == items.c.id)
    source = source.outerjoin(feeds, feeds.c.id == items.c.feed_id)
    query = sa.select(*columns).select_from(source).where(items.c.stage != Stage.DUPLICATE)
    query = query.order_by(items.c.id).limit(PAGE)
    last = 0
    while True:
        with read(engine) as conn:
            rows = [dict(row._mapping) for row in conn.execute(query.where(items.c.id > last))]
            if not rows:
                return
            page = _full(conn, rows)
        yield page
        last = rows[-1]["id"]


def _full(conn: Connection, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    ids = [row["id"] for row in rows]
    tagged = tags.of(conn, ids)
    marked = _by_item(conn, sa.select(*_HIGHLIGHT).order_by(highlights.c.id), highlights.c.item_id, ids)
    seen = _by_item(conn, sa.select(*_SIGHTING).order_by(sightings.c.id), sightings.c.item_id, ids)
    spoken = _by_item(conn, sa.select(transcripts), transcripts.c.item_id, ids)
    full = []
    for row in rows:
        text, html, title = (row.pop(name) for name in ("text", "html", "content_title"))
        sha256, kind = row.pop("original_sha256"), row.pop("original_type")
        row |= {
            "tags": tagged.get(row["id"], []),
            "highlights": marked.get(row["id"], []),
            "sightings": seen.get(row["id"], []),
            "transcript": next(iter(spoken.get(row["id"], [])), None),
            "content": None if text is None else {"title": title, "text": text, "html": html},
            "original": sha256 and {"sha256": sha256, "type": kind, "path": original_path(sha256)},
        }
        full.append(row)
    return full


def _by_item(
    conn: Connection, query: sa.Select[Any], column: sa.Column[Any], ids: Sequence[int]
) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    for row in conn.execute(query.where(column.in_(ids))):
        values = dict(row._mapping)
        found.setdefault(values.pop("item_id"), []).append(values)
    return found


def _originals(engine: Engine, data_dir: Path, archive: zipfile.ZipFile, sink: Sink) -> Iterator[bytes]:
    written_already: set[bytes] = set()
    missing: list[str] = []
    query = sa.select(items.c.id, items.c.original_sha256).where(
        items.c.original_sha256.is_not(None), items.c.stage != Stage.DUPLICATE
    )
    query = query.order_by(items.c.id).limit(PAGE)
    last = 0
    while True:
        with read(engine) as conn:
            rows = conn.execute(query.where(items.c.id > last)).all()
        if not rows:
            break
        for row in rows:
            digest = bytes.fromhex(row.original_sha256)
            if digest in written_already:
                continue
            written_already.add(digest)
            try:
                raw = originals.get(data_dir, row.original_sha256)
            except (originals.OriginalMissing, originals.OriginalCorrupt) as error:
                missing.append(f"item {row.id}: {error}")
                continue
            archive.writestr(original_path(row.original_sha256), raw)
            yield from sink.drain()
        last = rows[-1].id
    if missing:
        archive.writestr("missing.txt", "\n".join(missing) + "\n")
