"""The machine's week, part by part: what is shown of each, and what its owner should do.

Nothing here fails for want of something: what cannot be read is said, as the mail goes out on the worst days.
"""

import gzip
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from atlasctl.backup import settings as backup_settings
from atlasctl.backup import state as backup_state
from atlasctl.files import read_object
from atlasctl.health import history
from atlasctl.health.state import State
from atlasctl.paths import Paths
from atlasctl.report.prometheus import ADDRESS, NoAnswerError, fired
from atlasctl.trouble import Trouble
from atlasctl.usage.report import concerns, readings
from atlasctl.words import ago, clock, parse, shorten, size, stamp

WEEK = timedelta(days=7)
SHOWN = 8
#: A disk is told of when it is fuller than this, or will be full within so many days at this pace.
DISK_FULL, DISK_DAYS = 0.8, 60
#: Updates are looked for daily.
UPDATES_OLD = timedelta(days=3)
REBOOT_OLD = timedelta(days=3)
ERROR = re.compile(r"^(\S+ \S+?)(?:,\d+)? ERROR (.*)$")


class Row(NamedTuple):
    """One line: what, how it is, and whether that is well."""

    name: str
    words: str
    well: bool = True


class Part(NamedTuple):
    """A part of the mail."""

    title: str
    rows: list[Row]
    todo: list[str]


def gather(paths: Paths, remembered: dict[str, Any], now: datetime, prometheus: str = ADDRESS) -> list[Part]:
    """Return all parts of the seven days before `now`; `remembered` is the last report's `disks`."""
    since = now - WEEK
    found = [health(read_object(paths.health_state), since)]
    if paths.alerts_settings.exists():  # where nothing is measured, nobody is missing
        found.append(alerts(since, now, prometheus))
    found += [
        backups(paths, now),
        updates(paths.root, since, now),
        disks(paths.root, remembered, now),
    ]
    if paths.cloud_settings.exists():
        found.append(free_tier(read_object(paths.usage_report)))
    return found


def health(memory: dict[str, Any], since: datetime) -> Part:
    """Tell how the checks stand, which were not well, and what was restarted."""
    verdict = memory.get("verdict")
    state = str(verdict.get("state")) if isinstance(verdict, dict) else ""
    if state not in State.__members__:
        why = "Health has not run yet: systemctl status atlas-health.timer"
        return Part("Machine health", [Row("Now", "nobody looked", well=False)], [why])
    began = parse(verdict.get("since")) if isinstance(verdict, dict) else None
    rows = [Row("Now", state.lower() + (f" since {clock(began)}" if began else ""), state == "HEALTHY")]
    worse = Counter(
        str(one["title"])
        for one in _week(history.told(memory, "changes", history.KEPT_CHANGES), since)
        if one["to"] in State.__members__ and State[str(one["to"])] > State.HEALTHY
    )
    rows += [Row(title, f"not well {_times(count)}", well=False) for title, count in worse.most_common(SHOWN)]
    restarts = Counter(
        str(one["unit"]) for one in _week(history.told(memory, "events", history.KEPT_EVENTS), since)
    )
    rows += [
        Row(unit, f"restarted {_times(count)}", well=False) for unit, count in restarts.most_common(SHOWN)
    ]
    if len(rows) == 1:
        rows.append(Row("This week", "nothing was not well, nothing was restarted"))
    todo = [] if state == "HEALTHY" else ["Look what is not well: `atlasctl status`, then `atlasctl doctor`."]
    todo += [
        f"See why {unit} was restarted {_times(count)}: `atlasctl logs {unit.removesuffix('.service')}`."
        for unit, count in restarts.items()
        if count >= 3
    ]
    return Part("Machine health", rows, todo)


def alerts(since: datetime, now: datetime, address: str = ADDRESS) -> Part:
    """Tell which alerts fired, how often and for how long."""
    try:
        found = fired(since, now, address)
    except NoAnswerError as error:
        words = f"Prometheus does not say: {shorten(str(error), 120)}"
        return Part("Alerts", [Row("This week", words, well=False)], ["See why Prometheus does not answer."])
    if not found:
        return Part("Alerts", [Row("This week", "none")], [])
    count = sum(one.times for one in found)
    longest = max(found, key=lambda one: one.longest)
    rows = [Row("This week", f"{count}, the longest {longest.name} for {ago(longest.longest)}", well=False)]
    rows += [
        Row(one.name, f"{_times(one.times)}, {ago(one.total)} in all", one.severity != "critical")
        for one in found[:SHOWN]
    ]
    return Part("Alerts", rows, [])


