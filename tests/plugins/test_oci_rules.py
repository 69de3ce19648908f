"""Rules of firewalls: a set, in whatever order; what was opened by hand is closed, what is missing opened."""

import random
from typing import Any

import pytest
from oci_operator import Operator, writes
from tests.oci_api.server import FakeOci

pytestmark = pytest.mark.usefixtures("cloud")

VCN = {"kind": "vcn", "name": "net", "spec": {"cidr_blocks": ["10.0.0.0/16"]}}
GROUP = {"kind": "network_security_group", "name": "net", "spec": {"vcn_id": {"ref": "vcn"}}}
EVERYTHING_OUT = {"direction": "EGRESS", "protocol": "all", "destination": "0.0.0.0/0"}


def opened(port: int, source: str = "0.0.0.0/0", **more: Any) -> dict[str, Any]:
    options = {"destination_port_range": {"min": port, "max": port}}
    return {"protocol": "6", "source": source, "tcp_options": options, **more}


def inward(*ports: int, **more: Any) -> list[dict[str, Any]]:
    return [{"direction": "INGRESS", **opened(port, **more)} for port in ports]


def group_with(*rules: dict[str, Any]) -> list[dict[str, Any]]:
    spec = {"network_security_group_id": {"ref": "network_security_group"}, "security_rules": list(rules)}
    return [VCN, GROUP, {"kind": "security_rules", "name": "net", "spec": spec}]


def list_with(*rules: dict[str, Any]) -> list[dict[str, Any]]:
    spec = {
        "vcn_id": {"ref": "vcn"},
        "ingress_security_rules": list(rules),
        "egress_security_rules": [{"protocol": "all", "destination": "0.0.0.0/0"}],
    }
    return [VCN, {"kind": "security_list", "name": "net", "spec": spec}]


def rules_of(cloud: FakeOci) -> list[dict[str, Any]]:
    (group,) = cloud.store.of("networksecuritygroup")
    return group.facts["rules"]


def ports_of(cloud: FakeOci) -> list[int]:
    ranges = [rule["tcpOptions"]["destinationPortRange"] for rule in rules_of(cloud) if "tcpOptions" in rule]
    return sorted(one["min"] for one in ranges)


@pytest.mark.parametrize("entries", [group_with, list_with], ids=["group", "list"])
def test_the_order_is_no_matter(operator, cloud, compartment, entries):
    extra = {"direction": "INGRESS"} if entries is group_with else {}
    rules = [opened(port, **extra) for port in (22, 80, 443, 7000)]
    operator.apply(*entries(*rules), compartment=compartment)
    for seed in range(3):
        random.Random(seed).shuffle(rules)
        assert not operator.apply(*entries(*rules), compartment=compartment).changed


@pytest.mark.parametrize("entries", [group_with, list_with], ids=["group", "list"])
def test_a_rule_without_its_ports_is_another_rule(operator, cloud, compartment, entries):
    extra = {"direction": "INGRESS"} if entries is group_with else {}
    whole, one_port = {"protocol": "6", "source": "0.0.0.0/0", **extra}, opened(22, **extra)
    for before, after in ((whole, one_port), (one_port, whole)):
        operator.apply(*entries(before), compartment=compartment)
        assert operator.apply(*entries(after), compartment=compartment, check=True).changed


@pytest.mark.parametrize(
    "other",
    [
        opened(23),
        opened(22, source="10.0.0.0/8"),
        opened(22, protocol="17", tcp_options=None, udp_options=opened(22)["tcp_options"]),
        opened(22, is_stateless=True),
        opened(22, description="by hand"),
        opened(22, tcp_options={"destination_port_range": {"min": 22, "max": 23}}),
        opened(
            22,
            tcp_options={
                "destination_port_range": {"min": 22, "max": 22},
                "source_port_range": {"min": 1, "max": 1023},
            },
        ),
    ],
)
def test_whatever_differs_in_a_rule_is_seen(operator, cloud, compartment, other):
    operator.apply(*list_with(opened(22)), compartment=compartment)
    plain = {name: value for name, value in other.items() if value is not None}
    assert operator.apply(*list_with(plain), compartment=compartment, check=True).changed
    operator.apply(*list_with(plain), compartment=compartment)
    assert not operator.apply(*list_with(plain), compartment=compartment).changed


def test_what_oracle_writes_out_is_no_difference(operator, cloud, compartment):
    plain = {"direction": "INGRESS", **opened(22)}
    full = {**plain, "is_stateless": False, "source_type": "CIDR_BLOCK"}
    operator.apply(*group_with(plain, EVERYTHING_OUT), compartment=compartment)
    assert not operator.apply(*group_with(full, EVERYTHING_OUT), compartment=compartment).changed


