"""Bringing a backup back: beside the real thing first, compared and tried there; only then exchanged.

Files are put in place one by one, and none is removed: what is replaced, and the database as it was, are kept
for `--undo`. A database is exchanged in one step. Whenever this is killed, each file and the database are the
old or the new one, whole.
"""

import errno
import grp
import hashlib
import os
import pwd
import shutil
import sys
import time
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

from atlasctl import systemd
from atlasctl.backup.make import SPARE_BYTES, manifest
from atlasctl.backup.parts import Part
from atlasctl.backup.restic import Restic, Snapshot
from atlasctl.backup.settings import BackupSettings
from atlasctl.files import read_object, write_json
from atlasctl.run import run
from atlasctl.trouble import Trouble
from atlasctl.words import ago, size

TOOL_SECONDS = 6 * 3600
RESTORED, REPLACED = "atlas_restored", "atlas_replaced"
PLACE = "restored"
#: Beside what it is of, so that it is on the same disk.
BESIDE_RESTORED, BESIDE_REPLACED = ".atlas-restored", ".atlas-replaced"


class Copy(NamedTuple):
    """A snapshot's contents, restored beside the real thing."""

    snapshot: Snapshot
    #: Directory of the set: manifest and dumps.
    dumps: Path
    #: Where each path of the machine stands as it was in the snapshot.
    paths: dict[Path, Path]
    parts: list[Part]


def fetch(
    settings: BackupSettings, restic: Restic, snapshot: Snapshot, parts: list[Part], place: str
) -> Copy:
    """Restore parts of a snapshot beside the real thing; compare the dumps with what the manifest says."""
    there = [Path(path) for path in snapshot.paths]
    wanted = [path for part in parts for path in part.paths if path in there]
    targets = {path: _beside(settings, path, place) for path in [settings.staging, *wanted]}
    _need_room(restic, snapshot, targets.values())
    for target in {*targets.values()}:
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(mode=0o711, parents=True)
        here = [path for path in targets if targets[path] == target]
        restic.restore(snapshot.id, target, here)
        for path in here:
            _let_through(target, path)
    copy = Copy(
        snapshot,
        _below(targets[settings.staging], settings.staging),
        {path: _below(targets[path], path) for path in wanted},
        parts,
    )
    told = manifest(copy.dumps)
    _compare(copy, told["parts"])
    for path in copy.paths.values():
        _give_back(path, told.get("users", {}), told.get("groups", {}))
    return copy


def rewind(copy: Copy, moment: str) -> None:
    """Put the database of a moment in the place of the snapshot's. Raises Trouble when it cannot be known."""
    part = next((one for one in copy.parts if one.tool), None)
    if part is None:
        raise Trouble("A moment can be restored only of the database, which is not wanted here.")
    if not Path(f"{part.tool}-at").exists():
        raise Trouble("This database keeps no archive of moments. Choose a snapshot: atlasctl backup list")
    place = copy.dumps / part.name
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(mode=0o700)
    done = run([f"{part.tool}-at", moment, str(place)], timeout=TOOL_SECONDS)
    if done.code != 0:
        raise Trouble(f"{part.title}: {done.words}")
    # What was fetched between the snapshot and that moment is not in the snapshot: it is here, or nowhere.
    for other in copy.parts:
        for path in other.paths if other.kind == "originals" else ():
            if path in copy.paths and path.is_dir():
                aside = tuple(f"{path}/{beside}*" for beside in (BESIDE_RESTORED, BESIDE_REPLACED))
                _add(path, copy.paths[path], (*other.exclude, *aside))


def load(copy: Copy, name: str) -> None:
    """Load the dumps into scratch databases; let what the parts call a proof try it all. Raises Trouble."""
    url = ""
    for part in copy.parts:
        if part.tool:
            _tool(part, "load", name, cwd=copy.dumps / part.name)
            url = _tool(part, "url", name)
    for part in copy.parts:
        # Whoever restores only one of the two has nothing that works by itself.
        if part.proof and url and part.paths[0] in copy.paths:
            done = run([*part.proof, url, str(copy.paths[part.paths[0]])], timeout=TOOL_SECONDS)
            if done.code != 0:
                raise Trouble(f"{part.title}: what was restored does not work: {done.words}")


def discard(settings: BackupSettings, parts: list[Part], name: str, place: str) -> None:
    """Remove scratch databases and directories."""
    for part in parts:
        if part.tool:
            run([part.tool, "drop", name], timeout=TOOL_SECONDS)
    for path in {settings.staging, *(path for part in parts for path in part.paths)}:
        shutil.rmtree(_beside(settings, path, place), ignore_errors=True)


def exchange(settings: BackupSettings, copy: Copy) -> None:
    """Let the copy be what Atlas works on. Raises Trouble when it does not start; then all is as it was."""
    forget_replaced(settings, copy.parts)
    write_json(_journal(settings), {"at": time.time(), "snapshot": copy.snapshot.id, "done": False})
    try:
        _exchange(copy)
    except (OSError, Trouble) as error:
        undo(settings, copy.parts)
        raise Trouble(f"What was restored could not be put in place, so all is as it was: {error}") from error
    write_json(_journal(settings), {"at": time.time(), "snapshot": copy.snapshot.id, "done": True})


