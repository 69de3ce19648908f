"""What is free: sums over the whole account, at each limit, just below it and just above."""

from typing import Any

import oci_free
import pytest
from oci_free import Guard
from oci_operator import CloudError, Operator
from tests.oci_api import seeds
from tests.oci_api.catalogue import A1, MICRO
from tests.oci_api.server import FakeOci

pytestmark = pytest.mark.usefixtures("cloud")

GB = 1_000_000_000


class Shape:
    """A shape as Oracle describes it."""

    def __init__(self, shape: str = A1, billing_type: str = "LIMITED_FREE") -> None:
        self.shape = shape
        self.billing_type = billing_type


def volume(gb: int, name: str = "data", **more: Any) -> dict[str, Any]:
    return {
        "key": name,
        "kind": "volume",
        "name": name,
        "spec": {"availability_domain": "EU-FRANKFURT-1-AD-1", "size_in_gbs": gb, **more},
    }


def policy(*kept: tuple[str, int], name: str = "weekly") -> dict[str, Any]:
    """A backup policy with, for each period, so many seconds of retention."""
    schedules = [
        {"backup_type": "INCREMENTAL", "period": period, "retention_seconds": seconds}
        for period, seconds in kept
    ]
    return {"kind": "backup_policy", "name": name, "spec": {"schedules": schedules}}


@pytest.fixture
def guard(operator: Operator) -> Guard:
    return Guard(operator.account())


@pytest.fixture
def theirs(cloud: FakeOci) -> str:
    """A compartment of somebody else, below another."""
    outer = seeds.compartment(cloud, name="theirs").id
    return seeds.compartment(cloud, name="inner", compartmentId=outer).id


# Machines


@pytest.mark.parametrize(
    ("ocpus", "memory", "words"),
    [
        (1, 6, None),
        (2, 12, None),
        (1.9, 11, None),
        (2.1, 12, "2.1 more would make 2.1 OCPUs of A1, and 2 are free"),
        (2, 12.5, "12.5 more would make 12.5 GB of A1's memory, and 12 are free"),
    ],
)
def test_the_size_of_a_machine(guard, ocpus, memory, words):
    if words is None:
        guard.instance(Shape(), ocpus, memory, 50, "instance atlas")
        return
    with pytest.raises(CloudError) as caught:
        guard.instance(Shape(), ocpus, memory, 50, "instance atlas")
    assert str(caught.value).startswith(f"instance atlas: {words}")
    assert "allow_paid: true" in str(caught.value)


def test_machines_of_other_people_in_other_compartments_count(cloud, guard, theirs):
    seeds.machine(cloud, theirs, ocpus=1, memory=6)
    guard.instance(Shape(), 1, 6, 50, "instance atlas")
    with pytest.raises(CloudError, match="1 are in use, 1 planned by this run, anywhere in this account"):
        guard.instance(Shape(), 1, 6, 50, "instance another")


@pytest.mark.parametrize(("state", "counts"), [("STOPPED", True), ("TERMINATED", False)])
def test_a_stopped_machine_counts_and_one_that_is_gone_does_not(cloud, guard, theirs, state, counts):
    seeds.machine(cloud, theirs).body["lifecycleState"] = state
    if counts:
        with pytest.raises(CloudError, match="would make 4 OCPUs"):
            guard.instance(Shape(), 2, 12, 50, "instance atlas")
    else:
        guard.instance(Shape(), 2, 12, 50, "instance atlas")


def test_two_small_machines_and_no_third(cloud, guard, theirs):
    micro = Shape(MICRO, "ALWAYS_FREE")
    seeds.machine(cloud, theirs, shape=MICRO, ocpus=1, memory=1)
    guard.instance(micro, 0, 0, 50, "instance atlas")
    with pytest.raises(CloudError, match=r"1 more would make 3 machines of shape VM\.Standard\.E2\.1\.Micro"):
        guard.instance(micro, 0, 0, 50, "instance third")


