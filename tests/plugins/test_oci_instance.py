"""One machine: where there is room, never two, never replaced."""

from collections.abc import Callable
from typing import Any

import oci_free
import oci_instance
import pytest
from oci_operator import OWNER, CloudError, Operator, writes
from tests.oci_api import seeds
from tests.oci_api.server import FakeOci

pytestmark = pytest.mark.usefixtures("cloud")

A1 = {"shape": "VM.Standard.A1.Flex", "ocpus": 2.0, "memory_gb": 12.0}
MICRO = {"shape": "VM.Standard.E2.1.Micro", "ocpus": None, "memory_gb": None}
KEY = "ssh-ed25519 AAAAC3Nza operator"


def network(operator: Operator, compartment: str, *, ipv6: bool = False) -> dict[str, Any]:
    entries = [
        {
            "kind": "vcn",
            "name": "net",
            "spec": {"cidr_blocks": ["10.0.0.0/16"], "dns_label": "net", "is_ipv6_enabled": ipv6},
        },
        {"kind": "network_security_group", "name": "net", "spec": {"vcn_id": {"ref": "vcn"}}},
        {"key": "other", "kind": "network_security_group", "name": "o", "spec": {"vcn_id": {"ref": "vcn"}}},
        {
            "kind": "subnet",
            "name": "net",
            "spec": {"vcn_id": {"ref": "vcn"}, "cidr_block": "10.0.0.0/24", "dns_label": "sub"},
        },
    ]
    if ipv6:
        entries[-1]["spec"]["ipv6_cidr_block"] = {"ref": "vcn.ipv6_cidr_blocks.0", "prefix": 64}
    return operator.apply(*entries, compartment=compartment).rows


Keep = Callable[..., tuple[dict[str, Any], oci_instance.Machine]]


@pytest.fixture
def net(operator: Operator, compartment: str) -> dict[str, Any]:
    return network(operator, compartment)


@pytest.fixture
def keep(operator: Operator, compartment: str, net: dict[str, Any]) -> Keep:
    """Run the module's engine: what it returns, and the engine with what it did."""

    def run(*, check: bool = False, allow_paid: bool = False, limits: Any = None, **changed: Any) -> Any:
        start = len(operator.cloud.calls)
        account = operator.account()
        options = {
            "owner": OWNER,
            "wait_seconds": 5.0,
            "compartment_id": compartment,
            "name": "atlas",
            "hostname": "atlas",
            "shapes": [A1],
            "operating_system": "Canonical Ubuntu",
            "operating_system_version": "24.04",
            "image_id": None,
            "boot_volume_gb": 50,
            "subnet_id": net["subnet"]["id"],
            "nsg_ids": [net["network_security_group"]["id"]],
            "assign_ipv6": False,
            "ssh_keys": [KEY],
            "user_data": "#cloud-config\n",
            "near_volume": None,
            "resize": False,
            **changed,
        }
        guard = oci_free.Guard(account, allow_paid=allow_paid, limits=limits)
        machine = oci_instance.Machine(account, guard, options, check=check)
        answer = machine.keep()
        if check:
            assert writes(operator.cloud, start) == [], "a check changes nothing"
        return answer, machine

    return run


def instances(cloud: FakeOci) -> list[Any]:
    return list(cloud.store.of("instance"))


# Launched


def test_launched_then_left_alone(cloud, keep):
    answer, machine = keep()
    assert machine.changes == [f"launched instance atlas (VM.Standard.A1.Flex) in {cloud.domains[0]}"]
    assert answer["instance"]["lifecycle_state"] == "RUNNING"
    assert (answer["private_ip"], answer["full"]) == ("10.0.0.2", [])
    (private,) = cloud.store.of("privateip")
    assert answer["private_ip_id"] == private.id
    start = len(cloud.calls)
    again, machine = keep()
    assert (machine.changes, machine.warnings, writes(cloud, start)) == ([], [], [])
    assert again["instance"]["id"] == answer["instance"]["id"]
    assert len(instances(cloud)) == 1


