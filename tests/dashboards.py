"""What the dashboards ask of Prometheus, for whoever asks it the same."""

import json
from pathlib import Path

PLACE = Path(__file__).parents[1] / "roles/grafana/tree/etc/grafana/dashboards.d"
#: Grafana's variables, as they are when a day is shown on a phone and Prometheus asks every 15 seconds.
VARIABLES = {"$__rate_interval": "1m", "$__interval": "5m", "$__range": "1d"}


def load() -> dict[str, dict]:
    """Read all dashboards, by the name of their file."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(PLACE.glob("*.json"))}


def queries(dashboard: dict) -> list[tuple[str, str]]:
    """List what the panels ask: the panel's title, and the expression with Grafana's variables filled in."""
    return [
        (panel["title"], _filled_in(target["expr"]))
        for panel in dashboard["panels"]
        for target in panel["targets"]
    ]


def annotations(dashboard: dict) -> list[tuple[str, str]]:
    """List what marks events: the name, and the expression. Where nothing happened they find nothing."""
    return [(mark["name"], _filled_in(mark["expr"])) for mark in dashboard["annotations"]["list"]]


def _filled_in(expression: str) -> str:
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression, expression
    return expression
