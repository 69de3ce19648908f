"""Trying to get in after a change: at most three times, so that nobody is banned for it, and with an end."""

import importlib.util
import subprocess
from pathlib import Path
from typing import Any

import pytest
import trial
from file_tree import Tree, Wanted

ROOT = Path(__file__).parents[2]
TRIAL = {"name": "door", "seconds": 45, "hint": "Are you at {client}?"}
OUT = ("unreachable", "Permission denied (publickey)")


@pytest.fixture
def plugin() -> Any:
    # The module has the same name.
    spec = importlib.util.spec_from_file_location(
        "install_tree_action", ROOT / "plugins/action/install_tree.py"
    )
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


class Door:
    """The plugin with a clock of its own, and a machine that answers as it is told."""

    def __init__(self, plugin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.plugin = plugin
        self.now = 1000.0
        self.tried: list[float] = []
        self.answers: dict[int, tuple[str, str]] = {}
        self.takes = 0.0
        monkeypatch.setattr(plugin.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(plugin.time, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def knock(self, *_: object) -> tuple[str, str]:
        self.tried.append(self.now - 1000)
        self.now += self.takes
        return self.answers.get(len(self.tried), OUT)

    def settle(self, **options: object) -> dict[str, Any]:
        action = object.__new__(self.plugin.ActionModule)
        action._connection = type("Connection", (), {"set_option": lambda *_: None})()
        action._keep = self.knock
        found: dict[str, Any] = action._settle({**TRIAL, **options}, "journal", "192.0.2.7", {})
        return found


@pytest.fixture
def door(plugin: Any, monkeypatch: pytest.MonkeyPatch) -> Door:
    return Door(plugin, monkeypatch)


def test_who_gets_in_has_tried_once(door: Door) -> None:
    door.answers = {1: ("kept", "")}
    assert door.settle() == {"trial": "kept"}
    assert door.tried == [0]


def test_a_server_that_was_being_restarted_is_asked_again(door: Door) -> None:
    door.answers = {2: ("kept", "")}
    assert door.settle() == {"trial": "kept"}
    assert door.tried == [0, 5]


def test_who_is_shut_out_tries_no_more_until_all_is_taken_back(door: Door) -> None:
    door.answers = {3: ("gone", "")}
    told = door.settle()
    assert told["failed"]
    assert "put back as it was" in told["msg"]
    assert "Are you at 192.0.2.7?" in told["msg"]
    assert "Permission denied" in told["msg"]
    assert door.tried == [0, 5, 55]


@pytest.mark.parametrize("seconds", [15, 45, 600])
@pytest.mark.parametrize("takes", [0, 10, 40])
def test_three_tries_and_no_more_however_long_each_takes(door: Door, seconds: int, takes: int) -> None:
    door.takes = takes
    told = door.settle(seconds=seconds)
    assert "trial-door.timer" in told["msg"]
    assert len(door.tried) == 3
    assert door.tried[1] >= 5
    assert door.tried[2] >= seconds + 10


def test_fail2ban_finds_in_the_record_who_is_on_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command of the role's jail, with the place of the record changed."""
    monkeypatch.setattr(trial, "UNITS", str(tmp_path / "units"))
    (tmp_path / "units").mkdir()
    monkeypatch.setattr(trial, "_run", lambda *_: (0, ""))
    jail = (ROOT / "roles/fail2ban/tree/etc/fail2ban/jail.local.j2").read_text()
    (command,) = (line.partition(" = ")[2] for line in jail.splitlines() if line.startswith("ignorecommand"))
    place = "/var/lib/install_tree"
    assert place in command

    def ignored(address: str) -> bool:
        asked = command.replace(place, str(tmp_path / "journals")).replace("<ip>", address)
        done = subprocess.run(["sh", "-c", asked], capture_output=True, check=False)
        assert done.returncode in {0, 1}, "fail2ban takes anything else for an error"
        assert not done.stdout + done.stderr
        return done.returncode == 0

    assert not ignored("192.0.2.7"), "there is no trial at all"
    assert ignored("127.0.0.1"), "the machine's own address"
    tree = Tree(str(tmp_path), files=[Wanted(str(tmp_path / "door"), 0o644, content=b"new")])
    journal = str(tmp_path / "journals/door")
    trial.begin(tree, trial.Trial("door", 45, apply=[]), journal=journal, client="192.0.2.7")
    assert ignored("192.0.2.7")
    assert not ignored("192.0.2.70")
    assert not ignored("2.0.2.7")
    trial.take_back(journal)
    assert not ignored("192.0.2.7")
