"""Dead letters: what failed, why, and the ways out of there."""

import io
import json
from typing import Any

import pytest
import sqlalchemy as sa
import visitor
from conftest import Clock
from sqlalchemy import Engine
from starlette.testclient import TestClient

from atlas import dead_letters, items, originals
from atlas.__main__ import main
from atlas.database.engine import read
from atlas.database.tables import contents
from atlas.database.tables import items as table
from atlas.items import ItemError, Lane, Leased, Step
from atlas.settings import Settings
from atlas.stages.table import Stage

DAY = 86_400


def add(engine: Engine, clock: Clock, url: str, **fields: Any) -> int:
    with engine.begin() as conn:
        return items.add(conn, url, now=clock.now, correlation_id="first", **fields).id


def held(conn: sa.Connection, item_id: int) -> Leased:
    conn.execute(table.update().where(table.c.id == item_id).values(lease="t"))
    found = conn.execute(sa.select(table).where(table.c.id == item_id)).one()
    return Leased(**{name: getattr(found, name) for name in Leased.__slots__})


def fail(engine: Engine, clock: Clock, item_id: int, code: str = "http_404") -> int:
    with engine.begin() as conn:
        error = ItemError(code, "The page does not exist (any more).", Stage.FETCH_ATTEMPTING)
        assert items.fail(conn, held(conn, item_id), error, now=clock.now)
    return item_id


def dead(engine: Engine, clock: Clock, url: str, code: str = "http_404", **fields: Any) -> int:
    return fail(engine, clock, add(engine, clock, url, **fields), code)


def complete(engine: Engine, clock: Clock, item_id: int) -> None:
    with engine.begin() as conn:
        assert items.advance(
            conn, held(conn, item_id), [Step(Stage.COMPLETE, "Done")], now=clock.now, due=None
        )
        items.write_content(conn, item_id, title="T", text="mine", html="<p>mine</p>")


def row(engine: Engine, item_id: int) -> Any:
    with read(engine) as conn:
        return conn.execute(sa.select(table).where(table.c.id == item_id)).one()


def revive(engine: Engine, clock: Clock, days: int = 7) -> int:
    with engine.begin() as conn:
        return dead_letters.revive_some(conn, now=clock.now, days=days)


@pytest.fixture
def client(settings: Settings, clock: Clock) -> Any:
    with visitor.visiting(settings, clock) as client:
        visitor.use_token(client)
        yield client


def listed(client: TestClient, query: str = "") -> list[int]:
    return [one["id"] for one in client.get(f"/api/dead-letters{query}").json()["items"]]


def test_the_list_says_what_failed_why_and_what_happened(client: TestClient, clock: Clock) -> None:
    engine = visitor.engine_of(client)
    alive = add(engine, clock, "https://a.example/alive")
    found = [dead(engine, clock, f"https://a.example/{n}") for n in range(5)]
    pdf = dead(engine, clock, "https://a.example/pdf", "not_html")
    answer = client.get("/api/dead-letters?limit=4").json()
    assert answer["reasons"] == {"http_404": 5, "not_html": 1}
    assert [one["id"] for one in answer["items"]] == [pdf, *reversed(found[2:])]
    assert listed(client, f"?limit=4&cursor={answer['next']}") == [found[1], found[0]]
    first = answer["items"][1]
    assert first["error"]["message"] == "The page does not exist (any more)."
    assert [(step["stage"], step["correlation_id"]) for step in first["history"]] == [
        (110, "first"),
        (777, "first"),
    ]
    assert (first["final"], answer["items"][0]["final"]) == (False, True)
    assert listed(client, "?code=not_html") == [pdf]
    assert alive not in listed(client, "?ignored=any&limit=200")


def test_one_is_tried_again_at_once(client: TestClient, clock: Clock) -> None:
    engine = visitor.engine_of(client)
    item_id = dead(engine, clock, "https://a.example/", lane=Lane.IMPORT)
    answer = client.post(f"/api/dead-letters/{item_id}/retry", headers={"X-Request-ID": "by-hand-1"})
    assert answer.json() == {"ok": True}
    found = row(engine, item_id)
    assert (found.stage, found.due_at, found.lane, found.error, found.attempts) == (
        110,
        clock.now,
        Lane.NOW,
        None,
        0,
    )
    with read(engine) as conn:
        last = items.history(conn, item_id)[-1]
    assert (last["reason"], last["correlation_id"]) == ("Tried again by hand", "by-hand-1")
    for path in (f"{item_id}/retry", "99999/ignore", f"{2**63 - 1}/retry"):
        assert client.post(f"/api/dead-letters/{path}").status_code == 404


def test_all_of_one_reason_are_tried_again_but_not_what_was_set_aside(
    client: TestClient, clock: Clock
) -> None:
    engine = visitor.engine_of(client)
    for number in range(130):
        dead(engine, clock, f"https://a.example/{number}", "timeout")
    other = dead(engine, clock, "https://b.example/")
    aside = dead(engine, clock, "https://c.example/", "timeout")
    client.post(f"/api/dead-letters/{aside}/ignore")
    assert client.post("/api/dead-letters/retry?code=timeout").json() == {"retried": 130}
    assert client.post("/api/dead-letters/retry?code=timeout").json() == {"retried": 0}
    assert listed(client, "?ignored=any") == [aside, other]


