"""Reading again, auditing and cleaning a library, on both databases."""

import datetime as dt
import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import test_cli
from conftest import Clock
from reading_hand import Reader, read_all
from sqlalchemy.engine import Engine

from atlas import items, originals, transcripts
from atlas.care import backup
from atlas.care.audit import Finding, audit
from atlas.care.clean import clean
from atlas.care.reprocess import MARK, Wanted, reprocess
from atlas.database.engine import read
from atlas.database.tables import contents, highlights, marks
from atlas.database.tables import items as items_table
from atlas.search import search
from atlas.settings import Settings
from atlas.sources import handed
from atlas.stages.page import Page, PageError

atlas = test_cli.atlas  # fixtures
logging_as_before = test_cli.logging_as_before

PROSE = "The tide came in while nobody looked, and took the picnic with it. "


def put(
    engine: Engine, settings: Settings, clock: Clock, number: int = 1, text: str = "", **columns: Any
) -> int:
    """Make a readable article with an original of its own."""
    text = text or f"{PROSE * 10} Tale {number}."
    markup = f"<title>Tale {number}</title><article><p>{text}</p></article>"
    with engine.begin() as conn:
        new = handed.page(settings.data_dir, f"https://e.org/{number}", markup, correlation_id="c")
        (added,) = items.add_many(conn, [new], now=clock())
        assert isinstance(added, items.Added)
    read_all(settings, engine, clock)
    if columns:
        change(engine, added.id, **columns)
    return added.id


def change(engine: Engine, item_id: int, **columns: Any) -> None:
    with engine.begin() as conn:
        conn.execute(items_table.update().where(items_table.c.id == item_id).values(columns))


def spoil(engine: Engine, item_id: int, **columns: Any) -> None:
    """Change what is kept of an item's text."""
    with engine.begin() as conn:
        conn.execute(contents.update().where(contents.c.item_id == item_id).values(columns))


def get(engine: Engine, item_id: int) -> dict[str, Any]:
    with read(engine) as conn:
        found = items.get(conn, item_id)
    assert found is not None
    return found


# Reading again


def test_everything_is_read_again_and_what_a_person_did_stays(
    engine: Engine, settings: Settings, clock: Clock
) -> None:
    first, second, third = (put(engine, settings, clock, number) for number in (1, 2, 3))
    spoil(engine, first, text="Badly read", html="<p>Badly read</p>")
    change(engine, first, starred_at=clock(), note="Mine", read_at=clock())
    change(engine, second, title="My name for it", titled_at=clock(), byline="Wrong")
    with engine.begin() as conn:
        values = {"item_id": first, "quote": "picnic", "created_at": clock(), "updated_at": clock()}
        conn.execute(highlights.insert().values(values))
    dry = reprocess(settings, engine, Reader(), Wanted(dry_run=True), clock=clock)
    assert get(engine, first)["text"] == "Badly read"
    done = reprocess(settings, engine, Reader(), Wanted(), clock=clock)
    assert dry.counts == done.counts == {"read": 3, "changed": 2, "unchanged": 1}
    assert [(one["id"], one["changed"]) for one in done.changes] == [
        (first, ["text", "html"]),
        (second, ["byline"]),
    ]
    kept = get(engine, first)
    assert (kept["note"], kept["starred_at"], kept["read_at"]) == ("Mine", clock(), clock())
    assert kept["text"].startswith("The tide")
    assert (get(engine, second)["title"], get(engine, second)["byline"]) == ("My name for it", None)
    with read(engine) as conn:
        assert conn.execute(sa.select(highlights.c.quote)).scalar_one() == "picnic"
        assert search(conn, "badly")[0] == 0
        assert {hit.id for hit in search(conn, "picnic")[1]} == {first, second, third}
        assert items.history(conn, first)[-1]["reason"] == "Read again from the original: text, html"
    assert reprocess(settings, engine, Reader(), Wanted(), clock=clock).counts == {"read": 3, "unchanged": 3}


def test_transcripts_and_names_given_meanwhile_outlive_a_reading(
    engine: Engine, settings: Settings, clock: Clock
) -> None:
    class Slow(Reader):
        def read(self, raw: bytes, content_type: str | None, url: str) -> Page:
            if url == "https://e.org/2":
                change(engine, second, title="Named meanwhile", titled_at=clock())
            return super().read(raw, content_type, url)

    first, second = (put(engine, settings, clock, number) for number in (1, 2))
    with engine.begin() as conn:
        segments = [[0.0, 1.0, None, "spoken word"]]
        transcripts.save(conn, first, segments, source="pushed", language=None, now=clock())
    change(engine, second, byline="Wrong")
    report = reprocess(settings, engine, Slow(), Wanted(), clock=clock)
    assert [one["changed"] for one in report.changes] == [["byline"]]
    assert get(engine, first)["text"].endswith("spoken word")
    assert get(engine, second)["title"] == "Named meanwhile"


