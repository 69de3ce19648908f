"""The spool: `incoming` (handed in by programs), `queue` (waits to be sent), `refused` (was given up).

Anybody on the machine may put a file into `incoming`, and nobody but the owner of the spool may list it. So
what lies there is a stranger's: it is opened without following links, must be an ordinary file of bounded
size, and is copied before it is used.

A file is one line of JSON (the envelope) and the message behind it.
"""

import contextlib
import json
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from atlasctl.files import advice
from atlasctl.trouble import Trouble

#: Larger messages no mail server takes, and none of ours is.
MAX_BYTES = 10_000_000


class Mail(NamedTuple):
    """A message that waits, with what is known of it without reading it."""

    path: Path
    at: float
    size: int

    @property
    def name(self) -> str:
        """What it is called in the spool."""
        return self.path.name


def hand_in(spool: Path, envelope: dict[str, Any], message: bytes) -> str:
    """Put a message into `incoming`, whole and safe from a crash, and return its name."""
    if len(message) > MAX_BYTES:
        raise Trouble(f"The message has {len(message)} bytes; {MAX_BYTES} are the most that is taken.")
    name = f"{time.time():.6f}-{secrets.token_hex(8)}"
    _write(spool / "incoming" / name, json.dumps(envelope).encode() + b"\n" + message, 0o640)
    return name


def take_in(spool: Path) -> Iterator[str]:
    """Move what was handed in into the queue; yield what is odd, in words."""
    # A program that died while writing leaves a hidden file; nobody else clears it.
    for entry in sorted(os.scandir(spool / "incoming"), key=lambda one: one.name):
        path = Path(entry.path)
        if entry.name.startswith("."):
            if time.time() - entry.stat(follow_symlinks=False).st_mtime > 3600:
                _discard(path)
            continue
        try:
            content = _read_strange(path)
            parse(content)
        except (OSError, ValueError) as error:
            yield f"something that is no mail was handed in and is thrown away: {error}"
            _discard(path)
            continue
        _write(spool / "queue" / f"{time.time():.6f}-{_mark(entry.name)}", content, 0o600)
        _discard(path)


def waiting(directory: Path) -> list[Mail]:
    """Return the messages in a directory, the oldest first."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for path in directory.iterdir():
            with contextlib.suppress(OSError, ValueError):
                found.append(Mail(path, float(path.name.partition("-")[0]), path.stat().st_size))
    return sorted(found, key=lambda mail: mail.at)


def parse(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Return envelope and message of a file; raises ValueError when it is none."""
    line, _, message = content.partition(b"\n")
    envelope = json.loads(line)
    recipients = envelope.get("to") if isinstance(envelope, dict) else None
    if not isinstance(recipients, list) or not all(_is_address(one) for one in recipients):
        raise ValueError("its envelope names no proper recipients")
    if not recipients and envelope.get("read_recipients") is not True:
        raise ValueError("it is for nobody")
    return envelope, message


def bound(directory: Path, most: int, most_bytes: int) -> int:
    """Delete the oldest messages until there are at most so many, of so many bytes; return how many went."""
    kept = waiting(directory)
    size = sum(mail.size for mail in kept)
    gone = 0
    while kept and (len(kept) > most or size > most_bytes):
        oldest = kept.pop(0)
        size -= oldest.size
        oldest.path.unlink(missing_ok=True)
        gone += 1
    return gone


def _mark(name: str) -> str:
    """Return the part of a name by which its author finds it again; the time before it is ours to say."""
    mark = name.rpartition("-")[2]
    return mark if re.fullmatch("[0-9a-f]{16}", mark) else secrets.token_hex(8)


def _is_address(value: object) -> bool:
    return (
        isinstance(value, str)
        and 0 < len(value) <= 320
        and value.isprintable()
        and " " not in value
        and not value.startswith("-")
    )


def _read_strange(path: Path) -> bytes:
    """Read an ordinary file that somebody else made."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        known = os.fstat(handle)
        if not stat.S_ISREG(known.st_mode) or known.st_nlink != 1:
            raise ValueError("it is no ordinary file")
        content = file.read(MAX_BYTES + 10_000)
        if len(content) >= MAX_BYTES + 10_000:
            raise ValueError("it is too large")
        return content


def _discard(path: Path) -> None:
    """Remove a file, a link or an empty directory; what cannot be removed stays."""
    try:
        path.unlink()
    except FileNotFoundError:
        pass
    except OSError:
        with contextlib.suppress(OSError):
            path.rmdir()


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write a file that is whole and on disk once it has its name; until then its name begins with a dot."""
    temporary = path.with_name(f".{path.name}")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, mode)
            file.write(content)
            file.flush()
            os.fsync(handle)
        temporary.rename(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise Trouble(f"Cannot keep the mail in {path.parent}: {error.strerror}{advice(error)}") from error
