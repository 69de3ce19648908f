"""Virtual cloud networks and what is in them, but for addresses of machines (`vnics.py`)."""

from typing import Any

from tests.oci_api import addresses, errors
from tests.oci_api.addresses import cidr
from tests.oci_api.calls import Answer, Call, Kind, compartment, handles, many, one, seen
from tests.oci_api.store import Resource

OPEN_SSH: list[dict[str, Any]] = [  # what OCI gives every network, SSH from the whole world among it
    {"protocol": "6", "source": "0.0.0.0/0", "tcpOptions": {"destinationPortRange": {"min": 22, "max": 22}}},
    {"protocol": "1", "source": "0.0.0.0/0", "icmpOptions": {"type": 3, "code": 4}},
]


def before_vcn(call: Call, body: dict[str, Any]) -> None:
    blocks = body.pop("cidrBlocks", None) or []
    single = body.pop("cidrBlock", None)
    if bool(blocks) == bool(single):
        raise errors.invalid("Exactly one of cidrBlocks and cidrBlock must be given.")
    blocks = blocks or [single]
    addresses.apart([cidr(block, "cidrBlocks", widest=16, narrowest=30) for block in blocks], "cidrBlocks")
    call.cloud.charge("vcn", {"vcn-count": 1})
    body |= {"cidrBlock": blocks[0], "cidrBlocks": blocks}
    if body.pop("isIpv6Enabled", False):
        body["ipv6CidrBlocks"] = [call.cloud.ipv6_block()]
    if body.get("dnsLabel"):
        addresses.dns_label(body["dnsLabel"])
        body["vcnDomainName"] = f"{body['dnsLabel']}.oraclevcn.com"


def after_vcn(call: Call, row: Resource) -> None:
    """A network comes with a route table, a security list and DHCP options that cannot be deleted."""
    store = call.cloud.store
    icmp = {"protocol": "1", "source": row.body["cidrBlock"], "icmpOptions": {"type": 3}}
    parts: dict[str, tuple[str, dict[str, Any]]] = {
        "routetable": ("Default Route Table", {"routeRules": []}),
        "securitylist": (
            "Default Security List",
            {
                "ingressSecurityRules": [dict(rule) for rule in [*OPEN_SSH, icmp]],
                "egressSecurityRules": [{"protocol": "all", "destination": "0.0.0.0/0"}],
            },
        ),
        "dhcpoptions": (
            "Default DHCP Options",
            {
                "options": [{"type": "DomainNameServer", "serverType": "VcnLocalPlusInternet"}],
                "domainNameType": "CUSTOM_DOMAIN",
            },
        ),
    }
    named = {"routetable": "RouteTable", "securitylist": "SecurityList", "dhcpoptions": "DhcpOptions"}
    for kind, (name, body) in parts.items():
        for rules in ("ingressSecurityRules", "egressSecurityRules"):
            addresses.rules(body.get(rules, []), rules)
        made = store.add(
            kind,
            body
            | {
                "compartmentId": row.body["compartmentId"],
                "vcnId": row.id,
                "displayName": f"{name} for {row.body['displayName']}",
                "freeformTags": {},
                "definedTags": row.body["definedTags"],
                "lifecycleState": "AVAILABLE",
            },
            default_of=row.id,
        )
        row.body[f"default{named[kind]}Id"] = made.id


INSIDE = ("subnet", "internetgateway", "routetable", "securitylist", "networksecuritygroup", "dhcpoptions")


def going_vcn(call: Call, row: Resource) -> None:
    for kind in INSIDE:
        for part in call.cloud.store.of(kind, vcnId=row.id):
            if part.facts.get("default_of"):
                continue
            if kind == "internetgateway":
                raise errors.wrong_state(f"{row.id} is associated with Gateway that is in use")
            raise references("VCN", row, kind, part)


def ended_vcn(call: Call, row: Resource) -> None:
    for kind in INSIDE:
        for part in list(call.cloud.store.of(kind, vcnId=row.id)):
            call.cloud.store.remove(part)


NOUNS = {
    "subnet": "Subnet",
    "vnic": "VNIC",
    "routetable": "Route Table",
    "securitylist": "Security List",
    "networksecuritygroup": "Network Security Group",
    "dhcpoptions": "DHCP Options",
    "internetgateway": "Internet Gateway",
}


