"""A list as a whole: what entries refer to, what a check says of what is not there yet, and the diff."""

import pytest
from oci_operator import CloudError, Operator, writes
from tests.oci_api import seeds

pytestmark = pytest.mark.usefixtures("cloud")

VCN = {"kind": "vcn", "name": "net", "spec": {"cidr_blocks": ["10.0.0.0/16"]}}
TABLE = {
    "kind": "route_table",
    "name": "net",
    "spec": {"vcn_id": {"ref": "vcn"}, "route_rules": []},
}
SUBNET = {
    "kind": "subnet",
    "name": "net",
    "spec": {
        "vcn_id": {"ref": "vcn"},
        "cidr_block": "10.0.0.0/24",
        "route_table_id": {"ref": "route_table"},
    },
}
DEFAULT_LIST = {
    "key": "default",
    "kind": "security_list",
    "id": {"ref": "vcn.default_security_list_id"},
    "spec": {"vcn_id": {"ref": "vcn"}, "ingress_security_rules": [], "egress_security_rules": []},
}


def with_spec(entry, **more):
    return {**entry, "spec": {**entry["spec"], **more}}


# References


def test_entries_refer_to_earlier_ones(operator, cloud, compartment):
    rows = operator.apply(VCN, TABLE, SUBNET, compartment=compartment).rows
    assert rows["subnet"]["route_table_id"] == rows["route_table"]["id"]
    assert rows["subnet"]["vcn_id"] == rows["route_table"]["vcn_id"] == rows["vcn"]["id"]


def test_a_check_on_nothing_says_all_and_asks_for_nothing_that_hangs_on_it(operator, cloud, compartment):
    done = operator.apply(VCN, TABLE, SUBNET, DEFAULT_LIST, compartment=compartment, check=True)
    assert list(done.actions.values()) == ["create", "create", "create", "update"]
    assert done.writes == []
    assert not [path for _, path, _ in cloud.calls if "subnets" in path or "routeTables" in path]
    assert "vcn_id: pending" in done.diff["subnet net"][1]


def test_a_check_in_a_compartment_that_is_not_there_yet(operator, cloud):
    parent = {"kind": "compartment", "name": "atlas", "spec": {"description": "x"}}
    parent["spec"]["compartment_id"] = {"ref": "tenancy"}
    below = with_spec(VCN, compartment_id={"ref": "compartment"})
    assert operator.apply(parent, below, check=True).actions == {"compartment": "create", "vcn": "create"}
    assert operator.apply(parent, below).changes == ["made compartment atlas", "made vcn net"]


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ({"ref": "nothing"}, "nothing is not the key of anything before it"),
        ({"ref": "subnet"}, "subnet is not the key of anything before it"),
        ({"ref": "vcn.colour"}, "vcn has no colour"),
        ({"ref": "vcn.cidr_blocks.7"}, "vcn has no cidr_blocks.7"),
        ({"ref": "vcn.cidr_blocks.first"}, "vcn has no cidr_blocks.first"),
        ({"ref": "vcn.id.more"}, "vcn has no id.more"),
    ],
)
def test_a_reference_to_nothing_is_named(operator, compartment, reference, words):
    operator.apply(VCN, compartment=compartment)
    said = operator.refused(VCN, with_spec(TABLE, vcn_id=reference), compartment=compartment)
    assert f"route_table net: vcn_id: {words}" in said


def test_a_reference_to_what_is_to_be_absent_is_refused(operator, cloud, compartment):
    operator.apply(VCN, TABLE, compartment=compartment)
    entries = [VCN, {**TABLE, "state": "absent"}, SUBNET]
    with pytest.raises(CloudError, match="route_table_id refers to something that is not there"):
        operator.apply(*entries, compartment=compartment)
    assert not [one for one in writes(cloud) if "subnets" in one]


