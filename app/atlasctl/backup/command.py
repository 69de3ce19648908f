"""`atlasctl backup`, `atlasctl restore`, `atlasctl drill`: what a person or a unit types."""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import groupby
from pathlib import Path
from typing import Any

from atlasctl.backup import drill as drilling
from atlasctl.backup import exchange, judging, make, restore
from atlasctl.backup import parts as parting
from atlasctl.backup import rekey as rekeying
from atlasctl.backup import settings as given
from atlasctl.backup import state as memory
from atlasctl.backup.choice import choose, moment, newest
from atlasctl.backup.judging import who
from atlasctl.backup.metrics import metrics
from atlasctl.backup.restic import Restic, Snapshot
from atlasctl.backup.settings import BackupSettings, Repository
from atlasctl.files import BusyError, locked, write
from atlasctl.paths import Paths
from atlasctl.release.store import lock_file
from atlasctl.trouble import Trouble
from atlasctl.words import ago, clock, stamp, utc_now

FILE = "atlas_backup.prom"
#: With --wait, seconds for which another one is waited for; what tidies up must not keep a unit from ending.
WAIT_SECONDS, TIDY_SECONDS = 6 * 3600, 60
#: What a timer does every few minutes, and is waited for, so that nobody has to try twice.
SNAPSHOT, SNAPSHOT_SECONDS = "backup --if-free", 600
#: A snapshot of a large database is followed by a rest of so many times as long as it took.
REST = 20
#: Of more snapshots than that of the database alone, one after another, the list says how many they are.
SHOWN_IN_A_ROW = 3


def backup(paths: Paths, asked: argparse.Namespace) -> int:
    """Run the verb; without one, make a backup."""
    settings = given.read(paths)
    match asked.verb:
        case "list":
            return _list(settings, asked)
        case "check":
            code, words = judging.judge(settings)
            print(words)
            return code
        case "tell":
            from atlasctl.backup.tell import tell

            return tell(paths, settings, asked.job, os.environ.get("SERVICE_RESULT", "success"))
        case "expire":
            return _expire(settings, asked)
        case "rekey":
            password = sys.stdin.readline().strip()
            # The role asks whenever it is played, also while a backup is being made.
            with nullcontext() if rekeying.is_ours(settings, password) else _alone(settings, "backup rekey"):
                code = rekeying.rekey(settings, password)
                _write_metrics(settings)  # what is allowed may have changed
                return code
        case _:
            return _make(settings, asked)


def _make(settings: BackupSettings, asked: argparse.Namespace) -> int:
    if not asked.if_free:
        return _make_one(settings, asked, quiet=False)
    try:
        return _make_one(settings, asked, quiet=True)
    except BusyError:  # a backup, or a restore: the next turn is soon
        return 0


def _make_one(settings: BackupSettings, asked: argparse.Namespace, *, quiet: bool) -> int:
    parts = _parts(settings, asked.only)
    with _alone(settings, SNAPSHOT if quiet else "backup", WAIT_SECONDS if asked.wait else 0):
        if asked.anew:
            settings.repository(asked.anew)
        repositories = _repositories(settings, asked.repository)
        if quiet and not restore.newest(parts)[1]:
            return 0  # nothing to lose yet, and perhaps what is to be brought back is still to come
        if quiet and all(_rests(settings, one, asked.only or "full") for one in repositories):
            return 0
        done = make.make(
            settings, parts, asked.only or "full", repositories, anew=asked.anew, in_pieces=quiet
        )
        _write_metrics(settings)
    if not (quiet and done["ok"]):
        print(json.dumps(done, indent=1) if asked.json else make.words(done))
    return 0 if done["ok"] else 1


def _rests(settings: BackupSettings, repository: Repository, kind: str) -> bool:
    """Say whether the last of a kind took so long that it is too early for the next."""
    known = memory.of(memory.read(settings), repository.name)
    rest = REST * float(known.get(f"{kind}_seconds", 0))
    return 0 <= time.time() - float(known.get(f"{kind}_at", 0)) < rest


