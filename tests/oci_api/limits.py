"""What a tenancy may have: service limits as an Always Free one has them, and what is used of them."""

from typing import TYPE_CHECKING

from tests.oci_api import errors

if TYPE_CHECKING:
    from tests.oci_api.server import FakeOci

# (service, name): the limit, and whether it is per availability domain (else the region's). Set
# `cloud.limits` for others.
ALWAYS_FREE: dict[tuple[str, str], tuple[int, bool]] = {
    ("compute", "standard-a1-core-count"): (2, True),
    ("compute", "standard-a1-memory-count"): (12, True),
    ("compute", "standard-a1-core-regional-count"): (2, False),
    ("compute", "standard-a1-memory-regional-count"): (12, False),
    ("compute", "standard-e2-micro-core-count"): (2, True),
    ("compute", "standard-e4-core-count"): (0, True),
    ("compute", "standard-e4-memory-count"): (0, True),
    ("block-storage", "total-storage-gb"): (200, True),
    ("block-storage", "backup-count"): (5, False),
    ("vcn", "vcn-count"): (2, False),
    ("vcn", "reserved-public-ip-count"): (2, False),
    ("object-storage", "storage-bytes"): (20 << 30, False),
    ("object-storage", "bucket-count"): (10000, False),
}
SHAPE_LIMITS = {  # shape: limits its cores and its memory (GB) count against
    "VM.Standard.A1.Flex": (
        ("standard-a1-core-count", "standard-a1-core-regional-count"),
        ("standard-a1-memory-count", "standard-a1-memory-regional-count"),
    ),
    "VM.Standard.E2.1.Micro": (("standard-e2-micro-core-count",), ()),
    "VM.Standard.E4.Flex": (("standard-e4-core-count",), ("standard-e4-memory-count",)),
}


def of_shape(shape: str, ocpus: float, memory: float) -> dict[str, float]:
    cores, memories = SHAPE_LIMITS.get(shape, ((), ()))
    return dict.fromkeys(cores, ocpus) | dict.fromkeys(memories, memory)


def used(cloud: "FakeOci", name: str, domain: str = "") -> float:
    """How much of a limit is in use, in this availability domain or (empty) anywhere."""
    store = cloud.store
    where = {"availabilityDomain": domain} if domain else {}
    if name == "vcn-count":
        return sum(1 for _ in store.of("vcn"))
    if name == "reserved-public-ip-count":
        return sum(1 for _ in store.of("publicip", lifetime="RESERVED"))
    if name == "total-storage-gb":
        return sum(
            row.body["sizeInGBs"] for kind in ("volume", "bootvolume") for row in store.of(kind, **where)
        )
    if name == "backup-count":
        return sum(1 for kind in ("volumebackup", "bootvolumebackup") for _ in store.of(kind))
    if name == "storage-bytes":
        return sum(
            len(version.data)
            for row in store.of("bucket")
            for versions in row.facts.get("objects", {}).values()
            for version in versions
        )
    if name == "bucket-count":
        return sum(1 for _ in store.of("bucket"))
    total = 0.0
    for row in store.of("instance", **where):
        if row.state != "STOPPED" or row.facts.get("billed_stopped", True):
            config = row.body["shapeConfig"]
            total += of_shape(row.body["shape"], config["ocpus"], config["memoryInGBs"]).get(name, 0)
    return total


def charge(cloud: "FakeOci", service: str, wanted: dict[str, float], domain: str = "") -> None:
    """Refuse what would go over a service limit, or over a quota, naming all of them."""
    limits, quotas = [], []
    for name, amount in wanted.items():
        limit, in_domain = cloud.limits.get((service, name), (1 << 40, False))
        after = used(cloud, name, domain if in_domain else "") + amount
        if (amount > 0 and after > limit) or name in cloud.misbehave.limits_exceeded:
            limits.append(name)
        quota = cloud.quota(service, name)
        if amount > 0 and quota is not None and after > quota:
            quotas.append(name)
    if limits:
        raise errors.over_limit(*limits)
    if quotas:
        raise errors.over_quota(*quotas)
