"""An item and its life: added, leased by a worker, moved from stage to stage, retried, given up.

The row is the queue. `due_at` says when a worker may take it, NULL that nothing is left to do. A lease is a
random token in the row and a `due_at` in the future: a worker that dies simply lets the row come due again,
and one that was only slow finds its token gone and writes nothing. Every change of stage is recorded in
`transitions`.

All functions but `lease` work in the caller's transaction.
"""

import datetime as dt
import math
import secrets
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from atlas import library, tags
from atlas.database.dialect import MAX_ID, UtcDateTime, insert, insert_for, is_sqlite, of_rows, write_rows
from atlas.database.engine import read
from atlas.database.tables import contents, feeds, hosts, items, sightings, transitions, versions
from atlas.stages.table import DONE, FETCHING, TERMINAL, Stage
from atlas.urls import InvalidUrl, normalise

__all__ = ["InvalidUrl"]  # what `add` raises

#: What a step may write into its item; the queue's own columns are moved by the functions here alone.
WRITABLE = frozenset(
    {
        "kind", "title", "byline", "site", "language", "excerpt", "image", "published_at", "word_count",
        "text_sha256", "original_sha256", "original_type", "final_url", "duplicate_of", "error", "attempts",
        "keywords", "media",
    }
)  # fmt: skip

#: What an item may begin with.
ADDABLE = frozenset(
    {
        "byline", "site", "language", "excerpt", "image", "published_at", "original_sha256", "original_type",
        "final_url", "read_at", "starred_at", "note", "media", "added_at", "titled_at", "word_count",
        "text_sha256",
    }
)  # fmt: skip

#: Addresses of what has none on the web, such as notes and mails, begin so.
INTERNAL = "atlas:"

#: Imports may fill so much of the queue.
IMPORT_SHARE = 0.5
#: A host that may not be asked for longer than this rests; shorter is the usual pause between two fetches.
LONG_REST = dt.timedelta(seconds=60)

#: More rows than these are worth a statement of their own.
FEW = 20

_ADMIT_AT_ONCE = 200  # items in one transaction: the write lock is short
_PUT_OFF_AT_ONCE = 1000

#: What an item brought back from an export has besides.
RESTORABLE = ADDABLE | {"word_count", "progress", "summary", "keywords", "text_sha256", "feed_id"}


# The condition of uq_items_url_key, literally: else neither engine recognises it.
_UNIQUE = sa.text("stage <> 599")


class Lane(IntEnum):
    """Which items go first."""

    NOW = 0
    NORMAL = 1
    IMPORT = 2


@dataclass(frozen=True, slots=True)
class New:
    """A URL to be added."""

    url: str
    correlation_id: str
    kind: str = "article"
    lane: Lane = Lane.NORMAL
    feed_id: int | None = None
    title: str | None = None
    #: How it came in: api, web, cli, client, feed, import, mail, file.
    source: str = "api"
    import_id: int | None = None
    tags: tuple[str, ...] = ()
    #: Further columns it begins with, of ADDABLE. With `original_sha256` there is nothing to fetch any more.
    fields: Mapping[str, Any] = field(default_factory=dict)
    #: Nothing is left to be done, as the caller writes its content: it is at its last stage at once.
    complete: bool = False
    #: It waits at stage 20 until `admit` lets it into the queue.
    waits: bool = False
    #: The address is one of ours (it begins with INTERNAL), for what has none on the web.
    internal: bool = False


@dataclass(frozen=True, slots=True)
class Added:
    """What became of a URL that was added."""

    id: int
    url: str
    stage: Stage
    duplicate_of: int | None


@dataclass(frozen=True, slots=True)
class Leased:
    """An item a worker holds. `attempts` counts failed tries so far, leases that ran out included."""

    id: int
    kind: str
    url: str
    host: str
    stage: Stage
    attempts: int
    lease: str
    correlation_id: str
    feed_id: int | None
    original_sha256: str | None
    original_type: str | None
    final_url: str | None
    lane: Lane


@dataclass(frozen=True, slots=True)
class Step:
    """A stage reached, and why, in words a reader understands."""

    stage: Stage
    reason: str


@dataclass(frozen=True, slots=True)
class ItemError:
    """Why an item failed: a code for machines, a sentence for people, the stage, and an id for the log."""

    code: str
    message: str
    stage: Stage
    id: str = field(default_factory=lambda: secrets.token_hex(4))

    def stored(self, now: dt.datetime) -> dict[str, Any]:
        """Return what `items.error` keeps."""
        at = now.astimezone(dt.UTC).isoformat(timespec="seconds")
        return {"code": self.code, "message": self.message, "stage": int(self.stage), "at": at, "id": self.id}


def add(
    conn: Connection,
    url: str,
    *,
    now: dt.datetime,
    correlation_id: str,
    **values: Any,  # noqa: ANN401 - the further fields of New
) -> Added:
    """Add one item: see `add_many`. Raises InvalidUrl."""
    (added,) = add_many(conn, [New(url, correlation_id, **values)], now=now)
    if isinstance(added, InvalidUrl):
        raise added
    return added


