"""What health found, as metrics for the node exporter's textfile collector."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from atlasctl.health.definitions import Definition
from atlasctl.health.state import State

FILE = "atlas_health.prom"


def render(
    report: dict[str, Any], definitions: list[Definition], restarted: dict[str, int], now: datetime
) -> str:
    """Return the text of the metrics file.

    `alert` names the alert that tells of a check; empty: those of health do.
    A unit that may be restarted is counted from 0 on: an increase shows only in what was there before.
    """
    mending = {unit for definition in definitions if definition.restart for unit in definition.units}
    alerts = {definition.name: definition.alert for definition in definitions}
    states = [
        (
            _labels(check=check["name"], title=check["title"], alert=alerts.get(check["name"], "")),
            State[check["state"]].value,
        )
        for check in report["checks"]
    ]
    restarts = [(_labels(unit=unit), restarted.get(unit, 0)) for unit in sorted(mending | set(restarted))]
    return "".join(
        (
            _family(
                "state", "gauge", "How a check stands: 0 healthy, 1 degraded, 2 critical, 3 down.", states
            ),
            _family("restarts_total", "counter", "How often health restarted a unit.", restarts),
            _family("run_timestamp_seconds", "gauge", "When the checks ran last.", [("", now.timestamp())]),
        )
    )


def _family(name: str, kind: str, words: str, rows: Sequence[tuple[str, float]]) -> str:
    head = f"# HELP atlas_health_{name} {words}\n# TYPE atlas_health_{name} {kind}\n"
    return head + "".join(f"atlas_health_{name}{labels} {value:.0f}\n" for labels, value in rows)


def _labels(**labels: str) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