def test_an_archived_copy_is_read_again_as_it_was_read(
    engine: Engine, settings: Settings, clock: Clock
) -> None:
    asked = []

    class Asked(Reader):
        def read(self, raw: bytes, content_type: str | None, url: str) -> Page:
            asked.append(url)
            return super().read(raw, content_type, url)

    copy = "https://web.archive.org/web/20240517000000id_/https://e.org/1"
    put(engine, settings, clock, final_url=copy)
    reprocess(settings, engine, Asked(), Wanted(), clock=clock)
    assert asked == ["https://e.org/1"]


def test_what_a_person_handed_in_is_no_junk(engine: Engine, settings: Settings, clock: Clock) -> None:
    put(engine, settings, clock, original_type="text/html; charset=utf-8; handed=yes", word_count=3)
    with engine.begin() as conn:
        conn.execute(contents.update().values(text="Three short words"))
    assert [finding.code for finding in audit(settings, engine) if finding.code == "junk"] == []


class Killed(Reader):
    """Ends the run at one page, as a power cut would."""

    def __init__(self, at: str) -> None:
        self.at = at
        self.urls: list[str] = []

    def read(self, raw: bytes, content_type: str | None, url: str) -> Page:
        self.urls.append(url)
        if url == self.at:
            raise KeyboardInterrupt
        return super().read(raw, content_type, url)


