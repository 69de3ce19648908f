"""Reading everything again from the kept originals, when reading has become better.

All cores read, one transaction a piece writes. How far it came stands in `marks`, so that a killed run goes
on where it was. What a person wrote, named or marked stays; what cannot be read any more stays as it was.
"""

import datetime as dt
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from atlas import items, originals, related, transcripts
from atlas.database.dialect import insert
from atlas.database.engine import read
from atlas.database.tables import contents, marks
from atlas.database.tables import items as items_table
from atlas.fallbacks import wayback
from atlas.settings import Settings
from atlas.stages.context import Reads
from atlas.stages.finish import fields_of, text_digest
from atlas.stages.page import Page, PageError
from atlas.stages.table import DONE, Stage

MARK = "reprocess"
#: Changes that are told one by one; all are counted.
MOST_TOLD = 1000

_PIECE = 64
#: What a person wrote is no duplicate, and many episodes and videos of a show have the same notes.
_NEVER_THE_SAME = ("note", "podcast", "video")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which items are read again."""

    kind: str | None = None
    since: dt.datetime | None = None
    #: Those that failed for good, instead of those that can be read.
    failed: bool = False
    item_id: int | None = None
    dry_run: bool = False

    def told(self) -> dict[str, Any]:
        """Return it as a mark keeps it."""
        since = self.since and self.since.isoformat()
        return {"kind": self.kind, "since": since, "failed": self.failed, "item_id": self.item_id}


@dataclass(slots=True)
class Report:
    """What became of the items."""

    counts: Counter[str] = field(default_factory=Counter)
    changes: list[dict[str, Any]] = field(default_factory=list)
    #: The run went on behind this item, where an earlier one ended.
    began_after: int = 0


@dataclass(frozen=True, slots=True)
class _Read:
    row: Any
    page: Page | None = None
    refused: str = ""


def reprocess(
    settings: Settings,
    engine: Engine,
    reader: Reads,
    wanted: Wanted,
    *,
    clock: Callable[[], dt.datetime],
    threads: int | None = None,
    correlation_id: str = "reprocess",
) -> Report:
    """Read items again; write what changed unless `wanted.dry_run`."""
    report = Report()
    resumes = not (wanted.dry_run or wanted.item_id)
    after = report.began_after = _began(engine, wanted) if resumes else 0
    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        for rows in _pieces(engine, wanted, after):
            found = list(pool.map(lambda row: _read(settings, reader, row), rows))
            with read(engine) if wanted.dry_run else engine.begin() as conn:
                for one in found:
                    _settle(
                        conn,
                        one,
                        wanted=wanted,
                        report=report,
                        now=clock(),
                        correlation_id=correlation_id,
                    )
                if resumes:
                    _note(conn, wanted, rows[-1].id, clock())
    if resumes:
        with engine.begin() as conn:
            conn.execute(marks.delete().where(marks.c.name == MARK))
    return report


def _pieces(engine: Engine, wanted: Wanted, after: int) -> Iterator[Sequence[Any]]:
    stages = {Stage.PERMANENT_ERROR} if wanted.failed else DONE
    columns = (
        items_table.c.id, items_table.c.kind, items_table.c.url, items_table.c.final_url, items_table.c.title,
        items_table.c.titled_at, items_table.c.original_sha256, items_table.c.original_type,
        items_table.c.word_count,
    )  # fmt: skip
    query = sa.select(*columns).where(
        items_table.c.stage.in_(stages), items_table.c.original_sha256.is_not(None)
    )
    if wanted.kind:
        query = query.where(items_table.c.kind == wanted.kind)
    if wanted.since:
        query = query.where(items_table.c.added_at >= wanted.since)
    if wanted.item_id:
        query = query.where(items_table.c.id == wanted.item_id)
    while True:
        with read(engine) as conn:
            piece = query.where(items_table.c.id > after).order_by(items_table.c.id).limit(_PIECE)
            rows = conn.execute(piece).all()
        if not rows:
            return
        yield rows
        after = rows[-1].id


def _read(settings: Settings, reader: Reads, row: Any) -> _Read:  # noqa: ANN401 - a row
    try:
        raw = originals.get(settings.data_dir, row.original_sha256)
        address = wayback.page_address(row.final_url or row.url)
        return _Read(row, reader.read(raw, row.original_type, address))
    except originals.OriginalMissing:
        return _Read(row, refused="original_missing")
    except originals.OriginalCorrupt:
        return _Read(row, refused="original_corrupt")
    except PageError as error:
        return _Read(row, refused=error.code)


def _settle(
    conn: Connection, one: _Read, *, wanted: Wanted, report: Report, now: dt.datetime, correlation_id: str
) -> None:
    report.counts["read"] += 1
    if one.page is None:
        report.counts[f"refused: {one.refused}"] += 1
        return
    if wanted.failed:
        report.counts["queued again"] += 1
        if not wanted.dry_run:
            fields = {"original_sha256": one.row.original_sha256}
            reason = "Can be read by now"
            items.replace_original(
                conn, one.row.id, fields, reason=reason, now=now, correlation_id=correlation_id
            )
        return
    before = _before(conn, one, locked=not wanted.dry_run)
    if before is None:
        report.counts["busy"] += 1
        return
    text = transcripts.behind(conn, one.row.id, one.page.text)
    changed = _changed(before, one.page, text)
    if not changed:
        report.counts["unchanged"] += 1
        return
    report.counts["changed"] += 1
    told = {"id": one.row.id, "title": one.row.title, "changed": changed}
    told |= {"words_before": one.row.word_count, "words_after": one.page.word_count}
    if len(report.changes) < MOST_TOLD:
        report.changes.append(told)
    if wanted.dry_run:
        return
    if not _write(conn, before, one.page, text=text, changed=changed, now=now, correlation_id=correlation_id):
        report.counts["busy"] += 1


def _before(conn: Connection, one: _Read, *, locked: bool) -> sa.Row[Any] | None:
    """Return the item as it is by now; None when it is gone, or has another original."""
    query = sa.select(items_table, contents.c.text, contents.c.html)
    query = query.select_from(items_table.outerjoin(contents)).where(
        items_table.c.id == one.row.id, items_table.c.original_sha256 == one.row.original_sha256
    )
    return conn.execute(query.with_for_update(of=items_table) if locked else query).one_or_none()


def _changed(before: sa.Row[Any], page: Page, text: str) -> list[str]:
    """Name what is not as it was."""
    after = {**fields_of(page), "text": text, "html": page.html}
    if page.title and before.titled_at is None:
        after["title"] = page.title
    return [name for name, value in after.items() if before._mapping[name] != value]


def _write(
    conn: Connection,
    row: sa.Row[Any],
    page: Page,
    *,
    text: str,
    changed: list[str],
    now: dt.datetime,
    correlation_id: str,
) -> bool:
    """Write what was read, unless the item was taken meanwhile."""
    title = page.title if page.title and row.titled_at is None else row.title
    digest = None if row.kind in _NEVER_THE_SAME else text_digest(page)
    values = {**fields_of(page), "title": title, "text_sha256": digest}
    values["keywords"] = related.describe(conn, row.id, page.terms)
    reason = "Read again from the original: " + ", ".join(changed)
    return items.rewrite(
        conn,
        row.id,
        values,
        original_sha256=row.original_sha256,
        text=text,
        html=page.html,
        reason=reason,
        now=now,
        correlation_id=correlation_id,
    )


def _began(engine: Engine, wanted: Wanted) -> int:
    """Return the item behind which an earlier run for the same items ended; 0 when there is none."""
    with read(engine) as conn:
        mark = conn.execute(sa.select(marks.c.value).where(marks.c.name == MARK)).scalar()
    return int(mark["after"]) if mark and mark.get("wanted") == wanted.told() else 0


def _note(conn: Connection, wanted: Wanted, after: int, now: dt.datetime) -> None:
    new = {"value": {"wanted": wanted.told(), "after": after}, "updated_at": now}
    statement = insert(conn, marks).values(name=MARK, **new)
    conn.execute(statement.on_conflict_do_update(index_elements=["name"], set_=new))