def _exchange(copy: Copy) -> None:
    units = [unit for part in copy.parts for unit in part.units]
    systemd.stop(units)
    for part in copy.parts:
        if part.tool:
            _tool(part, "swap", RESTORED, REPLACED)
    for part in copy.parts:
        for path in part.paths:
            if path in copy.paths:
                _merge(copy.paths[path], path, _aside(path), part.exclude)
    for part in copy.parts:
        if part.tool:
            _tool(part, "adopt")
    trouble = systemd.restart(units, timeout=120) if units else None
    if trouble:
        raise Trouble(f"Atlas does not start on it: {trouble}")
    _reload(copy.parts)


def undo(settings: BackupSettings, parts: list[Part]) -> None:
    """Bring back what the last restore replaced, also one that was killed. Files it added stay."""
    units = [unit for part in parts for unit in part.units]
    systemd.stop(units)
    for part in parts:
        if part.tool and _is(part, REPLACED) and not _is(part, RESTORED):
            _tool(part, "swap", REPLACED, RESTORED)
    for part in parts:
        for path in part.paths:
            if _aside(path).exists():
                _merge(_aside(path), path, None, ())
                shutil.rmtree(_aside(path), ignore_errors=True)
    for part in parts:
        if part.tool:
            _tool(part, "adopt")
    _journal(settings).unlink(missing_ok=True)
    _reload(parts)
    trouble = systemd.restart(units, timeout=120) if units else None
    if trouble:
        raise Trouble(f"What was replaced is back, and Atlas does not start: {trouble}")


def _reload(parts: list[Part]) -> None:
    names = [name for part in parts for name in part.reload]
    if names:
        systemd.reload(names)


def unfinished(settings: BackupSettings) -> bool:
    """Whether a restore was killed while it exchanged things."""
    return read_object(_journal(settings)).get("done") is False


def replaced(settings: BackupSettings) -> dict[str, Any]:
    """Return when something was replaced that can still be undone, and by which snapshot; {} for nothing."""
    return read_object(_journal(settings))


def forget_replaced(settings: BackupSettings, parts: list[Part]) -> None:
    """Remove what an earlier restore replaced."""
    for part in parts:
        if part.tool:
            _tool(part, "drop", REPLACED)
        for path in part.paths:
            shutil.rmtree(_aside(path), ignore_errors=True)
    _journal(settings).unlink(missing_ok=True)


def newest(parts: list[Part], name: str | None = None) -> tuple[float, int]:
    """Return when an item was changed last, in the live library or a scratch one, and how many there are."""
    for part in parts:
        if part.tool:
            at, _, count = _tool(part, "newest", *([name] if name else [])).partition("|")
            if at:
                return float(at), int(count)
    return 0.0, 0


def question(parts: list[Part], copy: Copy) -> str | None:
    """Return what somebody would lose sight of, or None when nothing is replaced that anybody could miss."""
    undone = "What is here is kept aside for `atlasctl restore --undo`."
    try:
        at, count = newest(parts)
    except Trouble as error:
        return f"The library here cannot be read, and is replaced by the backup's. {undone}\n{error}"
    if not count:
        return None
    if not any(part.tool for part in copy.parts):
        return f"{', '.join(part.title for part in parts)}: those here are replaced by the backup's. {undone}"
    then, before = newest(parts, RESTORED)
    words = f"The library here ({count} items) is replaced by the backup's ({before} items). {undone}"
    if at > then:
        words += f"\nIt was changed {ago(at - then)} after the last change in this backup: that is not in it."
    return words


def ask(words: str) -> bool:
    """Ask whoever sits there; without anybody the answer is no."""
    print(words)
    if not sys.stdin.isatty():
        print("Nobody is here to ask. If that is what you want, say --yes.", file=sys.stderr)
        return False
    return input("Go on? [y/N] ").strip().lower() in {"y", "yes"}


def _give_back(top: Path, users: dict[str, str], groups: dict[str, str]) -> None:
    """Give files to whom they belonged by name: he may have another number on this machine."""
    numbers = {one.pw_name: one.pw_uid for one in pwd.getpwall()}
    group_numbers = {one.gr_name: one.gr_gid for one in grp.getgrall()}
    for directory, file in _walk(top):
        path = top / (directory or file or Path())
        seen = path.lstat()
        user = numbers.get(users.get(str(seen.st_uid), ""), seen.st_uid)
        group = group_numbers.get(groups.get(str(seen.st_gid), ""), seen.st_gid)
        if (user, group) != (seen.st_uid, seen.st_gid):
            os.chown(path, user, group, follow_symlinks=False)


def _compare(copy: Copy, told: dict[str, Any]) -> None:
    for part in copy.parts:
        if part.tool and part.name not in told:
            raise Trouble(f"Snapshot {copy.snapshot.id} has no dump of {part.title}.")
    for name, one in told.items():
        for file, checksum in one["files"].items():
            with (copy.dumps / name / file).open("rb") as opened:
                if hashlib.file_digest(opened, "sha256").hexdigest() != checksum:
                    raise Trouble(f"{name}/{file} in snapshot {copy.snapshot.id} is not what was dumped.")


