"""Machines: launching, changing, stopping and ending them; images, shapes and whether there is room."""

import base64
import binascii
from typing import Any

from tests.oci_api import catalogue, errors, limits, vnics
from tests.oci_api.calls import (
    Answer,
    Call,
    Kind,
    compartment,
    forget,
    handles,
    many,
    one,
    remember,
    replayed,
    seen,
    slow,
    tag,
)
from tests.oci_api.store import Resource
from tests.oci_api.tables import models

ENDED = ("TERMINATING", "TERMINATED")
BOOT_GB = (50, 32768)
FIXED_METADATA = ("user_data", "ssh_authorized_keys")
ACTIONS = {  # action: states it is good in, states it leads through
    "STOP": (("RUNNING",), ("STOPPING", "STOPPED")),
    "SOFTSTOP": (("RUNNING",), ("STOPPING", "STOPPED")),
    "START": (("STOPPED",), ("STARTING", "RUNNING")),
    "RESET": (("RUNNING", "STOPPED"), ("STARTING", "RUNNING")),
    "SOFTRESET": (("RUNNING",), ("STARTING", "RUNNING")),
}


# Shapes, images, room


@handles("core.list_shapes")
def shapes(call: Call) -> Answer:
    compartment(call, call.query["compartmentId"])
    domain = call.query.get("availabilityDomain")
    found = [row for row in catalogue.SHAPES if call.query.get("shape") in (None, row["shape"])]
    if domain:
        call.cloud.domain(domain)
        found = [row for row in found if not call.cloud.misbehave.lacks_shape(domain, row["shape"])]
    if image := call.query.get("imageId"):
        machine = call.cloud.store.get(image, "image").facts["architecture"]
        found = [row for row in found if catalogue.architecture(row["shape"]) == machine]
    return many(found, call.query)


class Images(Kind):
    """Oracle's images are in every compartment; `shape` leaves those that start on it."""

    def matching(self, call: Call) -> list[Resource]:
        query = dict(call.query)
        wanted = query.pop("shape", None)
        call.query = {key: value for key, value in query.items() if key != "compartmentId"}
        found = super().matching(call)
        return [
            row for row in found if not wanted or row.facts["architecture"] == catalogue.architecture(wanted)
        ]


Images("core", "image", "image", states=("PROVISIONING", "AVAILABLE", "DELETED"))


@handles("core.create_compute_capacity_report")
def capacity(call: Call) -> Answer:
    body = call.body
    if body["compartmentId"] != call.cloud.tenancy:
        raise errors.invalid("compartmentId must be the tenancy's.")
    domain = call.cloud.domain(body["availabilityDomain"])
    found = []
    for wanted in body["shapeAvailabilities"]:
        status = "AVAILABLE"
        if catalogue.shape(wanted["instanceShape"]) is None:
            raise errors.invalid(f"instanceShape: there is no shape {wanted['instanceShape']}.")
        if call.cloud.misbehave.lacks_shape(domain, wanted["instanceShape"]):
            status = "HARDWARE_NOT_SUPPORTED"
        elif call.cloud.misbehave.lacks_capacity(domain):
            status = "OUT_OF_HOST_CAPACITY"
        found.append(
            wanted | {"availabilityStatus": status, "availableCount": 10 if status == "AVAILABLE" else 0}
        )
    made = {
        "compartmentId": body["compartmentId"],
        "availabilityDomain": domain,
        "shapeAvailabilities": found,
        "timeCreated": call.cloud.store.stamp(),
    }
    return Answer(made, 200)


# Launch


def offered(call: Call, name: str | None, domain: str) -> dict[str, Any]:
    """The shape, if this availability domain has it."""
    if not name:
        raise errors.missing("shape", "field")
    shape = catalogue.shape(name)
    if shape is None or call.cloud.misbehave.lacks_shape(domain, name):
        raise errors.Refused(404, "NotAuthorizedOrNotFound", f"shape {name} not found")
    return shape