def test_what_it_is_launched_with(cloud, keep, net):
    answer, _ = keep()
    body = cloud.store.get(answer["instance"]["id"]).body
    assert body["freeformTags"] == {"atlas": "production"}
    assert body["instanceOptions"]["areLegacyImdsEndpointsDisabled"] is True
    assert body["launchOptions"]["isPvEncryptionInTransitEnabled"] is True
    assert body["metadata"] == {"ssh_authorized_keys": KEY, "user_data": "I2Nsb3VkLWNvbmZpZwo="}
    (card,) = cloud.store.of("vnic")
    assert card.body["nsgIds"] == [net["network_security_group"]["id"]]
    assert card.body["hostnameLabel"] == "atlas"
    assert card.body.get("publicIp") is None, "the reserved address comes later"
    (volume,) = cloud.store.of("bootvolume")
    assert volume.body["sizeInGBs"] == 50


def test_a_check_says_what_would_be_launched(cloud, keep):
    answer, machine = keep(check=True)
    assert answer["instance"] == {"id": "pending"}
    assert machine.changes == ["launched instance atlas"]
    assert "shape: VM.Standard.A1.Flex" in machine.diff[0]["after"]
    assert instances(cloud) == []


def test_a_check_in_a_compartment_that_is_not_there_yet(cloud, keep):
    answer, _ = keep(check=True, compartment_id="pending", subnet_id="pending", nsg_ids=["pending"])
    assert answer["private_ip_id"] == "pending"


def test_the_newest_image_that_fits_the_shape(cloud, keep):
    answer, _ = keep()
    image = cloud.store.get(answer["instance"]["image_id"])
    assert image.body["displayName"] == "Canonical-Ubuntu-24.04-aarch64-2026.10.23-0"
    cloud.store.remove(cloud.store.get(answer["instance"]["id"]))
    for card in list(cloud.store.of("privateip")):
        cloud.store.remove(card)
    answer, _ = keep(shapes=[MICRO])
    image = cloud.store.get(answer["instance"]["image_id"])
    assert image.body["displayName"] == "Canonical-Ubuntu-24.04-2026.10.23-0"


def test_an_image_that_is_named(cloud, keep):
    older = next(
        row for row in cloud.store.of("image") if row.body["displayName"].endswith("aarch64-2026.08.29-0")
    )
    assert keep(image_id=older.id)[0]["instance"]["image_id"] == older.id


def test_no_image_of_that_version(keep, cloud):
    with pytest.raises(CloudError, match=r"no image of Canonical Ubuntu 26.04 for the shape VM.Standard.A1"):
        keep(operating_system_version="26.04")
    assert instances(cloud) == []


def test_with_ipv6(cloud, operator, compartment, keep):
    rows = network(operator, seeds.compartment(cloud, name="six").id, ipv6=True)
    answer, _ = keep(assign_ipv6=True, subnet_id=rows["subnet"]["id"], nsg_ids=[])
    (card,) = cloud.store.of("vnic")
    assert [answer["ipv6_address"]] == card.body["ipv6Addresses"]


# Room


def test_the_next_domain_when_the_first_is_full(cloud, keep):
    cloud.misbehave.no_capacity = ["AD-1"]
    answer, _ = keep()
    assert answer["instance"]["availability_domain"] == cloud.domains[1]
    launches = [one for one in cloud.calls if one[:2] == ("POST", "/20160918/instances")]
    assert [status for *_, status in launches] == [500, 200], "no room is no trouble to wait out"


def test_a_domain_without_the_shape_is_passed_by(cloud, keep):
    cloud.misbehave.no_shape = {"AD-1": [A1["shape"]]}
    assert keep()[0]["instance"]["availability_domain"] == cloud.domains[1]


def test_a_domain_that_says_it_knows_no_such_shape(cloud, keep):
    """Listed, and refused with 404 at the launch: seen where A1 is being filled up."""
    cloud.misbehave.fail(
        1,
        method="POST",
        path="/20160918/instances",
        status=404,
        code="NotAuthorizedOrNotFound",
        message=f"shape {A1['shape']} not found",
    )
    assert keep()[0]["instance"]["availability_domain"] == cloud.domains[1]


def test_no_room_anywhere(cloud, keep):
    cloud.misbehave.no_capacity = ["*"]
    answer, machine = keep()
    assert answer["instance"] is None
    assert answer["full"] == [f"{A1['shape']} in {domain}" for domain in cloud.domains]
    assert machine.changes == []


