"""Releases: built aside, switched to when ready, taken back when not; kept, listed, pruned."""

import base64
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from standins import Machine, Site

from atlasctl.cli import main
from atlasctl.files import is_locked, locked
from atlasctl.release import build, deploy, store
from atlasctl.settings import read_settings

pytestmark = pytest.mark.slow
API, WORKER = "atlas-api.service", "atlas-worker.service"
DEAD = {"ActiveState": "inactive", "SubState": "dead"}
FAILED = {"ActiveState": "failed", "SubState": "failed", "Result": "exit-code"}

#: The app of these tests: it writes down how it was called, and fails where its settings say so.
APP = """\
import os, sys, json
seen = {"verb": sys.argv[1], "environment": dict(os.environ)}
print(json.dumps(seen), file=open(os.environ["ATLAS_SEEN"], "a"))
if os.environ.get("ATLAS_FAILS_AT") == sys.argv[1]:
    sys.exit("ATLAS_PUBLIC_URL must be a URL; it is 'htp://x'")
"""

#: A python3 whose virtual environments take no time: pip installs nothing, python is that of the tests.
VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"
PYTHON = f"""\
if [ "$1" = -c ]; then echo {VERSION}; exit; fi
mkdir -p "$4/bin" "$4/lib/python{VERSION}/site-packages"
cat >"$4/bin/python" <<'END'
#!/bin/sh
case "$2 $*" in
  "pip "*)
    mkdir -p "$PIP_CACHE_DIR"
    echo "$@" >>"$PIP_CACHE_DIR/calls"
    if [ -e "$PIP_CACHE_DIR/fails at $5" ]; then
      echo ERROR: THESE PACKAGES DO NOT MATCH THE HASHES >&2
      exit 1
    fi
    ;;
  "compileall "*/site-packages) ;;
  "compileall "*) exec {sys.executable} -ISm compileall -q "$5" ;;
  *) PYTHONPATH=${{0%/venv/*}}/app exec {sys.executable} "$@" ;;
esac
END
chmod 755 "$4/bin/python"
"""


class Place:
    """A machine with a source to deploy from and units that become what `on_restart` says."""

    def __init__(self, machine: Machine, site: Site, capsys: pytest.CaptureFixture[str]) -> None:
        self.machine, self.site, self.capsys = machine, site, capsys
        self.root = machine.paths.app_root
        self.source = self.root / "source"
        self.seen = machine.root / "seen"
        machine.file("opt/atlas/source/app/atlas/__init__.py", "")
        machine.file("opt/atlas/source/app/atlas/__main__.py", APP)
        machine.file("opt/atlas/source/requirements.txt", "# nothing\n")
        machine.unit(API, **DEAD)
        machine.unit(WORKER, **DEAD)
        machine.program("python3-quick", PYTHON)
        self.settings()
        site.answers["/ready"] = (200, "ready")

    def settings(self, **more: str) -> None:
        lines = {
            "ATLAS_SEEN": str(self.seen),
            "ATLAS_API_PORT": str(self.site.port),
            "ATLAS_LOG_LEVEL": '"de\\"bug"',
            **more,
        }
        text = "".join(f"{key}={value}\n" for key, value in lines.items())
        self.machine.file("etc/atlas/atlas.env", f"# Settings\n\n; old style\nno assignment\n{text}")

    def change(self, text: str, name: str = "app/atlas/new.py") -> None:
        """Make another release of the source."""
        self.machine.file(f"opt/atlas/source/{name}", text)

    def run(self, verb: str, *more: str) -> tuple[int, Any, str]:
        """Run `atlasctl release`; return exit code, JSON answer and what was said to a person."""
        flags = [f"--root={self.root}"]
        if verb == "deploy":
            flags += [f"--source={self.source}", "--python=python3-quick"]
        if verb in ("deploy", "rollback"):
            flags += ["--user=root", "--ready-seconds=0.5", "--settle-seconds=0"]
        code = main(["release", verb, *flags, *more])
        said = self.capsys.readouterr()
        return code, json.loads(said.out) if said.out.startswith(("{", "[")) else said.out, said.err

    def deploy(self, *more: str) -> dict[str, Any]:
        code, report, err = self.run("deploy", *more)
        assert code == 0, err
        assert isinstance(report, dict)
        return report

    def serves_only(self, release_id: str | None) -> None:
        """Let /ready say yes only while that release is current."""

        def answer() -> None:
            good = store.current_id(self.root) == release_id
            self.site.answers["/ready"] = (200, "ready") if good else (503, '{"error": "no database"}')

        self.site.before = answer

    def serves_all(self) -> None:
        self.site.before = lambda: None
        self.site.answers["/ready"] = (200, "ready")