def _expire(settings: BackupSettings, asked: argparse.Namespace) -> int:
    """Remove what nobody needs any more: what a killed run left, and what a restore replaced long ago."""
    parts = _parts(settings, None)
    with _alone(settings, "backup expire", TIDY_SECONDS if asked.wait else 0):
        make.discard(settings)
        restore.discard(settings, parts, drilling.NAME, drilling.PLACE)
        restore.discard(settings, parts, exchange.RESTORED, restore.PLACE)
        _forget_old_undo(settings, parts)
        _write_metrics(settings)
        if rekeying.is_unfinished(settings):
            rekeying.finish(settings)
    return 0


def drill(paths: Paths, asked: argparse.Namespace) -> int:
    """Try what was backed up; 1 when one of the repositories is not proven."""
    settings = given.read(paths)
    with _alone(settings, "drill", WAIT_SECONDS if asked.wait else 0):
        done = drilling.drill(settings, _parts(settings, None), _repositories(settings, asked.repository))
        _write_metrics(settings)
    print(json.dumps(done, indent=1) if asked.json else "\n".join(drilling.words(one) for one in done))
    return 0 if all(one["words"] is None for one in done) else 1


def restore_(paths: Paths, asked: argparse.Namespace) -> int:
    """Bring back a snapshot, a moment, or what the last restore replaced."""
    settings = given.read(paths)
    if asked.undo and asked.only:
        raise Trouble("--undo brings back all that the last restore replaced. Say it without --only.")
    with _alone(settings, "restore"):
        if asked.to:
            return _write_to(settings, asked)
        # Meanwhile health restarts nothing, and nobody deploys.
        with locked(lock_file(paths.app_root), "atlasctl restore", stamp(utc_now())):
            return _undo(settings) if asked.undo else _restore(settings, asked)


def _restore(settings: BackupSettings, asked: argparse.Namespace) -> int:
    everything = _parts(settings, None)
    if exchange.was_killed(settings):
        print("A restore was killed in the middle; what it had replaced is brought back first.")
        if trouble := exchange.undo(settings, everything):  # which may be why there is to be a restore
            print(trouble, file=sys.stderr)
    began = time.monotonic()
    found = _found(settings, asked)
    snapshot, restic = _choose(found, asked)
    parts = [one for one in _parts(settings, asked.only) if one.kind != "reading"]
    what = f"of {_when(snapshot)}"
    try:
        copy = restore.fetch(settings, restic, snapshot, parts, restore.PLACE)
        if asked.at:
            what = restore.rewind(settings, copy, asked.at, found)
        restore.load(copy, exchange.RESTORED)
        words = restore.question(everything, copy)
        if words and not asked.yes and not restore.ask(words):
            print("Nothing was changed.")
            return 1
        count = restore.newest(copy.parts, exchange.RESTORED)[1]
        exchange.exchange(settings, everything, snapshot.id, copy.parts, copy.paths)
    finally:
        restore.discard(settings, parts, exchange.RESTORED, restore.PLACE)
    titles = ", ".join(one.title for one in copy.parts) + (f"; {count} items" if count else "")
    print(
        f"Restored snapshot {snapshot.id} from {snapshot.repository}, {what}: {titles}.\n"
        f"It was compared and tried first, and took {ago(time.monotonic() - began)}. "
        f"What it replaced is kept for {settings.undo_days} days: atlasctl restore --undo"
    )
    return 0


def _write_to(settings: BackupSettings, asked: argparse.Namespace) -> int:
    place = to_directory(asked.to)
    snapshot, restic = _choose(_found(settings, asked), asked)
    restore.write_to(settings, restic, snapshot, _parts(settings, asked.only) if asked.only else None, place)
    print(f"Snapshot {snapshot.id} of {_when(snapshot)} is in {place}. Nothing else was changed.")
    return 0


def _list(settings: BackupSettings, asked: argparse.Namespace) -> int:
    found, code = [], 0
    for repository in _repositories(settings, asked.repository):
        try:
            found += Restic(settings, repository).snapshots()
        except Trouble as error:
            print(f"atlasctl: {error}", file=sys.stderr)
            code = 1
    found.sort(key=lambda one: one.time, reverse=True)
    if asked.json:
        print(json.dumps([one._asdict() for one in found], indent=1))
        return code
    for line in _lines(found):
        print(line)
    if not found:
        print("No backup yet. Make one: atlasctl backup")
    return code


