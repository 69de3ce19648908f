"""Passages that were marked. They are found again by their words and those around them.

A text changes when its page is read anew, so a highlight keeps its words and some before and after. Where it
stands now is looked up each time; what cannot be found any more is still shown, without a place.
"""

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from atlas.database.dialect import MAX_ID
from atlas.database.tables import contents, highlights, items

#: The colours there are.
COLORS = ("yellow", "green", "blue", "red", "purple")
#: Longest passage, note, and words kept on either side, in characters.
MAX_QUOTE = 10_000
MAX_NOTE = 20_000
MAX_CONTEXT = 200

#: Where a passage stands that occurs more often is looked for among so many places, the first in the text.
_PLACES = 200

Span = tuple[int, int]


def create(
    conn: Connection,
    item_id: int,
    quote: str,
    *,
    now: dt.datetime,
    prefix: str = "",
    suffix: str = "",
    position: int = 0,
    note: str | None = None,
    color: str = "yellow",
) -> dict[str, Any] | None:
    """Mark a passage; None when there is no such item. The same passage marked again is the one there was.

    `prefix` and `suffix`, the text around it, and `position`, the characters before it, say which one is
    meant when it occurs more than once; what is not given is taken from the text.
    """
    quote = quote.strip()[:MAX_QUOTE]
    found = _text(conn, item_id)
    if found is None or not quote:
        return None
    text = found.text or ""
    span = locate(text, quote, prefix, suffix, position)
    if span is not None:
        position, quote = span[0], text[span[0] : span[1]]
        prefix = prefix or text[max(0, span[0] - 64) : span[0]]
        suffix = suffix or text[span[1] : span[1] + 64]
    row = {"item_id": item_id, "quote": quote, "position": max(0, min(position, 2**31 - 1))}
    same = sa.select(highlights.c.id).where(*(highlights.c[name] == value for name, value in row.items()))
    known = conn.execute(same.limit(1)).scalar()
    if known is not None:
        return update(conn, known, {"color": color} | ({"note": note} if note else {}), now=now)
    row |= {
        "prefix": prefix[-MAX_CONTEXT:],
        "suffix": suffix[:MAX_CONTEXT],
        "note": _note(note),
        "color": color,
    }
    made = conn.execute(
        highlights.insert().values(**row, created_at=now, updated_at=now).returning(highlights.c.id)
    )
    return get(conn, made.scalar_one())


def get(conn: Connection, highlight_id: int) -> dict[str, Any] | None:
    """Return a highlight, with the place where it stands now; None when there is none."""
    if not 0 < highlight_id <= MAX_ID:
        return None
    row = conn.execute(sa.select(highlights).where(highlights.c.id == highlight_id)).one_or_none()
    if row is None:
        return None
    found = _text(conn, row.item_id)
    return _placed(row, (found.text if found else None) or "")


def of_item(conn: Connection, item_id: int) -> list[dict[str, Any]]:
    """Return an item's highlights in the order of the text, with `start` and `end` (None: not found)."""
    found = _text(conn, item_id) if 0 < item_id <= MAX_ID else None
    if found is None:
        return []
    query = sa.select(highlights).where(highlights.c.item_id == item_id)
    rows = [_placed(row, found.text or "") for row in conn.execute(query)]
    return sorted(rows, key=lambda row: (row["start"] is None, row["start"] or row["position"], row["id"]))


def everywhere(
    conn: Connection, *, limit: int = 50, below: int | None = None
) -> tuple[list[dict[str, Any]], int | None]:
    """Return highlights of all items, the newest first, each with its item's `title`, `url` and `site`.

    And the id to go on below, None at the end.
    """
    query = sa.select(highlights, items.c.title, items.c.url, items.c.site).join_from(highlights, items)
    query = query.where(highlights.c.id < min(below or MAX_ID, MAX_ID))
    query = query.order_by(highlights.c.id.desc()).limit(limit + 1)
    rows = [dict(row._mapping) for row in conn.execute(query)]
    return rows[:limit], rows[limit - 1]["id"] if len(rows) > limit else None


def update(
    conn: Connection, highlight_id: int, values: Mapping[str, Any], *, now: dt.datetime
) -> dict[str, Any] | None:
    """Change `note` or `color`; return the highlight, None when there is none."""
    if not 0 < highlight_id <= MAX_ID:
        return None
    columns: dict[str, Any] = {}
    if "note" in values:
        columns["note"] = _note(values["note"])
    if "color" in values:
        columns["color"] = values["color"]
    if columns:
        change = highlights.update().where(highlights.c.id == highlight_id)
        conn.execute(change.values(**columns, updated_at=now))
    return get(conn, highlight_id)


def delete(conn: Connection, highlight_id: int) -> bool:
    """Take a highlight away; return False when there is none."""
    gone = highlights.delete().where(highlights.c.id == highlight_id)
    return 0 < highlight_id <= MAX_ID and conn.execute(gone).rowcount > 0


def locate(text: str, quote: str, prefix: str = "", suffix: str = "", position: int = 0) -> Span | None:
    """Return where `quote` stands in `text`; None when it does not.

    White space counts alike, whatever it is. Of several places the one is taken whose surroundings agree best
    with `prefix` and `suffix`; then the one nearest to `position`.
    """
    words = quote.split()
    if not words:
        return None
    pattern = re.compile(r"\s+".join(map(re.escape, words)))
    best: tuple[tuple[int, int], Span] | None = None
    for number, match in enumerate(pattern.finditer(text)):
        if number >= _PLACES:
            break
        agreement = _agreement(text[max(0, match.start() - MAX_CONTEXT) : match.start()][::-1], prefix[::-1])
        agreement += _agreement(text[match.end() : match.end() + MAX_CONTEXT], suffix)
        merit = (agreement, -abs(match.start() - position))
        if best is None or merit > best[0]:
            best = merit, match.span()
    return best[1] if best else None


def _agreement(here: str, there: str) -> int:
    """Count the characters, white space aside, that two texts begin with in common."""
    count = 0
    for one, other in zip("".join(here.split()), "".join(there.split()), strict=False):
        if one != other:
            break
        count += 1
    return count


def _placed(row: sa.Row[Any], text: str) -> dict[str, Any]:
    span = locate(text, row.quote, row.prefix, row.suffix, row.position)
    return {**row._mapping, "start": span[0] if span else None, "end": span[1] if span else None}


def _text(conn: Connection, item_id: int) -> sa.Row[Any, Any] | None:
    if not 0 < item_id <= MAX_ID:
        return None
    query = sa.select(items.c.id, contents.c.text).select_from(items.outerjoin(contents))
    return conn.execute(query.where(items.c.id == item_id)).one_or_none()


def _note(note: str | None) -> str | None:
    return (note or "").strip()[:MAX_NOTE] or None