@pytest.fixture
def place(machine: Machine, site: Site, capsys: pytest.CaptureFixture[str]) -> Place:
    return Place(machine, site, capsys)


def test_the_first_release(place: Place) -> None:
    report = place.deploy()
    release_id = report["release"]
    assert report == {
        "changed": True,
        "release": release_id,
        "previous": None,
        "actions": ["built", "migrated", "switched", "restarted"],
    }
    assert place.machine.calls("restart") == [f"systemctl restart -- {API} {WORKER}"]
    current = place.root / "current"
    assert current.readlink() == Path("releases") / release_id
    assert json.loads((current / "FINISHED").read_text())["id"] == release_id
    assert (current / "SERVED").is_file()
    seen = [json.loads(line) for line in place.seen.read_text().splitlines()]
    assert [one["verb"] for one in seen] == ["check-config", "migrate"]
    environment = seen[0]["environment"]
    assert environment["ATLAS_SECRETS_DIR"] == str(place.machine.paths.secrets)
    assert environment["ATLAS_LOG_LEVEL"] == 'de"bug'
    assert "ATLASCTL_ROOT" not in environment, "the app gets its own settings, not root's environment"
    pip = (place.machine.paths.pip_cache / "calls").read_text().splitlines()
    beside = place.root / "releases" / f"{release_id}.new"
    python = beside / "venv/bin/python"
    pinned = f"--quiet --require-hashes --no-deps -r {beside / 'requirements.txt'}"
    wheels = place.machine.paths.pip_cache / f"wheels-{VERSION}"
    download, install, check = pip
    assert re.fullmatch(rf"-m pip --python {python} download --dest={wheels}\.\w+ {pinned}", download)
    assert install == (
        f"-m pip --python {python} install --no-compile --no-index --find-links={wheels} {pinned}"
    )
    assert check == f"-m pip --python {python} check"


def test_the_packages_of_the_last_release_are_not_downloaded_again(place: Place) -> None:
    place.deploy()
    place.change("x = 1")
    place.deploy()
    calls = (place.machine.paths.pip_cache / "calls").read_text()
    assert re.findall(r" (download|install|check)\b", calls) == [
        *("download", "install", "check"),
        *("install", "check"),
    ]


def test_the_code_is_compiled_and_nobody_but_its_owner_can_write_it(place: Place) -> None:
    place.deploy()
    release = (place.root / "current").resolve()
    assert list(release.glob("app/atlas/__pycache__/__main__.*.pyc"))
    for path in [release, *release.rglob("*")]:
        mode = path.lstat().st_mode
        assert path.is_symlink() or not mode & (stat.S_IWGRP | stat.S_IWOTH), path
        assert path.is_symlink() or mode & stat.S_IROTH, path
    assert os.access(release / "bin/atlas", os.X_OK)


def test_the_same_source_again_changes_nothing(place: Place) -> None:
    first = place.deploy()
    calls = len(place.machine.calls())
    assert place.deploy() == {**first, "changed": False, "previous": first["release"], "actions": []}
    assert [line.split()[1] for line in place.machine.calls()[calls:]] == ["-c", "show"]


