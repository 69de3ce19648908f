"""What is exported: items by pages, so that a library of any size passes through little memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from atlas import library
from atlas.database.engine import read
from atlas.database.tables import contents
from atlas.library import Filter, Order

#: Items asked for at once; fewer when their texts come along.
PAGE = 500
PAGE_WITH_CONTENT = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which items: those named, in that order, or else those that a filter finds."""

    wanted: Filter = Filter(state="ready")  # noqa: RUF009 - it is frozen
    ids: tuple[int, ...] = ()
    order: Order = "newest"
    #: No more than so many.
    limit: int | None = None


def rows(engine: Engine, selection: Selection, *, content: bool = False) -> Iterator[dict[str, Any]]:
    """Return the items selected as the library shows them; with `content` their `text` and `html` too."""
    left = selection.limit
    for ids in _pages(engine, selection, PAGE_WITH_CONTENT if content else PAGE):
        with read(engine) as conn:
            found = library.rows(conn, ids[:left])
            if content:
                _add_content(conn, found)
        yield from found
        if left is not None:
            left -= len(ids[:left])
            if left <= 0:
                return


def _pages(engine: Engine, selection: Selection, size: int) -> Iterator[Sequence[int]]:
    if selection.ids:
        yield from (selection.ids[at : at + size] for at in range(0, len(selection.ids), size))
        return
    cursor: str | None = None
    while True:
        with read(engine) as conn:
            ids, cursor = library.ids(
                conn, selection.wanted, order=selection.order, limit=size, cursor=cursor
            )
        if ids:
            yield ids
        if cursor is None:
            return


def _add_content(conn: Connection, found: list[dict[str, Any]]) -> None:
    query = sa.select(contents.c.item_id, contents.c.text, contents.c.html)
    query = query.where(contents.c.item_id.in_([row["id"] for row in found]))
    texts = {row.item_id: row for row in conn.execute(query)}
    for row in found:
        content = texts.get(row["id"])
        row["text"], row["html"] = (content.text, content.html) if content else (None, None)