def references(noun: str, row: Resource, kind: str, other: Resource) -> errors.Refused:
    return errors.conflict(
        f"The {noun} {row.id} references the {NOUNS[kind]} {other.id}. "
        "You must remove the reference to proceed with this operation."
    )


def inside(call: Call, body: dict[str, Any]) -> Resource:
    """The network a part is to be in."""
    vcn = call.cloud.store.named(body["vcnId"], "vcn")
    if vcn.state != "AVAILABLE":
        raise errors.wrong_state(f"The VCN {vcn.id} is in the state {vcn.state}.")
    return vcn


def of_network(call: Call, ocid: object, kind: str, vcn: object) -> Resource:
    """A part that must be of the same network."""
    row = call.cloud.store.named(ocid, kind)
    if row.body["vcnId"] != vcn:
        raise errors.invalid(f"The {NOUNS[kind]} {ocid} is not in the VCN {vcn}.")
    return row


def not_default(row: Resource, noun: str) -> None:
    if row.facts.get("default_of"):
        raise errors.conflict(
            f"The {noun} {row.id} is the default of the VCN {row.facts['default_of']}; it goes with it."
        )


# Gateways and routes


def before_gateway(call: Call, body: dict[str, Any]) -> None:
    vcn = inside(call, body)
    for other in call.cloud.store.of("internetgateway", vcnId=vcn.id):
        raise over_count(
            "internet-gateway-count", f"The VCN {vcn.id} has the Internet Gateway {other.id} already."
        )


def over_count(name: str, why: str) -> errors.Refused:
    refused = errors.over_limit(name)
    refused.message += f" {why}"
    return refused


def going_gateway(call: Call, row: Resource) -> None:
    for table in call.cloud.store.of("routetable", vcnId=row.body["vcnId"]):
        if any(rule["networkEntityId"] == row.id for rule in table.body["routeRules"]):
            raise errors.conflict(
                f"The Internet Gateway {row.id} is referenced by the Route Table {table.id}. "
                "You must remove the reference to proceed with this operation."
            )


def check_routes(call: Call, vcn: object, rules: list[dict[str, Any]]) -> None:
    taken = set()
    for number, rule in enumerate(rules):
        name = f"routeRules[{number}]"
        destination = rule.pop("cidrBlock", None) or rule.get("destination")
        if not destination:
            raise errors.missing(f"{name}.destination", "field")
        rule.setdefault("destinationType", "CIDR_BLOCK")
        if rule["destinationType"] == "CIDR_BLOCK":
            cidr(destination, f"{name}.destination")
        if destination in taken:
            raise errors.invalid(f"{name}.destination: {destination} has a rule already.")
        taken.add(destination)
        of_network(call, rule["networkEntityId"], "internetgateway", vcn)
        rule |= {"destination": destination, "routeType": "STATIC"}


def before_routes(call: Call, body: dict[str, Any]) -> None:
    inside(call, body)
    check_routes(call, body["vcnId"], body["routeRules"])


def changing_routes(call: Call, row: Resource, body: dict[str, Any]) -> None:
    if "routeRules" in body:
        check_routes(call, row.body["vcnId"], body["routeRules"])


def unused_by_subnets(field: str, noun: str) -> Any:
    """A hook that refuses to delete what a subnet uses, or what came with the network."""

    def going(call: Call, row: Resource) -> None:
        not_default(row, noun)
        for subnet in call.cloud.store.of("subnet", vcnId=row.body["vcnId"]):
            used = subnet.body.get(field)
            if row.id in (used if isinstance(used, list) else [used]):
                raise references(noun, row, "subnet", subnet)

    return going


# Security lists


def before_security_list(call: Call, body: dict[str, Any]) -> None:
    inside(call, body)
    changing_security_list(call, None, body)


def changing_security_list(call: Call, row: Resource | None, body: dict[str, Any]) -> None:
    for name in ("ingressSecurityRules", "egressSecurityRules"):
        addresses.rules(body.get(name) or [], name)


def before_part(call: Call, body: dict[str, Any]) -> None:
    inside(call, body)


# Network security groups: their rules have ids and are no part of the body


