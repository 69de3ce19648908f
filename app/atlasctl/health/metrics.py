"""What health found, as metrics for the node exporter's textfile collector."""

from datetime import datetime
from typing import Any

from atlasctl.health.definitions import Definition
from atlasctl.health.state import State

FILE = "atlas_health.prom"


def render(
    report: dict[str, Any], definitions: list[Definition], restarted: dict[str, int], now: datetime
) -> str:
    """Return the text of the metrics file.

    A unit that may be restarted is counted from 0 on: an increase shows only in what was there before.
    """
    mending = {unit for definition in definitions if definition.restart for unit in definition.units}
    rows = [
        ("state", "gauge", "How a check stands: 0 healthy, 1 degraded, 2 critical, 3 down."),
        *(
            f"atlas_health_state{{{_label('check', check['name'])},{_label('title', check['title'])}}} "
            f"{State[check['state']].value}"
            for check in report["checks"]
        ),
        ("restarts_total", "counter", "How often health restarted a unit."),
        *(
            f"atlas_health_restarts_total{{{_label('unit', unit)}}} {restarted.get(unit, 0)}"
            for unit in sorted(mending | set(restarted))
        ),
        ("run_timestamp_seconds", "gauge", "When the checks ran last."),
        f"atlas_health_run_timestamp_seconds {now.timestamp():.0f}",
    ]
    lines = []
    for row in rows:
        if isinstance(row, tuple):
            name, kind, words = row
            lines += [f"# HELP atlas_health_{name} {words}", f"# TYPE atlas_health_{name} {kind}"]
        else:
            lines.append(row)
    return "\n".join(lines) + "\n"


def _label(name: str, value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
    return f'{name}="{escaped}"'
