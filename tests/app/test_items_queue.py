"""The queue under chance and under threads: nothing is lost, nothing comes twice, nothing sticks."""

import datetime as dt
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import hypothesis.strategies as st
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from atlas import items
from atlas.database.engine import read
from atlas.database.tables import hosts, transitions
from atlas.database.tables import items as table
from atlas.items import ItemError, Lane, Step
from atlas.stages.table import Stage

START = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)
LEASE = 30
DELAY = 5
URLS = [f"https://host{number % 3}.example/{number}" for number in range(8)]
DONE = [Step(Stage.COMPLETE, "Done")]
FETCHED = [Step(Stage.ACQUISITION_COMPLETE, "Fetched")]
ERROR = ItemError("http_503", "Overloaded", Stage.FETCH_ATTEMPTING)


class Queue(RuleBasedStateMachine):
    """Any order of what workers, users and time may do; the model knows only who holds what since when."""

    engine: sa.Engine

    def __init__(self):
        super().__init__()
        self.now = START
        self.held = []  # every lease ever handed out, the oldest first
        self.holder = {}  # item id -> its newest lease, while nothing gave it back
        self.until = {}  # item id -> when that lease runs out
        self.fetched_at = {}  # host -> when it was last handed out for fetching
        self.finished = Counter()
        self.expected = Counter()  # item id -> how often it was queued
        with self.engine.begin() as conn:
            for emptied in (transitions, hosts, table):
                conn.execute(emptied.delete())

    @rule(url=st.sampled_from(URLS), lane=st.sampled_from(Lane))
    def add(self, url, lane):
        with self.engine.begin() as conn:
            added = items.add(conn, url, now=self.now, lane=lane, correlation_id="test")
        if added.duplicate_of is None:
            self.expected[added.id] += 1

    @rule(url=st.sampled_from(URLS), lane=st.sampled_from(Lane))
    def add_from_an_import(self, url, lane):
        with self.engine.begin() as conn:
            added = items.add(conn, url, now=self.now, lane=lane, correlation_id="test", waits=True)
        if added.duplicate_of is None:
            self.expected[added.id] += 1

    @rule(url=st.sampled_from(URLS))
    def hand_in(self, url):
        """Content for what nobody has read takes the item out of the hands of whoever fetches it."""
        with self.engine.begin() as conn:
            before = conn.execute(sa.select(table.c.id, table.c.stage).where(table.c.url == url)).first()
            added = items.add(
                conn, url, now=self.now, correlation_id="test", fields={"original_sha256": "ab" * 32}
            )
        if added.duplicate_of is not None:
            return
        self.holder.pop(added.id, None)
        self.until.pop(added.id, None)
        if before is None or before.stage == Stage.PERMANENT_ERROR:
            self.expected[added.id] += 1

    @rule(room=st.integers(1, 20))
    def top_up(self, room):
        items.top_up(self.engine, now=self.now, max_queue_size=room)

    @rule(host=st.integers(0, 2), seconds=st.sampled_from([1, 90]))
    def rest(self, host, seconds):
        with self.engine.begin() as conn:
            until = self.now + dt.timedelta(seconds=seconds)
            items.postpone_host(conn, f"host{host}.example", until=until)
        items.put_off_resting(self.engine, now=self.now, delay_seconds=DELAY)

    @rule()
    def lease(self):
        leased = items.lease(
            self.engine, worker="w", now=self.now, lease_seconds=LEASE, host_delay_seconds=DELAY
        )
        if leased is None:
            return
        assert self.now >= self.until.get(leased.id, self.now), "handed out while another holds it"
        if leased.stage != Stage.ACQUISITION_COMPLETE:
            earlier = self.fetched_at.get(leased.host)
            assert earlier is None or self.now - earlier >= dt.timedelta(seconds=DELAY), "asked too soon"
            self.fetched_at[leased.host] = self.now
        self.held.append(leased)
        self.holder[leased.id] = leased
        self.until[leased.id] = self.now + dt.timedelta(seconds=LEASE)

    @rule(seconds=st.sampled_from([0.5, 4, 6, 31]))
    def wait(self, seconds):
        self.now += dt.timedelta(seconds=seconds)

    @precondition(lambda self: self.held)
    @rule(
        data=st.data(),
        what=st.sampled_from(["finish", "give back", "fetched", "retry", "put off", "fail", "extend"]),
    )
    def report(self, data, what):
        """A worker reports, however late: only the newest holder of an item is heard."""
        leased = data.draw(st.sampled_from(self.held))
        heard = self.holder.get(leased.id) is leased
        with self.engine.begin() as conn:
            assert self._report(conn, leased, what) == heard
        if heard and what == "extend":
            self.until[leased.id] = self.now + dt.timedelta(seconds=LEASE)
        elif heard:
            del self.holder[leased.id], self.until[leased.id]
            self.finished[leased.id] += what in ("finish", "fail")

    def _report(self, conn, leased, what):
        soon = self.now + dt.timedelta(seconds=3)
        if what == "finish":
            return items.advance(conn, leased, DONE, now=self.now, due=None)
        if what == "give back":
            return items.advance(conn, leased, [], now=self.now, due=self.now)
        if what == "fetched":
            return items.advance(conn, leased, FETCHED, now=self.now, due=self.now)
        if what == "retry":
            return items.retry_later(conn, leased, ERROR, now=self.now, at=soon)
        if what == "put off":
            return items.put_off(conn, leased, now=self.now, at=soon)
        if what == "fail":
            return items.fail(conn, leased, ERROR, now=self.now)
        return not items.extend(conn, [(leased.id, leased.lease)], now=self.now, lease_seconds=LEASE)

    @invariant()
    def one_living_row_an_address(self):
        with read(self.engine) as conn:
            living = (
                conn.execute(sa.select(table.c.url_key).where(table.c.stage != Stage.DUPLICATE))
                .scalars()
                .all()
            )
        assert len(living) == len(set(living)) == len(self.expected)

    def teardown(self):
        """Whatever happened, patient workers bring every item to an end, each exactly once a queueing."""
        for _ in range(len(URLS) * 8):
            items.top_up(self.engine, now=self.now, max_queue_size=1000)
            self.now += dt.timedelta(seconds=LEASE + DELAY)
            while leased := items.lease(
                self.engine, worker="last", now=self.now, lease_seconds=LEASE, host_delay_seconds=DELAY
            ):
                with self.engine.begin() as conn:
                    assert items.advance(conn, leased, DONE, now=self.now, due=None)
                self.finished[leased.id] += 1
        assert self.finished == self.expected
        with read(self.engine) as conn:
            open_rows = sa.or_(table.c.due_at.is_not(None), table.c.lease.is_not(None))
            assert conn.execute(sa.select(table.c.id).where(open_rows)).all() == []


