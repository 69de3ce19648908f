"""Whose is it: the tag decides, and what is not ours is never changed."""

import pytest
from oci_operator import CloudError, Operator
from tests.oci_api import seeds
from tests.oci_api.server import FakeOci
from tests.oci_api.store import Resource

pytestmark = pytest.mark.usefixtures("cloud")

VCN = {"kind": "vcn", "name": "net", "spec": {"cidr_blocks": ["10.0.0.0/16"]}}
BUCKET = {"kind": "bucket", "name": "box", "spec": {}}
TEAM = {
    "kind": "group",
    "name": "team",
    "spec": {"compartment_id": {"ref": "tenancy"}, "description": "of Atlas"},
}


def others_vcn(cloud: FakeOci, compartment: str, **tags: str) -> Resource:
    body = {
        "compartmentId": compartment,
        "displayName": "net",
        "cidrBlock": "10.0.0.0/16",
        "cidrBlocks": ["10.0.0.0/16"],
        "lifecycleState": "AVAILABLE",
        "freeformTags": tags,
        "definedTags": {},
        "defaultRouteTableId": "ocid1.routetable.a",
    }
    return cloud.store.add("vcn", body)


def test_what_is_made_carries_the_tag_and_keeps_those_given(operator, cloud, compartment):
    entry = {**VCN, "spec": {**VCN["spec"], "freeform_tags": {"team": "blue"}}}
    made = operator.apply(entry, compartment=compartment).rows["vcn"]
    assert made["freeform_tags"] == {"team": "blue", "atlas": "production"}


def test_tags_that_others_put_on_ours_stay(operator, cloud, compartment):
    made = operator.apply(VCN, compartment=compartment).rows["vcn"]
    tags = cloud.store.get(made["id"]).body["freeformTags"]
    tags["cost-centre"] = "7"
    assert not operator.apply(VCN, compartment=compartment).changed
    more = {**VCN, "spec": {**VCN["spec"], "freeform_tags": {"team": "blue"}}}
    checked = operator.apply(more, compartment=compartment, check=True)
    before, after = checked.diff["vcn net"]
    assert "cost-centre: 7" in before
    assert "cost-centre: 7" in after, "the diff does not show that it goes, as it does not"
    operator.apply(more, compartment=compartment)
    assert cloud.store.get(made["id"]).body["freeformTags"] == {
        "cost-centre": "7",
        "team": "blue",
        "atlas": "production",
    }


def test_one_of_that_name_without_a_tag_is_refused(operator, cloud, compartment):
    other = others_vcn(cloud, compartment)
    said = operator.refused(VCN, compartment=compartment)
    assert other.id in said
    assert "adopt: true" in said


def test_one_of_that_name_is_taken_over_when_asked_to(operator, cloud, compartment):
    other = others_vcn(cloud, compartment, team="blue")
    done = operator.apply({**VCN, "adopt": True}, compartment=compartment)
    assert (done.rows["vcn"]["id"], done.changes) == (other.id, ["changed vcn net: freeform_tags"])
    assert cloud.store.get(other.id).body["freeformTags"] == {"team": "blue", "atlas": "production"}
    assert not operator.apply(VCN, compartment=compartment).changed


def test_which_of_several_to_take_over_is_not_guessed(operator, cloud, compartment):
    others = [others_vcn(cloud, compartment) for _ in range(2)]
    for adopt in (True, False):
        said = operator.refused({**VCN, "adopt": adopt}, compartment=compartment)
        assert all(other.id in said for other in others)
        assert "adopt" not in said, "adopting would not help"


def test_another_owners_of_the_same_name_is_left_alone(operator, cloud, compartment):
    other = others_vcn(cloud, compartment, atlas="staging")
    done = operator.apply(VCN, compartment=compartment)
    assert done.changes == ["made vcn net"]
    assert done.rows["vcn"]["id"] != other.id
    assert cloud.store.get(other.id).body["freeformTags"] == {"atlas": "staging"}


def test_two_of_ours_are_refused(operator, cloud, compartment):
    ours = [others_vcn(cloud, compartment, atlas="production") for _ in range(2)]
    said = operator.refused(VCN, compartment=compartment)
    assert all(one.id in said for one in ours)


@pytest.mark.parametrize("entry", [BUCKET, TEAM], ids=["bucket", "group"])
def test_a_unique_name_somebody_else_has_is_refused(operator, cloud, compartment, entry):
    staging = Operator(cloud, operator.options, owner="staging")
    made = staging.apply(entry, compartment=compartment)
    said = operator.refused(entry, compartment=compartment)
    assert made.rows[entry["kind"]]["id"] in said
    assert "Choose another name" in said


def test_a_bucket_of_another_tenant_ends_with_a_sentence(operator, cloud, compartment):
    """Its name is taken, and it is not there to be seen."""
    cloud.misbehave.fail(
        100,
        method="POST",
        path="/n/axexample/b",
        status=409,
        code="BucketAlreadyExists",
        message="Either the bucket 'box' exists already or you are not authorized to create it",
    )
    with pytest.raises(CloudError, match="choose another"):
        operator.apply(BUCKET, compartment=compartment)


@pytest.mark.parametrize("tags", [{}, {"atlas": "staging"}], ids=["untagged", "staging"])
def test_only_what_is_ours_is_removed(operator, cloud, compartment, tags):
    other = others_vcn(cloud, compartment, **tags)
    done = operator.apply({**VCN, "state": "absent"}, compartment=compartment)
    assert (done.changed, done.writes) == (False, [])
    assert cloud.store.get(other.id).state == "AVAILABLE"


def test_what_is_on_its_way_out_is_no_obstacle(operator, cloud, compartment):
    for state in ("TERMINATING", "TERMINATED"):
        others_vcn(cloud, compartment, atlas="production").body["lifecycleState"] = state
    assert operator.apply(VCN, compartment=compartment).changes == ["made vcn net"]


def test_what_others_have_in_ours_is_left_alone(operator, cloud, compartment):
    """A security list somebody put into our network is none of the list's."""
    made = operator.apply(VCN, compartment=compartment).rows["vcn"]
    body = {
        "compartmentId": compartment,
        "vcnId": made["id"],
        "displayName": "theirs",
        "ingressSecurityRules": [],
        "egressSecurityRules": [],
        "freeformTags": {},
        "lifecycleState": "AVAILABLE",
    }
    theirs = cloud.store.add("securitylist", body)
    spec = {"vcn_id": {"ref": "vcn"}, "ingress_security_rules": [], "egress_security_rules": []}
    operator.apply(VCN, {"kind": "security_list", "name": "ours", "spec": spec}, compartment=compartment)
    assert cloud.store.get(theirs.id).body == {**body, "timeCreated": theirs.body["timeCreated"]}


def test_the_same_name_in_another_compartment_is_another(operator, cloud, compartment):
    elsewhere = seeds.compartment(cloud, name="elsewhere").id
    others_vcn(cloud, elsewhere)
    assert operator.apply(VCN, compartment=compartment).changes == ["made vcn net"]
