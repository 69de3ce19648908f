"""Healing: who is restarted, in which order, how often, and who is left alone."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standins import Machine

from atlasctl.health.definitions import Definition, parse
from atlasctl.health.heal import heal, in_order
from atlasctl.health.history import Standing
from atlasctl.health.state import State
from atlasctl.systemd import show

START = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
FAILED = {"ActiveState": "failed", "SubState": "failed", "Result": "exit-code"}


def check(name: str, kind: str = "unit", **keys: Any) -> Definition:
    rest = {"unit": {}, "http": {"url": "http://localhost/"}, "command": {"argv": ["x"]}}[kind]
    content = {"check": kind, "unit": f"{name}.service", "restart": True, **rest, **keys}
    return parse(name, json.dumps(content).encode())


def stands(state: State, since: datetime = START, observed: State | None = None) -> Standing:
    return Standing(state, since, state if observed is None else observed, 0, f"it is {state.name}", None, 0)


class Ward:
    """A machine with checks that are healed again and again."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.memory: dict[str, Any] = {}
        self.notes: list[str] = []

    def heal(self, *checks: Definition, at: float = 0, **standings: Standing) -> list[str]:
        """Heal once, `at` seconds after the start; return the units restarted. Checks not given are DOWN."""
        all_stand = {one.name: standings.get(one.name, stands(State.DOWN)) for one in checks}
        units = show(sorted({unit for one in checks for unit in one.units}))
        now = START + timedelta(seconds=at)
        self.events, self.notes = heal(list(checks), all_stand, units, self.memory, now)
        self.memory = json.loads(json.dumps(self.memory))
        return [event["unit"] for event in self.events]


@pytest.fixture
def ward(machine: Machine) -> Ward:
    for name in ("database", "api", "worker"):
        machine.unit(f"{name}.service", **FAILED)
    return Ward(machine)


def test_a_failed_unit_is_restarted_also_when_systemd_gave_up(ward: Ward) -> None:
    assert ward.heal(check("api")) == ["api.service"]
    assert ward.machine.calls("reset-failed") == ["systemctl reset-failed -- api.service"]
    assert ward.machine.state("api.service")["ActiveState"] == "active"
    assert ward.events == [
        {
            "at": "2026-11-22T04:00:00Z",
            "unit": "api.service",
            "check": "api",
            "reason": "failed (exit-code)",
            "worked": True,
            "said": "",
        }
    ]


def test_what_does_not_run_needs_no_second_look(ward: Ward) -> None:
    once = stands(State.HEALTHY, since=START - timedelta(days=1), observed=State.DOWN)
    assert ward.heal(check("api", "http"), api=once) == ["api.service"]
    assert ward.heal(check("api", "http"), api=once, at=30) == [], "it runs: its answer gets a second look"
    for at in (60, 120, 180, 240):  # it is seen once in turn only, and the budget holds all the same
        ward.machine.unit("api.service", **FAILED)
        ward.heal(check("api", "http"), api=once, at=at)
    assert len(ward.machine.calls("systemctl restart")) == 3


def test_nothing_is_restarted_that_does_not_say_so(ward: Ward) -> None:
    assert ward.heal(check("api", restart=False)) == []
    assert ward.machine.calls("restart") == []


def test_what_others_stand_on_comes_first(ward: Ward) -> None:
    checks = [check("api", after=["database"]), check("worker", after=["api"]), check("database")]
    assert ward.heal(*checks) == ["database.service", "api.service", "worker.service"]


def test_nobody_is_restarted_while_what_he_stands_on_stays_down(ward: Ward) -> None:
    ward.machine.unit("database.service", **FAILED, on_restart=FAILED, exit_code=1)
    checks = [check("database"), check("api", after=["database"]), check("worker", after=["api"])]
    assert ward.heal(*checks) == ["database.service"]
    assert not ward.events[0]["worked"]
    assert "Job for database.service failed" in ward.events[0]["said"]


def test_what_only_does_not_answer_gets_another_look_after_its_ground_was_healed(ward: Ward) -> None:
    ward.machine.unit("api.service")
    api = check("api", "http", after=["database"])
    assert ward.heal(check("database"), api) == ["database.service"]
    assert ward.heal(check("database"), api, at=30, database=stands(State.HEALTHY)) == ["api.service"]


