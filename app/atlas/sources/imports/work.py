"""Doing imports: records go in by batches, and each batch tells in its own transaction how far the file is.

Whoever is killed over a batch has written nothing of it; the next one reads on from the position written.
A file that kills whoever reads it is given up.
"""

import datetime as dt
import itertools
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection, Engine

from atlas import originals
from atlas.database.dialect import write_rows
from atlas.database.engine import read
from atlas.database.tables import import_rows, imports
from atlas.patience import is_outage
from atlas.settings import Settings
from atlas.sources.imports import batch as batches
from atlas.sources.imports.batch import Job, Outcome, Prepared
from atlas.sources.imports.formats import FORMATS
from atlas.sources.imports.record import Entry, Refused, Unreadable
from atlas.stages.context import Context
from atlas.telemetry import errors

#: Most records of a batch, and most bytes of content among them.
RECORDS = 500
CONTENT_BYTES = 16_000_000
#: How long the chore is at it before others have their turn, in seconds.
TURN_SECONDS = 15.0
#: Times an import may die at the same place before it is given up.
MOST_DEATHS = 3

Clock = Callable[[], dt.datetime]

log = structlog.stdlib.get_logger(__name__)


class _Lost(Exception):  # noqa: N818
    """The import is no longer ours: cancelled, or taken over."""


@dataclass(slots=True)
class _Run:
    """An import in our hands."""

    engine: Engine
    settings: Settings
    clock: Clock
    row: sa.Row[Any]
    lease: str
    position: int
    counts: Counter[str]
    #: How often whoever read on from this position did not live to tell.
    deaths: int
    #: What a dry run has seen, as nothing of it is there to be found.
    seen: set[bytes] = field(default_factory=set)
    _beat_at: float = 0.0

    def entries(self, file: IO[bytes]) -> Iterator[Entry]:
        """Read the file from its beginning, keeping the lease meanwhile. Raises Unreadable and _Lost."""
        for entry in FORMATS[self.row.format].read(file, self.row.name):
            if time.monotonic() >= self._beat_at:
                self.change()
            yield entry

    def change(self, conn: Connection | None = None, **values: Any) -> None:  # noqa: ANN401 - columns
        """Write into the import's row, and keep the lease. Raises _Lost."""
        if conn is None:
            with self.engine.begin() as own:
                self.change(own, **values)
            return
        seconds = self.settings.lease_seconds
        values = {"due_at": self.clock() + dt.timedelta(seconds=seconds), **values}
        ours = (imports.c.id == self.row.id) & (imports.c.lease == self.lease)
        if conn.execute(imports.update().where(ours).values(values)).rowcount == 0:
            raise _Lost
        self._beat_at = time.monotonic() + seconds / 3

    def end(self, state: str, error: dict[str, Any] | None = None) -> None:
        """Write how the import ended. Raises _Lost."""
        self.change(state=state, error=error, lease=None, due_at=None, finished_at=self.clock())


def run(ctx: Context) -> None:
    """Go on with the imports there are, for a while."""
    ends = time.monotonic() + TURN_SECONDS
    while time.monotonic() < ends:
        if not work(ctx.engine, ctx.settings, ctx.clock, seconds=ends - time.monotonic()):
            return


def is_wanted(conn: Connection, now: dt.datetime) -> bool:
    """Tell whether an import waits to be gone on with."""
    return conn.execute(sa.select(imports.c.id).where(imports.c.due_at <= now).limit(1)).first() is not None


def work(
    engine: Engine,
    settings: Settings,
    clock: Clock,
    *,
    seconds: float = TURN_SECONDS,
    import_id: int | None = None,
) -> bool:
    """Go on with the next import (or that one) for so long; False when there is none to be gone on with."""
    ours = _take(engine, settings, clock, import_id)
    if ours is None:
        return False
    try:
        _go_on_or_fail(ours, time.monotonic() + seconds)
    except _Lost:
        log.info("import no longer ours", import_id=ours.row.id)
    return True


def _take(engine: Engine, settings: Settings, clock: Clock, import_id: int | None) -> _Run | None:
    """Lease the import that has been due longest. A lease that ran out was somebody's death."""
    now = clock()
    due = sa.select(imports).where(imports.c.due_at <= now).order_by(imports.c.due_at, imports.c.id).limit(1)
    if import_id is not None:
        due = due.where(imports.c.id == import_id)
    with engine.begin() as conn:
        row = conn.execute(due.with_for_update(skip_locked=True)).one_or_none()
        if row is None:
            return None
        before = row.options or {}
        again = row.lease is not None and before.get("at") == row.position
        deaths = before.get("deaths", 0) + 1 if again else 0
        lease = secrets.token_hex(8)
        new = {
            "lease": lease,
            "state": "running",
            "due_at": now + dt.timedelta(seconds=settings.lease_seconds),
            "options": {**before, "deaths": deaths, "at": row.position},
        }
        conn.execute(imports.update().where(imports.c.id == row.id).values(new))
    return _Run(engine, settings, clock, row, lease, row.position, Counter(row.counts or {}), deaths)


