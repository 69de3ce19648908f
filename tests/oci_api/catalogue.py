"""What Oracle offers: shapes of machines and images to start them from."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.oci_api.server import FakeOci

A1 = "VM.Standard.A1.Flex"
MICRO = "VM.Standard.E2.1.Micro"

SHAPES: list[dict[str, Any]] = [
    {
        "shape": A1,
        "processorDescription": "3.0 GHz Ampere® Altra™",
        "ocpus": 1.0,
        "memoryInGBs": 6.0,
        "networkingBandwidthInGbps": 1.0,
        "maxVnicAttachments": 2,
        "ocpuOptions": {"min": 1.0, "max": 80.0},
        "memoryOptions": {
            "minInGBs": 1.0,
            "maxInGBs": 512.0,
            "defaultPerOcpuInGBs": 6.0,
            "minPerOcpuInGBs": 1.0,
            "maxPerOcpuInGBs": 64.0,
        },
        "isFlexible": True,
        "billingType": "LIMITED_FREE",
        "quotaNames": ["standard-a1-core-count", "standard-a1-memory-count"],
    },
    {
        "shape": MICRO,
        "processorDescription": "2.0 GHz AMD EPYC™ 7551 (Naples)",
        "ocpus": 1.0,
        "memoryInGBs": 1.0,
        "networkingBandwidthInGbps": 0.48,
        "maxVnicAttachments": 1,
        "isFlexible": False,
        "billingType": "ALWAYS_FREE",
        "quotaNames": ["standard-e2-micro-core-count"],
    },
    {
        "shape": "VM.Standard.E4.Flex",
        "processorDescription": "2.55 GHz AMD EPYC™ 7J13 (Milan)",
        "ocpus": 1.0,
        "memoryInGBs": 16.0,
        "networkingBandwidthInGbps": 1.0,
        "maxVnicAttachments": 2,
        "ocpuOptions": {"min": 1.0, "max": 114.0},
        "memoryOptions": {
            "minInGBs": 1.0,
            "maxInGBs": 1760.0,
            "defaultPerOcpuInGBs": 16.0,
            "minPerOcpuInGBs": 1.0,
            "maxPerOcpuInGBs": 64.0,
        },
        "isFlexible": True,
        "billingType": "PAID",
        "quotaNames": ["standard-e4-core-count", "standard-e4-memory-count"],
    },
]

# Name, system, version, architecture, when it was made
IMAGES = [
    ("Canonical-Ubuntu-24.04-2026.08.29-0", "Canonical Ubuntu", "24.04", "x86_64", "2026-08-31"),
    ("Canonical-Ubuntu-24.04-2026.10.23-0", "Canonical Ubuntu", "24.04", "x86_64", "2026-10-25"),
    ("Canonical-Ubuntu-24.04-aarch64-2026.08.29-0", "Canonical Ubuntu", "24.04", "aarch64", "2026-08-31"),
    ("Canonical-Ubuntu-24.04-aarch64-2026.10.23-0", "Canonical Ubuntu", "24.04", "aarch64", "2026-10-25"),
    (
        "Canonical-Ubuntu-24.04-Minimal-aarch64-2026.10.28-0",
        "Canonical Ubuntu",
        "24.04 Minimal aarch64",
        "aarch64",
        "2026-10-29",
    ),
    (
        "Canonical-Ubuntu-24.04-Minimal-2026.10.28-0",
        "Canonical Ubuntu",
        "24.04 Minimal",
        "x86_64",
        "2026-10-29",
    ),
    ("Canonical-Ubuntu-22.04-aarch64-2026.10.23-0", "Canonical Ubuntu", "22.04", "aarch64", "2026-10-25"),
    ("Oracle-Linux-9.6-aarch64-2026.09.30-0", "Oracle Linux", "9", "aarch64", "2026-10-02"),
]


def shape(name: object) -> dict[str, Any] | None:
    return next((row for row in SHAPES if row["shape"] == name), None)


def architecture(name: object) -> str:
    return "aarch64" if name == A1 else "x86_64"


def seed(cloud: "FakeOci") -> None:
    for name, system, version, machine, made in IMAGES:
        body = {
            "compartmentId": cloud.tenancy,  # asked for in any compartment, Oracle's are there
            "createImageAllowed": True,
            "displayName": name,
            "operatingSystem": system,
            "operatingSystemVersion": version,
            "lifecycleState": "AVAILABLE",
            "launchMode": "PARAVIRTUALIZED",
            "listingType": "NONE",
            "sizeInMBs": 47694,
            "timeCreated": f"{made}T12:00:00.000Z",
            "freeformTags": {},
            "definedTags": {},
        }
        cloud.store.add("image", body, architecture=machine)
