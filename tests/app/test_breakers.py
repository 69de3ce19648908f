"""Breakers: what fails again and again is left alone, by everybody, and tried again by one."""

import datetime as dt
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from atlas.database.engine import read
from atlas.resilience import breakers
from atlas.resilience.breakers import BreakerOpen

NAME = "provider:searxng"
LIMITS = breakers.threshold(NAME)


def fail(engine, clock, times=1, name=NAME):
    for _ in range(times):
        with pytest.raises(RuntimeError), breakers.guard(engine, name, clock):
            raise RuntimeError("down")


def call(engine, clock, name=NAME):
    with breakers.guard(engine, name, clock):
        return "answered"


def states(engine):
    with read(engine) as conn:
        return {row["name"]: row["state"] for row in breakers.not_closed(conn)}


def test_it_opens_after_so_many_failures_in_a_row_and_then_nothing_is_called(engine, clock):
    fail(engine, clock, LIMITS.failures - 1)
    assert states(engine) == {}
    assert call(engine, clock) == "answered"
    fail(engine, clock, LIMITS.failures - 1)
    assert states(engine) == {}, "a success in between forgets what was before"
    fail(engine, clock)
    assert states(engine) == {NAME: "open"}
    with pytest.raises(BreakerOpen) as caught:
        call(engine, clock)
    assert caught.value.retry_at == clock.now + dt.timedelta(seconds=LIMITS.rest_seconds)
    assert caught.value.reason == "down"
    assert call(engine, clock, "provider:other") == "answered"


def test_failures_far_apart_do_not_add_up(engine, clock):
    for _ in range(3 * LIMITS.failures):
        fail(engine, clock)
        clock.advance(LIMITS.window_seconds + 1)
    assert states(engine) == {}


def test_a_probe_that_succeeds_closes_it_for_all(engine, clock):
    fail(engine, clock, LIMITS.failures)
    clock.advance(LIMITS.rest_seconds)
    assert call(engine, clock) == "answered"
    assert states(engine) == {}
    fail(engine, clock, LIMITS.failures - 1)
    assert states(engine) == {}


def test_each_probe_that_fails_doubles_the_rest_up_to_the_longest(engine, clock):
    fail(engine, clock, LIMITS.failures)
    rest = LIMITS.rest_seconds
    for _ in range(12):
        clock.advance(rest)
        fail(engine, clock)
        rest = min(rest * 2, LIMITS.longest_seconds)
        with pytest.raises(BreakerOpen) as caught:
            call(engine, clock)
        assert (caught.value.retry_at - clock.now).total_seconds() == rest
    assert rest == LIMITS.longest_seconds


def test_one_probe_and_no_second_one(engine, clock):
    fail(engine, clock, LIMITS.failures)
    clock.advance(LIMITS.rest_seconds)
    grants, refused, together = [], [], threading.Barrier(6)

    def ask():
        together.wait()
        try:
            grants.append(breakers.allow(engine, NAME, now=clock.now))
        except BreakerOpen:
            refused.append(1)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(grants), len(refused)) == (1, 5)
    assert states(engine) == {NAME: "half_open"}
    breakers.success(engine, grants[0])
    assert states(engine) == {}


def test_a_probe_that_never_comes_back_is_replaced_and_its_late_word_does_not_count(engine, clock):
    fail(engine, clock, LIMITS.failures)
    clock.advance(LIMITS.rest_seconds)
    lost = breakers.allow(engine, NAME, now=clock.now)
    with pytest.raises(BreakerOpen):
        breakers.allow(engine, NAME, now=clock.now)
    clock.advance(LIMITS.probe_seconds)
    second = breakers.allow(engine, NAME, now=clock.now)
    breakers.success(engine, lost)
    assert states(engine) == {NAME: "half_open"}
    breakers.failure(engine, second, "still down", now=clock.now)
    assert states(engine) == {NAME: "open"}


def test_what_is_nobodys_fault_is_not_counted_and_gives_the_probe_back(engine, clock):
    for _ in range(LIMITS.failures):
        with pytest.raises(KeyError), breakers.guard(engine, NAME, clock, blames=RuntimeError):
            raise KeyError
    assert states(engine) == {}
    fail(engine, clock, LIMITS.failures)
    clock.advance(LIMITS.rest_seconds)
    with pytest.raises(KeyError), breakers.guard(engine, NAME, clock, blames=RuntimeError):
        raise KeyError
    assert call(engine, clock) == "answered"


def test_calls_begun_before_it_opened_change_nothing_after(engine, clock):
    early = [breakers.allow(engine, NAME, now=clock.now) for _ in range(9)]
    for grant in early:
        breakers.failure(engine, grant, "down", now=clock.now)
    breakers.success(engine, breakers.Grant(NAME, failures=2))
    with pytest.raises(BreakerOpen) as caught:
        call(engine, clock)
    assert (caught.value.retry_at - clock.now).total_seconds() == LIMITS.rest_seconds


def test_the_other_side_may_say_how_long(engine, clock):
    until = clock.now + dt.timedelta(hours=5)
    grant = breakers.allow(engine, NAME, now=clock.now)
    assert breakers.failure(engine, grant, "blocked", now=clock.now, until=until) == until
    with pytest.raises(BreakerOpen) as caught:
        call(engine, clock)
    assert caught.value.retry_at == until


def test_a_clock_set_back_does_not_keep_it_shut_for_years(engine, clock):
    now = clock.now
    clock.advance(400 * 86_400)
    fail(engine, clock, LIMITS.failures)
    clock.now = now
    assert call(engine, clock) == "answered"


def test_a_name_of_no_kind_is_a_mistake_of_the_caller(engine, clock):
    with pytest.raises(KeyError):
        call(engine, clock, "searxng")


def test_failures_and_successes_of_many_at_once(engine, clock):
    """A success takes the row away that a failure is about to count in."""

    def fail_on(_):
        for _ in range(100):
            breakers.failure(engine, breakers.Grant(NAME), "down", now=clock.now)

    def succeed_on(_):
        for _ in range(100):
            breakers.success(engine, breakers.Grant(NAME, None, 1))

    with ThreadPoolExecutor(6) as threads:
        failing, succeeding = threads.map(fail_on, range(3)), threads.map(succeed_on, range(3))
        assert [*failing, *succeeding] == [None] * 6
