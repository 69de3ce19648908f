"""Metrics measured and asked for, alarms on them, and the topics alarms are sent to."""

import datetime as dt
import math
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from tests.oci_api import errors
from tests.oci_api.calls import Answer, Call, Kind, compartment, handles, many
from tests.oci_api.store import Resource
from tests.oci_api.tables import read_time

QUERY = re.compile(
    r"\s*(?P<name>[A-Za-z][\w.$-]*)\s*\[(?P<interval>\d+[mhd])\]\s*(?:\{(?P<where>[^}]*)\})?"
    r"(?P<calls>(?:\.\w+\([^)]*\))+)\s*(?P<compare>(?:[<>]=?|==|!=)\s*-?[\d.]+)?\s*$"
)
STATISTICS = (
    "mean",
    "avg",
    "max",
    "min",
    "sum",
    "count",
    "rate",
    "percentile",
    "absent",
    "increment",
    "last",
    "first",
)
LONGEST = {"m": 7, "h": 90, "d": 90}  # days a query may reach over, by its interval's unit
OWN = re.compile(r"[a-z][a-z0-9_]{0,255}")


@dataclass(frozen=True)
class Query:
    """`CpuUtilization[1h]{resourceId = "x"}.mean()`, taken apart."""

    name: str
    interval: dt.timedelta
    where: tuple[tuple[str, str, str], ...]
    grouped: str | None
    statistic: str
    argument: float

    def takes(self, dimensions: dict[str, str]) -> bool:
        for key, operator, value in self.where:
            found = dimensions.get(key)
            if operator in ("=", "!="):
                fits = found == value
            else:
                fits = found is not None and re.fullmatch(value, found) is not None
            if fits == operator.startswith("!"):
                return False
        return True


def read_query(text: str) -> Query:
    """A query of the Monitoring Query Language. Raises 400 for what cannot be read."""
    found = QUERY.match(text)
    if found is None:
        raise errors.invalid(f"query: cannot parse {text!r}.")
    number, unit = int(found["interval"][:-1]), found["interval"][-1]
    if not 1 <= number <= {"m": 60, "h": 24, "d": 1}[unit]:
        raise errors.invalid(f"query: {found['interval']} is no interval, 1m-60m, 1h-24h or 1d.")
    where = []
    for part in re.findall(r"[^,]+", found["where"] or ""):
        each = re.fullmatch(r'\s*"?([\w.$-]+)"?\s*(=~|!~|!=|=)\s*"([^"]*)"\s*', part)
        if each is None:
            raise errors.invalid(f"query: cannot parse the dimension {part.strip()!r}.")
        where.append((each[1], each[2], each[3]))
    grouped, statistic, argument = None, "", 0.0
    for call, inside in re.findall(r"\.(\w+)\(([^)]*)\)", found["calls"]):
        if call in ("grouping", "groupBy"):
            grouped = inside.strip()
        elif call in STATISTICS:
            statistic = call
            argument = (
                float(inside) if call == "percentile" and re.fullmatch(r"\s*0?\.\d+\s*", inside) else 0.0
            )
            if call == "percentile" and not argument:
                raise errors.invalid("query: percentile takes a number between 0 and 1.")
        else:
            raise errors.invalid(f"query: there is no statistic {call}.")
    if not statistic:
        raise errors.invalid("query: a statistic is missing, as .mean().")
    seconds = number * {"m": 60, "h": 3600, "d": 86400}[unit]
    return Query(found["name"], dt.timedelta(seconds=seconds), tuple(where), grouped, statistic, argument)


def reduced(values: list[float], query: Query) -> float:
    """One number for the values of an interval."""
    if query.statistic == "percentile":
        ranked = sorted(values)
        return ranked[min(len(ranked) - 1, math.ceil(query.argument * len(ranked)) - 1)]
    plain = {
        "max": max,
        "min": min,
        "sum": sum,
        "count": len,
        "last": lambda found: found[-1],
        "first": lambda found: found[0],
        "increment": lambda found: found[-1] - found[0],
        "rate": lambda found: (found[-1] - found[0]) / query.interval.total_seconds(),
        "absent": lambda _: 0.0,
    }
    return float(plain.get(query.statistic, lambda found: sum(found) / len(found))(values))


