"""Healing: what is down and may be restarted is, in the order things stand on each other, within a budget.

systemd restarts what dies; this is for what it gave up on, what was stopped, what lives but does not answer.
"""

import time
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from atlasctl.health.definitions import Definition
from atlasctl.health.history import Standing
from atlasctl.health.state import State
from atlasctl.systemd import Unit, restart
from atlasctl.words import ago, clock, parse, stamp

BUDGET = 3
WINDOW = timedelta(minutes=10)
FIRST_WAIT = timedelta(seconds=30)
LONGEST_WAIT = timedelta(hours=1)
RESTART_SECONDS = 60
#: After so long no further restart is begun: the next run goes on, and the page stays young.
HEAL_SECONDS = 60


class Patient(NamedTuple):
    """A unit to restart, and why."""

    unit: str
    check: str
    reason: str


def heal(
    definitions: list[Definition],
    standings: dict[str, Standing],
    units: dict[str, Unit],
    memory: dict[str, Any],
    now: datetime,
) -> tuple[list[dict[str, Any]], list[str]]:
    """Restart what is down and may be; return the restarts as events and a note on each unit that waits."""
    attempts = _attempts(memory, standings, definitions, now)
    events: list[dict[str, Any]] = []
    notes: list[str] = []
    outcome: dict[str, bool] = {}  # by check: did healing it work?
    end = time.monotonic() + HEAL_SECONDS
    for definition in in_order(definitions):
        patients = _patients(definition, standings[definition.name], units)
        if not patients or time.monotonic() > end:
            continue
        if any(_blocks(name, standings, outcome, definition) for name in definition.after):
            outcome[definition.name] = False
            continue
        for patient in patients:
            done = [event for event in events if event["unit"] == patient.unit]
            wait = None if done else _wait(attempts.get(patient.unit, []), now)
            if wait:
                notes.append(f"{patient.unit}: {wait}")
            elif not done:
                attempts.setdefault(patient.unit, []).append(stamp(now))
                done = [_restart(patient, now)]
                events += done
            outcome[definition.name] = bool(done) and done[0]["worked"] and outcome.get(definition.name, True)
    memory["attempts"] = attempts
    return events, notes


def in_order(definitions: list[Definition]) -> list[Definition]:
    """Sort checks so that each comes after those it stands on (a circle is cut where it closes)."""
    by_name = {definition.name: definition for definition in definitions}
    placed: dict[str, Definition] = {}
    visiting: set[str] = set()

    def place(definition: Definition) -> None:
        if definition.name in visiting:
            return
        visiting.add(definition.name)
        for name in definition.after:
            if name in by_name:
                place(by_name[name])
        placed[definition.name] = definition

    for definition in definitions:
        place(definition)
    return list(placed.values())


def _patients(definition: Definition, standing: Standing, units: dict[str, Unit]) -> list[Patient]:
    if not definition.restart:
        return []
    bad = State.CRITICAL if definition.check == "command" else State.DOWN
    if standing.observed < bad:
        return []
    found = []
    for name in definition.units:
        unit = units.get(name)
        if unit is None or not unit.startable or unit.active in ("activating", "deactivating", "reloading"):
            continue
        # What does not answer gets another look; what does not run needs none.
        if standing.state < bad and unit.active == "active":
            continue
        if definition.check == "unit" and unit.active == "active" and unit.sub != "elapsed":
            continue
        found.append(
            Patient(name, definition.name, unit.words if definition.check == "unit" else standing.message)
        )
    return found


def _blocks(
    name: str, standings: dict[str, Standing], outcome: dict[str, bool], dependent: Definition
) -> bool:
    """Whether a check that another stands on is a reason to wait with the other.

    What was just restarted may carry a unit that is down; what only does not answer gets another look.
    """
    if name not in standings or standings[name].observed <= State.DEGRADED:
        return False
    return not outcome.get(name, False) or dependent.check != "unit"


def _attempts(
    memory: dict[str, Any], standings: dict[str, Standing], definitions: list[Definition], now: datetime
) -> dict[str, list[str]]:
    """Return the remembered restarts by unit, without those of units that have been well for a while."""
    known = memory.get("attempts")
    attempts = (
        {unit: list(times) for unit, times in known.items() if isinstance(times, list)}
        if isinstance(known, dict)
        else {}
    )
    ill = {
        unit
        for definition in definitions
        for unit in definition.units
        if standings[definition.name].state != State.HEALTHY
        or now - standings[definition.name].since < WINDOW
    }
    return {unit: times for unit, times in attempts.items() if unit in ill or _lately(times, now)}


def _lately(times: list[str], now: datetime) -> list[datetime]:
    return [moment for moment in map(parse, times) if moment and now - WINDOW < moment <= now]


def _wait(times: list[str], now: datetime) -> str | None:
    """Say why a unit must not be restarted now, or None when it may."""
    moments = sorted(moment for moment in map(parse, times) if moment and moment <= now)
    if not moments:
        return None
    recent = sorted(_lately(times, now))
    pause = min(FIRST_WAIT * 2 ** min(len(moments) - 1, 12), LONGEST_WAIT)
    until = moments[-1] + pause
    if len(recent) >= BUDGET:
        until = max(until, recent[-BUDGET] + WINDOW)
    if now >= until:
        return None
    tries = f"{len(moments)} restart{'s' if len(moments) > 1 else ''} did not help"
    return f"{tries}; next try {clock(until)}, in {ago((until - now).total_seconds())}"


def _restart(patient: Patient, now: datetime) -> dict[str, Any]:
    said = restart([patient.unit], timeout=RESTART_SECONDS)
    return {
        "at": stamp(now),
        "unit": patient.unit,
        "check": patient.check,
        "reason": patient.reason,
        "worked": said is None,
        "said": said or "",
    }