def test_a_hung_unit_is_restarted(ward: Ward) -> None:
    ward.machine.unit("api.service")
    assert ward.heal(check("api", "http")) == ["api.service"]
    assert ward.events[0]["reason"] == "it is DOWN"


def test_a_wrong_answer_is_no_reason_to_restart_but_a_commands_verdict_is(ward: Ward) -> None:
    ward.machine.unit("api.service")
    assert ward.heal(check("api", "http"), api=stands(State.CRITICAL)) == []
    assert ward.heal(check("api", "command"), api=stands(State.CRITICAL)) == ["api.service"]


def test_what_is_better_just_now_is_left_alone(ward: Ward) -> None:
    assert ward.heal(check("api", "http"), api=stands(State.DOWN, observed=State.HEALTHY)) == []


@pytest.mark.parametrize(
    "state",
    [
        {"UnitFileState": "disabled", "ActiveState": "inactive"},
        {"LoadState": "masked", "UnitFileState": "masked", "ActiveState": "inactive"},
        {"LoadState": "not-found", "UnitFileState": "", "ActiveState": "inactive"},
        {"ActiveState": "activating", "SubState": "auto-restart"},
        {"ActiveState": "deactivating", "SubState": "stop-sigterm"},
    ],
)
def test_what_the_owner_put_away_or_systemd_works_on_is_left_alone(ward: Ward, state: dict[str, str]) -> None:
    ward.machine.unit("api.service", **state)
    assert ward.heal(check("api")) == []
    assert ward.heal(check("api", "http")) == []


def test_only_the_units_that_are_down_are_restarted(ward: Ward) -> None:
    ward.machine.unit("api.service")
    both = check("both", unit=None, units=["api.service", "worker.service"])
    assert ward.heal(both) == ["worker.service"]


def test_a_timer_without_a_next_time_is_restarted(ward: Ward) -> None:
    ward.machine.unit("poll.timer", SubState="elapsed")
    assert ward.heal(check("poll", unit="poll.timer")) == ["poll.timer"]


def test_a_unit_of_two_checks_is_restarted_once(ward: Ward) -> None:
    checks = [check("api"), check("page", "http", unit="api.service")]
    assert ward.heal(*checks) == ["api.service"]


def restarts(ward: Ward, minutes: float) -> list[int]:
    """Let a unit fail again at once after each restart; return the seconds at which it was restarted."""
    seconds = []
    for at in range(0, int(minutes * 60), 30):
        ward.machine.unit("api.service", **FAILED)
        if ward.heal(check("api"), at=at):
            seconds.append(at)
    return seconds


def test_restarts_back_off_and_keep_to_the_budget(ward: Ward) -> None:
    seconds = restarts(ward, 70)
    assert seconds == [0, 30, 90, 600, 840, 1320, 2280]
    for start in seconds:
        assert len([at for at in seconds if start <= at < start + 600]) <= 3
    assert ward.notes[0].startswith("api.service: 7 restarts did not help; next try 05:")


def test_a_unit_that_was_well_for_a_while_starts_with_a_fresh_budget(ward: Ward) -> None:
    restarts(ward, 2)
    assert len(ward.memory["attempts"]["api.service"]) == 3
    well = stands(State.HEALTHY, START + timedelta(minutes=2))
    ward.heal(check("api"), at=300, api=well)
    assert len(ward.memory["attempts"]["api.service"]) == 3
    ward.heal(check("api"), at=720, api=well)
    assert ward.memory["attempts"] == {}


def test_a_clock_that_jumped_back_does_not_stop_healing(ward: Ward) -> None:
    ward.memory = {"attempts": {"api.service": ["2030-01-01T00:00:00Z"]}}
    assert ward.heal(check("api")) == ["api.service"]


@pytest.mark.parametrize("attempts", [None, [], {"api.service": None}, {"api.service": [None, "x", 5]}])
def test_a_strange_memory_does_not_stop_healing(ward: Ward, attempts: Any) -> None:
    ward.memory = {"attempts": attempts}
    assert ward.heal(check("api")) == ["api.service"]


def test_order_survives_circles_and_names_that_are_not_there() -> None:
    circle = [check("a", after=["b"]), check("b", after=["a", "nobody"]), check("c", after=["c"])]
    assert sorted(one.name for one in in_order(circle)) == ["a", "b", "c"]
    assert [one.name for one in in_order([check("z", after=["y"]), check("y", after=["x"]), check("x")])] == [
        "x",
        "y",
        "z",
    ]