def test_text_with_references(operator, cloud):
    group = {
        "kind": "dynamic_group",
        "name": "machines",
        "spec": {
            "compartment_id": {"ref": "tenancy"},
            "description": "x",
            "matching_rule": {"text": "ALL {instance.compartment.id = '%s'}", "refs": ["compartment"]},
        },
    }
    parent = {
        "kind": "compartment",
        "name": "atlas",
        "spec": {"compartment_id": {"ref": "tenancy"}, "description": "x"},
    }
    checked = operator.apply(parent, group, check=True)
    assert "matching_rule: pending" in checked.diff["dynamic_group machines"][1]
    rows = operator.apply(parent, group).rows
    wanted = f"ALL {{instance.compartment.id = '{rows['compartment']['id']}'}}"
    assert rows["dynamic_group"]["matching_rule"] == wanted
    assert not operator.apply(parent, group).changed


def test_text_whose_marks_do_not_fit_its_references(operator):
    entry = {
        "kind": "dynamic_group",
        "name": "machines",
        "spec": {
            "compartment_id": {"ref": "tenancy"},
            "description": "x",
            "matching_rule": {"text": "ALL {instance.id = '%s', %s}", "refs": ["tenancy.id"]},
        },
    }
    said = operator.refused(entry)
    assert "dynamic_group machines: matching_rule" in said
    assert "%s" in said


def test_the_first_network_of_a_larger_one(operator, cloud, compartment):
    vcn = with_spec(VCN, is_ipv6_enabled=True)
    block = {"ref": "vcn.ipv6_cidr_blocks.0", "prefix": 64}
    entries = [vcn, TABLE, with_spec(SUBNET, ipv6_cidr_block=block)]
    assert operator.apply(*entries, compartment=compartment, check=True).writes == []
    rows = operator.apply(*entries, compartment=compartment).rows
    assert rows["vcn"]["ipv6_cidr_blocks"][0].replace("/56", "/64") == rows["subnet"]["ipv6_cidr_block"]
    assert not operator.apply(*entries, compartment=compartment).changed


def test_a_prefix_that_is_wider_than_its_network(operator, compartment):
    block = {"ref": "vcn.cidr_blocks.0", "prefix": 8}
    operator.apply(VCN, compartment=compartment)
    said = operator.refused(VCN, with_spec(SUBNET, cidr_block=block), compartment=compartment)
    assert said.startswith("subnet net: cidr_block")
    assert "10.0.0.0/16" in said


def test_ipv6_is_decided_when_the_network_is_made(operator, cloud, compartment):
    operator.apply(VCN, compartment=compartment)
    said = operator.refused(with_spec(VCN, is_ipv6_enabled=True), compartment=compartment)
    assert "vcn net: is_ipv6_enabled is False and cannot be changed to True" in said


def test_two_entries_with_one_key(operator, compartment):
    assert "Two entries have the key vcn" in operator.refused(VCN, VCN, compartment=compartment)


# One mistake anywhere, and nothing is done


@pytest.mark.parametrize(
    "wrong",
    [
        with_spec(SUBNET, cidr_blok="10.0.0.0/24"),
        with_spec(SUBNET, cidr_block=5),
        with_spec(SUBNET, vcn_id={"ref": "vnc"}),
        {
            "kind": "security_rules",
            "spec": {"network_security_group_id": {"ref": "vcn"}, "security_rules": 1},
        },
    ],
)
def test_one_mistake_anywhere_and_nothing_is_done(operator, compartment, wrong):
    operator.refused(VCN, TABLE, wrong, compartment=compartment)


def test_a_near_miss_is_suggested(operator, compartment):
    said = operator.refused(with_spec(VCN, cidr_block5="10.0.0.0/16"), compartment=compartment)
    assert "cidr_block5 is no field of CreateVcnDetails (did you mean cidr_block" in said


def test_a_compartment_must_be_said(operator):
    assert "vcn net: compartment_id must be given" in operator.refused(VCN)


def test_a_word_that_only_nested_models_know(operator, compartment):
    """Some of the SDK's models take any word and send UNKNOWN_ENUM_VALUE."""
    rule = {"destination": "0.0.0.0/0", "destination_type": "CIDR", "network_entity_id": "ocid1.x"}
    said = operator.refused(VCN, with_spec(TABLE, route_rules=[rule]), compartment=compartment)
    assert "destination_type must be one of CIDR_BLOCK, SERVICE_CIDR_BLOCK, not CIDR" in said


