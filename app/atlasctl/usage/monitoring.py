"""Questions to the Monitoring service. It keeps points of 5 minutes for 30 days, of an hour for 90."""

from datetime import datetime, timedelta
from typing import NamedTuple

from atlasctl.usage.parts import Scene, wire_time
from atlasctl.words import parse

WEEK = timedelta(days=7)


class Stream(NamedTuple):
    """One series: its dimensions, names in lower case, and its points in the order of time."""

    dimensions: dict[str, str]
    points: tuple[tuple[datetime, float], ...]


def streams(
    scene: Scene, namespace: str, query: str, since: datetime, what: str, *, everywhere: bool = True
) -> list[Stream]:
    """Ask one question of everything we look into, or of the machine's own compartment alone."""
    body = {
        "namespace": namespace,
        "query": query,
        "startTime": wire_time(since),
        "endTime": wire_time(scene.now),
    }
    path = "/20180401/metrics/actions/summarizeMetricsData"
    found = []
    for place in _places(scene) if everywhere else [{"compartmentId": scene.machine.compartment}]:
        said = scene.client.post("monitoring", path, what, body, **place)
        found += [_stream(one) for one in said if isinstance(one, dict)] if isinstance(said, list) else []
    return found


def _places(scene: Scene) -> list[dict[str, str]]:
    """Return where to ask: the tenancy answers for all its compartments at once."""
    if scene.whole_tenancy:
        return [{"compartmentId": scene.machine.tenancy, "compartmentIdInSubtree": "true"}]
    return [{"compartmentId": compartment} for compartment in scene.compartments]


def _stream(said: dict[str, object]) -> Stream:
    dimensions = said.get("dimensions")
    names = dimensions if isinstance(dimensions, dict) else {}
    points = said.get("aggregatedDatapoints")
    read = []
    for point in points if isinstance(points, list) else []:
        moment = parse(point.get("timestamp"))
        if moment is not None and point.get("value") is not None:
            read.append((moment, float(point["value"])))
    return Stream({key.lower(): str(value) for key, value in names.items()}, tuple(sorted(read)))


def total(found: list[Stream], since: datetime) -> float:
    """Return the sum of all points since a moment."""
    return sum(value for one in found for moment, value in one.points if moment >= since)


def weekly_rate(found: list[Stream], scene: Scene) -> float:
    """Return what came in an hour, over the last 7 days or as long as there is something."""
    since = scene.now - WEEK
    first = min((one.points[0][0] for one in found if one.points), default=scene.now)
    hours = (scene.now - max(since, first)).total_seconds() / 3600
    # The first point stands for the hour before it or after it; less than a day says little about a month.
    return total(found, since) / max(hours + 1, 24)
