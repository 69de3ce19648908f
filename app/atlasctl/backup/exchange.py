"""What was restored and what is live take each other's place, and back again.

A journal names the parts before anything is touched, and is there for as long as something is kept. Nothing
else has to be known to go back: a database called REPLACED is the one that was live, and a file that is kept
aside was where it belongs, however far the exchange had come. So when that is killed, `undo` brings back what
was there; and when `undo` is killed, it is done again.
"""

import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from atlasctl import systemd
from atlasctl.backup import trees
from atlasctl.backup.parts import Part, call, has
from atlasctl.backup.settings import BackupSettings
from atlasctl.files import read_object, write_json
from atlasctl.trouble import Trouble

#: Databases beside the live one: of the backup, as it was before, and of the backup again after an undo.
RESTORED, REPLACED, UNDONE = "atlas_restored", "atlas_replaced", "atlas_undone"
#: Beside what it is of, so that it is on the same disk.
BESIDE_REPLACED = ".atlas-replaced"
START_SECONDS = 120


class RunningError(Trouble):
    """Who works on what is to be exchanged does not stop."""


class Replaced(NamedTuple):
    """What a restore has replaced, or was replacing."""

    #: Seconds since 1970.
    at: float
    #: Of what it was replaced by.
    snapshot: str
    #: Names of the parts; None for all, as nobody wrote them down once.
    parts: tuple[str, ...] | None
    #: Whether all is exchanged; if not, and nobody is at it, it was killed.
    done: bool
    #: Whether all is back, or nobody may go back any more; what is left only has to be removed.
    undone: bool


def replaced(settings: BackupSettings) -> Replaced | None:
    """Return what can be undone."""
    known = _read(settings)
    return None if known is None or known.undone else known


def was_killed(settings: BackupSettings) -> bool:
    """Whether a restore was killed while it exchanged things; asked by who holds the lock."""
    known = replaced(settings)
    return known is not None and not known.done


def exchange(
    settings: BackupSettings,
    everything: list[Part],
    snapshot: str,
    parts: list[Part],
    paths: dict[Path, Path],
) -> None:
    """Let the scratch databases of `parts`, and for each of the `paths` its copy, be what Atlas works on.

    `everything` is what the machine has. Raises Trouble when it does not start. Whatever ends this before all
    is in place, all is as it was.
    """
    forget(settings, everything)
    known = Replaced(time.time(), snapshot, tuple(part.name for part in parts), done=False, undone=False)
    _write(settings, known)
    try:
        _exchange(everything, parts, paths)
        _write(settings, known._replace(done=True))
    except RunningError as error:
        systemd.restart(_units(parts), timeout=START_SECONDS)
        _journal(settings).unlink(missing_ok=True)
        raise Trouble(f"{error}. Nothing was changed.") from None
    except BaseException as error:
        words = f"What was restored could not be put in place: {str(error) or type(error).__name__}"
        try:
            trouble = undo(settings, everything)
        except (OSError, Trouble) as second:
            words = f"{words}. Nor could all be brought back: {second}"
            raise Trouble(f"{words}. When that is put right: atlasctl restore --undo") from error
        if trouble or isinstance(error, OSError | Trouble):
            raise Trouble(f"{words}. So all is as it was{f', but {trouble}' if trouble else ''}.") from error
        raise


def _exchange(everything: list[Part], parts: list[Part], paths: dict[Path, Path]) -> None:
    units = _units(parts)
    _stop(units)
    for part in parts:
        if part.tool:
            call(part, "swap", RESTORED, REPLACED)
    for part in parts:
        for path in part.paths:
            if path in paths:
                trees.merge(paths[path], path, _asides(path)[0], part.exclude)
    _adopt(everything)
    if trouble := systemd.restart(units, timeout=START_SECONDS) if units else None:
        raise Trouble(f"Atlas does not start on it: {trouble}")
    _reload(parts)


def undo(settings: BackupSettings, everything: list[Part]) -> str | None:
    """Bring back what the last restore replaced, however far that had come. Files it added stay.

    Return what is the matter when Atlas does not start on it. Raises Trouble or OSError when not all can be
    brought back: that is still to be done then.
    """
    known = replaced(settings)
    if known is None:
        return None
    parts = [part for part in everything if known.parts is None or part.name in known.parts]
    if lost := set(known.parts or ()) - {part.name for part in parts}:
        raise Trouble(f"Nothing here says any more where {', '.join(sorted(lost))} belongs: run site.yml")
    units = _units(parts)
    _stop(units)
    for part in parts:
        if part.tool and has(part, REPLACED):
            call(part, "swap", REPLACED, UNDONE)
    for part in parts:
        for path in part.paths:
            for aside in _asides(path):
                trees.merge(aside, path)
    trouble = None
    try:
        _adopt(everything)
    except Trouble as error:
        trouble = str(error)
    if units:
        trouble = systemd.restart(units, timeout=START_SECONDS) or trouble
    _reload(parts)
    _write(settings, known._replace(undone=True))
    with suppress(OSError, Trouble):  # another day
        forget(settings, everything)
    return f"Atlas does not start: {trouble}" if trouble else None


def forget(settings: BackupSettings, everything: list[Part]) -> None:
    """Remove what an earlier restore replaced: it cannot be undone any more, not even by half."""
    known = _read(settings)
    if known is not None:
        _write(settings, known._replace(undone=True))
    for part in everything:
        if part.tool:
            for name in (REPLACED, UNDONE):
                call(part, "drop", name)
        for path in part.paths:
            for aside in _asides(path):
                trees.remove(aside)
    _journal(settings).unlink(missing_ok=True)


def is_half_forgotten(settings: BackupSettings) -> bool:
    """Whether somebody was killed while removing."""
    known = _read(settings)
    return known is not None and known.undone


def _stop(units: list[str]) -> None:
    """Stop who works on it. Raises RunningError when somebody goes on: nothing may be exchanged under him."""
    if going := systemd.stop(units):
        raise RunningError(f"{', '.join(going)} does not stop: systemctl status {going[0]}")


def _units(parts: list[Part]) -> list[str]:
    return list(dict.fromkeys(unit for part in parts for unit in part.units))


def _adopt(everything: list[Part]) -> None:
    """Let the app into the databases with the secrets that are here now."""
    for part in everything:
        if part.tool:
            call(part, "adopt")


def _reload(parts: list[Part]) -> None:
    if names := list(dict.fromkeys(name for part in parts for name in part.reload)):
        systemd.reload(names)


def _asides(path: Path) -> tuple[Path, Path]:
    """Return where what was at a path may be kept: the first is for what is there now.

    It can have been a file, and be a directory now, or the other way.
    """
    inside, beside = path / BESIDE_REPLACED, path.with_name(f"{BESIDE_REPLACED}-{path.name}")
    return (inside, beside) if path.is_dir() else (beside, inside)


def _journal(settings: BackupSettings) -> Path:
    return settings.directory / "restore.json"


def _read(settings: BackupSettings) -> Replaced | None:
    known = read_object(_journal(settings))
    if not known:
        return None
    listed = known.get("parts")
    return Replaced(
        at=known.get("at", 0.0),
        snapshot=known.get("snapshot", ""),
        parts=None if listed is None else tuple(listed),
        done=known.get("done", False),
        undone=known.get("undone", False),
    )


def _write(settings: BackupSettings, known: Replaced) -> None:
    write_json(_journal(settings), known._asdict())