@pytest.mark.parametrize(
    ("shape", "billing"),
    [("VM.Standard.E4.Flex", "PAID"), (A1, "PAID"), ("VM.Standard.E5.Flex", "LIMITED_FREE")],
)
def test_what_costs_money_by_its_shape(guard, shape, billing):
    with pytest.raises(CloudError, match="costs money"):
        guard.instance(Shape(shape, billing), 1, 6, 50, "instance atlas")


@pytest.mark.parametrize(
    ("before", "after", "refused"),
    [((1, 6), (2, 12), False), ((2, 12), (1, 6), False), ((2, 12), (3, 12), True), ((2, 12), (2, 13), True)],
)
def test_another_size(cloud, guard, compartment, before, after, refused):
    seeds.machine(cloud, compartment, ocpus=before[0], memory=before[1])
    if refused:
        with pytest.raises(CloudError, match="1 more would make"):
            guard.resize(A1, *after, before, "instance atlas")
    else:
        guard.resize(A1, *after, before, "instance atlas")


def test_more_of_a_paid_shape(guard):
    guard.resize("VM.Standard.E4.Flex", 1, 4, (2, 8), "instance atlas")
    with pytest.raises(CloudError, match="costs money"):
        guard.resize("VM.Standard.E4.Flex", 2, 8, (1, 4), "instance atlas")


# Volumes


@pytest.mark.parametrize(("gb", "refused"), [(149, False), (150, False), (151, True)])
def test_volumes_and_boot_volumes_together(cloud, operator, compartment, theirs, gb, refused):
    seeds.boot_volume(cloud, theirs, name="theirs", gb=50)
    entry = volume(gb, availability_domain=cloud.domains[0])
    if refused:
        said = operator.refused(entry, compartment=compartment)
        assert "151 more would make 201 GB of volumes, boot volumes among them, and 200 are free" in said
    else:
        assert operator.apply(entry, compartment=compartment).changes == ["made volume data"]


def test_a_volume_somebody_removed_does_not_count(cloud, operator, compartment, theirs):
    seeds.volume(cloud, theirs, name="old", gb=200, lifecycleState="TERMINATED")
    entry = volume(200, availability_domain=cloud.domains[0])
    assert operator.apply(entry, compartment=compartment).changes == ["made volume data"]


def test_what_a_run_has_planned_counts(cloud, operator, compartment):
    entries = [volume(150, "one"), volume(60, "two")]
    said = operator.refused(*entries, compartment=compartment)
    assert "volume two: 60 more would make 210" in said
    assert "0 are in use, 150 planned by this run" in said


def test_a_volume_that_says_no_size_would_be_large(cloud, operator, compartment):
    entry = {**volume(50), "spec": {"availability_domain": cloud.domains[0]}}
    assert "1024 more would make 1024 GB" in operator.refused(entry, compartment=compartment)


@pytest.mark.parametrize(("gb", "refused"), [(200, False), (201, True)])
def test_a_volume_grows_by_the_difference(cloud, operator, compartment, gb, refused):
    same = {"availability_domain": cloud.domains[0]}
    operator.apply(volume(100, **same), compartment=compartment)
    entry = volume(gb, **same)
    if refused:
        assert "101 more would make 201 GB" in operator.refused(entry, compartment=compartment)
    else:
        done = operator.apply(entry, compartment=compartment)
        assert done.changes == ["changed volume data: size_in_gbs"]


def test_a_volume_does_not_shrink(cloud, operator, compartment):
    same = {"availability_domain": cloud.domains[0]}
    operator.apply(volume(100, **same), compartment=compartment)
    said = operator.refused(volume(60, **same), compartment=compartment)
    assert "volume data: a volume cannot be made smaller: it has 100 GB, wanted are 60" in said


@pytest.mark.parametrize(("units", "refused"), [(0, False), (10, False), (20, True), (30, True)])
def test_performance_that_costs_money(cloud, operator, compartment, units, refused):
    entry = volume(50, availability_domain=cloud.domains[0], vpus_per_gb=units)
    if refused:
        assert "20 performance units a GB".replace("20", str(units)) in operator.refused(
            entry, compartment=compartment
        )
    else:
        operator.apply(entry, compartment=compartment)


