"""What is remembered from run to run: when each repository was last written, tried, and how that went."""

from typing import Any

from atlasctl.backup.settings import BackupSettings
from atlasctl.files import read_object, write_json

KEPT_RUNS = 100
KEPT_HALF = 1000

State = dict[str, Any]


def read(settings: BackupSettings) -> State:
    """Return what is remembered, whatever of it is there."""
    known = read_object(settings.state)
    return {
        "runs": known.get("runs", []),
        "drills": known.get("drills", []),
        "repositories": known.get("repositories", {}),
        "half": known.get("half", []),
    }


def write(settings: BackupSettings, state: State) -> None:
    """Remember it."""
    for name in ("runs", "drills"):
        state[name] = state[name][-KEPT_RUNS:]
    write_json(settings.state, state)


def remember_half(settings: BackupSettings, snapshot: str) -> None:
    """Remember a snapshot that did not get all there was: nobody restores it."""
    state = read(settings)
    state["half"] = [*state["half"], snapshot][-KEPT_HALF:]
    write(settings, state)


def of(state: State, repository: str) -> dict[str, Any]:
    """Return what is remembered of one repository, to be changed."""
    known: dict[str, Any] = state["repositories"].setdefault(repository, {})
    return known
