"""A full queue: what is refused, what waits, what goes first, and what shuts nobody out."""

import datetime as dt
import threading
from typing import Any

import sqlalchemy as sa
import visitor
from conftest import Clock
from sqlalchemy import Engine

from atlas import items
from atlas.database.engine import read
from atlas.database.tables import items as table
from atlas.items import Added, Lane, New
from atlas.settings import Settings
from atlas.stages.table import Stage

SHA = "ab" * 32


def add(engine: Engine, clock: Clock, *urls: str, **fields: Any) -> list[Added]:
    with engine.begin() as conn:
        found = items.add_many(conn, [New(url, "test", **fields) for url in urls], now=clock.now)
    assert all(isinstance(one, Added) for one in found)
    return found


def many(host: str, count: int) -> list[str]:
    return [f"https://{host}/{number}" for number in range(count)]


def size(engine: Engine, clock: Clock) -> int:
    with read(engine) as conn:
        return items.queue_size(conn, clock.now)


def stages(engine: Engine) -> dict[int, int]:
    with read(engine) as conn:
        return items.counts(conn)


def row(engine: Engine, item_id: int) -> Any:
    with read(engine) as conn:
        return conn.execute(sa.select(table).where(table.c.id == item_id)).one()


def rest(engine: Engine, clock: Clock, host: str, seconds: float) -> None:
    with engine.begin() as conn:
        items.postpone_host(conn, host, until=clock.now + dt.timedelta(seconds=seconds))


def take(engine: Engine, clock: Clock) -> Any:
    return items.lease(engine, worker="w", now=clock.now, lease_seconds=30, host_delay_seconds=0)


def test_a_full_queue_is_said_and_ends(settings: Settings, clock: Clock) -> None:
    with visitor.visiting(settings, clock, max_queue_size=3) as client:
        visitor.use_token(client)
        engine = visitor.engine_of(client)
        assert client.get("/ready").status_code == 200
        add(engine, clock, *many("example.org", 3))
        answer = client.get("/ready")
        assert (answer.status_code, answer.json()["reason"]) == (503, "queue_full")
        assert answer.headers["retry-after"] == "30"
        assert "3 items wait" in answer.json()["message"]
        assert client.get("/ready?queue=any").status_code == 200, "it can serve, and needs no restart"
        assert client.post("/api/items", json={"url": "https://example.net/"}).status_code == 429
        assert take(engine, clock) is not None
        assert client.get("/ready").status_code == 200


def test_links_of_a_resting_host_shut_nobody_out(settings: Settings, clock: Clock) -> None:
    with visitor.visiting(settings, clock, max_queue_size=10) as client:
        visitor.use_token(client)
        engine = visitor.engine_of(client)
        add(engine, clock, *many("resting.example", 50))
        rest(engine, clock, "resting.example", 3600)
        assert size(engine, clock) == 0
        assert client.post("/api/items", json={"url": "https://other.example/"}).status_code == 202
        assert take(engine, clock).host == "other.example"


def test_after_a_rest_its_items_come_due_one_by_one(engine: Engine, clock: Clock) -> None:
    add(engine, clock, *many("resting.example", 50))
    add(engine, clock, "https://resting.example/content", fields={"original_sha256": SHA})
    rest(engine, clock, "resting.example", 3600)
    assert items.put_off_resting(engine, now=clock.now, delay_seconds=2) == 50
    assert items.put_off_resting(engine, now=clock.now, delay_seconds=2) == 0
    held = take(engine, clock)
    assert held.stage == Stage.ACQUISITION_COMPLETE, "what needs no host does not wait for it"
    with engine.begin() as conn:
        assert items.advance(conn, held, [items.Step(Stage.COMPLETE, "Done")], now=clock.now, due=None)
    clock.advance(3599)
    assert (size(engine, clock), take(engine, clock)) == (0, None)
    clock.advance(1)
    assert size(engine, clock) == 1
    clock.advance(20)
    assert size(engine, clock) == 11


def test_a_short_pause_between_two_fetches_is_no_rest(engine: Engine, clock: Clock) -> None:
    add(engine, clock, *many("example.org", 5))
    rest(engine, clock, "example.org", 5)
    assert size(engine, clock) == 5
    assert items.put_off_resting(engine, now=clock.now, delay_seconds=2) == 0


def test_imports_wait_and_trickle_in_and_leave_room(engine: Engine, clock: Clock) -> None:
    add(engine, clock, *many("imported.example", 40), source="import", lane=Lane.IMPORT, waits=True)
    assert stages(engine) == {Stage.BATCH_RECEIVED: 40}
    assert size(engine, clock) == 0
    assert items.top_up(engine, now=clock.now, max_queue_size=20) == 10
    assert items.top_up(engine, now=clock.now, max_queue_size=20) == 0, "half the queue is for others"
    assert size(engine, clock) == 10
    first = take(engine, clock)
    assert (first.lane, first.url) == (Lane.IMPORT, "https://imported.example/0")
    assert items.top_up(engine, now=clock.now, max_queue_size=20) == 1
    with read(engine) as conn:
        told = items.history(conn, first.id)
    assert [(step["stage"], step["reason"]) for step in told] == [
        (20, "Added"),
        (110, "Its turn in the import"),
    ]