def test_performance_is_looked_at_in_a_change_too(cloud, operator, compartment):
    same = {"availability_domain": cloud.domains[0]}
    operator.apply(volume(50, **same, vpus_per_gb=10), compartment=compartment)
    assert "20 performance units" in operator.refused(
        volume(50, **same, vpus_per_gb=20), compartment=compartment
    )


# Backups

WEEK = 604800


@pytest.mark.parametrize(
    ("kept", "refused"),
    [
        ([("ONE_WEEK", 3 * WEEK)], False),
        ([("ONE_WEEK", 5 * WEEK)], False),
        ([("ONE_WEEK", 5 * WEEK + 1)], True),
        ([("ONE_DAY", WEEK)], True),
        ([("ONE_WEEK", 3 * WEEK), ("ONE_MONTH", 2592000 * 3)], True),
        ([("ONE_HOUR", 86400)], True),
        ([], False),
    ],
)
def test_a_policy_that_would_keep_too_many(cloud, operator, compartment, kept, refused):
    entry = policy(*kept)
    if refused:
        said = operator.refused(entry, compartment=compartment)
        assert "5 volume backups are free in the whole account" in said
    else:
        assert operator.apply(entry, compartment=compartment).changes == ["made backup_policy weekly"]


def test_backups_that_are_there_count(cloud, operator, compartment, theirs):
    for number in range(3):
        body = {"compartmentId": theirs, "displayName": f"{number}", "lifecycleState": "AVAILABLE"}
        cloud.store.add("volumebackup", {**body, "volumeId": "ocid1.volume.x", "type": "FULL"})
    assert operator.apply(policy(("ONE_WEEK", 2 * WEEK)), compartment=compartment).changed
    said = operator.refused(policy(("ONE_WEEK", 5 * WEEK)), compartment=compartment)
    assert "backup_policy weekly: 3 more would make 6 volume backups" in said
    said = operator.refused(policy(("ONE_WEEK", 3 * WEEK), name="another"), compartment=compartment)
    assert "3 more would make 6 volume backups, and 5 are free (3 are in use" in said


def test_a_policy_that_keeps_fewer_is_always_allowed(cloud, operator, compartment, theirs):
    operator.apply(policy(("ONE_WEEK", 5 * WEEK)), compartment=compartment)
    for number in range(5):
        body = {"compartmentId": theirs, "displayName": f"{number}", "lifecycleState": "AVAILABLE"}
        cloud.store.add("volumebackup", {**body, "volumeId": "ocid1.volume.x", "type": "FULL"})
    done = operator.apply(policy(("ONE_WEEK", 2 * WEEK)), compartment=compartment)
    assert done.changes == ["changed backup_policy weekly: schedules"]


# Networks and buckets


def vcn(name: str) -> dict[str, Any]:
    return {"key": name, "kind": "vcn", "name": name, "spec": {"cidr_blocks": ["10.0.0.0/16"]}}


def test_two_networks_and_no_third(cloud, operator, compartment, theirs):
    body = {
        "compartmentId": theirs,
        "displayName": "theirs",
        "cidrBlock": "10.9.0.0/16",
        "cidrBlocks": ["10.9.0.0/16"],
        "lifecycleState": "AVAILABLE",
        "freeformTags": {},
    }
    cloud.store.add("vcn", body)
    said = operator.refused(vcn("one"), vcn("two"), compartment=compartment)
    assert (
        "vcn two: 1 more would make 3 networks, and 2 are free (1 are in use, 1 planned by this run" in said
    )
    assert operator.apply(vcn("one"), compartment=compartment).changed
    assert "1 more would make 3 networks" in operator.refused(vcn("one"), vcn("two"), compartment=compartment)
    assert not operator.apply(vcn("one"), compartment=compartment).changed


