"""Highlights as Markdown: by item, the newest first, each passage with its note."""

import re
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from atlas import tags
from atlas.database.dialect import MAX_ID
from atlas.database.engine import read
from atlas.database.tables import highlights, items
from atlas.items import INTERNAL

_PAGE = 100  # items at once
_SPECIAL = re.compile(r"([\\`*_\[\]<>#])")


def markdown(engine: Engine) -> Iterator[bytes]:
    """Return all highlights, and the notes of the items that have any."""
    yield b"# Highlights\n"
    below = MAX_ID
    while True:
        with read(engine) as conn:
            marked = sa.select(highlights.c.item_id).distinct().where(highlights.c.item_id < below)
            ids = list(conn.execute(marked.order_by(highlights.c.item_id.desc()).limit(_PAGE)).scalars())
            if not ids:
                return
            known = sa.select(items.c.id, items.c.title, items.c.url, items.c.byline, items.c.note)
            rows = {row.id: row for row in conn.execute(known.where(items.c.id.in_(ids)))}
            query = sa.select(highlights).where(highlights.c.item_id.in_(ids))
            found: dict[int, list[Any]] = {}
            for mark in conn.execute(query.order_by(highlights.c.position, highlights.c.id)):
                found.setdefault(mark.item_id, []).append(mark)
            tagged = tags.of(conn, ids)
        for one in ids:
            yield _section(rows[one], found[one], tagged.get(one, [])).encode("utf-8", "replace")
        below = ids[-1]


def _section(row: Any, marks: list[Any], names: list[str]) -> str:  # noqa: ANN401 - a row
    title = _SPECIAL.sub(r"\\\1", " ".join((row.title or row.url).split()))
    linked = title if row.url.startswith(INTERNAL) else f"[{title}](<{row.url}>)"
    about = " · ".join(filter(None, [row.byline, " ".join("#" + name.replace(" ", "-") for name in names)]))
    parts = [f"\n## {linked}\n"]
    if about:
        parts.append(f"{about}\n")
    if row.note:
        parts.append(f"{row.note.strip()}\n")
    for mark in marks:
        parts.append("\n".join(f"> {line}".rstrip() for line in mark.quote.splitlines()) + "\n")
        if mark.note:
            parts.append(f"{mark.note.strip()}\n")
    return "\n".join(parts)