def add_many(
    conn: Connection, news: Sequence[New], *, now: dt.datetime, keep_order: bool = False
) -> list[Added | InvalidUrl]:
    """Add items in a few statements, however many; InvalidUrl is returned in place.

    A URL that is here already is never touched: a row of stage 599 that points at it is added beside it, and
    the item there learns where else it was seen. Only one that failed for good (777) is queued again itself,
    one that has not been read yet takes the content that is handed in, and one that waits goes into the
    better lane of the two.

    Rows are locked in one order by all who add, so that two who add the same never wait for each other;
    `keep_order` numbers them in the order given instead, for who tries again when PostgreSQL breaks that up.
    """
    rows: list[dict[str, Any] | InvalidUrl] = []
    for new in news:
        try:
            rows.append(_row(new, now))
        except InvalidUrl as error:
            rows.append(error)
    good = [row for row in rows if not isinstance(row, InvalidUrl)]
    inserted = _insert_rows(conn, good, keep_order=keep_order)
    later: list[dict[str, Any]] = []
    added: dict[int, Added] = {}  # by the row's identity
    for row in good:
        item_id = inserted.pop(row["url_key"], None)
        if item_id is None:  # it was here, or came a moment ago in the same company
            later.append(row)
        else:
            added[id(row)] = Added(item_id, row["url"], row["stage"], None)
    added |= _add_known(conn, later)
    outcomes = [row if isinstance(row, InvalidUrl) else added[id(row)] for row in rows]
    tagged: dict[int, list[str]] = {}
    for new, outcome in zip(news, outcomes, strict=True):
        if new.tags and isinstance(outcome, Added):
            tagged.setdefault(outcome.duplicate_of or outcome.id, []).extend(new.tags)
    tags.attach(conn, dict(sorted(tagged.items())))
    return outcomes


def _insert_rows(conn: Connection, rows: list[dict[str, Any]], *, keep_order: bool = False) -> dict[str, int]:
    """Add the rows whose address is not here yet; return their ids by their keys."""
    if not rows:
        return {}
    by_key = {row["url_key"]: row for row in reversed(rows)}  # the first of several is inserted
    keys = dict.fromkeys(row["url_key"] for row in rows) if keep_order else sorted(by_key)
    names = dict.fromkeys(name for row in rows for name in row)
    new = _insert_new(conn.dialect.name)
    full = [{name: by_key[key].get(name) for name in names} for key in keys]
    many = len(full) > FEW and not is_sqlite(conn)
    found = conn.execute(*of_rows(new, full)) if many else conn.execute(new, full)
    inserted = {key: item_id for item_id, key in found}
    _record_all(conn, [(item_id, by_key[key], _reason(by_key[key])) for key, item_id in inserted.items()])
    return inserted


def _reason(row: Mapping[str, Any]) -> str:
    return "Added, with its text" if row["stage"] == Stage.COMPLETE else "Added"


def _row(new: New, now: dt.datetime) -> dict[str, Any]:
    if not new.fields.keys() <= ADDABLE:
        raise ValueError(f"an item may not begin with {sorted(new.fields.keys() - ADDABLE)}")
    clean, key, host = (new.url, new.url, "") if new.internal else normalise(new.url)
    stage = Stage.ACQUISITION_COMPLETE if new.fields.get("original_sha256") else Stage.CONTENT_QUEUED
    if new.waits or new.complete:
        stage = Stage.BATCH_RECEIVED if new.waits else Stage.COMPLETE
    return {
        "kind": new.kind,
        "url": clean,
        "url_key": key,
        "host": host,
        "stage": stage,
        "lane": new.lane,
        "due_at": None if new.waits or new.complete else now,
        "feed_id": new.feed_id,
        "title": new.title,
        "source": new.source,
        "import_id": new.import_id,
        "correlation_id": new.correlation_id,
        "added_at": now,
        "updated_at": now,
        **new.fields,
    }


def _add_known(conn: Connection, rows: Sequence[dict[str, Any]]) -> dict[int, Added]:
    """Add rows whose address is here already, or was when the insert met it."""
    added: dict[int, Added] = {}
    while rows:
        known = _locked(conn, {row["url_key"] for row in rows})
        duplicates: list[tuple[dict[str, Any], int]] = []
        for row in rows:
            there = known.get(row["url_key"])
            if there is None:
                continue
            if (taken := _taken(conn, there, row)) is None:
                duplicates.append((row, there.id))
                continue
            added[id(row)] = taken
            known.pop(row["url_key"])  # looked at again for the next of its kind
        added |= _add_duplicates(conn, duplicates)
        rows = [row for row in rows if id(row) not in added]
        # Deleted, or found to be a duplicate, since the insert met it.
        gone = [row for row in rows if row["url_key"] not in known]
        for key, item_id in _insert_rows(conn, gone).items():
            row = next(row for row in gone if row["url_key"] == key)
            added[id(row)] = Added(item_id, row["url"], row["stage"], None)
        rows = [row for row in rows if id(row) not in added]
    return added


