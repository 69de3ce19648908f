"""Taking it all down: in order, only ours, and on from where it was stopped."""

import copy
from collections.abc import Iterator
from typing import Any

import oci_account
import oci_instance
import oci_state
import pytest
from oci_free import Guard
from oci_operator import OWNER, CloudError, Operator, writes
from oci_sweep import DATA, Sweep
from tests.oci_api import seeds
from tests.oci_api.server import FakeOci
from tests.oci_api.store import Resource

pytest.importorskip("oci", reason="make setup-oci installs Oracle's SDK")

TENANCY = {"compartment_id": {"ref": "tenancy"}, "description": "of Atlas"}
OURS = [
    {"kind": "compartment", "name": "ours", "spec": TENANCY},
    {
        "kind": "dynamic_group",
        "name": "machine",
        "spec": {**TENANCY, "matching_rule": "ALL {instance.compartment.id = 'ocid1.compartment.oc1..a'}"},
    },
    {"kind": "group", "name": "backup", "spec": TENANCY},
    {"kind": "user", "name": "backup", "spec": TENANCY},
    {
        "kind": "membership",
        "spec": {
            "compartment_id": {"ref": "tenancy"},
            "user_id": {"ref": "user"},
            "group_id": {"ref": "group"},
        },
    },
    {
        "kind": "policy",
        "name": "backup",
        "spec": {**TENANCY, "statements": ["Allow group backup to read buckets in tenancy"]},
    },
    {"kind": "secret_key", "name": "backup", "spec": {"user_id": {"ref": "user"}, "secret_file": "@secret"}},
    {
        "kind": "budget",
        "name": "month",
        "spec": {
            **TENANCY,
            "amount": 1,
            "reset_period": "MONTHLY",
            "target_type": "COMPARTMENT",
            "targets": [{"ref": "tenancy"}],
        },
    },
    {
        "kind": "alert_rule",
        "name": "half",
        "spec": {
            "budget_id": {"ref": "budget"},
            "type": "ACTUAL",
            "threshold": 50,
            "threshold_type": "PERCENTAGE",
            "recipients": "owner@example.org",
        },
    },
    {
        "kind": "quota",
        "name": "free",
        "spec": {
            **TENANCY,
            "statements": ["set compute-core quota standard-a1-core-count to 2 in tenancy"],
        },
    },
]
INSIDE = [
    {
        "kind": "vcn",
        "name": "net",
        "spec": {"cidr_blocks": ["10.0.0.0/16"], "dns_label": "net"},
    },
    {"kind": "internet_gateway", "name": "net", "spec": {"vcn_id": {"ref": "vcn"}, "is_enabled": True}},
    {
        "kind": "route_table",
        "name": "net",
        "spec": {
            "vcn_id": {"ref": "vcn"},
            "route_rules": [
                {"destination": "0.0.0.0/0", "network_entity_id": {"ref": "internet_gateway"}},
            ],
        },
    },
    {
        "kind": "security_list",
        "name": "net",
        "spec": {"vcn_id": {"ref": "vcn"}, "ingress_security_rules": [], "egress_security_rules": []},
    },
    {"kind": "network_security_group", "name": "net", "spec": {"vcn_id": {"ref": "vcn"}}},
    {
        "kind": "subnet",
        "name": "net",
        "spec": {
            "vcn_id": {"ref": "vcn"},
            "cidr_block": "10.0.0.0/24",
            "dns_label": "sub",
            "route_table_id": {"ref": "route_table"},
            "security_list_ids": [{"ref": "security_list"}],
        },
    },
    {"kind": "bucket", "name": "box", "spec": {"versioning": "Enabled"}},
]
AFTER = [
    {"kind": "public_ip", "name": "net", "spec": {"lifetime": "RESERVED", "private_ip_id": "@private"}},
    {"kind": "volume", "name": "data", "spec": {"availability_domain": "@domain", "size_in_gbs": 50}},
    {
        "kind": "volume_attachment",
        "spec": {"type": "paravirtualized", "instance_id": "@machine", "volume_id": {"ref": "volume"}},
    },
    {
        "kind": "backup_policy",
        "name": "weekly",
        "spec": {
            "schedules": [{"backup_type": "FULL", "period": "ONE_WEEK", "retention_seconds": 604800}],
        },
    },
    {
        "kind": "backup_assignment",
        "spec": {"asset_id": {"ref": "volume"}, "policy_id": {"ref": "backup_policy"}},
    },
]
# What there is of an account before anything is made.
BARE = {"image", "tenancy", "volumebackuppolicy", "workrequest"}