def test_a_killed_run_goes_on_where_it_was(
    engine: Engine, settings: Settings, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atlas.care.reprocess._PIECE", 2)
    for number in range(1, 6):
        put(engine, settings, clock, number)
    with pytest.raises(KeyboardInterrupt):
        reprocess(settings, engine, Killed("https://e.org/4"), Wanted(), clock=clock)
    reader = Killed("never")
    report = reprocess(settings, engine, reader, Wanted(), clock=clock)
    assert sorted(reader.urls) == [f"https://e.org/{number}" for number in (3, 4, 5)]
    assert report.began_after == 2
    with read(engine) as conn:
        assert conn.execute(sa.select(marks.c.name).where(marks.c.name == MARK)).all() == []


class Strict(Reader):
    """Finds nothing worth keeping."""

    def read(self, raw: bytes, content_type: str | None, url: str) -> Page:
        raise PageError("soft_404", "Gone.")


def test_what_cannot_be_read_any_more_stays_as_it_was(
    engine: Engine, settings: Settings, clock: Clock
) -> None:
    first, second = put(engine, settings, clock, 1), put(engine, settings, clock, 2)
    before = get(engine, first)
    path_of(settings, get(engine, second)["original_sha256"]).unlink()
    report = reprocess(settings, engine, Strict(), Wanted(), clock=clock)
    assert report.counts == {"read": 2, "refused: soft_404": 1, "refused: original_missing": 1}
    assert get(engine, first) == before


def test_what_had_failed_is_queued_again_when_it_can_be_read(
    engine: Engine, settings: Settings, clock: Clock
) -> None:
    failed, bad = put(engine, settings, clock, 1), put(engine, settings, clock, 2, text="ok")
    change(engine, failed, stage=777, due_at=None)
    report = reprocess(settings, engine, Reader(), Wanted(failed=True), clock=clock)
    assert report.counts == {"read": 2, "queued again": 1, "refused: not_an_article": 1}
    assert read_all(settings, engine, clock) == ["complete"]
    assert (get(engine, failed)["stage"], get(engine, bad)["stage"]) == (590, 777)


def test_only_what_is_wanted_is_read(engine: Engine, settings: Settings, clock: Clock) -> None:
    first = put(engine, settings, clock, 1)
    clock.advance(86_400)
    second = put(engine, settings, clock, 2, kind="mail")
    for wanted, ids in (
        (Wanted(kind="mail"), [second]),
        (Wanted(since=clock() - dt.timedelta(hours=1)), [second]),
        (Wanted(item_id=first), [first]),
        (Wanted(kind="video"), []),
    ):
        assert reprocess(settings, engine, Reader(), wanted, clock=clock).counts["read"] == len(ids)


def test_an_item_in_hand_is_left_to_its_worker(engine: Engine, settings: Settings, clock: Clock) -> None:
    first = put(engine, settings, clock, 1)
    spoil(engine, first, text="Badly read")

    class Slow(Reader):
        def read(self, raw: bytes, content_type: str | None, url: str) -> Page:
            change(engine, first, stage=190, due_at=clock())
            return super().read(raw, content_type, url)

    report = reprocess(settings, engine, Slow(), Wanted(), clock=clock)
    assert report.counts["busy"] == 1
    assert get(engine, first)["text"] == "Badly read"


# Auditing


def path_of(settings: Settings, sha256: str) -> Path:
    return settings.data_dir / "originals" / sha256[:2] / sha256[2:4] / f"{sha256}.zst"


def found(settings: Settings, engine: Engine, **options: Any) -> dict[str, Finding]:
    return {finding.code: finding for finding in audit(settings, engine, **options)}


def test_a_sound_library_has_nothing_wrong(engine: Engine, settings: Settings, clock: Clock) -> None:
    assert found(settings, engine) == {}
    for number in (1, 2):
        put(engine, settings, clock, number)
    with engine.begin() as conn:
        items.add(conn, "https://e.org/1", now=clock(), correlation_id="c")
        items.add(conn, "https://e.org/9", now=clock(), correlation_id="c", waits=True)
        items.add(conn, "https://e.org/8", now=clock(), correlation_id="c")
    assert found(settings, engine) == {}


def test_each_fault_is_found(engine: Engine, settings: Settings, clock: Clock) -> None:
    ids = [put(engine, settings, clock, number) for number in range(1, 10)]
    sha = [get(engine, item_id)["original_sha256"] for item_id in ids]
    path_of(settings, sha[0]).unlink()
    path_of(settings, sha[1]).write_bytes(b"damaged")
    orphan = originals.put(settings.data_dir, b"nobody's")
    (settings.data_dir / "originals" / "ab").mkdir(exist_ok=True)
    (settings.data_dir / "originals" / "ab" / ".new-x").write_bytes(b"half")
    with engine.begin() as conn:
        conn.execute(contents.delete().where(contents.c.item_id == ids[2]))
        dup = items.add(conn, "https://e.org/4", now=clock(), correlation_id="c").id
        conn.execute(
            items_table.update().where(items_table.c.id == ids[3]).values(stage=599, duplicate_of=ids[4])
        )
    change(engine, ids[5], stage=110, due_at=None)
    change(engine, ids[7], text_sha256=get(engine, ids[6])["text_sha256"])
    spoil(engine, ids[8], title="Page not found", text="Page not found. " * 20)
    change(engine, ids[8], word_count=60)
    faults = found(settings, engine)
    assert {code: (finding.ids or finding.names) for code, finding in faults.items() if code != "junk"} == {
        "missing": [ids[0]],
        "broken": [sha[1]],
        "no_content": [ids[2]],
        "chain": [dup],
        "stuck": [ids[5]],
        "same_text": [ids[7]],
        "orphan": [orphan],
        "stray": ["originals/ab/.new-x"],
    }
    assert faults["junk"].ids == [ids[8]]
    assert faults["junk"].names == [f"{ids[8]}: an error page"]
    assert "broken" not in found(settings, engine, quick=True)


def test_an_index_that_drifted_is_found_and_built_anew(
    engine: Engine, settings: Settings, clock: Clock
) -> None:
    first = put(engine, settings, clock, 1)
    second = put(engine, settings, clock, 2, text="word " * 30 + " ".join(f"w{n}x" for n in range(150_000)))
    assert found(settings, engine) == {}
    with engine.begin() as conn:
        if engine.dialect.name == "sqlite":
            conn.exec_driver_sql("DROP TRIGGER contents_fts_update")
            conn.execute(contents.update().where(contents.c.item_id == first).values(text="other"))
        else:
            conn.exec_driver_sql(f"UPDATE search_index SET words = 'other' WHERE item_id = {first}")
            conn.exec_driver_sql(f"DELETE FROM search_index WHERE item_id = {second}")
    assert set(found(settings, engine)) == {"index"}
    result = clean(settings, engine, now=clock(), really=True)
    assert result.done["index"] > 0
    assert found(settings, engine) == {}


def test_the_audit_speaks_to_people_and_programs(
    atlas: Any,
    engine: Engine,
    settings: Settings,
    clock: Clock,
) -> None:
    assert (atlas("audit").status, atlas("audit").out) == (0, "Nothing is wrong.\n")
    number = put(engine, settings, clock, 1)
    path_of(settings, get(engine, number)["original_sha256"]).unlink()
    done = atlas("audit", "--json")
    assert (done.status, done.json["ok"]) == (1, False)
    assert [(one["code"], one["ids"]) for one in done.json["findings"]] == [("missing", [number])]
    assert f"item {number}" in atlas("audit", "--quick").out
    assert atlas("reprocess", "--since", "soon").err == "atlas: 'soon' is no date such as 2026-11-22.\n"


@pytest.mark.slow
def test_reprocessing_by_the_command(atlas: Any, engine: Engine, settings: Settings, clock: Clock) -> None:
    number = put(engine, settings, clock, 1)
    spoil(engine, number, text="Badly read")
    done = atlas("reprocess", "--json")
    assert (done.status, done.json["counts"]) == (0, {"read": 1, "changed": 1})
    assert "1  unchanged" in atlas("reprocess", "--dry-run").out


# Cleaning


def test_cleaning_mends_what_it_can_and_leaves_what_a_person_did(
    engine: Engine, settings: Settings, clock: Clock
) -> None:
    if engine.dialect.name != "sqlite" and not shutil.which("pg_dump"):
        pytest.skip("pg_dump is not installed (Debian: postgresql-client)")
    wall = "Please log in. " * 8
    junk, dear, twin, kept = (put(engine, settings, clock, number) for number in range(1, 5))
    for item_id in (junk, dear):
        spoil(engine, item_id, title="Log in", text=wall)
        change(engine, item_id, word_count=24)
    change(engine, dear, note="But I want it")
    change(engine, kept, text_sha256=get(engine, twin)["text_sha256"])
    old = originals.put(settings.data_dir, b"nobody's")
    young = originals.put(settings.data_dir, b"just coming in")
    hour_ago = clock().timestamp() - 4000
    os.utime(path_of(settings, old), (hour_ago, hour_ago))
    os.utime(path_of(settings, young), (clock().timestamp(),) * 2)
    dry = clean(settings, engine, now=clock(), really=False)
    assert dry.done == {"junk": 1, "same_text": 1, "orphan": 1}
    assert dry.left == {"junk": [dear]}
    assert not (settings.data_dir / "backups").exists()
    assert get(engine, junk)["stage"] == 590
    done = clean(settings, engine, now=clock(), really=True)
    assert (done.done, done.left) == (dry.done, dry.left)
    with read(engine) as conn:
        assert items.get(conn, junk) is None
        assert search(conn, "picnic")[0] == 1
    assert get(engine, dear)["note"] == "But I want it"
    assert (get(engine, kept)["stage"], get(engine, kept)["duplicate_of"]) == (599, twin)
    assert get(engine, kept)["text"] == get(engine, twin)["text"]
    assert not path_of(settings, old).exists()
    assert path_of(settings, young).exists()
    assert done.backup is not None
    assert done.backup.stat().st_mode & 0o777 == 0o600
    if engine.dialect.name == "sqlite":
        with closing(sqlite3.connect(done.backup)) as copy:
            assert copy.execute("SELECT count(*) FROM contents").fetchone() == (4,)
    assert (
        path_of(settings, sha_of_copy(done.backup, junk)).exists()
        if engine.dialect.name == "sqlite"
        else True
    )


def sha_of_copy(copy: Path, item_id: int) -> str:
    """Return the original of an item as a copy of the database names it."""
    with closing(sqlite3.connect(copy)) as conn:
        found: str = conn.execute("SELECT original_sha256 FROM items WHERE id = ?", (item_id,)).fetchone()[0]
        return found


def test_without_a_backup_nothing_is_removed(
    engine: Engine, settings: Settings, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = put(engine, settings, clock, 1)
    spoil(engine, number, title="404 not found", text="Page not found")
    change(engine, number, word_count=3)
    if engine.dialect.name == "sqlite":
        (settings.data_dir / "backups").write_text("in the way")
    else:
        monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(backup.BackupError):
        clean(settings, engine, now=clock(), really=True)
    assert get(engine, number)["stage"] == 590


def test_only_the_last_copies_are_kept(plain_settings: Settings, clock: Clock) -> None:
    plain_settings.data_dir.mkdir()
    sqlite3.connect(plain_settings.data_dir / "atlas.db").close()
    made = []
    for _ in range(5):
        clock.advance(60)
        made.append(backup.back_up(plain_settings, clock()))
    assert sorted((plain_settings.data_dir / "backups").iterdir()) == made[-backup.KEPT :]


def test_cleaning_by_the_command(atlas: Any, engine: Engine, settings: Settings, clock: Clock) -> None:
    assert atlas("clean", "--yes").out == "There is nothing to clean.\n"
    number = put(engine, settings, clock, 1)
    spoil(engine, number, text="Nothing")
    change(engine, number, word_count=1)
    told = atlas("clean")
    assert "1  items that are no articles removed" in told.out
    assert "Nothing was changed." in told.out
    assert json.loads(atlas("clean", "--json").out)["done"] == {"junk": 1}