def _locked(conn: Connection, keys: Collection[str]) -> dict[str, Any]:
    """Return the living items with these keys, locked, in the order of their ids."""
    readable = sa.exists().where(contents.c.item_id == items.c.id).label("readable")
    query = sa.select(items.c.id, items.c.url_key, items.c.stage, items.c.lane, readable)
    query = query.where(items.c.url_key.in_(keys), items.c.stage != Stage.DUPLICATE)
    query = query.order_by(items.c.id).with_for_update(of=items)
    return {row.url_key: row for row in conn.execute(query)}


@cache
def _insert_new(dialect: str) -> sa.Insert:
    """Build the statement once: that takes longer than running it."""
    new = insert_for(dialect, items).on_conflict_do_nothing(index_elements=["url_key"], index_where=_UNIQUE)
    return new.returning(items.c.id, items.c.url_key)


_RENEWED = (
    "stage", "due_at", "correlation_id", "updated_at", "original_sha256", "original_type", "final_url",
)  # fmt: skip


def _taken(conn: Connection, there: sa.Row[Any], row: dict[str, Any]) -> Added | None:
    """Go on with the item that is there, where the new row helps it; None when it is complete or on its way.

    A worker that holds the item meanwhile finds its lease gone.
    """
    failed, handed_in = there.stage == Stage.PERMANENT_ERROR, row.get("original_sha256") is not None
    if there.stage in DONE or not (failed or (handed_in and not there.readable)):
        _hurry(conn, there, row)
        return None
    renewed = {name: row[name] for name in _RENEWED if name in row}
    renewed |= {"lane": min(there.lane, row["lane"]), "lease": None}
    renewed |= {"attempts": 0, "error": None, "ignored_at": None, "revivals": 0}
    conn.execute(items.update().where(items.c.id == there.id).values(renewed))
    reason = "Added again after it had failed" if failed else "Its content was handed in"
    _record(conn, there.id, [Step(row["stage"], reason)], row["correlation_id"], row["updated_at"])
    return Added(there.id, row["url"], row["stage"], None)


def _hurry(conn: Connection, there: sa.Row[Any], row: dict[str, Any]) -> None:
    """Let an item that waits go ahead when it was added once more by someone in more of a hurry."""
    if there.stage in TERMINAL or row["lane"] >= there.lane:
        return
    change = items.update().where(items.c.id == there.id).values(lane=row["lane"])
    if there.stage != Stage.BATCH_RECEIVED or row["due_at"] is None:
        conn.execute(change)
        return
    change = change.values(stage=_ADMITTED, due_at=row["due_at"], updated_at=row["updated_at"])
    stage = Stage(conn.execute(change.returning(items.c.stage)).scalar_one())
    step = Step(stage, "Added once more while it waited for its turn")
    _record(conn, there.id, [step], row["correlation_id"], row["updated_at"])


def _add_duplicates(conn: Connection, rows: Sequence[tuple[dict[str, Any], int]]) -> dict[int, Added]:
    if not rows:
        return {}
    names = dict.fromkeys(name for row, _ in rows for name in row)
    own = {"stage": Stage.DUPLICATE, "due_at": None}
    values = [
        {name: row.get(name) for name in names} | own | {"duplicate_of": original} for row, original in rows
    ]
    ids = conn.execute(_INSERT_DUPLICATE, values).scalars().all()
    added = {
        id(row): Added(item_id, row["url"], Stage.DUPLICATE, original)
        for item_id, (row, original) in zip(ids, rows, strict=True)
    }
    steps = [
        (item_id, {**row, **own}, f"This address is item {original} already")
        for item_id, (row, original) in zip(ids, rows, strict=True)
    ]
    _record_all(conn, steps)
    for row, original in sorted(rows, key=lambda one: one[1]):
        note_sighting(conn, original, row, now=row["updated_at"])
    return added


_INSERT_DUPLICATE = items.insert().returning(items.c.id, sort_by_parameter_order=True)


def _record_all(conn: Connection, made: Sequence[tuple[int, Mapping[str, Any], str]]) -> None:
    """Record the first stage of new rows."""
    steps = [
        {
            "item_id": item_id,
            "at": row["updated_at"],
            "stage": row["stage"],
            "reason": reason,
            "correlation_id": row["correlation_id"],
        }
        for item_id, row, reason in made
    ]
    write_rows(conn, _NEW_TRANSITIONS, steps)


_NEW_TRANSITIONS = transitions.insert()
_NEW_CONTENTS = contents.insert()


