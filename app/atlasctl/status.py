"""`atlasctl status`: a quick look for a terminal, from what is there, without changing anything."""

import json
import shutil
from datetime import datetime
from time import sleep as pause
from typing import Any

from atlasctl.files import read_object
from atlasctl.health.command import exit_code, in_words
from atlasctl.health.page import STALE_SECONDS
from atlasctl.health.state import State
from atlasctl.paths import Paths
from atlasctl.release.store import current_id
from atlasctl.settings import api_port, read_settings
from atlasctl.systemd import ours, show
from atlasctl.trouble import Trouble
from atlasctl.web import NoAnswerError, get
from atlasctl.words import ago, parse, utc_now

WATCH_SECONDS = 5
CLEAR = "\x1b[2J\x1b[H"


def status(paths: Paths, *, as_json: bool, watch: bool) -> int:
    """Print how it is; return 0 healthy, 1 degraded, 2 critical, down or unknown."""
    while True:
        look = take(paths, utc_now())
        print(
            (CLEAR if watch else "") + (json.dumps(look, ensure_ascii=False) if as_json else _in_words(look)),
            flush=True,
        )
        if not watch:
            return exit_code(State[look["state"]])
        pause(WATCH_SECONDS)


def take(paths: Paths, now: datetime) -> dict[str, Any]:
    """Collect the last report of the checks and what can be asked right now."""
    report = read_object(paths.status_dir / "status.json")
    checked = parse(report.get("checked_at"))
    age = (now - checked).total_seconds() if checked else None
    stale = age is None or age > STALE_SECONDS
    usage = shutil.disk_usage(paths.root)
    return {
        "state": State.CRITICAL.name if stale else report["state"],
        "stale": stale,
        "checked_seconds_ago": age,
        "report": report if checked else {},
        "units": _units(),
        "release": current_id(paths.app_root),
        "disk_used_percent": round(100 * usage.used / (usage.used + usage.free)),
        "disk_free_bytes": usage.free,
        "app": _app(paths),
    }


def _units() -> dict[str, str]:
    """Return the units that should run, in words; those a timer starts and ends are left out."""
    try:
        units = show([*ours(), "nginx.service"]).values()
    except Trouble as error:
        return {"systemd": str(error)}
    return {one.name: one.words for one in units if one.enabled == "enabled" or one.load == "masked"}


def _app(paths: Paths) -> dict[str, Any] | str:
    """Return what the app says of itself, or why it says nothing."""
    try:
        port = api_port(read_settings(paths.settings))
        answer = get(f"http://127.0.0.1:{port}/health", timeout=3)
    except NoAnswerError as error:
        return str(error)
    try:
        said = json.loads(answer.body)
    except ValueError:
        said = None
    return said if isinstance(said, dict) else f"answers {answer.status}"


def _in_words(look: dict[str, Any]) -> str:
    lines = []
    age = look["checked_seconds_ago"]
    if age is None:
        lines.append(
            "UNKNOWN: the checks never ran here. Start them: systemctl enable --now atlas-health.timer"
        )
    elif look["stale"]:
        lines.append(f"UNKNOWN: the checks stopped {ago(age)} ago. Look: systemctl status atlas-health.timer")
    if look["report"]:
        lines.append(in_words(look["report"]))
    lines.append("")
    lines += [f"{name.removesuffix('.service'):22} {words}" for name, words in look["units"].items()]
    lines.append(f"{'release':22} {look['release'] or 'none: atlasctl release list'}")
    lines.append(
        f"{'disk':22} {look['disk_used_percent']} % used, {look['disk_free_bytes'] / 1e9:.1f} GB free"
    )
    lines += [f"{name:22} {words}" for name, words in _app_in_words(look["app"])]
    if age is not None and not look["stale"]:
        lines.append(f"{'checked':22} {ago(age)} ago")
    return "\n".join(lines)


def _app_in_words(app: dict[str, Any] | str) -> list[tuple[str, str]]:
    """Return what the app says of itself: its state, the queue, and what is not well."""
    if isinstance(app, str):
        return [("app", f"does not say how it is: {app}")]
    parts = app.get("checks")
    parts = parts if isinstance(parts, dict) else {}
    told = {name: part for name, part in parts.items() if isinstance(part, dict)}
    shown = [
        ("queue" if name == "pipeline" else name, str(part.get("message")))
        for name, part in told.items()
        if name == "pipeline" or part.get("status") != "ok"
    ]
    return [("app", str(app.get("status", "answers"))), *((f"  {name}", words) for name, words in shown)]
