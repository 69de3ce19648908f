"""The worker with stand-ins for the web and the reader: what becomes of an item, whatever happens."""

import datetime as dt
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from structlog.testing import capture_logs

from atlas import items, originals, patience, pipeline, tags, worker
from atlas.chores import Clerk
from atlas.database.engine import read
from atlas.database.tables import contents, hosts, workers
from atlas.database.tables import items as items_table
from atlas.net.client import Response
from atlas.net.errors import FetchError
from atlas.patience import Patience
from atlas.pipeline import MAX_POSTPONED, backoff, process
from atlas.search import search
from atlas.stages.context import Context
from atlas.stages.finish import text_digest
from atlas.stages.page import Page, PageError
from atlas.telemetry.tally import Tally, read_sums
from atlas.worker import Limits, Worker

pytestmark = pytest.mark.slow

WORDS = " ".join(f"word{number}" for number in range(60))


def page(text: str = WORDS, title: str = "A title") -> Page:
    return Page(
        title=title,
        byline="Someone",
        site="Example",
        language="en",
        published_at=dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
        excerpt="In short",
        html=f"<p>{text}</p>",
        text=text,
        word_count=len(text.split()),
        image=None,
    )


@dataclass
class Web:
    """Answers every URL with itself, or with what a test put in its place; notes who asked."""

    answers: dict[str, Callable[[], Response] | BaseException | bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def get(self, url: str) -> Response:
        self.asked.append(url)
        answer = self.answers.get(url, url.encode())
        if isinstance(answer, BaseException):
            raise answer
        if callable(answer):
            answer = answer()
        if isinstance(answer, Response):
            return answer
        return Response(url, 200, {}, "text/html; charset=utf-8", answer)


@dataclass
class Reader:
    """Makes of bytes a page that has them in its text, or what a test put in its place."""

    answers: dict[bytes, Page | BaseException | Callable[[], Page]] = field(default_factory=dict)
    read_urls: list[str] = field(default_factory=list)

    def read(self, raw: bytes, content_type: str | None, url: str) -> Page:
        self.read_urls.append(url)
        answer = self.answers.get(raw) or page(f"{raw.decode()} {WORDS}")
        if isinstance(answer, BaseException):
            raise answer
        return answer() if callable(answer) else answer


@pytest.fixture
def web() -> Web:
    return Web()


@pytest.fixture
def reader() -> Reader:
    return Reader()


@pytest.fixture
def make(settings, engine: Engine, web: Web, reader: Reader):
    """Make a worker, with settings of one's own."""

    def build(*, limits: Limits | None = None, clock=worker.utc_now, **options) -> Worker:
        own = settings.model_copy(update={"host_delay_seconds": 0, "lease_seconds": 3, **options})
        return Worker(own, engine, web, reader, limits=limits or Limits(once=True), clock=clock)

    return build


@pytest.fixture
def step(settings, engine: Engine, web: Web, reader: Reader, clock):
    """Lease one item at the test's time and process it."""

    def run(**options) -> pipeline.Outcome | None:
        own = settings.model_copy(update={"host_delay_seconds": 0, "retry_base_seconds": 60, **options})
        leased = items.lease(engine, worker="test", now=clock.now, lease_seconds=30, host_delay_seconds=0)
        if leased is None:
            return None
        ctx = Context(own, engine, web, reader, clock, Patience(threading.Event()))
        return process(ctx, leased, tally=Tally(), stopping=lambda: False)

    return run


def add(engine: Engine, *urls: str, now: dt.datetime | None = None) -> list[int]:
    with engine.begin() as conn:
        return [items.add(conn, url, now=now or worker.utc_now(), correlation_id="test").id for url in urls]


def item(engine: Engine, item_id: int) -> dict:
    with read(engine) as conn:
        return items.get(conn, item_id)


def trail(engine: Engine, item_id: int) -> list[int]:
    with read(engine) as conn:
        return [row["stage"] for row in items.history(conn, item_id)]


def row(engine: Engine, item_id: int) -> sa.Row:
    with read(engine) as conn:
        return conn.execute(sa.select(items_table).where(items_table.c.id == item_id)).one()


def test_an_item_goes_all_the_way(engine, make, web, settings) -> None:
    (found,) = add(engine, "https://example.org/article?b=1")

    assert make().run() == 1

    done = item(engine, found)
    assert (done["stage"], done["title"], done["byline"], done["site"]) == (
        590,
        "A title",
        "Someone",
        "Example",
    )
    assert done["text"].startswith("https://example.org/article?b=1 word0")
    assert done["html"].startswith("<p>")
    assert done["word_count"] == 61
    assert done["published_at"] == dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
    assert done["error"] is None
    assert done["final_url"] == "https://example.org/article?b=1"
    assert done["original_type"] == "text/html; charset=utf-8"
    assert originals.get(settings.data_dir, done["original_sha256"]) == b"https://example.org/article?b=1"
    assert (row(engine, found).lease, row(engine, found).due_at) == (None, None)
    assert trail(engine, found) == [110, 120, 190, 299, 390, 490, 540, 590]
    with read(engine) as conn:
        assert search(conn, "word42")[0] == 1


def test_no_site_can_say_that_a_person_chose_its_page(engine, make, web, settings) -> None:
    (found,) = add(engine, "https://example.org/a")
    said = "text/html;Handed=part; handed=yes"
    web.answers["https://example.org/a"] = Response("https://example.org/a", 200, {}, said, b"<p>Log in")
    make().run()
    assert "; handed=" not in item(engine, found)["original_type"].lower()


def test_what_the_feed_called_it_stays_when_the_page_has_no_title(engine, make, reader) -> None:
    reader.answers[b"https://example.org/"] = page(title="")
    with engine.begin() as conn:
        found = items.add(
            conn, "https://example.org/", now=worker.utc_now(), correlation_id="t", title="Feed's"
        ).id
    make().run()
    assert item(engine, found)["title"] == "Feed's"
    with read(engine) as conn:
        assert conn.execute(sa.select(contents.c.title)).scalar() == "Feed's"
        assert search(conn, "Feed's")[0] == 1


def test_many_items_by_many_threads_each_once(engine, make, web) -> None:
    found = add(engine, *(f"https://host{n % 7}.example/{n}" for n in range(40)))
    assert make(worker_threads=8).run() == 40
    assert {item(engine, n)["stage"] for n in found} == {590}
    assert len(web.asked) == len(set(web.asked)) == 40
    with read(engine) as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(contents)).scalar() == 40
        assert read_sums(conn).outcomes == {("complete", "", "article"): 40}
        assert read_sums(conn).steps["fetch"].buckets[-1][1] == 40


