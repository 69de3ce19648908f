"""Block storage: volumes, boot volumes, their backups and the policies that make those by themselves."""

import re
from typing import Any

from tests.oci_api import errors
from tests.oci_api.calls import Answer, Call, Kind, handles, many, one, remember, replayed, slow
from tests.oci_api.store import Resource

SIZES = (50, 32768)  # GB
DEFAULT_GB = 1024  # what one gets who says nothing, far above what is free
DEVICES = re.compile(r"/dev/oracleoci/oraclevd[b-z][a-z]?")
BACKUP = ("CREATING", "AVAILABLE", "TERMINATING", "TERMINATED")


# Volumes


def check_size(body: dict[str, Any]) -> None:
    size = body["sizeInGBs"]
    if not SIZES[0] <= size <= SIZES[1]:
        raise errors.invalid(f"sizeInGBs: {size} is not within {SIZES[0]} and {SIZES[1]}.")
    speed = body.get("vpusPerGB", 10)
    if speed % 10 or not 0 <= speed <= 120:
        raise errors.invalid(f"vpusPerGB: {speed} is none of 0, 10, 20, ... 120.")


def source(call: Call, body: dict[str, Any]) -> Resource | None:
    """The volume or backup a new volume is a copy of."""
    details = body.get("sourceDetails")
    if not details and not body.get("volumeBackupId"):
        return None
    ocid = details["id"] if details else body["volumeBackupId"]
    row = call.cloud.store.named(ocid, "volume", "bootvolume", "volumebackup", "bootvolumebackup")
    if row.state != "AVAILABLE":
        raise errors.wrong_state(f"The source {row.id} is in the state {row.state}.")
    return row


def before_volume(call: Call, body: dict[str, Any]) -> None:
    origin = source(call, body)
    domain = body.get("availabilityDomain") or (origin.body.get("availabilityDomain") if origin else None)
    if not domain:
        raise errors.missing("availabilityDomain", "field")
    least = int(origin.body["sizeInGBs"]) if origin else 0
    body |= {
        "availabilityDomain": call.cloud.domain(domain),
        "sizeInGBs": body.get("sizeInGBs") or least or DEFAULT_GB,
        "vpusPerGB": body.get("vpusPerGB", 10),
        "isAutoTuneEnabled": bool(body.get("isAutoTuneEnabled")),
        "isHydrated": origin is None,
    }
    check_size(body)
    if body["sizeInGBs"] < least:
        raise errors.invalid(f"sizeInGBs: {body['sizeInGBs']} is less than the source's {least}.")
    if body.get("backupPolicyId"):
        call.cloud.store.named(body["backupPolicyId"], "volumebackuppolicy")
    call.cloud.charge("block-storage", {"total-storage-gb": body["sizeInGBs"]}, domain)
    body["sizeInMBs"] = body["sizeInGBs"] * 1024
    if origin and origin.body.get("imageId"):
        body["imageId"] = origin.body["imageId"]


def after_volume(call: Call, row: Resource) -> None:
    policy = row.body.pop("backupPolicyId", None)
    if policy:
        assign(call, row.id, policy)


def changing_volume(call: Call, row: Resource, body: dict[str, Any]) -> None:
    """A volume grows, never shrinks."""
    if row.state != "AVAILABLE":
        raise errors.wrong_state(f"The volume {row.id} is in the state {row.state}.")
    check_size({"sizeInGBs": row.body["sizeInGBs"], "vpusPerGB": row.body["vpusPerGB"]} | body)
    more = body.get("sizeInGBs", row.body["sizeInGBs"]) - row.body["sizeInGBs"]
    if more < 0:
        raise errors.invalid(
            f"sizeInGBs: {row.id} has {row.body['sizeInGBs']} GB; a volume cannot be made smaller."
        )
    if more:
        call.cloud.charge("block-storage", {"total-storage-gb": more}, row.body["availabilityDomain"])
        body["sizeInMBs"] = body["sizeInGBs"] * 1024
        call.cloud.store.go(row, "PROVISIONING", "AVAILABLE")
        slow(call, row)


def going_volume(call: Call, row: Resource) -> None:
    key = "volumeId" if row.kind == "volume" else "bootVolumeId"
    for attachment in call.cloud.store.of(f"{row.kind}attachment", **{key: row.id}):
        raise errors.conflict(
            f"The volume {row.id} is attached to the instance {attachment.body['instanceId']} "
            f"by {attachment.id}. Detach it to proceed with this operation."
        )


