"""Machines, by the SDK: from no capacity to terminated."""

import base64

import pytest
from tests.oci_api.clients import refused, sdk
from tests.oci_api.server import FakeOci

models = sdk.core.models
A1 = "VM.Standard.A1.Flex"


@pytest.fixture
def subnet(oci, cloud, compartment):
    vcn = oci.network.create_vcn(
        {"compartmentId": compartment, "cidrBlock": "10.0.0.0/16", "dnsLabel": "atlas", "isIpv6Enabled": True}
    ).data
    cloud.store.hurry()
    block = vcn.ipv6_cidr_blocks[0].replace("/56", "/64")
    body = {"compartmentId": compartment, "vcnId": vcn.id, "cidrBlock": "10.0.1.0/24", "dnsLabel": "a"}
    made = oci.network.create_subnet(body | {"ipv6CidrBlock": block}).data
    cloud.store.hurry()
    return made


@pytest.fixture
def details(oci, cloud, compartment, subnet):
    (image, *_) = oci.compute.list_images(
        compartment,
        shape=A1,
        operating_system="Canonical Ubuntu",
        operating_system_version="24.04",
        sort_by="TIMECREATED",
        sort_order="DESC",
    ).data
    return {
        "compartmentId": compartment,
        "availabilityDomain": cloud.domains[0],
        "displayName": "atlas",
        "shape": A1,
        "shapeConfig": {"ocpus": 2, "memoryInGBs": 12},
        "sourceDetails": {"sourceType": "image", "imageId": image.id, "bootVolumeSizeInGBs": 60},
        "createVnicDetails": {"subnetId": subnet.id, "assignPublicIp": True, "hostnameLabel": "atlas"},
        "metadata": {
            "ssh_authorized_keys": "ssh-ed25519 AAAA",
            "user_data": base64.b64encode(b"#cloud-config").decode(),
        },
        "isPvEncryptionInTransitEnabled": True,
        "instanceOptions": {"areLegacyImdsEndpointsDisabled": True},
    }


@pytest.fixture
def machine(oci, cloud, details):
    made = oci.compute.launch_instance(details).data
    cloud.store.hurry()
    return oci.compute.get_instance(made.id).data


def test_the_newest_image_comes_first_and_fits_the_shape(oci, compartment):
    rows = oci.compute.list_images(compartment, operating_system_version="24.04", shape=A1).data
    names = [row.display_name for row in rows]
    assert names == sorted(names, reverse=True)
    assert all("aarch64" in name for name in names)
    micro = oci.compute.list_images(compartment, shape="VM.Standard.E2.1.Micro").data
    assert not any("aarch64" in row.display_name for row in micro)


def test_shapes_say_what_they_cost(oci, cloud, compartment):
    rows = oci.compute.list_shapes(compartment, availability_domain=cloud.domains[0]).data
    assert {row.shape: row.billing_type for row in rows} == {
        A1: "LIMITED_FREE",
        "VM.Standard.E2.1.Micro": "ALWAYS_FREE",
        "VM.Standard.E4.Flex": "PAID",
    }


def test_a_launch_brings_network_and_boot_volume(oci, cloud, compartment, details):
    launched = oci.compute.launch_instance(details)
    states = [launched.data.lifecycle_state]
    states += [oci.compute.get_instance(launched.data.id).data.lifecycle_state for _ in range(3)]
    assert states == ["PROVISIONING", "PROVISIONING", "STARTING", "RUNNING"]
    assert launched.data.source_details.boot_volume_size_in_gbs == 60
    assert launched.data.launch_options.is_pv_encryption_in_transit_enabled
    (attachment,) = oci.compute.list_vnic_attachments(compartment, instance_id=launched.data.id).data
    assert attachment.lifecycle_state == "ATTACHED"
    vnic = oci.network.get_vnic(attachment.vnic_id).data
    assert (vnic.private_ip, vnic.hostname_label, vnic.is_primary) == ("10.0.1.2", "atlas", True)
    public = oci.network.get_public_ip_by_ip_address({"ipAddress": vnic.public_ip}).data
    assert (public.lifetime, public.lifecycle_state) == ("EPHEMERAL", "ASSIGNED")
    attached = oci.compute.list_boot_volume_attachments(
        cloud.domains[0], compartment, instance_id=launched.data.id
    )
    boot = oci.blocks.get_boot_volume(attached.data[0].boot_volume_id).data
    assert (boot.display_name, boot.size_in_gbs) == ("atlas (Boot Volume)", 60)
    work = oci.work.get_work_request(launched.headers["opc-work-request-id"]).data
    assert (work.operation_type, work.resources[0].identifier) == ("LAUNCH_INSTANCE", launched.data.id)