def put(value: Any, known: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: put(one, known) for name, one in value.items()}
    if isinstance(value, list):
        return [put(one, known) for one in value]
    return known.get(value, value) if isinstance(value, str) else value


def build(operator: Operator, tmp_path: Any) -> dict[str, Any]:
    """All that a provision makes, of every kind."""
    known = {"@secret": str(tmp_path / "key.json"), "@domain": operator.cloud.domains[0]}
    rows = operator.apply(*put(OURS, known)).rows
    compartment = rows["compartment"]["id"]
    inside = operator.apply(*INSIDE, compartment=compartment).rows
    account = operator.account()
    options = {
        "owner": OWNER,
        "wait_seconds": 5.0,
        "compartment_id": compartment,
        "name": "atlas",
        "hostname": "atlas",
        "shapes": [{"shape": "VM.Standard.A1.Flex", "ocpus": 2.0, "memory_gb": 12.0}],
        "operating_system": "Canonical Ubuntu",
        "operating_system_version": "24.04",
        "image_id": None,
        "boot_volume_gb": 50,
        "subnet_id": inside["subnet"]["id"],
        "nsg_ids": [inside["network_security_group"]["id"]],
        "assign_ipv6": False,
        "ssh_keys": ["ssh-ed25519 key"],
        "user_data": None,
        "near_volume": None,
        "resize": False,
    }
    machine = oci_instance.Machine(account, Guard(account), options, check=False).keep()
    known |= {"@private": machine["private_ip_id"], "@machine": machine["instance"]["id"]}
    after = operator.apply(*put(AFTER, known), compartment=compartment).rows
    for number in range(3):
        account.ask("objects", "put_object", operator.cloud.namespace, "box", f"data/{number % 2}", b"x")
    operator.cloud.store.hurry()
    return {**rows, **inside, **after, "instance": machine["instance"]}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Operator, dict[str, Any]]]:
    """A cloud in which all is built, once: what a test removes is put back for the next."""
    home = tmp_path_factory.mktemp("cloud")
    with FakeOci() as cloud:
        operator = Operator(cloud, cloud.account(home))
        operator.rows_before = cloud.store.rows.copy()
        rows = build(operator, home)
        operator.rows_built = cloud.store.rows
        operator.limits = dict(cloud.limits)
        yield operator, rows


def put_back(operator: Operator, rows: dict[str, Resource]) -> None:
    cloud = operator.cloud
    cloud.store.rows = copy.deepcopy(rows)
    cloud.misbehave.reset()
    cloud.tokens.clear()
    cloud.calls.clear()
    cloud.limits = dict(operator.limits)


