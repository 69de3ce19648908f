"""A change on trial: kept by who comes in anew, else taken back; against a systemd that only remembers."""

import json
import subprocess
import time
from pathlib import Path

import file_tree
import pytest
import trial
from file_tree import Tree, TreeError, Wanted
from trial import Restore, Trial, begin, came_in, keep, take_back


class Place:
    """A machine's door: a file, what is in force, and the units of systemd."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.journal = str(home / "journal")
        self.file = home / "etc/door"
        self.file.parent.mkdir()
        self.file.write_text("old")
        self.force = home / "force"
        self.force.write_text("old")
        self.told: list[list[str]] = []
        self.fails = ""
        self.answers = True

    def trial(self, **options: object) -> Trial:
        words = {
            "name": "door",
            "seconds": 45,
            "apply": [["cp", str(self.file), str(self.force)]],
            "holds": [["sh", "-c", f"cmp {self.file} {self.force} || {{ echo it is ajar; exit 1; }}"]],
            "restore": [Restore(save=["cat", str(self.force)], load=["sh", "-c", f"cat > {self.force}"])],
        }
        return Trial(**{**words, **options})

    def begin(self, text: str = "new", *, check: bool = False, validate=(), **options: object):
        tree = Tree(str(self.home), files=[Wanted(str(self.file), 0o644, content=text.encode())])
        return begin(tree, self.trial(**options), journal=self.journal, validate=validate, check=check)

    @property
    def state(self) -> tuple[str, str]:
        return self.file.read_text(), self.force.read_text()

    @property
    def units(self) -> list[str]:
        return sorted(path.name for path in (self.home / "units").rglob("*.service"))


@pytest.fixture
def place(tmp_path, monkeypatch):
    place = Place(tmp_path)
    monkeypatch.setattr(trial, "UNITS", str(tmp_path / "units"))
    monkeypatch.setattr(trial, "ssh_answers", lambda: place.answers)
    (tmp_path / "units").mkdir()
    run = trial._run

    def run_or_remember(command, text=""):
        if command[0].startswith("systemd-run") or command[0] == "systemctl":
            place.told.append(list(command))
            return (1, "no such luck") if command[0] == place.fails else (0, "")
        return run(command, text)

    monkeypatch.setattr(trial, "_run", run_or_remember)
    return place


def now():
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def test_a_new_connection_keeps_it(place):
    outcome = place.begin()
    assert (outcome.opened, outcome.changed) == (True, True)
    assert place.state == ("new", "new")
    assert place.units == ["trial-door-boot.service"] * 2
    assert keep(place.journal, now()) == "kept"
    assert place.units == []
    assert place.told[-2:] == [["systemctl", "stop", "trial-door.timer"], ["systemctl", "daemon-reload"]]
    assert keep(place.journal, now()) == "gone"
    assert take_back(place.journal) == []
    assert place.state == ("new", "new")


def test_an_old_connection_proves_nothing(place):
    old = now()
    time.sleep(0.05)
    place.begin()
    assert keep(place.journal, old) == "stale"
    assert place.units != []
    assert keep(place.journal, now()) == "kept"


def test_who_does_not_come_by_ssh_asks_the_server_from_the_machine_itself(place):
    place.begin()
    place.answers = False
    assert keep(place.journal, None) == "mute"
    assert take_back(place.journal) == [str(place.file)]
    place.answers = True
    place.begin()
    assert keep(place.journal, None) == "answers"
    assert take_back(place.journal) == []


def test_where_no_server_answered_before_none_is_missed(place):
    place.answers = False
    place.begin()
    assert keep(place.journal, None) == "untried"
    assert place.units == []


@pytest.mark.parametrize(
    ("listens", "shown", "answers"),
    [
        ("port 2222\nport 22\n", "127.0.0.1 ssh-ed25519 AAAA", True),
        ("port 2222\n", "# 127.0.0.1:2222 SSH-2.0-OpenSSH_9.2p1", False),
        ("", "127.0.0.1 ssh-ed25519 AAAA", False),
    ],
    ids=["a key", "a greeting and no key", "no port"],
)
def test_a_server_answers_that_shows_its_key(monkeypatch, listens, shown, answers):
    asked = []

    def run(command, text=""):
        asked.append(command)
        return 0, listens if command[0] == "sshd" else shown

    monkeypatch.setattr(trial, "_run", run)
    assert trial.ssh_answers() is answers
    assert answers is False or asked[1:] == [
        ["ssh-keyscan", "-T", "3", "-p", "2222", "-t", "ed25519", "127.0.0.1"]
    ]


def test_the_timer_is_there_before_anything_changes(place, monkeypatch):
    place.fails = "systemd-run"
    with pytest.raises(TreeError, match="no such luck"):
        place.begin()
    assert place.state == ("old", "old")
    assert place.units == []
    assert not Path(place.journal, "trial.json").exists()


def test_nobody_comes(place):
    place.begin()
    assert take_back(place.journal) == [str(place.file)]
    assert place.state == ("old", "old")
    assert place.units == []
    assert keep(place.journal, now()) == "gone"


def test_what_the_timer_runs_needs_nothing_but_python(place):
    place.begin(restore=[Restore(load=["sh", "-c", f"echo back > {place.force}"])])
    environment = {"PATH": f"{place.home}/bin:/usr/bin:/bin"}
    fake = place.home / "bin/systemctl"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\n")
    fake.chmod(0o755)
    # Not the units of the machine this test runs on.
    source = Path(place.journal, "trial.py")
    source.write_text(source.read_text().replace("/etc/systemd/system", str(place.home / "units")))
    done = subprocess.run(
        ["/usr/bin/python3", str(source), "back"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert place.state == ("old", "back\n")
    assert place.units == []


def test_a_boot_puts_the_files_back_and_no_more(place):
    place.begin()
    unit = (place.home / "units/trial-door-boot.service").read_text()
    assert f"{place.journal}/trial.py boot" in unit
    take_back(place.journal, boot=True)
    assert place.state == ("old", "new")  # what is in force is made of the files, later
    assert place.units == []


def test_nothing_to_do_is_no_trial(place):
    outcome = place.begin("old")
    assert (outcome.opened, outcome.changed, place.told) == (False, False, [])


def test_what_does_not_hold_is_tried_anew_and_comes_back_as_it_was(place):
    place.force.write_text("ajar")
    assert place.begin("old", check=True).drifted.endswith("it is ajar")
    assert place.state == ("old", "ajar")
    outcome = place.begin("old")
    assert (outcome.opened, outcome.result.changes) == (True, [])
    assert place.state == ("old", "old")
    take_back(place.journal)
    assert place.state == ("old", "ajar")


def test_check_mode_changes_nothing(place):
    outcome = place.begin(check=True)
    assert (outcome.opened, outcome.changed, place.told) == (False, True, [])
    assert place.state == ("old", "old")


@pytest.mark.parametrize(
    "options",
    [{"validate": [["false"]]}, {"apply": [["sh", "-c", "echo broken; exit 3"]]}],
    ids=["validate", "apply"],
)
def test_a_command_that_fails_puts_all_back(place, options):
    with pytest.raises(TreeError, match="put back"):
        place.begin(**options)
    assert place.state == ("old", "old")
    assert place.units == []


def test_a_run_that_was_killed_is_taken_back_by_the_next(place):
    place.begin("first")
    outcome = place.begin("second")
    assert outcome.result.recovered == [str(place.file)]
    (change,) = outcome.result.changes
    assert change.before.content == b"old"
    take_back(place.journal)
    assert place.state == ("old", "old")


def test_a_keep_that_was_killed_half_way_keeps_the_files(place):
    place.begin()
    file_tree.close(place.journal)
    assert take_back(place.journal) == []
    assert place.file.read_text() == "new"


def test_what_cannot_be_restored_is_said(place):
    place.begin(restore=[Restore(load=["sh", "-c", "echo jammed; exit 1"])])
    with pytest.raises(TreeError, match="jammed"):
        take_back(place.journal)
    assert place.file.read_text() == "old"
    assert place.units == []


def test_what_needs_no_file_is_put_back_when_a_file_cannot_be(place, monkeypatch):
    """A full disk keeps the owner out no longer than it must; the timer tries the file again."""
    place.begin()
    put = file_tree.put

    def full(path, *_):
        raise OSError(28, "No space left on device", path)

    monkeypatch.setattr(file_tree, "put", full)
    with pytest.raises(TreeError, match="No space left"):
        take_back(place.journal)
    assert place.state == ("new", "old")
    assert place.units == ["trial-door-boot.service"] * 2
    (started,) = (words for words in place.told if words[0] == "systemd-run")
    assert "--on-unit-inactive=30s" in started
    monkeypatch.setattr(file_tree, "put", put)
    assert take_back(place.journal) == [str(place.file)]
    assert place.state == ("old", "old")
    assert place.units == []


def test_what_is_saved_need_not_be_there(place):
    place.begin(restore=[Restore(save=["false"], load=["sh", "-c", f"cat > {place.force}"])])
    (load,) = json.loads(Path(place.journal, "trial.json").read_text())["loads"]
    assert load["text"] == ""
    take_back(place.journal)
    assert place.state == ("old", "")


def test_who_is_not_behind_ssh_has_no_time_of_coming():
    since, _ = came_in()
    assert since is None or since < now()