def restart(
    conn: Connection,
    which: sa.ColumnElement[bool],
    values: Mapping[str, Any],
    step: Step,
    *,
    now: dt.datetime,
    correlation_id: str,
    lane: Lane,
) -> int:
    """Begin again with items, as if they had never failed, at once; return how many.

    A worker that holds one of them meanwhile finds its lease gone.
    """
    fresh = {"lease": None, "due_at": now, "attempts": 0, "error": None, "ignored_at": None, "lane": lane}
    change = items.update().where(which).values({**fresh, "revivals": 0, "updated_at": now, **values})
    change = change.values(correlation_id=correlation_id)
    found = conn.execute(change.returning(items.c.id)).scalars().all()
    for item_id in found:
        _record(conn, item_id, [step], correlation_id, now)
    return len(found)


def note_sighting(conn: Connection, item_id: int, where: Mapping[str, Any], *, now: dt.datetime) -> None:
    """Let an item know where else it was seen: "also seen in". A second time in the same place is no news.

    `where` has `source` and `url`, and may have `title`, `feed_id` and `import_id`.
    """
    feed_id, import_id = where.get("feed_id"), where.get("import_id")
    key = f"{where['source']} {where['url']}"
    key = f"feed:{feed_id}" if feed_id else f"import:{import_id}" if import_id else key
    row = {name: where.get(name) for name in ("source", "url", "title", "feed_id", "import_id")}
    row |= {"item_id": item_id, "key": key, "at": now}
    conn.execute(
        insert(conn, sightings).values(row).on_conflict_do_nothing(index_elements=["item_id", "key"])
    )


def sightings_of(conn: Connection, item_id: int) -> list[dict[str, Any]]:
    """Return where else an item was seen, first seen first: `at`, `source`, `url`, `title`, `feed_title`."""
    query = sa.select(
        sightings.c.at, sightings.c.source, sightings.c.url, sightings.c.title, sightings.c.feed_id,
        feeds.c.title.label("feed_title"),
    ).select_from(sightings.outerjoin(feeds, feeds.c.id == sightings.c.feed_id))  # fmt: skip
    return _rows(conn, query.where(sightings.c.item_id == item_id).order_by(sightings.c.id))


def top_up(engine: Engine, *, now: dt.datetime, max_queue_size: int) -> int:
    """Let imports trickle into the queue as far as there is room for them; return how many items went in.

    They never fill more than IMPORT_SHARE of it: the rest stays free for what people and feeds bring.
    """
    with read(engine) as conn:
        waiting = sa.select(items.c.id).where(items.c.stage == Stage.BATCH_RECEIVED).limit(1)
        if conn.execute(waiting).first() is None:
            return 0
        room = math.ceil(max_queue_size * IMPORT_SHARE) - queue_size(conn, now)
    if room <= 0:
        return 0
    with engine.begin() as conn:
        return admit(conn, now=now, room=min(room, _ADMIT_AT_ONCE))


def replace_original(
    conn: Connection,
    item_id: int,
    fields: Mapping[str, Any],
    *,
    reason: str,
    now: dt.datetime,
    correlation_id: str,
) -> bool:
    """Have an item read again from another original; the one before stays among its versions.

    `fields` are those of ADDABLE and the title. What can be read of it stays so meanwhile. Returns False when
    there is no such item, or it is a duplicate.
    """
    if not fields.keys() <= ADDABLE | {"title"}:
        raise ValueError(f"an item may not be given {sorted(fields.keys() - ADDABLE)}")
    mine = items.c.id == item_id
    old = sa.select(items.c.title, items.c.original_sha256, items.c.original_type)
    old = old.where(mine, items.c.stage != Stage.DUPLICATE).with_for_update()
    found = conn.execute(old).one_or_none() if 0 < item_id <= MAX_ID else None
    if found is None:
        return False
    if found.original_sha256 not in {None, fields["original_sha256"]}:
        conn.execute(versions.insert().values(item_id=item_id, at=now, **found._mapping))
    renewed = {"stage": Stage.ACQUISITION_COMPLETE, "lane": Lane.NOW, "due_at": now, "lease": None}
    renewed |= {"attempts": 0, "error": None, "ignored_at": None, "revivals": 0, "updated_at": now}
    renewed |= {"correlation_id": correlation_id, **fields}
    conn.execute(items.update().where(mine).values(renewed))
    _record(conn, item_id, [Step(Stage.ACQUISITION_COMPLETE, reason)], correlation_id, now)
    return True


def rewrite(
    conn: Connection,
    item_id: int,
    fields: Mapping[str, Any],
    *,
    original_sha256: str,
    text: str,
    html: str,
    reason: str,
    now: dt.datetime,
    correlation_id: str,
) -> bool:
    """Write a readable item anew, as it was read again from that original; it stays at its stage.

    Returns False, and has written nothing, when it was changed or taken by a worker meanwhile.
    """
    if not fields.keys() <= WRITABLE:
        raise ValueError(f"a step may not write {sorted(fields.keys() - WRITABLE)}")
    mine = items.update().where(
        items.c.id == item_id,
        items.c.stage.in_(DONE),
        items.c.lease.is_(None),
        items.c.original_sha256 == original_sha256,
    )
    stage = conn.execute(mine.values(**fields, updated_at=now).returning(items.c.stage)).scalar()
    if stage is None:
        return False
    write_content(conn, item_id, title=fields["title"] or "", text=text, html=html)
    _record(conn, item_id, [Step(Stage(stage), reason)], correlation_id, now)
    return True


