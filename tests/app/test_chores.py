"""Chores: each is done when due, by one worker at a time, and a failing one stops nothing."""

import threading

import pytest
import sqlalchemy as sa

from atlas.chores import Chore, Clerk
from atlas.database.engine import read
from atlas.database.tables import marks
from atlas.patience import Patience
from atlas.stages.context import Context


@pytest.fixture
def ctx(settings, engine, clock):
    return Context(settings, engine, None, None, clock, Patience(threading.Event()))


class Office:
    """Workers that share a database and do one chore; `done` is how often it was."""

    def __init__(self, ctx, run=None, **options):
        self.done = 0
        self.run = run
        self.chore = Chore("sweep", 60, self._run, **options)
        self.ctx = ctx

    def _run(self, ctx):
        self.done += 1
        if self.run:
            self.run()

    def clerk(self):
        return Clerk(self.ctx, [self.chore])


def state(engine):
    with read(engine) as conn:
        return conn.execute(sa.select(marks.c.value).where(marks.c.name == "chore:sweep")).scalar_one()


def test_a_chore_is_done_when_it_is_due_and_once_for_all_workers(ctx, clock):
    office = Office(ctx)
    for expected, seconds in ((1, 0), (1, 59), (2, 1), (2, 30)):
        clock.advance(seconds)
        office.clerk().go_round()
        office.clerk().go_round()
        assert office.done == expected


def test_a_chore_that_fails_comes_round_again_and_stops_no_other(ctx, engine, clock):
    def broken():
        raise RuntimeError("dust")

    office = Office(ctx, broken)
    other = Office(ctx)
    other.chore = Chore("wash", 60, other._run)
    Clerk(ctx, [office.chore, other.chore]).go_round()
    assert (office.done, other.done) == (1, 1)
    assert state(engine)["error"] == "RuntimeError"
    assert state(engine)["busy"] is False
    clock.advance(60)
    office.clerk().go_round()
    assert office.done == 2


def test_a_chore_that_cannot_be_begun_stops_no_other(ctx):
    def broken(_conn, _now):
        raise ValueError("no address")

    office, other = Office(ctx, wanted=broken), Office(ctx)
    other.chore = Chore("wash", 60, other._run)
    Clerk(ctx, [office.chore, other.chore]).go_round()
    assert (office.done, other.done) == (0, 1)


def test_a_chore_in_hand_is_left_alone_until_its_worker_must_be_dead(ctx, engine, clock):
    office = Office(ctx, longest_seconds=900)
    office.clerk().go_round()
    with engine.begin() as conn:  # as a killed worker leaves it
        conn.execute(marks.update().values(value={"busy": True}))
    clock.advance(899)
    office.clerk().go_round()
    assert office.done == 1
    clock.advance(1)
    office.clerk().go_round()
    assert office.done == 2


def test_nothing_is_claimed_when_there_is_nothing_to_do(ctx, engine):
    office = Office(ctx, wanted=lambda conn, now: False)
    office.clerk().go_round()
    assert office.done == 0
    with read(engine) as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(marks)).scalar_one() == 0
