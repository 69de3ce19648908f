"""Hours of the Arm shape, and money, by the Usage API; it lags, and what it lacks is estimated."""

from datetime import datetime, timedelta
from typing import Any

from atlasctl.usage.parts import Part, Reading, Scene, wire_time
from atlasctl.words import parse

PATH = "/20200107/usage"
#: Oracle's part numbers, and words of the names, should a number change.
PARTS = {"a1_ocpu_hours": ("B93297", "ocpu"), "a1_memory_gb_hours": ("B93298", "memory")}
TITLES = {
    "a1_ocpu_hours": "A1 OCPU hours, this month",
    "a1_memory_gb_hours": "A1 memory GB hours, this month",
}
#: Days whose usage may still be incomplete.
BEHIND = timedelta(days=2)
WEEK = timedelta(days=7)

Item = dict[str, Any]


def a1_hours(scene: Scene) -> Part:
    """Count OCPU and memory hours of the month: what is reported, and what must have come since."""
    machine = scene.machine
    own = {
        "a1_ocpu_hours": machine.ocpus if machine.is_a1 else 0.0,
        "a1_memory_gb_hours": machine.memory_gb if machine.is_a1 else 0.0,
    }
    items = _reported(scene) if scene.configuration.usage_api else None
    return Part(tuple(_hours(scene, limit, items, size) for limit, size in own.items()))


def cost(scene: Scene) -> Part:
    """Add up the money of this month, in the account's currency; free is 0."""
    today = scene.now.replace(hour=0, minute=0, second=0, microsecond=0)
    if today <= scene.month:
        return Part(cost=(0.0, ""))  # no day of this month has ended yet
    items = _usage(scene, "COST", (scene.month, today), ["service"], "what this month cost")
    currency = next((str(one["currency"]).strip() for one in items if one.get("currency")), "")
    return Part(cost=(round(sum(float(one.get("computedAmount") or 0) for one in items), 2), currency))


def _hours(scene: Scene, limit: str, items: list[Item] | None, own: float) -> Reading:
    """Return the hours of one resource.

    The days of the Usage API that are settled count as reported. For the last days the larger of what is
    reported so far and what ran is taken: the rate of the last settled day, at least this machine itself.
    """
    unsettled = max(scene.now.replace(hour=0, minute=0, second=0, microsecond=0) - BEHIND, scene.month)
    born = max(unsettled, scene.machine.created)
    own_hours = own * max(0.0, (scene.now - born).total_seconds() / 3600)
    rate = own
    if items is None:  # nobody told us: this machine, since it is there
        used = own * max(0.0, (scene.now - max(scene.month, scene.machine.created)).total_seconds() / 3600)
    else:
        days = _by_day(items, limit)
        settled = sum(value for day, value in days.items() if scene.month <= day < unsettled)
        recent = sum(value for day, value in days.items() if day >= unsettled)
        day = scene.now.replace(hour=0, minute=0, second=0, microsecond=0) - BEHIND - timedelta(days=1)
        before = days.get(day, 0.0) / 24
        running = before * (scene.now - unsettled).total_seconds() / 3600
        used = settled + max(recent, running, own_hours)
        rate = max(own, before)
    allowed = scene.configuration.limits[limit]
    return Reading(limit, TITLES[limit], used, allowed, used + rate * scene.hours_left, estimated=True)


def _reported(scene: Scene) -> list[Item]:
    today = scene.now.replace(hour=0, minute=0, second=0, microsecond=0)
    since = min(scene.month, today - WEEK)
    groups = ["skuPartNumber", "skuName", "unit"]
    return _usage(scene, "USAGE", (since, today), groups, "the usage of the tenancy")


def _usage(
    scene: Scene, kind: str, span: tuple[datetime, datetime], groups: list[str], what: str
) -> list[Item]:
    body = {
        "tenantId": scene.machine.tenancy,
        "timeUsageStarted": wire_time(span[0]),
        "timeUsageEnded": wire_time(span[1]),
        "granularity": "DAILY",
        "queryType": kind,
        "groupBy": groups,
    }
    return scene.client.items("usage", PATH, what, body)


def _by_day(items: list[Item], limit: str) -> dict[datetime, float]:
    number, word = PARTS[limit]
    days: dict[datetime, float] = {}
    for one in items:
        name = str(one.get("skuName") or "").lower()
        if one.get("skuPartNumber") != number and not (" a1 " in f" {name} " and word in name):
            continue
        day = parse(one.get("timeUsageStarted"))
        if day is not None:
            days[day] = days.get(day, 0.0) + float(one.get("computedQuantity") or 0)
    return days
