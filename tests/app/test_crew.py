"""How many hands a worker works with, and what an hour usually brings."""

import datetime as dt
import threading
import time

import pytest
from webserver import Page, WebServer

from atlas import items
from atlas.database.engine import read
from atlas.net.client import Fetcher
from atlas.resilience import crew
from atlas.settings import Settings
from atlas.worker import Limits, Worker


def test_hands_follow_the_backlog_and_the_usual_load_within_limits():
    assert crew.hands(0, 0, 0, 8) == 1
    assert crew.hands(0, 4, 0, 8) == 2
    assert crew.hands(3, 4, 0, 8) == 5, "what is in hand needs its hands"
    assert crew.hands(0, 10_000, 0, 8) == 8
    assert crew.hands(0, 0, 2400, 8) == 4, "ready for what usually comes at this hour"
    assert crew.hands(0, 0, 1e9, 8) == 8
    assert crew.hands(0, 5, 5, 1) == 1


def test_what_an_hour_brought_is_learnt_once(engine, clock):
    clock.now = dt.datetime(2026, 11, 23, 9, 5, tzinfo=dt.UTC)  # a Monday
    with engine.begin() as conn:
        for number in range(10):
            items.add(conn, f"https://a.example/{number}", now=clock.now, correlation_id="t")
    monday = clock.now
    clock.now = monday + dt.timedelta(hours=1)
    for _ in range(3):
        with engine.begin() as conn:
            crew.learn(conn, clock.now)
    assert crew.hour_of(monday) == 9
    with read(engine) as conn:
        assert crew.usual(conn, monday) == 10
        assert crew.usual(conn, monday + dt.timedelta(hours=1)) == 0
    with engine.begin() as conn:
        crew.learn(conn, monday + dt.timedelta(days=7, hours=1))
        assert crew.usual(conn, monday) == pytest.approx(7), "an empty week counts, but not alone"


@pytest.mark.slow
def test_a_worker_uses_more_hands_when_much_waits(settings, engine):
    allowed = Settings(_env_file=None, allowed_networks="127.0.0.0/8").allowed_networks
    own = settings.model_copy(
        update={"allowed_networks": allowed, "host_delay_seconds": 0, "worker_threads": 4}
    )
    at_once, most, lock = [0], [0], threading.Lock()

    def slow(_):
        with lock:
            at_once[0] += 1
            most[0] = max(most)
            most.append(at_once[0])
        time.sleep(0.5)
        with lock:
            at_once[0] -= 1
        return Page("gone", status=404)

    with WebServer() as web:
        web.pages = {f"/{n}": slow for n in range(30)}

        def add(numbers):
            with engine.begin() as conn:
                for number in numbers:
                    now = dt.datetime.now(dt.UTC)
                    items.add(conn, web.url(f"/{number}"), now=now, correlation_id="t")

        worker = Worker(own, engine, Fetcher(own), None, limits=Limits())
        thread = threading.Thread(target=worker.run)
        thread.start()
        add(range(30))
        end = time.monotonic() + 20
        while max(most) < 4 and time.monotonic() < end:
            time.sleep(0.05)
        worker.stop()
        thread.join(20)
    assert max(most) == 4