def test_any_order_of_events(engine):
    machine = type("QueueOn" + engine.dialect.name, (Queue,), {"engine": engine})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=10, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def in_threads(count, work):
    """Run `work` in that many threads at once; raise what any of them raised."""
    barrier = threading.Barrier(count)

    def run(number):
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_many_workers_share_without_doubling(engine):
    hosts_, each, delay = 12, 5, 0.02
    with engine.begin() as conn:
        for number in range(hosts_ * each):
            url = f"https://host{number % hosts_}.example/{number}"
            items.add(conn, url, now=START, correlation_id="test")
    handed = []

    def work(number):
        for _ in range(10_000):
            now = dt.datetime.now(dt.UTC)
            leased = items.lease(
                engine, worker=f"w{number}", now=now, lease_seconds=60, host_delay_seconds=delay
            )
            if leased is not None:
                handed.append((leased.host, now, leased.id))
                with engine.begin() as conn:
                    assert items.advance(conn, leased, DONE, now=now, due=None)
            elif len(handed) == hosts_ * each:
                return

    in_threads(6, work)
    assert Counter(item for _, _, item in handed) == Counter(range(1, hosts_ * each + 1))
    for host in {host for host, _, _ in handed}:
        times = sorted(now for found, now, _ in handed if found == host)
        gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(times)]
        assert min(gaps) >= delay


def test_two_workers_one_item(engine):
    """All reach for the only item at the same moment, many times over; one gets it each time."""
    for number in range(10):
        with engine.begin() as conn:
            items.add(conn, f"https://host{number}.example/", now=START, correlation_id="test")
        found = in_threads(
            4,
            lambda worker: items.lease(
                engine, worker=str(worker), now=START, lease_seconds=60, host_delay_seconds=1
            ),
        )
        assert sum(leased is not None for leased in found) == 1


def test_one_host_and_many_workers(engine):
    """Politeness holds when all reach for different items of one host at the same moment."""
    with engine.begin() as conn:
        for number in range(8):
            items.add(conn, f"https://host.example/{number}", now=START, correlation_id="test")
    for second in range(8):
        now = START + dt.timedelta(seconds=second)
        found = in_threads(
            4,
            lambda worker, now=now: items.lease(
                engine, worker=str(worker), now=now, lease_seconds=60, host_delay_seconds=1
            ),
        )
        assert sum(leased is not None for leased in found) == 1


def test_the_same_addresses_added_by_many_at_once(engine):
    urls = [f"https://example.com/{number}" for number in range(10)]

    def add_all(_number):
        added = []
        for url in urls:
            with engine.begin() as conn:
                added.append(items.add(conn, url, now=START, correlation_id="test"))
        return added

    added = [one for thread in in_threads(6, add_all) for one in thread]
    originals = {one.id: one.url for one in added if one.duplicate_of is None}
    assert sorted(originals.values()) == sorted(urls)
    assert all(originals[one.duplicate_of] == one.url for one in added if one.duplicate_of)
    assert len({one.id for one in added}) == 60
