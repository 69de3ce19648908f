"""One batch of an import: what becomes of its records, written in the caller's transaction.

Nothing that is here already is overwritten: a record whose address is known becomes a sighting, its tags and
highlights are added, its note fills one that is empty; what was read or starred stays as it is.
"""

import datetime as dt
import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from atlas import items, tags
from atlas.database.dialect import insert, write_rows
from atlas.database.tables import feeds, highlights, sightings
from atlas.database.tables import items as items_table
from atlas.items import Added, InvalidUrl, Lane, New
from atlas.sources import subscriptions
from atlas.sources.imports import restore
from atlas.sources.imports.record import Entry, Record, Refused
from atlas.stages.table import DONE, Stage
from atlas.urls import normalise

#: Kinds of record that have no address of their own begin theirs so.
_INTERNAL = {"note": "atlas:note/", "mail": "atlas:mail/"}
_FILE = "atlas:file/"
_FEED_COLUMNS = frozenset({"title", "site_url", "image", "kind", "added_at"})
_TWICE = "It stands in this file more than once."
_NO_URL = "It has no web address."


@dataclass(frozen=True, slots=True)
class Job:
    """An import under way, as its batches need to know it."""

    id: int
    sha256: str
    correlation_id: str
    dry_run: bool
    #: This import and all others of the same file.
    family: frozenset[int]
    feed_interval_seconds: int


@dataclass(slots=True)
class Outcome:
    """What became of an entry."""

    outcome: str
    url: str = ""
    item_id: int | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """An item that has a record's address."""

    id: int
    stage: int
    import_id: int | None
    original: str | None

    def lacks(self, original: str | None) -> bool:
        """Tell whether it has not been read for want of such content."""
        failed = self.stage == Stage.PERMANENT_ERROR and original != self.original
        return failed or (self.stage not in DONE and self.original is None)


@dataclass(slots=True)
class Prepared:
    """A record with its address made out, or what was wrong with it."""

    record: Record | None
    url: str
    key: str
    internal: bool = False
    refusal: Outcome | None = None
    #: The SHA-256 of its content, once that is kept.
    original: str | None = None
    later: list[int] = field(default_factory=list)


def prepare(entry: Entry) -> Prepared:
    """Make out the address of an entry."""
    if isinstance(entry, Refused):
        outcome = "skipped" if entry.skipped else "refused"
        message = _placed(entry.where, entry.reason)
        return Prepared(None, entry.url, "", refusal=Outcome(outcome, entry.url[:2048], None, message))
    own = str((entry.kept or {}).get("internal") or "")
    if own or (not entry.url and entry.content):
        url = own or _internal(entry)
        return Prepared(entry, url, url, internal=True)
    if not entry.url.strip():
        return Prepared(entry, "", "", refusal=Outcome("refused", "", None, _placed(entry.where, _NO_URL)))
    try:
        if entry.kind == "feed":
            return Prepared(entry, *subscriptions.address_of(entry.url))
        clean, key, _ = normalise(entry.url)
    except InvalidUrl as error:
        refusal = Outcome("refused", entry.url[:2048], None, _placed(entry.where, str(error)))
        return Prepared(entry, entry.url, "", refusal=refusal)
    return Prepared(entry, clean, key)


def known_items(conn: Connection, keys: Collection[str]) -> dict[str, Known]:
    """Return the items that have these addresses."""
    query = sa.select(
        items_table.c.url_key, items_table.c.id, items_table.c.stage, items_table.c.import_id,
        items_table.c.original_sha256,
    )  # fmt: skip
    query = query.where(items_table.c.url_key.in_(keys), items_table.c.stage != Stage.DUPLICATE)
    found = conn.execute(query)
    return {row.url_key: Known(row.id, row.stage, row.import_id, row.original_sha256) for row in found}


def wants_content(one: Prepared, known: Mapping[str, Known]) -> bool:
    """Tell whether a record's content is of use: there is no such item, or it has not been read."""
    found = known.get(one.key)
    return found is None or found.stage == Stage.PERMANENT_ERROR or found.lacks(None)