def _lines(found: list[Snapshot]) -> Iterator[str]:
    """Yield a line a snapshot; of many in a row that hold the database alone the first and how many more."""
    for (kind, _), group in groupby(found, lambda one: (one.kind, one.repository)):
        row = list(group)
        shown = row if kind != "database" or len(row) <= SHOWN_IN_A_ROW else row[:1]
        for one in shown:
            yield f"{one.id}  {_when(one):28} {one.kind:10} {one.repository}"
        if more := len(row) - len(shown):
            yield f"{'':8}  and {more} more since {_when(row[-1])}: atlasctl restore --at TIME"


def _found(settings: BackupSettings, asked: argparse.Namespace) -> list[tuple[Snapshot, Restic]]:
    """Return all snapshots of the repositories that answer, and who has them."""
    troubles, found = [], []
    for repository in _repositories(settings, asked.repository):
        restic = Restic(settings, repository)
        try:
            found += [(one, restic) for one in restic.snapshots()]
        except Trouble as error:
            troubles.append(str(error))
    for trouble in troubles:
        print(f"atlasctl: {trouble}", file=sys.stderr)
    return found


def _choose(found: list[tuple[Snapshot, Restic]], asked: argparse.Namespace) -> tuple[Snapshot, Restic]:
    """Return the snapshot asked for, or chosen, or the newest that holds what is wanted, and who has it."""
    if asked.snapshot and asked.snapshot != "latest":
        match = [one for one in found if asked.snapshot.startswith(one[0].id)]
        if not match:
            raise Trouble(f"There is no snapshot {asked.snapshot}: atlasctl backup list")
        return match[0]
    kinds = {"full", asked.only}
    if asked.at and not any(one.kind in kinds for one, _ in found):
        kinds.add("database")  # on the first day there is nothing else
    found = [one for one in found if one[0].kind in kinds]
    if not found:
        raise Trouble("There is no backup to restore from: atlasctl backup list")
    if asked.snapshot or asked.at or asked.yes or not sys.stdin.isatty():
        # Of two of the same run the first repository's: it is the nearest.
        chosen = newest([one for one, _ in found])
    else:
        chosen = choose([one for one, _ in found])
    return next(one for one in found if one[0] is chosen)


def _undo(settings: BackupSettings) -> int:
    known, everything = exchange.replaced(settings), _parts(settings, None)
    if known is None:
        raise Trouble("There is nothing to undo: no restore has replaced anything, or that was too long ago.")
    trouble = exchange.undo(settings, everything)
    restore.discard(settings, everything, exchange.RESTORED, restore.PLACE)  # of one that was killed
    print(f"Atlas is again as it was before snapshot {known.snapshot} was restored.")
    if trouble:
        raise Trouble(trouble)
    return 0


def _forget_old_undo(settings: BackupSettings, everything: list[parting.Part]) -> None:
    known = exchange.replaced(settings)
    if known and known.done and time.time() - known.at > settings.undo_days * 86400:
        exchange.forget(settings, everything)
        print(f"What a restore replaced {settings.undo_days} days ago is gone; it can no longer be undone.")
    elif exchange.is_half_forgotten(settings):
        exchange.forget(settings, everything)


def _parts(settings: BackupSettings, only: str | None) -> list[parting.Part]:
    return [one for one in parting.read(settings.parts_directory) if only in (None, one.kind)]


def _repositories(settings: BackupSettings, name: str | None) -> tuple[Repository, ...]:
    return (settings.repository(name),) if name else settings.repositories


def _alone(settings: BackupSettings, what: str, patience: float = 0) -> Any:  # noqa: ANN401
    if what != SNAPSHOT and f"atlasctl {SNAPSHOT} " in who(settings.lock):
        patience = max(patience, SNAPSHOT_SECONDS)
    for stop in (signal.SIGTERM, signal.SIGHUP):  # like Ctrl-C: scratch places are cleared
        signal.signal(stop, signal.default_int_handler)
    return locked(settings.lock, f"atlasctl {what}", stamp(utc_now()), patience=patience)


def _write_metrics(settings: BackupSettings) -> None:
    write(settings.textfile_directory / FILE, metrics(settings, memory.read(settings)))


def _when(snapshot: Snapshot) -> str:
    return clock(moment(snapshot))


def to_directory(path: Path) -> Path:
    """Return a directory to restore to, absolute. Raises Trouble unless it is new or empty."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise Trouble(f"{path} is there already. Name a new or empty directory, so that nothing is mixed up.")
    return path.absolute()