def going_group(call: Call, row: Resource) -> None:
    for vnic in call.cloud.store.of("vnic"):
        if row.id in vnic.body.get("nsgIds", []):
            raise references("Network Security Group", row, "vnic", vnic)


def group(call: Call) -> Resource:
    row = seen(call, call.cloud.store.get(call.path["networkSecurityGroupId"], "networksecuritygroup"))
    if row.is_gone:
        raise errors.not_found()
    return row


def check_group_rules(call: Call, rules: list[dict[str, Any]]) -> None:
    addresses.rules(rules, "securityRules")
    for number, rule in enumerate(rules):
        end, other = (
            ("source", "destination") if rule["direction"] == "INGRESS" else ("destination", "source")
        )
        if not rule.get(end):
            raise errors.missing(f"securityRules[{number}].{end}", "field")
        if rule.get(other):
            raise errors.invalid(f"securityRules[{number}].{other} is not for {rule['direction']}.")
        if rule[f"{end}Type"] == "NETWORK_SECURITY_GROUP":
            call.cloud.store.named(rule[end], "networksecuritygroup")


@handles("core.list_network_security_group_security_rules")
def list_group_rules(call: Call) -> Answer:
    found = group(call).facts.setdefault("rules", [])
    return many(
        [rule for rule in found if call.query.get("direction") in (None, rule["direction"])], call.query
    )


@handles("core.add_network_security_group_security_rules")
def add_group_rules(call: Call) -> Answer:
    row, rules = group(call), call.body.get("securityRules") or []
    if not rules or len(rules) > 25:
        raise errors.invalid(f"securityRules must hold 1 to 25 rules, not {len(rules)}.")
    check_group_rules(call, rules)
    kept = row.facts.setdefault("rules", [])
    if len(kept) + len(rules) > 120:
        raise over_count("security-rules-per-network-security-group", f"{row.id} has {len(kept)}.")
    for rule in rules:
        rule |= {"id": f"{len(kept):04X}{call.cloud.store.ocid('r')[-6:].upper()}", "isValid": True}
        rule["timeCreated"] = call.cloud.store.stamp()
        kept.append(rule)
    row.touch()
    return Answer({"securityRules": rules}, 200)


@handles("core.update_network_security_group_security_rules")
def update_group_rules(call: Call) -> Answer:
    row, rules = group(call), call.body.get("securityRules") or []
    check_group_rules(call, rules)
    kept = {rule["id"]: rule for rule in row.facts.setdefault("rules", [])}
    for rule in rules:
        if rule["id"] not in kept:
            raise errors.invalid(f"securityRules: {rule['id']} is no rule of {row.id}.")
    for rule in rules:
        old = kept[rule["id"]]
        stays = {key: old[key] for key in ("id", "isValid", "timeCreated")}
        old.clear()
        old.update(rule | stays)
    return Answer({"securityRules": [kept[rule["id"]] for rule in rules]}, 200)


@handles("core.remove_network_security_group_security_rules")
def remove_group_rules(call: Call) -> Answer:
    row, wanted = group(call), set(call.body.get("securityRuleIds") or [])
    kept = row.facts.setdefault("rules", [])
    if unknown := sorted(wanted - {rule["id"] for rule in kept}):
        raise errors.invalid(f"securityRuleIds: {', '.join(unknown)} is no rule of {row.id}.")
    row.facts["rules"] = [rule for rule in kept if rule["id"] not in wanted]
    row.touch()
    return Answer()


@handles("core.list_network_security_group_vnics")
def list_group_vnics(call: Call) -> Answer:
    row = group(call)
    found = [
        {
            "vnicId": vnic.id,
            "resourceId": vnic.facts.get("instance"),
            "timeAssociated": vnic.body["timeCreated"],
        }
        for vnic in call.cloud.store.of("vnic")
        if row.id in vnic.body.get("nsgIds", [])
    ]
    return many(found, call.query)


# Subnets


