"""Dead letters: items that failed for good (777), why, and the ways out of there.

A failed item is tried again by itself once a day for some days, unless its reason cannot change. Then it is a
dead letter until a person decides: try it again, set it aside, or hand in its content.
"""

import datetime as dt
import html
import secrets
from collections.abc import Collection
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from atlas import items, originals
from atlas.database.dialect import MAX_ID
from atlas.database.tables import contents, transitions
from atlas.database.tables import items as table
from atlas.items import INTERNAL, Lane, Step
from atlas.stages.context import Context
from atlas.stages.table import DONE, Stage

#: Reasons that another try does not change.
FINAL = frozenset(
    {
        "not_html", "undecodable", "damaged", "invalid_url", "forbidden_address", "body_too_large",
        "decompression_bomb", "too_complex", "http_410", "http_451", "protected",
    }
)  # fmt: skip

#: Failures of reading: what was fetched is kept and is read again.
_READ_AGAIN = frozenset({"internal_error", "never_finished", "too_complex", "undecodable"})

#: Said of an original that a person chose: it is believed, however short it is.
_HANDED = "text/html; charset=utf-8; handed=yes"

_AT_ONCE = 100  # items in one transaction
_DAY = dt.timedelta(days=1)

_code = table.c.error["code"].as_string()
_DEAD = table.c.stage == Stage.PERMANENT_ERROR


def list_dead(
    conn: Connection,
    *,
    code: str | None = None,
    ignored: bool | None = False,
    limit: int = 50,
    cursor: int | None = None,
) -> tuple[list[dict[str, Any]], int | None]:
    """Return at most `limit` dead letters, newest items first, each with its `history`, and the next cursor.

    `ignored` None shows both those set aside and the others.
    """
    query = sa.select(
        table.c.id, table.c.kind, table.c.url, table.c.host, table.c.title, table.c.source, table.c.feed_id,
        table.c.error, table.c.attempts, table.c.revivals, table.c.ignored_at, table.c.added_at,
        table.c.updated_at,
    ).where(_DEAD, table.c.id < min(cursor or MAX_ID, MAX_ID))  # fmt: skip
    if code is not None:
        query = query.where(_code == code)
    if ignored is not None:
        query = query.where(table.c.ignored_at.is_not(None) if ignored else table.c.ignored_at.is_(None))
    query = query.order_by(table.c.id.desc()).limit(limit + 1)
    rows = [dict(row._mapping) for row in conn.execute(query)]
    following = rows[limit - 1]["id"] if len(rows) > limit else None
    rows = rows[:limit]
    told = _histories(conn, [row["id"] for row in rows])
    for row in rows:
        row["final"] = (row["error"] or {}).get("code") in FINAL
        row["history"] = told.get(row["id"], [])
    return rows, following


def reasons(conn: Connection, *, ignored: bool = False) -> dict[str, int]:
    """Return how many dead letters there are by the code of their reason, the most frequent first."""
    aside = table.c.ignored_at.is_not(None) if ignored else table.c.ignored_at.is_(None)
    query = sa.select(_code, sa.func.count()).where(_DEAD, aside).group_by(_code)
    found = [(code or "unknown", number) for code, number in conn.execute(query)]
    return dict(sorted(found, key=lambda one: (-one[1], one[0])))


def retry(conn: Connection, item_id: int, *, now: dt.datetime, correlation_id: str) -> bool:
    """Try a dead letter again, before what feeds and imports bring; False when it is none."""
    return _go_on(conn, _DEAD & (table.c.id == _id(item_id)), Lane.NOW, now, correlation_id) > 0


def retry_all(engine: Engine, *, code: str, now: dt.datetime, correlation_id: str) -> int:
    """Try all dead letters of one reason again that were not set aside; return how many."""
    which = _DEAD & table.c.ignored_at.is_(None) & (_code == code) & (table.c.updated_at <= now)
    total = 0
    while True:
        with engine.begin() as conn:
            some = _go_on(conn, which, Lane.IMPORT, now, correlation_id)
        if not some:
            return total
        total += some


def ignore(conn: Connection, item_id: int, *, now: dt.datetime, ignored: bool = True) -> bool:
    """Set a dead letter aside, or bring it back; False when it is none. Set aside, it is not tried again."""
    change = table.update().where(_DEAD, table.c.id == _id(item_id))
    return conn.execute(change.values(ignored_at=now if ignored else None)).rowcount > 0


