"""A copy of the database before something is removed from it."""

import datetime as dt
import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

from atlas.settings import Settings

#: Copies that are kept; older ones make room.
KEPT = 3


class BackupError(Exception):
    """No copy could be made, so nothing may be removed; the message says why."""


def back_up(settings: Settings, now: dt.datetime) -> Path:
    """Copy the database into `<data_dir>/backups`, and see that the copy is whole. Raises BackupError."""
    directory = settings.data_dir / "backups"
    stamp = f"{now.astimezone(dt.UTC):%Y%m%dT%H%M%SZ}"
    try:
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        if settings.database().get_backend_name() == "sqlite":
            made = _sqlite(settings, directory / f"before-clean-{stamp}.db")
        else:
            made = _postgresql(settings, directory / f"before-clean-{stamp}.dump")
    except OSError as error:
        raise BackupError(f"The database cannot be copied to {directory}: {error}.") from None
    for old in sorted(directory.glob("before-clean-*"))[:-KEPT]:
        old.unlink(missing_ok=True)
    return made


def _sqlite(settings: Settings, target: Path) -> Path:
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    try:
        with (
            closing(sqlite3.connect(settings.database().database or "")) as source,
            closing(sqlite3.connect(target)) as copy,
        ):
            source.backup(copy)
            (verdict,) = copy.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.Error as error:
        target.unlink(missing_ok=True)
        raise BackupError(f"The database cannot be copied: {error}.") from None
    if verdict != "ok":
        target.unlink(missing_ok=True)
        raise BackupError(
            f"The database is damaged ({verdict}): restore a backup before anything is removed."
        )
    return target


def _postgresql(settings: Settings, target: Path) -> Path:
    dump, restore = shutil.which("pg_dump"), shutil.which("pg_restore")
    if dump is None or restore is None:
        raise BackupError("pg_dump is not installed, so no backup can be made and nothing is removed.")
    url = settings.database()
    # The password goes by the environment: command lines can be read by everybody.
    environment = {**os.environ, "PGPASSWORD": url.password or ""} if url.password else dict(os.environ)
    address = url.set(drivername="postgresql", password=None).render_as_string(hide_password=False)
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    for command in (
        [dump, "--format=custom", f"--file={target}", f"--dbname={address}"],
        [restore, "--list", str(target)],
    ):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            target.unlink(missing_ok=True)
            words = " ".join(done.stderr.split())[:300] or f"status {done.returncode}"
            raise BackupError(f"{Path(command[0]).name} failed, so nothing is removed: {words}")
    return target
