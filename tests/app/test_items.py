"""The life of an item, told step by step, on both engines."""

import datetime as dt

import pytest
import sqlalchemy as sa

from atlas import items, library
from atlas.database.engine import read
from atlas.database.tables import feeds
from atlas.database.tables import items as table
from atlas.items import InvalidUrl, ItemError, Lane, Leased, Step
from atlas.stages.table import Stage

DONE = [Step(Stage.COMPLETE, "Ready to be read")]


class Life:
    """Short words for the tests below: each call is a transaction of its own."""

    def __init__(self, engine, clock):
        self.engine = engine
        self.clock = clock

    def add(self, url="https://example.com/", **values):
        with self.engine.begin() as conn:
            return items.add(conn, url, now=self.clock(), correlation_id="corr", **values)

    def lease(self, worker="w", *, delay=0.0) -> Leased | None:
        return items.lease(
            self.engine, worker=worker, now=self.clock(), lease_seconds=30, host_delay_seconds=delay
        )

    def advance(self, leased, steps=DONE, *, due=None, **values):
        with self.engine.begin() as conn:
            return items.advance(conn, leased, steps, now=self.clock(), due=due, **values)

    def retry(self, leased, error, *, seconds=60, **values):
        at = self.clock() + dt.timedelta(seconds=seconds)
        with self.engine.begin() as conn:
            return items.retry_later(conn, leased, error, now=self.clock(), at=at, **values)

    def fail(self, leased, error):
        with self.engine.begin() as conn:
            return items.fail(conn, leased, error, now=self.clock())

    def finish(self, url, *, title="", text="text", **values):
        """Take a new item from its address to the library."""
        added = self.add(url, **values)
        leased = self.lease()
        assert leased.id == added.id
        with self.engine.begin() as conn:
            items.advance(conn, leased, DONE, now=self.clock(), due=None, fields={"title": title})
            items.write_content(conn, added.id, title=title, text=text, html=f"<p>{text}")
        return added.id

    def get(self, item_id):
        with read(self.engine) as conn:
            return items.get(conn, item_id)

    def list(self, *, limit=50, cursor=None, **values):
        with read(self.engine) as conn:
            page = library.listing(conn, library.Filter(**values), limit=limit, cursor=cursor)
            return page.rows, page.next

    def history(self, item_id):
        with read(self.engine) as conn:
            return [(step["stage"], step["reason"]) for step in items.history(conn, item_id)]

    def queue_size(self):
        with read(self.engine) as conn:
            return items.queue_size(conn, self.clock())


@pytest.fixture
def life(engine, clock):
    return Life(engine, clock)


ERROR = ItemError("http_503", "The site is overloaded.", Stage.FETCH_ATTEMPTING, "cafe0001")


# Adding


def test_a_new_address_waits_to_be_fetched(life, clock):
    added = life.add("HTTPS://Example.com/a?utm_source=x#top", title="Seen in a feed")
    assert added == items.Added(added.id, "https://example.com/a", Stage.CONTENT_QUEUED, None)
    item = life.get(added.id)
    assert (item["url"], item["host"], item["stage"]) == ("https://example.com/a", "example.com", 110)
    assert (item["title"], item["kind"], item["lane"]) == ("Seen in a feed", "article", Lane.NORMAL)
    assert item["due_at"] == item["added_at"] == clock()
    assert (item["text"], item["html"], item["error"]) == (None, None, None)
    assert life.history(added.id) == [(110, "Added")]
    assert life.queue_size() == 1


def test_an_address_that_is_here_is_not_touched(life, clock):
    original = life.finish("https://example.com/a", title="Kept", text="Kept text")
    before = life.get(original)
    clock.advance(100)
    again = life.add("http://example.com/a#other", title="Another title")
    assert (again.stage, again.duplicate_of) == (Stage.DUPLICATE, original)
    assert again.id != original
    assert life.get(original) == before
    assert life.get(again.id)["duplicate_of"] == original
    assert life.history(again.id) == [(599, f"This address is item {original} already")]
    assert life.lease() is None


def test_one_that_still_waits_is_not_queued_twice(life):
    first = life.add()
    assert life.add().duplicate_of == first.id
    assert life.add().duplicate_of == first.id
    assert life.queue_size() == 1


