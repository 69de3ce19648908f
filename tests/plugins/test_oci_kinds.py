"""Every kind of thing: made, left alone, changed field by field, and what about it cannot be."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from oci_kinds import KINDS
from oci_operator import Operator
from tests.oci_api import seeds
from tests.oci_api.server import FakeOci

pytestmark = pytest.mark.usefixtures("cloud")

VCN = {"kind": "vcn", "name": "net", "spec": {"cidr_blocks": ["10.0.0.0/16"], "dns_label": "net"}}
GATEWAY = {
    "kind": "internet_gateway",
    "name": "net",
    "spec": {"vcn_id": {"ref": "vcn"}, "is_enabled": True},
}
GROUP = {"kind": "network_security_group", "name": "net", "spec": {"vcn_id": {"ref": "vcn"}}}
BUCKET = {"kind": "bucket", "name": "box", "spec": {}}
SSH = {
    "protocol": "6",
    "source": "198.51.100.0/24",
    "tcp_options": {"destination_port_range": {"min": 22, "max": 22}},
    "description": "SSH",
}
WEB = {
    "protocol": "6",
    "source": "0.0.0.0/0",
    "tcp_options": {"destination_port_range": {"min": 443, "max": 443}},
}
OUT = {"protocol": "all", "destination": "0.0.0.0/0"}
IN_TENANCY = {"compartment_id": {"ref": "tenancy"}, "description": "of Atlas"}
USER = {"kind": "user", "name": "somebody", "spec": IN_TENANCY}
TEAM = {"kind": "group", "name": "team", "spec": IN_TENANCY}
RULE = {
    "name": "old",
    "action": "DELETE",
    "target": "previous-object-versions",
    "time_amount": 30,
    "time_unit": "DAYS",
    "is_enabled": True,
}
MAY = {
    "kind": "policy",
    "name": "service",
    "spec": {
        **IN_TENANCY,
        "statements": [
            {
                "text": "Allow service objectstorage-%s to manage object-family in compartment atlas",
                "refs": ["tenancy.region"],
            }
        ],
    },
}
FREE_CORES = "set compute-core quota standard-a1-core-count to 2 in tenancy"
BUDGET = {
    "kind": "budget",
    "name": "month",
    "spec": {
        **IN_TENANCY,
        "amount": 1,
        "reset_period": "MONTHLY",
        "target_type": "COMPARTMENT",
        "targets": [{"ref": "tenancy"}],
    },
}
WEEKLY = {
    "backup_type": "INCREMENTAL",
    "period": "ONE_WEEK",
    "day_of_week": "SUNDAY",
    "hour_of_day": 3,
    "offset_type": "STRUCTURED",
    "time_zone": "UTC",
    "retention_seconds": 604800,
}
VOLUME = {
    "kind": "volume",
    "name": "data",
    "spec": {"availability_domain": "@domain", "size_in_gbs": 50, "vpus_per_gb": 10},
}


def record(address: str) -> dict[str, Any]:
    return {"domain": "atlas.example.org", "rtype": "A", "rdata": address, "ttl": 300}


@dataclass
class Case:
    """A kind: what it stands on, its spec, fields that can be changed, and fields that cannot."""

    kind: str
    spec: dict[str, Any]
    changes: dict[str, Any] = field(default_factory=dict)
    fixed: dict[str, Any] = field(default_factory=dict)
    before: tuple[dict[str, Any], ...] = ()
    name: str = "thing"
    # A field that must be given, an enumeration and a value it does not have, a field of another type.
    required: str = ""
    enumeration: tuple[str, Any] | None = None
    mistyped: tuple[str, Any] | None = None

    @property
    def where(self) -> str:
        return f"{self.kind} {self.name or 'it'}"

    @property
    def entry(self) -> dict[str, Any]:
        return {"key": "it", "kind": self.kind, "name": self.name, "spec": self.spec}

    def entries(self, **changed: Any) -> list[dict[str, Any]]:
        return [*self.before, {**self.entry, "spec": {**self.spec, **changed}}]


CASES = [
    Case(
        "compartment",
        dict(IN_TENANCY),
        changes={"description": "another"},
        required="description",
        mistyped=("description", 5),
    ),
    Case(
        "dynamic_group",
        {**IN_TENANCY, "matching_rule": "ALL {instance.compartment.id = 'ocid1.compartment.oc1..a'}"},
        changes={
            "description": "another",
            "matching_rule": "ANY {instance.id = 'ocid1.instance.oc1..a'}",
        },
        required="matching_rule",
    ),
    Case("user", dict(IN_TENANCY), changes={"description": "another"}, required="description"),
    Case("group", dict(IN_TENANCY), changes={"description": "another"}, required="description"),
    Case(
        "policy",
        {**IN_TENANCY, "statements": ["Allow group team to manage buckets in tenancy"]},
        changes={
            "description": "another",
            "statements": ["Allow group team to read buckets in tenancy"],
        },
        before=(TEAM,),
        required="statements",
        mistyped=("statements", "Allow group team to manage buckets in tenancy"),
    ),
    Case(
        "vcn",
        {"cidr_blocks": ["10.0.0.0/16"], "dns_label": "net"},
        fixed={"cidr_blocks": ["10.1.0.0/16"], "dns_label": "other"},
        mistyped=("cidr_blocks", "10.0.0.0/16"),
    ),
    Case(
        "internet_gateway",
        {"vcn_id": {"ref": "vcn"}, "is_enabled": True},
        changes={"is_enabled": False},
        before=(VCN,),
        required="is_enabled",
        mistyped=("is_enabled", "yes"),
    ),
    Case(
        "route_table",
        {
            "vcn_id": {"ref": "vcn"},
            "route_rules": [
                {
                    "destination": "0.0.0.0/0",
                    "destination_type": "CIDR_BLOCK",
                    "network_entity_id": {"ref": "internet_gateway"},
                }
            ],
        },
        changes={"route_rules": []},
        before=(VCN, GATEWAY),
        required="route_rules",
        enumeration=(
            "route_rules",
            [{"destination_type": "CIDR", "network_entity_id": {"ref": "internet_gateway"}}],
        ),
        mistyped=("route_rules", {"destination": "0.0.0.0/0"}),
    ),
    Case(
        "security_list",
        {
            "vcn_id": {"ref": "vcn"},
            "ingress_security_rules": [SSH],
            "egress_security_rules": [OUT],
        },
        changes={"ingress_security_rules": [SSH, WEB], "egress_security_rules": []},
        before=(VCN,),
        required="ingress_security_rules",
        mistyped=("ingress_security_rules", [{**SSH, "tcp_options": {"destination_port_range": 22}}]),
    ),
    Case("network_security_group", {"vcn_id": {"ref": "vcn"}}, before=(VCN,), mistyped=("vcn_id", 3)),
    Case(
        "security_rules",
        {
            "network_security_group_id": {"ref": "network_security_group"},
            "security_rules": [{"direction": "INGRESS", **SSH}, {"direction": "EGRESS", **OUT}],
        },
        changes={"security_rules": [{"direction": "INGRESS", **WEB}]},
        before=(VCN, GROUP),
        enumeration=("security_rules", [{"direction": "IN", **SSH}]),
    ),
    Case(
        "subnet",
        {"vcn_id": {"ref": "vcn"}, "cidr_block": "10.0.0.0/24", "dns_label": "sub"},
        fixed={"dns_label": "other", "prohibit_public_ip_on_vnic": True},
        before=(VCN,),
        mistyped=("security_list_ids", "ocid1"),
    ),
    Case(
        "public_ip",
        {"lifetime": "RESERVED"},
        required="lifetime",
        enumeration=("lifetime", "FOREVER"),
    ),
    Case(
        "bucket",
        {"public_access_type": "NoPublicAccess", "versioning": "Enabled"},
        changes={"public_access_type": "ObjectRead", "versioning": "Disabled"},
        fixed={"storage_tier": "Archive"},
        enumeration=("storage_tier", "Cheap"),
        mistyped=("object_events_enabled", "no"),
    ),
    Case(
        "lifecycle_policy",
        {"bucket": {"ref": "bucket"}, "items": [RULE]},
        changes={"items": [{**RULE, "time_amount": 31}]},
        before=(MAY, BUCKET),
        enumeration=("items", [{**RULE, "time_unit": "HOURS"}]),
        mistyped=("items", [{**RULE, "time_amount": "thirty"}]),
    ),
    Case(
        "retention_rule",
        {
            "namespace": {"ref": "tenancy.namespace"},
            "bucket": {"ref": "bucket"},
            "duration": {"time_amount": 30, "time_unit": "DAYS"},
        },
        changes={"duration": {"time_amount": 31, "time_unit": "DAYS"}},
        before=(BUCKET,),
        enumeration=("duration", {"time_amount": 30, "time_unit": "HOURS"}),
    ),
    Case(
        "membership",
        {"compartment_id": {"ref": "tenancy"}, "user_id": {"ref": "user"}, "group_id": {"ref": "group"}},
        before=(USER, TEAM),
        name="",
    ),
    Case(
        "secret_key",
        {"user_id": {"ref": "user"}, "secret_file": "@secret"},
        before=(USER,),
    ),
    Case(
        "quota",
        {**IN_TENANCY, "statements": ["zero compute-core quotas in tenancy", FREE_CORES]},
        changes={
            "description": "another",
            # The order counts: what comes later goes before what came earlier.
            "statements": [FREE_CORES, "zero compute-core quotas in tenancy"],
        },
        required="statements",
        mistyped=("statements", FREE_CORES),
    ),
    Case(
        "budget",
        BUDGET["spec"],
        changes={"amount": 2, "description": "another"},
        fixed={"targets": ["ocid1.compartment.oc1..another"]},
        required="amount",
        enumeration=("reset_period", "DAILY"),
        mistyped=("amount", "a lot"),
    ),
    Case(
        "alert_rule",
        {
            "budget_id": {"ref": "budget"},
            "type": "ACTUAL",
            "threshold": 50,
            "threshold_type": "PERCENTAGE",
            "recipients": "owner@example.org",
            "message": "It costs.",
        },
        changes={"threshold": 60, "recipients": "other@example.org", "message": "It costs a lot."},
        before=(BUDGET,),
        required="threshold",
        enumeration=("type", "GUESS"),
        mistyped=("threshold", True),
    ),
    Case(
        "backup_policy",
        {"schedules": [WEEKLY]},
        changes={"schedules": [{**WEEKLY, "retention_seconds": 2 * 604800}]},
        enumeration=("schedules", [{**WEEKLY, "period": "ONE_MINUTE"}]),
        mistyped=("schedules", [{**WEEKLY, "hour_of_day": "three"}]),
    ),
    Case(
        "volume",
        VOLUME["spec"],
        changes={"vpus_per_gb": 0},
        fixed={"availability_domain": "@elsewhere"},
        mistyped=("size_in_gbs", "large"),
    ),
    Case(
        "volume_attachment",
        {
            "type": "paravirtualized",
            "instance_id": "@machine",
            "volume_id": {"ref": "volume"},
            "device": "/dev/oracleoci/oraclevdb",
            "is_pv_encryption_in_transit_enabled": True,
        },
        fixed={"device": "/dev/oracleoci/oraclevdc", "is_read_only": True},
        before=(VOLUME,),
        required="volume_id",
        enumeration=None,
        mistyped=("is_read_only", "no"),
    ),
    Case(
        "backup_assignment",
        {"asset_id": {"ref": "volume"}, "policy_id": {"ref": "backup_policy"}},
        changes={"policy_id": {"ref": "other"}},
        before=(
            VOLUME,
            {"kind": "backup_policy", "name": "weekly", "spec": {"schedules": [WEEKLY]}},
            {"key": "other", "kind": "backup_policy", "name": "none", "spec": {"schedules": []}},
        ),
        name="",
        required="policy_id",
    ),
    Case(
        "dns_records",
        {"zone": "example.org", "type": "A", "items": [record("198.51.100.7")]},
        changes={"items": [record("198.51.100.8"), record("198.51.100.9")]},
        name="atlas.example.org",
        mistyped=("items", [{**record("198.51.100.7"), "ttl": "long"}]),
    ),
]
IDS = [case.kind for case in CASES]


def put(value: Any, known: dict[str, str]) -> Any:
    """What stands in a case for something of this cloud is put in its place."""
    if isinstance(value, dict):
        return {name: put(one, known) for name, one in value.items()}
    if isinstance(value, list):
        return [put(one, known) for one in value]
    return known.get(value, value) if isinstance(value, str) else value


@pytest.fixture(params=CASES, ids=IDS)
def case(request: Any, cloud: FakeOci, operator: Operator, compartment: str, tmp_path: Path) -> Case:
    """The case in this cloud, in which there are a machine and a DNS zone."""
    found: Case = request.param
    if found.kind == "dns_records":
        operator.account().ask("dns", "create_zone", {"name": "example.org", "compartmentId": compartment})
        cloud.store.hurry()
    known = {
        "@machine": seeds.machine(cloud, compartment).id if found.kind == "volume_attachment" else "",
        "@domain": cloud.domains[0],
        "@elsewhere": cloud.domains[1],
        "@secret": str(tmp_path / "secrets" / "key.json"),
    }
    return Case(
        **{name: put(value, known) for name, value in vars(found).items()}
        | {"before": tuple(put(list(found.before), known))}
    )


def having(attribute: str) -> Any:
    found = [case for case in CASES if getattr(case, attribute)]
    return pytest.mark.parametrize("case", found, ids=[case.kind for case in found], indirect=True)


def test_made_then_left_alone(operator: Operator, compartment: str, case: Case) -> None:
    checked = operator.apply(*case.entries(), compartment=compartment, check=True)
    assert checked.actions["it"] != "none"
    assert checked.writes == []
    made = operator.apply(*case.entries(), compartment=compartment)
    assert made.changed
    assert made.rows["it"]["id"] != "pending"
    again = operator.apply(*case.entries(), compartment=compartment)
    assert (again.actions, again.writes, again.diff) == (dict.fromkeys(again.actions, "none"), [], {})
    assert again.rows["it"]["id"] == made.rows["it"]["id"]


@having("changes")
def test_each_field_changed_and_put_back(operator: Operator, compartment: str, case: Case) -> None:
    operator.apply(*case.entries(), compartment=compartment)
    for name, value in case.changes.items():
        for wanted in ({name: value}, {}):
            checked = operator.apply(*case.entries(**wanted), compartment=compartment, check=True)
            assert (checked.actions["it"], checked.writes) == ("update", [])
            (before, after) = checked.diff[case.where]
            assert before != after
            done = operator.apply(*case.entries(**wanted), compartment=compartment)
            assert [change for change in done.changes if name in change]
            again = operator.apply(*case.entries(**wanted), compartment=compartment)
            assert not again.changed, (wanted, again.diff)


@having("fixed")
def test_what_is_fixed_is_refused_and_stays(operator: Operator, compartment: str, case: Case) -> None:
    made = operator.apply(*case.entries(), compartment=compartment)
    for name, value in case.fixed.items():
        said = operator.refused(*case.entries(**{name: value}), compartment=compartment)
        assert f"{case.where}: {name} is " in said
        assert "cannot be changed" in said
    again = operator.apply(*case.entries(), compartment=compartment)
    assert not again.changed
    assert again.rows["it"]["id"] == made.rows["it"]["id"]


def test_an_unknown_field_names_itself_and_the_valid_ones(
    operator: Operator, compartment: str, case: Case
) -> None:
    said = operator.refused(*case.entries(colour="red"), compartment=compartment)
    assert ": colour is no field of " in said
    known = set(KINDS[case.kind].models[0]().swagger_types)
    assert {word.strip(" .") for word in said.split("Valid are:")[1].split(",")} >= known & set(case.spec)


@having("required")
def test_a_missing_field_is_named(operator: Operator, compartment: str, case: Case) -> None:
    entry = {**case.entry, "spec": {k: v for k, v in case.spec.items() if k != case.required}}
    said = operator.refused(*case.before, entry, compartment=compartment)
    assert f"{case.where}: {case.required} must be given" in said


@having("enumeration")
def test_a_word_that_is_none_of_an_enumeration_is_named(
    operator: Operator, compartment: str, case: Case
) -> None:
    assert case.enumeration is not None
    name, value = case.enumeration
    said = operator.refused(*case.entries(**{name: value}), compartment=compartment)
    assert said.startswith(f"{case.where}: ")
    assert "must be one of" in said or "must be None or one of" in said, said


@having("mistyped")
def test_a_field_of_another_type_is_named(operator: Operator, compartment: str, case: Case) -> None:
    assert case.mistyped is not None
    name, value = case.mistyped
    said = operator.refused(*case.entries(**{name: value}), compartment=compartment)
    assert f"{case.where}: {name}" in said
    assert " must be " in said


def test_what_says_where_it_is_must_be_given(operator: Operator, compartment: str, case: Case) -> None:
    kind = KINDS[case.kind]
    for name in {*kind.parents, *kind.local} - kind.optional:
        entry = {**case.entry, "spec": {k: v for k, v in case.spec.items() if k != name}}
        for state in ("present", "absent"):
            said = operator.refused(*case.before, {**entry, "state": state}, compartment=compartment)
            assert f"{name} must be given" in said


def test_removed_and_then_gone(operator: Operator, compartment: str, case: Case) -> None:
    operator.apply(*case.entries(), compartment=compartment)
    away = [*case.before, {**case.entry, "state": "absent"}]
    checked = operator.apply(*away, compartment=compartment, check=True)
    assert checked.actions["it"] == "delete"
    done = operator.apply(*away, compartment=compartment)
    assert done.changes == [f"removed {case.where}"]
    again = operator.apply(*away, compartment=compartment)
    assert again.actions["it"] == ("none" if case.kind != "security_rules" else again.actions["it"])
    assert again.writes == []
    operator.apply(*case.entries(), compartment=compartment)


def test_every_kind_has_a_case() -> None:
    assert set(KINDS) == {case.kind for case in CASES}