def note_steps(
    conn: Connection, item_id: int, steps: Sequence[Step], *, correlation_id: str, now: dt.datetime
) -> None:
    """Record what was done to an item that stays at its stage."""
    _record(conn, item_id, steps, correlation_id, now)


def versions_of(conn: Connection, item_id: int) -> list[dict[str, Any]]:
    """Return the earlier originals of an item, oldest first: `id`, `at`, `title`, and where they are kept."""
    query = sa.select(
        versions.c.id, versions.c.at, versions.c.title, versions.c.original_sha256, versions.c.original_type
    )
    return _rows(conn, query.where(versions.c.item_id == item_id).order_by(versions.c.id))


def admit(conn: Connection, *, now: dt.datetime, room: int) -> int:
    """Let up to `room` items that wait at stage 20 into the queue, the oldest first; return how many."""
    waiting = sa.select(items.c.id).where(items.c.stage == Stage.BATCH_RECEIVED).order_by(items.c.id)
    waiting = waiting.limit(max(room, 0)).with_for_update(skip_locked=True)
    change = items.update().where(items.c.id.in_(list(conn.execute(waiting).scalars())))
    change = change.values(stage=_ADMITTED, due_at=now, updated_at=now)
    admitted = conn.execute(
        change.returning(items.c.id, items.c.stage, items.c.correlation_id, items.c.updated_at)
    ).all()
    _record_all(conn, [(row.id, dict(row._mapping), "Its turn in the import") for row in admitted])
    return len(admitted)


_ADMITTED = sa.case(
    (items.c.original_sha256.is_not(None), int(Stage.ACQUISITION_COMPLETE)), else_=int(Stage.CONTENT_QUEUED)
)


def lease(
    engine: Engine, *, worker: str, now: dt.datetime, lease_seconds: float, host_delay_seconds: float
) -> Leased | None:
    """Hand `worker` the next due item, or None when there is none it may take now.

    By lane, then by how long it has been due. An item about to be fetched waits while its host was asked less
    than `host_delay_seconds` ago. A lease that ran out counts as an attempt, so that an item which kills its
    worker comes to an end.
    """
    if engine.dialect.name == "sqlite":
        with read(engine) as conn:  # most looks find nothing, and need not hold up writers
            if conn.execute(_DUE, {"now": now}).first() is None:
                return None
    while True:
        with engine.begin() as conn:
            found = conn.execute(_DUE if is_sqlite(conn) else _DUE_LOCKED, {"now": now}).one_or_none()
            if found is None:
                return None
            delay = host_delay_seconds if found.delay_seconds is None else found.delay_seconds
            delay = max(delay, host_delay_seconds)
            if found.stage in FETCHING and not _reserve_host(conn, found.host, now, delay):
                continue  # another worker took the host since the query ran; the next one sees that
            return _take(conn, found, f"{worker}/{secrets.token_hex(8)}", now, lease_seconds)


_LEASED: tuple[sa.Column[Any], ...] = (
    items.c.id, items.c.kind, items.c.url, items.c.host, items.c.stage, items.c.attempts, items.c.lease,
    items.c.correlation_id, items.c.feed_id, items.c.original_sha256, items.c.original_type,
    items.c.final_url, items.c.lane,
)  # fmt: skip

_NOW = sa.bindparam("now", type_=UtcDateTime)
_RESTING = sa.exists().where(hosts.c.host == items.c.host, hosts.c.next_at > _NOW)
_DELAY = sa.select(hosts.c.delay_seconds).where(hosts.c.host == items.c.host).scalar_subquery()
_DUE: sa.Select[Any] = (
    sa.select(*_LEASED, _DELAY.label("delay_seconds"))
    .where(items.c.due_at <= _NOW, sa.or_(items.c.stage.not_in(FETCHING), ~_RESTING))
    .order_by(items.c.lane, items.c.due_at, items.c.id)
    .limit(1)
)
_DUE_LOCKED = _DUE.with_for_update(of=items, skip_locked=True)


def _reserve_host(conn: Connection, host: str, now: dt.datetime, delay_seconds: float) -> bool:
    values = {"host": host, "next_at": now + dt.timedelta(seconds=delay_seconds), "now": now}
    return conn.execute(_reserve(conn.dialect.name), values).first() is not None