@pytest.fixture
def operator(whole: tuple[Operator, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> Operator:
    monkeypatch.setattr(oci_state, "PATIENCE", 0.3)
    put_back(whole[0], whole[0].rows_before)
    return whole[0]


@pytest.fixture
def cloud(operator: Operator) -> FakeOci:
    return operator.cloud


@pytest.fixture
def built(whole: tuple[Operator, dict[str, Any]], operator: Operator) -> dict[str, Any]:
    put_back(operator, operator.rows_built)
    return whole[1]


def swept(operator: Operator, *keep: str, wait: float = 5.0) -> Sweep:
    """Take down what is there of the owner but for what to keep."""
    sweep = Sweep(operator.account(), operator.owner, keep=frozenset(keep), wait_seconds=wait)
    sweep.clear(sweep.find())
    return sweep


def left(cloud: FakeOci) -> list[str]:
    """What is still there, by kind and name."""
    return sorted(
        f"{row.kind} {row.body.get('displayName') or row.body.get('name') or ''}".strip()
        for row in list(cloud.store.rows.values())
        if row.kind not in BARE and not row.is_gone and row.id != cloud.user
    )


# All of it


def test_nothing_of_ours_is_left(cloud, operator, built):
    done = swept(operator)
    assert done.kept == []
    assert left(cloud) == []
    order = [name.split()[0] for name in done.removed]
    assert order.index("instance") < order.index("subnet") < order.index("route_table")
    assert order.index("internet_gateway") < order.index("vcn") < order.index("compartment")


@pytest.mark.slow
def test_then_there_is_nothing_to_do(cloud, operator, built):
    swept(operator)
    start = len(cloud.calls)
    done = swept(operator)
    assert (done.removed, done.kept, writes(cloud, start)) == ([], [], [])


def test_where_there_never_was_anything(cloud, operator):
    done = swept(operator)
    assert (done.removed, done.kept, writes(cloud)) == ([], [], [])


@pytest.mark.slow
def test_slow_to_go(cloud, operator, built):
    cloud.misbehave.slow_states = 4
    assert swept(operator).kept == []
    assert left(cloud) == []


@pytest.mark.slow
def test_it_can_be_made_again_afterwards(cloud, operator, built, tmp_path):
    swept(operator)
    build(operator, tmp_path)


# What stays


def test_data_stays_and_what_holds_it(cloud, operator, built):
    done = swept(operator, *DATA)
    assert left(cloud) == [
        "bootvolume atlas (Boot Volume)",
        "bucket box",
        "compartment ours",
        "volume data",
        "volumebackuppolicyassignment",
    ]
    assert sorted(done.kept) == [
        "backup_policy weekly",
        "boot_volume atlas (Boot Volume)",
        "bucket box",
        "compartment ours",
        "volume data",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("keep", "stays"),
    [
        ("boot_volume", ["bootvolume atlas (Boot Volume)", "compartment ours"]),
        ("volume", ["compartment ours", "volume data", "volumebackuppolicyassignment"]),
        ("bucket", ["bucket box", "compartment ours"]),
    ],
)
def test_one_kind_of_data_stays(cloud, operator, built, keep, stays):
    swept(operator, keep)
    assert left(cloud) == stays
    swept(operator)
    assert left(cloud) == [], "a later run takes what was kept"


def test_a_boot_volume_without_our_tag_is_known_as_ours_later(cloud, operator, built):
    """Whether it has the machine's tags is Oracle's business; others' tags on it stay."""
    (volume,) = cloud.store.of("bootvolume")
    volume.body["freeformTags"] = {"team": "blue"}
    done = swept(operator, *DATA)
    assert volume.body["freeformTags"] == {"team": "blue", "atlas": OWNER}
    assert done.kept.count("boot_volume atlas (Boot Volume)") == 1
    assert "compartment ours" in done.kept, "it stands in it"
    swept(operator)
    assert left(cloud) == []


@pytest.mark.slow
def test_backups_go_with_their_volume_and_stay_with_it(cloud, operator, built):
    for kind, name in (("volumebackup", "weekly"), ("bootvolumebackup", "by hand")):
        body = {
            "compartmentId": built["compartment"]["id"],
            "displayName": name,
            "lifecycleState": "AVAILABLE",
            "freeformTags": {"atlas": OWNER},
            "type": "FULL",
        }
        cloud.store.add(kind, body)
    done = swept(operator, *DATA)
    assert {"volume_backup weekly", "boot_volume_backup by hand"} <= set(done.kept)
    swept(operator)
    assert left(cloud) == []


def test_a_check_says_the_same_as_the_run(cloud, operator, built):
    sweep = Sweep(operator.account(), OWNER, keep=frozenset(DATA), wait_seconds=5)
    found = sweep.find()
    start = len(cloud.calls)
    would = [one.name for one in found if not sweep.stays(one, found)]
    assert writes(cloud, start) == []
    assert would == swept(operator, *DATA).removed


# What others have


def others(cloud: FakeOci, kind: str, **body: Any) -> Resource:
    return cloud.store.add(
        kind, {"displayName": "theirs", "lifecycleState": "AVAILABLE", "freeformTags": {}, **body}
    )


@pytest.fixture
def theirs(cloud: FakeOci) -> list[str]:
    """Things of other people and of another environment, beside ours."""
    home = seeds.compartment(cloud, name="theirs").id
    staging = seeds.compartment(cloud, name="staging", freeformTags={"atlas": "staging"}).id
    seeds.machine(cloud, home, name="theirs", ocpus=0, memory=0)
    seeds.machine(cloud, staging, name="staging", ocpus=0, memory=0, tags={"atlas": "staging"})
    others(
        cloud, "publicip", compartmentId=home, lifetime="RESERVED", scope="REGION", ipAddress="203.0.113.9"
    )
    return left(cloud)


@pytest.mark.slow
def test_what_others_have_beside_ours_stays(cloud, operator, theirs, tmp_path, monkeypatch):
    cloud.limits.clear()
    build(operator, tmp_path)
    swept(operator)
    assert left(cloud) == theirs


def test_something_of_others_in_our_compartment(cloud, operator, built):
    seeds.volume(cloud, built["compartment"]["id"], name="theirs", gb=1)
    done = swept(operator)
    assert left(cloud) == ["compartment ours", "volume theirs"]
    (said,) = done.kept
    assert said.startswith("compartment ours, which something else still needs: ")
    assert "not empty" in said


def test_a_subnet_of_others_in_our_network(cloud, operator, built):
    same = {"compartmentId": built["compartment"]["id"], "vcnId": built["vcn"]["id"]}
    address = {"cidrBlock": "10.0.9.0/24", "virtualRouterIp": "10.0.9.1", "virtualRouterMac": "00:00:17:1"}
    theirs = others(cloud, "subnet", routeTableId="ocid1.x", **address, **same)
    done = swept(operator)
    assert left(cloud) == [
        "compartment ours",
        "dhcpoptions Default DHCP Options for net",
        "routetable Default Route Table for net",
        "securitylist Default Security List for net",
        "subnet theirs",
        "vcn net",
    ]
    said = next(one for one in done.kept if one.startswith("vcn net"))
    assert theirs.id in said
    assert "compartment ours" in done.kept
    assert "budget month" in done.removed, "what has nothing to do with it goes"


def test_a_machine_of_others_in_our_subnet(cloud, operator, built):
    """All that it hangs on stays, and is not waited for one after another."""
    compartment = built["compartment"]["id"]
    machine = seeds.machine(cloud, compartment, name="theirs", ocpus=0, memory=0)
    body = {
        "compartmentId": compartment,
        "availabilityDomain": cloud.domains[0],
        "subnetId": built["subnet"]["id"],
        "nsgIds": [],
        "isPrimary": True,
        "lifecycleState": "AVAILABLE",
    }
    cloud.store.add("vnic", body, instance=machine.id)
    done = swept(operator)
    kept = [one.split(",")[0] for one in done.kept]
    assert kept == ["subnet net", "route_table net", "security_list net", "vcn net", "compartment ours"]
    assert machine.state == "RUNNING"


def test_somebody_else_in_our_group(cloud, operator, built):
    body = {"userId": cloud.user, "groupId": built["group"]["id"], "lifecycleState": "ACTIVE"}
    cloud.store.add("groupmembership", {**body, "compartmentId": cloud.tenancy})
    done = swept(operator)
    assert [one.split(",")[0] for one in done.kept] == ["group backup"]
    assert left(cloud) == ["group backup", "groupmembership"]


def test_ours_in_a_compartment_of_others(cloud, operator, tmp_path):
    home = seeds.compartment(cloud, name="theirs").id
    entry = {"kind": "vcn", "name": "net", "spec": {"cidr_blocks": ["10.0.0.0/16"]}}
    operator.apply(entry, compartment=home)
    assert swept(operator).removed == ["vcn net"]
    assert left(cloud) == ["compartment theirs"]


def test_a_compartment_this_user_may_not_look_into(cloud, operator, built):
    closed = seeds.compartment(cloud, name="closed").id
    real = oci_account.Account.rows

    def rows(self: Any, service: str, operation: str, *arguments: Any, **named: Any) -> Any:
        if closed in (*arguments, *named.values()):
            return self.ask("compute", "get_instance", "ocid1.instance.oc1..not")
        return real(self, service, operation, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(oci_account.Account, "rows", rows)
        swept(operator)
    assert left(cloud) == ["compartment closed"]


# Buckets


@pytest.mark.slow
def test_a_bucket_of_more_than_a_page(cloud, operator, built):
    account = operator.account()
    where = (cloud.namespace, "box")
    for number in range(120):
        details = {"object": f"part/{number}"}
        account.ask("objects", "create_multipart_upload", *where, details)
    link = {
        "name": "link",
        "accessType": "AnyObjectRead",
        "timeExpires": "2040-01-01T00:00:00Z",
    }
    account.ask("objects", "create_preauthenticated_request", *where, link)
    account.ask("objects", "delete_object", *where, "data/0")
    swept(operator)
    assert left(cloud) == []


def test_a_bucket_with_a_lock(cloud, operator, built):
    bucket = cloud.store.rows[f"bucket:{cloud.namespace}/box"]
    bucket.body["versioning"] = "Suspended"
    lock = {
        "kind": "retention_rule",
        "name": "lock",
        "spec": {
            "namespace": cloud.namespace,
            "bucket": "box",
            "duration": {"time_amount": 30, "time_unit": "DAYS"},
        },
    }
    operator.apply(lock)
    swept(operator)
    assert left(cloud) == [], "a lock that is not sealed is opened by who may"


def test_a_bucket_with_a_lock_that_is_sealed(cloud, operator, built):
    bucket = cloud.store.rows[f"bucket:{cloud.namespace}/box"]
    bucket.body["versioning"] = "Suspended"
    lock = {
        "kind": "retention_rule",
        "name": "lock",
        "spec": {
            "namespace": cloud.namespace,
            "bucket": "box",
            "duration": {"time_amount": 30, "time_unit": "DAYS"},
        },
    }
    operator.apply(lock)
    for rule in bucket.facts["retention"].values():
        rule.body["timeRuleLocked"] = "2020-01-01T00:00:00Z"
    done = swept(operator)
    assert left(cloud) == ["bucket box", "compartment ours"]
    assert done.kept[0].startswith("bucket box, which something else still needs: The rule is locked")


# Stopped in the middle


class Killed(Exception):  # noqa: N818
    """As with Ctrl-C."""


def killed_after(operator: Operator, monkeypatch: pytest.MonkeyPatch, number: int, *keep: str) -> bool:
    """Take it down, and stop after so many requests that change anything; False when there are fewer."""
    real, done = oci_account.Account.ask, [0]

    def ask(self: Any, service: str, operation: str, *arguments: Any, **named: Any) -> Any:
        if not operation.startswith(("get_", "list_")):
            if done[0] == number:
                raise Killed
            done[0] += 1
        return real(self, service, operation, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(oci_account.Account, "ask", ask)
        try:
            swept(operator, *keep)
        except CloudError as error:
            assert isinstance(error.__cause__, Killed)  # noqa: PT017 - the last run ends well
            return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize("first", [0, 1, 2])
@pytest.mark.parametrize("keep", [(), DATA], ids=["nothing kept", "data kept"])
def test_on_from_wherever_it_was_stopped(cloud, operator, built, monkeypatch, keep, first):
    """Every third place it can be stopped at; the three of them together are all."""
    whole = copy.deepcopy(cloud.store.rows)
    number = first
    while killed_after(operator, monkeypatch, number, *keep):
        swept(operator, *keep)
        kinds = {name.split()[0] for name in left(cloud)}
        if keep:
            wanted = {"bootvolume", "bucket", "compartment", "volume", "volumebackuppolicyassignment"}
            assert kinds == wanted, f"after {number}"
        else:
            assert kinds == set(), f"after {number}"
        cloud.store.rows = copy.deepcopy(whole)
        number += 3
    assert number > 9


@pytest.mark.slow
def test_answers_that_are_lost_on_the_way(cloud, operator, built):
    cloud.misbehave.lose_answer(100, method="DELETE", after=1)
    for number in range(0, 40, 2):
        cloud.misbehave.lose_answer(1, method="DELETE", after=number)
    cloud.misbehave.troubles = cloud.misbehave.troubles[1:]
    swept(operator)
    assert left(cloud) == []


def test_oracle_is_busy_meanwhile(cloud, operator, built):
    for number in range(0, 60, 3):
        cloud.misbehave.throttle(1, after=number)
    swept(operator)
    assert left(cloud) == []


def test_it_says_what_will_not_go(cloud, operator, built):
    cloud.misbehave.slow_states = 1 << 20
    with pytest.raises(CloudError, match="instance atlas: terminating it: not within 0 s"):
        swept(operator, wait=0.2)
    cloud.misbehave.fail(100, method="DELETE", path="/20160918/volumes", status=403, code="NotAuthorized")
    cloud.misbehave.slow_states = None
    cloud.store.hurry()
    with pytest.raises(CloudError, match=r"volume data: removing it: .*403 NotAuthorized"):
        swept(operator)