def test_two_workers_admit_each_item_once(engine: Engine, clock: Clock) -> None:
    add(engine, clock, *many("imported.example", 300), lane=Lane.IMPORT, waits=True)
    together, admitted = threading.Barrier(2), []

    def admit() -> None:
        together.wait()
        admitted.append(items.top_up(engine, now=clock.now, max_queue_size=1000))

    threads = [threading.Thread(target=admit) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(admitted) == size(engine, clock) <= 300


def test_lanes_go_in_order(engine: Engine, clock: Clock) -> None:
    add(engine, clock, "https://a.example/import", lane=Lane.IMPORT)
    add(engine, clock, "https://b.example/feed", lane=Lane.NORMAL)
    add(engine, clock, "https://c.example/mine", lane=Lane.NOW)
    assert [take(engine, clock).lane for _ in range(3)] == [Lane.NOW, Lane.NORMAL, Lane.IMPORT]


def test_what_someone_asks_for_now_no_longer_waits_for_its_import(engine: Engine, clock: Clock) -> None:
    (waiting,) = add(engine, clock, "https://a.example/", lane=Lane.IMPORT, waits=True)
    (queued,) = add(engine, clock, "https://b.example/", lane=Lane.IMPORT)
    again = add(engine, clock, "https://a.example/", "https://b.example/", lane=Lane.NOW)
    assert [one.duplicate_of for one in again] == [waiting.id, queued.id]
    assert (row(engine, waiting.id).stage, row(engine, waiting.id).lane) == (110, Lane.NOW)
    assert row(engine, queued.id).lane == Lane.NOW
    add(engine, clock, "https://a.example/", lane=Lane.IMPORT, waits=True)
    assert (row(engine, waiting.id).stage, row(engine, waiting.id).lane) == (110, Lane.NOW)


def test_content_handed_in_is_used_by_an_item_that_has_none_and_never_overwrites(
    engine: Engine, clock: Clock
) -> None:
    url, given = "https://a.example/", {"original_sha256": SHA, "original_type": "text/html"}
    (first,) = add(engine, clock, url)
    held = take(engine, clock)
    (again,) = add(engine, clock, url, fields=given)
    assert (again.id, again.stage, again.duplicate_of) == (first.id, Stage.ACQUISITION_COMPLETE, None)
    assert row(engine, first.id).original_sha256 == SHA
    with engine.begin() as conn:
        step = [items.Step(Stage.ACQUISITION_COMPLETE, "late")]
        assert not items.advance(conn, held, step, now=clock.now, due=clock.now), "the slower fetch loses"
    held = take(engine, clock)
    assert held.original_sha256 == SHA
    with engine.begin() as conn:
        assert items.advance(conn, held, [items.Step(Stage.COMPLETE, "Done")], now=clock.now, due=None)
    (late,) = add(engine, clock, url, fields={**given, "original_sha256": "cd" * 32})
    assert (late.stage, late.duplicate_of) == (Stage.DUPLICATE, first.id)
    assert (row(engine, first.id).stage, row(engine, first.id).original_sha256) == (Stage.COMPLETE, SHA)


def test_content_handed_in_revives_a_dead_letter(engine: Engine, clock: Clock) -> None:
    (first,) = add(engine, clock, "https://a.example/")
    error = items.ItemError("http_404", "Gone.", Stage.FETCH_ATTEMPTING)
    with engine.begin() as conn:
        items.fail(conn, items_leased(conn, first.id), error, now=clock.now)
    (again,) = add(engine, clock, "https://a.example/", fields={"original_sha256": SHA})
    assert (again.id, row(engine, first.id).stage) == (first.id, Stage.ACQUISITION_COMPLETE)
    assert row(engine, first.id).error is None


def items_leased(conn: sa.Connection, item_id: int) -> items.Leased:
    conn.execute(table.update().where(table.c.id == item_id).values(lease="t"))
    found = conn.execute(sa.select(table).where(table.c.id == item_id)).one()
    names = items.Leased.__slots__
    return items.Leased(**{name: getattr(found, name) for name in names})


def test_two_who_add_the_same_in_different_order_never_wait_for_each_other(
    engine: Engine, clock: Clock
) -> None:
    urls = many("example.org", 120)
    together, trouble = threading.Barrier(4), []

    def add_all(order: int) -> None:
        mine = urls if order % 2 else list(reversed(urls))
        together.wait()
        try:
            for _ in range(3):
                add(engine, clock, *mine, tags=("a", "b") if order % 2 else ("b", "a"))
        except Exception as error:  # noqa: BLE001 - told below
            trouble.append(error)

    threads = [threading.Thread(target=add_all, args=(order,)) for order in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert trouble == []
    found = stages(engine)
    assert found == {Stage.CONTENT_QUEUED: 120, Stage.DUPLICATE: 120 * 11}


def test_many_that_are_here_already_keep_their_order(engine: Engine, clock: Clock) -> None:
    urls = many("example.org", 30)
    first = {one.url: one.id for one in add(engine, clock, *urls)}
    mixed = [*reversed(urls), "https://new.example/", "https://new.example/", urls[3]]
    found = add(engine, clock, *mixed)
    assert [one.url for one in found] == mixed
    assert [one.duplicate_of for one in found[:30]] == [first[url] for url in reversed(urls)]
    assert (found[30].duplicate_of, found[31].duplicate_of) == (None, found[30].id)
    assert found[32].duplicate_of == first[urls[3]]
    for one in found:
        assert row(engine, one.id).url == one.url
