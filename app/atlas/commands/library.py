"""`atlas add` and `atlas search`."""

import argparse
import html
import re
import secrets
import sys
from collections.abc import Iterator
from dataclasses import asdict

from atlas import items
from atlas.commands import complain, database, now, show
from atlas.database.engine import read
from atlas.items import Added, InvalidUrl
from atlas.search import Hit
from atlas.search import search as find
from atlas.settings import Settings


def add(options: argparse.Namespace, settings: Settings) -> int:
    """Queue addresses, each in a transaction of its own."""
    added: list[Added] = []
    problems: list[str] = []
    with database(settings) as engine:
        for url in _urls(options.urls):
            try:
                with engine.begin() as conn:
                    added.append(
                        items.add(
                            conn,
                            url,
                            now=now(),
                            lane=items.Lane.NOW,
                            correlation_id=secrets.token_hex(8),
                            source="cli",
                        )
                    )
            except InvalidUrl as error:
                problems.append(f"{url}: {error}")
    show(options, [asdict(item) for item in added], "\n".join(map(_added, added)))
    return complain(*problems) if problems else 0


def search(options: argparse.Namespace, settings: Settings) -> int:
    """Print what matches, the best first."""
    with database(settings) as engine, read(engine) as conn:
        total, hits = find(conn, " ".join(options.words), limit=options.limit)
    data = {"total": total, "items": [asdict(hit) for hit in hits]}
    return show(options, data, "\n\n".join([f"{total:,} found", *map(_hit, hits)]))


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