def break_python(release: Path) -> None:
    (release / "venv/bin/python").write_text("#!/bin/sh\necho broken >&2; exit 1\n")


@pytest.mark.parametrize(
    ("harm", "what"),
    [
        (lambda release: shutil.rmtree(release / "venv"), "venv ("),
        (break_python, "venv (broken)"),
        (lambda release: (release / "app/atlas/__init__.py").write_text("x"), "app/atlas/__init__.py"),
        (lambda release: (release / "app/atlas/__main__.py").unlink(), "app/atlas/__main__.py"),
        (lambda release: (release / "app/email.py").write_text(""), "app/email.py"),
        (lambda release: (release / "app/link").symlink_to("/etc/passwd"), "the code ("),
        (lambda release: (release / "requirements.txt").unlink(), "requirements.txt"),
        (lambda release: (release / "bin/atlas").unlink(), "the code ("),
    ],
)
def test_a_damaged_release_heals(place: Place, harm: Callable[[Path], object], what: str) -> None:
    first = place.deploy()
    release = place.root / "releases" / first["release"]
    harm(release)
    report = place.deploy()
    rebuilt, *rest = report["actions"]
    assert rebuilt.startswith(f"rebuilt: {what}")
    assert rebuilt.endswith(" was damaged")
    assert (report["changed"], rest) == (True, ["migrated", "switched", "restarted"])
    assert len(place.machine.calls("systemctl restart")) == 2
    assert [path.name for path in release.parent.iterdir()] == [first["release"]]
    assert place.deploy()["changed"] is False


def test_a_damaged_release_that_is_not_current_heals(place: Place) -> None:
    first = place.deploy()["release"]
    place.change("x = 1")
    place.deploy()
    (place.source / "app/atlas/new.py").unlink()
    shutil.rmtree(place.root / "releases" / first / "venv")
    report = place.deploy()
    assert (report["release"], report["actions"][0][:14]) == (first, "rebuilt: venv ")


def test_what_runs_keeps_its_files_until_the_new_ones_are_whole(place: Place) -> None:
    release_id = place.deploy()["release"]
    file = place.root / "releases" / release_id / "app/atlas/__init__.py"
    file.write_text("tampered")
    failure = place.machine.file("var/cache/atlas/pip/fails at install", "")
    code, report, err = place.run("deploy")
    assert (code, report["serving"], file.read_text()) == (1, None, "tampered")
    assert err.endswith("What runs of it is left running; the next deploy builds it again.\n")
    assert store.find(place.root, release_id) is None, "nothing goes back to it"
    failure.unlink()
    assert place.deploy()["actions"] == ["built", "migrated", "switched", "restarted"]
    assert file.read_text() == ""
    assert [path.name for path in (place.root / "releases").iterdir()] == [release_id]


def test_a_healed_release_that_was_not_restarted_is_not_taken_for_in_order(place: Place) -> None:
    release_id = place.deploy()["release"]
    (place.root / "releases" / release_id / "app/atlas/__init__.py").write_text("tampered")
    place.settings(ATLAS_FAILS_AT="check-config")
    for _ in range(2):
        assert place.run("deploy")[0] == 1
    place.settings()
    assert place.deploy()["actions"][-1] == "restarted"


def test_a_healed_release_that_is_not_ready_is_not_exchanged_for_an_older_one(place: Place) -> None:
    place.deploy()
    place.change("x = 1")
    second = place.deploy()["release"]
    shutil.rmtree(place.root / "releases" / second / "venv")
    place.site.answers["/ready"] = (503, "the database is away")
    code, _, err = place.run("deploy")
    assert (code, store.current_id(place.root)) == (1, second)
    assert "This very release served before" in err