def test_what_is_set_aside_is_out_of_the_way_and_can_come_back(client: TestClient, clock: Clock) -> None:
    engine = visitor.engine_of(client)
    item_id = dead(engine, clock, "https://a.example/")
    assert client.post(f"/api/dead-letters/{item_id}/ignore").json() == {"ok": True}
    assert (listed(client), listed(client, "?ignored=yes")) == ([], [item_id])
    clock.advance(DAY)
    assert revive(engine, clock) == 0
    client.post(f"/api/dead-letters/{item_id}/unignore")
    assert (listed(client), listed(client, "?ignored=yes")) == ([item_id], [])
    assert revive(engine, clock) == 1


def test_content_is_handed_in_as_text_or_html(client: TestClient, clock: Clock, settings: Settings) -> None:
    engine = visitor.engine_of(client)
    for given, words in (
        ({"text": "One <b>\n\nTwo"}, b"<p>One &lt;b&gt;</p>"),
        ({"html": "<p>Hand made"}, b"<p>Hand made"),
    ):
        item_id = dead(engine, clock, f"https://a.example/{words!r}")
        assert client.post(f"/api/dead-letters/{item_id}/content", json=given).json() == {"ok": True}
        found = row(engine, item_id)
        assert (found.stage, found.error, found.due_at) == (Stage.ACQUISITION_COMPLETE, None, clock.now)
        assert words in originals.get(settings.data_dir, found.original_sha256)
    long = dead(engine, clock, "https://a.example/long")
    given = {"html": "<p>" + "word " * 400_000}
    assert client.post(f"/api/dead-letters/{long}/content", json=given).status_code == 200
    for wrong in ({}, {"text": " "}, {"text": "a", "html": "b"}):
        assert client.post(f"/api/dead-letters/{item_id}/content", json=wrong).status_code == 422


def test_content_goes_to_what_waits_and_never_over_what_can_be_read(client: TestClient, clock: Clock) -> None:
    engine = visitor.engine_of(client)
    waiting = add(engine, clock, "https://a.example/waits")
    assert client.post(f"/api/dead-letters/{waiting}/content", json={"text": "Given."}).status_code == 200
    done = add(engine, clock, "https://a.example/done")
    complete(engine, clock, done)
    again = fail(engine, clock, done, "internal_error")  # it was read anew, and that failed
    for item_id in (done, again, 12345):
        answer = client.post(f"/api/dead-letters/{item_id}/content", json={"text": "Other."})
        assert answer.status_code == 409
    with read(engine) as conn:
        assert conn.execute(sa.select(contents.c.text).where(contents.c.item_id == done)).scalar() == "mine"


def test_a_failed_item_is_tried_again_daily_for_so_many_days(engine: Engine, clock: Clock) -> None:
    item_id = dead(engine, clock, "https://a.example/", "timeout", lane=Lane.NOW)
    days = 0
    for _ in range(200):
        clock.advance(DAY / 10)
        if revive(engine, clock, days=3):
            days += 1
            assert row(engine, item_id).lane == Lane.IMPORT, "nobody waits for it"
            fail(engine, clock, item_id, "timeout")
    assert days == 3
    with read(engine) as conn:
        told = [step["reason"] for step in items.history(conn, item_id) if step["stage"] == 110]
    assert told == ["Added", *(f"Tried again by itself, day {day} of 3" for day in (1, 2, 3))]
    with engine.begin() as conn:
        dead_letters.retry(conn, item_id, now=clock.now, correlation_id="hand")
    fail(engine, clock, item_id, "timeout")
    clock.advance(DAY)
    assert revive(engine, clock, days=3) == 1, "a person's try begins the count anew"


@pytest.mark.parametrize("code", sorted(dead_letters.FINAL))
def test_what_cannot_change_is_left_to_a_person(engine: Engine, clock: Clock, code: str) -> None:
    dead(engine, clock, "https://a.example/", code)
    clock.advance(30 * DAY)
    assert revive(engine, clock) == 0


def test_what_was_fetched_and_broke_in_reading_is_not_fetched_again(engine: Engine, clock: Clock) -> None:
    kept = {"original_sha256": "ab" * 32}
    broke = dead(engine, clock, "https://a.example/", "internal_error", fields=kept)
    wall = dead(engine, clock, "https://b.example/", "login_wall", fields=kept)
    note = dead(engine, clock, "atlas:note/1", "empty_page", fields=kept, internal=True)
    clock.advance(DAY)
    assert revive(engine, clock) == 3
    assert [row(engine, one).stage for one in (broke, wall, note)] == [190, 110, 190]


def test_the_command_line_lists_and_decides(settings: Settings, clock: Clock, monkeypatch, capsys) -> None:
    monkeypatch.setenv("ATLAS_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("ATLAS_DATABASE_URL", settings.database_url)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    from atlas.database.engine import make_engine

    engine = make_engine(settings)
    found = [dead(engine, clock, f"https://a.example/{n}", "timeout") for n in range(3)]
    assert main(["dead", "list"]) == 0
    assert f"{found[0]}  https://a.example/0" in capsys.readouterr().out
    assert main(["dead", "ignore", str(found[0])]) == 0
    assert main(["dead", "retry", str(found[1])]) == 0
    capsys.readouterr()
    assert main(["dead", "list", "--json"]) == 0
    assert [one["id"] for one in json.loads(capsys.readouterr().out)["items"]] == [found[2]]
    assert main(["dead", "retry", "--code", "timeout"]) == 0
    assert main(["dead", "ignore", "--undo", str(found[0])]) == 0
    assert main(["dead", "retry", "999"]) == 1
    assert "No dead letter: 999" in capsys.readouterr().err
    assert [row(engine, one).stage for one in found] == [777, 110, 110]
    engine.dispose()
