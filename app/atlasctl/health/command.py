"""`atlasctl health`: look at everything, remember, heal, tell."""

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from atlasctl.files import is_locked, read_object, take, write, write_json
from atlasctl.health import history
from atlasctl.health.checks import Observation, observe
from atlasctl.health.definitions import Broken, Definition, load
from atlasctl.health.heal import heal
from atlasctl.health.metrics import FILE, render
from atlasctl.health.page import publish
from atlasctl.health.state import State
from atlasctl.paths import Paths
from atlasctl.release.store import current_id, lock_file
from atlasctl.systemd import Unit, enabled
from atlasctl.trouble import Trouble
from atlasctl.words import ago, clock, parse, stamp, utc_now

#: A run by hand waits so long for the timer's run to end, and the other way round.
PATIENCE_SECONDS = 40


def health(paths: Paths, *, as_json: bool, quiet: bool, may_heal: bool, metrics: Path | None) -> int:
    """Run every check once, heal, write the status page; return 0 healthy, 1 degraded, 2 critical or down.

    `quiet` is for the timer: only what changed is told, and the exit code is 0 when the checks could run.
    `metrics` is the directory for the node exporter, when it is to be told too.
    """
    with _alone(paths.health_state.with_suffix(".lock")):
        report = examine(paths, utc_now(), may_heal=may_heal, metrics=metrics)
    if as_json:
        print(json.dumps(report, indent=1, ensure_ascii=False))
    elif not quiet:
        print(in_words(report))
    return 0 if quiet else exit_code(State[report["state"]])


def exit_code(state: State) -> int:
    """Return 0 for healthy, 1 for degraded, 2 for worse."""
    return min(int(state), 2)


def examine(paths: Paths, now: datetime, *, may_heal: bool, metrics: Path | None = None) -> dict[str, Any]:
    """Look, remember, publish, heal, and publish again when something was healed."""
    definitions, broken = load(paths.health_d)
    definitions = [_named(one) for one in definitions] + [_told(file) for file in broken]
    memory = read_object(paths.health_state)
    seen, units = _look(definitions, broken, memory, now)
    standings, changes = history.advance(memory, definitions, seen, now)
    history.count_restarts(memory, units, now)
    for change in changes:
        _journal(change.after, f"{change.title}: {change.after.name}. {change.message}")
    report = _report(paths, definitions, standings, memory, now)
    publish(paths.status_dir, report)
    events: list[dict[str, Any]] = []
    notes: list[str] = []
    if is_locked(lock_file(paths.app_root)):
        notes = ["a release is being put in place: nothing is restarted meanwhile"]
    elif may_heal:
        events, notes = heal(definitions, standings, units, memory, now)
    for event in events:
        _tell(event)
        history.remember_event(memory, event)
    write_json(paths.health_state, memory)
    if events or notes:
        report["notes"] += notes
        report["restarts"] = history.told(memory, "events")
        publish(paths.status_dir, report)
    if metrics:
        text = render(report, definitions, history.restarted(memory), now)
        try:
            write(metrics / FILE, text, durable=False)
        except (OSError, Trouble) as error:  # what heals goes on when nobody can be told
            _journal(State.DEGRADED, f"no metrics: {error}")
    return report


def _look(
    definitions: list[Definition], broken: list[Broken], memory: dict[str, Any], now: datetime
) -> tuple[dict[str, Observation], dict[str, Unit]]:
    files = {_told(file).name: file.error for file in broken}
    seen, units = observe(
        [one for one in definitions if one.name not in files], now, history.self_restarts(memory)
    )
    for name, error in files.items():
        seen[name] = Observation(State.DEGRADED, error)
    return seen, units


def _named(definition: Definition) -> Definition:
    """Put units in the place of patterns; what systemd does not say now, it does not say of any unit."""
    names = definition.parameters.get("units")
    with contextlib.suppress(Trouble):
        if names:
            return definition._replace(parameters=definition.parameters | {"units": enabled(names)})
    return definition


def _told(file: Broken) -> Definition:
    """Return a check that stands for a file that is none, so that it shows up like any other trouble."""
    return Definition(f"file {file.file}", f"Check file {file.file}", "file")


def _report(
    paths: Paths,
    definitions: list[Definition],
    standings: dict[str, history.Standing],
    memory: dict[str, Any],
    now: datetime,
) -> dict[str, Any]:
    worst = max((one.state for one in standings.values()), default=State.DEGRADED)
    state, since = history.verdict(memory, worst, now)
    notes = (
        [] if standings else [f"No check is defined: {paths.health_d} is empty. site.yml puts them there."]
    )
    return {
        "version": 1,
        "state": state.name,
        "ok": state.serves,
        "since": stamp(since),
        "checked_at": stamp(now),
        "release": current_id(paths.app_root),
        "checks": [_row(definition, standings[definition.name]) for definition in definitions],
        "notes": notes,
        "restarts": history.told(memory, "events"),
        "changes": history.told(memory, "changes"),
    }


def _row(definition: Definition, standing: history.Standing) -> dict[str, Any]:
    return {
        "name": definition.name,
        "title": definition.title,
        "check": definition.check,
        "state": standing.state.name,
        "observed": standing.observed.name,
        "since": stamp(standing.since),
        "message": standing.message,
        "value": standing.value,
        "seconds": standing.seconds,
    }


def _tell(event: dict[str, Any]) -> None:
    if event["worked"]:
        _journal(State.DEGRADED, f"restarted {event['unit']}: {event['reason']}")
    else:
        _journal(State.DOWN, f"could not restart {event['unit']} ({event['reason']}): {event['said']}")


def _journal(state: State, text: str) -> None:
    """Say one line on standard error, with the priority journald reads there (not on a person's terminal)."""
    priority = {State.HEALTHY: 5, State.DEGRADED: 4, State.CRITICAL: 3, State.DOWN: 3}[state]
    prefix = "" if sys.stderr.isatty() else f"<{priority}>"
    print(f"{prefix}{text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Wait for another run of the checks to end, so that no two heal at once."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    except OSError as error:
        raise Trouble(
            f"Cannot write {path}: {error.strerror}. Run this with sudo; atlasctl status needs no sudo."
        ) from None
    end = time.monotonic() + PATIENCE_SECONDS
    with file:
        while not take(file):
            if time.monotonic() > end:
                raise Trouble("Another run of the checks does not end: systemctl status atlas-health.service")
            time.sleep(0.1)
        yield


def in_words(report: dict[str, Any]) -> str:
    """Return a report for a terminal as narrow as a phone."""
    now = parse(report["checked_at"]) or utc_now()
    since = parse(report["since"]) or now
    lines = [f"{report['state']} since {clock(since)} ({ago((now - since).total_seconds())})"]
    for check in sorted(report["checks"], key=lambda one: -State[one["state"]]):
        pending = "" if check["observed"] == check["state"] else f" (just now {check['observed']})"
        lines.append(f"{check['state']:9} {check['title']}{pending}: {check['message']}")
    lines += [f"on hold   {note}" for note in report["notes"]]
    return "\n".join(lines)
