"""Trees of files that take each other's place, one file or link at a time, each whole or not at all."""

import contextlib
import errno
import grp
import os
import pwd
import shutil
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

#: What has to give way and is kept by nobody, and what comes from another disk, is so called meanwhile.
BESIDE = ".atlas-restored"


def merge(source: Path, target: Path, aside: Path | None = None, exclude: tuple[str, ...] = ()) -> None:
    """Move all below `source` to where it belongs below `target`; keep what was there in `aside`.

    Without `aside` what was there is replaced. Whoever was stopped in the middle does the same again.
    """
    for name, is_directory in walk(source):
        found, place = source / name, target / name
        if excluded(place, name, exclude):
            continue
        if is_directory:
            if not place.is_dir():
                _make_way(place, aside and aside / name)
                place.mkdir(mode=0o700, parents=True)
                _as(found, place)
            continue
        if aside or (place.is_dir() and not place.is_symlink()):
            _make_way(place, aside and aside / name)
        move(found, place)


def move(found: Path, place: Path) -> None:
    """Let a file or link be at `place`, whole or not at all, with its owner; also from another disk."""
    try:
        found.replace(place)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        seen = found.lstat()
        nearby = place.with_name(f"{BESIDE}-{place.name}")
        shutil.copy2(found, nearby, follow_symlinks=False)
        os.chown(nearby, seen.st_uid, seen.st_gid, follow_symlinks=False)
        nearby.replace(place)
        found.unlink()


def add(source: Path, target: Path, exclude: tuple[str, ...] = ()) -> None:
    """Let all below `source` be below `target`, too, where nothing stands in its place.

    The source is in use: what goes while this is at it is not missed.
    """
    for name, is_directory in walk(source):
        found, place = source / name, target / name
        if excluded(found, name, exclude) or os.path.lexists(place):
            continue
        with contextlib.suppress(FileNotFoundError):
            if is_directory:
                found.lstat()
                place.mkdir(mode=0o700, parents=True)
                _as(found, place)
            else:
                _link(found, place)


def give_back(top: Path, users: dict[str, str], groups: dict[str, str]) -> None:
    """Give all to whom it belonged, by the names of numbers: he may have another number on this machine."""
    numbers = {one.pw_name: one.pw_uid for one in pwd.getpwall()}
    group_numbers = {one.gr_name: one.gr_gid for one in grp.getgrall()}
    for name, _ in walk(top):
        path = top / name
        seen = path.lstat()
        user = numbers.get(users.get(str(seen.st_uid), ""), seen.st_uid)
        group = group_numbers.get(groups.get(str(seen.st_gid), ""), seen.st_gid)
        if (user, group) != (seen.st_uid, seen.st_gid):
            os.chown(path, user, group, follow_symlinks=False)


def remove(path: Path) -> None:
    """Remove a tree, a file or a link; nothing happens when there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink(missing_ok=True)


def excluded(path: Path, name: Path, patterns: tuple[str, ...]) -> bool:
    """Whether one of restic's patterns is of this path: of all of it, or of any name in it."""
    return any(
        fnmatch(str(path), pattern) or any(fnmatch(part, pattern) for part in name.parts)
        for pattern in patterns
    )


def walk(top: Path) -> Iterator[tuple[Path, bool]]:
    """Yield what there is at and below `top`, and whether it is a directory: each before what is in it.

    A link is a thing of its own, also one to a directory.
    """
    if top.is_symlink() or not top.is_dir():
        if os.path.lexists(top):
            yield Path(), False
        return
    for here, directories, files in os.walk(top):
        relative = Path(here).relative_to(top)
        yield relative, True
        links = [one for one in directories if Path(here, one).is_symlink()]
        for one in (*files, *links):
            yield relative / one, False


def _link(found: Path, place: Path) -> None:
    try:
        os.link(found, place, follow_symlinks=False)
    except FileNotFoundError:
        raise
    except OSError:  # another disk
        seen = found.lstat()
        shutil.copy2(found, place, follow_symlinks=False)
        os.chown(place, seen.st_uid, seen.st_gid, follow_symlinks=False)


def _make_way(place: Path, kept: Path | None) -> None:
    """Move what stands at a place to where it is kept; beside it, when nobody keeps it."""
    if not os.path.lexists(place):
        return
    if kept is None:
        kept = place.with_name(f"{BESIDE}-{place.name}")
        remove(kept)  # of the last time
    kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    place.rename(kept)


def _as(pattern: Path, made: Path) -> None:
    """Give a directory the owner and mode of another."""
    seen = pattern.stat()
    os.chown(made, seen.st_uid, seen.st_gid)
    made.chmod(seen.st_mode & 0o7777)