# What templates make of numbers, and how Oracle writes things


def test_numbers_that_a_template_made_text_are_numbers(operator, cloud, compartment):
    rule = {
        "protocol": "6",
        "source": "0.0.0.0/0",
        "tcp_options": {"destination_port_range": {"min": "443", "max": "443"}},
    }
    spec = {"vcn_id": {"ref": "vcn"}, "ingress_security_rules": [rule], "egress_security_rules": []}
    entry = {"kind": "security_list", "name": "net", "spec": spec}
    operator.apply(VCN, entry, compartment=compartment)
    again = operator.apply(VCN, entry, compartment=compartment)
    assert not again.changed, again.diff


def test_networks_written_otherwise_are_the_same(operator, cloud, compartment):
    vcn = with_spec(VCN, is_ipv6_enabled=True)
    rows = operator.apply(vcn, compartment=compartment).rows
    block = rows["vcn"]["ipv6_cidr_blocks"][0].replace("/56", "/64")
    entry = with_spec(SUBNET, ipv6_cidr_block=block)
    operator.apply(vcn, TABLE, entry, compartment=compartment)
    again = with_spec(SUBNET, ipv6_cidr_block=block.replace("2001:db8", "2001:0DB8"))
    assert not operator.apply(vcn, TABLE, again, compartment=compartment).changed


def test_a_lock_of_a_retention_rule_is_a_moment(operator, cloud, compartment):
    """The same moment in another notation is no change."""
    entries = [
        {"kind": "bucket", "name": "box", "spec": {}},
        {
            "kind": "retention_rule",
            "name": "lock",
            "spec": {
                "namespace": {"ref": "tenancy.namespace"},
                "bucket": {"ref": "bucket"},
                "duration": {"time_amount": "30", "time_unit": "DAYS"},
                "time_rule_locked": "2040-01-01T00:00:00Z",
            },
        },
    ]
    operator.apply(*entries, compartment=compartment)
    again = operator.apply(*entries, compartment=compartment)
    assert not again.changed, again.diff
    wrong = [entries[0], with_spec(entries[1], time_rule_locked="when I say so")]
    assert "must be a date and time" in operator.refused(*wrong, compartment=compartment)


# The diff


def test_the_diff_shows_what_differs_and_nothing_else(operator, cloud, compartment):
    gateway = {
        "kind": "internet_gateway",
        "name": "net",
        "spec": {"vcn_id": {"ref": "vcn"}, "is_enabled": True},
    }
    made = operator.apply(VCN, gateway, compartment=compartment)
    assert made.diff["vcn net"][0] == ""
    assert "cidr_blocks:\n  - 10.0.0.0/16\n" in made.diff["vcn net"][1]
    cloud.store.get(made.rows["internet_gateway"]["id"]).body["isEnabled"] = False
    checked = operator.apply(VCN, gateway, compartment=compartment, check=True)
    assert checked.diff == {"internet_gateway net": ("is_enabled: false\n", "is_enabled: true\n")}


# The default security list


def test_the_default_security_list_is_emptied_and_stays_so(operator, cloud, compartment):
    done = operator.apply(VCN, DEFAULT_LIST, compartment=compartment)
    assert done.changes[1].startswith("changed security_list default: ")
    row = cloud.store.get(done.rows["vcn"]["default_security_list_id"])
    assert row.body["ingressSecurityRules"] == row.body["egressSecurityRules"] == []
    again = operator.apply(VCN, DEFAULT_LIST, compartment=compartment)
    assert (again.changed, again.writes) == (False, [])
    ssh = {"protocol": "6", "source": "0.0.0.0/0", "isStateless": False}
    row.body["ingressSecurityRules"] = [ssh]
    checked = operator.apply(VCN, DEFAULT_LIST, compartment=compartment, check=True)
    assert "0.0.0.0/0" in checked.diff["security_list default"][0]
    operator.apply(VCN, DEFAULT_LIST, compartment=compartment)
    assert row.body["ingressSecurityRules"] == []
    assert row.body["freeformTags"] == {}, "it is Oracle's, not ours"