def _merge(source: Path, target: Path, aside: Path | None, exclude: tuple[str, ...]) -> None:
    """Move all files below `source` to where they belong below `target`; keep what was there in `aside`."""
    for directory, file in _walk(source):
        for name, base in ((directory, True), (file, False)):
            if name is None:
                continue
            found, place = source / name, target / name
            if any(fnmatch(str(place), pattern) for pattern in exclude):
                continue
            if base:
                if not place.is_dir():
                    _make_way(place, aside and aside / name)
                    place.mkdir()
                    _as(found, place)
                continue
            if aside or (place.is_dir() and not place.is_symlink()):
                _make_way(place, aside and aside / name)
            _move(found, place)


def _move(found: Path, place: Path) -> None:
    """Let a file or link be at `place`, whole or not at all, with its owner; also from another disk."""
    try:
        found.replace(place)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        seen = found.lstat()
        nearby = place.with_name(f"{BESIDE_RESTORED}-{place.name}")
        shutil.copy2(found, nearby, follow_symlinks=False)
        os.chown(nearby, seen.st_uid, seen.st_gid, follow_symlinks=False)
        nearby.replace(place)
        found.unlink()


def _add(source: Path, target: Path, exclude: tuple[str, ...]) -> None:
    """Let all files below `source` be below `target`, too, where nothing stands in their place."""
    for directory, file in _walk(source):
        name = directory or file or Path()
        found, place = source / name, target / name
        if any(fnmatch(str(found), pattern) for pattern in exclude) or os.path.lexists(place):
            continue
        if directory is not None:
            place.mkdir(parents=True)
            _as(found, place)
            continue
        try:
            os.link(found, place, follow_symlinks=False)
        except OSError:  # another disk
            shutil.copy2(found, place, follow_symlinks=False)
            seen = found.lstat()
            os.chown(place, seen.st_uid, seen.st_gid, follow_symlinks=False)


def _make_way(place: Path, kept: Path | None) -> None:
    """Move what stands at a place to where it is kept; beside it, when nobody keeps it."""
    if os.path.lexists(place):
        kept = kept or place.with_name(f"{BESIDE_RESTORED}-{place.name}")
        kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.rename(kept)


def _walk(top: Path) -> Iterator[tuple[Path | None, Path | None]]:
    """Yield directories and files below `top`, each directory before what is in it."""
    if top.is_file() or top.is_symlink():
        yield None, Path()
        return
    for here, directories, files in os.walk(top):
        relative = Path(here).relative_to(top)
        yield relative, None
        for name in files:
            yield None, relative / name
        for name in directories:
            if Path(here, name).is_symlink():
                yield None, relative / name


def _as(pattern: Path, made: Path) -> None:
    """Give a directory the owner and mode of another."""
    seen = pattern.stat()
    os.chown(made, seen.st_uid, seen.st_gid)
    made.chmod(seen.st_mode & 0o7777)


def _beside(settings: BackupSettings, path: Path, place: str) -> Path:
    """Return the directory to restore to: ours, or one on the path's disk when it is to be put in place."""
    ours = settings.directory / place
    if place != PLACE or not path.is_dir() or path.stat().st_dev == settings.directory.stat().st_dev:
        return ours
    return path / f".atlas-{place}"


def _aside(path: Path) -> Path:
    return path / BESIDE_REPLACED if path.is_dir() else path.with_name(f"{BESIDE_REPLACED}-{path.name}")


def _let_through(target: Path, path: Path) -> None:
    """Let others than root reach a restored path: what restic makes above it is shut."""
    for parent in list(path.relative_to("/").parents)[:-1]:
        if (target / parent).exists():
            (target / parent).chmod(0o711)


def _below(target: Path, path: Path) -> Path:
    return target / path.relative_to("/")


def _need_room(restic: Restic, snapshot: Snapshot, targets: Any) -> None:  # noqa: ANN401
    wanted = restic.size(snapshot.id)
    for target in targets:
        free = shutil.disk_usage(target.parent if target.parent.exists() else "/").free
        if free < wanted + SPARE_BYTES:
            raise Trouble(
                f"There is no room to restore beside what is there: snapshot {snapshot.id} takes "
                f"{size(wanted)}, and at {target.parent} {size(free)} are free. Nothing was changed."
            )


def _tool(part: Part, verb: str, *names: str, cwd: Path | None = None) -> str:
    done = run([str(part.tool), verb, *names], timeout=TOOL_SECONDS, cwd=cwd or Path("/"))
    if done.code != 0:
        raise Trouble(f"{part.title}: {verb} failed: {done.words}")
    return done.out.strip()


def _is(part: Part, name: str) -> bool:
    return run([str(part.tool), "exists", name], timeout=60).code == 0


def _journal(settings: BackupSettings) -> Path:
    return settings.directory / "restore.json"