def test_a_limit_of_items_is_kept(engine, make) -> None:
    add(engine, *(f"https://example.org/{n}" for n in range(10)))
    assert make(limits=Limits(max_items=3)).run() == 3
    with read(engine) as conn:
        assert items.counts(conn) == {110: 7, 590: 3}


def test_once_waits_for_a_host_that_rests_a_moment_but_not_for_one_that_rests_long(engine, make) -> None:
    add(engine, "https://soon.example/", "https://late.example/")
    now = worker.utc_now()
    with engine.begin() as conn:
        items.postpone_host(conn, "soon.example", until=now + dt.timedelta(seconds=1))
        items.postpone_host(conn, "late.example", until=now + dt.timedelta(hours=1))
    assert make().run() == 1
    with read(engine) as conn:
        assert items.counts(conn) == {110: 1, 590: 1}


def test_the_same_text_elsewhere_is_a_duplicate_and_nothing_is_lost(engine, make, reader) -> None:
    reader.answers[b"https://a.example/"] = page(WORDS, title="First")
    reader.answers[b"https://b.example/"] = page(f"  {WORDS.upper()}\n\n", title="Second")
    (first,) = add(engine, "https://a.example/")
    make().run()
    (second,) = add(engine, "https://b.example/")
    make().run()

    assert item(engine, first)["stage"] == 590
    duplicate = item(engine, second)
    assert (duplicate["stage"], duplicate["duplicate_of"], duplicate["title"]) == (599, first, "Second")
    assert duplicate["original_sha256"]
    assert trail(engine, second)[-1] == 599
    with read(engine) as conn:
        assert search(conn, "word42")[0] == 1