def test_what_is_to_be_set_right_must_be_there(operator, compartment):
    entry = {**DEFAULT_LIST, "id": "ocid1.securitylist.oc1..gone"}
    assert "security_list default: looking for it" in operator.refused(VCN, entry, compartment=compartment)


# What is not known yet, and what is there


def test_what_a_check_does_not_know_yet_may_be_what_is_there(operator, cloud, compartment):
    """A volume that stands while its machine is to be launched: in which domain is not known in a check."""
    made = operator.apply(VCN, TABLE, SUBNET, compartment=compartment)
    entry = with_spec(SUBNET, dns_label="pending")
    checked = operator.apply(VCN, TABLE, entry, compartment=compartment, check=True)
    assert (checked.actions["subnet"], checked.rows["subnet"]["id"]) == ("none", made.rows["subnet"]["id"])


def test_a_part_that_was_removed_by_hand_is_made_again(operator, cloud, compartment):
    made = operator.apply(VCN, TABLE, SUBNET, compartment=compartment)
    cloud.store.remove(cloud.store.get(made.rows["route_table"]["id"]))
    checked = operator.apply(VCN, TABLE, SUBNET, compartment=compartment, check=True)
    assert checked.actions == {"vcn": "none", "route_table": "create", "subnet": "update"}
    done = operator.apply(VCN, TABLE, SUBNET, compartment=compartment)
    assert done.rows["subnet"]["route_table_id"] == done.rows["route_table"]["id"]


def test_a_name_that_was_changed_by_hand_is_another_thing(operator, cloud, compartment):
    """Known by its name, it is made again, though Oracle remembers the first one's token."""
    made = operator.apply(VCN, compartment=compartment).rows["vcn"]
    cloud.store.get(made["id"]).body["displayName"] = "renamed"
    again = operator.apply(VCN, compartment=compartment).rows["vcn"]
    assert again["id"] != made["id"]
    assert again["display_name"] == "net"


def test_what_was_removed_a_moment_ago_is_made_again(operator, cloud, compartment):
    first = operator.apply(VCN, compartment=compartment).rows["vcn"]
    operator.apply({**VCN, "state": "absent"}, compartment=compartment)
    second = operator.apply(VCN, compartment=compartment).rows["vcn"]
    assert first["id"] != second["id"]


def test_two_owners_with_one_name_each_get_their_own(operator, cloud, compartment):
    staging = Operator(cloud, operator.options, owner="staging")
    ours, theirs = (one.apply(VCN, compartment=compartment).rows["vcn"] for one in (operator, staging))
    assert ours["id"] != theirs["id"]


def test_many_pages(operator, cloud, compartment):
    """What we look for is on the last page of a list."""
    for number in range(250):
        body = {
            "compartmentId": compartment,
            "displayName": f"other {number}",
            "lifetime": "RESERVED",
            "scope": "REGION",
            "ipAddress": "203.0.113.9",
            "lifecycleState": "AVAILABLE",
            "freeformTags": {},
        }
        cloud.store.add("publicip", body)
    cloud.limits["vcn", "reserved-public-ip-count"] = (1000, False)
    entry = {"kind": "public_ip", "name": "ours", "spec": {"lifetime": "RESERVED"}}
    made = operator.apply(entry, compartment=compartment)
    cloud.store.get(made.rows["public_ip"]["id"]).body["timeCreated"] = "2020-01-01T00:00:00.000Z"
    assert not operator.apply(entry, compartment=compartment).changed


def test_the_compartment_of_an_entry_goes_before_the_list_s(operator, cloud, compartment):
    elsewhere = seeds.compartment(cloud, name="elsewhere").id
    made = operator.apply(with_spec(VCN, compartment_id=elsewhere), compartment=compartment)
    assert made.rows["vcn"]["compartment_id"] == elsewhere
