"""What is wrong in the library: junk, orphans, duplicates, broken originals, an index that drifted.

Only looks: `clean` mends. Everything is read in pieces, so that neither memory nor anybody else suffers.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from atlas import originals
from atlas.database.dialect import is_sqlite
from atlas.database.engine import read
from atlas.database.tables import contents, imports, items, versions
from atlas.reading import phrases
from atlas.settings import Settings
from atlas.stages.table import DONE, TERMINAL, Stage

#: Ids and names that a finding lists; it counts all.
MOST_EXAMPLES = 50
#: An article of fewer words is suspicious, one of fewer than that is junk by itself.
SHORT, SHORTEST = 120, 20

_PIECE = 500
_SPACES = re.compile(r"\s+")
#: Kinds that were fetched: what a person handed in is never junk.
_FETCHED = ("article", "feed")


@dataclass(slots=True)
class Finding:
    """Something wrong: what, how often, where, and what to do about it."""

    code: str
    message: str
    fix: str
    count: int = 0
    #: Ids of items.
    ids: list[int] = field(default_factory=list)
    #: Names of files, and what a database says.
    names: list[str] = field(default_factory=list)

    def add(self, item_id: int | None = None, name: str | None = None) -> None:
        """Count one more."""
        self.count += 1
        if item_id is not None:
            self.ids.append(item_id)
        if name is not None:
            self.names.append(name)


def audit(
    settings: Settings, engine: Engine, *, quick: bool = False, said: Callable[[str], None] = lambda _: None
) -> list[Finding]:
    """Look at everything; return what is wrong. `quick` does not unpack the originals."""
    findings: list[Finding] = []
    for name, look in _CHECKS:
        said(name)
        with read(engine) as conn:
            findings += look(conn, settings)
    said("originals")
    findings += _originals(settings, engine, unpack=not quick)
    said("search index")
    findings += _index(engine)
    return [finding for finding in findings if finding.count]


def _database(conn: Connection, _settings: Settings) -> list[Finding]:
    found = Finding("database", "The database file is damaged.", "Restore a backup.")
    if is_sqlite(conn):
        for row in conn.exec_driver_sql("PRAGMA integrity_check(20)"):
            if row[0] != "ok":
                found.add(name=str(row[0]))
        for row in conn.exec_driver_sql("PRAGMA foreign_key_check"):
            found.add(name=f"{row[0]} row {row[1]} names a row of {row[2]} that is not there")
    return [found]


def _contents(conn: Connection, _settings: Settings) -> list[Finding]:
    empty = Finding(
        "no_content",
        "Items that can be read have nothing to read.",
        "atlas reprocess --item ID reads them again.",
    )
    query = sa.select(items.c.id).select_from(items.outerjoin(contents)).where(items.c.stage.in_(DONE))
    for item_id in _streamed(conn, query.where(contents.c.item_id.is_(None))):
        empty.add(item_id)
    stuck = Finding(
        "stuck",
        "Items on their way are due never: nothing will happen to them.",
        "atlas clean --yes queues them.",
    )
    waits = {Stage.BATCH_RECEIVED, *TERMINAL}
    query = sa.select(items.c.id).where(items.c.due_at.is_(None), items.c.stage.not_in(waits))
    for item_id in _streamed(conn, query):
        stuck.add(item_id)
    return [empty, stuck]


def _duplicates(conn: Connection, _settings: Settings) -> list[Finding]:
    twins = Finding(
        "same_text",
        "Items have the very same text as an earlier one.",
        "atlas clean --yes makes them its duplicates.",
    )
    first: dict[str, int] = {}
    query = sa.select(items.c.text_sha256, items.c.id).where(items.c.stage.in_(DONE), items.c.kind != "note")
    again = sa.select(items.c.text_sha256).where(items.c.stage.in_(DONE), items.c.kind != "note")
    again = again.group_by(items.c.text_sha256).having(sa.func.count() > 1)
    for digest, item_id in conn.execute(query.where(items.c.text_sha256.in_(again)).order_by(items.c.id)):
        if digest in first:
            twins.add(item_id)
        first.setdefault(digest, item_id)
    chains = Finding(
        "chain",
        "Duplicates point at what is a duplicate itself.",
        "atlas clean --yes lets them point at the original.",
    )
    other = items.alias()
    query = sa.select(items.c.id).join_from(items, other, items.c.duplicate_of == other.c.id)
    for item_id in _streamed(conn, query.where(other.c.stage == Stage.DUPLICATE)):
        chains.add(item_id)
    return [twins, chains]


def _junk(conn: Connection, _settings: Settings) -> list[Finding]:
    """Find what validation would refuse today: short texts that are walls, shells and error pages."""
    found = Finding(
        "junk", "Items are no articles, but walls, shells or error pages.", "atlas clean --yes removes them."
    )
    query = sa.select(items.c.id, contents.c.title, contents.c.text).select_from(items.join(contents))
    short = sa.func.coalesce(items.c.word_count, 0) < SHORT
    query = query.where(items.c.stage.in_(DONE), items.c.kind.in_(_FETCHED), items.c.source != "feed", short)
    query = query.where(sa.func.coalesce(items.c.original_type, "").not_like("%; handed=%"))
    for item_id, title, text in conn.execution_options(yield_per=_PIECE).execute(query.order_by(items.c.id)):
        if reason := junk_reason(title, text):
            found.add(item_id, f"{item_id}: {reason}")
    return [found]


def junk_reason(title: str, text: str) -> str | None:
    """Say why a text is not worth keeping; None when it is."""
    line = _SPACES.sub(" ", text)[:20_000]
    words = len(line.split())
    if words < SHORTEST:
        return f"{words} words"
    if words >= SHORT:
        return None
    few = words < SHORT // 2
    signs = (
        (phrases.CHECKS_BROWSER.search(f"{title} {line}"), "a check for human visitors"),
        (phrases.NOT_FOUND_TITLE.search(title), "an error page"),
        (few and phrases.WANTS_JAVASCRIPT.search(line), "an empty shell"),
        (few and phrases.NOT_FOUND_TEXT.search(line), "an error page"),
        (few and phrases.LOGIN_TITLE.search(title), "a login"),
        (few and len(phrases.COOKIES.findall(line)) > 2, "a question about cookies"),
    )
    return next((reason for found, reason in signs if found), None)


_CHECKS: tuple[tuple[str, Callable[[Connection, Settings], list[Finding]]], ...] = (
    ("database", _database),
    ("contents", _contents),
    ("duplicates", _duplicates),
    ("junk", _junk),
)


# Originals


def referenced(conn: Connection) -> Iterator[str]:
    """Yield the SHA-256 of every original that something names, again and again."""
    for column in (items.c.original_sha256, versions.c.original_sha256, imports.c.original_sha256):
        yield from _streamed(conn, sa.select(column).where(column.is_not(None)))


def _originals(settings: Settings, engine: Engine, *, unpack: bool) -> list[Finding]:
    orphans = Finding("orphan", "Originals are kept that nothing names.", "atlas clean --yes removes them.")
    broken = Finding("broken", "Originals are damaged.", "Restore them from a backup.")
    missing = Finding("missing", "Items name originals that are not kept.", "Restore them from a backup.")
    names = Finding(
        "stray", "Files stand among the originals that are none.", "atlas clean --yes removes them."
    )
    # Files first: what comes in meanwhile is named by its row later, and no orphan for being young.
    kept = set(originals.kept(settings.data_dir))
    with read(engine) as conn:
        wanted = set(referenced(conn))
        lost = wanted - kept
        holders = _holders(
            conn, {sha256 for sha256 in lost if not originals.is_kept(settings.data_dir, sha256)}
        )
    for item_id in holders:
        missing.add(item_id)
    for sha256 in sorted(kept - wanted):
        orphans.add(name=sha256)
    for path in originals.strays(settings.data_dir):
        names.add(name=str(path.relative_to(settings.data_dir)))
    for sha256 in sorted(kept & wanted) if unpack else ():
        try:
            originals.check(settings.data_dir, sha256)
        except originals.OriginalCorrupt:
            broken.add(name=sha256)
        except originals.OriginalMissing:  # cleaned since
            continue
    return [orphans, names, broken, missing]


def _holders(conn: Connection, lost: set[str]) -> list[int]:
    return [
        item_id
        for piece in _pieces(sorted(lost))
        for item_id in conn.execute(sa.select(items.c.id).where(items.c.original_sha256.in_(piece))).scalars()
    ]


# The search index


def _index(engine: Engine) -> list[Finding]:
    found = Finding(
        "index", "The search index is not what the texts say.", "atlas clean --yes builds it anew."
    )
    if engine.dialect.name == "sqlite":
        with engine.begin() as conn:  # it looks only, but is written as an insert
            try:
                conn.exec_driver_sql(
                    "INSERT INTO contents_fts (contents_fts, rank) VALUES ('integrity-check', 1)"
                )
            except sa.exc.DatabaseError as error:
                found.add(name=str(error.orig))
        return [found]
    for item_id in _drifted(engine):
        found.add(item_id)
    return [found]


_DRIFTED = sa.text("""
    SELECT contents.item_id FROM contents LEFT JOIN search_index USING (item_id)
    WHERE contents.item_id >= :first AND contents.item_id < :after
    AND (words IS NULL OR words <> atlas_words(title, text))