def test_pip_is_made_once_and_again_when_it_does_not_run(place: Place) -> None:
    place.deploy()
    tool = place.root / "tool" / VERSION
    assert [path.name for path in tool.parent.iterdir()] == [VERSION]
    made = place.machine.calls("venv --clear")
    assert made == [f"python3-quick -m venv --clear {tool}.new"]
    place.change("x = 1")
    place.deploy()
    assert place.machine.calls("venv --clear") == made
    (tool / "bin/python").write_text("#!/bin/sh\nexit 1\n")
    place.change("x = 2")
    place.deploy()
    assert place.machine.calls("venv --clear") == made * 2


def test_an_id_is_the_source_and_the_python(place: Place) -> None:
    before = build.identify(place.source, "python3-quick").id
    (place.source / "app/atlas/__pycache__").mkdir()
    (place.source / "app/atlas/__pycache__/x.pyc").write_text("bytecode")
    (place.source / "README").write_text("not part of it")
    assert build.identify(place.source, "python3-quick").id == before
    assert len(before) == 12
    place.change("x = 1")
    changed = build.identify(place.source, "python3-quick").id
    place.machine.program("python3-new", "echo 3.99")
    assert len({before, changed, build.identify(place.source, "python3-new").id}) == 3


def test_moving_bytes_between_files_is_another_id(place: Place) -> None:
    place.change("ab", "app/a.py")
    place.change("c", "app/b.py")
    before = build.identify(place.source, "python3-quick").id
    place.change("a", "app/a.py")
    place.change("bc", "app/b.py")
    assert build.identify(place.source, "python3-quick").id != before


def test_current_units_that_are_down_are_started_again(place: Place) -> None:
    place.deploy()
    place.machine.unit(WORKER, **FAILED)
    report = place.deploy()
    assert (report["changed"], report["actions"]) == (True, ["migrated", "switched", "restarted"])
    assert place.machine.state(WORKER)["ActiveState"] == "active"


def test_current_pointing_nowhere_is_healed(place: Place) -> None:
    release_id = place.deploy()["release"]
    (place.root / "current").unlink()
    (place.root / "current").symlink_to("releases/gone")
    report = place.deploy()
    assert (report["previous"], report["actions"]) == ("gone", ["migrated", "switched", "restarted"])
    assert store.current_id(place.root) == release_id


def test_a_second_release_leaves_the_first_in_place(place: Place) -> None:
    first = place.deploy()["release"]
    place.change("x = 1")
    report = place.deploy()
    assert report["previous"] == first
    assert (place.root / "releases" / first / "FINISHED").is_file()
    moment = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ \(\d seconds? ago\)"
    line = place.run("list")[1].splitlines()[0]
    assert re.fullmatch(rf"\* {report['release']}  built {moment}, became ready {moment}", line)


def test_a_release_that_does_not_become_ready_is_taken_back(place: Place) -> None:
    first = place.deploy()["release"]
    place.change("x = 1")
    place.serves_only(first)
    place.machine.file("journal", "Traceback\nOperationalError: no database\n")
    code, report, err = place.run("deploy")
    assert code == 1
    assert report["changed"]
    assert report["failed"]
    assert (report["previous"], report["serving"]) == (first, first)
    assert report["reason"] == "not within 0.5 s"
    assert report["ready"] == '503 {"error": "no database"}'
    assert report["units"] == {API: "active (running)", WORKER: "active (running)"}
    assert report["journal"][API] == ["Traceback", "OperationalError: no database"]
    assert report["actions"] == ["built", "migrated", "switched", "rolled back"]
    assert store.current_id(place.root) == first
    assert len(place.machine.calls("systemctl restart")) == 3
    assert f"Release {report['release']} did not become ready: not within 0.5 s" in err
    assert "--- last lines of atlas-api.service\nTraceback\nOperationalError" in err
    assert err.endswith(f"The previous release {first} serves again.\n")


