"""Hysteresis and memory: what counts, since when, and what a torn file does."""

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from atlasctl.files import read_object
from atlasctl.health import history
from atlasctl.health.checks import Observation
from atlasctl.health.definitions import parse
from atlasctl.health.state import State
from atlasctl.systemd import Unit

START = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
DISK = parse("disk", b'{"check": "disk", "path": "/", "title": "Disk"}')
LETTERS = {"h": State.HEALTHY, "d": State.DEGRADED, "c": State.CRITICAL, "x": State.DOWN}


def run(looks: str, **keys: Any) -> tuple[str, list[history.Change], dict[str, Any]]:
    """Let a check be seen as `looks` says, every 30 s; return how it stood each time."""
    definition = DISK._replace(**keys)
    memory: dict[str, Any] = {}
    stood, changes = "", []
    for number, letter in enumerate(looks):
        seen = {"disk": Observation(LETTERS[letter], f"look {number}")}
        standings, changed = history.advance(
            memory, [definition], seen, START + timedelta(seconds=30 * number)
        )
        memory = json.loads(json.dumps(memory))  # as it would come back from the disk
        stood += "hdcx"[standings["disk"].state]
        changes += changed
    return stood, changes, memory


def test_one_bad_look_does_not_count() -> None:
    assert run("hhxhhxhh")[0] == "hhhhhhhh"


def test_the_second_in_a_row_counts_and_one_good_look_ends_it() -> None:
    stood, changes, memory = run("hhxxxh")
    assert stood == "hhhxxh"
    assert [(one.before, one.after) for one in changes] == [
        (State.HEALTHY, State.DOWN),
        (State.DOWN, State.HEALTHY),
    ]
    assert [one["at"] for one in memory["changes"]] == ["2026-11-22T04:01:30Z", "2026-11-22T04:02:30Z"]


def test_bad_looks_of_different_badness_are_in_a_row() -> None:
    assert run("hcdd")[0] == "hhdd"
    assert run("hdxx")[0] == "hhxx"


def test_fall_and_rise_are_counted_separately() -> None:
    assert run("hxxxhhxh", fall=3, rise=2)[0] == "hhhxxhhh"
    assert run("hxxhxhh", fall=1, rise=2)[0] == "hxxxxxh"


def test_getting_less_bad_is_getting_better() -> None:
    assert run("xxdd", rise=2)[0] == "xxxd"


def test_the_first_look_counts_at_once_and_is_told_when_bad() -> None:
    assert [one.before for one in run("x")[1]] == [None]
    assert run("h")[1] == []


def test_since_is_when_it_changed_not_when_it_was_looked_at() -> None:
    memory = run("hhxxxx")[2]
    assert memory["checks"]["disk"] == {"state": "DOWN", "since": "2026-11-22T04:01:30Z", "streak": 0}


def test_a_check_that_is_gone_is_forgotten() -> None:
    memory = run("xx")[2]
    history.advance(memory, [], {}, START)
    assert memory["checks"] == {}


def test_the_verdict_remembers_since_when() -> None:
    memory: dict[str, Any] = {}
    assert history.verdict(memory, State.HEALTHY, START) == (State.HEALTHY, START)
    later = START + timedelta(hours=1)
    assert history.verdict(memory, State.HEALTHY, later) == (State.HEALTHY, START)
    assert history.verdict(memory, State.DOWN, later) == (State.DOWN, later)


def unit(restarts: int) -> dict[str, Unit]:
    return {"a.service": Unit("a.service", "loaded", "enabled", "active", "running", "success", restarts)}


def count(*restarts: int, every: int = 30) -> dict[str, int]:
    memory: dict[str, Any] = {}
    for number, times in enumerate(restarts):
        history.count_restarts(memory, unit(times), START + timedelta(seconds=every * number))
    return history.self_restarts(memory)


def test_restarts_by_systemd_are_counted_over_ten_minutes() -> None:
    assert count(7) == {"a.service": 0}, "what was before the first look is not known"
    assert count(7, 8, 10) == {"a.service": 3}
    assert count(7, 8, 10, 10, 10, every=400) == {"a.service": 0}
    assert count(7, 0, 1) == {"a.service": 1}, "a restart by hand starts the count again"


def test_only_so_much_is_kept() -> None:
    memory = run("hhxxhh" * 200)[2]
    assert len(memory["changes"]) == history.KEPT_CHANGES
    assert len(history.told(memory, "changes")) == history.TOLD


def test_a_torn_or_strange_memory_is_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    assert read_object(path) == {}
    for torn in (b"", b'{"checks": {', b"\xff\xfe", b"[]", b"null"):
        path.write_bytes(torn)
        assert read_object(path) == {}


def test_no_content_of_the_memory_makes_health_fail() -> None:
    """Put nonsense of every kind at every place of a real memory."""
    whole = run("hhxxh")[2]
    history.count_restarts(whole, unit(1), START)
    history.verdict(whole, State.DOWN, START)
    event = {
        "at": "2026-11-22T04:00:00Z",
        "unit": "a",
        "check": "a",
        "reason": "",
        "worked": True,
        "said": "",
    }
    history.remember_event(whole, event)
    dice = random.Random(1)
    nonsense = [
        None,
        1,
        "x",
        [],
        {},
        [[]],
        {"state": 1},
        {"state": "DOWN", "since": "x"},
        "2026-11-22T04:00:00",
    ]
    for _ in range(3000):
        memory = json.loads(json.dumps(whole))
        spoil(memory, dice, nonsense)
        seen = {"disk": Observation(State.DOWN, "")}
        history.self_restarts(memory)
        standings, _ = history.advance(memory, [DISK], seen, START)
        history.count_restarts(memory, unit(2), START)
        history.verdict(memory, State.DOWN, START)
        history.remember_event(memory, event)
        assert history.told(memory, "events")[-1] == event
        assert standings["disk"].observed == State.DOWN


def spoil(value: Any, dice: random.Random, nonsense: list[Any]) -> None:
    """Replace one thing somewhere inside by something else."""
    keys = list(value.keys()) if isinstance(value, dict) else list(range(len(value)))
    key = dice.choice(keys)
    if isinstance(value[key], dict | list) and value[key] and dice.random() < 0.7:
        spoil(value[key], dice, nonsense)
    else:
        value[key] = dice.choice(nonsense)
