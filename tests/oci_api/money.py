"""What things cost and how that is held down: budgets and their alerts, quotas, limits, the usage report."""

import calendar
import datetime as dt
import re
from typing import TYPE_CHECKING, Any

from tests.oci_api import errors, limits
from tests.oci_api.calls import Answer, Call, Kind, compartment, handles, many
from tests.oci_api.store import Resource
from tests.oci_api.tables import read_time

if TYPE_CHECKING:
    from tests.oci_api.server import FakeOci

ACTIVE = ("ACTIVE", "ACTIVE")
MAIL = re.compile(r"[^@\s,;]+@[^@\s,;]+\.[^@\s,;]+")
GROUPS = {
    "tenantId",
    "tenantName",
    "compartmentId",
    "compartmentName",
    "compartmentPath",
    "service",
    "resourceId",
    "region",
    "logicalAd",
    "platform",
    "skuName",
    "skuPartNumber",
    "unit",
}


# Budgets


def before_budget(call: Call, body: dict[str, Any]) -> None:
    if body["compartmentId"] != call.cloud.tenancy:
        raise errors.invalid("compartmentId must be the tenancy's.")
    if body.get("targetCompartmentId"):
        body |= {"targetType": "COMPARTMENT", "targets": [body["targetCompartmentId"]]}
    targets = body.get("targets") or []
    if len(targets) != 1:
        raise errors.invalid(f"targets must hold exactly one target, not {len(targets)}.")
    if not body.get("targetType"):
        raise errors.missing("targetType", "field")
    if body["targetType"] == "COMPARTMENT":
        compartment(call, targets[0])
        body["targetCompartmentId"] = targets[0]
    changing_budget(call, None, body)
    now = call.cloud.store.stamp()
    body |= {
        "processingPeriodType": body.get("processingPeriodType") or "MONTH",
        "alertRuleCount": 0,
        "version": 1,
        "timeUpdated": now,
        "timeSpendComputed": now,
    }
    body.setdefault("displayName", f"budget{now[:10].replace('-', '')}")


def changing_budget(call: Call, row: Resource | None, body: dict[str, Any]) -> None:
    if body.get("amount", 1) < 1:
        raise errors.invalid(f"amount: {body['amount']} must be at least 1.")
    if row:
        body |= {"timeUpdated": call.cloud.store.stamp(), "version": row.body["version"] + 1}


def going_budget(call: Call, row: Resource) -> None:
    for rule in list(call.cloud.store.of("budgetalertrule", budgetId=row.id)):
        call.cloud.store.remove(rule)


class Budgets(Kind):
    """Their spend is what the usage report says, this month. Those on tags are listed only when told."""

    def row(self, call: Call) -> Resource:
        row = super().row(call)
        self.count(call.cloud, row)
        return row

    def matching(self, call: Call) -> list[Resource]:
        kind = call.query.pop("targetType", "COMPARTMENT")
        rows = [row for row in super().matching(call) if kind in ("ALL", row.body["targetType"])]
        for row in rows:
            self.count(call.cloud, row)
        return rows

    def count(self, cloud: "FakeOci", row: Resource) -> None:
        today = cloud.now().date()
        month = today.replace(day=1)
        inside = set(row.body["targets"]) if row.body["targetType"] == "COMPARTMENT" else set()
        spent = sum(
            line["amount"]
            for line in cloud.usage
            if line["day"] >= month
            and (not inside or inside & set(cloud.iam.above(line.get("compartmentId") or cloud.tenancy)))
        )
        days = calendar.monthrange(today.year, today.month)[1]
        row.body |= {
            "actualSpend": float(spent),
            "forecastedSpend": round(spent / today.day * days, 2),
            "alertRuleCount": sum(1 for _ in cloud.store.of("budgetalertrule", budgetId=row.id)),
        }


Budgets(
    "budget",
    "budget",
    "budget",
    states=ACTIVE,
    home=True,
    before=before_budget,
    changing=changing_budget,
    going=going_budget,
)


