"""`atlasctl usage`: print what is used of what is free; write it down for the timer; judge it for health."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from atlasctl.cloud.configuration import read_configuration
from atlasctl.files import locked, read_object, write, write_json
from atlasctl.paths import Paths
from atlasctl.usage.metrics import FILE, render
from atlasctl.usage.report import Report, collect, concerns, idle_margin, leftovers, money, readings
from atlasctl.words import ago, parse, shorten, stamp, utc_now

#: Daily, with an hour of chance and an hour of patience.
OLD_SECONDS = 26 * 3600


def usage(paths: Paths, *, as_json: bool, metrics: bool, check: bool) -> int:
    """Run the command; 0 when everything could be read (for `check`: when nothing needs a look), else 1."""
    if check:
        return _judge(read_object(paths.usage_report), utc_now())
    configuration = read_configuration(paths.cloud_settings)
    now = utc_now()
    if metrics:
        with locked(paths.usage_report.with_suffix(".lock"), "atlasctl usage", stamp(now)):
            report = collect(configuration, now, read_object(paths.usage_report))
            write_json(paths.usage_report, report)
            write(paths.below_root(Path(configuration.textfile_directory)) / FILE, render(report))
    else:
        report = collect(configuration, now, read_object(paths.usage_report))
    if as_json:
        print(json.dumps(_for_programs(report), ensure_ascii=False))
    elif not metrics:
        print(_in_words(report))
    for one in report["problems"] if metrics and not as_json else []:
        print(f"{one['source']}: {one['message']}")
    return 0 if report["success"] else 1


def _judge(report: Report, now: datetime) -> int:
    """Say in one line how it is, by the last report; nothing is asked of anybody."""
    read = parse(report.get("read_at"))
    if read is None:
        print("never read: systemctl start atlas-usage.service")
        return 1
    age = (now - read).total_seconds()
    found = concerns(report)
    if age > OLD_SECONDS:
        found.insert(0, f"last read {ago(age)} ago: systemctl status atlas-usage.timer")
    found += [f"{one['source']}: {one['message']}" for one in report["problems"]]
    if found:
        more = f" (and {len(found) - 1} more: atlasctl usage)" if len(found) > 1 else ""
        print(shorten(found[0], 280) + more)
        return 1
    # The hours of a machine of the free size are nearly used up by the end of every month: no news.
    top = max(
        (one for one in readings(report) if not one["limit"].startswith("a1_")),
        key=lambda one: one["used"] / one["allowed"],
        default=None,
    )
    best = f"; most: {top['title']}, {top['used'] / top['allowed']:.0%}" if top else ""
    print(f"within what is free{best}; read {ago(age)} ago")
    return 0


def _for_programs(report: Report) -> dict[str, Any]:
    return {
        **{key: report[key] for key in ("read_at", "success", "last_success", "machine", "seconds", "calls")},
        "limits": readings(report),
        "idle": idle_margin(report),
        "cost": money(report),
        "leftovers": leftovers(report),
        "concerns": concerns(report),
        "problems": report["problems"],
    }


def _in_words(report: Report) -> str:
    lines = [*_table(report), *_idle_words(report), *_money_words(report), *_leftover_words(report)]
    found = concerns(report)
    lines += ["", *(f"! {one}" for one in found)] if found else []
    lines += ["", *(f"Not read: {one['source']}: {one['message']}" for one in report["problems"])] * bool(
        report["problems"]
    )
    return "\n".join(lines)


def _table(report: Report) -> list[str]:
    machine = report["machine"]
    where = f"{machine['region']}, {machine['shape']}" if machine else "unknown machine"
    lines = [f"What is used of what is free ({where})", ""]
    lines.append(f"{'':28} {'used':>12} {'free':>12} {'':>6} {'end of month':>14}")
    for one in readings(report):
        ends = "" if one["forecast"] is None else f"{one['forecast']:,.1f}"
        share = f"{one['used'] / one['allowed']:.0%}"
        about = "~" if one["estimated"] else ""
        used = f"{about}{one['used']:,.1f}"
        lines.append(f"{one['title']:28} {used:>12} {one['allowed']:>12,.0f} {share:>6} {ends:>14}")
    return lines


def _idle_words(report: Report) -> list[str]:
    seen = idle_margin(report)
    if seen is None:
        return []
    told = ", ".join(
        f"{name} {seen[key]:.1f} %"
        for key, name in (("cpu", "CPU"), ("network", "network"), ("memory", "memory"))
        if seen[key] is not None
    )
    hours = f"{seen['observed_hours']:.0f} of 168 hours seen"
    margin = seen["margin"]
    verdict = (
        "unknown" if margin is None else f"{abs(margin):.1f} points {'above' if margin >= 0 else 'below'}"
    )
    return ["", f"Idle is below 20 % in everything: {told or 'no data'} ({hours}): {verdict}"]


def _money_words(report: Report) -> list[str]:
    spent = money(report)
    return ["", f"Cost of this month: {spent['amount']:.2f} {spent['currency']}".rstrip()] if spent else []


def _leftover_words(report: Report) -> list[str]:
    found = leftovers(report)
    if not found:
        return []
    lines = ["", "Leftovers (nothing removes them by itself; what they would cost a month if not free):"]
    lines += [
        f"  {one['kind'].replace('_', ' '):12} {one['name']:30} {one['gigabytes']:8,.1f} GB "
        f"{one['age_days']:6.0f} days  ${one['monthly_dollars']:.2f}  {one['why']}"
        for one in found
    ]
    return lines