def test_public_addresses_are_those_given(compartment, tmp_path):
    with FakeOci(addresses=["127.0.0.1"]) as cloud:
        assert [cloud.public_address() for _ in range(2)] == ["127.0.0.1", "203.0.113.1"]


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"shape": "VM.Big"}, 404, "shape VM.Big not found"),
        ({"shape": "VM.Standard.E2.1.Micro", "shapeConfig": None}, 400, "is not valid for image"),
        ({"shapeConfig": None}, 400, "shapeConfig.ocpus is missing"),
        ({"shapeConfig": {"ocpus": 2, "memoryInGBs": 200}}, 400, "memoryInGBs: 200 is not within"),
        ({"shapeConfig": {"ocpus": 3}}, 400, "standard-a1-core-count"),
        ({"shapeConfig": {"ocpus": "2"}}, 400, "shapeConfig.ocpus must be a number"),
        ({"availabilityDomain": "AD-1"}, 400, "availabilityDomain: AD-1 is none of"),
        ({"createVnicDetails": {}}, 400, "subnetId is missing"),
        ({"createVnicDetails": {"subnetId": "ocid1.subnet.oc1..x"}}, 404, ""),
        ({"sourceDetails": {"sourceType": "disk"}}, 400, "sourceType: disk is none of image, bootVolume"),
        ({"metadata": {"user_data": "not base64"}}, 400, "user_data is not base64"),
        (
            {"launchVolumeAttachments": [{"type": "iscsi"}]},
            501,
            "launches nothing with launchVolumeAttachments",
        ),
    ],
)
def test_what_is_not_launched(oci, cloud, details, change, status, words):
    assert words in refused(status, oci.compute.launch_instance, details | change).message
    assert list(cloud.store.of("instance")) == []


def test_no_capacity_is_an_error_of_the_server(oci, cloud, details):
    cloud.misbehave.no_capacity = ["AD-1"]
    error = refused(500, oci.compute.launch_instance, details)
    assert (error.code, error.message) == ("InternalError", "Out of host capacity.")
    report = {
        "compartmentId": cloud.tenancy,
        "availabilityDomain": cloud.domains[0],
        "shapeAvailabilities": [
            {"instanceShape": A1, "instanceShapeConfig": {"ocpus": 2, "memoryInGBs": 12}}
        ],
    }
    asked = oci.compute.create_compute_capacity_report
    assert asked(report).data.shape_availabilities[0].availability_status == "OUT_OF_HOST_CAPACITY"
    other = {"availabilityDomain": cloud.domains[1]}
    assert asked(report | other).data.shape_availabilities[0].availability_status == "AVAILABLE"
    assert oci.compute.launch_instance(details | other).data.availability_domain == cloud.domains[1]


def test_a_domain_may_lack_a_shape(oci, cloud, compartment, details):
    cloud.misbehave.no_shape = {"AD-2": [A1]}
    elsewhere = details | {"availabilityDomain": cloud.domains[1]}
    assert "not found" in refused(404, oci.compute.launch_instance, elsewhere).message
    names = [
        row.shape for row in oci.compute.list_shapes(compartment, availability_domain=cloud.domains[1]).data
    ]
    assert A1 not in names


