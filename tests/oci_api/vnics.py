"""Addresses of machines: VNICs, private and public addresses."""

import ipaddress
import secrets
from typing import Any

from tests.oci_api import addresses, errors
from tests.oci_api.calls import Answer, Call, Kind, handles, one, remember, replayed, seen, slow
from tests.oci_api.store import Resource

ASSIGNED = ("ASSIGNING", "ASSIGNED")


# VNICs


def check_vnic(call: Call, details: dict[str, Any]) -> Resource:
    """Refuse a VNIC that cannot be, before anything is made. Returns its subnet."""
    if not details.get("subnetId"):
        raise errors.missing("createVnicDetails.subnetId", "field")
    store = call.cloud.store
    subnet = store.named(details["subnetId"], "subnet")
    if subnet.state != "AVAILABLE":
        raise errors.wrong_state(f"The Subnet {subnet.id} is in the state {subnet.state}.")
    check_groups(call, details.get("nsgIds") or [], subnet.body["vcnId"])
    if details.get("assignPublicIp") and subnet.body["prohibitPublicIpOnVnic"]:
        raise errors.invalid(
            f"assignPublicIp: the Subnet {subnet.id} prohibits public addresses on its VNICs."
        )
    if details.get("assignIpv6Ip") and not subnet.body.get("ipv6CidrBlocks"):
        raise errors.invalid(f"assignIpv6Ip: the Subnet {subnet.id} has no IPv6 block.")
    if details.get("hostnameLabel"):
        check_hostname(call, details["hostnameLabel"], subnet)
    if details.get("privateIp"):
        free(call, subnet, str(details["privateIp"]))
    return subnet


def check_groups(call: Call, groups: list[str], vcn: object) -> None:
    if len(groups) > 5:
        raise errors.invalid("nsgIds: a VNIC is in at most 5 network security groups.")
    for ocid in groups:
        if call.cloud.store.named(ocid, "networksecuritygroup").body["vcnId"] != vcn:
            raise errors.invalid(f"nsgIds: {ocid} is not in the VCN {vcn}.")


def check_hostname(call: Call, label: str, subnet: Resource) -> None:
    addresses.dns_label(label, "hostnameLabel", longest=63)
    if not subnet.body.get("dnsLabel"):
        raise errors.invalid(f"hostnameLabel: the Subnet {subnet.id} has no DNS label.")
    for other in call.cloud.store.of("privateip", subnetId=subnet.id):
        if other.body.get("hostnameLabel") == label:
            raise errors.conflict(f"The hostname label {label} is used by {other.id} already.")


def free(call: Call, subnet: Resource, wanted: str = "") -> str:
    """A free address of the subnet: this one, or the lowest. The first two and the last are OCI's own."""
    network = ipaddress.ip_network(subnet.body["cidrBlock"])
    taken = {row.body["ipAddress"] for row in call.cloud.store.of("privateip", subnetId=subnet.id)}
    if wanted:
        try:
            inside = ipaddress.ip_address(wanted) in network
        except ValueError:
            inside = False
        if not inside or wanted in (str(network[0]), str(network[1]), str(network[-1])):
            raise errors.invalid(f"privateIp: {wanted} is no address of {network} one may have.")
        if wanted in taken:
            raise errors.conflict(f"The private IP {wanted} is in use already.")
        return wanted
    for address in list(network.hosts())[1:]:
        if str(address) not in taken:
            return str(address)
    raise errors.conflict(f"The Subnet {subnet.id} has no free address.")


