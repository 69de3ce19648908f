"""Who there is and what holds things: compartments, groups, policies, users and their keys, regions."""

import re
import secrets
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.oci_api import errors
from tests.oci_api.calls import (
    Answer,
    Call,
    Kind,
    compartment,
    handles,
    many,
    one,
    remember,
    replayed,
    seen,
)
from tests.oci_api.store import Resource

if TYPE_CHECKING:
    from tests.oci_api.server import FakeOci

ACTIVE = ("CREATING", "ACTIVE", "DELETING", "DELETED")
AT_ONCE = ("ACTIVE", "ACTIVE")  # there, and gone, without a state between
NAMES = re.compile(r"[A-Za-z0-9_.\-+@]{1,100}")
REGIONS = {"eu-frankfurt-1": "FRA", "us-phoenix-1": "PHX", "us-ashburn-1": "IAD", "eu-zurich-1": "ZRH"}


def name(body: dict[str, Any]) -> None:
    if not NAMES.fullmatch(str(body["name"])):
        raise errors.invalid(
            f"name: {body['name']} may hold letters, digits, periods, hyphens and underscores only."
        )


# Regions and domains


@handles("identity.list_availability_domains")
def domains(call: Call) -> Answer:
    compartment(call, call.query["compartmentId"])
    made = [
        {
            "name": word,
            "id": f"ocid1.availabilitydomain.oc1..{number}",
            "compartmentId": call.query["compartmentId"],
        }
        for number, word in enumerate(call.cloud.domains, 1)
    ]
    return Answer(made)


@handles("identity.list_fault_domains")
def fault_domains(call: Call) -> Answer:
    compartment(call, call.query["compartmentId"])
    domain = call.cloud.domain(call.query["availabilityDomain"])
    same = {"compartmentId": call.query["compartmentId"], "availabilityDomain": domain}
    return Answer(
        [
            same | {"name": f"FAULT-DOMAIN-{n}", "id": f"ocid1.faultdomain.oc1..{domain}{n}".lower()}
            for n in (1, 2, 3)
        ]
    )


@handles("identity.get_tenancy")
def tenancy(call: Call) -> Answer:
    if call.path["tenancyId"] != call.cloud.tenancy:
        raise errors.not_found()
    key = REGIONS.get(call.cloud.home_region, call.cloud.home_region)
    body = {"id": call.cloud.tenancy, "name": "example", "description": "example", "homeRegionKey": key}
    return Answer(body | {"freeformTags": {}, "definedTags": {}})


@handles("identity.list_region_subscriptions")
def regions(call: Call) -> Answer:
    if call.path["tenancyId"] != call.cloud.tenancy:
        raise errors.not_found()
    names = dict.fromkeys([call.cloud.home_region, call.cloud.region])
    return Answer(
        [
            {
                "regionKey": REGIONS.get(word, word),
                "regionName": word,
                "status": "READY",
                "isHomeRegion": word == call.cloud.home_region,
            }
            for word in names
        ]
    )


@handles("identity.list_regions")
def all_regions(call: Call) -> Answer:
    return Answer([{"key": key, "name": word} for word, key in REGIONS.items()])


# Compartments


class Compartments(Kind):
    """Listed below a parent, or all with `compartmentIdInSubtree`; a delete goes on by itself."""

    def matching(self, call: Call) -> list[Resource]:
        parent, query = call.query["compartmentId"], dict(call.query)
        if query.pop("compartmentIdInSubtree", False):
            if parent != call.cloud.tenancy:
                raise errors.invalid("compartmentIdInSubtree is for the tenancy only.")
            call.query = {key: value for key, value in query.items() if key != "compartmentId"}
        return super().matching(call)

    def delete(self, call: Call) -> Answer:
        super().delete(call)
        row = call.cloud.store.rows[call.path["compartmentId"]]
        return Answer(
            None, 202, {"opc-work-request-id": call.cloud.work_request("DELETE_COMPARTMENT", row).id}
        )


HELD = ("vcn", "subnet", "instance", "volume", "bootvolume", "bucket", "publicip", "compartment", "policy")


def before_compartment(call: Call, body: dict[str, Any]) -> None:
    name(body)