def test_what_a_person_gave_a_duplicate_shows_with_the_one_that_stays(engine, make, reader) -> None:
    reader.answers[b"https://a.example/"] = page(WORDS, title="First")
    reader.answers[b"https://b.example/"] = page(WORDS, title="Second")
    (first,) = add(engine, "https://a.example/")
    make().run()
    change = items_table.update().where(items_table.c.id == first)
    with engine.begin() as conn:
        conn.execute(change.values(note="Mine"))
        second = items.add(
            conn,
            "https://b.example/",
            now=worker.utc_now(),
            correlation_id="test",
            tags=("sea",),
            source="web",
        ).id
        given = {"starred_at": worker.utc_now(), "note": "Mine, too"}
        conn.execute(items_table.update().where(items_table.c.id == second).values(given))
    make().run()
    kept = item(engine, first)
    assert item(engine, second)["duplicate_of"] == first
    assert (kept["starred_at"], kept["note"]) == (given["starred_at"], "Mine\n\nMine, too")
    with read(engine) as conn:
        assert tags.of(conn, [first]) == {first: ["sea"]}
        assert [(seen["source"], seen["url"]) for seen in items.sightings_of(conn, first)] == [
            ("web", "https://b.example/")
        ]


def test_short_texts_are_never_called_the_same(engine, make, reader) -> None:
    for host in "ab":
        reader.answers[f"https://{host}.example/".encode()] = page("Page two")
    found = add(engine, "https://a.example/", "https://b.example/")
    make().run()
    assert [item(engine, n)["stage"] for n in found] == [590, 590]


def test_of_the_same_text_at_the_same_time_one_is_kept(engine, make, reader, web) -> None:
    urls = [f"https://host{n}.example/" for n in range(8)]
    together = threading.Barrier(8)

    def read_together() -> Page:
        together.wait(timeout=10)
        return page()

    for url in urls:
        reader.answers[url.encode()] = read_together
    found = add(engine, *urls)
    make(worker_threads=8).run()
    stages = [item(engine, n)["stage"] for n in found]
    assert sorted(stages) == [590] + [599] * 7
    kept = found[stages.index(590)]
    assert {item(engine, n)["duplicate_of"] for n in found} == {None, kept}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (WORDS, WORDS.replace(" ", "\n\t "), True),
        (WORDS, WORDS.title(), True),
        (f"{WORDS} ﬁn", f"{WORDS} fin", True),
        (f"{WORDS} é", f"{WORDS} e\u0301", True),
        (f"{WORDS} straße", f"{WORDS} STRASSE", True),
        (WORDS, f"{WORDS} more", False),
        (f"{WORDS} a", f"{WORDS}. a", False),
    ],
)
def test_which_texts_are_the_same(one, other, same) -> None:
    assert (text_digest(page(one)) == text_digest(page(other))) is same


@pytest.mark.parametrize("code", ["http_404", "http_410", "forbidden_address", "body_too_large"])
def test_what_cannot_get_better_is_given_up_at_once(engine, step, web, clock, code) -> None:
    web.answers["https://example.org/"] = FetchError(code, "In plain words.")
    (found,) = add(engine, "https://example.org/", now=clock.now)

    assert step() == pipeline.Outcome("failed", code)

    failed = item(engine, found)
    assert (failed["stage"], failed["due_at"]) == (777, None)
    assert failed["error"]["code"] == code
    assert failed["error"]["message"] == "In plain words."
    assert failed["error"]["stage"] == 120
    assert trail(engine, found) == [110, 777]


