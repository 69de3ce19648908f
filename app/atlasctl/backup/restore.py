"""Bringing a backup back beside the real thing, to be compared and tried; exchange.py puts it in place."""

import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from atlasctl.backup import pieces, trees
from atlasctl.backup.choice import moment
from atlasctl.backup.choice import newest as newest_of
from atlasctl.backup.exchange import RESTORED
from atlasctl.backup.make import ASIDE, MANIFEST, digest, manifest, need_room
from atlasctl.backup.parts import LONG_SECONDS, Part, call
from atlasctl.backup.restic import Restic, Snapshot
from atlasctl.backup.settings import BackupSettings
from atlasctl.run import run
from atlasctl.trouble import Trouble
from atlasctl.words import ago, parse, stamp

PLACE = "restored"


class Copy(NamedTuple):
    """A snapshot's contents, restored beside the real thing."""

    snapshot: Snapshot
    #: Directory of the set: manifest and dumps.
    dumps: Path
    #: Where each path of the machine stands as it was in the snapshot.
    paths: dict[Path, Path]
    #: Those wanted that are in it.
    parts: list[Part]


def fetch(
    settings: BackupSettings, restic: Restic, snapshot: Snapshot, parts: list[Part], place: str
) -> Copy:
    """Restore parts of a snapshot beside the real thing; compare the dumps with what the manifest says.

    Raises Trouble when none of them is in it.
    """
    described, paths = _wanted(settings, snapshot, parts)
    targets = {path: _beside(settings, path, place) for path in paths}
    targets |= dict.fromkeys(described, settings.directory / place)
    _need_room(restic, snapshot, targets)
    for target in {*targets.values()}:
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(mode=0o711, parents=True)
        here = [path for path in targets if targets[path] == target]
        restic.restore(snapshot.id, target, here)
        for path in here:
            _let_through(target, path)
    dumps = _below(settings.directory / place, settings.staging)
    for part in parts:
        pieces.join(dumps / part.name)
    told = manifest(dumps)
    found = [part for part in parts if part.name in told["parts"] or {*part.paths} & {*paths}]
    if not found:
        raise _nothing(snapshot, parts)
    copy = Copy(snapshot, dumps, {path: _below(targets[path], path) for path in paths}, found)
    _compare(copy, told["parts"])
    for path in copy.paths.values():
        trees.give_back(path, told.get("users", {}), told.get("groups", {}))
    return copy


def write_to(
    settings: BackupSettings, restic: Restic, snapshot: Snapshot, parts: list[Part] | None, place: Path
) -> None:
    """Write what a snapshot holds of `parts` (None: all), and what it says of itself, to a new directory."""
    wanted: list[Path] = []
    if parts is not None:
        described, paths = _wanted(settings, snapshot, parts)
        wanted = [*described, *paths]
    words = f"Nothing was written of snapshot {snapshot.id}: there is no room for it at {place}"
    need_room(place, restic.size(snapshot.id, wanted), words)
    restic.restore(snapshot.id, place, wanted)
    for dump in _below(place, settings.staging).glob("*/"):
        pieces.join(dump)


def rewind(settings: BackupSettings, copy: Copy, at: str, found: list[tuple[Snapshot, Restic]]) -> str:
    """Put the database of a moment in the place of the snapshot's, and say which moment that is.

    Where no archive is kept, it is that of the newest of the snapshots `found` before it. Raises Trouble
    when there is none.
    """
    part = next((one for one in copy.parts if one.tool), None)
    if part is None:
        raise Trouble("A moment can be restored only of the database, which is not wanted here.")
    place = copy.dumps / part.name
    if Path(f"{part.tool}-at").exists():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(mode=0o700)
        done = run([f"{part.tool}-at", at, str(place)], timeout=LONG_SECONDS)
        if done.code != 0:
            raise Trouble(f"{part.title}: {done.words}")
        words = f"as of {at}"
    else:
        snapshot, restic = _before(at, found)
        if snapshot.id != copy.snapshot.id:
            earlier = fetch(settings, restic, snapshot, [part], f"{PLACE}/moment")
            shutil.rmtree(place, ignore_errors=True)
            (earlier.dumps / part.name).rename(place)
        words = (
            f"with the database of {stamp(moment(snapshot))} (snapshot {snapshot.id}), the newest there is"
        )
        words += "" if at == "latest" else f" up to {at}"
    # What was fetched between the snapshot and that moment is not in the snapshot: it is here, or nowhere.
    for other in copy.parts:
        for path in other.paths if other.kind == "originals" else ():
            if path in copy.paths and path.is_dir():
                trees.add(path, copy.paths[path], (*other.exclude, *ASIDE))
    return words