def test_what_was_opened_by_hand_is_closed_and_shown(operator, cloud, compartment):
    entries = group_with(*inward(22, 443), EVERYTHING_OUT)
    operator.apply(*entries, compartment=compartment)
    by_hand = {
        "direction": "INGRESS",
        "protocol": "6",
        "source": "0.0.0.0/0",
        "sourceType": "CIDR_BLOCK",
        "isStateless": False,
        "tcpOptions": {"destinationPortRange": {"min": 5432, "max": 5432}},
        "id": "BYHAND",
        "isValid": True,
    }
    rules_of(cloud).append(by_hand)
    checked = operator.apply(*entries, compartment=compartment, check=True)
    before, after = checked.diff["security_rules net"]
    assert "5432" in before
    assert "5432" not in after
    done = operator.apply(*entries, compartment=compartment)
    assert [one.rsplit("/", 1)[1] for one in done.writes] == ["removeSecurityRules"]
    assert ports_of(cloud) == [22, 443]


def test_what_was_closed_by_hand_is_opened(operator, cloud, compartment):
    entries = group_with(*inward(22, description="SSH"), *inward(443), EVERYTHING_OUT)
    operator.apply(*entries, compartment=compartment)
    kept = [rule["id"] for rule in rules_of(cloud) if "SSH" not in rule.get("description", "")]
    rules_of(cloud)[:] = [rule for rule in rules_of(cloud) if rule["id"] in kept]
    done = operator.apply(*entries, compartment=compartment)
    assert [one.rsplit("/", 1)[1] for one in done.writes] == ["addSecurityRules"]
    assert ports_of(cloud) == [22, 443]
    assert {rule["id"] for rule in rules_of(cloud)} > set(kept), "the others were not touched"


def test_added_before_anything_is_removed(operator, cloud, compartment):
    operator.apply(*group_with(*inward(22)), compartment=compartment)
    done = operator.apply(*group_with(*inward(2222)), compartment=compartment)
    assert [one.rsplit("/", 1)[1] for one in done.writes] == ["addSecurityRules", "removeSecurityRules"]
    assert ports_of(cloud) == [2222]


def test_what_was_added_when_removing_failed_is_not_added_again(operator, cloud, compartment):
    operator.apply(*group_with(*inward(22)), compartment=compartment)
    (group,) = cloud.store.of("networksecuritygroup")
    cloud.misbehave.fail(
        1,
        method="POST",
        path=f"/20160918/networkSecurityGroups/{group.id}/actions/removeSecurityRules",
        status=400,
        code="InvalidParameter",
    )
    wanted = group_with(*inward(2222))
    with pytest.raises(Exception, match="security_rules net: changing it"):
        operator.apply(*wanted, compartment=compartment)
    assert ports_of(cloud) == [22, 2222]
    done = operator.apply(*wanted, compartment=compartment)
    assert [one.rsplit("/", 1)[1] for one in done.writes] == ["removeSecurityRules"]


def test_more_rules_than_oracle_takes_at_once(operator, cloud, compartment):
    """Three ports for twenty networks are 60 rules; a request takes 25."""
    networks = [f"198.51.100.{number}/32" for number in range(20)]
    rules = [rule for source in networks for rule in inward(22, 80, 443, source=source)]
    operator.apply(*group_with(*rules), compartment=compartment)
    assert len(rules_of(cloud)) == 60
    assert not operator.apply(*group_with(*rules), compartment=compartment).changed
    operator.apply(*group_with(*inward(22)), compartment=compartment)
    assert ports_of(cloud) == [22]


def test_a_rule_asked_for_twice_is_there_once(operator, cloud, compartment):
    entries = group_with(*inward(22, 22, 443))
    operator.apply(*entries, compartment=compartment)
    assert ports_of(cloud) == [22, 443]
    assert not operator.apply(*entries, compartment=compartment).changed


def test_a_rule_that_is_there_twice_goes_once(operator, cloud, compartment):
    """As when an answer was lost and somebody clicked again."""
    operator.apply(*group_with(*inward(22)), compartment=compartment)
    rules_of(cloud).append({**rules_of(cloud)[0], "id": "TWIN"})
    operator.apply(*group_with(*inward(22)), compartment=compartment)
    assert ports_of(cloud) == [22]
    assert not operator.apply(*group_with(*inward(22)), compartment=compartment).changed


def test_rules_whose_answer_was_lost_are_not_doubled(operator, cloud, compartment):
    operator.apply(VCN, GROUP, compartment=compartment)
    cloud.misbehave.lose_answer(1, method="POST", path="/20160918/networkSecurityGroups/")
    operator.apply(*group_with(*inward(22, 443)), compartment=compartment)
    assert ports_of(cloud) == [22, 443]


def test_a_rule_by_another_group(operator: Operator, cloud, compartment):
    rule = {
        "direction": "INGRESS",
        "protocol": "all",
        "source": {"ref": "network_security_group"},
        "source_type": "NETWORK_SECURITY_GROUP",
    }
    operator.apply(*group_with(rule), compartment=compartment)
    assert not operator.apply(*group_with(rule), compartment=compartment).changed


def test_all_rules_removed(operator, cloud, compartment):
    operator.apply(*group_with(*inward(22, 443)), compartment=compartment)
    entries = group_with(*inward(22, 443))
    operator.apply(*entries[:2], {**entries[2], "state": "absent"}, compartment=compartment)
    assert ports_of(cloud) == []
    start = len(cloud.calls)
    operator.apply(*entries[:2], {**entries[2], "state": "absent"}, compartment=compartment)
    assert writes(cloud, start) == []