def sized(shape: dict[str, Any], config: dict[str, Any], old: dict[str, Any] | None = None) -> dict[str, Any]:
    """The shape's configuration: what is asked for, within what the shape allows."""
    old = old or {}
    if not shape["isFlexible"]:
        if config:
            raise errors.invalid(f"shapeConfig is not for the fixed shape {shape['shape']}.")
        ocpus, memory = shape["ocpus"], shape["memoryInGBs"]
    else:
        ocpus = config.get("ocpus", old.get("ocpus"))
        if ocpus is None:
            raise errors.missing("shapeConfig.ocpus", "field")
        options = shape["memoryOptions"]
        memory = config.get("memoryInGBs", old.get("memoryInGBs", ocpus * options["defaultPerOcpuInGBs"]))
        if not shape["ocpuOptions"]["min"] <= ocpus <= shape["ocpuOptions"]["max"]:
            raise errors.invalid(f"shapeConfig.ocpus: {ocpus} is not within what {shape['shape']} allows.")
        least, most = (
            ocpus * options["minPerOcpuInGBs"],
            min(ocpus * options["maxPerOcpuInGBs"], options["maxInGBs"]),
        )
        if not least <= memory <= most:
            raise errors.invalid(f"shapeConfig.memoryInGBs: {memory} is not within {least} and {most}.")
    return {
        "ocpus": float(ocpus),
        "memoryInGBs": float(memory),
        "vcpus": int(ocpus if shape["shape"] == catalogue.A1 else ocpus * 2),
        "processorDescription": shape["processorDescription"],
        "networkingBandwidthInGbps": float(
            shape["networkingBandwidthInGbps"] * (ocpus if shape["isFlexible"] else 1)
        ),
        "maxVnicAttachments": shape["maxVnicAttachments"],
        "gpus": 0,
        "localDisks": 0,
    }


def check_metadata(metadata: dict[str, str]) -> None:
    try:
        base64.b64decode(metadata.get("user_data", ""), validate=True)
    except binascii.Error:
        raise errors.invalid("metadata.user_data is not base64.") from None
    if sum(len(key) + len(value) for key, value in metadata.items()) > 32000:
        raise errors.invalid("metadata: all of it together may be 32,000 bytes at most.")


def boot_source(call: Call, body: dict[str, Any]) -> tuple[Resource, Resource | None, int]:
    """The image, the volume if one is to be booted again, and the size of the boot volume (GB)."""
    source = body.get("sourceDetails") or {"sourceType": "image", "imageId": body.get("imageId")}
    if source["sourceType"] == "bootVolume":
        volume = call.cloud.store.named(source["bootVolumeId"], "bootvolume")
        if next(call.cloud.store.of("bootvolumeattachment", bootVolumeId=volume.id), None):
            raise errors.conflict(f"The boot volume {volume.id} is attached already.")
        if volume.body["availabilityDomain"] != body["availabilityDomain"]:
            raise errors.invalid(f"The boot volume {volume.id} is in another availability domain.")
        return call.cloud.store.get(volume.body["imageId"], "image"), volume, volume.body["sizeInGBs"]
    if not source.get("imageId"):
        raise errors.missing("sourceDetails.imageId", "field")
    image = call.cloud.store.named(source["imageId"], "image")
    size = int(source.get("bootVolumeSizeInGBs") or 47)
    if source.get("bootVolumeSizeInGBs") and not BOOT_GB[0] <= size <= BOOT_GB[1]:
        raise errors.invalid(
            f"sourceDetails.bootVolumeSizeInGBs: {size} is not within {BOOT_GB[0]} and {BOOT_GB[1]}."
        )
    return image, None, size


def unmodelled(body: dict[str, Any]) -> None:
    """What this fake does not do must not look as if it were done."""
    fields = (
        "capacityReservationId",
        "computeClusterId",
        "dedicatedVmHostId",
        "ipxeScript",
        "launchVolumeAttachments",
        "preemptibleInstanceConfig",
    )
    for field in fields:
        if body.get(field):
            raise errors.Refused(501, "FakeIsWrong", f"The fake launches nothing with {field}.")


@handles("core.launch_instance")
def launch(call: Call) -> Answer:
    cloud, body = call.cloud, dict(call.body)
    if known := replayed(call):
        return one(known)
    compartment(call, body["compartmentId"])
    unmodelled(body)
    domain = cloud.domain(body["availabilityDomain"])
    shape = offered(call, body["shape"], domain)
    config = sized(
        shape, {key: value for key, value in (body.get("shapeConfig") or {}).items() if value is not None}
    )
    image, volume, size = boot_source(call, body)
    if image.facts["architecture"] != catalogue.architecture(body["shape"]):
        raise errors.invalid(f"Shape {body['shape']} is not valid for image {image.id}.")
    check_metadata(body.get("metadata") or {})
    details = dict(body.get("createVnicDetails") or {"subnetId": body.get("subnetId")})
    subnet = vnics.check_vnic(call, details)
    if subnet.body.get("availabilityDomain") not in (None, domain):
        raise errors.invalid(f"The Subnet {subnet.id} is in another availability domain.")
    cloud.charge("compute", limits.of_shape(body["shape"], config["ocpus"], config["memoryInGBs"]), domain)
    if volume is None:
        cloud.charge("block-storage", {"total-storage-gb": size}, domain)
    if cloud.misbehave.lacks_capacity(domain):
        raise errors.no_capacity()

    row = cloud.store.add("instance", describe(call, body, config, image, size), gone_seconds=12 * 3600)
    add_boot_volume(call, row, image, volume, size, body)
    vnics.make_vnic(call, details, row, primary=True)

    def running() -> None:
        for kind in ("vnicattachment", "bootvolumeattachment"):
            for attachment in list(cloud.store.of(kind, instanceId=row.id)):
                cloud.store.finish(attachment)

    cloud.store.go(row, "PROVISIONING", "STARTING", "RUNNING", then=running)
    slow(call, row)
    remember(call, row)
    return one(row, opc_work_request_id=cloud.work_request("LAUNCH_INSTANCE", row).id)