def going_compartment(call: Call, row: Resource) -> None:
    for kind in HELD:
        for other in call.cloud.store.of(kind, compartmentId=row.id):
            raise errors.conflict(f"The compartment {row.id} is not empty: it holds {other.id}.")


def ended_compartment(call: Call, row: Resource) -> None:
    """A deleted one stays listed, under another name, so that its own is free."""
    row.body["name"] += f".{secrets.token_urlsafe(6)}"


Compartments(
    "identity",
    "compartment",
    "compartment",
    states=ACTIVE,
    unique="name",
    home=True,
    before=before_compartment,
    going=going_compartment,
    ended=ended_compartment,
    gone_seconds=86400,
    delete_status=202,
)


# Groups, policies, users


def in_tenancy(call: Call, body: dict[str, Any]) -> None:
    name(body)
    if body["compartmentId"] != call.cloud.tenancy:
        noun = call.operation.name.split("_", 1)[1].replace("_", " ").capitalize()
        raise errors.invalid(f"{noun} can only be created in the tenancy compartment")


def before_dynamic_group(call: Call, body: dict[str, Any]) -> None:
    in_tenancy(call, body)
    call.cloud.iam.check_rule(body["matchingRule"])


def changing_dynamic_group(call: Call, row: Resource, body: dict[str, Any]) -> None:
    if "matchingRule" in body:
        call.cloud.iam.check_rule(body["matchingRule"])


def before_policy(call: Call, body: dict[str, Any]) -> None:
    name(body)
    call.cloud.iam.check_statements(body["statements"], body["compartmentId"])


def changing_policy(call: Call, row: Resource, body: dict[str, Any]) -> None:
    if "statements" in body:
        call.cloud.iam.check_statements(body["statements"], row.body["compartmentId"])
    if ("statements" in body) != ("versionDate" in body) and "versionDate" in body:
        raise errors.invalid("versionDate is given without statements.")


def before_user(call: Call, body: dict[str, Any]) -> None:
    in_tenancy(call, body)
    body |= {"isMfaActivated": False, "emailVerified": False}
    body["capabilities"] = {
        "canUseCustomerSecretKeys": True,
        "canUseApiKeys": True,
        "canUseConsolePassword": False,
    }


def going_user(call: Call, row: Resource) -> None:
    for membership in list(call.cloud.store.of("groupmembership", userId=row.id)):
        raise errors.conflict(f"The user {row.id} is a member of {membership.body['groupId']}.")
    for kind in ("credential", "apikey"):
        for key in list(call.cloud.store.of(kind, userId=row.id)):
            call.cloud.store.remove(key)


def going_group(call: Call, row: Resource) -> None:
    for membership in call.cloud.store.of("groupmembership", groupId=row.id):
        raise errors.conflict(f"The group {row.id} has members: {membership.body['userId']}.")


def iam(noun: str, plural: str = "", **hooks: Any) -> None:
    Kind("identity", noun.replace("_", ""), noun, plural, states=AT_ONCE, unique="name", home=True, **hooks)


iam("dynamic_group", before=before_dynamic_group, changing=changing_dynamic_group)
iam("policy", "policies", before=before_policy, changing=changing_policy)
iam("user", before=before_user, going=going_user)
iam("group", before=in_tenancy, going=going_group)


@handles("identity.add_user_to_group")
def join(call: Call) -> Answer:
    call.cloud.at_home()
    if known := replayed(call):
        return one(known)
    store, body = call.cloud.store, dict(call.body)
    store.named(body["userId"], "user")
    store.named(body["groupId"], "group")
    if next(store.of("groupmembership", userId=body["userId"], groupId=body["groupId"]), None):
        raise errors.taken("The user is a member of the group already.")
    row = store.add(
        "groupmembership", body | {"compartmentId": call.cloud.tenancy, "lifecycleState": "ACTIVE"}
    )
    remember(call, row)
    return one(row)


@handles("identity.get_user_group_membership")
def membership(call: Call) -> Answer:
    return one(seen(call, call.cloud.store.get(call.path["userGroupMembershipId"], "groupmembership")))