def backups(paths: Paths, now: datetime) -> Part:
    """Tell of each repository how old its backup is, whether it is proven, and what failed this week."""
    try:
        settings = backup_settings.read(paths)
    except Trouble as error:
        return Part("Backups", [Row("Last backup", "none that is known", well=False)], [str(error)])
    state = backup_state.read(settings)
    since = (now - WEEK).timestamp()
    rows, todo = [], []
    for repository in settings.repositories:
        name, known = repository.name, state["repositories"].get(repository.name, {})
        made = [
            (one["at"], one["words"] or one["repositories"].get(name, {}).get("words"))
            for one in state["runs"]
            if one["words"] or name in one["repositories"]
        ]
        tried = [(one["at"], one["words"]) for one in state["drills"] if one["repository"] == name]
        for row, sentence in (
            _backup(name, known, settings.warn_hours * 3600, now),
            _failed(f"{name}, failed backups", [one for one in made if one[0] >= since], now),
            _drill(name, known, settings.drill_days * 86400, now),
            _failed(f"{name}, failed trials", [one for one in tried if one[0] >= since], now),
        ):
            rows += [row] if row else []
            todo += [sentence] if sentence else []
    return Part("Backups", rows, todo)


def _backup(name: str, known: dict[str, Any], old: float, now: datetime) -> tuple[Row, str]:
    at = known.get("success_at")
    if at is None:
        return Row(name, "no backup yet", well=False), f"See why there is no backup in {name}."
    age = now.timestamp() - at
    held = f", {size(known['stored'])} in all" if known.get("stored") else ""
    todo = f"See why the last backup in {name} is {ago(age)} old." if age > old else ""
    return Row(name, f"last backup {ago(age)} ago{held}", age <= old), todo


def _drill(name: str, known: dict[str, Any], old: float, now: datetime) -> tuple[Row | None, str]:
    if known.get("success_at") is None:
        return None, ""
    row, proven = f"{name}, on trial", known.get("drill_at")
    if known.get("drill_words"):
        todo = f"The backup in {name} is not proven: `atlasctl backup check`."
        return Row(row, f"NOT PROVEN: {shorten(known['drill_words'], 200)}", well=False), todo
    since = now.timestamp() - (proven or known.get("first_at") or known["success_at"])
    # A new machine has a week to come to its first trial.
    words = f"restored and served {ago(since)} ago" if proven else "not yet"
    if proven and known.get("drill_seconds"):
        words += f", in {ago(known['drill_seconds'])}"
    todo = f"Nobody knows whether the backup in {name} can be restored: `atlasctl drill`."
    return Row(row, words, since <= old), todo if since > old else ""


def _failed(name: str, tries: list[tuple[float, str | None]], now: datetime) -> tuple[Row | None, str]:
    """Tell of what failed of some tries, each with its time and what was wrong."""
    failed = [(at, words) for at, words in tries if words]
    if not failed:
        return None, ""
    at, words = failed[-1]
    count = f"{len(failed)} of {len(tries)}, the last {ago(now.timestamp() - at)} ago"
    return Row(name, f"{count}: {shorten(words, 200)}", well=False), ""


def updates(root: Path, since: datetime, now: datetime) -> Part:
    """Tell what was updated, what failed, and whether a restart is wanted."""
    rows, todo = [], []
    packages = {
        name
        for block in _text(root / "var/log/apt/history.log").split("\n\n")
        if _local(block, r"^Start-Date: (.+)$") >= since
        for line in re.findall(r"^Upgrade: (.+)$", block, re.MULTILINE)
        for name in re.findall(r"([a-z0-9][a-z0-9+.-]*):\S+ \(", line)
    }
    names = ", ".join(sorted(packages)[:6]) + (", ..." if len(packages) > 6 else "")
    rows.append(Row("Updated", f"{len(packages)} packages: {names}" if packages else "nothing"))
    log = _text(root / "var/log/unattended-upgrades/unattended-upgrades.log")
    ran = max((_moment(line[:19]) for line in log.splitlines()), default=datetime.min.replace(tzinfo=UTC))
    if now - ran > UPDATES_OLD:
        known = f"{ago((now - ran).total_seconds())} ago" if ran.year > 1 else "never"
        rows.append(Row("Looked for", known, well=False))
        todo.append("See why nothing looks for updates: `systemctl status apt-daily-upgrade.timer`.")
    failed = [
        match[2] for line in log.splitlines() if (match := ERROR.match(line)) and _moment(match[1]) >= since
    ]
    if failed:
        rows.append(Row("Failed", f"{_times(len(failed))}: {shorten(failed[-1], 120)}", well=False))
        todo.append("See why updates failed: `/var/log/unattended-upgrades/unattended-upgrades.log`.")
    mark = root / "run/reboot-required"
    if mark.exists():
        age = now - datetime.fromtimestamp(mark.stat().st_mtime, UTC)
        rows.append(Row("Restart", f"wanted for {ago(age.total_seconds())}", age < REBOOT_OLD))
        todo.append("Restart the machine: an update wants it (`systemctl reboot`).")
    return Part("Updates", rows, todo)


