"""The releases on this machine.

/opt/atlas/releases/ID/app/        the code
/opt/atlas/releases/ID/venv/       its own packages
/opt/atlas/releases/ID/bin/atlas   the command
/opt/atlas/releases/ID/FINISHED    written last: without it the directory is rubble and is built again
/opt/atlas/releases/ID.new, .old   a build on its way in, a damaged release on its way out
/opt/atlas/releases/ID/SERVED      written when the release became ready: only such a one is rolled back to
/opt/atlas/current                 -> releases/ID
"""

import os
from pathlib import Path
from typing import NamedTuple

from atlasctl.files import read_object

MIGRATIONS = Path("app/atlas/database/migrations/versions")


class Release(NamedTuple):
    """A release directory; times are stamps, empty when it did not come so far."""

    id: str
    path: Path
    finished_at: str
    served_at: str


def lock_file(root: Path) -> Path:
    """Return the file that is locked while releases are changed."""
    return root / ".release.lock"


def current_id(root: Path) -> str | None:
    """Return the ID that `current` points to, whether or not it is there."""
    try:
        return (root / "current").readlink().name
    except OSError:
        return None


def releases(root: Path) -> list[Release]:
    """Return all release directories, the one that served last first, then the newest built, then rubble."""
    try:
        found = [
            _release(path)
            for path in (root / "releases").iterdir()
            if path.is_dir() and not path.is_symlink()
        ]
    except OSError:
        return []
    return sorted(found, key=lambda one: (one.served_at, one.finished_at, one.id), reverse=True)


def _release(path: Path) -> Release:
    finished = read_object(path / "FINISHED").get("at", "")
    served = read_object(path / "SERVED").get("at", "")
    return Release(path.name, path, str(finished), str(served) if finished else "")


def find(root: Path, release_id: str) -> Release | None:
    """Return the finished release of that ID, if it is there."""
    return next((one for one in releases(root) if one.id == release_id and one.finished_at), None)


def previous(root: Path, than: str) -> Release | None:
    """Return the release to go back to from `than`: the current one, else the one that served last."""
    served = [one for one in releases(root) if one.served_at and one.id != than]
    current = current_id(root)
    return next((one for one in served if one.id == current), served[0] if served else None)


def switch(root: Path, release_id: str) -> None:
    """Point `current` to a release in one step."""
    temporary = root / ".current.new"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(Path("releases") / release_id)
    temporary.replace(root / "current")
    directory = os.open(root, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def prune(root: Path, count: int) -> list[str]:
    """Delete all but the newest `count` releases, and all rubble; never `current` and the one before it."""
    current = current_id(root)
    back = previous(root, current) if current else None
    safe = {current, back.id if back else None}
    kept = [one.id for one in releases(root) if one.finished_at][:count]
    gone = [one for one in releases(root) if one.id not in safe and one.id not in kept]
    import shutil  # half of what health needs to start, and it never deletes

    for one in gone:
        (one.path / "FINISHED").unlink(missing_ok=True)  # from here on it is rubble, should we be interrupted
        shutil.rmtree(one.path)
    return [one.id for one in gone]


def migrations(release: Path) -> set[str]:
    """Return the names of the schema migrations a release brings."""
    return {path.stem for path in (release / MIGRATIONS).glob("*.py") if path.stem != "__init__"}
