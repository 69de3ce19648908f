"""What a principal may do: dynamic groups and policies, decided for each request."""

import re
from typing import TYPE_CHECKING, Any

from tests.oci_api import errors
from tests.oci_api.calls import Call
from tests.oci_api.policies import Statement, read_rule, read_statement
from tests.oci_api.signing import Principal
from tests.oci_api.store import Resource

if TYPE_CHECKING:
    from tests.oci_api.server import FakeOci

# The operation's noun: its resource type in policies
TYPES = {
    "instance": "instances",
    "shape": "instances",
    "image": "instance-images",
    "compute_capacity_report": "compute-capacity-reports",
    "boot_volume_attachment": "volume-attachments",
    "boot_volume": "volumes",
    "volume_backup_policy": "backup-policies",
    "volume_backup_policy_assignment": "backup-policy-assignments",
    "volume_backup_policy_asset_assignment": "backup-policy-assignments",
    "availability_domain": "compartments",
    "fault_domain": "compartments",
    "tenancy": "tenancies",
    "region_subscription": "tenancies",
    "region": "tenancies",
    "customer_secret_key": "credentials",
    "budget": "usage-budgets",
    "alert_rule": "usage-budgets",
    "summarized_usage": "usage-report",
    "resource_availability": "resource-availability",
    "limit_value": "limits",
    "limit_definition": "limits",
    "service": "limits",
    "metrics_data": "metrics",
    "metric_data": "metrics",
    "metric": "metrics",
    "topic": "ons-topics",
    "subscription": "ons-subscriptions",
    "zone": "dns-zones",
    "rr_set": "dns-records",
    "zone_record": "dns-records",
    "domain_record": "dns-records",
    "multipart_upload": "objects",
    "multipart_upload_part": "objects",
    "part": "objects",
    "object_version": "objects",
    "object_lifecycle_policy": "buckets",
    "retention_rule": "buckets",
    "preauthenticated_request": "buckets",
    "dhcp_options": "dhcp-options",
}
LEVELS = {"INSPECT": 0, "READ": 1, "UPDATE": 2, "OVERWRITE": 2, "CREATE": 3, "DELETE": 3, "VERSION_DELETE": 3}
VERBS = {  # the operation's verb: the permission it takes
    "list": "INSPECT",
    "get": "READ",
    "head": "READ",
    "summarize": "READ",
    "request": "READ",
    "update": "UPDATE",
    "put": "CREATE",
    "upload": "CREATE",
    "commit": "CREATE",
    "abort": "DELETE",
    "post": "UPDATE",
    "delete": "DELETE",
    "terminate": "DELETE",
    "detach": "DELETE",
    "remove": "DELETE",
}
FREE = {"object_storage.get_namespace", "identity.list_regions"}


def needed(call: Call) -> tuple[str, list[str]]:
    """The resource type, and the permissions an operation takes, all of them: INSPECT, READ, ..."""
    verb, _, noun = call.operation.name.split(".")[1].partition("_")
    noun = re.sub(r"_by_.*|_(vnics|security_rules)$", "", noun)
    single = re.sub(r"ies$", "y", noun) if noun not in TYPES else noun
    single = single if single in TYPES else single.removesuffix("s")
    type_ = TYPES.get(single) or {"policy": "policies"}.get(single, f"{single}s").replace("_", "-")
    word = VERBS.get(verb, "CREATE")
    if type_ == "buckets" and single != "bucket" and word in ("CREATE", "DELETE"):
        word = "UPDATE"
    if call.operation.name == "object_storage.list_multipart_uploads":
        type_, word = "buckets", "READ"  # its parts are objects, the list is the bucket's
    if call.operation.name == "limits.get_resource_availability":
        word = "INSPECT"
    return type_, of_objects(call, word) if type_ == "objects" else [word]


