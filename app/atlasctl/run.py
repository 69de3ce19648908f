"""The one place that starts other programs."""

import contextlib
import os
import pwd
import signal
import subprocess
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from atlasctl.trouble import Trouble

#: Exit codes a shell would give, for what never ran or never ended.
NOT_FOUND = 127
NOT_PERMITTED = 126
TIMED_OUT = 124


class Result(NamedTuple):
    """What a program left behind."""

    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """The last line it said, on either channel: usually the reason."""
        lines = (self.err.strip() or self.out.strip()).splitlines()
        return lines[-1].strip() if lines else f"exit code {self.code}, without a word"


def run(
    argv: list[str],
    *,
    timeout: float,
    env: dict[str, str] | None = None,
    user: str | None = None,
    cwd: Path | None = None,
    stdin: str | BinaryIO = "",
    stdout: BinaryIO | None = None,
    keep: tuple[int, ...] = (),
) -> Result:
    """Run `argv` to its end; a program that fails, hangs or is not there is a Result too, not an exception.

    `env` replaces the environment. `user` gives up root's rights for it (ignored unless we are root).
    `stdin` is what the program reads, or an open file it reads from where that stands.
    `stdout` is an open file that takes what may be long; the Result has none of it then.
    `keep` are open files of ours that it finds as /dev/fd/N.
    After `timeout` seconds the program and all it started are killed.
    """
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE if isinstance(stdin, str) else stdin,
            stdout=stdout or subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**(os.environ if env is None else env), "LC_ALL": "C.UTF-8"},
            cwd=cwd,
            start_new_session=True,
            pass_fds=keep,
            **_identity(user),
        )
    except FileNotFoundError:
        return Result(NOT_FOUND, "", f"{argv[0]}: not found")
    except OSError as error:
        return Result(NOT_PERMITTED, "", f"{argv[0]}: {error.strerror}")
    try:
        out, err = process.communicate(stdin if isinstance(stdin, str) else None, timeout=timeout)
    except subprocess.TimeoutExpired:
        _kill(process.pid)
        out, err = process.communicate()
        return Result(TIMED_OUT, out or "", f"{err}\n{argv[0]}: no end within {timeout:g} s".lstrip())
    except BaseException:
        _kill(process.pid)
        raise
    return Result(process.returncode, out or "", err)


def _kill(group: int) -> None:
    """Kill a program and what it started, should they still be there."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _identity(user: str | None) -> dict[str, Any]:
    if user is None or os.geteuid() != 0:
        return {}
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise Trouble(
            f"There is no user {user!r} on this machine. The role that owns it creates it: run site.yml."
        ) from None
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": os.getgrouplist(user, entry.pw_gid)}
