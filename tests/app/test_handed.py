"""Notes, files and captured pages: from the API to the library, on both databases."""

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
import visitor
from conftest import Clock
from documents import pdf
from reading_hand import read_all
from sqlalchemy.engine import Engine
from starlette.testclient import TestClient

from atlas import deleting, items, originals
from atlas.database.engine import read
from atlas.database.tables import feed_entries, feeds
from atlas.database.tables import items as items_table
from atlas.search import search
from atlas.settings import Settings
from atlas.sources import handed

PROSE = "The tide came in while nobody looked, and took the picnic with it. "
PAGE = f"<html><head><title>Tides</title></head><body><article><h1>Tides</h1><p>{PROSE * 20}</p></article>"


@pytest.fixture
def client(settings: Settings, clock: Clock) -> Iterator[TestClient]:
    with visitor.visiting(settings, clock) as client:
        visitor.use_token(client)
        yield client


@pytest.fixture
def work(settings: Settings, engine: Engine, clock: Clock) -> Callable[[], list[str]]:
    return lambda: read_all(settings, engine, clock)


def item(client: TestClient, item_id: int) -> dict[str, Any]:
    answer = client.get(f"/api/items/{item_id}")
    assert answer.status_code == 200
    return dict(answer.json())


def found(engine: Engine, words: str) -> list[int]:
    with read(engine) as conn:
        return [hit.id for hit in search(conn, words)[1]]


# Notes


def test_a_note_is_kept_read_and_found(client: TestClient, engine: Engine, work: Any) -> None:
    note = "# Shop\n\nBuy *oats* <script>alert(1)</script> <b onclick=x>m</b>.\n\n<a href=javascript:x>a</a>"
    added = client.post("/api/notes", json={"text": note, "tags": ["Home"]})
    assert (added.status_code, added.json()["stage"]) == (202, 190)
    number = added.json()["id"]
    assert work() == ["complete"]
    shown = item(client, number)
    assert (shown["kind"], shown["title"], shown["stage"]) == ("note", "Shop", 590)
    assert "<em>oats</em>" in shown["html"]
    for poison in ("script", "onclick", "alert", "Shop"):
        assert poison not in shown["html"]
    assert found(engine, "oats") == [number]
    assert client.get(f"/api/notes/{number}").json() == {
        "id": number,
        "title": "Shop",
        "text": note,
        "versions": [],
    }


@pytest.mark.parametrize("text", ["!", "ok", "# Only a heading", "x" * 300, "---\ntitle: Said\n---\nBody"])
def test_a_note_may_be_as_short_as_it_likes(client: TestClient, work: Any, text: str) -> None:
    number = client.post("/api/notes", json={"text": text}).json()["id"]
    assert work() == ["complete"]
    assert item(client, number)["title"]


def test_a_note_that_is_changed_keeps_what_it_said(
    client: TestClient, engine: Engine, work: Any, clock: Clock
) -> None:
    number = client.post("/api/notes", json={"text": "First thoughts", "title": "Mine"}).json()["id"]
    work()
    clock.advance(60)
    assert client.put(f"/api/notes/{number}", json={"text": "# Second\n\nthoughts"}).status_code == 202
    assert item(client, number)["text"] == "First thoughts"  # until the new one was read
    work()
    shown = item(client, number)
    assert (shown["title"], shown["text"]) == ("Mine", "thoughts")
    note = client.get(f"/api/notes/{number}").json()
    assert note["text"] == "# Second\n\nthoughts"
    (before,) = note["versions"]
    assert (before["title"], before["at"]) == ("Mine", clock.now.isoformat().replace("+00:00", "Z"))
    old = client.get(f"/api/notes/{number}/versions/{before['id']}").json()
    assert old == {"text": "First thoughts"}
    assert (found(engine, "first"), found(engine, "second")) == ([], [])
    client.put(f"/api/notes/{number}", json={"text": "# Second\n\nthoughts", "title": ""})
    work()
    assert item(client, number)["title"] == "Second"
    assert len(client.get(f"/api/notes/{number}").json()["versions"]) == 1  # the same text is no new version


def test_two_notes_may_say_the_same(client: TestClient, work: Any) -> None:
    for _ in range(2):
        client.post("/api/notes", json={"text": PROSE * 10})
    assert work() == ["complete", "complete"]


def test_only_notes_can_be_changed(client: TestClient) -> None:
    number = visitor.put_article(client)
    for answer in (
        client.put(f"/api/notes/{number}", json={"text": "mine"}),
        client.get(f"/api/notes/{number}"),
        client.get("/api/notes/999"),
        client.get(f"/api/notes/{number}/versions/1"),
    ):
        assert answer.status_code == 404
    assert client.post("/api/notes", json={"text": " \n"}).status_code == 422


# Files