def test_one_that_had_failed_for_good_is_tried_again(life, clock):
    dead = life.add()
    life.fail(life.lease(), ERROR)
    clock.advance(3600)
    again = life.add(lane=Lane.NOW)
    assert again == items.Added(dead.id, dead.url, Stage.CONTENT_QUEUED, None)
    item = life.get(dead.id)
    assert (item["stage"], item["error"], item["attempts"], item["lane"]) == (110, None, 0, Lane.NOW)
    assert item["due_at"] == clock()
    assert [stage for stage, _ in life.history(dead.id)] == [110, 777, 110]
    assert life.lease().id == dead.id


def test_no_address_no_item(life):
    for url in ("ftp://example.com/", "https://user:secret@example.com/", "https://"):
        with pytest.raises(InvalidUrl):
            life.add(url)
    assert life.list() == ([], None)


# Leasing


def test_a_lease_is_for_one_worker(life):
    added = life.add()
    leased = life.lease("first")
    assert (leased.id, leased.url, leased.host, leased.stage) == (added.id, added.url, "example.com", 110)
    assert (leased.attempts, leased.correlation_id, leased.lane) == (0, "corr", Lane.NORMAL)
    assert leased.lease.startswith("first/")
    assert isinstance(leased.stage, Stage)
    assert life.lease("second") is None
    assert life.queue_size() == 0


def test_lanes_first_then_waiting_time(life, clock):
    order = [
        life.add("https://a.example/", lane=Lane.IMPORT).id,
        life.add("https://b.example/").id,
        life.add("https://c.example/").id,
    ]
    clock.advance(1)
    order.append(life.add("https://d.example/", lane=Lane.NOW).id)
    assert [life.lease().id for _ in order] == [order[3], order[1], order[2], order[0]]


def test_a_lease_that_ran_out_goes_to_another_and_counts(life, clock):
    life.add()
    first = life.lease("first")
    clock.advance(29)
    assert life.lease("second") is None
    clock.advance(1)
    second = life.lease("second")
    assert (second.id, second.attempts) == (first.id, 1)
    assert not life.advance(first)
    assert not life.retry(first, ERROR)
    assert not life.fail(first, ERROR)
    assert life.history(first.id) == [(110, "Added")]
    assert life.advance(second)


def test_a_late_worker_may_still_finish_while_nobody_took_over(life, clock):
    life.add()
    leased = life.lease()
    clock.advance(1000)
    assert life.advance(leased)


def test_heartbeats_keep_a_lease(life, clock, engine):
    life.add("https://a.example/")
    life.add("https://b.example/")
    mine, lost = life.lease(), life.lease()
    life.advance(lost)
    for _ in range(5):
        clock.advance(20)
        with engine.begin() as conn:
            leases = [(mine.id, mine.lease), (lost.id, lost.lease), (4711, "x")]
            assert items.extend(conn, leases, now=clock(), lease_seconds=30) == [lost.id, 4711]
        assert life.lease("other") is None
    assert life.advance(mine)


def test_one_host_is_asked_once_in_a_while(life, clock):
    for path in "abc":
        life.add(f"https://slow.example/{path}")
    other = life.add("https://other.example/")
    assert life.lease(delay=10).host == "slow.example"
    assert life.lease(delay=10).id == other.id
    assert life.lease(delay=10) is None
    clock.advance(9.9)
    assert life.lease(delay=10) is None
    clock.advance(0.1)
    assert life.lease(delay=10).host == "slow.example"
    assert life.lease(delay=10) is None


def test_what_fetches_nothing_waits_for_no_host(life):
    life.add("https://slow.example/a")
    life.add("https://slow.example/b")
    first = life.lease(delay=10)
    steps = [Step(Stage.FETCH_ATTEMPTING, "Asking"), Step(Stage.ACQUISITION_COMPLETE, "Fetched")]
    assert life.advance(first, steps, due=life.clock())
    again = life.lease(delay=10)
    assert (again.id, again.stage) == (first.id, Stage.ACQUISITION_COMPLETE)


def test_a_host_that_asked_for_a_pause_gets_it(life, clock, engine):
    life.add("https://busy.example/a")
    until = clock() + dt.timedelta(seconds=100)
    with engine.begin() as conn:
        items.postpone_host(conn, "busy.example", until=until)
        items.postpone_host(conn, "busy.example", until=until - dt.timedelta(seconds=50))
    clock.advance(99)
    assert life.lease() is None
    clock.advance(1)
    assert life.lease() is not None


