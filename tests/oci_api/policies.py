"""The language of IAM: matching rules of dynamic groups, and policy statements, read strictly."""

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass

from tests.oci_api.errors import invalid

VERBS = ("inspect", "read", "use", "manage")
FAMILIES = {
    "virtual-network-family": "vcns subnets route-tables security-lists internet-gateways dhcp-options "
    "network-security-groups vnics vnic-attachments private-ips public-ips ipv6s",
    "instance-family": "instances instance-images instance-console-connection volume-attachments "
    "compute-capacity-reports",
    "volume-family": "volumes volume-attachments volume-backups boot-volume-backups backup-policies "
    "backup-policy-assignments",
    "object-family": "buckets objects objectstorage-namespaces",
    "dns": "dns-zones dns-records",
    "ons-family": "ons-topics ons-subscriptions",
}
SINGLE = (
    "compartments dynamic-groups policies users groups tenancies credentials usage-budgets usage-report "
    "metrics alarms quotas limits resource-availability work-requests all-resources log-groups log-content "
    "tag-namespaces instance-agent-plugins instance-agents boot-volumes repos"
)
TYPES = {*FAMILIES, *SINGLE.split(), *(word for words in FAMILIES.values() for word in words.split())}

STATEMENT = re.compile(
    r"\s*allow\s+(?P<subject>.+?)\s+to\s+(?P<verb>\{[^}]*\}|\w+)\s+(?P<type>[\w-]+)?\s*in\s+"
    r"(?P<place>tenancy|compartment\s+.+?)(?:\s+where\s+(?P<where>.+))?\s*$",
    re.IGNORECASE | re.DOTALL,
)
SUBJECT = re.compile(
    r"(any-user|any-group|(?:dynamic-)?group\s+.+|service\s+.+|resource\s+.+)$", re.IGNORECASE
)
CONDITION = re.compile(r"\s*([\w.\-/]+)\s*(!?=)\s*(?:'([^']*)'|/([^/]+)/)\s*$")


@dataclass(frozen=True)
class Condition:
    """`variable = 'value'`, or a pattern: `variable = /atlas-*/`."""

    variable: str
    equal: bool
    value: str
    is_pattern: bool = False

    def holds(self, facts: Mapping[str, str]) -> bool:
        """False for a variable the request has none of, as OCI decides it."""
        if self.variable not in facts:
            return False
        found, wanted = facts[self.variable].lower(), self.value.lower()
        same = fnmatch.fnmatchcase(found, wanted) if self.is_pattern else found == wanted
        return same == self.equal


@dataclass(frozen=True)
class Conditions:
    """`all {...}` or `any {...}` of conditions, nested or not."""

    every: bool
    parts: tuple["Condition | Conditions", ...]

    def holds(self, facts: Mapping[str, str]) -> bool:
        return (all if self.every else any)(part.holds(facts) for part in self.parts)


@dataclass(frozen=True)
class Statement:
    """`names` are of groups (of the kind `subject`), `place` is `id OCID`, a path of names, or empty."""

    subject: str
    names: tuple[str, ...]
    verb: str
    permissions: frozenset[str]
    type: str
    place: str
    where: Condition | Conditions | None

    def grants(self, type_: str, permission: str, level: int) -> bool:
        """Whether it is about this type, and gives this permission (or the verb it belongs to)."""
        if self.permissions:
            return permission in self.permissions
        covered = self.type in ("all-resources", type_) or type_ in FAMILIES.get(self.type, "").split()
        return covered and VERBS.index(self.verb) >= level


def read_conditions(text: str, what: str) -> Condition | Conditions:
    """A condition, or a group of them. `what` names it in the refusal."""
    grouped = re.match(r"\s*(any|all)\s*\{(.*)\}\s*$", text, re.IGNORECASE | re.DOTALL)
    if grouped:
        parts = tuple(read_conditions(part, what) for part in _split(grouped[2]))
        if not parts:
            raise invalid(f"{what}: there is no condition in {text.strip()}.")
        return Conditions(grouped[1].lower() == "all", parts)
    single = CONDITION.match(text)
    if single is None:
        raise invalid(f"{what}: cannot read the condition {text.strip()!r}.")
    value = single[3] if single[3] is not None else single[4]
    return Condition(single[1].lower(), single[2] == "=", value, single[3] is None)


def _split(text: str) -> list[str]:
    """By commas, but for those inside braces or quotes."""
    parts = re.findall(r"(?:[^,{}']|'[^']*'|\{[^{}]*\})+", text)
    return [part for part in parts if part.strip()]


def read_rule(rule: str) -> Condition | Conditions:
    """A dynamic group's matching rule."""
    found = read_conditions(rule, "matchingRule")
    for variable in sorted(_variables(found)):
        if not re.fullmatch(
            r"(instance|resource)\.(id|type|compartment\.id)|tag\.[\w-]+\.[\w-]+\.value", variable
        ):
            raise invalid(f"matchingRule: there is no variable {variable}.")
    return found


def _variables(found: Condition | Conditions) -> set[str]:
    if isinstance(found, Condition):
        return {found.variable}
    return set().union(*(_variables(part) for part in found.parts))


def read_statement(text: str) -> Statement:
    """A policy statement. Raises 400 with the part that cannot be read."""
    found = STATEMENT.match(text)
    if found is None:
        raise invalid(f"Unable to parse policy statement: {text}")
    subject = SUBJECT.match(found["subject"].strip())
    if subject is None:
        raise invalid(f"Unable to parse policy statement: no subject {found['subject']!r} in {text}")
    kind, _, names = subject[1].partition(" ")
    verb, permissions = found["verb"].lower(), frozenset[str]()
    if verb.startswith("{"):
        permissions = frozenset(word.strip().upper() for word in verb.strip("{}").split(","))
    elif verb not in VERBS:
        raise invalid(f"Unable to parse policy statement: no verb {found['verb']!r} in {text}")
    type_ = (found["type"] or "").lower()
    if not permissions and type_ not in TYPES:
        raise invalid(f"Unable to parse policy statement: no resource-type {found['type']!r} in {text}")
    place = "" if found["place"].lower() == "tenancy" else found["place"].split(None, 1)[1].strip()
    return Statement(
        kind.lower(),
        tuple(name.strip().strip("'") for name in names.split(",") if name.strip()),
        verb,
        permissions,
        type_,
        place,
        read_conditions(found["where"], "where") if found["where"] else None,
    )
