import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

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


def test_without_any_browser_or_server_their_packages_are_asked_for(monkeypatch):
    specification = importlib.util.spec_from_file_location("run_tests", ROOT / "scripts" / "test.py")
    assert specification
    assert specification.loader
    runner = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "run_tests", runner)
    specification.loader.exec_module(runner)
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
