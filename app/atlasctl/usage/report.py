"""All sources together: one that fails costs its own numbers only, and those stay what they were last."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from atlasctl.cloud.client import Client
from atlasctl.cloud.configuration import Configuration
from atlasctl.cloud.metadata import Machine, read_machine
from atlasctl.trouble import Trouble
from atlasctl.usage import block, compute, objects, traffic
from atlasctl.usage.idle import THRESHOLD, idle
from atlasctl.usage.parts import Part, Scene
from atlasctl.words import parse, stamp

#: What is asked, in this order, with the functions that ask.
SOURCES: dict[str, Callable[[Scene], Part]] = {
    "volumes": block.volumes,
    "backups": block.backups,
    "addresses": block.addresses,
    "objects": objects.objects,
    "uploads": objects.uploads,
    "egress": traffic.egress,
    "a1_hours": compute.a1_hours,
    "cost": compute.cost,
    "idle": idle,
}

Report = dict[str, Any]


def collect(configuration: Configuration, now: datetime, before: Report) -> Report:
    """Ask all sources; return the report as it is kept and printed (JSON).

    `before` is the report of the last run: what a source cannot say now stays as it was then, with its time,
    as long as it is of this month.
    """
    started = time.monotonic()
    report: Report = {"read_at": stamp(now), "machine": {}, "parts": {}, "problems": [], "calls": {}}
    scene = None
    try:
        machine = read_machine(configuration.metadata)
        scene = _scene(Client(configuration, machine), machine, configuration, now, report["problems"])
        report["machine"] = {
            "region": machine.region,
            "shape": machine.shape,
            "ocpus": machine.ocpus,
            "memory_gb": machine.memory_gb,
        }
    except Trouble as error:
        report["problems"].append({"source": "metadata", "message": str(error)})
        report["machine"] = before.get("machine", {})
    for name, ask in _wanted(configuration).items():
        part = _ask(name, ask, scene, report["problems"]) if scene else None
        report["parts"][name] = _as_json(part, now) if part else _kept(before, name, now)
    report["parts"] = {name: part for name, part in report["parts"].items() if part}
    report["success"] = not report["problems"]
    report["last_success"] = report["read_at"] if report["success"] else before.get("last_success")
    report["calls"] = dict(scene.client.calls) if scene else {}
    report["seconds"] = round(time.monotonic() - started, 2)
    return report


def _scene(
    client: Client,
    machine: Machine,
    configuration: Configuration,
    now: datetime,
    problems: list[dict[str, str]],
) -> Scene:
    """Find what to look into: all of the tenancy, as limits are the tenancy's, unless that was named."""
    own = Scene(client, machine, configuration, now, configuration.compartments or (machine.compartment,))
    if configuration.compartments:
        return own
    try:
        found = client.listed(
            "identity",
            "/20160918/compartments",
            "the compartments",
            compartmentId=machine.tenancy,
            compartmentIdInSubtree="true",
            lifecycleState="ACTIVE",
        )
    except Trouble as error:
        problems.append(
            {"source": "compartments", "message": f"Only its own compartment is looked into: {error}"}
        )
        return own
    return own._replace(
        compartments=(machine.tenancy, *(str(one["id"]) for one in found if "id" in one)), whole_tenancy=True
    )


def _wanted(configuration: Configuration) -> dict[str, Callable[[Scene], Part]]:
    left_out = set() if configuration.usage_api else {"cost"}
    left_out |= set() if configuration.idle_watched else {"idle"}
    return {name: ask for name, ask in SOURCES.items() if name not in left_out}


def _ask(
    name: str, ask: Callable[[Scene], Part], scene: Scene, problems: list[dict[str, str]]
) -> Part | None:
    try:
        part = ask(scene)
    except Trouble as error:
        message = str(error)
    except (ValueError, TypeError, KeyError, AttributeError) as error:  # an answer nobody expects
        message = f"Oracle Cloud answers in a form nobody expected ({type(error).__name__}: {error})."
    else:
        if part.missing:
            problems.append({"source": name, "message": part.missing})
        return part
    problems.append({"source": name, "message": message})
    return None


def _as_json(part: Part, now: datetime) -> dict[str, Any]:
    return {
        "read_at": stamp(now),
        "readings": [one._asdict() for one in part.readings],
        "leftovers": [one._asdict() for one in part.leftovers],
        "idle": part.idle._asdict() if part.idle else None,
        "cost": {"amount": part.cost[0], "currency": part.cost[1]} if part.cost else None,
    }


def _kept(before: Report, name: str, now: datetime) -> dict[str, Any] | None:
    """Return what a source said last, if that was in this month: counts of a month begin anew with it."""
    parts = before.get("parts")
    part = parts.get(name) if isinstance(parts, dict) else None
    read = parse(part.get("read_at")) if isinstance(part, dict) else None
    if read is None or (read.year, read.month) != (now.year, now.month):
        return None
    return dict(part) if isinstance(part, dict) else None


# --- looking at a report ---


def readings(report: Report) -> list[dict[str, Any]]:
    """Return all numbers with a limit."""
    return [one for part in report["parts"].values() for one in part["readings"]]


def leftovers(report: Report) -> list[dict[str, Any]]:
    """Return all leftovers, the most expensive first."""
    found = [one for part in report["parts"].values() for one in part["leftovers"]]
    return sorted(found, key=lambda one: (-one["monthly_dollars"], -one["gigabytes"], -one["age_days"]))


def idle_margin(report: Report) -> dict[str, Any] | None:
    """Return how busy the machine is, if that is watched and known."""
    found = report["parts"].get("idle", {}).get("idle")
    return found if isinstance(found, dict) else None


def money(report: Report) -> dict[str, Any] | None:
    """Return what this month cost."""
    found = report["parts"].get("cost", {}).get("cost")
    return found if isinstance(found, dict) else None


#: From this part of a limit on it is near; as the alert rules say.
NEAR = 0.8
#: Less than this many hours seen says little about 7 days.
OBSERVED_HOURS = 72


def concerns(report: Report) -> list[str]:
    """Say in sentences what the owner should look at; the alert rules say the same."""
    found = []
    for one in readings(report):
        share = one["used"] / one["allowed"]
        forecast = one["forecast"]
        over = forecast is not None and forecast > one["allowed"]
        if share >= 1:
            found.append(f"{one['title']}: {share:.0%} of what is free is used")
        elif over:
            found.append(f"{one['title']}: will pass what is free before the month ends ({forecast:,.0f})")
        # A machine of exactly the free size uses nearly all its hours by the end of every month.
        elif share >= NEAR and not one["limit"].startswith("a1_"):
            found.append(f"{one['title']}: {share:.0%} of what is free is used")
    seen = idle_margin(report)
    if (
        seen
        and seen["margin"] is not None
        and seen["margin"] < 0
        and seen["observed_hours"] >= OBSERVED_HOURS
    ):
        found.append(f"Oracle may call this machine idle: below {THRESHOLD:g} % in everything for a week")
    spent = money(report)
    if spent and spent["amount"] > 0:
        found.append(f"This month cost {spent['amount']:.2f} {spent['currency']}")
    return found
