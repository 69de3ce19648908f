"""Imports as they go through the database, on both engines."""

import datetime as dt
import io
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from conftest import Clock
from sqlalchemy.engine import Engine

from atlas import items, originals
from atlas.chores import CHORES
from atlas.database.engine import read
from atlas.database.tables import feeds, highlights, import_rows, item_tags, sightings, tags, transitions
from atlas.database.tables import imports as imports_table
from atlas.database.tables import items as items_table
from atlas.settings import Settings
from atlas.sources import imports
from atlas.sources.imports import work as working
from atlas.sources.imports.record import Record
from atlas.sources.imports.work import work
from atlas.urls import normalise

DATA = Path(__file__).parent / "data" / "imports"
APP = Path(__file__).resolve().parents[2] / "app"


class Importer:
    """Starts imports and does them, as a worker would."""

    def __init__(self, engine: Engine, settings: Settings, clock: Clock) -> None:
        self.engine, self.settings, self.clock = engine, settings, clock

    def start(self, raw: bytes | str, **options: Any) -> int:
        raw = (DATA / raw).read_bytes() if isinstance(raw, str) else raw
        started = imports.start(
            self.engine, self.settings, io.BytesIO(raw), name="file", now=self.clock(), **options
        )
        return int(started["id"])

    def work(self, **options: Any) -> bool:
        return work(self.engine, self.settings, self.clock, **options)

    def run(self, raw: bytes | str, **options: Any) -> dict[str, Any]:
        import_id = self.start(raw, **options)
        assert self.work(import_id=import_id)
        return self.get(import_id)

    def get(self, import_id: int) -> dict[str, Any]:
        with read(self.engine) as conn:
            found = imports.get(conn, import_id)
        assert found is not None
        return found

    def report(self, import_id: int, **options: Any) -> list[dict[str, Any]]:
        with read(self.engine) as conn:
            return imports.report(conn, import_id, limit=10_000, **options)

    def rows(self, table: sa.Table) -> list[Any]:
        with read(self.engine) as conn:
            return list(conn.execute(sa.select(table).order_by(*table.primary_key.columns)).all())

    def item(self, url: str) -> Any:
        key = normalise(url)[1]
        with read(self.engine) as conn:
            return conn.execute(
                sa.select(items_table).where(items_table.c.url_key == key, items_table.c.stage != 599)
            ).one()

    def tags_of(self, item_id: int) -> set[str]:
        query = sa.select(tags.c.name).join(item_tags).where(item_tags.c.item_id == item_id)
        with read(self.engine) as conn:
            return set(conn.execute(query).scalars())


@pytest.fixture
def importer(engine: Engine, settings: Settings, clock: Clock) -> Importer:
    return Importer(engine, settings, clock)


def links(count: int, start: int = 0) -> bytes:
    return "".join(f"https://h{n % 7}.example/{n}\n" for n in range(start, start + count)).encode()


def nonzero(found: dict[str, Any]) -> dict[str, int]:
    return {name: number for name, number in found["counts"].items() if number}


def test_bookmarks_come_in_and_wait_for_their_turn(importer: Importer) -> None:
    done = importer.run("firefox.html")
    assert (done["state"], done["format"], done["position"], done["total"]) == ("done", "netscape", 8, 8)
    assert nonzero(done) == {"added": 4, "duplicate": 1, "subscribed": 1, "refused": 2}
    one = importer.item("https://example.org/one?a=1&b=2")
    assert (one.stage, one.due_at, one.lane, one.source, one.import_id) == (20, None, 2, "import", done["id"])
    assert (one.title, one.note) == ("One & only", "A note about one,\nover two lines")
    assert one.added_at == dt.datetime(2023, 7, 22, 4, 26, 42, tzinfo=dt.UTC)
    assert importer.tags_of(one.id) == {"ships", "sea"}
    three = importer.item("https://example.org/three")
    assert three.read_at == importer.clock()
    assert importer.tags_of(three.id) == {"Cooking", "Soups"}
    report = importer.report(done["id"])
    assert [row["outcome"] for row in report] == [
        "added", "added", "refused", "added", "refused", "duplicate", "subscribed", "added",
    ]  # fmt: skip
    assert report[2]["message"] == "Line 18: A web address starts with http:// or https://."
    assert report[5]["item_id"] == one.id
    with importer.engine.begin() as conn:
        assert items.admit(conn, now=importer.clock(), room=10) == 4
    assert importer.item("https://example.org/two").stage == 110