@pytest.mark.parametrize(("gb", "refused"), [(19.9, False), (20, False), (20.1, True)])
def test_objects_in_all_buckets(cloud, operator, compartment, theirs, gb, refused, monkeypatch):
    full = {"compartment_id": theirs}
    operator.apply({"kind": "bucket", "name": "theirs", "spec": full})
    real = oci_free.Account.ask

    def ask(self: Any, service: str, operation: str, *arguments: Any, **named: Any) -> Any:
        answer = real(self, service, operation, *arguments, **named)
        if operation == "get_bucket":
            answer.data.approximate_size = int(gb * GB)
        return answer

    monkeypatch.setattr(oci_free.Account, "ask", ask)
    entry = {"key": "ours", "kind": "bucket", "name": "ours", "spec": {}}
    if refused:
        said = operator.refused(entry, compartment=compartment)
        assert "20.1 GB of objects are in use anywhere in this account, and 20 are free" in said
    else:
        assert operator.apply(entry, compartment=compartment).changes == ["made bucket ours"]


# Where, and what is allowed

ADDRESS = {"kind": "public_ip", "name": "ip", "spec": {"lifetime": "RESERVED"}}


@pytest.mark.parametrize(
    "entry",
    [
        vcn("net"),
        {"kind": "bucket", "name": "box", "spec": {}},
        {"kind": "public_ip", "name": "ip", "spec": {"lifetime": "RESERVED"}},
    ],
    ids=lambda entry: entry["kind"],
)
def test_nothing_is_free_away_from_home(tmp_path, entry):
    with FakeOci(region="eu-zurich-1", home_region="eu-frankfurt-1") as cloud:
        operator = Operator(cloud, cloud.account(tmp_path))
        compartment = seeds.compartment(cloud).id
        said = operator.refused(entry, compartment=compartment)
        assert "eu-zurich-1 is not this account's home region" in said
        assert "set region to it" in said
        assert operator.apply(entry, compartment=compartment, allow_paid=True).changed


def test_what_is_there_away_from_home_is_left_alone(tmp_path):
    with FakeOci(region="eu-zurich-1", home_region="eu-frankfurt-1") as cloud:
        operator = Operator(cloud, cloud.account(tmp_path))
        compartment = seeds.compartment(cloud).id
        operator.apply(vcn("net"), compartment=compartment, allow_paid=True)
        assert not operator.apply(vcn("net"), compartment=compartment).changed


def test_who_pays_may_have_more(cloud, operator, compartment):
    cloud.limits.clear()
    entries = [
        volume(500, availability_domain=cloud.domains[0], vpus_per_gb=20),
        policy(("ONE_DAY", 30 * 86400)),
        vcn("one"),
        vcn("two"),
        vcn("three"),
    ]
    for entry in entries[2:]:
        entry["spec"]["cidr_blocks"] = [f"10.{entries.index(entry)}.0.0/16"]
    assert operator.apply(*entries, compartment=compartment, allow_paid=True).changed


def test_limits_that_oracle_gave_this_account(operator, cloud):
    guard = Guard(operator.account(), limits={"a1_ocpus": 4, "a1_memory_gb": "24"})
    guard.instance(Shape(), 4, 24, 50, "instance atlas")
    with pytest.raises(CloudError, match="and 24 are free"):
        Guard(operator.account(), limits={"a1_ocpus": 8, "a1_memory_gb": 24}).instance(
            Shape(), 4, 25, 50, "instance atlas"
        )


@pytest.mark.parametrize("limits", [{"ocpus": 4}, {"a1_ocpus": "four"}, {"a1_ocpus": None}, {"a1_ocpus": -1}])
def test_a_limit_that_is_none(operator, limits):
    with pytest.raises(CloudError) as caught:
        Guard(operator.account(), limits=limits)
    assert f"free_limits: {next(iter(limits))}" in str(caught.value)


def test_a_sum_is_asked_for_once(cloud, operator, compartment):
    entries = [vcn("one"), vcn("two")]
    entries[1]["spec"]["cidr_blocks"] = ["10.2.0.0/16"]
    operator.apply(*entries, compartment=compartment, check=True)
    compartments = [path for _, path, _ in cloud.calls if path.endswith("/compartments")]
    assert len(compartments) == 1


def test_nothing_is_added_up_when_nothing_is_made(cloud, operator, compartment):
    operator.apply(vcn("one"), compartment=compartment)
    start = len(cloud.calls)
    operator.apply(vcn("one"), compartment=compartment)
    assert len(cloud.calls) - start == 1, "one question, which lists networks"
