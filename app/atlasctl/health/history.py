"""What health remembers from run to run: how checks stand, since when, what changed, what was restarted.

A check gets worse only after `fall` bad looks in a row and better after `rise` better ones, so that one slow
answer wakes nobody. The memory is one JSON file; when it is lost or torn, the next run starts a new one from
what it sees.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from atlasctl.health.checks import Observation
from atlasctl.health.definitions import Definition
from atlasctl.health.state import State
from atlasctl.systemd import Unit
from atlasctl.words import parse, stamp

KEPT_CHANGES = 200
KEPT_EVENTS = 50
LOOP_WINDOW = timedelta(minutes=10)
TOLD = 20
KEYS = {
    "changes": {"at", "name", "title", "from", "to", "message"},
    "events": {"at", "unit", "check", "reason", "worked", "said"},
}


class Standing(NamedTuple):
    """How a check stands after this look: `state` counts, `observed` is what was seen just now."""

    state: State
    since: datetime
    observed: State
    streak: int
    message: str
    value: float | None
    seconds: float


class Change(NamedTuple):
    """A check went from one state to another."""

    name: str
    title: str
    before: State | None
    after: State
    message: str


def step(known: object, seen: Observation, fall: int, rise: int, now: datetime) -> Standing:
    """Return how a check stands after `seen`, given what is remembered of it (the unreadable is nothing)."""
    state, since, streak = _remembered(known)
    if state is None:
        return Standing(seen.state, now, seen.state, 0, *seen[1:])
    if seen.state == state:
        return Standing(state, since, seen.state, 0, *seen[1:])
    worse = seen.state > state
    streak = max(streak, 0) + 1 if worse else min(streak, 0) - 1
    if abs(streak) >= (fall if worse else rise):
        return Standing(seen.state, now, seen.state, 0, *seen[1:])
    return Standing(state, since, seen.state, streak, *seen[1:])


def _remembered(known: object) -> tuple[State | None, datetime, int]:
    nothing = (None, datetime.min.replace(tzinfo=UTC), 0)
    if not isinstance(known, dict):
        return nothing
    since, streak = parse(known.get("since")), known.get("streak", 0)
    if str(known.get("state")) not in State.__members__ or since is None or not isinstance(streak, int):
        return nothing
    return State[str(known["state"])], since, streak


def advance(
    memory: dict[str, Any], definitions: list[Definition], seen: dict[str, Observation], now: datetime
) -> tuple[dict[str, Standing], list[Change]]:
    """Bring the memory up to date with what was seen; return how all stand and what changed."""
    known = _object(memory, "checks")
    standings: dict[str, Standing] = {}
    changes: list[Change] = []
    for definition in definitions:
        name = definition.name
        standing = step(known.get(name), seen[name], definition.fall, definition.rise, now)
        standings[name] = standing
        before = _remembered(known.get(name))[0]
        if before != standing.state and not (before is None and standing.state == State.HEALTHY):
            changes.append(Change(name, definition.title, before, standing.state, standing.message))
    memory["checks"] = {
        name: {"state": one.state.name, "since": stamp(one.since), "streak": one.streak}
        for name, one in standings.items()
    }
    told = [
        {
            "at": stamp(now),
            "name": change.name,
            "title": change.title,
            "from": change.before.name if change.before is not None else None,
            "to": change.after.name,
            "message": change.message,
        }
        for change in changes
    ]
    memory["changes"] = (_list(memory, "changes") + told)[-KEPT_CHANGES:]
    return standings, changes


def verdict(memory: dict[str, Any], worst: State, now: datetime) -> tuple[State, datetime]:
    """Return the state of the whole and since when it is so."""
    state, since, _ = _remembered(memory.get("verdict"))
    if state != worst:
        since = now
    memory["verdict"] = {"state": worst.name, "since": stamp(since)}
    return worst, since


def self_restarts(memory: dict[str, Any]) -> dict[str, int]:
    """Return how often systemd restarted each unit by itself within the window, as far as noticed."""
    counted = _object(memory, "counted")
    return {name: looks[-1][1] - looks[0][1] for name, looks in counted.items() if _are_looks(looks)}


def count_restarts(memory: dict[str, Any], units: dict[str, Unit], now: datetime) -> None:
    """Remember NRestarts of each unit; systemd sets it to 0 when somebody restarts the unit."""
    counted = _object(memory, "counted")
    kept: dict[str, list[list[Any]]] = {}
    for name, unit in units.items():
        looks = counted.get(name, [])
        looks = looks if _are_looks(looks) and looks[-1][1] <= unit.restarts else []
        young = [look for look in looks if _age(look[0], now) <= LOOP_WINDOW]
        kept[name] = [*young, [stamp(now), unit.restarts]]
    memory["counted"] = kept


def _are_looks(looks: object) -> bool:
    return (
        isinstance(looks, list)
        and bool(looks)
        and all(isinstance(look, list) and len(look) == 2 and isinstance(look[1], int) for look in looks)
    )


def _age(text: object, now: datetime) -> timedelta:
    moment = parse(text)
    return now - moment if moment else timedelta.max


def remember_event(memory: dict[str, Any], event: dict[str, Any]) -> None:
    """Keep what was restarted, the newest last."""
    memory["events"] = [*_list(memory, "events"), event][-KEPT_EVENTS:]
    memory["restarted"] = {**restarted(memory), event["unit"]: restarted(memory).get(event["unit"], 0) + 1}


def restarted(memory: dict[str, Any]) -> dict[str, int]:
    """Return how often each unit was restarted since the memory began."""
    return {unit: n for unit, n in _object(memory, "restarted").items() if isinstance(n, int)}


def told(memory: dict[str, Any], key: str, count: int = TOLD) -> list[dict[str, Any]]:
    """Return the newest changes or events, leaving out what is not one."""
    return [
        one
        for one in _list(memory, key)
        if isinstance(one, dict) and one.keys() == KEYS[key] and parse(one["at"])
    ][-count:]


def _object(memory: dict[str, Any], key: str) -> dict[str, Any]:
    value = memory.get(key)
    return value if isinstance(value, dict) else {}


def _list(memory: dict[str, Any], key: str) -> list[Any]:
    value = memory.get(key)
    return value if isinstance(value, list) else []
