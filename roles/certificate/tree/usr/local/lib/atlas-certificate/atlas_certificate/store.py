"""The directory that servers read: `current` leads to the certificate in use, and is switched as a whole."""

import fcntl
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

FILES = ("fullchain.pem", "privkey.pem")  # named as certbot names them
UNTOLD = ".untold"  # is there until everybody was told of a new certificate
KEPT = 2  # the one in use, and the one a server may just be reading


def locked(home: Path) -> TextIO:
    """Let one run at a time in, until the file that is returned is closed."""
    home.mkdir(mode=0o755, parents=True, exist_ok=True)
    lock = (home / ".lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def current(home: Path) -> tuple[Path, Path]:
    """Return where the certificate in use and its key are."""
    certificate, key = (home / "current" / file for file in FILES)
    return certificate, key


def holds(home: Path, certificate: Path, key: Path) -> bool:
    """Say whether these very files are in use."""
    pairs = zip(current(home), (certificate, key), strict=True)
    return all(mine.exists() and mine.read_bytes() == theirs.read_bytes() for mine, theirs in pairs)


def too_open(home: Path) -> list[Path]:
    """List what others than root may look into and must not."""
    private = [home / "authority", home / "issued", *home.glob("authority/*"), *home.glob("issued/*/*.pem")]
    return [path for path in private if path.exists() and path.stat().st_mode & 0o077]


def origin(home: Path) -> str:
    """Name the lineage of certbot the certificate in use was taken from; empty when it is our own."""
    link = home / "current"
    return link.readlink().name.partition("@")[2] if link.is_symlink() else ""


def switch(home: Path, fill: Callable[[Path], None], origin: str = "") -> None:
    """Have `fill` write a certificate and its key into a directory aside, then use them.

    A server that reloads in between never sees a key and a certificate that do not belong together.
    """
    issued = home / "issued"
    issued.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=issued) as aside:
        fill(Path(aside))
        name = time.strftime("%Y%m%dT%H%M%SZ-", time.gmtime()) + secrets.token_hex(3)
        name += f"@{origin}" if origin else ""
        target = issued / name
        target.mkdir(mode=0o700)
        for file in FILES:
            Path(aside, file).replace(target / file)
    (home / UNTOLD).touch()
    os.sync()
    link = home / ".current"
    link.unlink(missing_ok=True)
    link.symlink_to(f"issued/{name}")
    link.replace(home / "current")
    others = sorted(
        (path for path in issued.iterdir() if path != target), key=lambda path: path.stat().st_mtime
    )
    for old in others[: len(others) + 1 - KEPT]:
        shutil.rmtree(old)