def test_a_page_that_is_none_is_given_up_with_the_reason(engine, step, reader, clock) -> None:
    reader.answers[b"https://example.org/"] = PageError("login_wall", "The page asks for a login.")
    (found,) = add(engine, "https://example.org/", now=clock.now)
    assert step() == pipeline.Outcome("failed", "login_wall")
    failed = item(engine, found)
    assert (failed["stage"], failed["error"]["message"]) == (777, "The page asks for a login.")
    assert failed["error"]["stage"] == 220
    assert failed["original_sha256"], "what was fetched is kept: one can look at it, and read it again"
    assert trail(engine, found) == [110, 120, 190, 777]


def test_trouble_on_the_way_is_tried_again_ever_later_and_then_given_up(engine, step, web, clock) -> None:
    web.answers["https://example.org/"] = FetchError("timeout", "No answer.", retry=True)
    (found,) = add(engine, "https://example.org/", now=clock.now)
    waits = []
    for number in range(1, 5):
        assert step(max_attempts=5) == pipeline.Outcome("retried", "timeout")
        failing = row(engine, found)
        assert (failing.stage, failing.attempts, failing.error["message"]) == (888, number, "No answer.")
        waits.append((failing.due_at - clock.now).total_seconds())
        assert step() is None, "not before it is due"
        clock.now = failing.due_at
    assert step(max_attempts=5) == pipeline.Outcome("failed", "timeout")
    assert row(engine, found).error["message"] == "No answer. Tried 5 times."
    assert all(45 * 2**n <= wait <= 75 * 2**n for n, wait in enumerate(waits))
    assert trail(engine, found) == [110, 888, 888, 888, 888, 777]


def test_after_trouble_it_may_still_work(engine, step, web, clock) -> None:
    web.answers["https://example.org/"] = FetchError("http_500", "Broken.", retry=True, retry_after=3600)
    (found,) = add(engine, "https://example.org/", now=clock.now)
    step()
    assert row(engine, found).due_at == clock.now + dt.timedelta(hours=1)
    clock.advance(3600)
    web.answers.clear()
    assert step() == pipeline.Outcome("complete")
    assert item(engine, found)["error"] is None


def test_a_site_that_asks_to_wait_is_asked_again_then_and_that_costs_no_attempt(
    engine, step, web, clock
) -> None:
    web.answers["https://example.org/"] = FetchError("rate_limited", "Busy.", retry=True, retry_after=120)
    found, _ = add(engine, "https://example.org/", "https://example.org/other", now=clock.now)

    assert step() == pipeline.Outcome("retried", "rate_limited")

    waiting = row(engine, found)
    assert (waiting.stage, waiting.attempts, waiting.due_at) == (
        666,
        0,
        clock.now + dt.timedelta(seconds=120),
    )
    assert step() is None, "its other pages wait as well"
    clock.advance(120)
    web.answers.clear()
    assert step() == pipeline.Outcome("complete")
    clock.advance(60)  # it is asked more slowly by now
    assert step() == pipeline.Outcome("complete")


def test_no_site_may_put_us_off_for_ever(engine, step, web, clock) -> None:
    web.answers["https://example.org/"] = FetchError("rate_limited", "Busy.", retry=True, retry_after=0)
    (found,) = add(engine, "https://example.org/", now=clock.now)
    for _ in range(MAX_POSTPONED):
        assert step() == pipeline.Outcome("retried", "rate_limited")
        clock.advance(60)  # it is asked more slowly by now
    assert step() == pipeline.Outcome("failed", "rate_limited")
    assert row(engine, found).error["message"] == "Busy. It said so 21 times."

    clock.advance(60)
    add(engine, "https://example.org/", now=clock.now)
    assert step() == pipeline.Outcome("retried", "rate_limited"), "added again, it counts anew"


def test_a_rate_limit_without_a_time_waits_ever_longer(engine, step, web, clock) -> None:
    web.answers["https://example.org/"] = FetchError("rate_limited", "Busy.", retry=True)
    (found,) = add(engine, "https://example.org/", now=clock.now)
    waits = []
    for _ in range(3):
        step()
        waits.append((row(engine, found).due_at - clock.now).total_seconds())
        clock.now = row(engine, found).due_at
    assert all(45 * 2**n <= wait <= 75 * 2**n for n, wait in enumerate(waits))


