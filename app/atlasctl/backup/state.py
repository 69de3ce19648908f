"""What is remembered from run to run: when each repository was last written, tried, and how that went."""

from typing import Any

from atlasctl.backup.settings import BackupSettings
from atlasctl.files import read_object, write_json

KEPT_RUNS = 100

State = dict[str, Any]


def read(settings: BackupSettings) -> State:
    """Return what is remembered, whatever of it is there."""
    known = read_object(settings.state)
    return {
        "runs": known.get("runs", []),
        "drills": known.get("drills", []),
        "repositories": known.get("repositories", {}),
    }


def write(settings: BackupSettings, state: State) -> None:
    """Remember it."""
    for name in ("runs", "drills"):
        state[name] = state[name][-KEPT_RUNS:]
    write_json(settings.state, state)


def of(state: State, repository: str) -> dict[str, Any]:
    """Return what is remembered of one repository, to be changed."""
    known: dict[str, Any] = state["repositories"].setdefault(repository, {})
    return known
