"""What is used, what it costs, and what lies about."""

import datetime as dt
from typing import Any

import oci_usage
import pytest
from oci_free import USED, Guard
from oci_operator import OWNER, CloudError, Operator, writes
from oci_usage import Leftovers, chosen
from tests.oci_api import seeds
from tests.oci_api.server import FakeOci
from tests.oci_api.store import Resource

pytestmark = pytest.mark.usefixtures("cloud")

OURS = {"atlas": OWNER}


def ago(cloud: FakeOci, days: float) -> str:
    return (cloud.now() - dt.timedelta(days=days)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@pytest.fixture
def leftovers(operator: Operator) -> Leftovers:
    return Leftovers(operator.account(), OWNER, 30)


def found(leftovers: Leftovers) -> list[tuple[str, str, bool]]:
    return sorted((one["kind"], one["name"], one["ours"]) for one in leftovers.find())


def attach(cloud: FakeOci, volume: Resource, machine: Resource, state: str, *, compartment: str) -> Resource:
    body = {
        "compartmentId": compartment,
        "availabilityDomain": cloud.domains[0],
        "instanceId": machine.id,
        "lifecycleState": state,
        "attachmentType": "paravirtualized",
        "volumeId": volume.id,
    }
    return cloud.store.add("volumeattachment", body)


# Leftovers


def test_nothing_lies_about_in_an_empty_account(leftovers):
    assert leftovers.find() == []


def test_volumes_nothing_uses(cloud, leftovers, compartment):
    machine = seeds.machine(cloud, compartment)
    seeds.volume(cloud, compartment, name="lone", gb=60, timeCreated=ago(cloud, 12.5))
    seeds.volume(cloud, compartment, name="ours", freeformTags=OURS)
    used = seeds.volume(cloud, compartment, name="used")
    attach(cloud, used, machine, "ATTACHED", compartment=compartment)
    coming = seeds.volume(cloud, compartment, name="coming")
    attach(cloud, coming, machine, "ATTACHING", compartment=compartment)
    was = seeds.volume(cloud, compartment, name="was")
    attach(cloud, was, machine, "DETACHED", compartment=compartment)
    seeds.volume(cloud, compartment, name="gone", lifecycleState="TERMINATED")
    seeds.boot_volume(cloud, compartment, name="old boot")
    assert found(leftovers) == [
        ("boot_volume", "old boot", False),
        ("volume", "lone", False),
        ("volume", "ours", True),
        ("volume", "was", False),
    ]
    lone = next(one for one in leftovers.find() if one["name"] == "lone")
    assert (lone["gb"], lone["days"]) == (60, 12)


def test_a_volume_used_from_another_compartment_is_used(cloud, leftovers, compartment):
    elsewhere = seeds.compartment(cloud, name="elsewhere").id
    volume = seeds.volume(cloud, elsewhere, name="data", freeformTags=OURS)
    attach(cloud, volume, seeds.machine(cloud, compartment), "ATTACHED", compartment=compartment)
    assert found(leftovers) == []


def test_old_backups_that_nobody_will_remove(cloud, leftovers, compartment):
    for name, days, more in [
        ("old", 31, {}),
        ("on the day", 30.01, {}),
        ("young", 29, {}),
        ("with an end", 90, {"expirationTime": ago(cloud, -3)}),
        ("broken", 90, {"lifecycleState": "FAULTY"}),
    ]:
        body = {
            "compartmentId": compartment,
            "displayName": name,
            "lifecycleState": "AVAILABLE",
            "freeformTags": OURS,
            "timeCreated": ago(cloud, days),
            "type": "FULL",
            "sizeInGBs": 50,
            "uniqueSizeInGBs": 7,
            **more,
        }
        cloud.store.add("volumebackup", body)
        cloud.store.add("bootvolumebackup", dict(body))
    assert found(leftovers) == [
        (kind, name, True)
        for kind in ("boot_volume_backup", "volume_backup")
        for name in ("old", "on the day")
    ]
    assert {one["gb"] for one in leftovers.find()} == {7}


def test_addresses_nothing_has(cloud, leftovers, compartment):
    for name, state in (("free", "AVAILABLE"), ("used", "ASSIGNED")):
        body = {
            "compartmentId": compartment,
            "displayName": name,
            "lifetime": "RESERVED",
            "scope": "REGION",
            "ipAddress": "203.0.113.9",
            "lifecycleState": state,
            "freeformTags": {},
        }
        cloud.store.add("publicip", body)
    assert found(leftovers) == [("public_ip", "free", False)]


def uploads(cloud: FakeOci, operator: Operator, compartment: str) -> Any:
    entry = {"kind": "bucket", "name": "box", "spec": {}}
    operator.apply(entry, compartment=compartment)
    for name in ("old", "new"):
        operator.account().ask("objects", "create_multipart_upload", cloud.namespace, "box", {"object": name})
    held = cloud.store.rows[f"bucket:{cloud.namespace}/box"].facts["uploads"]
    old = next(one for one in held.values() if getattr(one, "name", "") == "old")
    old.made = ago(cloud, 40)
    return held


def test_uploads_that_were_never_finished(cloud, operator, leftovers, compartment):
    uploads(cloud, operator, compartment)
    (one,) = leftovers.find()
    assert (one["kind"], one["name"], one["bucket"], one["ours"]) == ("upload", "old", "box", True)


# Removing them


def test_each_kind_is_removed(cloud, operator, leftovers, compartment):
    seeds.volume(cloud, compartment, name="data", freeformTags=OURS)
    seeds.boot_volume(cloud, compartment, name="boot", freeformTags=OURS)
    backup = {
        "compartmentId": compartment,
        "displayName": "backup",
        "lifecycleState": "AVAILABLE",
        "freeformTags": OURS,
        "timeCreated": ago(cloud, 90),
        "type": "FULL",
    }
    cloud.store.add("volumebackup", dict(backup))
    cloud.store.add("bootvolumebackup", dict(backup))
    address = {"lifetime": "RESERVED", "scope": "REGION", "ipAddress": "203.0.113.9"}
    cloud.store.add("publicip", {**backup, **address, "displayName": "ip"})
    held = uploads(cloud, operator, compartment)
    entries = leftovers.find()
    for one in chosen(entries, [entry["id"] for entry in entries]):
        leftovers.remove(one)
    cloud.store.hurry()
    assert len(entries) == 6
    assert leftovers.find() == []
    assert [one.name for one in held.values()] == ["new"], "the young upload goes on"


def test_what_is_not_ours_is_not_removed(cloud, leftovers, compartment):
    ours = seeds.volume(cloud, compartment, name="ours", freeformTags=OURS)
    for tags in ({}, {"atlas": "staging"}):
        theirs = seeds.volume(cloud, compartment, name="theirs", freeformTags=tags)
        with pytest.raises(CloudError, match=f"{theirs.id} .theirs. does not carry our tag"):
            chosen(leftovers.find(), [ours.id, theirs.id])


def test_what_is_no_leftover_is_not_removed(cloud, leftovers, compartment):
    seeds.volume(cloud, compartment, name="data", freeformTags=OURS)
    machine = seeds.machine(cloud, compartment, tags=OURS)
    (boot,) = cloud.store.of("bootvolume")
    for identity in (boot.id, machine.id, "ocid1.volume.oc1..nothing"):
        with pytest.raises(CloudError, match=f"{identity} is no leftover.*Nothing was removed"):
            chosen(leftovers.find(), [identity])
    assert writes(cloud) == []


# Sums


def test_what_is_used_of_each_limit(cloud, operator, compartment):
    elsewhere = seeds.compartment(cloud, name="elsewhere").id
    seeds.machine(cloud, compartment, ocpus=1, memory=6)
    seeds.machine(cloud, elsewhere, shape="VM.Standard.E2.1.Micro", ocpus=1, memory=1, name="small")
    seeds.volume(cloud, elsewhere, name="data", gb=60)
    operator.apply(
        {"kind": "vcn", "name": "net", "spec": {"cidr_blocks": ["10.0.0.0/16"]}}, compartment=elsewhere
    )
    operator.apply({"kind": "bucket", "name": "box", "spec": {}}, compartment=compartment)
    account = operator.account()
    account.ask("objects", "put_object", cloud.namespace, "box", "object", b"x" * 5_000_000)
    guard = Guard(account)
    used = {name: guard.used(name) for name in USED}
    assert used == {
        "a1_ocpus": 1,
        "a1_memory_gb": 6,
        "micro_instances": 1,
        "volumes_gb": 160,
        "volume_backups": 0,
        "vcns": 1,
        "objects_gb": pytest.approx(0.005),
    }


# Cost


# The third day: there are two whole days.
NOW = dt.datetime.now(dt.UTC).replace(day=3, hour=12)


def test_what_this_month_costs(cloud, operator):
    first = NOW.date().replace(day=1)
    second = first + dt.timedelta(days=1)
    before = first - dt.timedelta(days=1)
    seeds.spent(
        cloud,
        {"day": first, "service": "COMPUTE", "amount": 1.25},
        {"day": second, "service": "COMPUTE", "amount": 0.5},
        {"day": second, "service": "BLOCK_STORAGE", "amount": 0.0},
        {"day": before, "service": "COMPUTE", "amount": 99.0},
    )
    spent = oci_usage.cost(operator.account(), NOW)
    assert spent == {
        "currency": "EUR",
        "total": 1.75,
        "services": {"COMPUTE": 1.75, "BLOCK_STORAGE": 0.0},
    }


def test_the_first_day_of_a_month_has_no_whole_day_yet(cloud, operator):
    assert oci_usage.cost(operator.account(), NOW.replace(day=1)) == {}
    assert cloud.calls == []


def test_more_lines_than_a_page(cloud, operator):
    first = NOW.date().replace(day=1)
    lines = [{"day": first, "service": f"SERVICE_{number}", "amount": 0.01} for number in range(1200)]
    seeds.spent(cloud, *lines)
    assert oci_usage.cost(operator.account(), NOW)["total"] == 12


def test_nothing_spent(cloud, operator):
    assert oci_usage.cost(operator.account(), NOW) == {"currency": "", "total": 0, "services": {}}


@pytest.mark.parametrize("status", [403, 404])
def test_who_may_not_see_the_cost_sees_the_rest(cloud, operator, status):
    cloud.misbehave.fail(10, path="/20200107/usage", status=status, code="NotAuthorizedOrNotFound")
    assert oci_usage.cost(operator.account(), NOW) == {}