def before_subnet(call: Call, body: dict[str, Any]) -> None:
    vcn, store = inside(call, body), call.cloud.store
    block = body.get("cidrBlock") or next(iter(body.get("ipv4CidrBlocks") or []), None)
    if not block:
        raise errors.missing("cidrBlock", "field")
    network = cidr(block, "cidrBlock", widest=16, narrowest=30)
    if not any(network.subnet_of(cidr(outer, "cidrBlocks")) for outer in vcn.body["cidrBlocks"]):
        raise errors.invalid(
            f"The CIDR block {block} is not contained in the VCN's {', '.join(vcn.body['cidrBlocks'])}."
        )
    others = list(store.of("subnet", vcnId=vcn.id))
    for other in others:
        if network.overlaps(cidr(other.body["cidrBlock"], "cidrBlock")):
            raise errors.invalid(
                f"The requested CIDR {block} overlaps {other.body['cidrBlock']} of {other.id}."
            )
        if body.get("dnsLabel") and other.body.get("dnsLabel") == body["dnsLabel"]:
            raise errors.conflict(f"The DNS label {body['dnsLabel']} is used by {other.id} already.")
    if body.get("availabilityDomain"):
        call.cloud.domain(body["availabilityDomain"])
    ipv6_of_subnet(body, vcn, others)
    body.setdefault("routeTableId", vcn.body["defaultRouteTableId"])
    body.setdefault("dhcpOptionsId", vcn.body["defaultDhcpOptionsId"])
    if not body.get("securityListIds"):
        body["securityListIds"] = [vcn.body["defaultSecurityListId"]]
    check_subnet_parts(call, vcn.id, body)
    if body.get("dnsLabel"):
        addresses.dns_label(body["dnsLabel"])
        if vcn.body.get("dnsLabel"):
            body["subnetDomainName"] = f"{body['dnsLabel']}.{vcn.body['vcnDomainName']}"
    closed = bool(body.get("prohibitPublicIpOnVnic") or body.get("prohibitInternetIngress"))
    body |= {
        "cidrBlock": block,
        "ipv4CidrBlocks": [block],
        "prohibitPublicIpOnVnic": closed,
        "prohibitInternetIngress": closed,
        "virtualRouterIp": str(network[1]),
        "virtualRouterMac": "00:00:17:00:00:01",
    }


def ipv6_of_subnet(body: dict[str, Any], vcn: Resource, others: list[Resource]) -> None:
    block = body.get("ipv6CidrBlock") or next(iter(body.get("ipv6CidrBlocks") or []), None)
    if not block:
        return
    network = cidr(block, "ipv6CidrBlock", widest=64, narrowest=64)
    if not any(
        network.subnet_of(cidr(outer, "ipv6CidrBlocks")) for outer in vcn.body.get("ipv6CidrBlocks", [])
    ):
        raise errors.invalid(f"The IPv6 CIDR block {block} is not contained in the VCN's.")
    if any(block in other.body.get("ipv6CidrBlocks", []) for other in others):
        raise errors.invalid(f"The requested IPv6 CIDR {block} overlaps another subnet's.")
    body |= {
        "ipv6CidrBlock": block,
        "ipv6CidrBlocks": [block],
        "ipv6VirtualRouterIp": "fe80::200:17ff:fe00:1",
    }


def check_subnet_parts(call: Call, vcn: object, body: dict[str, Any]) -> None:
    if body.get("routeTableId"):
        of_network(call, body["routeTableId"], "routetable", vcn)
    if body.get("dhcpOptionsId"):
        of_network(call, body["dhcpOptionsId"], "dhcpoptions", vcn)
    lists = body.get("securityListIds") or []
    if len(lists) > 5:
        raise errors.invalid("securityListIds: a subnet has at most 5 security lists.")
    for ocid in lists:
        of_network(call, ocid, "securitylist", vcn)


def changing_subnet(call: Call, row: Resource, body: dict[str, Any]) -> None:
    check_subnet_parts(call, row.body["vcnId"], body)
    if body.get("cidrBlock", row.body["cidrBlock"]) != row.body["cidrBlock"] and next(
        call.cloud.store.of("vnic", subnetId=row.id), None
    ):
        raise errors.conflict(f"The Subnet {row.id} has VNICs; its CIDR block stays.")
    if body.get("ipv6CidrBlock"):
        vcn = call.cloud.store.get(row.body["vcnId"], "vcn")
        others = [other for other in call.cloud.store.of("subnet", vcnId=vcn.id) if other is not row]
        ipv6_of_subnet(body, vcn, others)


def going_subnet(call: Call, row: Resource) -> None:
    for vnic in call.cloud.store.of("vnic", subnetId=row.id):
        raise references("Subnet", row, "vnic", vnic)