def test_the_same_file_once_more_adds_nothing(importer: Importer) -> None:
    importer.run("firefox.html")
    tables = (items_table, feeds, sightings, item_tags, highlights, transitions)
    before = [importer.rows(table) for table in tables]
    importer.clock.advance(60)
    again = importer.run("firefox.html")
    assert nonzero(again) == {"duplicate": 5, "followed": 1, "refused": 2}
    assert [importer.rows(table) for table in tables] == before


def test_what_is_here_is_not_overwritten_but_learns(importer: Importer) -> None:
    url = "https://example.org/wb1"
    with importer.engine.begin() as conn:
        added = items.add(
            conn, url, now=importer.clock(), correlation_id="c", title="Mine", fields={"note": "My note"}
        )
        conn.execute(items_table.update().values(stage=590, due_at=None))
    before = importer.item(url)
    done = importer.run("wallabag.json")
    assert nonzero(done) == {"added": 1, "duplicate": 1}
    assert importer.item(url) == before
    assert importer.tags_of(added.id) == {"sea", "ships"}
    assert [(row.item_id, row.source, row.import_id) for row in importer.rows(sightings)] == [
        (added.id, "import", done["id"])
    ]
    assert [(row.quote, row.note) for row in importer.rows(highlights)] == [
        ("a dark and stormy night", "Famous")
    ]
    importer.run("wallabag.json")
    assert len(importer.rows(highlights)) == 1


def test_a_note_fills_an_empty_one(importer: Importer) -> None:
    with importer.engine.begin() as conn:
        items.add(conn, "https://example.org/i1", now=importer.clock(), correlation_id="c")
    importer.run("instapaper.csv")
    assert importer.item("https://example.org/i1").note == "What was selected"
    starred = importer.item("https://example.org/i3")
    assert starred.starred_at == dt.datetime(2020, 9, 13, 12, 26, 42, tzinfo=dt.UTC)
    assert importer.tags_of(importer.item("https://example.org/i4").id) == {"My Recipes"}


def test_content_that_came_along_needs_no_fetch(importer: Importer) -> None:
    importer.run("wallabag.json")
    item = importer.item("https://example.org/wb1")
    raw = originals.get(importer.settings.data_dir, item.original_sha256)
    assert b"dark and stormy" in raw
    assert item.original_type == "text/html; charset=utf-8"
    with importer.engine.begin() as conn:
        items.admit(conn, now=importer.clock(), room=10)
    assert importer.item("https://example.org/wb1").stage == 190
    assert importer.item("https://example.org/wb2").stage == 110


def test_content_revives_a_dead_letter(importer: Importer) -> None:
    with importer.engine.begin() as conn:
        added = items.add(conn, "https://example.org/wb1", now=importer.clock(), correlation_id="c")
        dead = items_table.update().where(items_table.c.id == added.id).values(stage=777, due_at=None)
        conn.execute(dead)
    importer.run(b"https://example.org/wb1\n")
    assert importer.item("https://example.org/wb1").stage == 777
    importer.run("wallabag.json")
    item = importer.item("https://example.org/wb1")
    assert (item.id, item.stage, item.original_sha256 is not None) == (added.id, 20, True)
    before = importer.rows(transitions)
    assert nonzero(importer.run("wallabag.json")) == {"duplicate": 2}
    assert importer.rows(transitions) == before


def test_content_helps_an_item_that_was_not_read_yet(importer: Importer) -> None:
    importer.run(b"https://example.org/wb1\n")
    done = importer.run("wallabag.json")
    assert nonzero(done) == {"added": 1, "duplicate": 1}
    assert importer.item("https://example.org/wb1").original_sha256


def test_a_text_becomes_a_note_once(importer: Importer) -> None:
    for expected in ({"added": 2, "refused": 1}, {"duplicate": 2, "refused": 1}):
        assert nonzero(importer.run("karakeep.json")) == expected
    (note,) = [row for row in importer.rows(items_table) if row.kind == "note"]
    assert note.url.startswith("atlas:note/")
    assert originals.get(importer.settings.data_dir, note.original_sha256) == b"Ships are *slow*."


def test_feeds_are_followed_in_their_folders(importer: Importer) -> None:
    done = importer.run("feeds.opml")
    assert nonzero(done) == {"subscribed": 4, "refused": 2}
    found = {row.url: row for row in importer.rows(feeds)}
    assert {url: row.folder for url, row in found.items()} == {
        "https://a.example/feed.xml": "Technik & Netz",
        "https://b.example/rss": "Deep",
        "https://c.example/atom": "Technik & Netz",
        "https://d.example/feed": None,
    }
    assert found["https://a.example/feed.xml"].title == "A feed"
    assert all(row.due_at == importer.clock() for row in found.values())


