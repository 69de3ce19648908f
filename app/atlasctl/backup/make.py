"""Making a backup: the set first, on this disk and read back whole; then one snapshot in each repository.

Databases are dumped before files are read: an original is on disk before its row says so, and goes long
after, so whatever a dump names is among the files.
"""

import grp
import hashlib
import json
import math
import pwd
import shutil
import time
from pathlib import Path
from typing import Any, NamedTuple

from atlasctl.backup import exchange, pieces
from atlasctl.backup import state as memory
from atlasctl.backup.parts import Part, call
from atlasctl.backup.restic import Restic
from atlasctl.backup.settings import BackupSettings, Repository
from atlasctl.files import read_object, write_json
from atlasctl.run import run
from atlasctl.trouble import Trouble
from atlasctl.words import ago, size, stamp, utc_now

#: What a set says of itself.
MANIFEST = "manifest.json"
#: Scratch and replaced copies beside the real thing, and originals that are just being written.
ASIDE = (".atlas-restored*", ".atlas-replaced*", ".atlas-drill*", ".new-*")
#: A repository is pruned so often, in seconds; a little less than a day or a week, so that the day counts.
PRUNE_SECONDS = {True: 20 * 3600, False: 6.5 * 86400}
#: Room left on a disk beside what a dump takes, in bytes.
SPARE_BYTES = 256 * 1024**2

Run = dict[str, Any]


class Contents(NamedTuple):
    """What a snapshot is made of."""

    kind: str
    #: Seconds since 1970, the same in all repositories: nothing in the databases is younger.
    at: float
    paths: list[Path]
    exclude: list[str]
    #: Whether there is a database, and no item in it.
    is_empty: bool


def make(
    settings: BackupSettings,
    parts: list[Part],
    kind: str,
    repositories: tuple[Repository, ...],
    *,
    anew: str | None,
    in_pieces: bool = False,
) -> Run:
    """Make one backup; return how it went, repository by repository. What failed is in the run's words.

    `anew` names a repository that may be begun again if it is gone; `in_pieces` suits what is stored often.
    """
    began = time.time()
    run_: Run = {"at": began, "kind": kind, "repositories": {}, "parts": {}, "words": None}
    try:
        facts, at = _stage(settings, parts, in_pieces=in_pieces)
        run_["parts"] = {name: {"bytes": one["bytes"]} for name, one in facts.items()}
    except Trouble as error:
        run_["words"] = str(error)
    else:
        paths = [settings.staging, *(path for part in parts for path in part.paths if path.exists())]
        exclude = [*ASIDE, *(one for part in parts for one in part.exclude)]
        contents = Contents(kind, at, paths, exclude, _is_empty(parts))
        for one in repositories:
            run_["repositories"][one.name] = _store(settings, one, contents, anew=anew == one.name)
    discard(settings)  # before anything is written down: it may be what filled the disk
    run_["seconds"] = time.time() - began
    run_["ok"] = run_["words"] is None and all(one["words"] is None for one in run_["repositories"].values())
    _remember(settings, run_)
    return run_


def discard(settings: BackupSettings) -> None:
    """Remove the set that was made."""
    shutil.rmtree(settings.staging, ignore_errors=True)


def _stage(settings: BackupSettings, parts: list[Part], *, in_pieces: bool) -> tuple[dict[str, Any], float]:
    """Dump what has to be dumped, read it back, and write down what it is.

    Return that, and when the last of it was dumped.
    """
    if exchange.was_killed(settings):
        raise Trouble(
            "A restore was killed, and what is here is of two moments: atlasctl restore --undo first."
        )
    discard(settings)  # of a run that was killed
    settings.staging.mkdir(mode=0o700, parents=True)
    last = memory.read(settings)["runs"]
    facts: dict[str, Any] = {}
    at = time.time()
    for part in parts:
        if part.tool is None:
            continue
        place = settings.staging / part.name
        place.mkdir(mode=0o700)
        before = next(
            (one["parts"][part.name]["bytes"] for one in reversed(last) if part.name in one["parts"]), 0
        )
        words = f"{part.title}: there is no room for the dump below {settings.staging}"
        need_room(settings.staging, int(before * 1.2), words)
        call(part, "dump", cwd=place)
        at = time.time()
        call(part, "verify", cwd=place)
        files = {one.name: digest(one) for one in sorted(place.iterdir())}
        total = sum(one.stat().st_size for one in place.iterdir())
        facts[part.name] = {"bytes": total, "files": files, "facts": read_object(place / "facts.json")}
        if in_pieces:
            for one in list(place.iterdir()):
                if one.stat().st_size > pieces.BYTES:
                    pieces.split(one)
    write_json(
        settings.staging / MANIFEST,
        {"at": stamp(utc_now()), "parts": facts, "release": _release(), **_names()},
    )
    return facts, math.ceil(at)  # restic keeps whole seconds