@pytest.mark.parametrize(
    ("name", "raw", "title"),
    [
        ("notes.md", f"# A walk\n\n{PROSE}".encode(), "A walk"),
        ("walk.txt", b"Short", "walk.txt"),
        ("walk.html", PAGE.encode(), "Tides"),
        ("short.html", b"<p>One line</p>", "short.html"),
        ("walk.pdf", pdf([[PROSE] * 3], title="Walking", author="A. Walker"), "Walking"),
        ("walk.pdf", pdf([[PROSE] * 3], title="Microsoft Word - walk.doc"), "walk.pdf"),
        ("latin.txt", "Frühstück für alle".encode("cp1252"), "latin.txt"),
    ],
)
def test_a_file_is_kept_and_read(client: TestClient, work: Any, name: str, raw: bytes, title: str) -> None:
    added = client.post("/api/files", params={"name": name}, content=raw)
    assert (added.status_code, added.json()["stage"]) == (202, 190)
    assert work() == ["complete"]
    shown = item(client, added.json()["id"])
    assert (shown["kind"], shown["title"]) == ("file", title)
    original = client.get(f"/api/items/{shown['id']}/original")
    assert original.content == raw
    assert original.headers["content-disposition"].startswith("attachment")
    again = client.post("/api/files", params={"name": f"other-{name}"}, content=raw).json()
    assert (again["stage"], again["duplicate_of"]) == (599, shown["id"])


@pytest.mark.parametrize(
    ("name", "raw", "code"),
    [
        ("scan.pdf", pdf([[], []]), "only_pictures"),
        ("secret.pdf", pdf([[PROSE]], password="hush"), "protected"),
        ("broken.pdf", b"%PDF-1.7\n1 0 obj << /Type", "damaged"),
        ("half.pdf", pdf([[PROSE] * 9])[:300], "damaged"),
    ],
)
def test_a_file_without_text_says_why(
    client: TestClient, work: Any, name: str, raw: bytes, code: str
) -> None:
    number = client.post("/api/files", params={"name": name}, content=raw).json()["id"]
    assert work() == ["failed"]
    assert item(client, number)["error"]["code"] == code


@pytest.mark.parametrize(
    ("name", "raw"),
    [("a.png", b"\x89PNG"), ("a.pdf", b"hello"), ("a.txt", b" "), ("a.txt", b"a\0b"), ("a", b"x")],
)
def test_what_no_reader_takes_is_refused(client: TestClient, name: str, raw: bytes) -> None:
    answer = client.post("/api/files", params={"name": name}, content=raw)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "not_readable")
    assert visitor.count_rows(client, items_table) == 0


def test_a_large_file_is_taken_and_one_too_large_is_not(client: TestClient, settings: Settings) -> None:
    large = b"x " * 750_000
    assert client.post("/api/files", params={"name": "a.txt"}, content=large).status_code == 202
    beyond = b"x" * (settings.upload_max_bytes + 1)
    assert client.post("/api/files", params={"name": "a.txt"}, content=beyond).status_code == 413
    assert client.post("/api/items", content=large).status_code == 413


def test_files_wait_their_turn_like_all_else(settings: Settings, clock: Clock) -> None:
    with visitor.visiting(settings, clock, max_queue_size=1) as client:
        visitor.use_token(client)
        assert client.post("/api/files", params={"name": "a.txt"}, content=b"one").status_code == 202
        full = client.post("/api/files", params={"name": "b.txt"}, content=b"two")
        assert (full.status_code, full.headers["retry-after"]) == (429, "30")


# Pages as the browser shows them


def test_a_captured_page_becomes_the_article(client: TestClient, work: Any) -> None:
    body = {"url": "https://example.org/members?id=1", "html": PAGE, "tags": ["sea"]}
    number = client.post("/api/capture", json=body).json()["id"]
    assert work() == ["complete"]
    shown = item(client, number)
    assert (shown["kind"], shown["title"], shown["url"]) == ("article", "Tides", body["url"])
    other = client.post("/api/capture", json={**body, "html": PAGE.replace("tide", "flood")}).json()
    assert (other["stage"], other["duplicate_of"]) == (599, number)
    again = item(client, number)
    assert [seen["source"] for seen in again.pop("also_seen_in")] == ["api"]
    assert shown.pop("also_seen_in") == []
    assert again == shown


def test_a_captured_page_helps_one_that_failed_and_one_that_waits(
    client: TestClient, engine: Engine, work: Any, clock: Clock
) -> None:
    failed = visitor.put_failed(client, "https://example.org/wall")
    waits = client.post("/api/items", json={"url": "https://example.org/waits"}).json()["id"]
    leased = items.lease(engine, worker="w", now=clock(), lease_seconds=30, host_delay_seconds=0)
    assert leased is not None
    for url, number in (("https://example.org/wall", failed), ("https://example.org/waits", waits)):
        html = PAGE.replace("picnic", url[-4:])
        added = client.post("/api/capture", json={"url": url, "html": html}).json()
        assert (added["id"], added["stage"]) == (number, 190)
    assert work() == ["complete", "complete"]
    with engine.begin() as conn:  # who was fetching it comes too late
        assert not items.advance(conn, leased, [], now=clock(), due=None, fields={"title": "Wall"})
    assert item(client, waits)["title"] == "Tides"
    with read(engine) as conn:
        reasons = [step["reason"] for step in items.history(conn, waits)]
    assert reasons[:2] == ["Added", "Its content was handed in"]