def test_a_step_that_breaks_is_logged_tried_again_and_given_up(engine, step, reader, clock) -> None:
    reader.answers[b"https://example.org/"] = ZeroDivisionError("a bug")
    (found,) = add(engine, "https://example.org/", now=clock.now)
    with capture_logs() as logged:
        assert step(max_attempts=2) == pipeline.Outcome("retried", "internal_error")
    broken = row(engine, found)
    (told,) = [event for event in logged if event["event"] == "step broke"]
    assert (told["error_id"], told["item"]) == (broken.error["id"], found)
    assert isinstance(told["exc_info"], ZeroDivisionError)
    assert (broken.stage, broken.error["stage"]) == (888, 300)
    assert "broke inside Atlas" in broken.error["message"]
    assert "a bug" not in broken.error["message"]
    clock.now = broken.due_at
    assert step(max_attempts=2) == pipeline.Outcome("failed", "internal_error")
    assert row(engine, found).stage == 777


def test_the_wait_grows_to_a_day_and_not_beyond() -> None:
    assert 45 <= backoff(60, 0) <= 75
    assert backoff(60, 10_000) <= 86_400 * 1.25
    assert len({backoff(60, 3) for _ in range(20)}) > 1, "not all at the same moment"


def test_an_item_that_was_fetched_is_not_fetched_again(engine, step, web, reader, clock) -> None:
    (found,) = add(engine, "https://example.org/", now=clock.now)
    reader.answers[b"https://example.org/"] = KeyboardInterrupt()  # the process ends here
    with pytest.raises(KeyboardInterrupt):
        step()
    assert row(engine, found).stage == 190
    reader.answers.clear()
    clock.advance(31)
    assert step() == pipeline.Outcome("complete")
    assert web.asked == ["https://example.org/"]


@pytest.mark.parametrize("harm", ["gone", "damaged"])
def test_an_original_that_is_gone_is_fetched_again(engine, step, web, reader, clock, settings, harm) -> None:
    add(engine, "https://example.org/", now=clock.now)
    reader.answers[b"https://example.org/"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        step()
    reader.answers.clear()
    (file,) = (settings.data_dir / "originals").rglob("*.zst")
    file.unlink() if harm == "gone" else file.write_bytes(b"junk")
    clock.advance(31)
    outcome = step()
    assert web.asked == ["https://example.org/"] * 2
    assert outcome == pipeline.Outcome("complete")


def test_an_item_that_kills_its_worker_comes_to_an_end(engine, step, web, clock) -> None:
    (found,) = add(engine, "https://example.org/", now=clock.now)
    web.answers["https://example.org/"] = KeyboardInterrupt()
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            step(max_attempts=3)
        clock.advance(31)
    assert step(max_attempts=3) == pipeline.Outcome("failed", "never_finished")
    assert (
        row(engine, found).error["message"] == "Atlas began with this page 3 times and never came to an end."
    )


def test_a_worker_that_lost_its_lease_writes_nothing(engine, step, web, reader, clock) -> None:
    (found,) = add(engine, "https://example.org/", now=clock.now)

    def slow_then_late() -> Page:
        clock.advance(31)
        taken = items.lease(engine, worker="other", now=clock.now, lease_seconds=30, host_delay_seconds=0)
        assert taken.id == found
        return page(title="Too late")

    reader.answers[b"https://example.org/"] = slow_then_late
    assert step() == pipeline.Outcome("lost")
    untouched = row(engine, found)
    assert (untouched.stage, untouched.title, untouched.attempts) == (190, None, 1)
    assert untouched.lease.startswith("other/")
    assert trail(engine, found) == [110, 120, 190]
    with read(engine) as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(contents)).scalar() == 0


class Running:
    """A worker in a thread of its own."""

    def __init__(self, built: Worker) -> None:
        self.worker = built
        self.thread = threading.Thread(target=built.run)

    def __enter__(self) -> "Running":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.worker.stop()
        self.thread.join(timeout=20)
        assert not self.thread.is_alive()