# Alert rules of a budget


def before_alert(call: Call, body: dict[str, Any]) -> None:
    budget = call.cloud.store.get(call.path["budgetId"], "budget")
    for other in call.cloud.store.of("budgetalertrule", budgetId=budget.id):
        same = ("type", "threshold", "thresholdType")
        if all(other.body[key] == body[key] for key in same):
            raise errors.conflict(f"The budget has this rule already: {other.id}.")
    changing_alert(call, None, body)
    now = call.cloud.store.stamp()
    body |= {"budgetId": budget.id, "timeUpdated": now, "version": 1}
    body.setdefault("recipients", "")
    body.setdefault("displayName", f"alertrule{now[:10].replace('-', '')}")


def changing_alert(call: Call, row: Resource | None, body: dict[str, Any]) -> None:
    for mail in re.split(r"[,;\s]+", body.get("recipients") or ""):
        if mail and not MAIL.fullmatch(mail):
            raise errors.invalid(f"recipients: {mail} is no mail address.")
    if body.get("threshold", 1) <= 0:
        raise errors.invalid(f"threshold: {body['threshold']} must be above 0.")
    kind = body.get("thresholdType") or (row.body["thresholdType"] if row else "")
    if kind == "PERCENTAGE" and body.get("threshold", 1) > 10000:
        raise errors.invalid(f"threshold: {body['threshold']} is more than 10000 percent.")
    if row:
        body |= {"timeUpdated": call.cloud.store.stamp(), "version": row.body["version"] + 1}


class Alerts(Kind):
    def row(self, call: Call) -> Resource:
        row = super().row(call)
        if row.body["budgetId"] != call.path["budgetId"]:
            raise errors.not_found()
        return row

    def matching(self, call: Call) -> list[Resource]:
        call.cloud.store.get(call.path["budgetId"], "budget")
        return [row for row in super().matching(call) if row.body["budgetId"] == call.path["budgetId"]]


Alerts("budget", "budgetalertrule", "alert_rule", states=ACTIVE, before=before_alert, changing=changing_alert)


# Quotas

QUOTA = re.compile(
    r"\s*(?P<verb>zero|set|unset)\s+(?P<family>[\w-]+)\s+quotas?(?:\s+(?P<name>(?:[\w*/-]+(?:\s*,\s*)?)+?))?"
    r"(?:\s+to\s+(?P<value>\d+))?\s+in\s+(?P<place>tenancy|compartment\s+\S+)(?:\s+where\s+.+)?\s*$",
    re.IGNORECASE,
)
FAMILIES = {  # family: the service whose limits it is about, and the form of their names
    "compute-core": ("compute", r".*core.*"),
    "compute-memory": ("compute", r".*memory.*"),
    "compute": ("compute", r".*"),
    "block-storage": ("block-storage", r".*"),
    "object-storage": ("object-storage", r".*"),
    "vcn": ("vcn", r".*"),
    "database": ("database", r".*"),
    "load-balancer": ("load-balancer", r".*"),
    "filesystem": ("filesystem", r".*"),
    "container-engine": ("container-engine", r".*"),
}


def read_quota(text: str) -> dict[str, Any]:
    found = QUOTA.match(text)
    if found is None:
        raise errors.invalid(f"Unable to parse quota statement: {text}")
    if found["family"].lower() not in FAMILIES:
        raise errors.invalid(f"Unable to parse quota statement: no family {found['family']} in {text}")
    verb = found["verb"].lower()
    if (verb == "set") != (found["value"] is not None) or (verb == "set" and not found["name"]):
        raise errors.invalid(f"Unable to parse quota statement: 'set' is with a name and 'to N': {text}")
    service, form = FAMILIES[found["family"].lower()]
    names = [word.strip() for word in (found["name"] or "").split(",") if word.strip()]
    for name in names:
        known = {limit for of, limit in limits.ALWAYS_FREE if of == service}
        if service in {of for of, _ in limits.ALWAYS_FREE} and not _matching(name, form, known):
            raise errors.invalid(
                f"Unable to parse quota statement: {found['family']} has no quota {name}: {text}"
            )
    return {
        "verb": verb,
        "service": service,
        "form": form,
        "names": names,
        "value": float(found["value"] or 0),
        "place": found["place"],
    }