@cache
def _reserve(dialect: str) -> sa.Insert:
    new = insert_for(dialect, hosts)
    change = {"next_at": new.excluded.next_at}
    new = new.on_conflict_do_update(index_elements=["host"], set_=change, where=hosts.c.next_at <= _NOW)
    return new.returning(hosts.c.host)


_TAKE = items.update().where(items.c.id == sa.bindparam("item"))


def _take(conn: Connection, found: sa.Row[Any], token: str, now: dt.datetime, seconds: float) -> Leased:
    attempts = found.attempts + (found.lease is not None)
    change = {"lease": token, "due_at": now + dt.timedelta(seconds=seconds), "attempts": attempts}
    conn.execute(_TAKE, {"item": found.id, **change})
    row = {**found._mapping, "attempts": attempts, "lease": token}
    row.pop("delay_seconds")
    row.update(stage=Stage(found.stage), lane=Lane(found.lane))
    return Leased(**row)


def postpone_host(conn: Connection, host: str, *, until: dt.datetime) -> None:
    """Fetch nothing from `host` before `until` (it said Retry-After)."""
    change = insert(conn, hosts).values(host=host, next_at=until)
    conn.execute(
        change.on_conflict_do_update(
            index_elements=["host"], set_={"next_at": until}, where=hosts.c.next_at < until
        )
    )


def extend(
    conn: Connection, leases: Sequence[tuple[int, str]], *, now: dt.datetime, lease_seconds: float
) -> list[int]:
    """Keep leases, (item id, token) each, until `now` + `lease_seconds`; return the items no longer held."""
    due_at = now + dt.timedelta(seconds=lease_seconds)
    lost = []
    for item_id, token in sorted(leases):  # in the order all who lock several keep to
        held = conn.execute(_HELD, {"item": item_id, "token": token, "due_at": due_at})
        if held.rowcount == 0:
            lost.append(item_id)
    return lost


def advance(
    conn: Connection,
    leased: Leased,
    steps: Sequence[Step],
    *,
    now: dt.datetime,
    due: dt.datetime | None,
    fields: Mapping[str, Any] | None = None,
    keep_lease: bool = False,
) -> bool:
    """Move the item through `steps`, write `fields`, and say when the next step is due (None: it is done).

    The lease is given back unless `keep_lease`, which takes `due` for the moment it runs out. Without steps
    the item stays where it is: so a worker that stops gives its items back. An earlier error is cleared.
    Returns False, and has written nothing, when the lease was lost. Raises ValueError for a field no step may
    write.
    """
    fields = fields or {}
    if not fields.keys() <= WRITABLE:
        raise ValueError(f"a step may not write {sorted(fields.keys() - WRITABLE)}")
    values = {"error": None, **fields, "due_at": due, "updated_at": now}
    if steps:
        values["stage"] = steps[-1].stage
    if not keep_lease:
        values["lease"] = None
    return _write(conn, leased, values, steps, now)


def retry_later(
    conn: Connection,
    leased: Leased,
    error: ItemError,
    *,
    now: dt.datetime,
    at: dt.datetime,
    spend_attempt: bool = True,
) -> bool:
    """Give the item back to be tried again at `at`: stage 666 when the code is "rate_limited", else 888.

    The caller calls `fail` instead once the attempts are spent. Returns False, and has written nothing, when
    the lease was lost.
    """
    stage = Stage.RATE_LIMITED if error.code == "rate_limited" else Stage.SYSTEM_ERROR
    values = {
        "stage": stage,
        "lease": None,
        "due_at": at,
        "attempts": leased.attempts + spend_attempt,
        "error": error.stored(now),
        "updated_at": now,
    }
    return _write(conn, leased, values, [Step(stage, error.message)], now)


def put_off(conn: Connection, leased: Leased, *, now: dt.datetime, at: dt.datetime) -> bool:
    """Give the item back as it is, not to be taken before `at`: its host is left alone for now.

    Returns False, and has written nothing, when the lease was lost.
    """
    return _write(conn, leased, {"lease": None, "due_at": at, "attempts": leased.attempts}, [], now)


def fail(conn: Connection, leased: Leased, error: ItemError, *, now: dt.datetime) -> bool:
    """Give the item up (stage 777). Returns False, and has written nothing, when the lease was lost."""
    values = {
        "stage": Stage.PERMANENT_ERROR,
        "lease": None,
        "due_at": None,
        "error": error.stored(now),
        "updated_at": now,
    }
    return _write(conn, leased, values, [Step(Stage.PERMANENT_ERROR, error.message)], now)


def own_title(conn: Connection, item_id: int) -> tuple[str | None, bool]:
    """Return what an item is called, and whether a person named it so; its row is locked."""
    query = sa.select(items.c.title, items.c.titled_at).where(items.c.id == item_id)
    found = conn.execute(query.with_for_update()).one_or_none()
    return (None, False) if found is None else (found.title, found.titled_at is not None)


_HELD = items.update().where(items.c.id == sa.bindparam("item"), items.c.lease == sa.bindparam("token"))