def _before(at: str, found: list[tuple[Snapshot, Restic]]) -> tuple[Snapshot, Restic]:
    """Return the newest snapshot that holds the database and was made at a moment or before."""
    wanted = datetime.max.replace(tzinfo=UTC) if at == "latest" else parse(at)
    if wanted is None:
        raise Trouble(f"{at!r} is no time with a zone, such as 2026-11-26T20:15:00Z.")
    held = [one for one in found if one[0].kind in {"full", "database"}]
    before = [one for one in held if moment(one[0]) <= wanted]
    if not before:
        since = f"; the first is of {stamp(min(moment(one) for one, _ in held))}" if held else ""
        raise Trouble(f"There is no snapshot from before {at}{since}. Nothing was changed.")
    chosen = newest_of([one for one, _ in before])
    return next(one for one in before if one[0] is chosen)


def load(copy: Copy, name: str) -> None:
    """Load the dumps into scratch databases; let what the parts call a proof try it all. Raises Trouble."""
    url = ""
    for part in copy.parts:
        if part.tool:
            call(part, "load", name, cwd=copy.dumps / part.name)
            url = call(part, "url", name)
    for part in copy.parts:
        # Whoever restores only one of the two has nothing that works by itself.
        if part.proof and url and part.paths[0] in copy.paths:
            done = run([*part.proof, url, str(copy.paths[part.paths[0]])], timeout=LONG_SECONDS)
            if done.code != 0:
                raise Trouble(f"{part.title}: what was restored does not work: {done.words}")


def discard(settings: BackupSettings, parts: list[Part], name: str, place: str) -> None:
    """Remove scratch databases and directories."""
    for part in parts:
        if part.tool:
            run([part.tool, "drop", name], timeout=LONG_SECONDS)
    for path in {settings.staging, *(path for part in parts for path in part.paths)}:
        shutil.rmtree(_beside(settings, path, place), ignore_errors=True)


def newest(parts: list[Part], name: str | None = None) -> tuple[float, int]:
    """Return when an item was changed last, in the live library or a scratch one, and how many there are."""
    for part in parts:
        if part.tool:
            at, _, count = call(part, "newest", *([name] if name else [])).partition("|")
            if at:
                return float(at), int(count)
    return 0.0, 0


def question(everything: list[Part], copy: Copy) -> str | None:
    """Return what somebody would lose sight of, or None when nothing is replaced that anybody could miss.

    Whether there is anything to miss the database of the machine says, also where only files are restored.
    """
    undone = "What is here is kept aside for `atlasctl restore --undo`."
    try:
        at, count = newest(everything)
    except Trouble as error:
        return f"The library here cannot be read, and is replaced by the backup's. {undone}\n{error}"
    if not count:
        return None
    if not any(part.tool for part in copy.parts):
        titles = ", ".join(part.title for part in copy.parts)
        return f"{titles}: those here are replaced by the backup's. {undone}"
    then, before = newest(copy.parts, RESTORED)
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


def _wanted(settings: BackupSettings, snapshot: Snapshot, parts: list[Part]) -> tuple[list[Path], list[Path]]:
    """Return what of a snapshot's set and which of its other paths the parts are. Raises Trouble for none."""
    held = [part for part in parts if snapshot.kind in {"full", part.kind}]
    dumps = [settings.staging / part.name for part in held if part.tool]
    there = {Path(path) for path in snapshot.paths}
    paths = [path for part in held for path in part.paths if path in there]
    if not dumps and not paths:
        raise _nothing(snapshot, parts)
    return [settings.staging / MANIFEST, *dumps], paths


def _nothing(snapshot: Snapshot, parts: list[Part]) -> Trouble:
    titles = ", ".join(part.title for part in parts)
    return Trouble(
        f"Snapshot {snapshot.id} ({snapshot.kind}) has nothing of this: {titles}. atlasctl backup list"
    )


def _compare(copy: Copy, told: dict[str, Any]) -> None:
    for part in copy.parts:
        for file, checksum in told[part.name]["files"].items() if part.name in told else ():
            if digest(copy.dumps / part.name / file) != checksum:
                raise Trouble(f"{part.name}/{file} in snapshot {copy.snapshot.id} is not what was dumped.")


def _beside(settings: BackupSettings, path: Path, place: str) -> Path:
    """Return the directory to restore to: ours, or one on the path's disk when it is to be put in place."""
    ours = settings.directory / place
    if place != PLACE or not path.is_dir() or path.stat().st_dev == settings.directory.stat().st_dev:
        return ours
    return path / f".atlas-{place}"


def _let_through(target: Path, path: Path) -> None:
    """Let others than root reach a restored path: what restic makes above it is shut."""
    for parent in list(path.relative_to("/").parents)[:-1]:
        if (target / parent).exists():
            (target / parent).chmod(0o711)


def _below(target: Path, path: Path) -> Path:
    return target / path.relative_to("/")


def _need_room(restic: Restic, snapshot: Snapshot, targets: dict[Path, Path]) -> None:
    """Raise Trouble when what is to be restored to one of the disks does not fit there."""
    disks: dict[int, list[Path]] = {}
    for path, target in targets.items():
        disks.setdefault(target.parent.stat().st_dev, []).append(path)
    words = f"There is no room to restore beside what is there. Nothing was changed. Snapshot {snapshot.id}"
    for paths in disks.values():
        need_room(targets[paths[0]].parent, restic.size(snapshot.id, paths), words)