# Moving on


def test_steps_and_findings_are_written_together(life, clock):
    added = life.add()
    leased = life.lease()
    clock.advance(2)
    steps = [
        Step(Stage.FETCH_ATTEMPTING, "Asking example.com"),
        Step(Stage.ACQUISITION_COMPLETE, "It answered"),
    ]
    found = {"original_sha256": "0" * 64, "original_type": "text/html", "final_url": "https://example.com/b"}
    due = clock() + dt.timedelta(seconds=30)
    assert life.advance(leased, steps, due=due, fields=found, keep_lease=True)
    item = life.get(added.id)
    assert {name: item[name] for name in found} == found
    assert (item["stage"], item["due_at"], item["updated_at"]) == (190, due, clock())
    assert life.history(added.id)[1:] == [(120, "Asking example.com"), (190, "It answered")]
    assert life.advance(leased)
    assert not life.advance(leased), "the lease was given back"
    assert life.get(added.id)["due_at"] is None


def test_no_step_reaches_into_the_queue(life):
    life.add()
    with pytest.raises(ValueError, match=r"\['lease', 'stage'\]"):
        life.advance(life.lease(), fields={"stage": 590, "lease": "mine", "title": "x"})


def test_an_item_given_back_is_taken_at_once(life, clock):
    life.add()
    leased = life.lease()
    assert life.advance(leased, [], due=clock())
    again = life.lease()
    assert (again.id, again.stage, again.attempts) == (leased.id, 110, 0)


def test_trying_again_later(life, clock):
    added = life.add()
    assert life.retry(life.lease(), ERROR)
    item = life.get(added.id)
    assert (item["stage"], item["attempts"]) == (Stage.SYSTEM_ERROR, 1)
    assert item["error"] == {
        "code": "http_503",
        "message": "The site is overloaded.",
        "stage": 120,
        "at": "2026-11-22T08:00:00+00:00",
        "id": "cafe0001",
    }
    assert life.history(added.id)[-1] == (888, "The site is overloaded.")
    clock.advance(59)
    assert life.lease() is None
    clock.advance(1)
    leased = life.lease()
    assert (leased.stage, leased.attempts) == (Stage.SYSTEM_ERROR, 1)
    assert life.advance(leased)
    assert life.get(added.id)["error"] is None


def test_a_site_that_asks_to_wait_costs_no_attempt(life, clock):
    added = life.add()
    slow = ItemError("rate_limited", "The site asked to wait.", Stage.FETCH_ATTEMPTING)
    assert life.retry(life.lease(), slow, spend_attempt=False)
    item = life.get(added.id)
    assert (item["stage"], item["attempts"]) == (Stage.RATE_LIMITED, 0)


def test_giving_up(life):
    added = life.add()
    assert life.fail(life.lease(), ERROR)
    item = life.get(added.id)
    assert (item["stage"], item["due_at"], item["error"]["code"]) == (777, None, "http_503")
    assert life.lease() is None
    assert life.history(added.id)[-1] == (777, "The site is overloaded.")


def test_errors_have_ids_of_their_own():
    one, other = (ItemError("x", "y", Stage.FETCH_ATTEMPTING) for _ in range(2))
    assert one.id != other.id


def test_a_page_found_to_be_a_copy_becomes_a_duplicate(life):
    original = life.finish("https://example.com/a")
    copy = life.add("https://example.com/print/a")
    steps = [Step(Stage.DUPLICATE, f"The same text as item {original}")]
    assert life.advance(life.lease(), steps, fields={"duplicate_of": original})
    assert life.get(copy.id)["duplicate_of"] == original
    assert life.get(copy.id)["text"] == life.get(original)["text"] == "text"


# Looking


def test_there_is_no_such_item(life, engine):
    for item_id in (0, -1, 1, 2**63, 10**30):
        assert life.get(item_id) is None
        assert life.history(item_id) == []