def describe(
    call: Call, body: dict[str, Any], config: dict[str, Any], image: Resource, size: int
) -> dict[str, Any]:
    """The instance as it is shown. What was asked for of its VNIC is not: it is on the VNIC."""
    encrypted = bool(body.get("isPvEncryptionInTransitEnabled"))
    agent = {key: value for key, value in (body.get("agentConfig") or {}).items() if value is not None}
    source = dict(body.get("sourceDetails") or {"sourceType": "image", "imageId": image.id})
    if source["sourceType"] == "image":
        source |= {
            "bootVolumeSizeInGBs": size,
            "bootVolumeVpusPerGB": source.get("bootVolumeVpusPerGB") or 10,
        }
    named = (
        body.get("displayName")
        or f"instance{call.cloud.store.stamp()[:19].replace('-', '').replace(':', '')}"
    )
    made = {
        "availabilityDomain": body["availabilityDomain"],
        "compartmentId": body["compartmentId"],
        "displayName": named,
        "faultDomain": body.get("faultDomain") or "FAULT-DOMAIN-1",
        "imageId": image.id,
        "region": call.cloud.region,
        "shape": body["shape"],
        "shapeConfig": config,
        "sourceDetails": source,
        "metadata": body.get("metadata") or {},
        "extendedMetadata": body.get("extendedMetadata") or {},
        "launchMode": "PARAVIRTUALIZED",
        "launchOptions": {
            "bootVolumeType": "PARAVIRTUALIZED",
            "firmware": "UEFI_64",
            "networkType": "PARAVIRTUALIZED",
            "remoteDataVolumeType": "PARAVIRTUALIZED",
            "isPvEncryptionInTransitEnabled": encrypted,
            "isConsistentVolumeNamingEnabled": True,
        }
        | {key: value for key, value in (body.get("launchOptions") or {}).items() if value is not None},
        "instanceOptions": {"areLegacyImdsEndpointsDisabled": False} | (body.get("instanceOptions") or {}),
        "availabilityConfig": {"recoveryAction": "RESTORE_INSTANCE"} | (body.get("availabilityConfig") or {}),
        "agentConfig": {
            "isMonitoringDisabled": False,
            "isManagementDisabled": False,
            "areAllPluginsDisabled": False,
        }
        | agent,
        "freeformTags": body.get("freeformTags"),
        "definedTags": body.get("definedTags"),
    }
    made = {key: value for key, value in made.items() if value is not None}
    tag(call, made, models()["core.Instance"].fields)
    return made


def add_boot_volume(
    call: Call, row: Resource, image: Resource, volume: Resource | None, size: int, body: dict[str, Any]
) -> None:
    store = call.cloud.store
    same = {key: row.body[key] for key in ("availabilityDomain", "compartmentId")}
    if volume is None:
        source = body.get("sourceDetails") or {}
        volume = store.add(
            "bootvolume",
            same
            | {
                "displayName": f"{row.body['displayName']} (Boot Volume)",
                "imageId": image.id,
                "sizeInGBs": size,
                "sizeInMBs": size * 1024,
                "vpusPerGB": source.get("bootVolumeVpusPerGB") or 10,
                "isHydrated": True,
                "isAutoTuneEnabled": False,
                "freeformTags": dict(row.body["freeformTags"]),
                "definedTags": dict(row.body["definedTags"]),
                "lifecycleState": "AVAILABLE",
            },
        )
    attachment = store.add(
        "bootvolumeattachment",
        same
        | {
            "bootVolumeId": volume.id,
            "instanceId": row.id,
            "displayName": f"Remote boot attachment for {row.body['displayName']}",
            "isPvEncryptionInTransitEnabled": bool(body.get("isPvEncryptionInTransitEnabled")),
        },
    )
    store.go(attachment, "ATTACHING", "ATTACHED")


# Changing, stopping, ending


def instance(call: Call) -> Resource:
    row = seen(call, call.cloud.store.get(call.path["instanceId"], "instance"))
    if row.is_gone and call.operation.method != "GET":
        raise errors.not_found()
    row.expect(call.header("if-match"))
    return row


Kind("core", "instance", "instance", states=("PROVISIONING", "RUNNING", *ENDED))
Kind("core", "vnicattachment", "vnic_attachment")


