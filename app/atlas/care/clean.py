"""Mending what `audit` finds. Nothing that a person wrote or marked is ever removed.

Works in pieces, each in a transaction of its own, and only after a copy of the database was made. Originals
of items that are removed here stay until the next time: whoever restores the copy finds them all.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from atlas import deleting, originals, search
from atlas.care.audit import Finding, audit, referenced
from atlas.care.backup import back_up
from atlas.database.engine import read
from atlas.database.tables import highlights, item_tags, items
from atlas.settings import Settings
from atlas.stages.table import DONE, Stage

#: An original younger than this may belong to what is just being added (seconds).
YOUNG = 3600

_PIECE = 200


@dataclass(slots=True)
class Cleaned:
    """What was mended, or would be: how many by code; what was left because a person cares for it."""

    done: dict[str, int] = field(default_factory=dict)
    left: dict[str, list[int]] = field(default_factory=dict)
    backup: Path | None = None


def clean(settings: Settings, engine: Engine, *, now: dt.datetime, really: bool) -> Cleaned:
    """Mend what can be mended; unless `really`, only say what that would be. Raises BackupError."""
    findings = {finding.code: finding for finding in audit(settings, engine, quick=True)}
    result = Cleaned()
    work = [(code, _MENDERS[code]) for code in _MENDERS if code in findings]
    if work and really:
        result.backup = back_up(settings, now)
    for code, mend in work:
        result.done[code] = mend(_Job(settings, engine, now, really, result), findings[code])
    return result


@dataclass(frozen=True, slots=True)
class _Job:
    settings: Settings
    engine: Engine
    now: dt.datetime
    really: bool
    result: Cleaned

    def in_pieces(self, code: str, ids: Sequence[int], change: Callable[[Connection, list[int]], int]) -> int:
        """Change items that no person cares for, piece by piece; return how many that were."""
        count = 0
        for start in range(0, len(ids), _PIECE):
            piece = list(ids[start : start + _PIECE])
            with self.engine.begin() if self.really else read(self.engine) as conn:
                dear = cared_for(conn, piece)
                free = [item_id for item_id in piece if item_id not in dear]
                count += change(conn, free) if self.really and free else len(free)
            if dear:
                self.result.left.setdefault(code, []).extend(sorted(dear))
        return count


def cared_for(conn: Connection, ids: Sequence[int]) -> set[int]:
    """Return which items a person wrote, marked, named or filed."""
    marked = sa.or_(
        items.c.note.is_not(None),
        items.c.starred_at.is_not(None),
        items.c.titled_at.is_not(None),
        items.c.kind.in_(("note", "file")),
    )
    found = set(conn.execute(sa.select(items.c.id).where(items.c.id.in_(ids), marked)).scalars())
    for table in (highlights, item_tags):
        query = sa.select(table.c.item_id).where(table.c.item_id.in_(ids)).distinct()
        found |= set(conn.execute(query).scalars())
    return found


def _junk(job: _Job, finding: Finding) -> int:
    return job.in_pieces("junk", finding.ids, deleting.remove_all)


def _same_text(job: _Job, finding: Finding) -> int:
    def change(conn: Connection, ids: list[int]) -> int:
        return sum(_make_duplicate(conn, item_id, job.now) for item_id in ids)

    return job.in_pieces("same_text", finding.ids, change)


def _make_duplicate(conn: Connection, item_id: int, now: dt.datetime) -> bool:
    """Let an item be the duplicate of the first with its text; it stays, and what was read of it goes."""
    mine = conn.execute(sa.select(items.c.text_sha256).where(items.c.id == item_id)).scalar()
    same = sa.select(sa.func.min(items.c.id)).where(items.c.text_sha256 == mine, items.c.stage.in_(DONE))
    first = conn.execute(same).scalar()
    if mine is None or first is None or first >= item_id:
        return False
    return deleting.make_duplicate(conn, item_id, first, now=now)


def _chain(job: _Job, finding: Finding) -> int:
    other = items.alias()
    target = sa.select(other.c.duplicate_of).where(other.c.id == items.c.duplicate_of).scalar_subquery()
    count = 0
    for start in range(0, len(finding.ids) if job.really else 0, _PIECE):
        with job.engine.begin() as conn:
            mine = items.c.id.in_(finding.ids[start : start + _PIECE])
            points = sa.exists().where(other.c.id == items.c.duplicate_of, other.c.stage == Stage.DUPLICATE)
            count += conn.execute(items.update().where(mine, points).values(duplicate_of=target)).rowcount
    return count if job.really else finding.count


def _stuck(job: _Job, finding: Finding) -> int:
    for start in range(0, len(finding.ids) if job.really else 0, _PIECE):
        with job.engine.begin() as conn:
            mine = items.c.id.in_(finding.ids[start : start + _PIECE])
            change = items.update().where(mine, items.c.due_at.is_(None), items.c.lease.is_(None))
            conn.execute(change.values(due_at=job.now))
    return finding.count


def _orphan(job: _Job, finding: Finding) -> int:
    old, data_dir, count = job.now.timestamp() - YOUNG, job.settings.data_dir, 0
    names = set(finding.names)
    if job.really:
        with read(job.engine) as conn:  # what was handed in again meanwhile is one no more
            names.difference_update(referenced(conn))
    for name in sorted(names):
        if originals.written_at(data_dir, name) >= old:  # handed in again it is young, too
            continue
        count += 1
        if job.really:
            originals.remove(data_dir, name)
    return count


def _stray(job: _Job, finding: Finding) -> int:
    count = 0
    for name in finding.names:
        path = job.settings.data_dir / name
        if path.exists() and path.stat().st_mtime < job.now.timestamp() - YOUNG:
            count += 1
            if job.really:
                path.unlink(missing_ok=True)
    return count


def _index(job: _Job, finding: Finding) -> int:
    if job.really:
        with job.engine.begin() as conn:
            search.rebuild(conn)
    return finding.count


_MENDERS: dict[str, Callable[[_Job, Finding], int]] = {
    "junk": _junk,
    "same_text": _same_text,
    "chain": _chain,
    "stuck": _stuck,
    "orphan": _orphan,
    "stray": _stray,
    "index": _index,
}