def test_a_dry_run_writes_no_item(importer: Importer) -> None:
    importer.run(b"https://example.org/two\n")
    count = len(importer.rows(items_table))
    done = importer.run("firefox.html", dry_run=True)
    assert nonzero(done) == {"added": 3, "duplicate": 2, "subscribed": 1, "refused": 2}
    assert len(importer.rows(items_table)) == count
    assert importer.rows(feeds) == []


def test_progress_is_kept_between_turns(importer: Importer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working, "RECORDS", 10)
    import_id = importer.start(links(35) + links(5))
    seen = []
    while importer.work(seconds=0):
        found = importer.get(import_id)
        seen.append((found["state"], found["position"], found["total"], found["counts"]["added"]))
    assert seen == [
        ("running", 10, 40, 10), ("running", 20, 40, 20), ("running", 30, 40, 30), ("running", 40, 40, 35),
        ("done", 40, 40, 35),
    ]  # fmt: skip
    assert len(importer.rows(items_table)) == 35


def test_a_dry_run_remembers_between_turns(importer: Importer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working, "RECORDS", 10)
    import_id = importer.start(links(20) + links(5), dry_run=True)
    while importer.work(seconds=0):
        pass
    assert nonzero(importer.get(import_id)) == {"added": 20, "duplicate": 5}


def test_one_bad_record_stops_no_other(importer: Importer, monkeypatch: pytest.MonkeyPatch) -> None:
    real = items.add_many

    def add_many(conn: Any, news: Any, *, now: dt.datetime) -> Any:
        if any(new.url.endswith("/7") for new in news):
            conn.execute(sa.text("INSERT INTO tags (name) VALUES (NULL)"))
        return real(conn, news, now=now)

    monkeypatch.setattr(items, "add_many", add_many)
    done = importer.run(links(20))
    assert nonzero(done) == {"added": 19, "refused": 1}
    (refused,) = importer.report(done["id"], outcome="refused")
    assert (refused["position"], refused["url"]) == (8, "https://h0.example/7")


def test_cancelling_ends_it_where_it_is(importer: Importer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working, "RECORDS", 10)
    import_id = importer.start(links(50))
    importer.work(seconds=0)
    with importer.engine.begin() as conn:
        assert imports.cancel(conn, import_id, now=importer.clock())
        assert not imports.cancel(conn, import_id, now=importer.clock())
    assert not importer.work()
    found = importer.get(import_id)
    assert (found["state"], found["position"], found["counts"]["added"]) == ("cancelled", 10, 10)


def test_cancelling_stops_whoever_is_at_it(importer: Importer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working, "RECORDS", 10)
    real = working.batches.prepare
    import_id = importer.start(links(50))

    def prepare(entry: Any) -> Any:
        if entry.url.endswith("/25"):
            with importer.engine.begin() as conn:
                imports.cancel(conn, import_id, now=importer.clock())
        return real(entry)

    monkeypatch.setattr(working.batches, "prepare", prepare)
    importer.work()
    found = importer.get(import_id)
    assert (found["state"], found["position"]) == ("cancelled", 20)
    assert len(importer.rows(items_table)) == 20


def test_a_lease_that_ran_out_is_taken_over(importer: Importer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working, "RECORDS", 10)
    import_id = importer.start(links(50))
    first = working._take(importer.engine, importer.settings, importer.clock, None)
    assert first is not None
    assert not importer.work()  # it is in good hands
    importer.clock.advance(importer.settings.lease_seconds + 1)
    assert importer.work()
    with pytest.raises(working._Lost):
        first.change(position=0)
    assert importer.get(import_id)["state"] == "done"
    assert len(importer.rows(items_table)) == 50


def test_a_file_that_kills_its_readers_is_given_up(importer: Importer) -> None:
    import_id = importer.start(links(5))
    for _ in range(working.MOST_DEATHS):
        assert working._take(importer.engine, importer.settings, importer.clock, None) is not None
        importer.clock.advance(importer.settings.lease_seconds + 1)
    importer.work()
    found = importer.get(import_id)
    assert (found["state"], found["error"]["code"]) == ("failed", "never_finished")


def test_a_file_that_breaks_off_fails_with_what_it_gave(importer: Importer) -> None:
    raw = b"<!DOCTYPE NETSCAPE-Bookmark-file-1><DT><A HREF='https://example.org/x'>X</A>"
    raw += b"<DT><A HREF='" + b"y" * 5_000_000
    done = importer.run(raw)
    assert done["state"] == "failed"
    assert "larger than 4 MB" in done["error"]["message"]


def test_a_file_whose_original_is_gone_fails(importer: Importer) -> None:
    import_id = importer.start(links(5))
    for path in importer.settings.data_dir.rglob("*.zst"):
        path.unlink()
    importer.work()
    assert importer.get(import_id)["error"]["code"] == "unreadable"