def test_a_machine_is_changed(oci, cloud, machine):
    update = oci.compute.update_instance
    changed = update(machine.id, {"displayName": "renamed", "freeformTags": {"atlas": "test"}}).data
    assert (changed.display_name, changed.freeform_tags) == ("renamed", {"atlas": "test"})
    fixed = {"metadata": machine.metadata | {"ssh_authorized_keys": "ssh-ed25519 BBBB"}}
    assert "ssh_authorized_keys cannot be changed" in refused(400, update, machine.id, fixed).message
    assert update(machine.id, {"metadata": machine.metadata | {"more": "x"}}).data.metadata["more"] == "x"
    resized = update(machine.id, {"shapeConfig": {"ocpus": 1, "memoryInGBs": 6}}).data
    assert (resized.shape_config.ocpus, resized.lifecycle_state) == (1.0, "STOPPING")
    cloud.store.hurry()
    assert refused(400, update, machine.id, {"shapeConfig": {"ocpus": 4}}).code == "LimitExceeded"


def test_stop_and_start(oci, cloud, machine):
    assert oci.compute.instance_action(machine.id, "STOP").data.lifecycle_state == "STOPPING"
    assert refused(409, oci.compute.instance_action, machine.id, "START").code == "IncorrectState"
    cloud.store.hurry()
    assert oci.compute.get_instance(machine.id).data.lifecycle_state == "STOPPED"
    assert oci.compute.instance_action(machine.id, "START").data.lifecycle_state == "STARTING"


@pytest.mark.parametrize("keep", [True, False])
def test_a_terminated_machine_stays_listed(oci, cloud, compartment, subnet, machine, keep):
    assert "references the VNIC" in refused(409, oci.network.delete_subnet, subnet.id).message
    oci.compute.terminate_instance(machine.id, preserve_boot_volume=keep)
    refused(409, oci.network.delete_subnet, subnet.id)
    cloud.store.hurry()
    assert [row.lifecycle_state for row in oci.compute.list_instances(compartment).data] == ["TERMINATED"]
    refused(404, oci.compute.update_instance, machine.id, {"displayName": "x"})
    (boot,) = oci.blocks.list_boot_volumes(compartment_id=compartment).data
    assert boot.lifecycle_state == ("AVAILABLE" if keep else "TERMINATED")
    oci.network.delete_subnet(subnet.id)


def test_a_kept_boot_volume_starts_another_machine(oci, cloud, compartment, machine, details):
    oci.compute.terminate_instance(machine.id, preserve_boot_volume=True)
    cloud.store.hurry()
    (boot,) = oci.blocks.list_boot_volumes(compartment_id=compartment).data
    source = {"sourceType": "bootVolume", "bootVolumeId": boot.id}
    again = oci.compute.launch_instance(details | {"sourceDetails": source}).data
    assert (again.image_id, again.source_details.source_type) == (machine.image_id, "bootVolume")
    elsewhere = {"availabilityDomain": cloud.domains[1], "shapeConfig": {"ocpus": 1}, "sourceDetails": source}
    refused(409, oci.compute.launch_instance, details | elsewhere)


def vnic_of(oci, compartment, machine):
    (attachment,) = oci.compute.list_vnic_attachments(compartment, instance_id=machine.id).data
    return oci.network.get_vnic(attachment.vnic_id).data


def test_a_reserved_address_replaces_the_ephemeral_one(oci, cloud, compartment, machine):
    vnic = vnic_of(oci, compartment, machine)
    (private,) = oci.network.list_private_ips(vnic_id=vnic.id).data
    body = {"compartmentId": compartment, "lifetime": "RESERVED", "displayName": "atlas"}
    reserved = oci.network.create_public_ip(body).data
    cloud.store.hurry()
    update = oci.network.update_public_ip
    assert "already" in refused(409, update, reserved.id, {"privateIpId": private.id}).message
    ephemeral = oci.network.get_public_ip_by_private_ip_id({"privateIpId": private.id}).data
    oci.network.delete_public_ip(ephemeral.id)
    assert update(reserved.id, {"privateIpId": private.id}).data.lifecycle_state == "ASSIGNING"
    assert refused(409, update, reserved.id, {"displayName": "x"}).code == "IncorrectState"
    cloud.store.hurry()
    assert oci.network.get_public_ip(reserved.id).data.lifecycle_state == "ASSIGNED"
    assert vnic_of(oci, compartment, machine).public_ip == reserved.ip_address
    rows = oci.network.list_public_ips("REGION", compartment, lifetime="RESERVED").data
    assert [row.assigned_entity_id for row in rows] == [private.id]
    oci.compute.terminate_instance(machine.id)
    cloud.store.hurry()
    assert oci.network.get_public_ip(reserved.id).data.lifecycle_state == "AVAILABLE"
    oci.network.create_public_ip(body)
    assert refused(400, oci.network.create_public_ip, body).code == "LimitExceeded"