def make_vnic(
    call: Call, details: dict[str, Any], instance: Resource, *, primary: bool
) -> tuple[Resource, Resource]:
    """A VNIC with its addresses, and its attachment to the instance."""
    store = call.cloud.store
    subnet = check_vnic(call, details)
    same = {
        "compartmentId": instance.body["compartmentId"],
        "availabilityDomain": instance.body["availabilityDomain"],
    }
    vnic = store.add(
        "vnic",
        same
        | {
            "displayName": details.get("displayName") or instance.body["displayName"],
            "hostnameLabel": details.get("hostnameLabel"),
            "isPrimary": primary,
            "lifecycleState": "PROVISIONING",
            "macAddress": "02:00:17:" + ":".join(f"{secrets.randbelow(256):02X}" for _ in range(3)),
            "nsgIds": list(details.get("nsgIds") or []),
            "skipSourceDestCheck": bool(details.get("skipSourceDestCheck")),
            "subnetId": subnet.id,
            "freeformTags": details.get("freeformTags") or {},
            "definedTags": details.get("definedTags") or {},
        },
        instance=instance.id,
    )
    private = add_private_ip(call, vnic, subnet, details, primary=True)
    vnic.body["privateIp"] = private.body["ipAddress"]
    if details.get("assignPublicIp", not subnet.body["prohibitPublicIpOnVnic"]):
        ephemeral(call, private)
    if details.get("assignIpv6Ip"):
        add_ipv6(call, vnic, subnet, {})
    attachment = store.add(
        "vnicattachment",
        same
        | {
            "displayName": details.get("displayName"),
            "instanceId": instance.id,
            "subnetId": subnet.id,
            "vnicId": vnic.id,
            "nicIndex": 0,
            "vlanTag": 100 + secrets.randbelow(3900),
        },
    )

    def attached() -> None:
        vnic.body["lifecycleState"] = "AVAILABLE"

    store.go(attachment, "ATTACHING", "ATTACHED", then=attached)
    slow(call, attachment)
    return vnic, attachment


def drop_vnic(call: Call, vnic: Resource) -> None:
    """A VNIC goes with its private and ephemeral addresses; a reserved one is free again."""
    store = call.cloud.store
    for private in list(store.of("privateip", vnicId=vnic.id)):
        drop_private_ip(call, private)
    for ipv6 in list(store.of("ipv6", vnicId=vnic.id)):
        store.remove(ipv6)
    for attachment in list(store.of("vnicattachment", vnicId=vnic.id)):
        store.end(attachment, "DETACHED")
    store.end(vnic, "TERMINATED")


@handles("core.get_vnic")
def get_vnic(call: Call) -> Answer:
    return one(seen(call, call.cloud.store.get(call.path["vnicId"], "vnic")))


@handles("core.update_vnic")
def update_vnic(call: Call) -> Answer:
    row, body = call.cloud.store.named(call.path["vnicId"], "vnic"), dict(call.body)
    row.expect(call.header("if-match"))
    subnet = call.cloud.store.get(row.body["subnetId"], "subnet")
    if "nsgIds" in body:
        check_groups(call, body["nsgIds"], subnet.body["vcnId"])
    if body.get("hostnameLabel") and body["hostnameLabel"] != row.body.get("hostnameLabel"):
        check_hostname(call, body["hostnameLabel"], subnet)
        primary_ip(call, row).body["hostnameLabel"] = body["hostnameLabel"]
    row.body.update(body)
    row.touch()
    return one(row)


def primary_ip(call: Call, vnic: Resource) -> Resource:
    return next(row for row in call.cloud.store.of("privateip", vnicId=vnic.id) if row.body["isPrimary"])


# Private addresses


def add_private_ip(
    call: Call, vnic: Resource, subnet: Resource, details: dict[str, Any], *, primary: bool = False
) -> Resource:
    return call.cloud.store.add(
        "privateip",
        {
            "availabilityDomain": subnet.body.get("availabilityDomain"),
            "compartmentId": vnic.body["compartmentId"],
            "displayName": details.get("displayName") or vnic.body["displayName"],
            "hostnameLabel": details.get("hostnameLabel"),
            "ipAddress": free(call, subnet, str(details.get("privateIp") or details.get("ipAddress") or "")),
            "isPrimary": primary,
            "subnetId": subnet.id,
            "vnicId": vnic.id,
            "freeformTags": details.get("freeformTags") or {},
            "definedTags": details.get("definedTags") or {},
        },
    )


def drop_private_ip(call: Call, private: Resource) -> None:
    store = call.cloud.store
    for public in list(store.of("publicip", privateIpId=private.id)):
        unassign(call, public)
    store.remove(private)


