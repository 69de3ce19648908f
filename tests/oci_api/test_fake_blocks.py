"""Volumes, their backups and attachments, by the SDK."""

import pytest
from tests.oci_api import seeds
from tests.oci_api.clients import refused, sdk

models = sdk.core.models


@pytest.fixture
def volume(oci, cloud, compartment):
    details = models.CreateVolumeDetails(
        compartment_id=compartment,
        availability_domain=cloud.domains[0],
        size_in_gbs=60,
        display_name="data",
        freeform_tags={"atlas": "production"},
    )
    made = oci.blocks.create_volume(details).data
    cloud.store.hurry()
    return made


def test_a_volume_grows_and_never_shrinks(oci, cloud, compartment, volume):
    assert oci.blocks.get_volume(volume.id).data.lifecycle_state == "AVAILABLE"
    update = oci.blocks.update_volume
    changed = update(volume.id, models.UpdateVolumeDetails(size_in_gbs=80, vpus_per_gb=20)).data
    assert (changed.size_in_gbs, changed.lifecycle_state) == (80, "PROVISIONING")
    cloud.store.hurry()
    assert "cannot be made smaller" in refused(400, update, volume.id, {"sizeInGBs": 60}).message
    assert "vpusPerGB: 15" in refused(400, update, volume.id, {"vpusPerGB": 15}).message
    assert refused(400, update, volume.id, {"sizeInGBs": 250}).code == "LimitExceeded"
    refused(412, update, volume.id, {"displayName": "x"}, if_match="old")
    listed = oci.blocks.list_volumes(compartment_id=compartment, display_name="data").data
    assert [row.id for row in listed] == [volume.id]


def test_a_volume_whose_size_nobody_said_is_large(oci, cloud, compartment):
    body = {"compartmentId": compartment, "availabilityDomain": cloud.domains[0]}
    assert refused(400, oci.blocks.create_volume, body).code == "LimitExceeded"
    assert (
        "is none of" in refused(400, oci.blocks.create_volume, body | {"availabilityDomain": "AD-9"}).message
    )
    refused(400, oci.blocks.create_volume, body | {"sizeInGBs": 49})


@pytest.mark.parametrize("kind", ["Paravirtualized", "IScsi"])
def test_attaching(oci, cloud, compartment, volume, kind):
    machine = seeds.machine(cloud, compartment)
    details = getattr(models, f"Attach{kind}VolumeDetails")
    given = {"instance_id": machine.id, "volume_id": volume.id, "device": "/dev/oracleoci/oraclevdb"}
    made = oci.compute.attach_volume(details(**given)).data
    assert type(made).__name__ == f"{kind}VolumeAttachment"
    cloud.store.hurry()
    rows = oci.compute.list_volume_attachments(compartment, instance_id=machine.id).data
    assert [(row.volume_id, row.lifecycle_state, row.device) for row in rows] == [
        (volume.id, "ATTACHED", "/dev/oracleoci/oraclevdb")
    ]
    refused(409, oci.compute.attach_volume, details(**given))
    refused(400, oci.compute.attach_volume, details(**given | {"device": "/dev/sdb"}))
    refused(400, oci.compute.attach_volume, {"instanceId": machine.id, "volumeId": volume.id, "type": "usb"})
    assert made.id in refused(409, oci.blocks.delete_volume, volume.id).message
    oci.compute.detach_volume(made.id)
    states = [oci.compute.get_volume_attachment(made.id).data.lifecycle_state for _ in range(2)]
    assert states == ["DETACHING", "DETACHED"]
    oci.blocks.delete_volume(volume.id)
    cloud.store.hurry()
    assert [row.lifecycle_state for row in oci.blocks.list_volumes(compartment_id=compartment).data] == [
        "TERMINATED"
    ]


def test_backups_are_five_at_most(oci, cloud, compartment, volume):
    details = models.CreateVolumeBackupDetails(volume_id=volume.id, display_name="b", type="FULL")
    made = [oci.blocks.create_volume_backup(details).data for _ in range(5)]
    assert refused(400, oci.blocks.create_volume_backup, details).code == "LimitExceeded"
    cloud.store.hurry()
    renamed = oci.blocks.update_volume_backup(
        made[0].id, models.UpdateVolumeBackupDetails(display_name="kept")
    ).data
    assert (renamed.display_name, renamed.size_in_gbs, renamed.source_type) == ("kept", 60, "MANUAL")
    source = models.VolumeSourceFromVolumeBackupDetails(id=made[0].id)
    copy = models.CreateVolumeDetails(
        compartment_id=compartment, availability_domain=cloud.domains[0], source_details=source
    )
    assert oci.blocks.create_volume(copy).data.size_in_gbs == 60
    oci.blocks.delete_volume_backup(made[0].id)
    cloud.store.hurry()
    oci.blocks.create_volume_backup(details)
    assert (
        len(oci.blocks.list_volume_backups(compartment, volume_id=volume.id).data) == 6
    )  # the deleted one, too


