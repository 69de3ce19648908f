"""Object Storage: what happens to objects by itself (lifecycle), what may not (retention), and links."""

import datetime as dt
import secrets
from dataclasses import dataclass, field
from typing import Any

from tests.oci_api import errors
from tests.oci_api.buckets import bucket
from tests.oci_api.calls import Answer, Call, handles, many
from tests.oci_api.policies import read_statement
from tests.oci_api.store import Resource
from tests.oci_api.tables import read_time

ACTIONS = {
    "objects": ("ARCHIVE", "INFREQUENT_ACCESS", "DELETE"),
    "previous-object-versions": ("ARCHIVE", "INFREQUENT_ACCESS", "DELETE"),
    "multipart-uploads": ("ABORT",),
}
LOCK_DAYS = 14  # a rule is locked no sooner than this after it was said


# Lifecycle: one policy a bucket, replaced as a whole


def no_policy(row: Resource) -> errors.Refused:
    return errors.Refused(
        404,
        "LifecyclePolicyNotFound",
        f"The object lifecycle policy for bucket '{row.body['name']}' was not found.",
    )


def may_service(call: Call, row: Resource) -> None:
    """The service deletes and archives by itself only where a policy lets it."""
    service, iam = f"objectstorage-{call.cloud.region}", call.cloud.iam
    for policy in call.cloud.store.of("policy"):
        for text in policy.body["statements"]:
            found, root = read_statement(text), policy.body["compartmentId"]
            place = iam.place(found.place, root) if found.place else call.cloud.tenancy
            if (
                found.subject == "service"
                and service in found.names
                and found.grants("objects", "OBJECT_DELETE", 3)
                and (found.where is None or found.where.holds({"target.bucket.name": row.body["name"]}))
                and place in iam.above(row.body["compartmentId"])
            ):
                return
    raise errors.Refused(
        400,
        "InsufficientServicePermissions",
        f'Permissions granted to the object storage service principal "{service}" '
        "to this bucket are insufficient.",
    )


@handles("object_storage.put_object_lifecycle_policy")
def put_policy(call: Call) -> Answer:
    row, items = bucket(call), call.body.get("items") or []
    known = row.facts.get("lifecycle")
    match, none = call.header("if-match"), call.header("if-none-match")
    if match and (known is None or match not in ("*", known["etag"])):
        raise errors.Refused(
            412, "IfMatchFailed", "The If-Match header does not match the ETag of the policy."
        )
    if none == "*" and known:
        raise errors.Refused(412, "IfNoneMatchFailed", "The bucket has a lifecycle policy already.")
    if not items:
        raise errors.invalid("items: a lifecycle policy has at least one rule; delete it otherwise.")
    names = [item["name"] for item in items]
    for number, item in enumerate(items):
        if item["target"] not in ACTIONS:
            raise errors.invalid(f"items[{number}].target: {item['target']} is none of {', '.join(ACTIONS)}.")
        if item["action"] not in ACTIONS[item["target"]]:
            allowed = ", ".join(ACTIONS[item["target"]])
            raise errors.invalid(
                f"items[{number}].action: {item['action']} is none of {allowed} for this target."
            )
        if item["timeAmount"] < 1:
            raise errors.invalid(f"items[{number}].timeAmount: {item['timeAmount']} must be at least 1.")
        if names.count(item["name"]) > 1:
            raise errors.invalid(
                f"items[{number}].name: {item['name']} is used by another rule of the policy."
            )
        if item["target"] == "multipart-uploads" and item.get("objectNameFilter"):
            raise errors.invalid(f"items[{number}].objectNameFilter is not for multipart uploads.")
    may_service(call, row)
    policy = {"items": items, "timeCreated": call.cloud.store.stamp(), "etag": secrets.token_hex(16)}
    row.facts["lifecycle"] = policy
    return Answer(policy, 200, {"etag": policy["etag"]})


@handles("object_storage.get_object_lifecycle_policy")
def get_policy(call: Call) -> Answer:
    row = bucket(call)
    if not row.facts.get("lifecycle"):
        raise no_policy(row)
    return Answer(row.facts["lifecycle"], 200, {"etag": row.facts["lifecycle"]["etag"]})


@handles("object_storage.delete_object_lifecycle_policy")
def delete_policy(call: Call) -> Answer:
    row = bucket(call)
    if not row.facts.get("lifecycle"):
        raise no_policy(row)
    row.facts["lifecycle"] = None
    return Answer()


# Retention rules


@dataclass
class Rule:
    """While one is there, objects younger than its duration can neither be changed nor deleted."""

    body: dict[str, Any]
    etag: str = field(default_factory=lambda: secrets.token_hex(16))

    def until(self, made: str) -> dt.datetime | None:
        """When an object made then is free; None is never."""
        duration = self.body.get("duration")
        if not duration:
            return None
        days = duration["timeAmount"] * (365 if duration["timeUnit"] == "YEARS" else 1)
        return read_time(made, "timeCreated") + dt.timedelta(days=days)

    def is_locked(self, now: dt.datetime) -> bool:
        locked = self.body.get("timeRuleLocked")
        return bool(locked) and read_time(locked, "timeRuleLocked") <= now

    def answer(self) -> Answer:
        return Answer(self.body | {"etag": self.etag}, 200, {"etag": self.etag})


