"""What systemd says about units, and the few things we ask it to do."""

import os
import socket
from typing import NamedTuple

from atlasctl.run import run
from atlasctl.trouble import Trouble

PROPERTIES = ("LoadState", "UnitFileState", "ActiveState", "SubState", "Result", "NRestarts")
#: Unit files the owner has put out of use: nothing of ours starts them again.
PUT_AWAY = frozenset({"disabled", "masked", "masked-runtime"})


class Unit(NamedTuple):
    """A unit as `systemctl show` sees it."""

    name: str
    load: str
    enabled: str
    active: str
    sub: str
    result: str
    restarts: int

    @property
    def startable(self) -> bool:
        """Whether the unit exists and its owner has not disabled or masked it."""
        return self.load == "loaded" and self.enabled not in PUT_AWAY

    @property
    def words(self) -> str:
        """Say its state: `failed (exit-code)`, `active (running)`."""
        if self.load != "loaded":
            return self.load
        detail = self.result if self.active == "failed" else self.sub
        return f"{self.active} ({detail})"


def show(names: list[str]) -> dict[str, Unit]:
    """Return the state of each named unit, in one call.

    Raises Trouble when systemd does not answer.
    """
    if not names:
        return {}
    result = run(["systemctl", "show", f"--property={','.join(PROPERTIES)}", "--", *names], timeout=10)
    blocks = result.out.strip().split("\n\n")
    if result.code != 0 or len(blocks) != len(names):
        raise Trouble(f"systemd does not say how its units are: {result.words}")
    return {name: _unit(name, block) for name, block in zip(names, blocks, strict=True)}


def _unit(name: str, block: str) -> Unit:
    fields = dict(line.partition("=")[::2] for line in block.splitlines())
    load, enabled, active, sub, result, restarts = (fields.get(key, "") for key in PROPERTIES)
    return Unit(name, load, enabled, active, sub, result, int(restarts or 0))


def ours() -> list[str]:
    """Return the names of all units of ours that are installed here, whatever they are doing."""
    result = run(["systemctl", "list-unit-files", "--no-legend", "--plain", "atlas-*"], timeout=10)
    if result.code not in (0, 1):  # newer systemctl: 1 when there is none
        raise Trouble(f"systemd does not say which units there are: {result.words}")
    names = [line.split()[0] for line in result.out.splitlines() if line.strip()]
    return sorted(name for name in names if "@." not in name)


def enabled(names: list[str]) -> list[str]:
    """Return the names with each pattern (`atlas-*.timer`) replaced by the enabled units that fit it."""
    patterns = [name for name in names if "*" in name]
    if not patterns:
        return names
    asked = ["systemctl", "list-unit-files", "--no-legend", "--plain", "--state=enabled", *patterns]
    result = run(asked, timeout=10)
    if result.code not in (0, 1):  # newer systemctl: 1 when there is none
        raise Trouble(f"systemd does not say which units there are: {result.words}")
    found = [line.split()[0] for line in result.out.splitlines() if line.strip()]
    return [name for name in names if "*" not in name] + found


def restart(names: list[str], *, timeout: float) -> str | None:
    """Restart units, also those that systemd has given up on, in the order of After=.

    Return None, or what systemctl says when it did not work.
    """
    run(
        ["systemctl", "reset-failed", "--", *names], timeout=10
    )  # fails for units not loaded: the restart will say so
    result = run(["systemctl", "restart", "--", *names], timeout=timeout)
    return None if result.code == 0 else (result.err.strip() or result.words).splitlines()[0]


def reload(names: list[str]) -> None:
    """Let running units read their files again, without an interruption where they can."""
    run(["systemctl", "try-reload-or-restart", "--", *names], timeout=100)


def notify(said: str) -> None:
    """Tell the systemd that started this process, where one did."""
    if address := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.sendto(said.encode(), address.replace("@", "\0", 1))


def stop(names: list[str]) -> list[str]:
    """Stop units; return those that are not known to have stopped."""
    run(["systemctl", "stop", "--", *names], timeout=100)
    try:
        units = show(names)
    except Trouble:
        return names
    return [name for name, unit in units.items() if unit.active not in ("inactive", "failed")]


def journal(unit: str, since: float, lines: int = 20) -> list[str]:
    """Return the unit's last journal lines since a moment, without stamps."""
    run(["journalctl", "--sync"], timeout=10)  # the last words of a unit that just died
    # Cut here: asked for lines since a moment, journalctl 252 gives the first ones, not the last.
    window = [f"--since=@{int(since)}", f"--unit={unit}"]
    said = run(["journalctl", "--no-pager", "--output=cat", *window], timeout=10).out
    return said.strip().splitlines()[-lines:]