def ended_volume(call: Call, row: Resource) -> None:
    for assignment in list(call.cloud.store.of("volumebackuppolicyassignment", assetId=row.id)):
        call.cloud.store.remove(assignment)


for noun in ("volume", "boot_volume"):
    Kind(
        "core",
        noun.replace("_", ""),
        noun,
        before=before_volume,
        after=after_volume,
        changing=changing_volume,
        going=going_volume,
        ended=ended_volume,
        gone_seconds=600,
    )


# Backups


def before_backup(call: Call, body: dict[str, Any]) -> None:
    key, kind = ("volumeId", "volume") if "volumeId" in body else ("bootVolumeId", "bootvolume")
    volume = call.cloud.store.named(body[key], kind)
    call.cloud.charge("block-storage", {"backup-count": 1})
    body |= {
        "compartmentId": volume.body["compartmentId"],
        "sizeInGBs": volume.body["sizeInGBs"],
        "sizeInMBs": volume.body["sizeInMBs"],
        "uniqueSizeInGBs": 1,
        "type": body.get("type") or "INCREMENTAL",
        "sourceType": "MANUAL",
        "timeRequestReceived": call.cloud.store.stamp(),
        "imageId": volume.body.get("imageId"),
    }


for noun in ("volume_backup", "boot_volume_backup"):
    Kind("core", noun.replace("_", ""), noun, states=BACKUP, before=before_backup, gone_seconds=600)


# Policies that make backups by themselves: Oracle's three, and one's own


def seed(cloud: Any) -> None:
    day, week, month = ("ONE_DAY", 604800), ("ONE_WEEK", 2419200), ("ONE_MONTH", 31557600)
    for name, periods in {"bronze": [month], "silver": [week, month], "gold": [day, week, month]}.items():
        schedules = [
            {"backupType": "INCREMENTAL", "period": period, "retentionSeconds": seconds, "timeZone": "UTC"}
            for period, seconds in periods
        ]
        body = {"displayName": name, "schedules": schedules, "freeformTags": {}, "definedTags": {}}
        cloud.store.add("volumebackuppolicy", body, oracles=True)


class Policies(Kind):
    """Without a compartment Oracle's are listed, with one its own."""

    def matching(self, call: Call) -> list[Resource]:
        if call.query.get("compartmentId"):
            return super().matching(call)
        return [row for row in call.cloud.store.of(self.name) if row.facts.get("oracles")]


def oracles(call: Call, row: Resource, body: object = None) -> None:
    if row.facts.get("oracles"):
        raise errors.not_found("Oracle's policies stay as they are.")


def going_policy(call: Call, row: Resource) -> None:
    oracles(call, row)
    for assignment in call.cloud.store.of("volumebackuppolicyassignment", policyId=row.id):
        raise errors.conflict(f"The policy {row.id} is assigned to {assignment.body['assetId']}.")


def before_policy(call: Call, body: dict[str, Any]) -> None:
    body["schedules"] = body.get("schedules") or []
    for number, schedule in enumerate(body["schedules"]):
        if schedule["retentionSeconds"] < 86400:
            raise errors.invalid(f"schedules[{number}].retentionSeconds must be at least a day.")


Policies(
    "core",
    "volumebackuppolicy",
    "volume_backup_policy",
    "volume_backup_policies",
    states=("", ""),
    before=before_policy,
    changing=oracles,
    going=going_policy,
)


Kind("core", "volumebackuppolicyassignment", "volume_backup_policy_assignment", states=("", ""))


def assign(call: Call, asset: str, policy: str) -> Resource:
    store = call.cloud.store
    for other in store.of("volumebackuppolicyassignment", assetId=asset):
        raise errors.conflict(f"{asset} has the policy {other.body['policyId']} already ({other.id}).")
    return store.add("volumebackuppolicyassignment", {"assetId": asset, "policyId": policy})


@handles("core.create_volume_backup_policy_assignment")
def create_assignment(call: Call) -> Answer:
    if known := replayed(call):
        return one(known)
    call.cloud.store.named(call.body["assetId"], "volume", "bootvolume")
    call.cloud.store.named(call.body["policyId"], "volumebackuppolicy")
    row = assign(call, call.body["assetId"], call.body["policyId"])
    remember(call, row)
    return one(row)


