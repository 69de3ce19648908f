"""Networks and what is in them, by the SDK."""

import pytest
from tests.oci_api.clients import Clients, refused, sdk
from tests.oci_api.server import FakeOci

models = sdk.core.models


@pytest.fixture
def vcn(oci: Clients, cloud: FakeOci, compartment: str):
    details = models.CreateVcnDetails(
        compartment_id=compartment, cidr_blocks=["10.0.0.0/16"], dns_label="atlas"
    )
    made = oci.network.create_vcn(details).data
    cloud.store.hurry()
    return made


def test_a_network_comes_with_its_defaults_and_is_ready_after_a_while(oci, compartment):
    details = models.CreateVcnDetails(
        compartment_id=compartment, cidr_blocks=["10.0.0.0/16"], display_name="atlas"
    )
    made = oci.network.create_vcn(details).data
    states = [made.lifecycle_state] + [oci.network.get_vcn(made.id).data.lifecycle_state for _ in range(2)]
    assert states == ["PROVISIONING", "PROVISIONING", "AVAILABLE"]
    rules = oci.network.get_security_list(made.default_security_list_id).data.ingress_security_rules
    assert [rule.source for rule in rules if rule.tcp_options] == ["0.0.0.0/0"]  # SSH from the whole world
    assert oci.network.get_route_table(made.default_route_table_id).data.route_rules == []
    assert made.defined_tags["Oracle-Tags"]["CreatedBy"] == oci.account["user"]


def test_what_a_network_may_not_be(oci, compartment):
    for body, words in [
        ({"compartmentId": compartment, "cidrBlock5": "x"}, "Unknown field cidrBlock5"),
        ({"compartmentId": compartment}, "Exactly one of cidrBlocks and cidrBlock"),
        ({"cidrBlock": "10.0.0.0/16"}, "The required field compartmentId is missing"),
        ({"compartmentId": compartment, "cidrBlock": "10.0.0.1/16"}, "not a valid CIDR block"),
        ({"compartmentId": compartment, "cidrBlock": "10.0.0.0/8"}, "must be within /16 and /30"),
        ({"compartmentId": compartment, "cidrBlocks": "10.0.0.0/16"}, "cidrBlocks must be a list"),
        ({"compartmentId": compartment, "cidrBlocks": ["10.0.0.0/16", "10.0.1.0/24"]}, "overlaps"),
        (
            {"compartmentId": compartment, "cidrBlock": "10.0.0.0/16", "dnsLabel": "my-net"},
            "dnsLabel: my-net",
        ),
    ]:
        assert words in refused(400, oci.network.create_vcn, body).message


def test_a_network_with_something_in_it_stays(oci, cloud, compartment, vcn):
    details = models.CreateInternetGatewayDetails(compartment_id=compartment, vcn_id=vcn.id, is_enabled=True)
    gateway = oci.network.create_internet_gateway(details).data
    error = refused(409, oci.network.delete_vcn, vcn.id)
    assert (error.code, error.message) == (
        "IncorrectState",
        f"{vcn.id} is associated with Gateway that is in use",
    )
    cloud.store.hurry()
    oci.network.delete_internet_gateway(gateway.id)
    cloud.store.hurry()
    oci.network.delete_vcn(vcn.id)
    assert oci.network.get_vcn(vcn.id).data.lifecycle_state == "TERMINATING"
    assert oci.network.get_vcn(vcn.id).data.lifecycle_state == "TERMINATED"
    assert [row.lifecycle_state for row in oci.network.list_vcns(compartment).data] == ["TERMINATED"]
    refused(404, oci.network.get_route_table, vcn.default_route_table_id)


def made(oci: Clients, cloud: FakeOci, noun: str, **body: object):
    """Create one and wait until it is there."""
    row = getattr(oci.network, f"create_{noun}")(body).data
    cloud.store.hurry()
    return row