def test_boot_volumes_and_their_backups(oci, cloud, compartment):
    machine = seeds.machine(cloud, compartment)
    (row,) = oci.blocks.list_boot_volumes(compartment_id=compartment).data
    refused(409, oci.blocks.delete_boot_volume, row.id)
    attached = oci.compute.list_boot_volume_attachments(
        cloud.domains[0], compartment, instance_id=machine.id
    ).data
    assert [each.boot_volume_id for each in attached] == [row.id]
    refused(409, oci.compute.detach_boot_volume, attached[0].id)
    grown = oci.blocks.update_boot_volume(row.id, models.UpdateBootVolumeDetails(size_in_gbs=70)).data
    assert grown.size_in_gbs == 70
    backup = oci.blocks.create_boot_volume_backup(
        models.CreateBootVolumeBackupDetails(boot_volume_id=row.id)
    ).data
    cloud.store.hurry()
    assert [each.id for each in oci.blocks.list_boot_volume_backups(compartment).data] == [backup.id]
    oci.blocks.delete_boot_volume_backup(backup.id)
    oci.compute.instance_action(machine.id, "STOP")
    cloud.store.hurry()
    oci.compute.detach_boot_volume(attached[0].id)
    cloud.store.hurry()
    oci.blocks.delete_boot_volume(row.id)


def test_policies_that_back_up(oci, cloud, compartment, volume):
    oracles = oci.blocks.list_volume_backup_policies().data
    assert sorted(row.display_name for row in oracles) == ["bronze", "gold", "silver"]
    schedule = models.VolumeBackupSchedule(
        backup_type="INCREMENTAL", period="ONE_DAY", hour_of_day=3, retention_seconds=86400 * 3
    )
    details = models.CreateVolumeBackupPolicyDetails(
        compartment_id=compartment, display_name="three days", schedules=[schedule]
    )
    own = oci.blocks.create_volume_backup_policy(details).data
    assert [row.id for row in oci.blocks.list_volume_backup_policies(compartment_id=compartment).data] == [
        own.id
    ]
    refused(404, oci.blocks.delete_volume_backup_policy, oracles[0].id)
    assigned = models.CreateVolumeBackupPolicyAssignmentDetails(asset_id=volume.id, policy_id=own.id)
    made = oci.blocks.create_volume_backup_policy_assignment(assigned).data
    refused(409, oci.blocks.create_volume_backup_policy_assignment, assigned)
    assert volume.id in refused(409, oci.blocks.delete_volume_backup_policy, own.id).message
    rows = oci.blocks.get_volume_backup_policy_asset_assignment(volume.id).data
    assert [(row.id, row.policy_id) for row in rows] == [(made.id, own.id)]
    oci.blocks.delete_volume_backup_policy_assignment(made.id)
    assert oci.blocks.get_volume_backup_policy_asset_assignment(volume.id).data == []
    oci.blocks.delete_volume_backup_policy(own.id)
    refused(404, oci.blocks.get_volume_backup_policy, own.id)


def test_a_boot_volume_comes_back_from_its_backup(oci, cloud, compartment):
    machine = seeds.machine(cloud, compartment)
    (boot,) = oci.blocks.list_boot_volumes(compartment_id=compartment).data
    backup = oci.blocks.create_boot_volume_backup({"bootVolumeId": boot.id}).data
    body = {
        "compartmentId": compartment,
        "availabilityDomain": cloud.domains[0],
        "sourceDetails": {"type": "bootVolumeBackup", "id": backup.id},
    }
    assert refused(409, oci.blocks.create_boot_volume, body).code == "IncorrectState"  # it is being made
    cloud.store.hurry()
    copy = oci.blocks.create_boot_volume(body).data
    cloud.store.hurry()
    attach, given = oci.compute.attach_boot_volume, {"instanceId": machine.id, "bootVolumeId": copy.id}
    assert "has a boot volume already" in refused(409, attach, given).message
    oci.compute.instance_action(machine.id, "STOP")
    cloud.store.hurry()
    (old,) = oci.compute.list_boot_volume_attachments(cloud.domains[0], compartment).data
    oci.compute.detach_boot_volume(old.id)
    cloud.store.hurry()
    made = attach(given).data
    cloud.store.hurry()
    assert oci.compute.get_boot_volume_attachment(made.id).data.lifecycle_state == "ATTACHED"


def test_volumes_and_machines_are_in_one_domain(oci, cloud, compartment, volume):
    machine = seeds.machine(cloud, compartment)
    body = {"compartmentId": compartment, "availabilityDomain": cloud.domains[1], "sizeInGBs": 50}
    far = oci.blocks.create_volume(
        body | {"backupPolicyId": oci.blocks.list_volume_backup_policies().data[0].id}
    ).data
    assert len(oci.blocks.get_volume_backup_policy_asset_assignment(far.id).data) == 1
    given = {"instanceId": machine.id, "volumeId": far.id, "type": "paravirtualized"}
    assert refused(409, oci.compute.attach_volume, given).code == "IncorrectState"  # it is being made
    cloud.store.hurry()
    assert "different availability domains" in refused(400, oci.compute.attach_volume, given).message
    first = given | {"volumeId": volume.id, "device": "/dev/oracleoci/oraclevdb"}
    oci.compute.attach_volume(first)
    near = oci.blocks.create_volume(body | {"availabilityDomain": cloud.domains[0]}).data
    cloud.store.hurry()
    assert "is used by" in refused(409, oci.compute.attach_volume, first | {"volumeId": near.id}).message
    oci.blocks.delete_volume(far.id)
    cloud.store.hurry()
    assert [row.lifecycle_state for row in oci.blocks.list_volumes(compartment_id=compartment).data].count(
        "TERMINATED"
    ) == 1