def wait_for(condition: Callable[[], object], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def test_a_running_worker_says_that_it_lives_and_signs_off(engine, make, clock) -> None:
    def rows() -> list[sa.Row]:
        with read(engine) as conn:
            return conn.execute(sa.select(workers)).all()

    old = worker.utc_now() - dt.timedelta(hours=2)
    with engine.begin() as conn:
        conn.execute(workers.insert().values(name="died:1", started_at=old, seen_at=old))
    with Running(make(limits=Limits())) as running:
        wait_for(lambda: [found.name for found in rows()] == [running.worker.name])
        first = rows()[0]
        assert worker.utc_now() - first.seen_at < dt.timedelta(seconds=5)
        add(engine, "https://example.org/")
        wait_for(lambda: rows()[0].processed == 1)
        assert rows()[0].seen_at > first.seen_at
    assert rows() == []


def test_a_long_step_keeps_its_lease(engine, make, web) -> None:
    (found,) = add(engine, "https://example.org/")
    held = threading.Event()

    def slow() -> bytes:
        held.wait(1.6)
        return b"https://example.org/"

    web.answers["https://example.org/"] = slow
    make(worker_threads=2, lease_seconds=1).run()
    assert item(engine, found)["stage"] == 590
    assert web.asked == ["https://example.org/"]
    assert row(engine, found).attempts == 0


def test_a_stop_lets_what_is_in_hand_end(engine, make, web) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> bytes:
        begun.set()
        go_on.wait(5)
        return b"x"

    web.answers["https://example.org/"] = slow
    (found,) = add(engine, "https://example.org/")
    with Running(make(limits=Limits())) as running:
        begun.wait(5)
        running.worker.stop()
        time.sleep(0.3)
        go_on.set()
    stopped = row(engine, found)
    assert (stopped.stage, stopped.lease, stopped.attempts) == (190, None, 0)
    assert stopped.due_at <= worker.utc_now(), "the next worker goes on at once"


def test_a_stop_gives_back_what_does_not_end(engine, make, web, monkeypatch) -> None:
    monkeypatch.setattr(worker, "STOP_SECONDS", 0.5)
    begun, forever = threading.Event(), threading.Event()

    def endless() -> bytes:
        begun.set()
        forever.wait(30)
        return b"x"

    web.answers["https://example.org/"] = endless
    (found,) = add(engine, "https://example.org/")
    with Running(make(limits=Limits())) as running:
        begun.wait(5)
        started = time.monotonic()
        running.worker.stop()
        running.thread.join(10)
        assert time.monotonic() - started < 5
    given_back = row(engine, found)
    assert (given_back.stage, given_back.lease, given_back.attempts) == (110, None, 0)
    forever.set()
    wait_for(lambda: not any(t.name.startswith("hand-") for t in threading.enumerate()))
    assert row(engine, found).stage == 110, "the hand that was given up on writes nothing"


def test_a_stuck_hand_stops_the_watchdog_and_loses_its_lease(engine, make, web, monkeypatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(worker, "notify", lambda *states: told.extend(states))
    monkeypatch.setattr(worker, "watchdog_seconds", lambda: 0.05)
    monkeypatch.setattr(worker, "STOP_SECONDS", 0.1)
    stuck = threading.Event()

    def hang() -> bytes:
        stuck.wait(30)
        return b"x"

    web.answers["https://example.org/"] = hang
    with Running(make(limits=Limits(), worker_threads=2, lease_seconds=1)) as running:
        wait_for(lambda: "WATCHDOG=1" in told)
        running.worker._stuck_after = 1.2
        (found,) = add(engine, "https://example.org/")
        wait_for(lambda: len(web.asked) == 1)
        wait_for(lambda: running.worker._pulses.still(1.2))
        time.sleep(0.3)
        told.clear()
        time.sleep(0.3)
        assert not told, "no food for the watchdog"
        wait_for(lambda: row(engine, found).attempts == 1 or len(web.asked) == 2)
        stuck.set()
        wait_for(lambda: "WATCHDOG=1" in told)
    assert told[-1] == "STOPPING=1"


def test_a_database_that_was_never_migrated_ends_the_worker(empty_settings, web, reader) -> None:
    from atlas.database.engine import make_engine

    engine = make_engine(empty_settings)
    with pytest.raises(sa.exc.DBAPIError):
        Worker(empty_settings, engine, web, reader).run()
    engine.dispose()


def test_a_queue_that_cannot_be_read_ends_the_worker(engine, make, monkeypatch) -> None:
    def wrong(*_: object, **__: object) -> None:
        raise sa.exc.ProgrammingError("SELECT", {}, Exception("no such column"))

    monkeypatch.setattr(items, "lease", wrong)
    with pytest.raises(sa.exc.ProgrammingError):
        make(limits=Limits()).run()


def test_an_item_that_cannot_be_handled_does_not_end_the_worker(engine, make, monkeypatch) -> None:
    def wrong(*_: object, **__: object) -> None:
        monkeypatch.undo()
        raise RuntimeError("nobody thought of this")

    monkeypatch.setattr(worker, "process", wrong)
    first, second = add(engine, "https://example.org/1", "https://example.org/2")
    make(lease_seconds=1, worker_threads=1, limits=Limits(max_items=3)).run()
    assert [item(engine, number)["stage"] for number in (first, second)] == [590, 590]
    assert row(engine, first).attempts == 1


def test_an_idle_worker_hardly_asks(engine, make, monkeypatch) -> None:
    monkeypatch.setattr(worker, "LONGEST_IDLE", 0.25)
    monkeypatch.setattr(worker, "Clerk", lambda ctx: Clerk(ctx, chores=()))
    asked = []
    with Running(make(limits=Limits(), lease_seconds=30, worker_threads=8)):
        time.sleep(0.5)
        sa.event.listen(engine, "begin", asked.append)
        time.sleep(1)
        looks = len(asked)
    assert 2 <= looks <= 8, "one look at a time, however many threads, and one look around"


def test_an_outage_is_waited_out_and_logged_once(monkeypatch) -> None:
    monkeypatch.setattr(patience, "FIRST_WAIT", 0.01)
    waited, tries = [], []
    waiting = Patience(threading.Event(), on_wait=lambda: waited.append(1))

    def work() -> str:
        tries.append(1)
        if len(tries) < 4:
            raise sa.exc.OperationalError("SELECT 1", {}, Exception("connection refused"))
        return "done"

    with capture_logs() as logged:
        assert waiting.run(work) == "done"
    assert len(tries) == 4
    assert len(waited) == 3
    assert [event["event"] for event in logged] == ["database unavailable", "database is back"]


def test_an_outage_does_not_keep_a_worker_from_stopping() -> None:
    stop = threading.Event()
    stop.set()

    def away() -> None:
        raise sa.exc.OperationalError("SELECT 1", {}, Exception("connection refused"))

    with pytest.raises(patience.Stopping):
        Patience(stop).run(away)


def test_a_mistake_is_no_outage() -> None:
    def wrong() -> None:
        raise sa.exc.ProgrammingError("SELEC", {}, Exception("syntax error"))

    with pytest.raises(sa.exc.ProgrammingError):
        Patience(threading.Event()).run(wrong)
    missing = sa.exc.OperationalError("SELECT", {}, Exception("no such table: items"))
    assert not patience.is_outage(missing)
    assert patience.is_outage(sa.exc.OperationalError("SELECT", {}, Exception("database is locked")))
    too_slow = sa.exc.OperationalError("UPDATE", {}, psycopg.errors.QueryCanceled("statement timeout"))
    assert not patience.is_outage(too_slow)


def test_hosts_rest_between_two_fetches(engine, make, web) -> None:
    times = []
    for number in range(3):
        web.answers[f"https://example.org/{number}"] = lambda: times.append(time.monotonic()) or b"x" * 9
    add(engine, *(f"https://example.org/{number}" for number in range(3)))
    make(host_delay_seconds=0.5).run()
    assert all(later - sooner >= 0.4 for sooner, later in pairwise(times))
    with read(engine) as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(hosts)).scalar() == 1
