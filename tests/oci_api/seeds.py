"""What is in a cloud before a test begins: machines, other people's things, money spent, measurements."""

import datetime as dt
import math
from typing import TYPE_CHECKING, Any

from tests.oci_api import catalogue
from tests.oci_api.store import Resource

if TYPE_CHECKING:
    from tests.oci_api.server import FakeOci


NAMES = ("compartment", "machine", "boot_volume", "volume", "others", "spent", "series")


def compartment(cloud: "FakeOci", name: str = "atlas", **more: Any) -> Resource:
    body = {"compartmentId": cloud.tenancy, "name": name, "description": name, "lifecycleState": "ACTIVE"}
    return cloud.store.add("compartment", body | {"freeformTags": {}} | more)


def machine(
    cloud: "FakeOci",
    compartment_id: str,
    *,
    name: str = "atlas",
    shape: str = catalogue.A1,
    ocpus: float = 2.0,
    memory: float = 12.0,
    boot_gb: int = 50,
    tags: dict[str, str] | None = None,
) -> Resource:
    """A running machine with its boot volume, as if launched, without a network."""
    store, domain = cloud.store, cloud.domains[0]
    same = {"compartmentId": compartment_id, "availabilityDomain": domain, "freeformTags": tags or {}}
    wanted = catalogue.shape(shape)
    assert wanted is not None, f"no shape {shape}"
    body = {
        "displayName": name,
        "faultDomain": "FAULT-DOMAIN-1",
        "region": cloud.region,
        "shape": shape,
        "shapeConfig": {
            "ocpus": float(ocpus),
            "memoryInGBs": float(memory),
            "networkingBandwidthInGbps": wanted["networkingBandwidthInGbps"] * ocpus,
            "maxVnicAttachments": wanted["maxVnicAttachments"],
        },
        "metadata": {},
        "instanceOptions": {"areLegacyImdsEndpointsDisabled": True},
        "agentConfig": {"isMonitoringDisabled": False, "isManagementDisabled": False},
        "definedTags": {},
        "lifecycleState": "RUNNING",
    }
    row = store.add("instance", body | same, gone_seconds=12 * 3600)
    volume = boot_volume(cloud, compartment_id, name=f"{name} (Boot Volume)", gb=boot_gb)
    attachment = {"bootVolumeId": volume.id, "instanceId": row.id, "lifecycleState": "ATTACHED"}
    store.add("bootvolumeattachment", attachment | same)
    return row


def boot_volume(cloud: "FakeOci", compartment_id: str, *, name: str, gb: int = 50, **more: Any) -> Resource:
    return volume(cloud, compartment_id, name=name, gb=gb, kind="bootvolume", isHydrated=True, **more)


def volume(
    cloud: "FakeOci", compartment_id: str, *, name: str, gb: int = 50, kind: str = "volume", **more: Any
) -> Resource:
    body = {
        "compartmentId": compartment_id,
        "availabilityDomain": cloud.domains[0],
        "displayName": name,
        "sizeInGBs": gb,
        "sizeInMBs": gb * 1024,
        "vpusPerGB": 10,
        "isAutoTuneEnabled": False,
        "lifecycleState": "AVAILABLE",
        "freeformTags": {},
        "definedTags": {},
    }
    return cloud.store.add(kind, body | more)


def others(cloud: "FakeOci", compartment_id: str) -> Resource:
    """Somebody else's things in the same compartment, named as ours could be: no tag, or another owner's."""
    store = cloud.store
    body = {"compartmentId": compartment_id, "lifecycleState": "AVAILABLE", "definedTags": {}}
    vcn = store.add(
        "vcn",
        body
        | {
            "displayName": "atlas",
            "cidrBlock": "10.9.0.0/16",
            "cidrBlocks": ["10.9.0.0/16"],
            "freeformTags": {"atlas": "somebody-else"},
        },
    )
    part = body | {"vcnId": vcn.id, "freeformTags": {}}
    rules = {"displayName": "atlas", "ingressSecurityRules": [], "egressSecurityRules": []}
    for name, kind, more in (
        ("RouteTable", "routetable", {"displayName": "Default Route Table", "routeRules": []}),
        ("SecurityList", "securitylist", rules),
        ("DhcpOptions", "dhcpoptions", {"displayName": "Default DHCP Options", "options": []}),
    ):
        vcn.body[f"default{name}Id"] = store.add(kind, part | more, default_of=vcn.id).id
    store.add("internetgateway", part | {"displayName": "atlas", "isEnabled": True})
    volume(cloud, compartment_id, name="atlas-data", gb=50)
    name = f"bucket:{cloud.namespace}/theirs"
    bucket = {"name": "theirs", "namespace": cloud.namespace, "createdBy": cloud.user, "metadata": {}}
    bucket |= {"publicAccessType": "NoPublicAccess", "storageTier": "Standard", "versioning": "Disabled"}
    store.add("bucket", body | bucket | {"freeformTags": {}, "id": store.ocid("bucket")}, ocid=name)
    return vcn


def spent(cloud: "FakeOci", *rows: dict[str, Any], lines: list[dict[str, Any]] | None = None) -> None:
    """Lines of the usage report: service, unit, quantity, amount, and when (`day`, today by default)."""
    today = cloud.now().date()
    plain = {"day": today, "currency": "EUR", "amount": 0.0, "quantity": 0.0}
    for row in [*rows, *(lines or [])]:
        line = plain | row
        if isinstance(line["day"], str):
            line["day"] = dt.date.fromisoformat(line["day"])
        cloud.usage.append(line)


def series(
    cloud: "FakeOci",
    namespace: str,
    name: str,
    value: float,
    *,
    compartment_id: str,
    dimensions: dict[str, str] | None = None,
    days: float = 7.0,
    minutes: float = 5.0,
    swing: float = 0.0,
) -> None:
    """Measurements of the last `days`, one in `minutes`, about `value` with a daily swing."""
    count = int(days * 1440 / minutes)
    end = cloud.now()
    points = []
    for number in range(count, 0, -1):
        moment = end - dt.timedelta(minutes=minutes * number)
        points.append((moment, value + swing * math.sin(moment.timestamp() / 86400 * 2 * math.pi)))
    cloud.metrics.append(
        {
            "namespace": namespace,
            "name": name,
            "compartmentId": compartment_id,
            "dimensions": dimensions or {},
            "points": points,
        }
    )
