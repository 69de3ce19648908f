"""`atlas add`, `atlas note` and `atlas search`."""

import argparse
import html
import re
import secrets
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from sqlalchemy.engine import Engine

from atlas import items
from atlas import search as index
from atlas.commands import CommandError, complain, database, now, show
from atlas.database.engine import read
from atlas.items import Added, InvalidUrl, New
from atlas.search import Hit
from atlas.search import search as find
from atlas.settings import Settings
from atlas.sources import handed


def add(options: argparse.Namespace, settings: Settings) -> int:
    """Queue addresses and files, each in a transaction of its own."""
    added: list[Added] = []
    problems: list[str] = []
    with database(settings) as engine:
        for given in _urls(options.urls):
            try:
                added.append(_keep(engine, _new(given, options.tag, settings)))
            except (InvalidUrl, handed.Refused, OSError) as error:
                problems.append(f"{given}: {error}")
    show(options, [asdict(item) for item in added], "\n".join(map(_added, added)))
    return complain(*problems) if problems else 0


def note(options: argparse.Namespace, settings: Settings) -> int:
    """Keep a note."""
    text = sys.stdin.read() if options.text == "-" else options.text
    try:
        new = handed.note(
            settings.data_dir,
            text,
            now=now(),
            correlation_id=secrets.token_hex(8),
            key=secrets.token_hex(16),
            title=options.title,
            tags=options.tag,
            source="cli",
        )
    except handed.Refused as error:
        raise CommandError(str(error)) from None
    with database(settings) as engine:
        added = _keep(engine, new)
    return show(options, asdict(added), _added(added))


def _new(given: str, tags: list[str], settings: Settings) -> New:
    """Return what to add for an address or the name of a file."""
    path = Path(given)
    correlation_id = secrets.token_hex(8)
    if "://" in given or not (path.exists() or path.suffix.lower() in handed.TYPES):
        return New(given, correlation_id, lane=items.Lane.NOW, source="cli", tags=tuple(tags))
    if path.exists() and path.stat().st_size > settings.upload_max_bytes:
        most = f"{settings.upload_max_bytes:,}"
        raise handed.Refused(f"The file is larger than {most} bytes, by ATLAS_UPLOAD_MAX_BYTES.")
    return handed.file(
        settings.data_dir,
        path.name,
        path.read_bytes(),
        now=now(),
        correlation_id=correlation_id,
        tags=tags,
    )


def _keep(engine: Engine, new: New) -> Added:
    with engine.begin() as conn:
        (added,) = items.add_many(conn, [new], now=now())
    if isinstance(added, InvalidUrl):
        raise added
    return added


def search(options: argparse.Namespace, settings: Settings) -> int:
    """Print what matches, the best first."""
    with database(settings) as engine, read(engine) as conn:
        total, hits = find(conn, " ".join(options.words), limit=options.limit)
    data = {"total": total, "items": [asdict(hit) for hit in hits]}
    return show(options, data, "\n\n".join([f"{total:,} found", *map(_hit, hits)]))


def check_index(options: argparse.Namespace, settings: Settings) -> int:
    """Compare the search index with what it is made of; 1 when they differ."""
    with database(settings) as engine, engine.begin() as conn:
        off = index.check(conn)
    sound = not any(off.values())
    text = "The search index fits." if sound else "The search index is off. Run `atlas index rebuild`."
    show(options, off, text)
    return 0 if sound else 1


def rebuild_index(options: argparse.Namespace, settings: Settings) -> int:
    """Make the search index anew."""
    with database(settings) as engine, engine.begin() as conn:
        index.rebuild(conn)
    return show(options, {"rebuilt": True}, "The search index is made anew.")


def _urls(given: list[str]) -> Iterator[str]:
    for url in given:
        if url == "-":
            yield from (line.strip() for line in sys.stdin if line.strip())
        else:
            yield url


def _added(item: Added) -> str:
    known = f" is item {item.duplicate_of} already; noted as" if item.duplicate_of else ""
    return f"{item.url}{known} item {item.id}" if known else f"{item.id}  {item.url}"


def _hit(hit: Hit) -> str:
    snippet = html.unescape(re.sub(r"</?mark>", "*", hit.snippet_html))
    return f"{hit.id}  {hit.title or hit.url}\n    {hit.url}\n    {' '.join(snippet.split())}"
