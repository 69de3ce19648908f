"""What was wrong in the last days, from Prometheus' own record of what fired (ALERTS)."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from atlasctl.alerts.sources import ALWAYS, Settings, TooMuchError, query

DAYS = 30
FIRED = f'ALERTS{{alertstate="firing",alertname!="{ALWAYS}"}}'
#: Windows in which is counted how often an alert was seen: the finer one tells the start to the look, the
#: coarser one is for a time so bad that the finer one would be too much.
WINDOWS_SECONDS = (300, 3600)


class Episode(NamedTuple):
    """An alert from its start to its end; without an end it still fires."""

    labels: dict[str, str]
    start: datetime
    end: datetime | None

    @property
    def name(self) -> str:
        """What the rule is called."""
        return self.labels.get("alertname", "?")


def episodes(settings: Settings, now: datetime, days: int = DAYS) -> list[Episode]:
    """Return what fired in the last days, the newest first."""
    firing = {_key(one["metric"]) for one in query(settings, FIRED)}
    for window in WINDOWS_SECONDS:
        end = now.timestamp()
        try:
            series = query(
                settings,
                f"count_over_time({FIRED}[{window}s])",
                start=end - days * 86400,
                end=end,
                step=window,
            )
            break
        except TooMuchError:
            if window == WINDOWS_SECONDS[-1]:
                raise
    found = []
    for one in series:
        labels = {name: value for name, value in one["metric"].items() if name != "alertstate"}
        points = [(float(at), float(count)) for at, count in one["values"]]
        spans = merge(points, window, settings.interval)
        for number, (start, finish) in enumerate(spans):
            lasts = number == len(spans) - 1 and _key(one["metric"]) in firing
            found.append(Episode(labels, _moment(start), None if lasts else _moment(finish)))
    return sorted(found, key=lambda one: (one.start, one.name), reverse=True)


def merge(points: list[tuple[float, float]], window: float, interval: float) -> list[tuple[float, float]]:
    """Join windows (their end, and how often the alert was seen in them) to spans of start and end.

    Between two windows in which it was seen without a pause it fired all the time; in the first it fired at
    the end, in the last at the beginning.
    """
    spans: list[list[tuple[float, float]]] = []
    for at, count in points:
        if spans and at - spans[-1][-1][0] <= window * 1.5:
            spans[-1].append((at, count))
        else:
            spans.append([(at, count)])
    joined = []
    for span in spans:
        (first, seen_first), (last, seen_last) = span[0], span[-1]
        start = first - min(window, seen_first * interval)
        end = last if len(span) == 1 else last - window + min(window, seen_last * interval)
        joined.append((start, end))
    return joined


def _key(metric: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, value) for name, value in metric.items() if name != "__name__"))


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(seconds=round(seconds))