def test_parts_of_a_network_are_made_changed_and_deleted(oci, cloud, compartment, vcn):
    same = {"compartmentId": compartment, "vcnId": vcn.id, "displayName": "atlas"}
    rows = {
        "internet_gateway": made(oci, cloud, "internet_gateway", **same, isEnabled=True),
        "route_table": made(oci, cloud, "route_table", **same, routeRules=[]),
        "security_list": made(
            oci, cloud, "security_list", **same, ingressSecurityRules=[], egressSecurityRules=[]
        ),
        "network_security_group": made(oci, cloud, "network_security_group", **same),
        "dhcp_options": made(
            oci,
            cloud,
            "dhcp_options",
            **same,
            options=[{"type": "DomainNameServer", "serverType": "VcnLocalPlusInternet"}],
        ),
        "subnet": made(oci, cloud, "subnet", **same, cidrBlock="10.0.1.0/24"),
    }
    for noun, row in rows.items():
        get, update = getattr(oci.network, f"get_{noun}"), getattr(oci.network, f"update_{noun}")
        etag = get(row.id).headers["etag"]
        changed = update(row.id, {"displayName": "new", "freeformTags": {"a": "b"}}, if_match=etag).data
        assert (changed.display_name, changed.freeform_tags) == ("new", {"a": "b"}), noun
        assert refused(412, update, row.id, {"displayName": "x"}, if_match=etag).code == "NoEtagMatch"
        assert "Unknown field vcnId" in refused(400, update, row.id, {"vcnId": vcn.id}).message
        plural = noun if noun == "dhcp_options" else f"{noun}s"
        listed = getattr(oci.network, f"list_{plural}")(
            compartment_id=compartment, vcn_id=vcn.id, display_name="new"
        ).data
        assert [each.id for each in listed] == [row.id]
        getattr(oci.network, f"delete_{noun}")(row.id)
        assert get(row.id).data.lifecycle_state == "TERMINATING"
        cloud.store.hurry()
        refused(404, update, row.id, {"displayName": "x"})
    oci.network.delete_vcn(vcn.id)


def test_routes_hold_their_gateway(oci, cloud, compartment, vcn):
    same = {"compartmentId": compartment, "vcnId": vcn.id}
    gateway = made(oci, cloud, "internet_gateway", **same, isEnabled=True)
    rule = {"networkEntityId": gateway.id, "destination": "0.0.0.0/0"}
    table = made(oci, cloud, "route_table", **same, routeRules=[rule])
    assert [(row.route_type, row.destination_type) for row in table.route_rules] == [("STATIC", "CIDR_BLOCK")]
    assert table.id in refused(409, oci.network.delete_internet_gateway, gateway.id).message
    assert (
        "has a rule already"
        in refused(400, oci.network.update_route_table, table.id, {"routeRules": [rule, rule]}).message
    )
    elsewhere = rule | {"networkEntityId": "ocid1.internetgateway.oc1..x"}
    refused(404, oci.network.update_route_table, table.id, {"routeRules": [elsewhere]})
    assert oci.network.update_route_table(table.id, {"routeRules": []}).data.route_rules == []
    oci.network.delete_internet_gateway(gateway.id)
    refused(400, oci.network.create_internet_gateway, {**same})  # isEnabled is missing


def test_a_second_gateway_is_over_the_limit(oci, cloud, compartment, vcn):
    body = {"compartmentId": compartment, "vcnId": vcn.id, "isEnabled": True}
    oci.network.create_internet_gateway(body)
    assert refused(400, oci.network.create_internet_gateway, body).code == "LimitExceeded"


def tcp(low: int, high: int, **more: object) -> dict[str, object]:
    ports = {"destinationPortRange": {"min": low, "max": high}}
    return {"protocol": "6", "source": "0.0.0.0/0", "tcpOptions": ports} | more


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (tcp(443, 80), "443-80 is no range of ports"),
        (tcp(0, 80), "0-80 is no range"),
        (tcp(22, 22, source="10.0.0.1/8"), "10.0.0.1/8 is not a valid CIDR block"),
        (tcp(22, 22, protocol="tcp"), "tcp is neither all nor the number"),
        (tcp(22, 22, protocol="17"), "tcpOptions is only for the protocol 6"),
        (tcp(22, 22, sourceType="NETWORK_SECURITY_GROUP"), "is none of CIDR_BLOCK, SERVICE_CIDR_BLOCK"),
        ({"protocol": "6"}, "source is missing"),
        ({"protocol": "1", "source": "0.0.0.0/0", "icmpOptions": {"code": 4}}, "icmpOptions.type is missing"),
        (
            {"protocol": "6", "source": "0.0.0.0/0", "ports": []},
            "Unknown field ingressSecurityRules[0].ports",
        ),
    ],
)
def test_rules_that_are_none(oci, compartment, vcn, rule, words):
    body = {"compartmentId": compartment, "vcnId": vcn.id}
    body |= {"ingressSecurityRules": [rule], "egressSecurityRules": []}
    assert words in refused(400, oci.network.create_security_list, body).message