def give_content(
    engine: Engine, data_dir: Path, item_id: int, markup: str, *, now: dt.datetime, correlation_id: str
) -> bool:
    """Go on with the HTML a person handed in for an item that failed or waits.

    Returns False, and changes nothing, when there is no such item or it can be read already.
    """
    readable = sa.exists().where(contents.c.item_id == table.c.id)
    mine = sa.and_(
        table.c.id == _id(item_id), table.c.stage.not_in({*DONE, Stage.DUPLICATE}), sa.not_(readable)
    )
    values = {
        "original_sha256": originals.put(data_dir, markup.encode("utf-8", "replace")),
        "original_type": _HANDED,
        "stage": Stage.ACQUISITION_COMPLETE,
    }
    step = Step(Stage.ACQUISITION_COMPLETE, "Its content was handed in")
    with engine.begin() as conn:
        done = items.restart(conn, mine, values, step, now=now, correlation_id=correlation_id, lane=Lane.NOW)
    return done > 0


def html_of_text(text: str) -> str:
    """Return plain text as HTML that keeps its paragraphs."""
    parts = (part.strip() for part in text.replace("\r\n", "\n").split("\n\n"))
    body = "".join(f"<p>{html.escape(part)}</p>\n" for part in parts if part)
    return f"<!doctype html>\n<meta charset=utf-8>\n<article>\n{body}</article>\n"


def revive(ctx: Context) -> None:
    """Try again what failed a day ago: the daily chore, in small steps."""
    days, size = ctx.settings.dead_letter_days, ctx.settings.max_queue_size

    def some(conn: Connection) -> int:
        now = ctx.clock()
        has_room = items.queue_size(conn, now) < size * items.IMPORT_SHARE
        return revive_some(conn, now=now, days=days) if has_room else 0

    while days and ctx.write(some):
        pass


def any_to_revive(conn: Connection, now: dt.datetime) -> bool:
    """Tell whether something may have to be revived."""
    return conn.execute(sa.select(table.c.id).where(_ripe(now, 10_000)).limit(1)).first() is not None


def revive_some(conn: Connection, *, now: dt.datetime, days: int) -> int:
    """Queue failed items again whose day has come, a hundred at most; return how many."""
    return _go_on(conn, _ripe(now, days), Lane.IMPORT, now, None, of_days=days)


def _ripe(now: dt.datetime, days: int) -> sa.ColumnElement[bool]:
    return sa.and_(
        _DEAD,
        table.c.ignored_at.is_(None),
        table.c.updated_at <= now - _DAY,
        table.c.revivals < days,
        _code.not_in(FINAL),
    )


def _go_on(
    conn: Connection,
    which: sa.ColumnElement[bool],
    lane: Lane,
    now: dt.datetime,
    correlation_id: str | None,
    *,
    of_days: int | None = None,
) -> int:
    """Queue dead letters again, `_AT_ONCE` at most; by itself (`of_days`) that is counted."""
    query = sa.select(table.c.id, table.c.url, _code.label("code"), table.c.original_sha256, table.c.revivals)
    query = query.where(which).order_by(table.c.id).limit(_AT_ONCE).with_for_update(skip_locked=True)
    found = conn.execute(query).all()
    for row in found:
        kept = row.original_sha256 and (row.code in _READ_AGAIN or row.url.startswith(INTERNAL))
        stage = Stage.ACQUISITION_COMPLETE if kept else Stage.CONTENT_QUEUED
        revivals = 0 if of_days is None else row.revivals + 1
        by = "by hand" if of_days is None else f"by itself, day {revivals} of {of_days}"
        items.restart(
            conn,
            table.c.id == row.id,
            {"stage": stage, "revivals": revivals},
            Step(stage, f"Tried again {by}"),
            now=now,
            correlation_id=correlation_id or secrets.token_hex(8),
            lane=lane,
        )
    return len(found)


def _histories(conn: Connection, ids: Collection[int]) -> dict[int, list[dict[str, Any]]]:
    query = sa.select(
        transitions.c.item_id, transitions.c.at, transitions.c.stage, transitions.c.reason,
        transitions.c.correlation_id,
    ).where(transitions.c.item_id.in_(ids)).order_by(transitions.c.id)  # fmt: skip
    told: dict[int, list[dict[str, Any]]] = {}
    for row in conn.execute(query):
        moment = {name: row._mapping[name] for name in ("at", "stage", "reason", "correlation_id")}
        told.setdefault(row.item_id, []).append(moment)
    return told


def _id(item_id: int) -> int:
    """Return an id that the database can be asked for: what is too large is nobody's."""
    return item_id if 0 < item_id <= MAX_ID else -1