def test_addresses_of_a_machine(oci, cloud, compartment, machine, subnet):
    vnic = vnic_of(oci, compartment, machine)
    second = oci.network.create_private_ip({"vnicId": vnic.id, "displayName": "second"}).data
    assert (second.ip_address, second.is_primary) == ("10.0.1.3", False)
    refused(409, oci.network.create_private_ip, {"vnicId": vnic.id, "ipAddress": "10.0.1.3"})
    refused(400, oci.network.create_private_ip, {"vnicId": vnic.id, "ipAddress": "10.9.0.1"})
    (first,) = [row for row in oci.network.list_private_ips(subnet_id=subnet.id).data if row.is_primary]
    refused(409, oci.network.delete_private_ip, first.id)
    assert oci.network.update_private_ip(second.id, {"displayName": "b"}).data.display_name == "b"
    oci.network.delete_private_ip(second.id)
    refused(404, oci.network.get_private_ip, second.id)
    ipv6 = oci.network.create_ipv6({"vnicId": vnic.id}).data
    assert oci.network.get_vnic(vnic.id).data.ipv6_addresses == [ipv6.ip_address]
    assert [row.id for row in oci.network.list_ipv6s(vnic_id=vnic.id).data] == [ipv6.id]
    oci.network.delete_ipv6(ipv6.id)
    assert oci.network.get_vnic(vnic.id).data.ipv6_addresses == []


def test_a_second_vnic(oci, cloud, compartment, machine, subnet):
    given = {"instanceId": machine.id, "createVnicDetails": {"subnetId": subnet.id, "assignPublicIp": False}}
    attached = oci.compute.attach_vnic(given).data
    cloud.store.hurry()
    assert oci.compute.get_vnic_attachment(attached.id).data.lifecycle_state == "ATTACHED"
    assert oci.network.get_vnic(attached.vnic_id).data.public_ip is None
    refused(400, oci.compute.attach_vnic, given)  # the shape has two
    oci.compute.detach_vnic(attached.id)
    cloud.store.hurry()
    assert oci.network.get_vnic(attached.vnic_id).data.lifecycle_state == "TERMINATED"


def test_a_vnic_is_in_groups(oci, cloud, compartment, machine, subnet):
    vnic = vnic_of(oci, compartment, machine)
    body = {"compartmentId": compartment, "vcnId": subnet.vcn_id}
    groups = [oci.network.create_network_security_group(body).data.id for _ in range(6)]
    cloud.store.hurry()
    update = oci.network.update_vnic
    etag = oci.network.get_vnic(vnic.id).headers["etag"]
    assert (
        update(vnic.id, {"nsgIds": groups[:1], "hostnameLabel": "web"}, if_match=etag).data.nsg_ids
        == groups[:1]
    )
    refused(412, update, vnic.id, {"nsgIds": []}, if_match=etag)
    assert "at most 5" in refused(400, update, vnic.id, {"nsgIds": groups}).message
    refused(404, update, vnic.id, {"nsgIds": ["ocid1.networksecuritygroup.oc1..x"]})
    (row,) = oci.network.list_network_security_group_vnics(groups[0]).data
    assert (row.vnic_id, row.resource_id) == (vnic.id, machine.id)
    assert vnic.id in refused(409, oci.network.delete_network_security_group, groups[0]).message
    assert update(vnic.id, {"nsgIds": []}).data.nsg_ids == []
    oci.network.delete_network_security_group(groups[0])
    (private,) = oci.network.list_private_ips(vnic_id=vnic.id).data
    assert private.hostname_label == "web"


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"hostnameLabel": "two words"}, 400, "hostnameLabel: two words"),
        ({"privateIp": "10.0.1.1"}, 400, "is no address of 10.0.1.0/24 one may have"),
        ({"privateIp": "10.0.1.2"}, 409, "is in use already"),
        ({"hostnameLabel": "atlas"}, 409, "is used by"),
        ({"nsgIds": ["ocid1.networksecuritygroup.oc1..x"]}, 404, ""),
    ],
)
def test_vnics_that_cannot_be(oci, cloud, machine, subnet, change, status, words):
    given = {"instanceId": machine.id, "createVnicDetails": {"subnetId": subnet.id} | change}
    assert words in refused(status, oci.compute.attach_vnic, given).message


