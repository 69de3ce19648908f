import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# A program started in the background ignores Ctrl-C, and so do its children; here it is asked to listen.
INTERRUPTED = """
import signal
import sys
from pathlib import Path
sys.path.insert(0, {scripts!r})
import test
signal.signal(signal.SIGINT, signal.default_int_handler)
test.engine.ROOT = Path({here!r})
test.LOGS = Path({here!r})
test._install = lambda **_: None
sleep = ["sh", "-c", "touch started-$0; exec sleep 60"]
test.fast = lambda: [test.Check(name, [*sleep, name]) for name in ("one", "two", "three")]
sys.argv[1:] = ["fast"]
try:
    test.main()
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_ctrl_c_stops_what_runs_and_starts_nothing_more(tmp_path):
    program = INTERRUPTED.format(scripts=str(ROOT / "scripts"), here=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", program], start_new_session=True) as process:
        deadline = time.monotonic() + 20
        while len(list(tmp_path.glob("started-*"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(timeout=20) == 130
    assert {path.name for path in tmp_path.glob("started-*")} == {"started-one", "started-two"}


@pytest.fixture
def runner(monkeypatch, tmp_path):
    """`scripts/test.py`, with its logs elsewhere."""
    specification = importlib.util.spec_from_file_location("run_tests", ROOT / "scripts" / "test.py")
    assert specification
    assert specification.loader
    runner = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "run_tests", runner)
    specification.loader.exec_module(runner)
    monkeypatch.setattr(runner, "LOGS", tmp_path)
    monkeypatch.setattr(runner.engine, "ROOT", tmp_path)
    return runner


TESTS = """
from pathlib import Path
def test_steady():
    with Path("steady").open("a") as file:
        file.write("x")
def test_shaky():
    seen = Path("seen").exists()
    Path("seen").touch()
    assert seen
def test_broken():
    assert Path("mended").exists()
"""


def test_what_failed_beside_others_is_asked_once_more_alone(runner, tmp_path, capsys):
    (tmp_path / "test_it.py").write_text(TESTS)
    check = runner._pytest("unit tests", "not long", "test_it.py")
    assert not runner.run([check])
    assert (tmp_path / "summary").read_text() == "1 passed, 2 failed, 0 skipped\n"
    (tmp_path / "mended").touch()
    (tmp_path / "seen").unlink()
    assert runner.run([check])
    assert (tmp_path / "summary").read_text() == "3 passed, 0 failed, 0 skipped\n"
    assert (tmp_path / "steady").read_text() == "xx", "what passed is not asked again"
    said = capsys.readouterr().out
    assert "FAILED  unit tests" in said
    assert "Failed beside others, and passed alone: unit tests" in said
    assert "Failed in unit tests: test_it::test_shaky\n" in said


def test_what_fails_all_over_is_not_asked_again(runner, tmp_path):
    command = ["sh", "-c", f"echo x >> {tmp_path}/asked; exit 1"]
    assert not runner.run([runner.Check(str(number), command) for number in range(runner.SECOND_CHANCES + 1)])
    assert (tmp_path / "asked").read_text().count("x") == runner.SECOND_CHANCES + 1


def test_nothing_is_asked_again_when_it_would_not_end_in_time(monkeypatch, runner, tmp_path):
    monkeypatch.setattr(runner, "LATE_SECONDS", 0)
    assert not runner.run([runner.Check("one", ["sh", "-c", f"echo x >> {tmp_path}/asked; exit 1"])])
    assert (tmp_path / "asked").read_text().count("x") == 1


def test_without_any_browser_or_server_their_packages_are_asked_for(monkeypatch, runner):
    monkeypatch.setattr(Path, "glob", lambda *_: iter(()))
    monkeypatch.setattr(runner.shutil, "which", lambda _: None)
    assert runner._test_packages() == ["postgresql", "chromium", *runner.PROGRAMS]
    monkeypatch.setattr(runner.shutil, "which", lambda name: name if name == "google-chrome" else None)
    assert runner._test_packages() == ["postgresql", *runner.PROGRAMS]


def test_a_failed_setup_is_one_failure_in_ci_whatever_an_older_run_said(tmp_path):
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
    (tmp_path / "Makefile").write_text("test:\n\t@exit 7\n")
    (tmp_path / ".cache" / "test").mkdir(parents=True)
    (tmp_path / ".cache" / "test" / "summary").write_text("9 passed, 0 failed, 0 skipped\n")
    done = subprocess.run([tmp_path / ".ci" / "run"], capture_output=True, text=True, check=False)
    assert done.returncode == 2  # what make makes of it
    assert done.stdout.splitlines()[-1] == "0 passed, 1 failed, 0 skipped"


def test_in_ci_a_test_skipped_for_want_of_a_program_has_failed(tmp_path):
    shutil.copy(ROOT / "scripts/skips.py", tmp_path)
    (tmp_path / "conftest.py").write_text((ROOT / "tests/conftest.py").read_text())
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "@pytest.mark.skipif(True, reason='no Chromium is installed')\n"
        "def test_a(): pass\n"
        "@pytest.mark.skipif(True, reason='only SQLite has a lock on the whole')\n"
        "def test_b(): pass\n"
    )
    (tmp_path / "test_them.py").write_text(
        "import pytest\npytest.importorskip('no_such', reason='make setup-oci installs it')\n"
    )
    ends = {}
    for ci in ("true", ""):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "--continue-on-collection-errors"],
            cwd=tmp_path,
            env={**os.environ, "CI": ci, "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        ends[ci] = (done.returncode, done.stdout.splitlines()[-1].split(" in ")[0])
    assert ends == {"true": (1, "1 skipped, 2 errors"), "": (0, "3 skipped")}