def disks(root: Path, remembered: dict[str, Any], now: datetime) -> Part:
    """Tell how full the disks are, how that changed since the last report, and when they will be full."""
    rows, todo = [], []
    for path, (used, total) in usages(root).items():
        share = used / total
        words = f"{share:.0%} of {size(total)} used"
        before = remembered.get(path)
        days = _days(before, now)
        well = share < DISK_FULL
        if isinstance(before, dict) and days:
            grown = used - int(before.get("used", used))
            words += f", {'+' if grown >= 0 else '-'}{size(abs(grown))} in {days:.0f} days"
            left = (total - used) / (grown / days) if grown > 0 else float("inf")
            if left < DISK_DAYS:
                words += f", full in about {left:.0f} days"
                well = False
                todo.append(f"Make room on {path}, or it is full in about {left:.0f} days.")
        if share >= DISK_FULL and not any(path in one for one in todo):
            todo.append(f"Make room on {path}: {share:.0%} is used.")
        rows.append(Row(path, words, well))
    return Part("Disk", rows, todo)


def usages(root: Path) -> dict[str, tuple[int, int]]:
    """Return used and all bytes of each file system that is ours, by the path it is known by."""
    found: dict[str, tuple[int, int]] = {}
    devices = set()
    for path in ("/", "/var/lib/atlas", "/var/lib/postgresql"):
        place = root / path.lstrip("/")
        if place.exists() and (device := place.stat().st_dev) not in devices:
            devices.add(device)
            usage = shutil.disk_usage(place)
            found[path] = usage.total - usage.free, usage.total
    return found


def remember(root: Path, now: datetime) -> dict[str, Any]:
    """Return what the next report is to know of the disks."""
    return {path: {"used": used, "at": stamp(now)} for path, (used, _) in usages(root).items()}


def free_tier(report: dict[str, Any]) -> Part:
    """Tell what is used of Oracle Cloud's free limits, as it was read last."""
    if parse(report.get("read_at")) is None:
        return Part("Free limits", [Row("Oracle Cloud", "never read", well=False)], [])
    used = sorted(readings(report), key=lambda one: -one["used"] / one["allowed"])
    rows = [
        Row(one["title"], f"{one['used'] / one['allowed']:.0%}", one["used"] <= one["allowed"])
        for one in used[:SHOWN]
    ]
    return Part("Free limits", rows, [f"Oracle Cloud: {one}" for one in concerns(report)])


def _week(told: list[dict[str, Any]], since: datetime) -> Iterator[dict[str, Any]]:
    return (one for one in told if (parse(one["at"]) or since) >= since)


def _text(path: Path) -> str:
    """Return a file, after the one that was rotated away before it; "" for what cannot be read."""
    text = ""
    for place in (path.with_name(f"{path.name}.1"), path.with_name(f"{path.name}.1.gz"), path):
        try:
            data = place.read_bytes()
            text += (gzip.decompress(data) if place.suffix == ".gz" else data).decode("utf-8", "replace")
        except (OSError, EOFError):
            continue
    return text


def _local(block: str, pattern: str) -> datetime:
    found = re.search(pattern, block, re.MULTILINE)
    return _moment(found[1]) if found else datetime.min.replace(tzinfo=UTC)


def _moment(text: str) -> datetime:
    """Return the time of a log that knows only the machine's clock."""
    try:
        return datetime.strptime(" ".join(text.split()), "%Y-%m-%d %H:%M:%S").astimezone()
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)


def _days(before: object, now: datetime) -> float:
    at = parse(before.get("at")) if isinstance(before, dict) else None
    days = (now - at).total_seconds() / 86400 if at else 0.0
    return days if days >= 1 else 0.0


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
