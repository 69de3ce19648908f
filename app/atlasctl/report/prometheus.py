"""What Prometheus remembers of the alerts of a time: how often each fired, and for how long."""

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from datetime import datetime
from typing import Any, NamedTuple

ADDRESS = "http://127.0.0.1:9090/prometheus"
FIRING = 'ALERTS{alertstate="firing", severity=~"warning|critical"}'
#: Seconds between two looks; what fired for less may be missed.
STEP = 60
#: More than a week of all our alerts at once.
LIMIT = 64 * 1024 * 1024
TIMEOUT = 30


class Fired(NamedTuple):
    """An alert of the time: how often it fired, and the seconds of the longest time and of all together."""

    name: str
    severity: str
    times: int
    longest: float
    total: float


class NoAnswerError(Exception):
    """Prometheus is not there, or does not answer the question; the text says what happened."""


def fired(since: datetime, until: datetime, address: str = ADDRESS) -> list[Fired]:
    """Return the alerts that fired, the one that fired longest first. Raises NoAnswerError."""
    spans: dict[tuple[str, str], list[float]] = {}
    for name, severity, moments in _ask(address, since, until):
        spans.setdefault((name, severity), []).extend(runs(moments))
    found = [
        Fired(name, severity, len(lengths), max(lengths), sum(lengths))
        for (name, severity), lengths in spans.items()
    ]
    return sorted(found, key=lambda one: (-one.total, one.name))


def runs(moments: list[float], step: float = STEP) -> list[float]:
    """Return the lengths of the times without a gap; one look stands for the time until the next."""
    lengths: list[float] = []
    begin = before = None
    for moment in moments:
        if before is None or moment - before > 1.5 * step:
            if begin is not None and before is not None:
                lengths.append(before - begin + step)
            begin = moment
        before = moment
    if begin is not None and before is not None:
        lengths.append(before - begin + step)
    return lengths


def _ask(address: str, since: datetime, until: datetime) -> list[tuple[str, str, list[float]]]:
    """Return the name and severity of each alert that fired, and when it was seen firing."""
    asked = {"query": FIRING, "start": since.timestamp(), "end": until.timestamp(), "step": STEP}
    request = urllib.request.Request(  # noqa: S310  (the address is ours)
        f"{address}/api/v1/query_range", data=urllib.parse.urlencode(asked).encode()
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=TIMEOUT) as answer:
            said: dict[str, Any] = json.loads(answer.read(LIMIT))
        return [
            (
                str(series["metric"]["alertname"]),
                str(series["metric"]["severity"]),
                [float(point[0]) for point in series["values"]],
            )
            for series in said["data"]["result"]
        ]
    except (OSError, http.client.HTTPException, urllib.error.URLError) as error:
        raise NoAnswerError(str(getattr(error, "reason", error)) or type(error).__name__) from None
    except (ValueError, KeyError, TypeError, IndexError):
        raise NoAnswerError("its answer is not what Prometheus says") from None