def _go_on_or_fail(ours: _Run, ends: float) -> None:
    if ours.deaths >= MOST_DEATHS:
        message = f"Atlas broke off {ours.deaths} times over what follows record {ours.position:,}."
        ours.end("failed", {"code": "never_finished", "message": message})
        return
    try:
        _go_on(ours, ends)
    except _Lost:
        raise
    except (Unreadable, originals.OriginalMissing, originals.OriginalCorrupt) as error:
        ours.end("failed", {"code": "unreadable", "message": str(error)})
    except Exception as error:
        if _is_passing(error):
            raise  # the lease runs out, and it is tried again
        error_id = secrets.token_hex(4)
        log.exception("import broke", import_id=ours.row.id, error_id=error_id)
        place, now = f"import {ours.row.id}", ours.clock()
        errors.keep(ours.engine, error, error_id=error_id, where="chore", place=place, now=now)
        message = "Something broke inside Atlas while it read this file."
        ours.end("failed", {"code": "internal_error", "message": message, "id": error_id})


def _is_passing(error: Exception) -> bool:
    return isinstance(error, OSError) or is_outage(error)


def _go_on(ours: _Run, ends: float) -> None:
    with originals.unpacked(ours.settings.data_dir, ours.row.original_sha256) as file:
        if ours.row.total is None:
            ours.change(total=sum(1 for _ in ours.entries(file)))
        job = _job(ours)
        entries = ours.entries(file)
        for entry in itertools.islice(entries, ours.position):
            if job.dry_run:
                ours.seen.add(batches.seen_mark(batches.prepare(entry)))
        for piece in _pieces(entries):
            _write(ours, job, [batches.prepare(entry) for entry in piece])
            if time.monotonic() >= ends:
                ours.change(lease=None, due_at=ours.clock())
                return
    ours.end("done")
    log.info("import done", import_id=job.id, format=ours.row.format, **ours.counts)


def _pieces(entries: Iterator[Entry]) -> Iterator[list[Entry]]:
    piece: list[Entry] = []
    size = 0
    for entry in entries:
        piece.append(entry)
        size += _size(entry)
        if len(piece) >= RECORDS or size >= CONTENT_BYTES:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


def _size(entry: Entry) -> int:
    """Return how much an entry carries, in bytes or characters."""
    if isinstance(entry, Refused):
        return 0
    read = (entry.kept or {}).get("content")
    texts = read.values() if isinstance(read, dict) else ()
    return len(entry.content or b"") + sum(len(text) for text in texts if isinstance(text, str))


def _job(ours: _Run) -> Job:
    row = ours.row
    same = sa.select(imports.c.id).where(imports.c.original_sha256 == row.original_sha256)
    with read(ours.engine) as conn:
        family = frozenset(conn.execute(same).scalars())
    interval = ours.settings.feed_interval_seconds
    return Job(row.id, row.original_sha256, row.correlation_id, row.dry_run, family, interval)


def _write(ours: _Run, job: Job, batch: list[Prepared]) -> None:
    """Write a batch; if the database refuses it, piece by piece, so that one record cannot stop all."""
    if not job.dry_run:
        _keep_contents(ours, batch)
    try:
        _write_together(ours, job, batch)
        return
    except _Lost:
        raise
    except Exception as error:
        if _is_passing(error):
            raise
        if len(batch) == 1:
            log.exception("record not imported", import_id=job.id, position=ours.position + 1)
    if len(batch) == 1:
        message = "Something broke inside Atlas over this record; the log says what."
        batch[0].refusal = Outcome("refused", batch[0].url[:2048], None, message)
        _write_together(ours, job, batch)
        return
    middle = len(batch) // 2
    _write(ours, job, batch[:middle])
    _write(ours, job, batch[middle:])


def _keep_contents(ours: _Run, batch: list[Prepared]) -> None:
    """Put contents that are of use on the disk before any item says that they are there."""
    having = [one for one in batch if one.refusal is None and one.record and one.record.content]
    if not having:
        return
    with read(ours.engine) as conn:
        known = batches.known_items(conn, [one.key for one in having])
    for one in having:
        content = one.record.content if one.record else None
        if content and one.original is None and batches.wants_content(one, known):
            one.original = originals.put(ours.settings.data_dir, content)


def _write_together(ours: _Run, job: Job, batch: list[Prepared]) -> None:
    """Write a batch, its lines in the report, and how far the import is, in one transaction."""
    with ours.engine.begin() as conn:
        if job.dry_run:
            found = batches.pretend(conn, batch, ours.seen)
        else:
            found = batches.write(conn, job, batch, now=ours.clock())
        rows = [
            {
                "import_id": job.id,
                "position": ours.position + number,
                "outcome": one.outcome,
                "url": one.url,
                "item_id": one.item_id,
                "message": one.message,
            }
            for number, one in enumerate(found, 1)
        ]
        write_rows(conn, import_rows.insert(), rows)
        counts = ours.counts + Counter(one.outcome for one in found)
        position = ours.position + len(found)
        ours.change(conn, position=position, counts=dict(counts))
    ours.position, ours.counts = position, counts