def write(conn: Connection, job: Job, batch: Sequence[Prepared], *, now: dt.datetime) -> list[Outcome]:
    """Add a batch; return what became of each entry."""
    outcomes = {index: one.refusal for index, one in enumerate(batch) if one.refusal is not None}
    known = known_items(conn, [one.key for one in batch if _is_item(one)])
    fresh: dict[str, int] = {}
    for index, one in enumerate(batch):
        if one.refusal is not None or one.record is None:
            continue
        one.later.clear()
        if one.record.kind == "feed":
            outcomes[index] = _follow(conn, job, one, now)
        elif one.key in fresh:
            batch[fresh[one.key]].later.append(index)
        elif one.key not in known or (one.original and known[one.key].lacks(one.original)):
            fresh[one.key] = index
        else:
            outcomes[index] = _duplicate(known[one.key].id, one)
    outcomes.update(_add(conn, job, batch, fresh.values(), known, now=now))
    found = [outcomes[index] for index in range(len(batch))]
    _also_seen(conn, job, list(zip(batch, found, strict=True)), known, now=now)
    _highlight(conn, _pairs(batch, found), now)
    return found


def pretend(conn: Connection, batch: Sequence[Prepared], seen: set[bytes]) -> list[Outcome]:
    """Return what would become of each entry; `seen` remembers the addresses of the batches before."""
    known = known_items(conn, [one.key for one in batch if _is_item(one)])
    followed = _followed(conn, [one.key for one in batch if one.record and one.record.kind == "feed"])
    found = []
    for one in batch:
        mark = seen_mark(one)
        if one.refusal is not None:
            outcome = one.refusal
        elif one.record and one.record.kind == "feed":
            is_known = one.key in followed or mark in seen
            outcome = Outcome("followed" if is_known else "subscribed", one.url)
        elif one.key in known:
            outcome = _duplicate(known[one.key].id, one)
        elif mark in seen:
            outcome = Outcome("duplicate", one.url, None, _TWICE)
        else:
            outcome = Outcome("added", one.url)
        seen.add(mark)
        found.append(outcome)
    return found


def seen_mark(one: Prepared) -> bytes:
    """Return what stands for an address among those seen in a dry run."""
    kind = "feed" if one.record and one.record.kind == "feed" else "item"
    return hashlib.blake2b(f"{kind} {one.key}".encode("utf-8", "replace"), digest_size=8).digest()


def _is_item(one: Prepared) -> bool:
    return one.refusal is None and one.record is not None and one.record.kind != "feed"


def _internal(record: Record) -> str:
    digest = hashlib.sha256(record.content or b"").hexdigest()[:32]
    return _INTERNAL.get(record.kind, _FILE) + digest


def _placed(where: str, reason: str) -> str:
    return f"{where[0].upper()}{where[1:]}: {reason}" if where else reason


def _duplicate(item_id: int, one: Prepared, more: str = "") -> Outcome:
    return Outcome("duplicate", one.url, item_id, f"This address is item {item_id} already. {more}".strip())


def _add(
    conn: Connection,
    job: Job,
    batch: Sequence[Prepared],
    fresh: Collection[int],
    known: Mapping[str, Known],
    *,
    now: dt.datetime,
) -> dict[int, Outcome]:
    """Add the records at these places; return what became of them, and of those that repeat them."""
    added = items.add_many(conn, [_new(job, batch[index], now) for index in fresh], now=now)
    outcomes: dict[int, Outcome] = {}
    for index, result in zip(fresh, added, strict=True):
        one = batch[index]
        if isinstance(result, Added) and one.key in known:
            outcome = _duplicate(known[one.key].id, one, "Its content was wanting, and is taken from here.")
        elif isinstance(result, Added) and result.duplicate_of is None:
            outcome = Outcome("added", result.url, result.id)
            if one.record is not None and one.record.kept is not None:
                restore.item(conn, result.id, one.record, now=now, correlation_id=job.correlation_id)
        elif isinstance(result, Added):  # somebody else added it since we looked
            outcome = _duplicate(result.duplicate_of or result.id, one)
        else:
            outcome = Outcome("refused", one.url, None, str(result))
        outcomes[index] = outcome
        for later in one.later:
            outcomes[later] = Outcome("duplicate", batch[later].url, outcome.item_id, _TWICE)
    return outcomes


def _new(job: Job, one: Prepared, now: dt.datetime) -> New:
    record = one.record
    assert record is not None  # noqa: S101 - those that are fresh have one
    fields = {name: value for name, value in record.fields.items() if name in items.ADDABLE}
    fields["added_at"] = min(record.added_at or now, now)
    if record.read:
        fields.setdefault("read_at", fields["added_at"])
    if record.starred:
        fields.setdefault("starred_at", fields["added_at"])
    if record.note:
        fields["note"] = record.note
    if one.original:
        fields |= {"original_sha256": one.original, "original_type": record.content_type}
        fields.setdefault("final_url", one.url)
    return New(
        one.url,
        job.correlation_id,
        kind=record.kind,
        lane=Lane.IMPORT,
        title=record.title,
        source=str((record.kept or {}).get("source") or "import"),
        import_id=job.id,
        tags=_tags(record),
        fields=fields,
        waits=True,
        internal=one.internal,
    )