class PrivateIps(Kind):
    """Secondary ones come and go; they have no states."""

    def create(self, call: Call) -> Answer:
        if known := replayed(call):
            return one(known)
        if not call.body.get("vnicId"):
            raise errors.missing("vnicId", "field")
        vnic = call.cloud.store.named(call.body["vnicId"], "vnic")
        subnet = call.cloud.store.get(vnic.body["subnetId"], "subnet")
        if call.body.get("hostnameLabel"):
            check_hostname(call, call.body["hostnameLabel"], subnet)
        row = add_private_ip(call, vnic, subnet, dict(call.body))
        remember(call, row)
        return one(row)

    def list(self, call: Call) -> Answer:
        if not {"vnicId", "subnetId", "ipAddress"} & call.query.keys():
            raise errors.invalid("One of vnicId, subnetId and ipAddress must be given.")
        return super().list(call)


def going_private_ip(call: Call, row: Resource) -> None:
    if row.body["isPrimary"]:
        raise errors.conflict(f"The private IP {row.id} is the primary one of its VNIC; it goes with it.")
    for public in list(call.cloud.store.of("publicip", privateIpId=row.id)):
        unassign(call, public)


PrivateIps("core", "privateip", "private_ip", states=("", ""), going=going_private_ip)


# IPv6


def add_ipv6(call: Call, vnic: Resource, subnet: Resource, details: dict[str, Any]) -> Resource:
    network = ipaddress.IPv6Network(subnet.body["ipv6CidrBlocks"][0])
    address = str(details.get("ipAddress") or network[secrets.randbelow(1 << 32) + 0x1000])
    try:
        inside = ipaddress.ip_address(address) in network
    except ValueError:
        inside = False
    if not inside:
        raise errors.invalid(f"ipAddress: {address} is not in {network}.")
    if next(call.cloud.store.of("ipv6", ipAddress=address), None):
        raise errors.conflict(f"The IPv6 {address} is in use already.")
    body = {
        "compartmentId": vnic.body["compartmentId"],
        "displayName": details.get("displayName") or vnic.body["displayName"],
        "ipAddress": address,
        "subnetId": subnet.id,
        "vnicId": vnic.id,
        "freeformTags": details.get("freeformTags") or {},
        "definedTags": details.get("definedTags") or {},
        "lifecycleState": "AVAILABLE",
    }
    row = call.cloud.store.add("ipv6", body)
    vnic.body["ipv6Addresses"] = [*vnic.body.get("ipv6Addresses", []), address]
    return row


class Ipv6s(Kind):
    def create(self, call: Call) -> Answer:
        if known := replayed(call):
            return one(known)
        if not call.body.get("vnicId"):
            raise errors.missing("vnicId", "field")
        vnic = call.cloud.store.named(call.body["vnicId"], "vnic")
        subnet = call.cloud.store.get(vnic.body["subnetId"], "subnet")
        if not subnet.body.get("ipv6CidrBlocks"):
            raise errors.invalid(f"The Subnet {subnet.id} has no IPv6 block.")
        row = add_ipv6(call, vnic, subnet, dict(call.body))
        remember(call, row)
        return one(row)


def going_ipv6(call: Call, row: Resource) -> None:
    vnic = call.cloud.store.find(row.body["vnicId"], "vnic")
    if vnic:
        vnic.body["ipv6Addresses"] = [
            word for word in vnic.body["ipv6Addresses"] if word != row.body["ipAddress"]
        ]


Ipv6s("core", "ipv6", "ipv6", going=going_ipv6)


# Public addresses


def ephemeral(call: Call, private: Resource) -> Resource:
    """An address that lives as long as its private one is the machine's."""
    vnic = call.cloud.store.get(private.body["vnicId"], "vnic")
    row = call.cloud.store.add(
        "publicip",
        {
            "compartmentId": private.body["compartmentId"],
            "availabilityDomain": vnic.body["availabilityDomain"],
            "displayName": vnic.body["displayName"],
            "ipAddress": call.cloud.public_address(),
            "lifetime": "EPHEMERAL",
            "scope": "AVAILABILITY_DOMAIN",
            "lifecycleState": "ASSIGNED",
            "freeformTags": {},
            "definedTags": {},
        },
    )
    bind(call, row, private)
    return row


def bind(call: Call, public: Resource, private: Resource) -> None:
    public.body |= {
        "privateIpId": private.id,
        "assignedEntityId": private.id,
        "assignedEntityType": "PRIVATE_IP",
    }
    show_on_vnic(call, private, public.body["ipAddress"])