def test_a_captured_wall_is_refused_like_any_other(client: TestClient, work: Any) -> None:
    html = "<title>Log in</title><form>Please log in <input type=password></form>"
    number = client.post("/api/capture", json={"url": "https://example.org/x", "html": html}).json()["id"]
    assert work() == ["failed"]
    assert item(client, number)["error"]["code"] == "login_wall"


@pytest.mark.parametrize(
    "part",
    [
        {"text": "Only <this>.\n\nAnd that."},
        {"selection": "Only <b>&lt;this&gt;.</b><p>And that.<script>x</script>"},
    ],
)
def test_selected_text_becomes_a_note_beside_the_page(
    client: TestClient, work: Any, part: dict[str, str]
) -> None:
    body = {"url": "https://example.org/a", "title": "The page", **part}
    number = client.post("/api/capture", json=body).json()["id"]
    assert client.post("/api/capture", json=body).json()["id"] == number  # it waits still
    whole = client.post("/api/capture", json={"url": body["url"], "html": PAGE}).json()
    assert whole["stage"] == 190
    assert work() == ["complete", "complete"]
    shown = item(client, number)
    assert (shown["kind"], shown["title"], shown["final_url"]) == ("note", "The page", body["url"])
    assert shown["text"].startswith("Only <this>.")
    assert 'href="https://example.org/a"' in shown["html"]
    assert "script" not in shown["html"]


@pytest.mark.parametrize("part", [{}, {"html": PAGE, "text": "x"}, {"html": " "}])
def test_a_capture_needs_one_content(client: TestClient, part: dict[str, str]) -> None:
    assert client.post("/api/capture", json={"url": "https://example.org/a", **part}).status_code == 422
    answer = client.post("/api/capture", json={"url": "file:///etc/passwd", "html": PAGE})
    assert answer.json()["error"]["code"] == "invalid_url"


# Deleting


def test_what_is_removed_goes_with_all_its_duplicates(
    engine: Engine, settings: Settings, clock: Clock
) -> None:
    text = f"<p>{PROSE * 20}</p>"
    with engine.begin() as conn:
        feed = conn.execute(
            feeds.insert()
            .values(url="u", url_key="u", interval_seconds=60, due_at=clock(), added_at=clock())
            .returning(feeds.c.id)
        ).scalar_one()
        ids = []
        for url in ("https://e.org/1", "https://e.org/2", "https://e.org/2", "https://e.org/3"):
            new = handed.page(settings.data_dir, url, text, correlation_id="c")
            (added,) = items.add_many(conn, [new], now=clock())
            assert isinstance(added, items.Added)
            ids.append(added.id)
        conn.execute(
            feed_entries.insert().values(feed_id=feed, guid_sha256="a" * 64, item_id=ids[0], seen_at=clock())
        )
    assert read_all(settings, engine, clock) == ["complete", "duplicate", "duplicate"]
    with read(engine) as conn:  # also what was a duplicate of a duplicate
        pointing = sa.select(items_table.c.duplicate_of).where(items_table.c.id.in_(ids[1:]))
        assert set(conn.execute(pointing).scalars()) == {ids[0]}
        assert search(conn, "picnic")[0] == 1
        kept = items.get(conn, ids[0])
    assert kept is not None
    with engine.begin() as conn:
        assert deleting.remove(conn, ids[0])
        assert not deleting.remove(conn, ids[0])
        assert not deleting.remove(conn, 2**70)
    with read(engine) as conn:
        assert [items.get(conn, number) for number in ids] == [None] * 4
        assert search(conn, "picnic")[0] == 0
        entry = conn.execute(sa.select(feed_entries)).one()
    assert (entry.guid_sha256, entry.item_id) == ("a" * 64, None)
    assert originals.get(settings.data_dir, kept["original_sha256"])


def test_removing_a_duplicate_leaves_the_original(engine: Engine, clock: Clock) -> None:
    with engine.begin() as conn:
        first = items.add(conn, "https://e.org/1", now=clock(), correlation_id="c")
        second = items.add(conn, "https://e.org/1", now=clock(), correlation_id="c")
        assert deleting.remove_all(conn, [second.id]) == 1
        assert items.get(conn, first.id) is not None


def test_a_title_that_a_person_gave_stays(engine: Engine, settings: Settings, clock: Clock) -> None:
    with engine.begin() as conn:
        new = handed.page(settings.data_dir, "https://e.org/1", PAGE, correlation_id="c", title="As it came")
        (added,) = items.add_many(conn, [new], now=clock())
        assert isinstance(added, items.Added)
        mine = items_table.update().where(items_table.c.id == added.id)
        conn.execute(mine.values(title="Mine", titled_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC)))
    read_all(settings, engine, clock)
    with read(engine) as conn:
        kept = items.get(conn, added.id)
        assert kept is not None
        assert (kept["title"], search(conn, "mine")[0]) == ("Mine", 1)