@handles("identity.list_user_group_memberships")
def memberships(call: Call) -> Answer:
    wanted = {key: call.query[key] for key in ("userId", "groupId") if key in call.query}
    return many([row.body for row in call.cloud.store.of("groupmembership", **wanted)], call.query)


@handles("identity.remove_user_from_group")
def leave(call: Call) -> Answer:
    call.cloud.at_home()
    row = call.cloud.store.get(call.path["userGroupMembershipId"], "groupmembership")
    row.expect(call.header("if-match"))
    call.cloud.store.remove(row)
    return Answer()


# Keys of users: the secret is in the answer to its making, and never again


def user(call: Call) -> Resource:
    return call.cloud.store.get(call.path["userId"], "user")


@handles("identity.create_customer_secret_key")
def new_secret(call: Call) -> Answer:
    call.cloud.at_home()
    row, store = user(call), call.cloud.store
    if known := replayed(call):
        return one(known)
    if sum(1 for _ in store.of("credential", userId=row.id)) >= 2:
        raise errors.over_limit("customer-secret-key-count")
    body = {
        "id": secrets.token_hex(20),
        "userId": row.id,
        "displayName": call.body["displayName"],
        "lifecycleState": "ACTIVE",
    }
    made = store.add("credential", body, ocid=body["id"], secret=secrets.token_urlsafe(33))
    remember(call, made)
    return Answer(made.body | {"key": made.facts["secret"]}, 200, {"etag": made.etag})


@handles("identity.list_customer_secret_keys")
def list_secrets(call: Call) -> Answer:
    return Answer([row.body for row in call.cloud.store.of("credential", userId=user(call).id)])


def secret(call: Call) -> Resource:
    row = call.cloud.store.get(call.path["customerSecretKeyId"], "credential")
    if row.body["userId"] != user(call).id:
        raise errors.not_found()
    row.expect(call.header("if-match"))
    return row


@handles("identity.update_customer_secret_key")
def rename_secret(call: Call) -> Answer:
    row = secret(call)
    row.body.update(call.body)
    row.touch()
    return one(row)


@handles("identity.delete_customer_secret_key")
def drop_secret(call: Call) -> Answer:
    call.cloud.store.remove(secret(call))
    return Answer()


# API keys of users


@handles("identity.upload_api_key")
def upload_key(call: Call) -> Answer:
    call.cloud.at_home()
    row, store = user(call), call.cloud.store
    if sum(1 for _ in store.of("apikey", userId=row.id)) >= 3:
        raise errors.over_limit("api-key-count")
    try:
        key = serialization.load_pem_public_key(call.body["key"].encode())
    except ValueError:
        raise errors.invalid("key is no public key in PEM.") from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise errors.invalid("key is no RSA key.")
    print_ = call.cloud.keys.add_user(call.cloud.tenancy, row.id, key)
    name = f"{call.cloud.tenancy}/{row.id}/{print_}"
    if store.find(name, "apikey"):
        raise errors.taken(f"The user has the key {print_} already.")
    body = {"keyId": name, "keyValue": call.body["key"], "fingerprint": print_, "userId": row.id}
    return one(store.add("apikey", body | {"lifecycleState": "ACTIVE"}, ocid=name))


@handles("identity.list_api_keys")
def list_keys(call: Call) -> Answer:
    return Answer([row.body for row in call.cloud.store.of("apikey", userId=user(call).id)])


@handles("identity.delete_api_key")
def delete_key(call: Call) -> Answer:
    call.cloud.at_home()
    name = f"{call.cloud.tenancy}/{user(call).id}/{call.path['fingerprint']}"
    call.cloud.store.remove(call.cloud.store.get(name, "apikey"))
    call.cloud.keys.users.pop(name, None)
    return Answer()


def seed(cloud: "FakeOci") -> None:
    """The tenancy's first user, whose key the account is."""
    body = {
        "compartmentId": cloud.tenancy,
        "name": "operator@example.org",
        "description": "The operator",
        "isMfaActivated": True,
        "lifecycleState": "ACTIVE",
        "freeformTags": {},
    }
    cloud.store.add("user", body, ocid=cloud.user)
