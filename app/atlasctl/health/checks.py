"""The seven kinds of check: each looks at one thing once and says how it is."""

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from atlasctl.files import read_object
from atlasctl.health.definitions import Definition
from atlasctl.health.state import State
from atlasctl.run import run
from atlasctl.systemd import Unit, show
from atlasctl.trouble import Trouble
from atlasctl.web import NoAnswerError, get
from atlasctl.words import shorten

#: What a check's run may take beyond its own limit before it is given up: it should have ended by itself.
GRACE = 1.0
LOOP_RESTARTS = 3
#: Days a certificate lives for which the limits are meant as they stand.
FULL_LIFE_DAYS = 90


class Observation(NamedTuple):
    """How a thing was in one look at it; `value` is the number behind it, where there is one."""

    state: State
    message: str
    value: float | None = None
    seconds: float = 0.0


def observe(
    definitions: list[Definition], now: datetime, self_restarts: Mapping[str, int]
) -> tuple[dict[str, Observation], dict[str, Unit]]:
    """Run all checks at once and return what each saw, and the state of every unit they name.

    `self_restarts` says how often systemd restarted a unit by itself lately.
    """
    boxes: dict[str, list[Observation]] = {definition.name: [] for definition in definitions}
    started = time.monotonic()
    threads = [
        (
            definition,
            threading.Thread(target=_look, args=(definition, now, boxes[definition.name]), daemon=True),
        )
        for definition in definitions
        if definition.check != "unit"
    ]
    for _, thread in threads:
        thread.start()
    units, trouble = _units(definitions)
    for definition in definitions:
        if definition.check == "unit":
            seen = (
                unit(definition, units, self_restarts)
                if trouble is None
                else Observation(State.DOWN, trouble)
            )
            boxes[definition.name].append(seen)
    for definition, thread in threads:
        thread.join(max(0.0, started + definition.timeout + GRACE - time.monotonic()))
    return {
        definition.name: _verdict(definition, boxes[definition.name]) for definition in definitions
    }, units


def _units(definitions: list[Definition]) -> tuple[dict[str, Unit], str | None]:
    names = sorted({name for definition in definitions for name in definition.units})
    try:
        return show(names), None
    except Trouble as error:
        return {}, str(error)


def _verdict(definition: Definition, box: list[Observation]) -> Observation:
    if box:
        return box[0]
    return Observation(State.DOWN, f"no end within {definition.timeout:g} s", seconds=definition.timeout)


def _look(definition: Definition, now: datetime, box: list[Observation]) -> None:
    started = time.monotonic()
    try:
        seen = KINDS[definition.check](definition, now)
    except Trouble as error:
        seen = Observation(State.CRITICAL, str(error))
    except Exception as error:  # noqa: BLE001  (one broken check must not hide the others)
        seen = Observation(State.CRITICAL, f"the check itself failed: {type(error).__name__}: {error}")
    box.append(
        seen._replace(message=shorten(seen.message, 300), seconds=round(time.monotonic() - started, 3))
    )


def unit(definition: Definition, units: Mapping[str, Unit], self_restarts: Mapping[str, int]) -> Observation:
    """Judge the units of a check by what systemd says."""
    looks = [
        (_judge(units[name], definition.parameters["expect"], self_restarts.get(name, 0)), name)
        for name in definition.units
    ]
    worst = max((state for (state, _), _ in looks), default=State.HEALTHY)
    told = [(said, name) for (state, said), name in looks if state == worst or state > State.HEALTHY]
    if worst == State.HEALTHY and len(looks) != 1:
        return Observation(worst, f"all {len(looks)} units are fine")
    return Observation(worst, "; ".join(f"{name}: {said}" if len(looks) > 1 else said for said, name in told))


def _judge(seen: Unit, expect: str, self_restarts: int) -> tuple[State, str]:
    """Return the first judgement that fits, from bad to good."""
    ended = expect == "active" and seen.active in ("inactive", "deactivating")
    judgements = (
        (seen.load != "loaded" or seen.active == "failed", State.DOWN, seen.words),
        (seen.sub == "auto-restart", State.CRITICAL, f"it ended ({seen.result}), systemd starts it again"),
        (seen.sub == "elapsed", State.DOWN, "the timer has no next time: it will not fire again"),
        (ended and not seen.startable, State.DOWN, "stopped and disabled"),
        (ended, State.DOWN, seen.words),
        (expect == "active" and seen.active == "activating", State.DEGRADED, "starting"),
        (self_restarts >= LOOP_RESTARTS, State.DEGRADED, f"ended {self_restarts} times within 10 minutes"),
    )
    return next(((state, words) for fits, state, words in judgements if fits), (State.HEALTHY, seen.words))