def test_a_closed_subnet_has_no_public_addresses(oci, cloud, compartment, subnet, details):
    body = {"compartmentId": compartment, "vcnId": subnet.vcn_id, "cidrBlock": "10.0.2.0/24"}
    closed = oci.network.create_subnet(body | {"prohibitPublicIpOnVnic": True}).data
    cloud.store.hurry()
    wanted = details | {"createVnicDetails": {"subnetId": closed.id, "assignPublicIp": True}}
    assert "prohibits public addresses" in refused(400, oci.compute.launch_instance, wanted).message
    ipv6 = details | {"createVnicDetails": {"subnetId": closed.id, "assignIpv6Ip": True}}
    assert "has no IPv6 block" in refused(400, oci.compute.launch_instance, ipv6).message
    made = oci.compute.launch_instance(details | {"createVnicDetails": {"subnetId": closed.id}}).data
    vnic = vnic_of(oci, compartment, made)
    assert (vnic.public_ip, vnic.private_ip) == (None, "10.0.2.2")
    (private,) = oci.network.list_private_ips(vnic_id=vnic.id).data
    public = {"compartmentId": compartment, "lifetime": "EPHEMERAL", "privateIpId": private.id}
    refused(400, oci.network.create_public_ip, public)
    assert (
        "privateIpId is missing"
        in refused(400, oci.network.create_public_ip, public | {"privateIpId": None}).message
    )
    refused(400, oci.network.list_public_ips, "AVAILABILITY_DOMAIN", compartment)


def test_an_ipv6_address_comes_when_asked(oci, compartment, details):
    wanted = details["createVnicDetails"] | {"assignIpv6Ip": True}
    made = oci.compute.launch_instance(details | {"createVnicDetails": wanted}).data
    (address,) = vnic_of(oci, compartment, made).ipv6_addresses
    assert address.startswith("2001:db8:")


def test_a_reserved_address_moves_and_rests(oci, cloud, compartment, machine):
    vnic = vnic_of(oci, compartment, machine)
    second = oci.network.create_private_ip({"vnicId": vnic.id}).data
    body = {"compartmentId": compartment, "lifetime": "RESERVED", "privateIpId": second.id}
    made = oci.network.create_public_ip(body).data
    cloud.store.hurry()
    assert oci.network.get_public_ip(made.id).data.private_ip_id == second.id
    resting = oci.network.update_public_ip(made.id, {"privateIpId": ""}).data
    assert (resting.lifecycle_state, resting.private_ip_id) == ("AVAILABLE", None)
    oci.network.delete_public_ip(made.id)
    cloud.store.hurry()
    refused(404, oci.network.update_public_ip, made.id, {"displayName": "x"})


def test_a_launch_is_done_once_with_a_retry_token(oci, cloud, compartment, details):
    cloud.misbehave.lose_answer(1, path="/20160918/instances")
    with pytest.raises(sdk.exceptions.RequestException):
        oci.compute.launch_instance(details, opc_retry_token="once")
    again = oci.compute.launch_instance(details, opc_retry_token="once").data
    assert [row.id for row in oci.compute.list_instances(compartment).data] == [again.id]


def test_work_is_listed(oci, cloud, compartment, machine):
    oci.compute.instance_action(machine.id, "STOP")
    rows = oci.work.list_work_requests(compartment, resource_id=machine.id).data
    assert {row.operation_type for row in rows} == {"LAUNCH_INSTANCE", "STOP"}
    assert oci.work.list_work_request_errors(rows[0].id).data == []
    refused(404, oci.work.list_work_request_errors, "ocid1.workrequest.oc1..x")
