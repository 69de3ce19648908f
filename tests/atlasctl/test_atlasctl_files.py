"""Programs that fail or hang, files that are whole, locks that say who holds them."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from atlasctl.files import is_locked, locked, read_object, write, write_json
from atlasctl.run import run
from atlasctl.trouble import Trouble
from atlasctl.words import ago, shorten


def test_a_program_that_runs() -> None:
    result = run(["sh", "-c", "cat; echo said; echo complained >&2; exit 3"], timeout=5, stdin="given\n")
    assert result == (3, "given\nsaid\n", "complained\n")
    assert result.words == "complained"
    assert run(["sh", "-c", "exit 4"], timeout=5).words == "exit code 4, without a word"


def test_a_program_that_hangs_is_killed_with_its_children() -> None:
    started = time.monotonic()
    result = run(["sh", "-c", "sleep 60 & sleep 60"], timeout=0.1)
    assert (result.code, result.err) == (124, "sh: no end within 0.1 s")
    assert time.monotonic() - started < 5


def test_a_program_that_cannot_run(tmp_path: Path) -> None:
    assert run(["no-such-thing"], timeout=1).code == 127
    (tmp_path / "text").write_text("x")
    assert run([str(tmp_path / "text")], timeout=1) == (126, "", f"{tmp_path}/text: Permission denied")


def test_the_environment_can_be_replaced() -> None:
    result = run(["env"], timeout=5, env={"PATH": os.environ["PATH"], "ONLY": "this"})
    names = {line.partition("=")[0] for line in result.out.splitlines()}
    assert names - {"PWD", "SHLVL", "_"} == {"PATH", "ONLY", "LC_ALL"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_user() -> None:
    assert run(["id", "-un"], timeout=5, user="nobody", cwd=Path("/")).out == "nobody\n"
    with pytest.raises(Trouble, match="no user 'nosuchuser'"):
        run(["id"], timeout=5, user="nosuchuser")


def test_without_root_the_user_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert run(["true"], timeout=5, user="nosuchuser").code == 0


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep/er/file"
    write(path, "one")
    write(path, "two", mode=0o600)
    assert path.read_text() == "two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["file"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_json(path, {"old": True})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(Trouble, match=r"No space left on device\. What helps: atlasctl release prune"):
        write_json(path, {"new": True})
    assert read_object(path) == {"old": True}
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_no_right_to_write_says_sudo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(Trouble, match=r"Permission denied\. Run this with sudo\."):
        write(tmp_path / "file", "")
    with pytest.raises(Trouble, match="Run this with sudo"), locked(tmp_path / "lock", "x", "now"):
        pass


def test_a_lock_says_who_holds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "here/lock"
    monkeypatch.setenv("SUDO_USER", "maria")
    assert not is_locked(lock)
    with locked(lock, "atlasctl release deploy", "2026-11-22T04:00:00Z"):
        assert is_locked(lock)
        with pytest.raises(Trouble) as error, locked(lock, "another", "later"):
            pass
        assert f"deploy by maria, process {os.getpid()}, since 2026-11-22T04:00:00Z" in str(error.value)
    assert not is_locked(lock)
    with locked(lock, "the next", "then"):
        assert "the next by" in lock.read_text()


def test_a_lock_is_waited_for_as_long_as_it_was_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = tmp_path / "lock"
    script = f"import time; from pathlib import Path; from atlasctl.files import locked\n\
with locked(Path({str(lock)!r}), 'the first', 'now'): print('held', flush=True); time.sleep(1)"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "app")}
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as held:
        assert held.stdout
        assert held.stdout.readline() == b"held\n"
        with pytest.raises(Trouble, match="Busy: the first by"), locked(lock, "x", "now", patience=0.1):
            pass
        with locked(lock, "the next", "then", patience=30):
            assert "the next by" in lock.read_text()
    assert "Busy: the first by" in capsys.readouterr().err


def test_a_lock_dies_with_its_holder(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    script = f"import sys; from pathlib import Path; from atlasctl.files import locked\n\
with locked(Path({str(lock)!r}), 'x', 'now'): print('held', flush=True); sys.stdin.read()"
    held = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "app")},
    )
    with held:
        assert held.stdout
        assert held.stdout.readline() == b"held\n"
        assert is_locked(lock)
        held.kill()
    assert not is_locked(lock)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "0 seconds"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "1 minute"),
        (3600, "60 minutes"),
        (7200, "2 hours"),
        (90000, "25 hours"),
        (200000, "2 days"),
    ],
)
def test_lengths_of_time(seconds: float, words: str) -> None:
    assert ago(seconds) == words


def test_shorten() -> None:
    assert shorten(" a\n b ", 10) == "a b"
    assert shorten("abcdef", 4) == "abc…"