def _matching(pattern: str, form: str, known: set[str]) -> set[str]:
    wanted = re.compile(re.escape(pattern.strip("/")).replace(r"\*", ".*"))
    return {name for name in known if re.fullmatch(form, name) and wanted.fullmatch(name)}


def quota(cloud: "FakeOci", service: str, name: str) -> float | None:
    """What the quotas on the tenancy leave of a limit: a policy's last word, the lowest of all policies."""
    lowest: float | None = None
    for row in cloud.store.of("quota"):
        value: float | None = None
        for text in row.body["statements"]:
            said = read_quota(text)
            if said["service"] != service or said["place"].lower() != "tenancy":
                continue
            if not re.fullmatch(said["form"], name):
                continue
            if said["names"] and not any(_matching(word, said["form"], {name}) for word in said["names"]):
                continue
            value = None if said["verb"] == "unset" else said["value"]
        if value is not None:
            lowest = value if lowest is None else min(lowest, value)
    return lowest


def before_quota(call: Call, body: dict[str, Any]) -> None:
    if body["compartmentId"] != call.cloud.tenancy:
        raise errors.invalid("compartmentId must be the tenancy's.")
    changing_quota(call, None, body)


def changing_quota(call: Call, row: Resource | None, body: dict[str, Any]) -> None:
    if "statements" in body and not body["statements"]:
        raise errors.invalid("statements: a quota has at least one.")
    for text in body.get("statements", []):
        read_quota(text)


Kind(
    "limits",
    "quota",
    "quota",
    states=ACTIVE,
    unique="name",
    home=True,
    before=before_quota,
    changing=changing_quota,
)


# Limits


@handles("limits.list_services")
def services(call: Call) -> Answer:
    names = sorted({service for service, _ in call.cloud.limits})
    return many([{"name": name, "description": name.replace("-", " ").title()} for name in names], call.query)


@handles("limits.list_limit_definitions")
def definitions(call: Call) -> Answer:
    rows = [
        {
            "name": name,
            "serviceName": service,
            "description": name.replace("-", " "),
            "scopeType": "AD" if in_domain else "REGION",
            "areQuotasSupported": True,
            "isResourceAvailabilitySupported": True,
            "isDeprecated": False,
        }
        for (service, name), (_, in_domain) in sorted(call.cloud.limits.items())
        if call.query.get("serviceName") in (None, service) and call.query.get("name") in (None, name)
    ]
    return many(rows, call.query)


@handles("limits.list_limit_values")
def values(call: Call) -> Answer:
    """A row a domain for limits of domains, one for those of the region."""
    rows = []
    for (service, name), (value, in_domain) in sorted(call.cloud.limits.items()):
        if service != call.query["serviceName"] or call.query.get("name") not in (None, name):
            continue
        scope = "AD" if in_domain else "REGION"
        if call.query.get("scopeType") not in (None, scope):
            continue
        rows += [
            {"name": name, "scopeType": scope, "availabilityDomain": domain, "value": value}
            for domain in (call.cloud.domains if in_domain else [None])
            if call.query.get("availabilityDomain") in (None, domain)
        ]
    return many(rows, call.query)


@handles("limits.get_resource_availability")
def availability(call: Call) -> Answer:
    key = (call.path["serviceName"], call.path["limitName"])
    if key not in call.cloud.limits:
        raise errors.not_found(f"The limit {key[1]} of {key[0]} is not known.")
    value, in_domain = call.cloud.limits[key]
    domain = call.query.get("availabilityDomain", "")
    if in_domain and not domain:
        raise errors.missing("availabilityDomain", "query parameter")
    if not in_domain and domain:
        raise errors.invalid(f"availabilityDomain: the limit {key[1]} is of the region.")
    if domain:
        call.cloud.domain(domain)
    used = limits.used(call.cloud, key[1], domain)
    left = max(0.0, value - used)
    body: dict[str, Any] = {"used": int(used), "available": int(left)}
    body |= {"fractionalUsage": float(used), "fractionalAvailability": float(left)}
    allowed = quota(call.cloud, *key)
    if allowed is not None:
        body["effectiveQuotaValue"] = allowed
    return Answer(body)