def test_the_other_shape_when_there_is_no_room_for_the_first(cloud, keep):
    cloud.misbehave.fail(3, method="POST", path="/20160918/instances", message="Out of host capacity.")
    answer, machine = keep(shapes=[A1, MICRO])
    assert answer["instance"]["shape"] == MICRO["shape"]
    assert "VM.Standard.E2.1.Micro" in machine.changes[0]
    assert keep(shapes=[A1, MICRO])[1].changes == [], "it stays, though it is not what was wanted first"


def test_the_other_shape_is_not_counted_beside_the_first(cloud, keep):
    """Two boot volumes of 120 GB would be more than is free; only one of them is ever made."""
    cloud.misbehave.fail(3, method="POST", path="/20160918/instances", message="Out of host capacity.")
    answer, _ = keep(shapes=[A1, MICRO], boot_volume_gb=120)
    assert answer["instance"]["shape"] == MICRO["shape"]


def test_beyond_the_limit_is_not_out_of_room(cloud, keep):
    cloud.misbehave.limits_exceeded = ["standard-a1-core-count"]
    with pytest.raises(Exception, match="standard-a1-core-count") as caught:
        keep(shapes=[A1, MICRO])
    assert caught.value.code == "LimitExceeded"
    said = oci_instance.explain(caught.value, "instance atlas")
    assert "The account's limit is reached" in said
    assert "an hour more" in said


def test_a_limit_of_one_domain_is_no_limit_of_the_next(cloud, keep):
    """The small shape is offered in one domain only; in the others its limit is 0."""
    cloud.misbehave.fail(
        2, method="POST", path="/20160918/instances", status=400, code="LimitExceeded", message="micro"
    )
    assert keep(shapes=[MICRO])[0]["instance"]["availability_domain"] == cloud.domains[2]


def test_a_limit_here_and_no_room_there_may_become_room(cloud, keep):
    cloud.misbehave.fail(
        1, method="POST", path="/20160918/instances", status=400, code="LimitExceeded", message="micro"
    )
    cloud.misbehave.no_capacity = ["AD-2", "AD-3"]
    assert keep()[0]["full"] == [f"{A1['shape']} in {domain}" for domain in cloud.domains[1:]]


@pytest.mark.slow
def test_who_asks_too_often_waits_as_for_room(cloud, keep):
    cloud.misbehave.throttle(1000, method="POST", path="/20160918/instances")
    assert len(keep()[0]["full"]) == 3


def test_a_shape_that_is_offered_nowhere(cloud, keep):
    cloud.misbehave.no_shape = {"*": [A1["shape"]]}
    with pytest.raises(CloudError, match=r"is not offered in .*AD-1.*oci_compute_shapes"):
        keep()


def test_only_the_domain_of_its_volume_will_do(cloud, compartment, keep):
    tags = {"atlas": OWNER}
    seeds.volume(
        cloud, compartment, name="data", availabilityDomain=cloud.domains[1], freeformTags=tags, gb=50
    )
    cloud.misbehave.no_capacity = ["AD-2"]
    answer, _ = keep(near_volume="data")
    where = f"{A1['shape']} in {cloud.domains[1]} (only there is the volume data)"
    assert answer["full"] == [where]
    cloud.misbehave.reset()
    assert keep(near_volume="data")[0]["instance"]["availability_domain"] == cloud.domains[1]


@pytest.mark.parametrize("tags", [{}, {"atlas": "staging"}])
def test_somebody_elses_volume_of_that_name_does_not_count(cloud, compartment, keep, tags):
    seeds.volume(cloud, compartment, name="data", availabilityDomain=cloud.domains[1], freeformTags=tags)
    assert keep(near_volume="data")[0]["instance"]["availability_domain"] == cloud.domains[0]


def test_a_launch_whose_answer_is_lost_is_not_doubled(cloud, keep):
    cloud.misbehave.lose_answer(1, method="POST", path="/20160918/instances")
    keep()
    assert len(instances(cloud)) == 1


def test_a_launch_that_fails_at_oracles_side_is_tried_again(cloud, keep):
    cloud.misbehave.fail(2, method="POST", path="/20160918/instances")
    assert keep()[0]["instance"]["availability_domain"] == cloud.domains[0]
    assert len(instances(cloud)) == 1


def test_a_launch_that_no_list_shows_yet_is_waited_for(cloud, keep):
    cloud.misbehave.stale = 4
    assert keep()[0]["instance"]["lifecycle_state"] == "RUNNING"