def _store(
    settings: BackupSettings, repository: Repository, contents: Contents, *, anew: bool
) -> dict[str, Any]:
    """Put a snapshot into one repository; prune that when it is time. What failed is in `words`."""
    began = time.time()
    restic = Restic(settings, repository)
    done: dict[str, Any] = {"words": None, "snapshot": None, "added": 0, "stored": None}
    known = memory.of(memory.read(settings), repository.name)
    try:
        restic.prepare(is_known="snapshot" in known and not anew)
        if contents.is_empty and "snapshot" not in known and not anew:
            _refuse_before_others(restic)
        summary = restic.backup(contents.kind, contents.at, contents.paths, contents.exclude)
        done["snapshot"] = str(summary.get("snapshot_id", ""))[:8]
        done["added"] = int(summary.get("data_added", 0))
        # One that lies ahead was written by a clock that was wrong.
        is_due = not 0 <= began - known.get("pruned_at", 0) <= PRUNE_SECONDS[repository.directory is not None]
        if is_due and contents.kind == "full":  # at night
            if repository.prune:
                restic.forget()
            done["pruned"] = True
            done["stored"] = restic.stored()
    except Trouble as error:
        done["words"] = str(error)
    done["seconds"] = time.time() - began
    return done


def _refuse_before_others(restic: Restic) -> None:
    """Raise Trouble when a repository new to this machine holds backups: an empty one is not the next."""
    if restic.snapshots():
        name = restic.repository.name
        raise Trouble(
            f"The library here is empty, and the repository {name} holds backups of another. Bring them back "
            f"(atlasctl restore), or go on without them: atlasctl backup --anew {name}"
        )


def _is_empty(parts: list[Part]) -> bool:
    """Whether no database has an item, as on a machine that nothing was brought back to yet."""
    tools = [part.tool for part in parts if part.tool]
    return bool(tools) and not any(run([tool, "newest"], timeout=600).out.strip() for tool in tools)


def need_room(place: Path, wanted: int, words: str) -> None:
    """Raise Trouble that begins with these words when a directory's disk has no room for so many bytes."""
    there = next(one for one in (place, *place.parents) if one.exists())
    free = shutil.disk_usage(there).free
    if free < wanted + SPARE_BYTES:
        raise Trouble(
            f"{words}: it takes about {size(wanted)}, and {size(free)} are free, "
            f"of which {size(SPARE_BYTES)} stay free."
        )


def digest(path: Path) -> str:
    """Return a file's checksum."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _release() -> str:
    """Return the id of the app's release, for whoever reads the manifest."""
    return Path("/opt/atlas/current").resolve().name


def _names() -> dict[str, dict[int, str]]:
    """Return who has which number here: restic keeps numbers, which are others on another machine."""
    return {
        "users": {one.pw_uid: one.pw_name for one in pwd.getpwall()},
        "groups": {one.gr_gid: one.gr_name for one in grp.getgrall()},
    }


def _remember(settings: BackupSettings, run_: Run) -> None:
    state = memory.read(settings)
    # What counts as a backup is all of it. A part, made every few minutes, is not to hide how that went.
    if is_full := run_["kind"] == "full":
        state["runs"].append(run_)
    for name, done in run_["repositories"].items():
        known = memory.of(state, name)
        if is_full:
            known["words"] = done["words"]
        if done["snapshot"]:
            known["snapshot"] = done["snapshot"]
            known[f"{run_['kind']}_at"] = run_["at"]
            known[f"{run_['kind']}_seconds"] = run_["seconds"]
            if is_full:
                known["success_at"] = run_["at"]
                known.setdefault("first_at", run_["at"])
        if done.get("pruned"):
            known["pruned_at"] = run_["at"]
            known["stored"] = done["stored"]
    memory.write(settings, state)


def words(run_: Run) -> str:
    """Return a run in a few lines for a person."""
    if run_["words"]:
        return f"No backup was made. {run_['words']}"
    parts = ", ".join(f"{name} {size(one['bytes'])}" for name, one in run_["parts"].items())
    lines = [f"The set is whole{f' ({parts})' if parts else ''}."]
    for name, done in run_["repositories"].items():
        if done["words"]:
            lines.append(f"{name}: FAILED. {done['words']}")
        else:
            stored = f", {size(done['stored'])} in all" if done["stored"] else ""
            lines.append(
                f"{name}: snapshot {done['snapshot']}, {size(done['added'])} new{stored}, "
                f"in {ago(done['seconds'])}"
            )
    return "\n".join(lines)


def manifest(place: Path) -> dict[str, Any]:
    """Return the manifest of a set. Raises Trouble when there is none."""
    try:
        found: dict[str, Any] = json.loads((place / MANIFEST).read_bytes())
    except (OSError, ValueError) as error:
        raise Trouble(f"{place} is no set of ours: its manifest cannot be read ({error}).") from None
    return found