# The usage report


def _day(text: str, name: str, granularity: str) -> dt.datetime:
    moment = read_time(text, name).astimezone(dt.UTC)
    if granularity != "HOURLY" and moment.time() != dt.time():
        raise errors.invalid(
            f"{name}: UTC date does not have the right precision: hours, minutes, seconds, and second "
            "fractions must be 0"
        )
    return moment


def _fits(line: dict[str, Any], wanted: dict[str, Any] | None) -> bool:
    """Whether a line is within a filter of dimensions."""
    if not wanted:
        return True
    found = [str(line.get(part["key"])) == part["value"] for part in wanted.get("dimensions") or []]
    found += [_fits(line, part) for part in wanted.get("filters") or []]
    operator = wanted.get("operator") or "AND"
    return not any(found) if operator == "NOT" else (any(found) if operator == "OR" else all(found))


def _period(
    day: dt.date, granularity: str, start: dt.datetime, end: dt.datetime
) -> tuple[dt.datetime, dt.datetime]:
    begin = dt.datetime.combine(day, dt.time(), dt.UTC)
    if granularity == "TOTAL":
        return start, end
    if granularity == "MONTHLY":
        begin = begin.replace(day=1)
        return begin, (begin + dt.timedelta(days=32)).replace(day=1)
    return begin, begin + dt.timedelta(days=1) if granularity == "DAILY" else begin + dt.timedelta(hours=1)


@handles("usage_api.request_summarized_usages")
def usage(call: Call) -> Answer:
    body, cloud = call.body, call.cloud
    if body["tenantId"] != cloud.tenancy:
        raise errors.not_found()
    granularity, kind = body["granularity"], body.get("queryType") or "USAGE"
    start = _day(body["timeUsageStarted"], "timeUsageStarted", granularity)
    end = _day(body["timeUsageEnded"], "timeUsageEnded", granularity)
    if end <= start:
        raise errors.invalid("timeUsageEnded must be after timeUsageStarted.")
    if granularity == "DAILY" and end - start > dt.timedelta(days=90):
        raise errors.invalid("timeUsageEnded: at most 90 days can be asked for by day.")
    groups = body.get("groupBy") or []
    if unknown := sorted(set(groups) - GROUPS):
        raise errors.invalid(f"groupBy: {', '.join(unknown)} is none of {', '.join(sorted(GROUPS))}.")
    sums: dict[tuple[Any, ...], dict[str, Any]] = {}
    for line in cloud.usage:
        if not start.date() <= line["day"] < end.date() or not _fits(line, body.get("filter")):
            continue
        begin, finish = _period(line["day"], granularity, start, end)
        key = (begin, line["currency"], *(line.get(name) for name in groups))
        row = sums.setdefault(
            key,
            {name: line.get(name) for name in groups}
            | {
                "tenantId": cloud.tenancy,
                "timeUsageStarted": _stamp(begin),
                "timeUsageEnded": _stamp(finish),
                "computedQuantity": 0.0,
                "currency": line["currency"],
                "isForecast": False,
            }
            | ({"computedAmount": 0.0} if kind != "USAGE_ONLY" else {}),
        )
        row["computedQuantity"] += line["quantity"]
        if "computedAmount" in row:
            row["computedAmount"] += line["amount"]
    rows = sorted(sums.values(), key=lambda row: str(row["timeUsageStarted"]))
    answer = many(rows, {"limit": 1000} | call.query)
    answer.body = {"groupBy": groups, "items": answer.body}
    return answer


def _stamp(moment: dt.datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