def test_rules_of_a_group_have_ids(oci, cloud, compartment, vcn):
    group = made(oci, cloud, "network_security_group", compartmentId=compartment, vcnId=vcn.id)
    add, remove = (
        oci.network.add_network_security_group_security_rules,
        oci.network.remove_network_security_group_security_rules,
    )
    rules = [tcp(port, port, direction="INGRESS") for port in (80, 443)]
    added = add(group.id, {"securityRules": rules}).data.security_rules
    assert [(rule.is_valid, rule.is_stateless, rule.source_type) for rule in added] == [
        (True, False, "CIDR_BLOCK")
    ] * 2
    listed = oci.network.list_network_security_group_security_rules
    assert [rule.id for rule in listed(group.id).data] == [rule.id for rule in added]
    assert listed(group.id, direction="EGRESS").data == []
    change = tcp(8443, 8443, direction="INGRESS", id=added[0].id)
    oci.network.update_network_security_group_security_rules(group.id, {"securityRules": [change]})
    remove(group.id, {"securityRuleIds": [added[1].id]})
    assert [rule.tcp_options.destination_port_range.min for rule in listed(group.id).data] == [8443]
    refused(400, remove, group.id, {"securityRuleIds": ["none"]})
    assert (
        "source is missing"
        in refused(400, add, group.id, {"securityRules": [{"direction": "INGRESS", "protocol": "6"}]}).message
    )
    assert (
        "EGRESS, INGRESS"
        in refused(400, add, group.id, {"securityRules": [tcp(1, 1, direction="IN")]}).message
    )
    refused(400, add, group.id, {"securityRules": [tcp(22, 22, direction="INGRESS")] * 26})
    assert oci.network.list_network_security_group_vnics(group.id).data == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"cidrBlock": "10.1.0.0/24"}, "is not contained in the VCN's 10.0.0.0/16"),
        ({"cidrBlock": "10.0.1.0/25"}, "overlaps 10.0.1.0/24"),
        ({"cidrBlock": "10.0.2.0/24", "dnsLabel": "two.words"}, "dnsLabel: two.words"),
        ({"cidrBlock": "10.0.2.0/24", "availabilityDomain": "AD-1"}, "AD-1 is none of"),
        ({"cidrBlock": "10.0.2.0/24", "prohibitPublicIpOnVnic": "no"}, "must be true or false"),
    ],
)
def test_where_a_subnet_may_not_be(oci, cloud, compartment, vcn, body, words):
    same = {"compartmentId": compartment, "vcnId": vcn.id}
    made(oci, cloud, "subnet", **same, cidrBlock="10.0.1.0/24", dnsLabel="one")
    assert words in refused(400, oci.network.create_subnet, same | body).message
    again = same | {"cidrBlock": "10.0.3.0/24", "dnsLabel": "one"}
    refused(409, oci.network.create_subnet, again)


def test_what_a_subnet_uses_stays(oci, cloud, compartment, vcn):
    same = {"compartmentId": compartment, "vcnId": vcn.id}
    table = made(oci, cloud, "route_table", **same, routeRules=[])
    rules = made(oci, cloud, "security_list", **same, ingressSecurityRules=[], egressSecurityRules=[])
    subnet = made(
        oci,
        cloud,
        "subnet",
        **same,
        cidrBlock="10.0.1.0/24",
        routeTableId=table.id,
        securityListIds=[rules.id],
    )
    assert (subnet.prohibit_public_ip_on_vnic, subnet.virtual_router_ip) == (False, "10.0.1.1")
    assert subnet.id in refused(409, oci.network.delete_route_table, table.id).message
    assert subnet.id in refused(409, oci.network.delete_security_list, rules.id).message
    assert subnet.id in refused(409, oci.network.delete_vcn, vcn.id).message
    assert (
        "is the default"
        in refused(409, oci.network.delete_security_list, vcn.default_security_list_id).message
    )
    default = oci.network.create_subnet(same | {"cidrBlock": "10.0.2.0/24"}).data
    assert default.security_list_ids == [vcn.default_security_list_id]  # which opens SSH to the world


def test_blocks_are_added_and_removed(oci, cloud, compartment, vcn):
    oci.network.add_vcn_cidr(vcn.id, {"cidrBlock": "10.1.0.0/16"})
    cloud.store.hurry()
    assert oci.network.get_vcn(vcn.id).data.cidr_blocks == ["10.0.0.0/16", "10.1.0.0/16"]
    made(oci, cloud, "subnet", compartmentId=compartment, vcnId=vcn.id, cidrBlock="10.1.1.0/24")
    refused(409, oci.network.remove_vcn_cidr, vcn.id, {"cidrBlock": "10.1.0.0/16"})
    refused(400, oci.network.add_vcn_cidr, vcn.id, {"cidrBlock": "10.0.0.0/24"})
    oci.network.remove_vcn_cidr(vcn.id, {"cidrBlock": "10.0.0.0/16"})
    cloud.store.hurry()
    assert oci.network.get_vcn(vcn.id).data.cidr_blocks == ["10.1.0.0/16"]