def rules(row: Resource) -> dict[str, Rule]:
    found: dict[str, Rule] = row.facts.setdefault("retention", {})
    return found


def check_lock(call: Call, body: dict[str, Any]) -> None:
    if not body.get("timeRuleLocked"):
        return
    if not body.get("duration"):
        raise errors.invalid("timeRuleLocked: only a rule with a duration can be locked.")
    if read_time(body["timeRuleLocked"], "timeRuleLocked") < call.cloud.now() + dt.timedelta(days=LOCK_DAYS):
        raise errors.invalid(f"timeRuleLocked must be at least {LOCK_DAYS} days from now.")


@handles("object_storage.create_retention_rule")
def create_rule(call: Call) -> Answer:
    row, body = bucket(call), dict(call.body)
    if row.body["versioning"] == "Enabled":
        raise errors.conflict("A bucket with versioning takes no retention rules.")
    if len(rules(row)) >= 100:
        raise errors.over_limit("retention-rules-per-bucket")
    check_lock(call, body)
    now = call.cloud.store.stamp()
    body |= {"id": secrets.token_hex(16), "timeCreated": now, "timeModified": now}
    body["displayName"] = body.get("displayName") or f"rule-{now}"
    rules(row)[body["id"]] = made = Rule(body)
    return made.answer()


def rule(call: Call) -> Rule:
    found = rules(bucket(call)).get(call.path["retentionRuleId"])
    if found is None:
        raise errors.Refused(
            404, "RetentionRuleNotFound", f"No retention rule {call.path['retentionRuleId']}."
        )
    return found


@handles("object_storage.get_retention_rule")
def get_rule(call: Call) -> Answer:
    return rule(call).answer()


@handles("object_storage.list_retention_rules")
def list_rules(call: Call) -> Answer:
    answer = many([each.body | {"etag": each.etag} for each in rules(bucket(call)).values()], call.query)
    answer.body = {"items": answer.body}
    return answer


def days(duration: dict[str, Any] | None) -> float:
    if not duration:
        return float("inf")
    return float(duration["timeAmount"]) * (365 if duration["timeUnit"] == "YEARS" else 1)


@handles("object_storage.update_retention_rule")
def update_rule(call: Call) -> Answer:
    found, body = rule(call), call.body
    if call.header("if-match") not in (None, "*", found.etag):
        raise errors.Refused(412, "IfMatchFailed", "The If-Match header does not match the ETag of the rule.")
    if found.is_locked(call.cloud.now()) and days(body.get("duration", found.body.get("duration"))) < days(
        found.body.get("duration")
    ):
        raise errors.Refused(
            409, "RetentionRuleLocked", "The rule is locked; its duration can only be extended."
        )
    if body.get("timeRuleLocked") != found.body.get("timeRuleLocked"):
        check_lock(call, found.body | body)
    found.body |= body | {"timeModified": call.cloud.store.stamp()}
    found.etag = secrets.token_hex(16)
    return found.answer()


@handles("object_storage.delete_retention_rule")
def delete_rule(call: Call) -> Answer:
    found = rule(call)
    if found.is_locked(call.cloud.now()):
        raise errors.Refused(409, "RetentionRuleLocked", "The rule is locked and cannot be deleted.")
    del rules(bucket(call))[found.body["id"]]
    return Answer()


# Pre-authenticated requests: links whose address is the secret, said once


def links(row: Resource) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = row.facts.setdefault("requests", {})
    return found


@handles("object_storage.create_preauthenticated_request")
def create_link(call: Call) -> Answer:
    row, body = bucket(call), dict(call.body)
    if read_time(body["timeExpires"], "timeExpires") <= call.cloud.now():
        raise errors.invalid("timeExpires must be in the future.")
    if not body["accessType"].startswith("Any") and not body.get("objectName"):
        raise errors.missing("objectName", "field")
    body |= {"id": secrets.token_urlsafe(24), "timeCreated": call.cloud.store.stamp()}
    links(row)[body["id"]] = body
    secret = secrets.token_urlsafe(40)
    where = f"/p/{secret}/n/{row.body['namespace']}/b/{row.body['name']}/o/{body.get('objectName') or ''}"
    return Answer(body | {"accessUri": where, "fullPath": call.cloud.endpoint + where}, 200)


@handles("object_storage.list_preauthenticated_requests")
def list_links(call: Call) -> Answer:
    return many(list(links(bucket(call)).values()), call.query)


@handles("object_storage.get_preauthenticated_request")
def get_link(call: Call) -> Answer:
    found = links(bucket(call)).get(call.path["parId"])
    if found is None:
        raise errors.not_found()
    return Answer(found)


@handles("object_storage.delete_preauthenticated_request")
def delete_link(call: Call) -> Answer:
    if links(bucket(call)).pop(call.path["parId"], None) is None:
        raise errors.not_found()
    return Answer()