def _write(
    conn: Connection, leased: Leased, values: Mapping[str, Any], steps: Sequence[Step], now: dt.datetime
) -> bool:
    if conn.execute(_HELD, {"item": leased.id, "token": leased.lease, **values}).rowcount == 0:
        return False
    _record(conn, leased.id, steps, leased.correlation_id, now)
    return True


def _record(
    conn: Connection, item_id: int, steps: Sequence[Step], correlation_id: str, now: dt.datetime
) -> None:
    if steps:
        same = {"item_id": item_id, "at": now, "correlation_id": correlation_id}
        rows = [{**same, "stage": step.stage, "reason": step.reason} for step in steps]
        conn.execute(transitions.insert(), rows)


def write_content(conn: Connection, item_id: int, *, title: str, text: str, html: str) -> None:
    """Keep what is read and searched of an item; the search index follows by itself."""
    new = {"title": title, "text": text, "html": html}
    statement = insert(conn, contents).values(item_id=item_id, **new)
    conn.execute(statement.on_conflict_do_update(index_elements=["item_id"], set_=new))


def restore(
    conn: Connection,
    item_id: int,
    *,
    fields: Mapping[str, Any],
    content: Mapping[str, str] | None,
    now: dt.datetime,
    correlation_id: str,
) -> None:
    """Give a new item what an export says of it; with its `content` (title, text, html) it is complete."""
    values = {name: value for name, value in fields.items() if name in RESTORABLE}
    if content is not None:
        values |= {"stage": Stage.COMPLETE, "due_at": None}
        write_content(conn, item_id, title=content["title"], text=content["text"], html=content["html"])
        _record(conn, item_id, [Step(Stage.COMPLETE, "Brought back from an export")], correlation_id, now)
    if values:
        conn.execute(items.update().where(items.c.id == item_id).values(values))


#: Where an item stands whose page came and could not be read.
_READING = frozenset({Stage.FETCH_ATTEMPTING, Stage.ACQUISITION_COMPLETE})


@dataclass(frozen=True, slots=True)
class Content:
    """What is read and searched of an item."""

    title: str
    text: str
    html: str


def write_contents(conn: Connection, new: Mapping[int, Content]) -> None:
    """Keep what is read and searched of items (by id) that have nothing yet."""
    rows = [
        {"item_id": item_id, "title": one.title, "text": one.text, "html": one.html}
        for item_id, one in new.items()
    ]
    write_rows(conn, _NEW_CONTENTS, rows)


def drop_content(conn: Connection, item_id: int) -> None:
    """Forget what was read of an item: it turned out to be what another is already."""
    conn.execute(contents.delete().where(contents.c.item_id == item_id))


def keep_feed_text(conn: Connection, leased: Leased, trouble: str, *, now: dt.datetime) -> bool:
    """Complete an item whose page cannot be had with what its feed has of it.

    False, and nothing was written, when its feed has nothing of it, or the lease was lost.
    """
    came = sa.select(contents.c.item_id).join_from(items, contents)
    came = came.where(
        items.c.id == leased.id, items.c.source == "feed", items.c.stage.in_(FETCHING | _READING)
    )
    if conn.execute(came).first() is None:
        return False
    steps = [
        Step(Stage.FETCH_FAILED, trouble),
        Step(Stage.COMPLETE, "Ready to be read: what its feed has of it"),
    ]
    return advance(conn, leased, steps, now=now, due=None)


def set_described(conn: Connection, item_id: int, *, language: str | None, keywords: list[str]) -> None:
    """Note what was found out of an item after it was complete."""
    change = items.update().where(items.c.id == item_id)
    conn.execute(change.values(language=language, keywords=keywords))


def find(conn: Connection, url: str) -> int | None:
    """Return the item with this address, whatever became of it; its duplicate if there is nothing else.

    Raises InvalidUrl.
    """
    same = sa.select(items.c.id).where(items.c.url_key == normalise(url)[1])
    found: int | None = conn.execute(
        same.order_by(items.c.stage == Stage.DUPLICATE, items.c.id).limit(1)
    ).scalar()
    return found


def get(conn: Connection, item_id: int) -> dict[str, Any] | None:
    """Return an item with its `text` and `html` (None while it has none); None when there is no such item.

    A duplicate shows the content of its original: the text is the same, or it is the same page.
    """
    if not 0 < item_id <= MAX_ID:
        return None
    kept = items.outerjoin(contents, contents.c.item_id == sa.func.coalesce(items.c.duplicate_of, items.c.id))
    query = sa.select(*library.SHOWN, *_SHOWN_ALONE).select_from(kept).where(items.c.id == item_id)
    found = conn.execute(query).one_or_none()
    return dict(found._mapping) if found else None


_SHOWN_ALONE = (
    items.c.text_sha256, items.c.original_sha256, items.c.original_type, items.c.final_url,
    items.c.correlation_id, contents.c.text, contents.c.html,
)  # fmt: skip