def test_the_unit_that_failed_is_the_one_whose_journal_is_shown(place: Place) -> None:
    place.deploy()
    place.change("x = 1")
    place.machine.unit(WORKER, on_restart=FAILED)
    code, report, _ = place.run("deploy")
    assert code == 1
    assert report["reason"] == "a unit has failed"
    assert report["units"][WORKER] == "failed (exit-code)"
    assert list(report["journal"]) == [WORKER]
    assert place.machine.calls("journalctl")[-1].endswith("--unit=atlas-worker.service")


def test_a_unit_that_does_not_start_ends_the_wait_at_once(place: Place) -> None:
    place.machine.unit(API, on_restart=FAILED, exit_code=1)
    started = time.monotonic()
    code, report, err = place.run("deploy", "--ready-seconds=60")
    assert time.monotonic() - started < 30
    assert code == 1
    assert report["reason"].startswith("Job for atlas-api.service failed")
    assert "not asked, because a unit did not start" in err


def test_a_first_release_that_fails_is_stopped(place: Place) -> None:
    place.serves_only(None)
    code, report, err = place.run("deploy")
    assert code == 1
    assert report["serving"] is None
    assert place.machine.calls("systemctl stop") == [f"systemctl stop -- {API} {WORKER}"]
    assert store.current_id(place.root) is None
    assert "No release served before; the units are stopped." in err


def test_what_does_not_stop_is_named(place: Place) -> None:
    place.serves_only(None)
    place.machine.file(f"units/{WORKER}.stays", "")
    _, report, err = place.run("deploy")
    assert report["serving"] is None
    assert f"No release served before; not stopped: {WORKER}." in err
    place.serves_all()
    assert place.deploy()["actions"] == ["migrated", "switched", "restarted"], "the build is not lost"


def test_a_release_that_never_served_is_not_gone_back_to(place: Place) -> None:
    first = place.deploy()["release"]
    place.change("x = 1")
    place.serves_only(first)
    bad = place.run("deploy")[1]["release"]
    store.switch(place.root, bad)  # as if the machine had died in the middle
    place.change("x = 2")
    assert place.run("deploy")[1]["serving"] == first


def test_when_the_previous_one_is_not_ready_either_it_says_so(place: Place) -> None:
    first = place.deploy()["release"]
    place.change("x = 1")
    place.site.answers["/ready"] = (503, "the database is away")
    code, report, err = place.run("deploy")
    assert (code, report["serving"], store.current_id(place.root)) == (1, None, first)
    assert f"Release {first} is back in place, but not ready either (not within 0.5 s)" in err
    assert "atlasctl doctor" in err


def test_the_same_release_is_not_exchanged_for_an_older_one(place: Place) -> None:
    """When what served yesterday does not serve today, it is not the release that is to blame."""
    place.deploy()
    place.change("x = 1")
    second = place.deploy()["release"]
    place.site.answers["/ready"] = (503, "the database is away")
    code, report, err = place.run("deploy")
    assert (code, report["serving"], store.current_id(place.root)) == (1, None, second)
    assert "This very release served before, so look for the cause elsewhere" in err


def test_a_configuration_that_is_refused_changes_nothing(place: Place) -> None:
    first = place.deploy()["release"]
    restarts = len(place.machine.calls("restart"))
    place.change("x = 1")
    place.settings(ATLAS_FAILS_AT="check-config")
    code, report, err = place.run("deploy")
    assert code == 1
    assert (report["serving"], store.current_id(place.root)) == (first, first)
    assert len(place.machine.calls("restart")) == restarts
    assert "it does not accept the configuration (atlas check-config, exit code 1)" in err
    assert "ATLAS_PUBLIC_URL must be a URL" in err
    assert err.endswith(f"Release {first} goes on as before.\n")