Kind("core", "vcn", "vcn", before=before_vcn, after=after_vcn, going=going_vcn, ended=ended_vcn)
Kind("core", "internetgateway", "internet_gateway", before=before_gateway, going=going_gateway)
Kind(
    "core",
    "routetable",
    "route_table",
    before=before_routes,
    changing=changing_routes,
    going=unused_by_subnets("routeTableId", "Route Table"),
)
Kind(
    "core",
    "securitylist",
    "security_list",
    before=before_security_list,
    changing=changing_security_list,
    going=unused_by_subnets("securityListIds", "Security List"),
)
Kind("core", "networksecuritygroup", "network_security_group", before=before_part, going=going_group)
Kind(
    "core",
    "dhcpoptions",
    "dhcp_options",
    "dhcp_options",
    before=before_part,
    going=unused_by_subnets("dhcpOptionsId", "DHCP Options"),
)
Kind("core", "subnet", "subnet", before=before_subnet, changing=changing_subnet, going=going_subnet)


# Blocks of a network


@handles("core.add_vcn_cidr", "core.remove_vcn_cidr", "core.modify_vcn_cidr", "core.add_ipv6_vcn_cidr")
def change_blocks(call: Call) -> Answer:
    row, store = seen(call, call.cloud.store.get(call.path["vcnId"], "vcn")), call.cloud.store
    row.expect(call.header("if-match"))
    verb = call.operation.name.split(".")[1]
    if verb == "add_ipv6_vcn_cidr":
        row.body["ipv6CidrBlocks"] = [*row.body.get("ipv6CidrBlocks", []), call.cloud.ipv6_block()]
    else:
        old = call.body.get("originalCidrBlock") if verb == "modify_vcn_cidr" else call.body.get("cidrBlock")
        new = call.body.get("newCidrBlock") if verb == "modify_vcn_cidr" else call.body.get("cidrBlock")
        blocks = [block for block in row.body["cidrBlocks"] if verb == "add_vcn_cidr" or block != old]
        if verb != "add_vcn_cidr" and len(blocks) == len(row.body["cidrBlocks"]):
            raise errors.invalid(f"cidrBlock: {old} is not of the VCN.")
        if verb != "remove_vcn_cidr":
            cidr(new, "cidrBlock", widest=16, narrowest=30)
            blocks.append(str(new))
        addresses.apart([cidr(block, "cidrBlock") for block in blocks], "cidrBlock")
        for subnet in store.of("subnet", vcnId=row.id):
            inner = cidr(subnet.body["cidrBlock"], "cidrBlock")
            if not any(inner.subnet_of(cidr(block, "cidrBlock")) for block in blocks):
                raise errors.conflict(f"The Subnet {subnet.id} is within the CIDR block {old}.")
        if not blocks:
            raise errors.invalid("cidrBlock: a VCN keeps at least one.")
        row.body |= {"cidrBlocks": blocks, "cidrBlock": blocks[0]}
    store.go(row, "UPDATING", "AVAILABLE")
    return Answer(None, 202, {"opc-work-request-id": call.cloud.work_request("UPDATE_VCN", row).id})


@handles("core.add_ipv6_subnet_cidr")
def add_ipv6_block(call: Call) -> Answer:
    row = seen(call, call.cloud.store.get(call.path["subnetId"], "subnet"))
    row.expect(call.header("if-match"))
    vcn = call.cloud.store.get(row.body["vcnId"], "vcn")
    body = {"ipv6CidrBlock": call.body["ipv6CidrBlock"]}
    ipv6_of_subnet(body, vcn, list(call.cloud.store.of("subnet", vcnId=vcn.id)))
    row.body |= body
    call.cloud.store.go(row, "UPDATING", "AVAILABLE")
    return Answer(None, 202, {"opc-work-request-id": call.cloud.work_request("UPDATE_SUBNET", row).id})


@handles("core.change_vcn_compartment")
def move_vcn(call: Call) -> Answer:
    row = seen(call, call.cloud.store.get(call.path["vcnId"], "vcn"))
    compartment(call, call.body["compartmentId"])
    row.body["compartmentId"] = call.body["compartmentId"]
    row.touch()
    return one(row)