""")
_DRIFTED_LONG = sa.text("""
    SELECT contents.item_id FROM contents LEFT JOIN search_index USING (item_id)
    WHERE contents.item_id >= :first AND contents.item_id < :after
    AND (words IS NULL OR words <> atlas_words(left(title, 1000), left(text, 150000)))
""")


def _drifted(engine: Engine) -> Iterator[int]:
    with read(engine) as conn:
        last = conn.execute(sa.select(sa.func.max(contents.c.item_id))).scalar() or 0
    for first in range(1, last + 1, _PIECE):
        yield from _drifted_between(engine, first, first + _PIECE)


def _drifted_between(engine: Engine, first: int, after: int) -> list[int]:
    values = {"first": first, "after": after}
    try:
        with read(engine) as conn:
            return list(conn.execute(_DRIFTED, values).scalars())
    except sa.exc.DatabaseError:  # one of them has more words than an index entry holds
        if after - first > 1:
            middle = (first + after) // 2
            return _drifted_between(engine, first, middle) + _drifted_between(engine, middle, after)
    with read(engine) as conn:
        return list(conn.execute(_DRIFTED_LONG, values).scalars())


# Tools


def _streamed(conn: Connection, query: sa.Select[Any]) -> Iterator[Any]:
    yield from conn.execution_options(yield_per=_PIECE).execute(query).scalars()


def _pieces(values: Sequence[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(values), _PIECE):
        yield list(values[start : start + _PIECE])
