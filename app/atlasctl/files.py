"""Files that are whole or not there, and locks that say who holds them."""

import errno
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TextIO

from atlasctl.trouble import Trouble

#: Whoever waits for a lock looks so often.
WAITED_SECONDS = 0.5
#: What frees space on a full disk without losing anything that is needed.
MAKE_ROOM = "atlasctl release prune --count 1; journalctl --vacuum-size=200M; apt-get clean"


def write(path: Path, text: str, *, mode: int = 0o644, durable: bool = True) -> None:
    """Replace `path` by `text` in one step: a reader sees the old or the new.

    A crash of the whole machine leaves one of them for sure only when `durable`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise Trouble(f"Cannot write {path}: {error.strerror}{advice(error)}") from error


def write_json(path: Path, value: object) -> None:
    """Replace `path` by `value` as JSON, in one step."""
    write(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in `path`; an empty one when the file is missing, torn or something else."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


class BusyError(Trouble):
    """Another process has the lock."""


@contextmanager
def locked(path: Path, what: str, now: str, *, patience: float = 0) -> Iterator[None]:
    """Hold `path` as a lock; raise BusyError naming who has it after `patience` seconds."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise Trouble(f"Cannot write {path}: {error.strerror}{advice(error)}") from error
    with file:
        _wait_for(file, path, patience)
        file.truncate(0)
        who = os.environ.get("SUDO_USER") or os.environ.get("USER") or f"uid {os.getuid()}"
        file.write(f"{what} by {who}, process {os.getpid()}, since {now}")
        file.flush()
        yield
        file.truncate(0)


def _wait_for(file: TextIO, path: Path, patience: float) -> None:
    deadline, is_told = time.monotonic() + patience, False
    while not take(file):
        if time.monotonic() >= deadline:
            raise BusyError(f"Busy: {_holder(path)}. Wait for it, then run this again (lock: {path}).")
        if not is_told:
            print(f"Busy: {_holder(path)}. Waiting for it.", file=sys.stderr, flush=True)
            is_told = True
        time.sleep(min(WAITED_SECONDS, max(0.0, deadline - time.monotonic())))


def take(file: IO[Any]) -> bool:
    """Lock an open file, if nobody else has; return whether that was done."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(path: Path) -> str:
    """Return who holds a lock; whoever has just got it needs a moment to write that down."""
    for _ in range(10):
        holder = path.read_text(encoding="utf-8")
        if holder:
            return holder
        time.sleep(0.05)
    return "another process"


def is_locked(path: Path) -> bool:
    """Whether some process holds the lock at `path`."""
    try:
        with path.open(encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def advice(error: OSError) -> str:
    """Return what to do about an error of the system, as a sentence to append."""
    if error.errno in (errno.EACCES, errno.EPERM):
        return ". Run this with sudo."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f". What helps: {MAKE_ROOM}"
    return ""