def _tags(record: Record) -> tuple[str, ...]:
    return (*record.tags, record.folder) if record.folder else record.tags


def _pairs(batch: Sequence[Prepared], found: Sequence[Outcome]) -> list[tuple[int, Record]]:
    """Return the items that records became or were found to be, feeds apart."""
    return [
        (outcome.item_id, one.record)
        for one, outcome in zip(batch, found, strict=True)
        if outcome.item_id is not None and one.record is not None and one.record.kind != "feed"
    ]


def _also_seen(
    conn: Connection,
    job: Job,
    found: Iterable[tuple[Prepared, Outcome]],
    known: Mapping[str, Known],
    *,
    now: dt.datetime,
) -> None:
    """Let items that were here learn what a record adds: tags, a note, and where they were seen too."""
    seen: list[dict[str, Any]] = []
    tagged: dict[int, list[str]] = {}
    for one, outcome in found:
        if outcome.outcome != "duplicate" or outcome.item_id is None or one.record is None:
            continue
        tagged.setdefault(outcome.item_id, []).extend(_tags(one.record))
        if one.record.note:
            empty = sa.func.coalesce(items_table.c.note, "") == ""
            change = items_table.update().where(items_table.c.id == outcome.item_id, empty)
            conn.execute(change.values(note=one.record.note))
        item = known.get(one.key)
        if item is not None and item.import_id not in job.family:
            where = {"source": "import", "url": one.url, "title": one.record.title, "import_id": job.id}
            # By the file, not by the import: the same file once more is no news.
            key = {"item_id": item.id, "key": f"import:{job.sha256[:16]}", "at": now}
            seen.append(where | key)
    tags.attach(conn, {item_id: names for item_id, names in tagged.items() if names})
    write_rows(conn, insert(conn, sightings).on_conflict_do_nothing(), seen)


def _highlight(conn: Connection, pairs: Iterable[tuple[int, Record]], now: dt.datetime) -> None:
    """Add highlights that are not there yet."""
    wanted = {
        (item_id, mark.quote): mark for item_id, record in pairs for mark in record.highlights if mark.quote
    }
    if not wanted:
        return
    there = sa.select(highlights.c.item_id, highlights.c.quote)
    there = there.where(highlights.c.item_id.in_({item_id for item_id, _ in wanted}))
    known = {(row.item_id, row.quote) for row in conn.execute(there)}
    rows: list[dict[str, Any]] = []
    for (item_id, quote), mark in wanted.items():
        if (item_id, quote) not in known:
            at = mark.created_at or now
            row = {"prefix": "", "suffix": "", "position": 0, "color": "yellow", **mark.fields}
            row |= {"item_id": item_id, "quote": quote, "note": mark.note, "created_at": at, "updated_at": at}
            rows.append(row)
    if rows:
        conn.execute(highlights.insert(), rows)


def _followed(conn: Connection, keys: Collection[str]) -> set[str]:
    query = sa.select(feeds.c.url_key).where(feeds.c.url_key.in_(keys))
    return set(conn.execute(query).scalars())


def _follow(conn: Connection, job: Job, one: Prepared, now: dt.datetime) -> Outcome:
    record = one.record
    assert record is not None  # noqa: S101 - feeds have one
    if one.key in _followed(conn, [one.key]):
        return Outcome("followed", one.url, None, "This feed is followed already.")
    try:
        feed = subscriptions.subscribe(
            conn,
            record.url,
            now=now,
            interval_seconds=job.feed_interval_seconds,
            title=record.title,
            folder=record.folder,
        )
    except (InvalidUrl, subscriptions.OptionError) as error:
        return Outcome("refused", one.url, None, _placed(record.where, str(error)))
    if columns := {name: value for name, value in record.fields.items() if name in _FEED_COLUMNS}:
        conn.execute(feeds.update().where(feeds.c.id == feed["id"]).values(columns))
    try:
        subscriptions.update(conn, feed["id"], record.kept or {}, now=now)
    except (subscriptions.OptionError, subscriptions.RuleError) as error:
        return Outcome("subscribed", one.url, None, f"Without its options: {error}")
    return Outcome("subscribed", one.url)
