"""Waiting for room: on the operator's screen, longer each time, and with an end."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

PLUGIN = Path(__file__).parents[2] / "plugins" / "action" / "oci_instance.py"
A1 = {"shape": "VM.Standard.A1.Flex", "ocpus": 2, "memory_gb": 12}
MICRO = {"shape": "VM.Standard.E2.1.Micro"}
FULL = {"instance": None, "full": ["VM.Standard.A1.Flex in AD-1", "VM.Standard.A1.Flex in AD-2"]}
MADE = {"instance": {"id": "ocid1.instance.x"}, "full": [], "changed": True}


@pytest.fixture
def plugin() -> Any:
    # The module has the same name.
    spec = importlib.util.spec_from_file_location("oci_instance_action", PLUGIN)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


class Waiting:
    """The plugin with a clock of its own, and answers of the module that are set."""

    def __init__(self, plugin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.plugin = plugin
        self.answers: list[dict[str, Any]] = []
        self.walks: list[list[dict[str, Any]]] = []
        self.said: list[str] = []
        self.pauses: list[float] = []
        self.now = 1000.0
        monkeypatch.setattr(plugin.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(plugin.time, "sleep", self.sleep)
        monkeypatch.setattr(plugin, "_say", self.said.append)

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def run(self, **options: Any) -> dict[str, Any]:
        action = object.__new__(self.plugin.ActionModule)
        action._task = type("Task", (), {"args": {"shapes": [A1], **options}})()
        action._execute_module = self.walk
        return action.run(task_vars={})

    def walk(self, *, module_name: str, module_args: dict[str, Any], task_vars: Any) -> dict[str, Any]:
        assert module_name == "oci_instance"
        self.walks.append(module_args["shapes"])
        self.now += 4  # a walk takes its time too
        return dict(self.answers.pop(0) if self.answers else FULL)


@pytest.fixture
def waiting(plugin: Any, monkeypatch: pytest.MonkeyPatch) -> Waiting:
    monkeypatch.setattr(plugin.ActionBase, "run", lambda *_: {})
    return Waiting(plugin, monkeypatch)


def test_room_at_once(waiting):
    waiting.answers = [MADE]
    assert waiting.run() == MADE
    assert (waiting.pauses, waiting.said) == ([], [])


def test_room_at_the_third_walk(waiting):
    waiting.answers = [FULL, FULL, MADE]
    assert waiting.run() == MADE
    assert waiting.pauses == [60, 90]
    assert waiting.said[0] == (
        "No room for VM.Standard.A1.Flex in AD-1, VM.Standard.A1.Flex in AD-2 (walk 1). Trying again in "
        "60 s, for 60 minutes more; Ctrl-C loses nothing."
    )
    assert "(walk 2)" in waiting.said[1]


def test_pauses_grow_to_five_times_the_first_and_not_beyond_the_end(waiting):
    result = waiting.run(capacity_minutes=30, capacity_pause_seconds=60)
    assert result["failed"]
    assert waiting.pauses[:5] == [60, 90, 135, 202.5, 300]
    assert max(waiting.pauses) == 300
    assert sum(waiting.pauses) <= 30 * 60
    assert len(waiting.walks) == len(waiting.pauses) + 1, "it looks once more at the very end"


def test_no_minutes_is_one_walk(waiting):
    result = waiting.run(capacity_minutes=0)
    assert (result["failed"], len(waiting.walks), waiting.pauses) == (True, 1, [])


@pytest.mark.parametrize("minutes", ["0", "0.0", 0])
def test_numbers_may_be_text(waiting, minutes):
    waiting.run(capacity_minutes=minutes, capacity_pause_seconds="5")
    assert len(waiting.walks) == 1


def test_the_last_sentence_says_what_to_do(waiting):
    said = waiting.run(capacity_minutes=0)["msg"]
    assert said.startswith(
        "Oracle has no room now: VM.Standard.A1.Flex in AD-1, VM.Standard.A1.Flex in AD-2."
    )
    assert "This is not your account's limit" in said
    assert "it goes on from here" in said
    assert "oci_compute_capacity_minutes" in said


def test_only_then_the_other_shape(waiting):
    waiting.answers = [FULL, FULL, FULL, MADE]
    result = waiting.run(shapes=[A1, MICRO], capacity_minutes=2, capacity_pause_seconds=60)
    assert result == MADE
    assert waiting.walks == [[A1], [A1], [A1], [MICRO]]
    assert waiting.said[-1] == (
        "No room for VM.Standard.A1.Flex in all that time. Trying VM.Standard.E2.1.Micro."
    )


def test_no_room_for_the_other_either(waiting):
    waiting.answers = [FULL, {"instance": None, "full": ["VM.Standard.E2.1.Micro in AD-3"]}]
    result = waiting.run(shapes=[A1, MICRO], capacity_minutes=0)
    assert result["failed"]
    assert "VM.Standard.A1.Flex in AD-1" in result["msg"]
    assert "VM.Standard.E2.1.Micro in AD-3" in result["msg"]


@pytest.mark.parametrize("before", [0, 2])
def test_what_fails_for_another_reason_is_not_waited_for(waiting, before):
    failed = {"failed": True, "msg": "The account's limit is reached", "full": []}
    waiting.answers = [FULL] * before + [failed]
    assert waiting.run(shapes=[A1, MICRO]) == failed
    assert len(waiting.walks) == before + 1


def test_a_check_of_a_full_region_does_not_wait(waiting):
    """A check launches nothing, so it never learns that there is no room."""
    pending = {"instance": {"id": "pending"}, "full": [], "changed": True}
    waiting.answers = [pending]
    assert waiting.run() == pending


@pytest.mark.parametrize("shapes", [None, []])
def test_without_shapes_the_module_says_what_is_missing(waiting, shapes):
    waiting.answers = [{"failed": True, "msg": "missing required arguments: shapes"}]
    assert waiting.run(shapes=shapes)["failed"]