def http(definition: Definition, now: datetime) -> Observation:  # noqa: ARG001
    """GET a page of this machine; look at its status, a field of its JSON and the time it took."""
    given = definition.parameters
    started = time.monotonic()
    try:
        answer = get(
            given["url"],
            timeout=definition.timeout,
            host=given["host"],
            verify=given["verify"],
            ca_file=given["ca_file"],
        )
    except NoAnswerError as error:
        return Observation(State.DOWN, f"{given['url']}: {error}")
    took = time.monotonic() - started
    if answer.status != given["status"]:
        return Observation(
            State.CRITICAL, f"{given['url']} answers {answer.status}: {shorten(answer.body, 120)}", took
        )
    if given["field"]:
        found = _field(answer.body, given["field"])
        if found in given["degraded"]:
            return Observation(State.DEGRADED, f"{given['field']} is {found}", took)
        if found not in given["healthy"]:
            return Observation(State.CRITICAL, f"{given['field']} is {found}", took)
    if given["max_seconds"] is not None and took > given["max_seconds"]:
        return Observation(
            State.DEGRADED, f"slow: {took:.2f} s, at most {given['max_seconds']:g} s is right", took
        )
    return Observation(State.HEALTHY, f"answers {answer.status} in {took * 1000:.0f} ms", took)


def _field(body: str, path: str) -> object:
    try:
        value: object = json.loads(body)
    except ValueError:
        return "not there: the answer is not JSON"
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            return "not there"
        value = value[key]
    return value


def tcp(definition: Definition, now: datetime) -> Observation:  # noqa: ARG001
    """Connect, and hang up."""
    address = definition.parameters["address"]
    try:
        socket.create_connection(_split(address), timeout=definition.timeout).close()
    except OSError as error:
        return Observation(State.DOWN, f"{address}: {error.strerror or error}")
    return Observation(State.HEALTHY, f"{address} accepts")


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def disk(definition: Definition, now: datetime) -> Observation:  # noqa: ARG001
    """Compare the used part of space and inodes with the limits."""
    given = definition.parameters
    try:
        seen = os.statvfs(given["path"])
    except OSError as error:
        return Observation(State.CRITICAL, f"{given['path']}: {error.strerror}")
    value, of = max((percent, of) for of, percent in used(seen).items())
    free = seen.f_bavail * seen.f_frsize / 1e9
    state = State.CRITICAL if value >= given["critical"] else State(value >= given["warning"])
    return Observation(state, f"{value:.0f} % of the {of} used, {free:.1f} GB free", round(value, 1))


def used(seen: os.statvfs_result) -> dict[str, float]:
    """Return how many percent of a file system's space and inodes are used, counted as df does."""
    return {
        "space": _percent(seen.f_blocks - seen.f_bfree, seen.f_bavail),
        "inodes": _percent(seen.f_files - seen.f_ffree, seen.f_favail),
    }


def _percent(taken: int, available: int) -> float:
    return 100 * taken / (taken + available) if taken + available > 0 else 0.0


def memory(definition: Definition, now: datetime) -> Observation:  # noqa: ARG001
    """Compare available memory with the limits."""
    given = definition.parameters
    with open("/proc/meminfo", encoding="ascii") as file:  # noqa: PTH123
        fields = dict(line.split(":", 1) for line in file)
    available, total = (int(fields[key].split()[0]) for key in ("MemAvailable", "MemTotal"))
    value = 100 * available / total
    state = State.CRITICAL if value < given["critical"] else State(value < given["warning"])
    return Observation(
        state, f"{value:.0f} % available, {available / 1e6:.1f} of {total / 1e6:.1f} GB", round(value, 1)
    )


def certificate(definition: Definition, now: datetime) -> Observation:
    """Judge a certificate by the days it has left: the one that is served, where an address says by whom."""
    from atlasctl.certificate import from_file, served

    given = definition.parameters
    kept = from_file(given["file"]) if given["file"] else None
    shown = served(*_split(given["address"]), given["host"], definition.timeout) if given["address"] else None
    seen = shown or kept
    if seen is None:
        raise Trouble("neither file nor address is given")
    days = (seen.end - now).total_seconds() / 86400
    # Those that live shorter are renewed later.
    part = min(1.0, (seen.end - seen.begin).total_seconds() / 86400 / FULL_LIFE_DAYS)
    state = State.CRITICAL if days < given["critical"] * part else State(days < given["warning"] * part)
    said = [f"ended {-days:.0f} days ago" if days < 0 else f"{days:.0f} days left, until {seen.end:%Y-%m-%d}"]
    if not seen.fits:
        said.append(f"it is not for {given['host']}")
    if kept and shown and kept.fingerprint != shown.fingerprint:
        said.append("the file holds another than is served: systemctl reload nginx")
    if given["renewal"] and (trouble := read_object(Path(given["renewal"])).get("trouble")):
        said.append(str(trouble))
    return Observation(max(state, State(len(said) > 1)), "; ".join(said), round(days, 1))


def command(definition: Definition, now: datetime) -> Observation:  # noqa: ARG001
    """Run a program; its exit code is the state, its first line the message."""
    given = definition.parameters
    result = run(given["argv"], timeout=definition.timeout, user=given["user"])
    state = State(result.code) if result.code in (0, 1, 2) else State.DOWN
    lines = (result.out.strip() or result.err.strip()).splitlines()
    return Observation(state, lines[0] if lines else f"{given['argv'][0]}: exit code {result.code}")


KINDS: dict[str, Callable[[Definition, datetime], Observation]] = {
    "http": http,
    "tcp": tcp,
    "disk": disk,
    "memory": memory,
    "certificate": certificate,
    "command": command,
}
