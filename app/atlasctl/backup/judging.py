"""How it is with the backups, by what is remembered of them: what health asks."""

import time
from pathlib import Path
from typing import Any

from atlasctl.backup import exchange
from atlasctl.backup import state as memory
from atlasctl.backup.choice import AHEAD
from atlasctl.backup.settings import BackupSettings
from atlasctl.files import is_locked
from atlasctl.words import ago


def judge(settings: BackupSettings) -> tuple[int, str]:
    """Return how it is for health.d: 0, or 1 and what is the matter. An unproven backup is no backup."""
    state = memory.read(settings)
    troubles: list[str] = []
    well: list[str] = []
    if exchange.was_killed(settings) and not _is_restoring(settings):
        troubles.append(
            "a restore was killed in the middle: atlasctl restore --undo brings back what was there"
        )
    # What kept the set from being made is of no single repository.
    run_words = state["runs"][-1]["words"] if state["runs"] else None
    for repository in settings.repositories:
        known = state["repositories"].get(repository.name, {})
        is_well, words = _judge(settings, repository.name, known | {"words": known.get("words") or run_words})
        (well if is_well else troubles).append(words)
    return (1, "; ".join(troubles)) if troubles else (0, "; ".join(well))


def _judge(settings: BackupSettings, name: str, known: dict[str, Any]) -> tuple[bool, str]:
    """Return whether all is well with a repository, by what is known of it, and how it stands."""
    now, at, why = time.time(), known.get("success_at"), _why(known["words"])
    if at is None:
        is_new = not why and now - _set_up_at(settings) < settings.warn_hours * 3600
        return is_new, f"{name}: the first one is made tonight" if is_new else f"{name}: no backup yet{why}"
    if at > now + AHEAD.total_seconds():
        words = f"{name}: the last backup is of a moment {ago(at - now)} ahead"
        return False, f"{words}: the clock was wrong then, or is now"
    if now - at > settings.warn_hours * 3600:
        return False, f"{name}: the last backup is {ago(now - at)} old{why}"
    if known.get("drill_words"):
        return False, f"{name}: not proven: {known['drill_words']}"
    return _judge_proof(settings, name, known, now)


def _judge_proof(settings: BackupSettings, name: str, known: dict[str, Any], now: float) -> tuple[bool, str]:
    """Return the same of one whose last trial, if there was any, went well."""
    at, proven = known["success_at"], known.get("drill_at")
    if proven is not None and proven > now + AHEAD.total_seconds():
        proven = None
    if proven is not None and now - proven <= settings.drill_days * 86400:
        return True, f"{name} {ago(now - at)} ago, proven {ago(now - proven)} ago"
    # A new machine has a week to come to its first drill.
    since = proven or known.get("first_at", at)
    if now - since > settings.drill_days * 86400:
        return False, f"{name}: not proven for {ago(now - since)}: atlasctl drill"
    return True, f"{name} {ago(now - at)} ago, not tried yet"


def _is_restoring(settings: BackupSettings) -> bool:
    return is_locked(settings.lock) and "atlasctl restore" in who(settings.lock)


def _set_up_at(settings: BackupSettings) -> float:
    """Return since when there are backups to be made, in seconds since 1970."""
    try:
        return settings.password_file.stat().st_mtime
    except OSError:
        return 0.0


def who(lock: Path) -> str:
    """Return who has the lock, or had it last."""
    return lock.read_text(encoding="utf-8") if lock.exists() else ""


def _why(words: str | None) -> str:
    return f" ({words})" if words else ""