@handles("core.get_volume_backup_policy_asset_assignment")
def assignments(call: Call) -> Answer:
    call.cloud.store.get(call.query["assetId"], "volume", "bootvolume")
    found = call.cloud.store.of("volumebackuppolicyassignment", assetId=call.query["assetId"])
    return many([row.body for row in found], call.query)


# Attachments


def instance_of(call: Call) -> Resource:
    row = call.cloud.store.named(call.body["instanceId"], "instance")
    if row.state not in ("RUNNING", "STOPPED"):
        raise errors.wrong_state(f"The instance {row.id} is in the state {row.state}.")
    return row


def check_attach(call: Call, volume: Resource, row: Resource, key: str) -> None:
    if volume.state != "AVAILABLE":
        raise errors.wrong_state(f"The volume {volume.id} is in the state {volume.state}.")
    if volume.body["availabilityDomain"] != row.body["availabilityDomain"]:
        raise errors.invalid(
            f"The volume {volume.id} and the instance {row.id} are in different availability domains."
        )
    for other in call.cloud.store.of(f"{volume.kind}attachment", **{key: volume.id}):
        if not (call.body.get("isShareable") and other.body.get("isShareable")):
            raise errors.conflict(f"The volume {volume.id} is attached by {other.id} already.")


@handles("core.attach_volume")
def attach(call: Call) -> Answer:
    if known := replayed(call):
        return one(known)
    store, body = call.cloud.store, dict(call.body)
    device = body.get("device")
    if device and not DEVICES.fullmatch(device):
        raise errors.invalid(f"device: {device} is no path such as /dev/oracleoci/oraclevdb.")
    row, volume = instance_of(call), store.named(body["volumeId"], "volume")
    check_attach(call, volume, row, "volumeId")
    for other in store.of("volumeattachment", instanceId=row.id):
        if device and other.body.get("device") == device:
            raise errors.conflict(f"The device {device} is used by {other.id} already.")
    kind = body.pop("type")
    encrypted = bool(body.pop("isPvEncryptionInTransitEnabled", False))
    made = {
        **body,
        "attachmentType": "paravirtualized" if kind == "service_determined" else kind,
        "availabilityDomain": row.body["availabilityDomain"],
        "compartmentId": row.body["compartmentId"],
        "displayName": body.get("displayName") or f"volumeattachment{store.stamp()[:10]}",
        "isReadOnly": bool(body.get("isReadOnly")),
        "isShareable": bool(body.get("isShareable")),
        "isPvEncryptionInTransitEnabled": encrypted,
    }
    if kind == "iscsi":
        made |= {"ipv4": "169.254.2.2", "iqn": f"iqn.2015-12.com.oracleiaas:{volume.id[-12:]}", "port": 3260}
    attachment = store.add("volumeattachment", made)
    store.go(attachment, "ATTACHING", "ATTACHED")
    slow(call, attachment)
    remember(call, attachment)
    return one(attachment)


@handles("core.detach_volume")
def detach(call: Call) -> Answer:
    row = call.cloud.store.named(call.path["volumeAttachmentId"], "volumeattachment")
    row.expect(call.header("if-match"))
    call.cloud.store.end(row, "DETACHING", "DETACHED")
    slow(call, row)
    return Answer()


@handles("core.attach_boot_volume")
def attach_boot(call: Call) -> Answer:
    if known := replayed(call):
        return one(known)
    store = call.cloud.store
    row, volume = instance_of(call), store.named(call.body["bootVolumeId"], "bootvolume")
    check_attach(call, volume, row, "bootVolumeId")
    for other in store.of("bootvolumeattachment", instanceId=row.id):
        raise errors.conflict(f"The instance {row.id} has a boot volume already ({other.id}).")
    same = {key: row.body[key] for key in ("availabilityDomain", "compartmentId")}
    attachment = store.add("bootvolumeattachment", same | dict(call.body))
    store.go(attachment, "ATTACHING", "ATTACHED")
    remember(call, attachment)
    return one(attachment)


@handles("core.detach_boot_volume")
def detach_boot(call: Call) -> Answer:
    store = call.cloud.store
    row = store.named(call.path["bootVolumeAttachmentId"], "bootvolumeattachment")
    row.expect(call.header("if-match"))
    if store.get(row.body["instanceId"], "instance").state != "STOPPED":
        raise errors.conflict("The boot volume can be detached from a stopped instance only.")
    store.end(row, "DETACHING", "DETACHED")
    return Answer()


Kind("core", "volumeattachment", "volume_attachment")
Kind("core", "bootvolumeattachment", "boot_volume_attachment")