def test_a_reader_that_breaks_is_told(importer: Importer, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_badly(*_: object) -> Any:
        raise KeyError("x")
        yield Record()

    monkeypatch.setattr("atlas.sources.imports.links.read", read_badly)
    found = importer.run(links(5), form="links")
    assert (found["state"], found["error"]["code"]) == ("failed", "internal_error")
    assert "x" not in found["error"]["message"].split()


def test_an_unknown_format_is_refused(importer: Importer) -> None:
    with pytest.raises(imports.Unreadable, match="There is no format"):
        importer.start(links(1), form="delicious")


def test_the_chore_does_them_all(importer: Importer) -> None:
    ids = [importer.start(links(5)), importer.start("pocket.csv")]
    (chore,) = [chore for chore in CHORES if chore.name == "imports"]
    with read(importer.engine) as conn:
        assert chore.wanted is not None
        assert chore.wanted(conn, importer.clock())
    context: Any = importer  # has the three parts it looks at
    chore.run(context)
    assert [importer.get(one)["state"] for one in ids] == ["done", "done"]
    with read(importer.engine) as conn:
        assert not chore.wanted(conn, importer.clock())


def test_two_at_once_write_nothing_twice(importer: Importer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working, "RECORDS", 7)
    for start in (0, 0, 50):
        importer.start(links(100, start))
    threads = [threading.Thread(target=lambda: [importer.work() for _ in range(3)]) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {importer.get(one)["state"] for one in (1, 2, 3)} == {"done"}
    urls = [row.url for row in importer.rows(items_table) if row.stage != 599]
    assert sorted(urls) == sorted(set(urls))
    assert len(urls) == 150


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on(importer: Importer) -> None:
    total = 6000
    import_id = importer.start(links(total))
    script = (
        "import sys; from atlas.settings import Settings; from atlas.database.engine import make_engine;"
        "from atlas.sources.imports import work as w; from atlas.worker import utc_now; w.RECORDS = 20;"
        "s = Settings(_env_file=None, data_dir=sys.argv[1], database_url=sys.argv[2], lease_seconds=3);"
        "w.work(make_engine(s), s, utc_now, seconds=60)"
    )
    command = [sys.executable, "-c", script, str(importer.settings.data_dir), importer.settings.database_url]
    positions = [0]
    for _ in range(4):
        child = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(APP)})
        for _ in range(600):
            time.sleep(0.02)
            if child.poll() is not None or importer.get(import_id)["position"] > positions[-1] + 200:
                break
        child.send_signal(signal.SIGKILL)
        child.wait()
        positions.append(importer.get(import_id)["position"])
        with importer.engine.begin() as conn:  # as if the lease had run out
            conn.execute(imports_table.update().values(due_at=dt.datetime(2020, 1, 1, tzinfo=dt.UTC)))
    assert positions == sorted(positions)
    assert 0 < positions[1] < total
    importer.work(import_id=import_id)
    found = importer.get(import_id)
    assert (found["state"], found["position"], nonzero(found)) == ("done", total, {"added": total})
    assert len(importer.rows(items_table)) == total
    assert [row.position for row in importer.rows(import_rows)] == [*range(1, total + 1)]


def test_the_files_in_an_archive_are_read_where_they_are(importer: Importer) -> None:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as archive:
        archive.writestr("../../outside.html", (DATA / "saved.html").read_bytes())
        archive.writestr("list.txt", b"https://example.org/in-archive\n")
    done = importer.run(raw.getvalue())
    assert (done["format"], nonzero(done)) == ("folder", {"added": 2})
    assert importer.item("https://example.org/saved-page").original_sha256
    assert not list(importer.settings.data_dir.parent.rglob("outside*"))


def test_many_rows_at_once_hold_what_few_hold(engine: Engine, clock: Clock) -> None:
    fields = {
        "media": {"a": [1, None, "x\x00"]},
        "published_at": dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=14))),
        "note": "half a pair \ud800, \x00 and “quotes”",
    }
    with engine.begin() as conn:
        for first, count in ((0, 1), (1, items.FEW + 5)):
            news = [
                items.New(f"https://example.org/{n}", "c", title="T", fields=fields)
                for n in range(first, first + count)
            ]
            added = items.add_many(conn, news, now=clock())
            assert all(isinstance(one, items.Added) and one.duplicate_of is None for one in added)
        columns = [column for column in items_table.c if column.name not in {"id", "url", "url_key"}]
        rows = conn.execute(sa.select(*columns)).all()
    assert len(rows) == items.FEW + 6
    assert all(row == rows[0] for row in rows)
    assert rows[0].media == {"a": [1, None, "x\ufffd"]}
