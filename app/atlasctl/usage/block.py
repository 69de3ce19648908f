"""Volumes and their backups: listed, as nothing else says how large they are and what uses them."""

from typing import Any

from atlasctl.usage.parts import Leftover, Part, Reading, Scene

GONE = frozenset({"TERMINATED", "TERMINATING", "FAULTY"})
HELD = frozenset({"ATTACHING", "ATTACHED", "DETACHING"})
CORE = "/20160918"
#: Oracle's list prices in dollars a month: a GB of volume, each performance unit of a GB, a GB of backup.
VOLUME_PRICE = 0.0255
UNIT_PRICE = 0.0017
BACKUP_PRICE = 0.0255

Thing = dict[str, Any]


def volumes(scene: Scene) -> Part:
    """Count gigabytes of volumes, boot volumes and backups; find those nothing is attached to."""
    data = _all(scene, "volumes", "the volumes")
    boot = _all(scene, "bootVolumes", "the boot volumes")
    used = sum(_size(one) for one in data + boot)
    loose = [
        *_loose(scene, "volume", data, _attached(scene)),
        *_loose(scene, "boot_volume", boot, _booted(scene, boot)),
    ]
    reading = Reading(
        "volume_gb", "Volumes, GB", used, scene.configuration.limits["volume_gb"], forecast=None
    )
    return Part((reading,), tuple(loose))


def backups(scene: Scene) -> Part:
    """Count volume backups; those beyond the newest ones wanted are leftovers."""
    found = _all(scene, "volumeBackups", "the volume backups")
    found += _all(scene, "bootVolumeBackups", "the boot volume backups")
    found.sort(key=lambda one: str(one.get("timeCreated", "")), reverse=True)
    kept = int(scene.configuration.backups_kept)
    old = [
        Leftover(
            kind="backup",
            name=_name(one),
            why=f"older than the {kept} backups kept",
            age_days=scene.age_days(one.get("timeCreated")),
            gigabytes=(size := float(one.get("uniqueSizeInGBs") or one.get("sizeInGBs") or 0)),
            monthly_dollars=round(size * BACKUP_PRICE, 2),
        )
        for one in found[kept:]
    ]
    limit = scene.configuration.limits["backups"]
    return Part((Reading("backups", "Volume backups", len(found), limit),), tuple(old))


def addresses(scene: Scene) -> Part:
    """Find reserved public addresses that nothing uses."""
    found = []
    for compartment in scene.compartments:
        found += scene.client.listed(
            "compute",
            f"{CORE}/publicIps",
            "the public addresses",
            scope="REGION",
            compartmentId=compartment,
            lifetime="RESERVED",
        )
    return Part(
        leftovers=tuple(
            Leftover(
                "address",
                f"{one.get('ipAddress', '?')} ({_name(one)})",
                "reserved, and nothing answers there",
                scene.age_days(one.get("timeCreated")),
            )
            for one in found
            if one.get("lifecycleState") not in GONE
            and not one.get("assignedEntityId")
            and not one.get("privateIpId")
        )
    )


def _all(scene: Scene, collection: str, what: str) -> list[Thing]:
    found = []
    for compartment in scene.compartments:
        found += scene.client.listed("compute", f"{CORE}/{collection}", what, compartmentId=compartment)
    return [one for one in found if one.get("lifecycleState") not in GONE]


def _attached(scene: Scene) -> set[object]:
    found = _all(scene, "volumeAttachments", "what volumes are attached to")
    return {one.get("volumeId") for one in found if one.get("lifecycleState") in HELD}


def _booted(scene: Scene, boot: list[Thing]) -> set[object]:
    """Return the boot volumes in use; this list is to be asked for domain by domain."""
    held: set[object] = set()
    for domain in sorted({str(one["availabilityDomain"]) for one in boot if one.get("availabilityDomain")}):
        for compartment in scene.compartments:
            found = scene.client.listed(
                "compute",
                f"{CORE}/bootVolumeAttachments",
                "what boot volumes are attached to",
                availabilityDomain=domain,
                compartmentId=compartment,
            )
            held |= {one.get("bootVolumeId") for one in found if one.get("lifecycleState") in HELD}
    return held


def _loose(scene: Scene, kind: str, found: list[Thing], held: set[object]) -> list[Leftover]:
    return [
        Leftover(
            kind=kind,
            name=_name(one),
            why="attached to nothing",
            age_days=scene.age_days(one.get("timeCreated")),
            gigabytes=_size(one),
            monthly_dollars=round(_size(one) * (VOLUME_PRICE + UNIT_PRICE * _units(one)), 2),
        )
        for one in found
        if one.get("id") not in held
    ]


def _name(one: Thing) -> str:
    """Return what its owner calls it; the identifier is for programs."""
    return str(one.get("displayName") or "without a name")


def _size(one: Thing) -> float:
    return float(one.get("sizeInGBs") or 0)


def _units(one: Thing) -> float:
    units = one.get("vpusPerGB")
    return 10.0 if units is None else float(units)
