"""A report as metrics for the node exporter's textfile collector. No label holds an OCID or a name."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime

from atlasctl.usage.idle import THRESHOLD
from atlasctl.usage.report import SOURCES, Report, idle_margin, leftovers, money, readings
from atlasctl.words import parse

FILE = "atlas_free_tier.prom"
PREFIX = "atlas_free_tier_"
KINDS = ("volume", "boot_volume", "backup", "upload", "address")

Samples = Iterable[tuple[dict[str, str], float]]


def render(report: Report) -> str:
    """Return the text of the metrics file."""
    lines: list[str] = []
    for name, words, samples in (*_limits(report), *_idle(report), *_leftovers(report), *_run(report)):
        series = list(samples)
        if series:
            lines += [f"# HELP {PREFIX}{name} {words}", f"# TYPE {PREFIX}{name} gauge"]
            lines += [f"{PREFIX}{name}{_labels(labels)} {_number(value)}" for labels, value in series]
    return "\n".join(lines) + "\n"


def _limits(report: Report) -> list[tuple[str, str, Samples]]:
    found = readings(report)
    spent = money(report)
    return [
        ("used", "Used of a free limit.", [({"limit": one["limit"]}, one["used"]) for one in found]),
        ("limit", "What is free.", [({"limit": one["limit"]}, one["allowed"]) for one in found]),
        (
            "forecast",
            "Used of a free limit at the end of the month, if it goes on like this.",
            [({"limit": one["limit"]}, one["forecast"]) for one in found if one["forecast"] is not None],
        ),
        (
            "cost",
            "Money this month cost, in the account's currency.",
            [({"currency": spent["currency"]}, spent["amount"])] if spent else [],
        ),
    ]


def _idle(report: Report) -> list[tuple[str, str, Samples]]:
    seen = idle_margin(report)
    if seen is None:
        return []
    known = [
        ({"resource": name}, seen[name]) for name in ("cpu", "network", "memory") if seen[name] is not None
    ]
    margin: list[tuple[dict[str, str], float]] = [] if seen["margin"] is None else [({}, seen["margin"])]
    return [
        ("idle_percent", "95th percentile of 7 days, of this machine.", known),
        ("idle_threshold_percent", "Below this in everything a machine is idle.", [({}, THRESHOLD)]),
        ("idle_margin_percent", "The highest of those that count, less the threshold.", margin),
        ("idle_observed_hours", "Hours there is data of, of the 7 days.", [({}, seen["observed_hours"])]),
    ]


def _leftovers(report: Report) -> list[tuple[str, str, Samples]]:
    count: Counter[str] = Counter()
    size: defaultdict[str, float] = defaultdict(float)
    price: defaultdict[str, float] = defaultdict(float)
    for one in leftovers(report):
        count[one["kind"]] += one["things"]
        size[one["kind"]] += one["gigabytes"]
        price[one["kind"]] += one["monthly_dollars"]
    return [
        ("leftovers", "Things that nobody seems to need.", [({"kind": kind}, count[kind]) for kind in KINDS]),
        ("leftover_gigabytes", "Their size.", [({"kind": kind}, size[kind]) for kind in KINDS]),
        (
            "leftover_dollars",
            "What they would cost a month if nothing were free.",
            [({"kind": kind}, price[kind]) for kind in KINDS],
        ),
    ]


def _run(report: Report) -> list[tuple[str, str, Samples]]:
    failed = {one["source"] for one in report["problems"]}
    asked = [
        "metadata",
        "compartments",
        *(name for name in SOURCES if name in report["parts"] or name in failed),
    ]
    reads = [({"source": name}, _seconds(part["read_at"])) for name, part in report["parts"].items()]
    nobody = "metadata" in failed
    succeeded = [({"source": name}, float(name not in failed and not nobody)) for name in asked]
    last = report.get("last_success")
    return [
        ("source_success", "Whether a source said all it should in the last run.", succeeded),
        ("source_timestamp_seconds", "When a source was read last.", reads),
        (
            "api_calls",
            "Requests to Oracle Cloud in the last run.",
            [({"service": name}, count) for name, count in sorted(report["calls"].items())],
        ),
        ("duration_seconds", "How long the last run took.", [({}, report["seconds"])]),
        ("success", "Whether the last run could read everything.", [({}, float(report["success"]))]),
        ("timestamp_seconds", "When the last run was.", [({}, _seconds(report["read_at"]))]),
        (
            "last_success_timestamp_seconds",
            "When a run could last read everything.",
            [({}, _seconds(last))] if last else [],
        ),
    ]


def _seconds(text: object) -> float:
    moment = parse(text)
    return moment.timestamp() if isinstance(moment, datetime) else 0.0


def _labels(labels: dict[str, str]) -> str:
    escaped = [
        f'{name}="{value.replace(chr(92), chr(92) * 2).replace(chr(34), chr(92) + chr(34))}"'
        for name, value in labels.items()
    ]
    return f"{{{','.join(escaped)}}}" if escaped else ""


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(round(float(value), 4))