def test_pages_of_the_list_newest_first(life):
    ids = [life.add(f"https://example.com/{number}").id for number in range(7)]
    life.add("https://example.com/0")  # a duplicate does not show
    rows, cursor = life.list(limit=3)
    assert [row["id"] for row in rows] == ids[:3:-1]
    assert not {"text", "html", "lease"} & rows[0].keys()
    rows, cursor = life.list(limit=3, cursor=cursor)
    assert [row["id"] for row in rows] == ids[3:0:-1]
    rows, cursor = life.list(limit=3, cursor=cursor)
    assert [row["id"] for row in rows] == ids[:1]
    assert cursor is None
    assert life.list(limit=7)[1] is None
    assert life.list(limit=3, cursor=str(10**30))[0] == life.list(limit=3)[0]


def test_the_list_by_stage_kind_and_feed(life, engine, clock):
    with engine.begin() as conn:
        values = {
            "url": "https://f/",
            "url_key": "f/",
            "interval_seconds": 60,
            "due_at": clock(),
            "added_at": clock(),
        }
        feed = conn.execute(feeds.insert().values(values).returning(feeds.c.id)).scalar_one()
    done = life.finish("https://example.com/done", feed_id=feed)
    video = life.add("https://example.com/video", kind="video").id
    copy = life.add("https://example.com/done").id
    assert [row["id"] for row in life.list(stage=590)[0]] == [done]
    assert [row["id"] for row in life.list(kind="video")[0]] == [video]
    assert [row["id"] for row in life.list(feed_id=feed)[0]] == [done]
    assert [row["id"] for row in life.list(stage=599)[0]] == [copy]
    assert life.list(stage=777) == ([], None)


def test_the_list_of_what_some_words_find(life):
    ids = [life.finish(f"https://example.com/{n}", text="whale" if n % 2 else "shark") for n in range(8)]
    assert [row["id"] for row in life.list(q="whales")[0]] == ids[7::-2]
    rows, cursor = life.list(q="whales", limit=2)
    assert [row["id"] for row in rows] == [ids[7], ids[5]]
    assert [row["id"] for row in life.list(q="whales", limit=2, cursor=cursor)[0]] == [ids[3], ids[1]]
    assert life.list(q="unicorn") == ([], None)
    assert life.list(q="-") == ([], None)
    assert len(life.list(q="  ")[0]) == 8
    assert life.list(q="whales", kind="video") == ([], None)


def test_the_list_of_what_is_ready(life):
    ids = [life.finish(f"https://example.com/{n}", text="whale" if n % 2 else "shark") for n in range(4)]
    life.add("https://example.com/waits")
    assert [row["id"] for row in life.list(stage={590, 595})[0]] == ids[::-1]
    assert [row["id"] for row in life.list(stage={590, 595}, limit=2)[0]] == ids[:1:-1]
    assert [row["id"] for row in life.list(stage={590, 595}, q="whales")[0]] == [ids[3], ids[1]]
    assert [row["url"][-5:] for row in life.list(stage={110, 190})[0]] == ["waits"]


def test_the_list_of_the_failed_by_words_of_the_address(life):
    life.add("https://example.com/50%_off")
    life.fail(life.lease(), ERROR)
    life.add("https://example.com/other", title="Whales")
    life.fail(life.lease(), ERROR)
    assert [row["url"] for row in life.list(stage=777, q="EXAMPLE.com/other")[0]] == [
        "https://example.com/other"
    ]
    assert [row["title"] for row in life.list(stage=777, q="whale")[0]] == ["Whales"]
    assert life.list(stage=777, q="%") == ([], None)


def test_counting(life, clock, engine):
    life.finish("https://a.example/")
    life.add("https://a.example/")
    life.add("https://b.example/")
    life.add("https://c.example/")
    life.retry(life.lease(), ERROR)
    with read(engine) as conn:
        assert items.counts(conn) == {590: 1, 599: 1, 888: 1, 110: 1}
    assert life.queue_size() == 1
    clock.advance(60)
    assert life.queue_size() == 2


def test_content_is_replaced_not_doubled(life, engine):
    done = life.finish("https://example.com/", text="first")
    with engine.begin() as conn:
        items.write_content(conn, done, title="t", text="second", html="<p>second")
    assert life.get(done)["text"] == "second"


def test_an_id_never_comes_back(life, engine):
    """What points at a deleted item must not find another one."""
    life.add("https://a.example/")
    last = life.add("https://b.example/").id
    with engine.begin() as conn:
        conn.execute(sa.delete(table).where(table.c.id == last))
    assert life.add("https://c.example/").id > last
