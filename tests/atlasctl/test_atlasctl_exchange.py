"""What a restore replaces comes back, whenever it is stopped: by an error, by somebody, by a kill."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from atlasctl import cli, systemd
from atlasctl.backup import command, exchange, judging, parts, settings, trees
from atlasctl.paths import Paths
from atlasctl.trouble import Trouble

GIVEN = {
    "repositories": [{"name": "local", "url": "/repository"}],
    "directory": "/var/lib/atlas-backup", "password_file": "/etc/atlas-backup/password",
    "textfile_directory": "/metrics", "keep": {"daily": 30}, "upload_kib": 0,
    "warn_hours": 26, "drill_days": 8, "read_in": 4, "patience": 20, "undo_days": 14, "mail": [],
}  # fmt: skip
HERE = {"originals/same": "same", "originals/new": "new", "atlas.env": "new"}
BACKUP = {"originals/same": "same", "originals/old": "old", "atlas.env": "old"}


class Killed(BaseException):
    """As by kill -9: after it nothing is done any more."""


class Machine:
    """A database, files, and a copy of a backup beside them; each thing done to them can be the last."""

    def __init__(self, root, monkeypatch):
        self.root, self.patch = root, monkeypatch
        self.settings = None
        #: So many more things are done.
        self.left = float("inf")
        self.does_start = True
        for place, name in (
            (Path, "rename"), (Path, "replace"), (Path, "mkdir"), (Path, "unlink"), (shutil, "rmtree"),
        ):  # fmt: skip
            self.patch.setattr(place, name, self.counted(getattr(place, name)))
        self.patch.setattr(exchange, "call", self.counted(self.call))
        self.patch.setattr(exchange, "has", lambda part, name: name in self.databases)
        self.patch.setattr(systemd, "stop", self.counted(lambda units: self.said.append(("stop", *units))))
        self.patch.setattr(systemd, "restart", self.counted(self.restart))
        self.patch.setattr(systemd, "reload", lambda names: self.said.append(("reload", *names)))
        self.begin()

    def counted(self, real):
        def call(*words, **named):
            if self.left <= 0:
                raise Killed
            self.left -= 1
            return real(*words, **named)

        return call

    def begin(self):
        """Let all be as before a restore."""
        self.left = float("inf")
        shutil.rmtree(self.root, ignore_errors=True)
        self.databases = {"atlas": "new", "atlas_restored": "old"}
        self.said = []
        self.put("etc/atlas-backup/settings.json", json.dumps(GIVEN))
        self.settings = settings.read(Paths(self.root))
        self.settings.directory.mkdir(parents=True)
        for top, tree in (("live", HERE), ("copy", BACKUP)):
            for name, text in tree.items():
                self.put(f"{top}/{name}", text)
        units = ["atlas-api.service"]
        for name, known in {
            "database": {"part": "database", "tool": "/tool", "units": units},
            "originals": {"part": "originals", "paths": [f"{self.root}/live/originals"], "units": units},
            "settings": {
                "part": "config",
                "paths": [f"{self.root}/live/atlas.env"],
                "reload": ["nginx.service"],
            },
        }.items():
            self.put(f"etc/atlas/backup.d/{name}.json", json.dumps({"title": name.title(), **known}))
        self.parts = parts.read(self.settings.parts_directory)

    def put(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def call(self, part, verb, *names, **_):
        """Do what the tool of the database does."""
        if verb == "swap":
            new, old = names
            self.databases[old], self.databases["atlas"] = self.databases["atlas"], self.databases.pop(new)
        elif verb == "drop":
            self.databases.pop(names[0], None)
        return ""

    def restart(self, units, timeout):
        self.said.append(("restart", *units))
        return None if self.does_start or self.databases["atlas"] == "new" else "it ends at once"

    def exchange(self, *kinds):
        chosen = [part for part in self.parts if not kinds or part.kind in kinds]
        live = [path for part in chosen for path in part.paths]
        copies = {path: self.root / "copy" / path.name for path in live}
        exchange.exchange(self.settings, self.parts, "1a2b3c4d", chosen, copies)

    def undo(self):
        return exchange.undo(self.settings, self.parts)

    def killed_after(self, count, what):
        """Do something that is killed after so many steps; return whether it was."""
        self.left = count
        try:
            what()
        except Killed:
            return True
        finally:
            self.left = float("inf")
        return False

    def now(self):
        """Return what Atlas works on: the database, and its files without what is kept."""
        top = self.root / "live"
        files = {
            str(path.relative_to(top)): path.read_text()
            for path in sorted(top.rglob("*"))
            if path.is_file() and ".atlas-" not in str(path)
        }
        return self.databases["atlas"], files

    def kept(self):
        """Return what is kept beside it."""
        return [str(path) for path in self.root.rglob("*.atlas-replaced*")] + sorted(
            {"atlas_replaced", "atlas_undone"} & {*self.databases}
        )


@pytest.fixture
def here(tmp_path, monkeypatch):
    return Machine(tmp_path / "machine", monkeypatch)


def is_as_before(here):
    database, files = here.now()
    return (database, files | HERE) == ("new", files)


def test_what_was_restored_is_what_atlas_works_on_and_what_it_replaced_is_kept(here):
    here.exchange()
    assert here.now() == ("old", HERE | BACKUP)
    known = exchange.replaced(here.settings)
    assert (known.snapshot, known.done) == ("1a2b3c4d", True)
    assert set(known.parts) == {"database", "originals", "settings"}
    units = "atlas-api.service"
    assert here.said == [("stop", units), ("restart", units), ("reload", "nginx.service")]
    assert here.undo() is None
    assert is_as_before(here)
    assert here.kept() == []
    assert exchange.replaced(here.settings) is None


def test_whenever_an_exchange_is_killed_all_can_be_brought_back(here):
    """And whenever that is killed, it can be done again."""
    tried = 0
    for count in range(1000):
        here.begin()
        if not here.killed_after(count, here.exchange):
            break
        if exchange.replaced(here.settings) is None:
            assert is_as_before(here), count
            continue
        code, words = judging.judge(here.settings)
        assert (code, words.split(";")[0].split(":")[0]) == (1, "a restore was killed in the middle"), count
        for second in range(1000):
            if second:
                here.begin()
                here.killed_after(count, here.exchange)
            ended = not here.killed_after(second, here.undo)
            if not ended:
                here.undo()
            assert is_as_before(here), (count, second)
            assert exchange.replaced(here.settings) is None, (count, second)
            if exchange.is_half_forgotten(here.settings):
                exchange.forget(here.settings, here.parts)
            assert here.kept() == [], (count, second)
            tried += 1
            if ended:
                break
    assert tried > 100


def test_what_an_earlier_restore_replaced_is_not_mixed_with_what_this_one_does(here):
    """Killed while the earlier one is forgotten, there is nothing to undo: half of it would be worse."""
    for count in range(1000):
        here.begin()
        here.exchange("originals")
        here.databases["atlas_restored"] = "older"
        shutil.rmtree(here.root / "copy")
        here.put("copy/originals/same", "even older")
        before = here.now()
        if not here.killed_after(count, lambda: here.exchange("database", "originals")):
            break
        here.undo()
        database, files = here.now()
        assert (database, files | before[1]) == (before[0], files) or files | HERE == files, count


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt, SystemExit, OSError(28, "No space left"), Trouble("no")]
)
def test_whatever_ends_it_all_is_as_it_was_and_nothing_is_kept(here, monkeypatch, error):
    real = trees.merge

    def merge(source, target, aside=None, exclude=()):
        real(source, target, aside, exclude)
        if aside and target.name == "originals":
            raise error

    monkeypatch.setattr(trees, "merge", merge)
    is_trouble = isinstance(error, OSError | Trouble)
    with pytest.raises(Trouble if is_trouble else error, match="all is as it was" if is_trouble else None):
        here.exchange()
    assert is_as_before(here)
    assert here.kept() == []
    assert exchange.replaced(here.settings) is None


def test_a_backup_that_atlas_does_not_start_on_is_taken_back(here):
    here.does_start = False
    with pytest.raises(Trouble, match=r"Atlas does not start on it: it ends at once. So all is as it was\.$"):
        here.exchange()
    assert is_as_before(here)


def test_when_it_cannot_be_taken_back_either_it_says_what_to_do(here, monkeypatch):
    here.does_start = False

    def has(part, name):
        raise Trouble("Database: exists failed: connection refused")

    monkeypatch.setattr(exchange, "has", has)
    with pytest.raises(Trouble, match=r"connection refused. When that is put right: atlasctl restore --undo"):
        here.exchange()
    assert exchange.was_killed(here.settings)
    monkeypatch.setattr(exchange, "has", lambda part, name: name in here.databases)
    here.undo()
    assert is_as_before(here)


def test_nothing_is_exchanged_under_whoever_does_not_stop(here, monkeypatch):
    monkeypatch.setattr(systemd, "stop", lambda units: units[:1])
    with pytest.raises(Trouble, match=r"^atlas-api\.service does not stop: .*\. Nothing was changed\.$"):
        here.exchange()
    assert is_as_before(here)
    assert not exchange.was_killed(here.settings)
    monkeypatch.undo()


def test_one_part_is_put_in_place_and_taken_back_alone(here):
    here.exchange("config")
    assert here.now() == ("new", HERE | {"atlas.env": "old"})
    here.databases["atlas"] = "newer"
    here.undo()
    assert here.now() == ("newer", HERE)


def test_what_an_earlier_version_wrote_down_can_be_undone(here):
    """It did not say which parts."""
    here.exchange()
    journal = here.settings.directory / "restore.json"
    known = json.loads(journal.read_text())
    journal.write_text(json.dumps({key: known[key] for key in ("at", "snapshot", "done")}))
    here.undo()
    assert is_as_before(here)


def test_a_part_that_is_gone_from_the_machine_is_not_passed_over(here):
    here.exchange()
    (here.settings.parts_directory / "settings.json").unlink()
    here.parts = parts.read(here.settings.parts_directory)
    with pytest.raises(Trouble, match="where settings belongs"):
        here.undo()
    assert here.now()[0] == "old", "nothing was begun"


def test_a_directory_that_takes_the_place_of_a_file_gives_it_back(here):
    (here.root / "copy/atlas.env").unlink()
    here.put("copy/atlas.env/inside", "a directory")
    here.exchange()
    assert (here.root / "live/atlas.env/inside").read_text() == "a directory"
    here.undo()
    assert (here.root / "live/atlas.env").read_text() == "new"


# --- what is typed


@pytest.fixture
def typed(here, monkeypatch):
    monkeypatch.setenv("ATLASCTL_ROOT", str(here.root))
    return here


def test_undo_is_of_all_that_was_replaced(typed, capsys):
    typed.exchange()
    assert cli.main(["restore", "--undo", "--only", "config"]) == 1
    assert "without --only" in capsys.readouterr().err
    assert cli.main(["restore", "--undo"]) == 0
    assert is_as_before(typed)
    assert "as it was before snapshot 1a2b3c4d was restored" in capsys.readouterr().out
    assert cli.main(["restore", "--undo"]) == 1
    assert "There is nothing to undo" in capsys.readouterr().err


def test_a_restore_that_goes_on_is_not_called_killed(typed, capsys):
    assert typed.killed_after(12, typed.exchange)
    said = judging.judge(typed.settings)[1]
    assert "a restore was killed in the middle: atlasctl restore --undo brings back what was there" in said
    with command._alone(typed.settings, "restore"):
        assert "killed" not in judging.judge(typed.settings)[1]
    with command._alone(typed.settings, "backup"):
        assert "killed" in judging.judge(typed.settings)[1]
    assert cli.main(["restore", "--undo"]) == 0
    assert "killed" not in judging.judge(typed.settings)[1]


def test_what_is_half_removed_is_removed_another_day(typed):
    typed.exchange()
    typed.killed_after(3, lambda: exchange.forget(typed.settings, typed.parts))
    assert exchange.replaced(typed.settings) is None
    assert typed.kept() != []
    assert cli.main(["backup", "expire"]) == 0
    assert typed.kept() == []


@pytest.mark.parametrize(("days", "is_kept"), [(13, True), (15, False)])
def test_what_was_replaced_is_kept_for_some_days(typed, monkeypatch, days, is_kept):
    typed.exchange()
    later = time.time() + days * 86400
    monkeypatch.setattr(time, "time", lambda: later)
    assert cli.main(["backup", "expire"]) == 0
    assert bool(typed.kept()) == is_kept


def test_what_a_killed_restore_replaced_is_kept_for_good(typed, monkeypatch):
    assert typed.killed_after(12, typed.exchange)
    later = time.time() + 100 * 86400
    monkeypatch.setattr(time, "time", lambda: later)
    assert cli.main(["backup", "expire"]) == 0
    typed.undo()
    assert is_as_before(typed)


# --- tools


def test_a_tool_that_goes_on_after_a_kill_is_waited_for(tmp_path):
    """Else a database could be exchanged behind the back of who looks whether it was."""
    tool, begun, there = (tmp_path / name for name in ("tool", "begun", "there"))
    tool.write_text(
        f"#!/bin/sh\ncase $1 in swap) touch {begun}; sleep 1; touch {there};;\n"
        f"exists) test -e {there} || exit 3;; esac\n"
    )
    tool.chmod(0o755)
    part = parts.Part("database", "Database", "database", (), (), str(tool), (), (), ())
    script = f"from atlasctl.backup import parts; parts.call(parts.Part(*{tuple(part)!r}), 'swap', 'a', 'b')"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "app")}
    with subprocess.Popen([sys.executable, "-c", script], env=environment) as killed:
        end = time.monotonic() + 30
        while not begun.exists() and time.monotonic() < end:
            time.sleep(0.01)
        assert not there.exists()
        killed.kill()
    assert parts.has(part, "b")


def test_a_tool_that_is_not_there_is_said(tmp_path):
    part = parts.Part("database", "Database", "database", (), (), str(tmp_path / "no"), (), (), ())
    with pytest.raises(Trouble, match=r"Database: exists failed: .*/no: not found"):
        parts.has(part, "x")