def test_slow_to_start(cloud, keep):
    cloud.misbehave.slow_states = 6
    assert keep()[0]["instance"]["lifecycle_state"] == "RUNNING"


def test_too_slow_to_start_and_the_next_run_goes_on(cloud, keep):
    cloud.misbehave.slow_states = 1000
    with pytest.raises(CloudError, match=r"instance atlas: not within 0 s. Run it again"):
        keep(wait_seconds=0.1)
    cloud.misbehave.reset()
    cloud.store.hurry()
    answer, machine = keep()
    assert (answer["instance"]["lifecycle_state"], machine.changes) == ("RUNNING", [])


def test_taken_back_while_it_started(cloud, keep):
    cloud.misbehave.slow_states = 1000
    with pytest.raises(CloudError):
        keep(wait_seconds=0.0)
    (row,) = instances(cloud)
    cloud.misbehave.reset()
    cloud.store.go(row, "STARTING", "TERMINATING", looks=1)
    with pytest.raises(CloudError, match="somebody is terminating it"):
        keep()


def test_its_card_may_come_after_it_runs(cloud, keep):
    keep()
    (attachment,) = cloud.store.of("vnicattachment")
    cloud.store.go(attachment, "ATTACHING", "ATTACHED", looks=3)
    answer, machine = keep()
    assert (answer["private_ip"], machine.changes) == ("10.0.0.2", [])


# Mended


def test_stopped_is_started(cloud, keep):
    row = cloud.store.get(keep()[0]["instance"]["id"])
    cloud.store.go(row, "STOPPED")
    answer, machine = keep(check=True)
    assert machine.changes == ["started instance atlas"]
    assert (machine.diff[0]["before"], machine.diff[0]["after"]) == ("state: STOPPED\n", "state: RUNNING\n")
    answer, machine = keep()
    assert machine.changes == ["started instance atlas"]
    assert answer["instance"]["lifecycle_state"] == "RUNNING"


def test_stopping_is_waited_for_and_started(cloud, keep):
    row = cloud.store.get(keep()[0]["instance"]["id"])
    cloud.store.go(row, "STOPPING", "STOPPED", looks=2)
    assert keep()[0]["instance"]["lifecycle_state"] == "RUNNING"


@pytest.mark.parametrize("state", ["TERMINATING", "TERMINATED"])
def test_one_that_is_terminated_is_no_machine(cloud, keep, state):
    first = keep()[0]["instance"]["id"]
    row = cloud.store.get(first)
    cloud.store.go(row, state)
    for card in [*cloud.store.of("privateip"), *cloud.store.of("vnic"), *cloud.store.of("bootvolume")]:
        cloud.store.remove(card)
    cloud.limits.clear()
    second = keep()[0]["instance"]["id"]
    assert first != second


def test_the_old_metadata_service_turned_on_by_somebody_is_turned_off(cloud, keep):
    row = cloud.store.get(keep()[0]["instance"]["id"])
    row.body["instanceOptions"]["areLegacyImdsEndpointsDisabled"] = False
    assert keep(check=True)[1].changes == ["changed instance atlas: instance_options"]
    keep()
    assert row.body["instanceOptions"]["areLegacyImdsEndpointsDisabled"] is True
    assert keep()[1].changes == []


def test_security_groups_are_put_back(cloud, keep, net):
    keep()
    (card,) = cloud.store.of("vnic")
    for wrong in ([], [net["other"]["id"]], [net["other"]["id"], net["network_security_group"]["id"]]):
        card.body["nsgIds"] = wrong
        checked = keep(check=True)[1]
        assert checked.changes == ["changed instance atlas: nsg_ids"]
        keep()
        assert card.body["nsgIds"] == [net["network_security_group"]["id"]]
    assert keep()[1].changes == []


def test_no_security_groups(cloud, keep):
    keep(nsg_ids=[])
    assert keep(nsg_ids=[])[1].changes == []


def test_a_second_card_is_not_taken_for_the_first(cloud, operator, keep, net):
    answer, _ = keep()
    details = {
        "instanceId": answer["instance"]["id"],
        "createVnicDetails": {"subnetId": net["subnet"]["id"], "assignPublicIp": False},
    }
    operator.account().ask("compute", "attach_vnic", details)
    cloud.store.hurry()
    second = max(cloud.store.of("vnicattachment"), key=lambda row: row.body["timeCreated"])
    second.body["timeCreated"] = "2020-01-01T00:00:00.000Z"
    again, machine = keep()
    assert (again["private_ip_id"], machine.changes) == (answer["private_ip_id"], [])