def test_a_migration_that_fails_says_what_may_have_moved(place: Place) -> None:
    place.change("", f"{store.MIGRATIONS}/0001_items.py")
    place.deploy()
    place.change("", f"{store.MIGRATIONS}/0002_tags.py")
    place.settings(ATLAS_FAILS_AT="migrate")
    code, _, err = place.run("deploy")
    assert code == 1
    assert "the database could not be migrated (on the way: 0002_tags; what was done of it stays)" in err


def test_a_moved_schema_is_said_plainly(place: Place) -> None:
    place.change("", f"{store.MIGRATIONS}/0001_items.py")
    first = place.deploy()["release"]
    place.change("", f"{store.MIGRATIONS}/0002_tags.py")
    place.serves_only(first)
    assert "The database schema moved (0002_tags) and stays so" in place.run("deploy")[2]
    place.serves_all()
    place.deploy()
    code, report, err = place.run("rollback")
    assert (code, report["release"]) == (0, first)
    assert report["note"] in err
    assert "0002_tags" in report["note"]


def test_rollback_goes_to_the_one_before_and_back_again(place: Place) -> None:
    first = place.deploy()["release"]
    place.change("x = 1")
    second = place.deploy()["release"]
    assert place.run("rollback")[1] == {
        "changed": True,
        "release": first,
        "previous": second,
        "actions": ["switched", "restarted"],
        "note": "",
    }
    assert place.run("rollback")[1]["release"] == second
    assert place.run("rollback", first[:5])[1]["release"] == first


def test_rollback_that_does_not_become_ready_is_taken_back(place: Place) -> None:
    place.deploy()
    place.change("x = 1")
    second = place.deploy()["release"]
    place.serves_only(second)
    code, report, err = place.run("rollback")
    assert (code, report["serving"], store.current_id(place.root)) == (1, second, second)
    assert f"The previous release {second} serves again." in err


@pytest.mark.parametrize("wanted", [[], ["nosuchid"]])
def test_nothing_to_roll_back_to(place: Place, wanted: list[str]) -> None:
    place.deploy()
    code, _, err = place.run("rollback", *wanted)
    assert code == 1
    assert "Look: atlasctl release list" in err


def test_an_interrupted_build_is_done_again(place: Place) -> None:
    release_id = place.deploy()["release"]
    (place.root / "current").unlink()
    (place.root / "releases" / release_id / "FINISHED").unlink()
    rubble = place.machine.file(f"opt/atlas/releases/{release_id}/rubble", "")
    assert place.deploy()["actions"][0] == "built"
    assert not rubble.exists()


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("download", "the packages could not be downloaded:\nERROR: THESE PACKAGES"),
        ("install", "the packages could not be installed:\nERROR: THESE PACKAGES"),
        ("check", "do not fit together"),
    ],
)
def test_a_build_that_fails_is_no_release(place: Place, step: str, words: str) -> None:
    place.machine.file(f"var/cache/atlas/pip/fails at {step}", "")
    code, report, err = place.run("deploy")
    assert code == 1
    assert words in err
    assert "No release is in place." in err
    assert store.find(place.root, report["release"]) is None


def test_an_app_that_is_not_python_is_no_release(place: Place) -> None:
    place.change("def :\n")
    assert "the app does not compile" in place.run("deploy")[2]


def test_too_little_space_is_said_before_anything_is_built(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=12_000_000))
    code, _, err = place.run("deploy")
    assert code == 1
    assert "only 12 MB are free" in err
    assert "atlasctl release prune --count 1" in err
    assert not (place.root / "releases").exists()


def test_a_disk_that_fills_while_building_is_said(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    first = place.deploy()["release"]
    place.change("x = 1")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "/opt/atlas/releases/x")

    monkeypatch.setattr("shutil.copyfile", full)
    code, report, err = place.run("deploy")
    assert (code, report["serving"]) == (1, first)
    assert "No space left on device" in err


def test_what_the_system_refuses_is_said_without_a_traceback(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "/opt/atlas/releases/x")

    monkeypatch.setattr(store, "prune", refused)
    code, _, err = place.run("prune", "--count=1")
    assert (code, err) == (1, "atlasctl: /opt/atlas/releases/x: Permission denied. Run this with sudo.\n")