def test_lists_come_in_pages_and_are_filtered(oci, cloud, compartment):
    cloud.limits["vcn", "vcn-count"] = (10, False)
    for number in range(5):
        body = {"compartmentId": compartment, "cidrBlock": f"10.{number}.0.0/16", "displayName": f"n{number}"}
        oci.network.create_vcn(body)
    pages, page = [], None
    while True:
        answer = oci.network.list_vcns(compartment, limit=2, **({"page": page} if page else {}))
        pages.append([row.display_name for row in answer.data])
        page = answer.next_page
        if not page:
            break
    assert pages == [["n4", "n3"], ["n2", "n1"], ["n0"]]
    rows = oci.network.list_vcns(compartment, sort_by="DISPLAYNAME", sort_order="ASC", limit=1).data
    assert rows[0].display_name == "n0"
    assert oci.network.list_vcns(compartment, lifecycle_state="TERMINATED").data == []
    assert "page: x" in refused(400, oci.network.list_vcns, compartment, page="x").message
    refused(400, oci.network.list_vcns, compartment, limit=0)
    refused(404, oci.network.list_vcns, "ocid1.compartment.oc1..x")
    assert (
        refused(400, oci.network.base_client.call_api, "/vcns", "GET", {}, {"page": "1"}).code
        == "MissingParameter"
    )
    wrong = {"compartmentId": compartment, "vcnName": "x"}
    assert (
        "Unknown query parameter vcnName"
        in refused(400, oci.network.base_client.call_api, "/vcns", "GET", {}, wrong).message
    )


def test_two_networks_are_free(oci, cloud, compartment, vcn):
    body = {"compartmentId": compartment, "cidrBlock": "10.1.0.0/16"}
    oci.network.create_vcn(body)
    error = refused(400, oci.network.create_vcn, body)
    assert (
        error.code,
        error.message.startswith("The following service limits were exceeded: vcn-count"),
    ) == (
        "LimitExceeded",
        True,
    )


def test_blocks_of_ipv6(oci, cloud, compartment, vcn):
    subnet = made(oci, cloud, "subnet", compartmentId=compartment, vcnId=vcn.id, cidrBlock="10.0.1.0/24")
    wanted = {"ipv6CidrBlock": "2001:db8:ffff::/64"}
    assert "not contained" in refused(400, oci.network.add_ipv6_subnet_cidr, subnet.id, wanted).message
    oci.network.add_ipv6_vcn_cidr(vcn.id, add_vcn_ipv6_cidr_details={})
    cloud.store.hurry()
    (block,) = oci.network.get_vcn(vcn.id).data.ipv6_cidr_blocks
    inner = block.replace("/56", "/64")
    oci.network.add_ipv6_subnet_cidr(subnet.id, {"ipv6CidrBlock": inner})
    cloud.store.hurry()
    assert oci.network.get_subnet(subnet.id).data.ipv6_cidr_blocks == [inner]
    body = {"compartmentId": compartment, "vcnId": vcn.id, "cidrBlock": "10.0.2.0/24"}
    assert (
        "overlaps another" in refused(400, oci.network.create_subnet, body | {"ipv6CidrBlock": inner}).message
    )
    refused(400, oci.network.create_subnet, body | {"ipv6CidrBlock": block})


def test_a_network_moves_to_another_compartment(oci, cloud, compartment, vcn):
    other = oci.identity.create_compartment(
        {"compartmentId": cloud.tenancy, "name": "other", "description": "x"}
    ).data
    oci.network.change_vcn_compartment(vcn.id, {"compartmentId": other.id})
    assert [row.id for row in oci.network.list_vcns(other.id).data] == [vcn.id]
    refused(404, oci.network.change_vcn_compartment, vcn.id, {"compartmentId": "ocid1.compartment.oc1..x"})
    assert vcn.id in refused(409, oci.identity.delete_compartment, other.id).message


def test_a_block_is_exchanged(oci, cloud, vcn):
    change = {"originalCidrBlock": "10.0.0.0/16", "newCidrBlock": "10.5.0.0/16"}
    oci.network.modify_vcn_cidr(vcn.id, change)
    cloud.store.hurry()
    assert oci.network.get_vcn(vcn.id).data.cidr_block == "10.5.0.0/16"
    refused(400, oci.network.modify_vcn_cidr, vcn.id, change)


def test_a_network_being_made_takes_no_parts(oci, compartment):
    made_now = oci.network.create_vcn({"compartmentId": compartment, "cidrBlock": "10.0.0.0/16"}).data
    body = {"compartmentId": compartment, "vcnId": made_now.id, "cidrBlock": "10.0.1.0/24"}
    assert refused(409, oci.network.create_subnet, body).code == "IncorrectState"
    assert refused(409, oci.network.update_vcn, made_now.id, {"displayName": "x"}).code == "IncorrectState"
