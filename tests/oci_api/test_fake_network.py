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
