"""Compartments, groups, users and keys, by the SDK."""

import pytest
from tests.oci_api import signing
from tests.oci_api.clients import Clients, refused
from tests.oci_api.server import FakeOci


def test_a_compartment_and_its_end(oci, cloud):
    body = {"compartmentId": cloud.tenancy, "name": "atlas", "description": "Atlas"}
    made = oci.identity.create_compartment(body).data
    assert made.lifecycle_state == "CREATING"
    cloud.store.hurry()
    assert oci.identity.update_compartment(made.id, {"description": "new"}).data.description == "new"
    refused(409, oci.identity.create_compartment, body | {"name": "ATLAS"})
    inner = oci.identity.create_compartment(body | {"compartmentId": made.id, "name": "inner"}).data
    cloud.store.hurry()
    every = oci.identity.list_compartments(cloud.tenancy, compartment_id_in_subtree=True).data
    assert {row.id for row in every} == {made.id, inner.id}
    assert [row.id for row in oci.identity.list_compartments(cloud.tenancy, name="atlas").data] == [made.id]
    assert inner.id in refused(409, oci.identity.delete_compartment, made.id).message
    answer = oci.identity.delete_compartment(inner.id)
    assert answer.status == 202
    assert oci.identity.get_compartment(inner.id).data.lifecycle_state == "DELETING"
    cloud.store.hurry()
    assert oci.work.get_work_request(answer.headers["opc-work-request-id"]).data.status == "SUCCEEDED"
    gone = oci.identity.get_compartment(inner.id).data
    assert (gone.lifecycle_state, gone.name.startswith("inner.")) == ("DELETED", True)
    refused(404, oci.network.list_vcns, inner.id)


def test_the_region(oci, cloud):
    names = [row.name for row in oci.identity.list_availability_domains(cloud.tenancy).data]
    assert names == [f"Uocm:EU-FRANKFURT-1-AD-{number}" for number in (1, 2, 3)]
    assert len(oci.identity.list_fault_domains(cloud.tenancy, names[0]).data) == 3
    refused(400, oci.identity.list_fault_domains, cloud.tenancy, "AD-1")
    (region,) = oci.identity.list_region_subscriptions(cloud.tenancy).data
    assert (region.region_key, region.is_home_region) == ("FRA", True)
    assert oci.identity.get_tenancy(cloud.tenancy).data.home_region_key == "FRA"
    assert "eu-frankfurt-1" in [row.name for row in oci.identity.list_regions().data]


def test_identity_is_written_in_the_home_region_only(tmp_path):
    with FakeOci(region="eu-zurich-1", home_region="eu-frankfurt-1") as cloud:
        oci = Clients(cloud, cloud.account(tmp_path))
        rows = oci.identity.list_region_subscriptions(cloud.tenancy).data
        assert [(row.region_name, row.is_home_region) for row in rows] == [
            ("eu-frankfurt-1", True),
            ("eu-zurich-1", False),
        ]
        body = {"compartmentId": cloud.tenancy, "name": "atlas", "description": "Atlas"}
        assert refused(403, oci.identity.create_compartment, body).code == "NotAllowed"
        group = body | {"matchingRule": "instance.id = 'x'"}
        assert refused(403, oci.identity.create_dynamic_group, group).code == "NotAllowed"


@pytest.mark.parametrize(
    ("noun", "plural", "more", "change"),
    [
        (
            "dynamic_group",
            "dynamic_groups",
            {"matchingRule": "instance.id = 'x'"},
            {"matchingRule": "Any {instance.id = 'y'}"},
        ),
        (
            "policy",
            "policies",
            {"statements": ["Allow any-user to inspect compartments in tenancy"]},
            {"description": "b"},
        ),
        ("group", "groups", {}, {"description": "b"}),
        ("user", "users", {"email": "a@example.org"}, {"description": "b"}),
    ],
)
def test_what_has_a_name_of_its_own(oci, cloud, noun, plural, more, change):
    verbs = {verb: getattr(oci.identity, f"{verb}_{noun}") for verb in ("create", "get", "update", "delete")}
    body = {"compartmentId": cloud.tenancy, "name": "atlas", "description": "a"} | more
    made = verbs["create"](body).data
    assert made.lifecycle_state == "ACTIVE"
    assert refused(409, verbs["create"], body).code == "NotAuthorizedOrResourceAlreadyExists"
    assert "name: a b" in refused(400, verbs["create"], body | {"name": "a b"}).message
    assert "description is missing" in refused(400, verbs["create"], body | {"description": None}).message
    changed = verbs["update"](made.id, change).data
    for key, value in change.items():
        assert getattr(changed, {"matchingRule": "matching_rule"}.get(key, key)) == value
    assert "Unknown field name" in refused(400, verbs["update"], made.id, {"name": "b"}).message
    listed = getattr(oci.identity, f"list_{plural}")(cloud.tenancy, name="atlas").data
    assert [row.id for row in listed] == [made.id]
    refused(412, verbs["delete"], made.id, if_match="old")
    verbs["delete"](made.id)
    refused(404, verbs["get"], made.id)


def test_members_and_their_keys(oci, cloud, tmp_path):
    body = {"compartmentId": cloud.tenancy, "name": "backup", "description": "x"}
    user, group = oci.identity.create_user(body).data, oci.identity.create_group(body).data
    member = oci.identity.add_user_to_group({"userId": user.id, "groupId": group.id}).data
    refused(409, oci.identity.add_user_to_group, {"userId": user.id, "groupId": group.id})
    listed = oci.identity.list_user_group_memberships(cloud.tenancy, user_id=user.id).data
    assert [row.id for row in listed] == [member.id]
    refused(409, oci.identity.delete_group, group.id)
    secret = oci.identity.create_customer_secret_key({"displayName": "backup"}, user.id).data
    assert len(secret.key) == 44
    (again,) = oci.identity.list_customer_secret_keys(user.id).data
    assert (again.id, hasattr(again, "key")) == (secret.id, False)
    renamed = oci.identity.update_customer_secret_key(user.id, secret.id, {"displayName": "b"}).data
    assert renamed.display_name == "b"
    oci.identity.create_customer_secret_key({"displayName": "second"}, user.id)
    error = refused(400, oci.identity.create_customer_secret_key, {"displayName": "third"}, user.id)
    assert error.code == "LimitExceeded"
    oci.identity.delete_customer_secret_key(user.id, secret.id)
    refused(404, oci.identity.delete_customer_secret_key, user.id, secret.id)
    oci.identity.remove_user_from_group(member.id)
    refused(404, oci.identity.get_user_group_membership, member.id)
    oci.identity.delete_group(group.id)
    oci.identity.delete_user(user.id)


def test_a_key_is_uploaded_used_and_taken_away(oci, cloud, compartment, tmp_path):
    key = signing.new_key()
    signing.write_key(tmp_path / "new.pem", key)
    pem = signing.public_pem(key.public_key()).decode()
    made = oci.identity.upload_api_key(cloud.user, {"key": pem}).data
    theirs = Clients(
        cloud, oci.account | {"key_file": str(tmp_path / "new.pem"), "fingerprint": made.fingerprint}
    )
    assert theirs.network.list_vcns(compartment).data == []
    assert [row.fingerprint for row in oci.identity.list_api_keys(cloud.user).data] == [made.fingerprint]
    refused(400, oci.identity.upload_api_key, cloud.user, {"key": "none"})
    refused(409, oci.identity.upload_api_key, cloud.user, {"key": pem})
    oci.identity.delete_api_key(cloud.user, made.fingerprint)
    refused(401, theirs.network.list_vcns, compartment)
