"""`atlasctl alerts`: what is wrong now and was lately, silences, a test."""

import argparse
import json
import os
import re
import socket
from datetime import datetime, timedelta

from atlasctl.alerts import sources
from atlasctl.alerts.history import DAYS, episodes
from atlasctl.alerts.sources import SEVERITIES, Settings, thing
from atlasctl.paths import Paths
from atlasctl.trouble import Trouble
from atlasctl.words import ago, clock, stamp, utc_now

TEST_SECONDS = 60
UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
LONGEST = timedelta(days=90)


def alerts(paths: Paths, asked: argparse.Namespace) -> int:
    """Run the verb."""
    settings = sources.read(paths)
    now = utc_now()
    match asked.verb:
        case "serve":
            from atlasctl.alerts.server import serve

            return serve(settings)
        case "silence":
            return _silence(settings, asked.name, length(asked.length), now)
        case "end":
            return _end(settings, asked.name)
        case "history":
            return _history(settings, now, as_json=asked.json)
        case "test":
            return _test(settings, asked.severity, now)
        case _:
            return _list(settings, now, as_json=asked.json)


def length(said: str) -> timedelta:
    """Return the length of time that `30m`, `1h`, `2d` or `1w` says."""
    found = re.fullmatch(r"(\d{1,4})([mhdw])", said)
    long = timedelta(**{UNITS[found[2]]: int(found[1])}) if found else timedelta(0)
    if not timedelta(0) < long <= LONGEST:
        raise Trouble(f"{said!r} is no length of time: 30m, 1h, 2d or 1w, and at most {LONGEST.days} days.")
    return long


def _list(settings: Settings, now: datetime, *, as_json: bool) -> int:
    found = sources.alerts(settings)
    silences = sources.silences(settings)
    loud = [one for one in found if not one.quiet]
    code = 0 if not loud else 2 if loud[0].severity == "critical" else 1
    if as_json:
        told = [one._asdict() | {"since": stamp(one.since), "severity": one.severity} for one in found]
        kept = [one._asdict() | {"until": stamp(one.until)} for one in silences]
        print(json.dumps({"alerts": told, "silences": kept}, indent=1, ensure_ascii=False))
        return code
    if not loud:
        print("Nothing is wrong.")
    for one in found:
        why = f" ({one.why_quiet})" if one.quiet else ""
        print(f"{one.severity.upper():9} {one.annotations.get('summary') or one.name}{why}")
        print(f"          {thing(one.labels)}, for {ago((now - one.since).total_seconds())}")
        for key in ("description", "runbook"):
            if one.annotations.get(key):
                print(f"          {one.annotations[key]}")
    for silence in silences:
        print(f"silence   {silence.what}: until {clock(silence.until)}, by {silence.by}")
    return code


def _silence(settings: Settings, name: str, long: timedelta, now: datetime) -> int:
    who = os.environ.get("SUDO_USER") or os.environ.get("USER") or "atlasctl"
    sources.silence(settings, {"alertname": name}, long, now, who)
    there = any(one.name == name for one in sources.alerts(settings))
    print(f"{name} is kept quiet until {clock(now + long)}.{'' if there else ' It does not fire now.'}")
    return 0


def _end(settings: Settings, name: str) -> int:
    ended = [
        one for one in sources.silences(settings) if name == one.id or name == one.what.partition(",")[0]
    ]
    if not ended:
        raise Trouble(f"There is no silence of {name}. Which there are: atlasctl alerts")
    for one in ended:
        sources.end_silence(settings, one.id)
        print(f"Ended: {one.what}")
    return 0


def _history(settings: Settings, now: datetime, *, as_json: bool) -> int:
    found = episodes(settings, now)
    if as_json:
        told = [
            {"labels": one.labels, "start": stamp(one.start), "end": stamp(one.end) if one.end else None}
            for one in found
        ]
        print(json.dumps(told, indent=1, ensure_ascii=False))
        return 0
    for one in found:
        seconds = ((one.end or now) - one.start).total_seconds()
        still = "" if one.end else ", still"
        severity = one.labels.get("severity", "")
        print(f"{clock(one.start):30} {severity:9} {thing(one.labels)}, for {ago(seconds)}{still}")
    if not found:
        print(f"No alert in {DAYS} days.")
    return 0


def _test(settings: Settings, severity: str, now: datetime) -> int:
    if severity not in SEVERITIES:
        raise Trouble(f"A severity is one of {', '.join(SEVERITIES)}.")
    machine = socket.gethostname()
    said = {
        "summary": f"Test from {machine}: alerts reach you",
        "description": "Sent by atlasctl alerts test. Nothing is to be done.",
        "runbook": "docs/alerting.md#how-to-set-it-up",
    }
    labels = {"alertname": "AtlasTest", "severity": severity, "instance": machine}
    sources.fire(settings, labels, said, now + timedelta(seconds=TEST_SECONDS))
    print("Alertmanager has it. A message comes by each way within a minute, and that it ended within five.")
    print("If none comes: atlasctl logs prometheus-alertmanager; for mail: sudo atlasctl mail")
    return 0