def show_on_vnic(call: Call, private: Resource, address: str | None) -> None:
    vnic = call.cloud.store.find(private.body["vnicId"], "vnic")
    if vnic and private.body["isPrimary"]:
        vnic.body["publicIp"] = address


def unassign(call: Call, public: Resource) -> None:
    """A reserved address is free again, an ephemeral one is gone."""
    private = call.cloud.store.find(public.body.get("privateIpId"), "privateip")
    if private:
        show_on_vnic(call, private, None)
    public.body |= {"privateIpId": None, "assignedEntityId": None, "assignedEntityType": None}
    if public.body["lifetime"] == "EPHEMERAL":
        call.cloud.store.end(public, "TERMINATED")
    else:
        call.cloud.store.go(public, "AVAILABLE")


def assignable(call: Call, ocid: object) -> Resource:
    """The private address a public one is to be bound to: it has none yet, and its subnet allows it."""
    private = call.cloud.store.named(ocid, "privateip")
    subnet = call.cloud.store.get(private.body["subnetId"], "subnet")
    if subnet.body["prohibitPublicIpOnVnic"]:
        raise errors.invalid(f"privateIpId: the Subnet {subnet.id} prohibits public addresses on its VNICs.")
    for other in call.cloud.store.of("publicip", privateIpId=private.id):
        raise errors.conflict(f"The private IP {private.id} has the public IP {other.id} already.")
    return private


def before_public_ip(call: Call, body: dict[str, Any]) -> None:
    if body["lifetime"] == "RESERVED":
        call.cloud.charge("vcn", {"reserved-public-ip-count": 1})
        body["scope"] = "REGION"
    else:
        if not body.get("privateIpId"):
            raise errors.missing("privateIpId", "field")
        body["scope"] = "AVAILABILITY_DOMAIN"
    if body.get("privateIpId"):
        assignable(call, body["privateIpId"])
    body["ipAddress"] = call.cloud.public_address()


def after_public_ip(call: Call, row: Resource) -> None:
    if not row.body.get("privateIpId"):
        return
    private = call.cloud.store.get(row.body["privateIpId"], "privateip")
    if row.body["lifetime"] == "EPHEMERAL":
        vnic = call.cloud.store.get(private.body["vnicId"], "vnic")
        row.body["availabilityDomain"] = vnic.body["availabilityDomain"]
    bind(call, row, private)
    call.cloud.store.go(row, *ASSIGNED)
    slow(call, row)


def changing_public_ip(call: Call, row: Resource, body: dict[str, Any]) -> None:
    """`privateIpId` assigns, another moves, an empty one unassigns."""
    if "privateIpId" not in body:
        return
    wanted = body.pop("privateIpId")
    if wanted == (row.body.get("privateIpId") or ""):
        return
    if row.body["lifetime"] == "EPHEMERAL":
        raise errors.invalid(
            "privateIpId: an ephemeral public IP stays where it is; unassign it by deleting it."
        )
    private = assignable(call, wanted) if wanted else None
    if row.body.get("privateIpId"):
        unassign(call, row)
    if private:
        bind(call, row, private)
        call.cloud.store.go(row, *ASSIGNED)
        slow(call, row)


def going_public_ip(call: Call, row: Resource) -> None:
    private = call.cloud.store.find(row.body.get("privateIpId"), "privateip")
    if private:
        show_on_vnic(call, private, None)
    row.body["privateIpId"] = None


class PublicIps(Kind):
    def list(self, call: Call) -> Answer:
        if call.query["scope"] == "AVAILABILITY_DOMAIN" and not call.query.get("availabilityDomain"):
            raise errors.missing("availabilityDomain", "query parameter")
        return super().list(call)

    def update(self, call: Call) -> Answer:
        row = self.row(call)
        if row.state in ("ASSIGNING", "PROVISIONING"):
            raise errors.wrong_state(f"The public IP {row.id} is in the state {row.state}.")
        return super().update(call)


PublicIps(
    "core",
    "publicip",
    "public_ip",
    before=before_public_ip,
    after=after_public_ip,
    changing=changing_public_ip,
    going=going_public_ip,
)


@handles("core.get_public_ip_by_ip_address", "core.get_public_ip_by_private_ip_id")
def public_ip_by(call: Call) -> Answer:
    for row in call.cloud.store.of("publicip", **call.body):
        return one(seen(call, row))
    raise errors.not_found()
