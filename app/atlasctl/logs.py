"""`atlasctl logs`: the journal of our units, the app's JSON lines made readable."""

import json
import subprocess
from datetime import UTC, datetime
from typing import Any

from atlasctl.trouble import Trouble

#: What a person types, and the units that are meant.
SHORT = {
    "api": "atlas-api.service",
    "worker": "atlas-worker.service",
    "health": "atlas-health.service",
    "certificate": "atlas-certificate.service",
    "nginx": "nginx.service",
    "postgresql": "postgresql*",
    "database": "postgresql*",
}
OURS = ("atlas-*", "nginx.service", "postgresql*")
LEVELS = ("EMERG", "ALERT", "CRIT", "ERROR", "WARN", "notice", "info", "debug")
#: Keys of an app line that stand elsewhere in the rendered one, or say nothing to a person.
SHOWN_ELSEWHERE = frozenset({"event", "level", "timestamp", "logger"})


def logs(names: list[str], *, follow: bool, lines: int | None, since: str | None) -> int:
    """Print the journal of the named units (default: all of ours), oldest first."""
    units = [SHORT.get(name, name) for name in names] or list(OURS)
    command = ["journalctl", "--no-pager", "--output=json", *[f"--unit={unit}" for unit in units]]
    if lines is not None or since is None:
        command.append(f"--lines={lines or 100}")
    command += ["--follow"] if follow else []
    command += [f"--since={since}"] if since else []
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace")
    except FileNotFoundError:
        raise Trouble("journalctl is not there: this machine keeps no journal.") from None
    with process:
        try:
            for line in process.stdout or ():
                print(render(line), flush=follow)
        finally:
            process.terminate()
    return max(0, process.returncode)


def render(line: str) -> str:
    """Return one line of `journalctl --output=json` for a person; what is not one comes back as it is."""
    try:
        entry = json.loads(line)
        moment = datetime.fromtimestamp(int(entry["__REALTIME_TIMESTAMP"]) / 1e6, UTC)
        message = _message(entry.get("MESSAGE"))
    except (ValueError, TypeError, KeyError):
        return line.rstrip("\n")
    unit = str(entry.get("_SYSTEMD_UNIT") or entry.get("UNIT") or entry.get("SYSLOG_IDENTIFIER") or "-")
    if unit in {"init.scope", "-"}:  # systemd speaking about a unit
        unit = str(entry.get("UNIT") or "systemd")
    level, text = _app_line(message) or (_level(entry.get("PRIORITY")), message)
    return f"{moment:%m-%d %H:%M:%S} {unit.removesuffix('.service'):12} {level:6} {text}"


def _message(raw: object) -> str:
    """Return the text; journalctl gives what is not UTF-8 as a list of numbers, and the too long as null."""
    if isinstance(raw, list):
        return bytes(raw).decode("utf-8", "replace")
    return "(too long to show)" if raw is None else str(raw)


def _level(priority: object) -> str:
    return LEVELS[int(str(priority))] if str(priority) in "01234567" else "info"


def _app_line(message: str) -> tuple[str, str] | None:
    """Return level and text of a JSON log line, or None when the message is none."""
    if not message.startswith("{"):
        return None
    try:
        fields: dict[str, Any] = json.loads(message)
    except ValueError:
        return None
    if "event" not in fields:
        return None
    level = str(fields.get("level", "info"))
    rest = [f"{key}={_value(value)}" for key, value in fields.items() if key not in SHOWN_ELSEWHERE]
    return level.upper() if level in {"error", "critical"} else level[:6], " ".join(
        [str(fields["event"]), *rest]
    )


def _value(value: object) -> str:
    if isinstance(value, str):
        return (
            value
            if value and not any(mark in value for mark in ' "=')
            else json.dumps(value, ensure_ascii=False)
        )
    return json.dumps(value, ensure_ascii=False)