@pytest.mark.parametrize(
    ("change", "word"),
    [({"ssh_keys": ["ssh-ed25519 other"]}, "ssh_authorized_keys"), ({"user_data": "other"}, "user_data")],
)
def test_what_only_a_new_machine_is_given_is_a_warning(cloud, keep, change, word):
    keep()
    start = len(cloud.calls)
    _, machine = keep(**change)
    assert (machine.changes, writes(cloud, start)) == ([], [])
    assert f"instance atlas: {word} differ" in machine.warnings[0]


# Another size


SMALL = {**A1, "ocpus": 1.0, "memory_gb": 6.0}


def test_another_size_is_refused_unless_allowed(cloud, keep):
    keep(shapes=[SMALL])
    start = len(cloud.calls)
    with pytest.raises(CloudError, match=r"it has 1 OCPUs and 6 GB, wanted are 2 and 12.*oci_compute_resize"):
        keep()
    assert writes(cloud, start) == []


def test_another_size_when_allowed(cloud, keep):
    first = keep(shapes=[SMALL])[0]["instance"]["id"]
    checked = keep(resize=True, check=True)[1]
    assert "ocpus: 2" in checked.diff[0]["after"]
    answer, machine = keep(resize=True)
    assert machine.changes == ["changed instance atlas: shape_config"]
    assert answer["instance"]["id"] == first
    assert answer["instance"]["shape_config"]["ocpus"] == 2
    assert answer["instance"]["lifecycle_state"] == "RUNNING"
    assert keep(resize=True)[1].changes == []


def test_a_size_beyond_what_is_free_is_refused_also_for_a_machine_that_is_there(cloud, keep):
    keep()
    start = len(cloud.calls)
    with pytest.raises(CloudError, match="2 more would make 4 OCPUs of A1, and 2 are free"):
        keep(shapes=[{**A1, "ocpus": 4.0, "memory_gb": 24.0}], resize=True)
    assert writes(cloud, start) == []


def test_a_flexible_shape_needs_its_sizes(cloud, keep):
    with pytest.raises(CloudError, match=r"VM.Standard.A1.Flex needs ocpus and memory_gb"):
        keep(shapes=[{**A1, "ocpus": None}])


# Whose


def test_one_of_that_name_that_is_nobodys_is_refused(cloud, compartment, keep):
    other = seeds.machine(cloud, compartment, ocpus=0, memory=0)
    with pytest.raises(CloudError, match=f"which this did not make .{other.id}"):
        keep()


def test_another_owners_is_left_alone(cloud, compartment, keep):
    other = seeds.machine(
        cloud, compartment, tags={"atlas": "staging"}, shape=MICRO["shape"], ocpus=1, memory=1
    )
    answer, _ = keep()
    assert answer["instance"]["id"] != other.id


def test_two_of_ours_are_refused(cloud, compartment, keep):
    ours = [seeds.machine(cloud, compartment, tags={"atlas": OWNER}) for _ in range(2)]
    with pytest.raises(CloudError) as caught:
        keep()
    assert all(one.id in str(caught.value) for one in ours)


# What it costs


def test_a_shape_that_costs_money_is_refused_before_it_is_asked_for(cloud, keep):
    paid = {"shape": "VM.Standard.E4.Flex", "ocpus": 1.0, "memory_gb": 4.0}
    start = len(cloud.calls)
    with pytest.raises(CloudError, match=r"the shape VM.Standard.E4.Flex costs money .PAID."):
        keep(shapes=[paid])
    assert writes(cloud, start) == []
    cloud.limits.clear()
    assert keep(shapes=[paid], allow_paid=True)[0]["instance"]["shape"] == paid["shape"]


def test_other_peoples_machines_count(cloud, keep):
    seeds.machine(cloud, seeds.compartment(cloud, name="theirs").id, name="theirs", ocpus=1, memory=6)
    with pytest.raises(CloudError, match=r"2 more would make 3 OCPUs of A1, and 2 are free .1 are in use"):
        keep()
    assert keep(shapes=[SMALL])[0]["instance"]["shape_config"]["ocpus"] == 1