def test_sources_that_are_none(place: Place, machine: Machine) -> None:
    (place.source / "app/atlas/link").symlink_to("/etc/passwd")
    assert "is a symbolic link" in place.run("deploy")[2]
    assert "is no source of a release" in place.run("deploy", f"--source={machine.root}")[2]
    assert "Python does not run (python9: not found)" in place.run("deploy", "--python=python9")[2]


def test_only_one_at_a_time(place: Place) -> None:
    with locked(store.lock_file(place.root), "atlasctl release deploy", "2026-11-22T04:00:00Z"):
        code, _, err = place.run("deploy")
    assert code == 1
    assert "Busy: atlasctl release deploy by" in err
    assert "since 2026-11-22T04:00:00Z" in err


def test_the_lock_is_held_while_a_release_is_put_in_place(place: Place) -> None:
    held = []
    place.site.before = lambda: held.append(is_locked(store.lock_file(place.root)))
    place.deploy()
    assert held[0] is True
    assert not is_locked(store.lock_file(place.root))


def test_a_silent_systemd_is_not_ready(place: Place) -> None:
    place.machine.program("systemctl", "exit 1")
    code, report, _ = place.run("deploy")
    assert (code, report["units"]) == (1, {})


def test_ctrl_c_while_waiting_takes_it_back(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    first = place.deploy()["release"]
    place.change("x = 1")
    place.serves_only(first)
    waits = iter([KeyboardInterrupt])
    wait = deploy._wait

    def interrupted(plan: deploy.Plan, started: float) -> None:
        for interrupt in waits:
            raise interrupt
        wait(plan, started)

    monkeypatch.setattr(deploy, "_wait", interrupted)
    code, report, _ = place.run("deploy")
    assert (code, report["reason"], report["serving"]) == (1, "interrupted", first)


def test_it_must_stay_ready_for_a_while(place: Place) -> None:
    answers = iter([(200, ""), (200, ""), (503, "fell over")])

    def answer() -> None:
        place.site.answers["/ready"] = next(answers, (503, "fell over"))

    place.site.before = answer
    code, report, _ = place.run("deploy", "--settle-seconds=30")
    assert code == 1
    assert report["ready"] == "503 fell over"


def test_old_releases_go_but_never_the_current_and_the_one_before(place: Place) -> None:
    made = []
    for number in range(4):
        place.change(f"x = {number}")
        made.append(place.deploy("--count=9")["release"])
        served = place.root / "releases" / made[-1] / "SERVED"
        served.write_text(json.dumps({"at": f"2026-11-22T04:00:0{number}Z"}))
    (place.root / "releases/rubble").mkdir()
    (place.root / "releases/a-file").write_text("")
    listed = place.run("list", "--json")[1]
    assert [row["id"] for row in listed] == [*reversed(made), "rubble"]
    assert [row["current"] for row in listed] == [True, False, False, False, False]
    assert "rubble  unfinished" in place.run("list")[1]
    assert place.run("prune", "--count=3")[1] == {"changed": True, "deleted": [made[0], "rubble"]}
    assert place.run("prune", "--count=1")[1]["deleted"] == [made[1]]
    assert place.run("prune", "--count=1")[1] == {"changed": False, "deleted": []}
    place.change("x = 9")
    assert f"deleted {made[2]}" in place.deploy("--count=1")["actions"]


def test_a_release_that_is_current_but_unmarked_is_marked(place: Place) -> None:
    release_id = place.deploy()["release"]
    marker = place.root / "releases" / release_id / "SERVED"
    marker.unlink()
    assert "never served" in place.run("list")[1]
    assert place.deploy()["changed"] is False
    assert marker.is_file()


def test_no_release_yet(place: Place) -> None:
    assert place.run("list")[1].startswith("No release yet.")


def test_a_person_at_a_terminal_sees_what_goes_on(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    said = place.run("deploy")[2].splitlines()
    assert [line.split()[1] for line in said] == ["building", "checking", "switching"]


def test_settings_are_read_as_systemd_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.write_text('# c\n;c\nA=1\nB = two words \nC=\'a"b\\\'\nD="q\\"uo\\\\te"\nE=\nF=x=y\nnothing\nG=\'\n')
    assert read_settings(path) == {
        "A": "1",
        "B": "two words",
        "C": 'a"b\\',
        "D": 'q"uo\\te',
        "E": "",
        "F": "x=y",
        "G": "'",
    }
    assert read_settings(tmp_path / "none") == {}


def wheel(folder: Path) -> str:
    """Make the smallest wheel there is; return the line of a requirements file that pins it."""
    files = {
        "little.py": "answer = 42\n",
        "little-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: little\nVersion: 1.0\n",
        "little-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
        record += f"{name},sha256={digest},{len(text)}\n"
    files["little-1.0.dist-info/RECORD"] = record + "little-1.0.dist-info/RECORD,,\n"
    path = folder / "little-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return f"little==1.0 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def test_a_real_virtual_environment_with_a_real_package(place: Place) -> None:
    """The one test that takes seconds: venv, pip with hashes, bytecode, an app that imports its package."""
    pinned = wheel(place.machine.root)
    place.change(f"--no-index\n--find-links {place.machine.root}\n{pinned}", "requirements.txt")
    place.change("import little\nprint(little.answer, little.__cached__)\n" + APP, "app/atlas/__main__.py")
    release_id = place.deploy(f"--python={sys.executable}")["release"]
    release = place.root / "releases" / release_id
    command = [release / "bin/atlas", "check-config"]
    environment = {"ATLAS_SEEN": str(place.seen), "PATH": os.environ["PATH"]}
    said = subprocess.run(
        command, env=environment, cwd="/", capture_output=True, text=True, check=True
    ).stdout
    answer, compiled = said.split()
    assert answer == "42"
    assert Path(compiled).is_file(), "packages are compiled too"
    assert not list(release.glob("venv/lib/*/site-packages/pip")), "nothing installs into a finished release"
    for path in [release / "venv/pyvenv.cfg", *(release / "venv/bin").glob("[!p]*")]:
        assert f"{release_id}.new" not in path.read_text(), path
    assert place.deploy(f"--python={sys.executable}")["changed"] is False
    (release / "venv/bin/python").unlink()
    assert place.deploy(f"--python={sys.executable}")["actions"][0].startswith("rebuilt: venv (")
    assert subprocess.run(command, env=environment, cwd="/", check=False).returncode == 0
    place.change(f"--no-index\n--find-links {place.machine.root}\n{pinned[:-5]}0000\n", "requirements.txt")
    code, report, err = place.run("deploy", f"--python={sys.executable}")
    assert (code, report["serving"]) == (1, release_id)
    assert "the packages could not be downloaded" in err
    assert "HASH" in err.upper()


def test_two_deploys_at_once_from_two_processes(place: Place) -> None:
    """One of them wins, the other says who is at it, and what stands afterwards is whole."""
    flags = [f"--root={place.root}", f"--source={place.source}", "--python=python3-quick", "--user=root"]
    flags += [f"--ready-url={place.site.url('/ready')}", "--settle-seconds=0.3"]
    command = [sys.executable, "-m", "atlasctl", "release", "deploy", *flags]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "app")}
    results: list[subprocess.CompletedProcess[str]] = []

    def go() -> None:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        results.append(done)

    threads = [threading.Thread(target=go) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result.returncode for result in results) == [0, 1], results
    loser = next(result for result in results if result.returncode)
    assert "Busy: atlasctl release deploy" in loser.stderr
    assert (place.root / "current/SERVED").is_file()