def _at(stages: Collection[int]) -> sa.ColumnElement[bool]:
    """Match items at one of `stages`, for a query that wants the first by id.

    Most items are done. Asked for them through the index of stages, SQLite would read all to put them in
    order; a sum keeps it to the ids.
    """
    common = len(stages) > 1 and not DONE.isdisjoint(stages)
    return (items.c.stage + 0 if common else items.c.stage).in_(stages)


def _rows(conn: Connection, query: sa.Select[Any]) -> list[dict[str, Any]]:
    return [dict(row._mapping) for row in conn.execute(query)]


def counts(conn: Connection) -> dict[int, int]:
    """Return how many items stand at each stage. Reads an index entry an item: not for every page."""
    query = sa.select(items.c.stage, sa.func.count()).group_by(items.c.stage)
    return {row.stage: row[1] for row in conn.execute(query)}


def count(conn: Connection, stages: Collection[int]) -> int:
    """Return how many items stand at one of `stages`; reads an index entry an item counted."""
    query = sa.select(sa.func.count()).select_from(items).where(items.c.stage.in_(stages))
    return conn.execute(query).scalar_one()


def queue_size(conn: Connection, now: dt.datetime) -> int:
    """Return how many items wait for a worker now: neither leased nor put off until later.

    Those of a host that rests for long are put off too: nobody could fetch them, and a thousand of them shall
    not shut out everything else.
    """
    resting = sa.select(hosts.c.host).where(hosts.c.next_at > now + LONG_REST)
    query = (
        sa.select(sa.func.count())
        .select_from(items)
        .where(items.c.due_at <= now, sa.or_(items.c.stage.not_in(FETCHING), items.c.host.not_in(resting)))
    )
    return conn.execute(query).scalar_one()


def any_waits_for_resting(conn: Connection, now: dt.datetime) -> bool:
    """Tell whether there is something for `put_off_resting` to do."""
    return conn.execute(_waits_for_resting(now).limit(1)).first() is not None


def put_off_resting(engine: Engine, *, now: dt.datetime, delay_seconds: float) -> int:
    """Let items of hosts that rest for long come due one by one when the rest is over; return how many.

    Until then they are in nobody's way: they are not looked at again and again by workers, and afterwards
    they do not all count as waiting while their host is asked for one after another.
    """
    query = _waits_for_resting(now).order_by(items.c.lane, items.c.due_at, items.c.id)
    query = query.limit(_PUT_OFF_AT_ONCE).with_for_update(of=items, skip_locked=True)
    places: Counter[str] = Counter()
    later: list[dict[str, Any]] = []
    with engine.begin() as conn:
        for row in conn.execute(query):
            delay = delay_seconds if row.delay_seconds is None else row.delay_seconds
            due_at = row.next_at + dt.timedelta(seconds=delay * places[row.host])
            later.append({"item": row.id, "due_at": due_at})
            places[row.host] += 1
        if later:
            conn.execute(items.update().where(items.c.id == sa.bindparam("item")), later)
    return len(later)


def _waits_for_resting(now: dt.datetime) -> sa.Select[Any]:
    found = sa.select(items.c.id, items.c.host, hosts.c.next_at, hosts.c.delay_seconds)
    return found.join_from(items, hosts, hosts.c.host == items.c.host).where(
        items.c.due_at <= now, items.c.stage.in_(FETCHING), hosts.c.next_at > now + LONG_REST
    )


def neighbours(conn: Connection, item_id: int) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Return the readable items next to this one in the library, newer and older: `id`, `title`, `url`."""
    if not 0 < item_id <= MAX_ID:
        return None, None
    readable = sa.select(items.c.id, items.c.title, items.c.url).where(_at(DONE)).limit(1)
    newer = readable.where(items.c.id > item_id).order_by(items.c.id)
    older = readable.where(items.c.id < item_id).order_by(items.c.id.desc())
    found = [conn.execute(query).one_or_none() for query in (newer, older)]
    first, second = (dict(row._mapping) if row else None for row in found)
    return first, second


def mark_read(conn: Connection, item_id: int, *, now: dt.datetime, read: bool = True) -> bool:
    """Note that an item was read, or was not; return False when there is no such item."""
    change = items.update().where(items.c.id == item_id).values(read_at=now if read else None)
    return 0 < item_id <= MAX_ID and conn.execute(change).rowcount > 0


def history(conn: Connection, item_id: int) -> list[dict[str, Any]]:
    """Return every stage the item has been at, oldest first: `at`, `stage`, `reason`, `correlation_id`."""
    if not 0 < item_id <= MAX_ID:
        return []
    query = sa.select(
        transitions.c.at, transitions.c.stage, transitions.c.reason, transitions.c.correlation_id
    )
    query = query.where(transitions.c.item_id == item_id).order_by(transitions.c.id)
    return [dict(row._mapping) for row in conn.execute(query)]
