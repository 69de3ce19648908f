"""The proof of backups: the newest of each repository is restored beside Atlas, and Atlas started on it."""

import time
from typing import Any

from atlasctl.backup import restore
from atlasctl.backup import state as memory
from atlasctl.backup.choice import newest
from atlasctl.backup.parts import Part
from atlasctl.backup.restic import DAMAGED, Restic, Snapshot
from atlasctl.backup.settings import BackupSettings, Repository
from atlasctl.trouble import Trouble
from atlasctl.words import ago

NAME, PLACE = "atlas_drill", "drill"


def drill(
    settings: BackupSettings, parts: list[Part], repositories: tuple[Repository, ...]
) -> list[dict[str, Any]]:
    """Try the newest full snapshot of each repository, and read a part of its data; remember how it went."""
    state = memory.read(settings)
    done = []
    for repository in repositories:
        known = memory.of(state, repository.name)
        part = known.get("read_part", 0) % settings.read_in + 1
        one = _drill(settings, parts, repository, part)
        known["read_part"] = part
        known["drill_words"] = one["words"]
        known["drilled_at"] = one["at"]
        if one["words"] is None:
            known["drill_at"], known["drill_seconds"] = one["at"], one["seconds"]
        done.append(one)
        state["drills"].append(one)
        memory.write(settings, state)
    return done


def latest(restic: Restic) -> Snapshot:
    """Return the newest full snapshot. Raises Trouble when there is none."""
    found = [one for one in restic.snapshots() if one.kind == "full"]
    if not found:
        raise Trouble(f"The repository {restic.repository.name} holds no full backup yet.")
    return newest(found)


def _drill(settings: BackupSettings, parts: list[Part], repository: Repository, part: int) -> dict[str, Any]:
    began = time.time()
    done: dict[str, Any] = {
        "at": began,
        "repository": repository.name,
        "snapshot": None,
        "words": None,
        "items": 0,
    }
    restic = Restic(settings, repository)
    tried = [one for one in parts if one.kind != "reading"]
    try:
        snapshot = latest(restic)
        done["snapshot"] = snapshot.id
        copy = restore.fetch(settings, restic, snapshot, tried, PLACE)
        _refuse_half(copy, tried)
        restore.load(copy, NAME)
        done["items"] = restore.newest(tried, NAME)[1]
        done["restored_seconds"] = time.time() - began
        restic.check(part, settings.read_in)
    except (OSError, Trouble) as error:
        done["words"] = _with_snapshots(restic, str(error))
    finally:
        restore.discard(settings, tried, NAME, PLACE)
    done["seconds"] = time.time() - began
    return done


def _refuse_half(copy: restore.Copy, tried: list[Part]) -> None:
    """Raise Trouble when a database was not in the backup: without it there is nothing to prove."""
    if missing := [one.title for one in tried if one.tool and one not in copy.parts]:
        raise Trouble(f"Snapshot {copy.snapshot.id} has no dump of {', '.join(missing)}.")


def _with_snapshots(restic: Restic, trouble: str) -> str:
    """Return what is wrong; of what is damaged, after reading all of it, with the snapshots that need it."""
    if DAMAGED in trouble and "snapshots:" not in trouble:
        try:
            restic.check(1, 1)
        except Trouble as error:
            return str(error)
    return trouble


def words(done: dict[str, Any]) -> str:
    """Return how it went with one repository, in a line."""
    if done["words"]:
        return f"{done['repository']}: NOT PROVEN. {done['words']}"
    return (
        f"{done['repository']}: snapshot {done['snapshot']} was restored, compared and served by Atlas "
        f"({done['items']} items) in {ago(done['restored_seconds'])}; its repository is sound"
    )