@handles("monitoring.summarize_metrics_data")
def summarize(call: Call) -> Answer:
    body, now = call.body, call.cloud.now()
    compartment(call, call.query["compartmentId"])
    query = read_query(body["query"])
    end = read_time(body["endTime"], "endTime") if body.get("endTime") else now
    start = (
        read_time(body["startTime"], "startTime") if body.get("startTime") else end - dt.timedelta(hours=3)
    )
    if start >= end:
        raise errors.invalid("startTime must be before endTime.")
    step = query.interval
    if body.get("resolution"):
        step = read_query(f"x[{body['resolution']}].mean()").interval
    unit = "m" if query.interval < dt.timedelta(minutes=5) else "h"
    days = LONGEST[unit] if query.interval < dt.timedelta(hours=1) else LONGEST["d"]
    if end - start > dt.timedelta(days=days):
        raise errors.invalid(f"startTime: with this interval at most {days} days can be asked for.")
    streams: dict[tuple[tuple[str, str], ...], list[tuple[dt.datetime, float]]] = defaultdict(list)
    for series in measured(call, body["namespace"]):
        if series["name"] != query.name or not query.takes(series["dimensions"]):
            continue
        dimensions = series["dimensions"]
        if query.grouped is not None:
            dimensions = {key: dimensions[key] for key in [query.grouped] if key in dimensions}
        streams[tuple(sorted(dimensions.items()))] += [
            point for point in series["points"] if start <= point[0] < end
        ]
    rows = []
    for dimensions, points in streams.items():
        if not points:
            continue
        buckets: dict[int, list[float]] = defaultdict(list)
        for moment, value in sorted(points):
            buckets[int(moment.timestamp() // step.total_seconds())].append(value)
        rows.append(
            {
                "namespace": body["namespace"],
                "compartmentId": call.query["compartmentId"],
                "name": query.name,
                "dimensions": dict(dimensions),
                "resolution": body.get("resolution"),
                "aggregatedDatapoints": [
                    {"timestamp": _stamp(number * step.total_seconds()), "value": reduced(values, query)}
                    for number, values in sorted(buckets.items())
                ],
            }
        )
    return Answer(rows)


def _stamp(seconds: float) -> str:
    return (
        dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


def measured(call: Call, namespace: str | None) -> list[dict[str, Any]]:
    """Series of the compartment, or of all below the tenancy."""
    cloud, wanted = call.cloud, call.query["compartmentId"]
    deep = call.query.get("compartmentIdInSubtree")
    if deep and wanted != cloud.tenancy:
        raise errors.invalid("compartmentIdInSubtree is for the tenancy only.")
    return [
        series
        for series in cloud.metrics
        if namespace in (None, series["namespace"])
        and (
            series["compartmentId"] == wanted or (deep and wanted in cloud.iam.above(series["compartmentId"]))
        )
    ]


@handles("monitoring.list_metrics")
def metrics(call: Call) -> Answer:
    body = call.body or {}
    compartment(call, call.query["compartmentId"])
    filters = body.get("dimensionFilters") or {}
    rows = [
        {key: series[key] for key in ("name", "namespace", "compartmentId", "dimensions")}
        for series in measured(call, body.get("namespace"))
        if body.get("name") in (None, series["name"])
        and all(series["dimensions"].get(key) == value for key, value in filters.items())
    ]
    return many(rows, {"limit": 1000} | call.query)


@handles("monitoring.post_metric_data")
def post(call: Call) -> Answer:
    streams, now = call.body["metricData"], call.cloud.now()
    if not 1 <= len(streams) <= 50:
        raise errors.invalid(f"metricData must hold 1 to 50 streams, not {len(streams)}.")
    failed = []
    for stream in streams:
        why = wrong_stream(call, stream, now)
        if why:
            failed.append({"message": why, "metricData": stream})
    if failed and call.body.get("batchAtomicity", "NON_ATOMIC") == "ATOMIC":
        raise errors.invalid(failed[0]["message"])
    for stream in streams:
        if not any(each["metricData"] is stream for each in failed):
            keep(call, stream)
    return Answer({"failedMetricsCount": len(failed), "failedMetrics": failed})


def wrong_stream(call: Call, stream: dict[str, Any], now: dt.datetime) -> str:
    """Why a stream is not taken; empty if it is."""
    if not OWN.fullmatch(stream["namespace"]) or stream["namespace"].startswith(("oci_", "oracle_")):
        return (
            f"namespace: {stream['namespace']} must be of a-z, 0-9 and _, and not begin with oci_ or oracle_."
        )
    if not stream["dimensions"]:
        return "dimensions: at least one must be given."
    compartment(call, stream["compartmentId"])
    for point in stream["datapoints"]:
        moment = read_time(point["timestamp"], "timestamp")
        if not now - dt.timedelta(hours=2) <= moment <= now + dt.timedelta(minutes=10):
            return f"timestamp: {point['timestamp']} is older than 2 hours or more than 10 minutes ahead."
    return ""


def keep(call: Call, stream: dict[str, Any]) -> None:
    points = [
        (read_time(point["timestamp"], "timestamp"), float(point["value"])) for point in stream["datapoints"]
    ]
    same = ("namespace", "name", "compartmentId", "dimensions")
    for series in call.cloud.metrics:
        if all(series[key] == stream[key] for key in same):
            series["points"] += points
            return
    call.cloud.metrics.append({key: stream[key] for key in same} | {"points": points})


# Alarms


def before_alarm(call: Call, body: dict[str, Any]) -> None:
    compartment(call, body["metricCompartmentId"])
    changing_alarm(call, None, body)
    body |= {"timeUpdated": call.cloud.store.stamp(), "resolution": body.get("resolution") or "1m"}
    body["pendingDuration"] = body.get("pendingDuration") or "PT1M"


def changing_alarm(call: Call, row: Resource | None, body: dict[str, Any]) -> None:
    if "query" in body:
        read_query(body["query"])
        if not re.search(r"[<>=]\s*-?[\d.]+\s*$|absent\(", body["query"]):
            raise errors.invalid("query: an alarm's ends with a comparison, as > 80, or absent().")
    if "destinations" in body and not body["destinations"]:
        raise errors.invalid("destinations: an alarm has at least one.")
    for ocid in body.get("destinations", []):
        call.cloud.store.named(ocid, "onstopic")
    if row:
        body["timeUpdated"] = call.cloud.store.stamp()


Kind(
    "monitoring",
    "alarm",
    "alarm",
    states=("ACTIVE", "ACTIVE", "DELETING", "DELETED"),
    before=before_alarm,
    changing=changing_alarm,
)


# Topics and subscriptions


def before_topic(call: Call, body: dict[str, Any]) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,256}", body["name"]):
        raise errors.invalid(f"name: {body['name']} may hold letters, digits, - and _ only.")


def after_topic(call: Call, row: Resource) -> None:
    row.body |= {"topicId": row.id, "shortTopicId": row.id[-8:], "apiEndpoint": call.cloud.endpoint}


def going_topic(call: Call, row: Resource) -> None:
    for subscription in list(call.cloud.store.of("onssubscription", topicId=row.id)):
        call.cloud.store.remove(subscription)


class Topics(Kind):
    """Named once in the tenancy, not only in the compartment."""

    def refuse_twin(self, call: Call, body: dict[str, Any]) -> None:
        for row in call.cloud.store.of("onstopic", name=body["name"]):
            raise errors.Refused(
                409, "TopicAlreadyExists", f"A topic of the name {body['name']} exists: {row.id}."
            )


Topics(
    "ons",
    "onstopic",
    "topic",
    states=("ACTIVE", "ACTIVE"),
    unique="name",
    before=before_topic,
    after=after_topic,
    going=going_topic,
)


def before_subscription(call: Call, body: dict[str, Any]) -> None:
    call.cloud.store.named(body["topicId"], "onstopic")
    protocols = ("EMAIL", "CUSTOM_HTTPS", "HTTPS", "PAGERDUTY", "SLACK", "ORACLE_FUNCTIONS", "SMS")
    if body["protocol"] not in protocols:
        raise errors.invalid(f"protocol: {body['protocol']} is none of {', '.join(protocols)}.")
    if body["protocol"] == "EMAIL" and "@" not in body["endpoint"]:
        raise errors.invalid(f"endpoint: {body['endpoint']} is no mail address.")
    body["createdTime"] = int(call.cloud.now().timestamp() * 1000)


Kind(
    "ons",
    "onssubscription",
    "subscription",
    states=("PENDING", "PENDING"),  # until its owner follows the link in a mail
    before=before_subscription,
)