@handles("core.update_instance")
def update(call: Call) -> Answer:
    row, body = instance(call), {key: value for key, value in call.body.items() if value is not None}
    if row.state not in ("RUNNING", "STOPPED"):
        raise errors.wrong_state(f"The instance {row.id} is in the state {row.state}.")
    if "metadata" in body:
        check_metadata(body["metadata"])
        for key in FIXED_METADATA:
            if body["metadata"].get(key) != row.body["metadata"].get(key):
                raise errors.invalid(f"metadata.{key} cannot be changed after the launch.")
    if "shape" in body or "shapeConfig" in body:
        resize(call, row, body)
    for key in ("instanceOptions", "agentConfig", "availabilityConfig", "launchOptions"):
        if key in body:
            body[key] = row.body[key] | body[key]
    for key in ("sourceDetails", "updateOperationConstraint", "platformConfig"):
        body.pop(key, None)
    row.body.update(body)
    row.touch()
    return one(row, opc_work_request_id=call.cloud.work_request("UPDATE_INSTANCE", row).id)


def resize(call: Call, row: Resource, body: dict[str, Any]) -> None:
    """Another size or shape: within the limits, and a running machine restarts for it."""
    name = body.get("shape", row.body["shape"])
    shape = offered(call, name, row.body["availabilityDomain"])
    image = call.cloud.store.get(row.body["imageId"], "image")
    if image.facts["architecture"] != catalogue.architecture(name):
        raise errors.invalid(f"Shape {name} is not valid for image {image.id}.")
    old = row.body["shapeConfig"]
    body["shapeConfig"] = config = sized(
        shape, body.get("shapeConfig") or {}, old if name == row.body["shape"] else None
    )
    before = limits.of_shape(row.body["shape"], old["ocpus"], old["memoryInGBs"])
    after = limits.of_shape(name, config["ocpus"], config["memoryInGBs"])
    more = {key: after.get(key, 0) - before.get(key, 0) for key in after}
    call.cloud.charge("compute", more, row.body["availabilityDomain"])
    if row.state == "RUNNING":
        call.cloud.store.go(row, "STOPPING", "STARTING", "RUNNING")


@handles("core.instance_action")
def act(call: Call) -> Answer:
    row, action = instance(call), str(call.query["action"]).upper()
    good, through = ACTIONS.get(action, (("RUNNING",), ("RUNNING",)))
    if row.state not in good:
        raise errors.wrong_state(
            f"The instance {row.id} is in the state {row.state}; {action} is for {', '.join(good)}."
        )
    call.cloud.store.go(row, *through)
    slow(call, row)
    return one(row, opc_work_request_id=call.cloud.work_request(action, row).id)


@handles("core.terminate_instance")
def terminate(call: Call) -> Answer:
    row, store = instance(call), call.cloud.store
    if row.is_going:
        return Answer()
    keep = bool(call.query.get("preserveBootVolume"))
    for attachment in list(store.of("volumeattachment", instanceId=row.id)):
        attachment.steps = []
    forget(call, row)

    def ended() -> None:
        for vnic in [vnic for vnic in store.of("vnic") if vnic.facts["instance"] == row.id]:
            vnics.drop_vnic(call, vnic)
        for attachment in list(store.of("volumeattachment", instanceId=row.id)):
            store.end(attachment, "DETACHED")
        for attachment in list(store.of("bootvolumeattachment", instanceId=row.id)):
            store.end(attachment, "DETACHED")
            volume = store.find(attachment.body["bootVolumeId"], "bootvolume")
            if volume and not keep:
                store.end(volume, "TERMINATED")

    store.end(row, *ENDED, then=ended)
    slow(call, row)
    return Answer(None, 204, {"opc-work-request-id": call.cloud.work_request("TERMINATE_INSTANCE", row).id})


@handles("core.attach_vnic")
def attach_vnic(call: Call) -> Answer:
    if known := replayed(call):
        return one(known)
    row = call.cloud.store.named(call.body["instanceId"], "instance")
    attached = sum(1 for _ in call.cloud.store.of("vnicattachment", instanceId=row.id))
    if attached >= row.body["shapeConfig"]["maxVnicAttachments"]:
        raise errors.over_limit("vnic-attachments-per-instance")
    _, attachment = vnics.make_vnic(call, dict(call.body["createVnicDetails"]), row, primary=False)
    remember(call, attachment)
    return one(attachment)


@handles("core.detach_vnic")
def detach_vnic(call: Call) -> Answer:
    row = call.cloud.store.named(call.path["vnicAttachmentId"], "vnicattachment")
    row.expect(call.header("if-match"))
    vnic = call.cloud.store.get(row.body["vnicId"], "vnic")
    if vnic.body["isPrimary"]:
        raise errors.conflict(f"The VNIC {vnic.id} is the primary one of its instance.")
    call.cloud.store.end(row, "DETACHING", "DETACHED", then=lambda: vnics.drop_vnic(call, vnic))
    return Answer()
