"""Transcripts of episodes and videos: kept with times and speakers, and searched with the item's own text."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from atlas.database.dialect import MAX_ID, insert
from atlas.database.tables import contents, items, transcript_searches, transcripts
from atlas.sources.transcripts import Segment, text_of


def save(
    conn: Connection,
    item_id: int,
    segments: Sequence[Segment],
    *,
    source: str,
    language: str | None,
    now: dt.datetime,
) -> bool:
    """Keep a transcript in place of any other; False when there is nothing to read of such an item yet.

    `source` is where it came from: feed, page, youtube, pushed. It is searched at once, and looked for no
    more.
    """
    if not 0 < item_id <= MAX_ID:
        return False
    own = sa.select(contents.c.text).where(contents.c.item_id == item_id).with_for_update()
    text = conn.execute(own).scalar()
    if text is None:
        return False
    notes = _without(text, get(conn, item_id))
    change = contents.update().where(contents.c.item_id == item_id)
    conn.execute(change.values(text=_with(notes, segments)))
    values = {"source": source, "language": language, "segments": list(segments), "at": now}
    new = insert(conn, transcripts).values(item_id=item_id, **values)
    conn.execute(new.on_conflict_do_update(index_elements=["item_id"], set_=values))
    conn.execute(transcript_searches.delete().where(transcript_searches.c.item_id == item_id))
    return True


def behind(conn: Connection, item_id: int, text: str) -> str:
    """Return a text as it is searched: with the transcript of its item, if there is one."""
    kept = get(conn, item_id)
    return text if kept is None else _with(text, kept["segments"])


def _with(notes: str, segments: Sequence[Segment]) -> str:
    return f"{notes}\n\n{text_of(segments)}" if notes else text_of(segments)


def _without(text: str, old: dict[str, Any] | None) -> str:
    """Return the notes alone: a text without the transcript that stands at its end."""
    if old is None:
        return text
    return text.removesuffix(text_of(old["segments"])).rstrip("\n")


def get(conn: Connection, item_id: int) -> dict[str, Any] | None:
    """Return a transcript: `source`, `language`, `at`, `segments`; None when there is none.

    A segment is `[start, end, speaker, text]`: seconds and speaker, or null where they are not known.
    """
    query = sa.select(transcripts.c.source, transcripts.c.language, transcripts.c.at, transcripts.c.segments)
    row = conn.execute(query.where(transcripts.c.item_id == item_id)).one_or_none()
    return dict(row._mapping) if row else None


def remove(conn: Connection, item_id: int) -> bool:
    """Remove a transcript; False when there is none."""
    old = get(conn, item_id)
    if old is None:
        return False
    mine = contents.c.item_id == item_id
    text = conn.execute(sa.select(contents.c.text).where(mine).with_for_update()).scalar() or ""
    conn.execute(contents.update().where(mine).values(text=_without(text, old)))
    conn.execute(transcripts.delete().where(transcripts.c.item_id == item_id))
    return True


def is_item(conn: Connection, item_id: int) -> bool:
    """Tell whether there is an item by that id."""
    found = conn.execute(sa.select(items.c.id).where(items.c.id == item_id)).first()
    return found is not None


def look_for(conn: Connection, item_id: int, *, now: dt.datetime) -> None:
    """Have an item's transcript looked for from now on."""
    new = {"due_at": now, "tries": 0, "since": now, "error": None}
    row = insert(conn, transcript_searches).values(item_id=item_id, **new)
    conn.execute(row.on_conflict_do_update(index_elements=["item_id"], set_=new))


def search_of(conn: Connection, item_id: int) -> dict[str, Any] | None:
    """Tell how the search stands: `due_at`, `tries`, `since`, `error`; None when it is over."""
    columns = (
        transcript_searches.c.due_at, transcript_searches.c.tries, transcript_searches.c.since,
        transcript_searches.c.error,
    )  # fmt: skip
    row = conn.execute(sa.select(*columns).where(transcript_searches.c.item_id == item_id)).one_or_none()
    return dict(row._mapping) if row else None