def of_objects(call: Call, word: str) -> list[str]:
    """What is done to objects is told apart more finely: an upload in parts may make or replace one."""
    verb = call.operation.name.split(".")[1]
    if verb in ("create_multipart_upload", "upload_part", "commit_multipart_upload"):
        return ["CREATE", "OVERWRITE"]
    if verb == "rename_object":
        return ["CREATE", "OVERWRITE", "DELETE"]
    if verb == "put_object" and there(call):
        return ["OVERWRITE"]
    if verb == "delete_object" and call.query.get("versionId"):
        return ["VERSION_DELETE"]
    return [word]


def there(call: Call) -> bool:
    row = call.cloud.store.rows.get(f"bucket:{call.path['namespaceName']}/{call.path['bucketName']}")
    versions = row.facts.get("objects", {}).get(call.path["objectName"]) if row else None
    return bool(versions) and not versions[-1].is_marker


class Iam:
    """The policies of a tenancy. The operator may do all, others what policies allow their groups."""

    def __init__(self, cloud: "FakeOci") -> None:
        self.cloud = cloud

    # Checks of what is written

    def check_rule(self, rule: str) -> None:
        """Refuse a matching rule that cannot be read."""
        read_rule(rule)

    def check_statements(self, statements: list[str], compartment: str) -> None:
        """Refuse statements that cannot be read, or that name what is not there."""
        if not statements:
            raise errors.invalid("statements: a policy has at least one.")
        for text in statements:
            statement = read_statement(text)
            if statement.place:
                place = self.place(statement.place, compartment)
                if place is None:
                    raise errors.invalid(
                        f"Compartment {{{statement.place}}} does not exist or is not part of the policy "
                        "compartment subtree"
                    )
            elif compartment != self.cloud.tenancy:
                raise errors.invalid(
                    "A statement on the tenancy must stand in a policy of the root compartment."
                )
            kind = {"group": "group", "dynamic-group": "dynamicgroup"}.get(statement.subject)
            for name in statement.names if kind else ():
                if self.group(kind, name) is None:
                    raise errors.invalid(
                        f"The {statement.subject} {name} specified in the policy statement does not exist "
                        "under current compartment hierarchy."
                    )

    def group(self, kind: str | None, name: str) -> Resource | None:
        """By name, or by `id OCID`."""
        if name.lower().startswith("id "):
            return self.cloud.store.find(name.split(None, 1)[1], str(kind))
        short = name.rsplit("/", maxsplit=1)[-1].strip("'").lower()
        return next(
            (row for row in self.cloud.store.of(str(kind)) if row.body["name"].lower() == short), None
        )

    def place(self, words: str, root: str) -> str | None:
        """The compartment a statement is about: `id OCID`, or a path of names from the policy's compartment.

        An OCID without `id` is taken for a name, which no compartment has: a mistake often made.
        """
        if words.lower().startswith("id "):
            ocid = words.split(None, 1)[1]
            return ocid if root in self.above(ocid) else None
        own = self.cloud.store.find(root, "compartment")
        if own and own.body["name"].lower() == words.lower():
            return root
        place = root
        for name in words.split(":"):
            found = [
                row
                for row in self.cloud.store.of("compartment", compartmentId=place)
                if row.body["name"].lower() == name.strip().lower()
            ]
            if not found:
                return None
            place = found[0].id
        return place

    def above(self, ocid: str) -> list[str]:
        """A compartment and all it is in, up to the tenancy."""
        found = [ocid]
        while (row := self.cloud.store.find(found[-1], "compartment")) is not None:
            found.append(row.body["compartmentId"])
        return found

    # Decisions

    def allow(self, call: Call) -> None:
        """Refuse what the principal may not do; it reads as if the thing were not there."""
        who = call.principal
        if who.user == self.cloud.user or call.operation.name in FREE:
            return
        if who.instance and self.cloud.misbehave.propagation > 0:
            self.cloud.misbehave.propagation -= 1
            raise errors.not_found()
        type_, words = needed(call)
        granted = [statement for statement in self.statements(who) if self.reaches(statement, call)]
        stem = re.sub(r"s$", "", type_).replace("-", "_").upper()
        for word in words:
            permission = f"{stem}_{word}"
            facts = self.facts(call, permission)
            if not any(
                statement.grants(type_, permission, LEVELS[word])
                and (statement.where is None or statement.where.holds(facts))
                for _, statement in granted
            ):
                raise errors.not_found()

    def statements(self, who: Principal) -> list[tuple[str, Statement]]:
        """The statements about a principal, with the compartment their policy stands in."""
        groups = self.groups_of(who)
        return [
            (policy.body["compartmentId"], statement)
            for policy in self.cloud.store.of("policy")
            for statement in map(read_statement, policy.body["statements"])
            if self.is_subject(statement, who, groups)
        ]

    def reaches(self, found: tuple[str, Statement], call: Call) -> bool:
        """Whether a statement is about the compartment of the request, or one that one is in."""
        root, statement = found
        place = self.place(statement.place, root) if statement.place else self.cloud.tenancy
        return place in self.above(self.compartment_of(call))

    def is_subject(self, statement: Statement, who: Principal, groups: set[str]) -> bool:
        if statement.subject == "any-user":
            return True
        kind = {"group": "group", "dynamic-group": "dynamicgroup"}.get(statement.subject)
        found = [self.group(kind, name) for name in statement.names] if kind else []
        return any(row is not None and row.id in groups for row in found)

    def groups_of(self, who: Principal) -> set[str]:
        """The groups of a user, or the dynamic groups whose rule matches an instance."""
        store = self.cloud.store
        if who.user:
            return {row.body["groupId"] for row in store.of("groupmembership", userId=who.user)}
        instance = store.find(who.instance, "instance")
        if instance is None or instance.is_gone:
            return set()
        facts = {"instance.id": instance.id, "instance.compartment.id": instance.body["compartmentId"]}
        for space, tags in instance.body.get("definedTags", {}).items():
            facts |= {f"tag.{space}.{name}.value".lower(): str(value) for name, value in tags.items()}
        return {
            row.id for row in store.of("dynamicgroup") if read_rule(row.body["matchingRule"]).holds(facts)
        }

    def facts(self, call: Call, permission: str) -> dict[str, str]:
        """What conditions may ask of a request."""
        words = call.operation.name.split(".")[1].split("_")
        found = {
            "request.permission": permission,
            "request.operation": "".join(word.capitalize() for word in words),
            "request.region": self.cloud.region,
        }
        bucket = call.path.get("bucketName") or (call.body.get("name") if self._makes_bucket(call) else None)
        if bucket:
            found["target.bucket.name"] = str(bucket)
        name = call.path.get("objectName") or call.query.get("prefix")
        if name:
            found["target.object.name"] = str(name)
        if namespace := self._body(call).get("namespace"):
            found["target.metrics.namespace"] = str(namespace)
        return found

    def _makes_bucket(self, call: Call) -> bool:
        return call.operation.name == "object_storage.create_bucket"

    def _body(self, call: Call) -> dict[str, Any]:
        return call.body if isinstance(call.body, dict) else {}

    def compartment_of(self, call: Call) -> str:
        """The compartment a request is about: it names one, or a resource that is in one."""
        body = self._body(call)
        named = call.query.get("compartmentId") or body.get("compartmentId") or body.get("tenantId")
        if named:
            return str(named)
        ocids = [*reversed(list(call.path.values())), *call.query.values(), *body.values()]
        if "bucketName" in call.path:
            ocids = [f"bucket:{call.path.get('namespaceName')}/{call.path['bucketName']}"]
        for ocid in ocids:
            row = self.cloud.store.rows.get(ocid) if isinstance(ocid, str) else None
            if row is not None and row.body.get("compartmentId"):
                return str(row.body["compartmentId"])
        return self.cloud.tenancy
