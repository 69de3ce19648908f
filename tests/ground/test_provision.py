"""A life of the ground: looked at, built on a bad day, left alone, mended, measured, taken down."""

import json
from typing import Any

import pytest
from tests.ground.ground import Ground

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

# No more requests than this for a run that changes nothing, and no more seconds of the processor: on a
# machine with nothing else to do they are about the seconds it takes.
REQUESTS = 45
SECONDS = 20
NETWORK = "--tags=oci_identity,oci_network"
DATA = [
    "bootvolume atlas (Boot Volume)",
    "bucket atlas-production-backup",
    "compartment atlas-production",
    "volume atlas",
    "volumebackuppolicy atlas",
    "volumebackuppolicyassignment",
]


@pytest.fixture(autouse=True)
def well(life: Ground) -> Any:
    """Whatever a test made go wrong is right for the next."""
    yield
    life.cloud.misbehave.reset()


def rules_of(life: Ground) -> list[dict[str, Any]]:
    (group,) = life.cloud.store.of("networksecuritygroup")
    return group.facts["rules"]


def written(life: Ground, name: str = "oracle_cloud") -> dict[str, Any]:
    import yaml

    return yaml.safe_load((life.inventory / f"host_vars/machine/{name}.yml").read_text())


def test_a_check_of_an_empty_account(life: Ground) -> None:
    run = life.play("provision", "--check", "--diff").expect()
    assert run.writes == []
    assert life.left() == []
    for words in ("compartment atlas-production", "vcn atlas", "instance atlas", "bucket atlas-production"):
        assert f"+++ after: {words}" in run.screen
    assert "shape: VM.Standard.A1.Flex" in run.screen
    assert not (life.inventory / "host_vars").exists()
    assert not (life.inventory / ".secrets").exists()


def test_everything_is_built_on_a_bad_day(life: Ground) -> None:
    """No room in one place, answers that are late, lost or no answers, lists that do not know the latest."""
    bad = life.cloud.misbehave
    bad.no_capacity = ["AD-1"]
    bad.stale = 1
    bad.throttle(2, after=10, retry_after=1)
    bad.fail(2, after=20, method="GET")
    bad.lose_answer(1, method="POST", after=3)
    bad.lose_answer(1, method="POST", path="/20160918/instances")
    bad.lose_answer(1, method="POST", path="/n/axexample/b")
    run = life.play("provision").expect()
    assert len(set(life.left())) == len(life.left()), "nothing is there twice"
    (machine,) = life.cloud.store.of("instance")
    assert machine.body["availabilityDomain"] == life.cloud.domains[1]
    (volume,) = life.cloud.store.of("volume")
    assert volume.body["availabilityDomain"] == life.cloud.domains[1]
    (attachment,) = life.cloud.store.of("volumeattachment")
    assert attachment.state == "ATTACHED"
    assert written(life)["ansible_host"] == "127.0.0.1"
    assert "The machine is at 127.0.0.1" in run.words
    secret = json.loads((life.inventory / ".secrets/oci_backup_key.json").read_text())["key"]
    assert secret not in run.screen
    assert written(life, "oracle_cloud_backup") == {
        "atlas_backup_s3_url": "https://axexample.compat.objectstorage.eu-frankfurt-1.oraclecloud.com/"
        "atlas-production-backup",
        "atlas_backup_s3_region": "eu-frankfurt-1",
    }
    for row in life.cloud.store.rows.values():
        row.unseen = 0  # some time later


def test_backups_go_to_the_bucket_with_nothing_to_be_done(life: Ground) -> None:
    """What role backup is given, read from the inventory as the next run finds it."""
    key = json.loads((life.inventory / ".secrets/oci_backup_key.json").read_text())
    found = life.variables_of("atlas_backup_s3_url", "atlas_backup_s3_key_id", "atlas_backup_s3_secret_key")
    assert found == [written(life, "oracle_cloud_backup")["atlas_backup_s3_url"], key["id"], key["key"]]


def test_what_is_open_is_what_the_list_says(life: Ground) -> None:
    """The default security list is empty, and what may come in is the same in both firewalls."""
    lists = {row.body["displayName"]: row.body for row in life.cloud.store.of("securitylist")}
    assert lists["Default Security List for atlas"]["ingressSecurityRules"] == []
    ingress = [rule for rule in rules_of(life) if rule["direction"] == "INGRESS"]
    found = [
        sorted(
            (rule["source"], rule["tcpOptions"]["destinationPortRange"]["min"])
            for rule in rules
            if rule.get("tcpOptions")
        )
        for rules in (ingress, lists["atlas"]["ingressSecurityRules"])
    ]
    assert found[0] == found[1] == [("0.0.0.0/0", 80), ("0.0.0.0/0", 443), ("198.51.100.7/32", 22)]


def test_a_second_run_changes_nothing_and_is_quick(life: Ground) -> None:
    run = life.play("provision").expect()
    assert (run.changed, run.writes) == (0, [])
    assert len(run.calls) <= REQUESTS
    assert run.processor <= SECONDS


def test_a_check_of_what_is_built_says_nothing(life: Ground) -> None:
    run = life.play("provision", "--check", "--diff").expect()
    assert (run.changed, run.writes) == (0, [])
    assert "+++" not in run.screen


def test_a_rule_opened_by_hand_is_shown_and_closed(life: Ground) -> None:
    by_hand = {
        "direction": "INGRESS",
        "protocol": "6",
        "source": "0.0.0.0/0",
        "sourceType": "CIDR_BLOCK",
        "isStateless": False,
        "tcpOptions": {"destinationPortRange": {"min": 5432, "max": 5432}},
        "id": "BYHAND",
        "isValid": True,
    }
    rules_of(life).append(by_hand)
    run = life.play("provision", "--diff", NETWORK).expect()
    closed = [line for line in run.screen.splitlines() if "5432" in line]
    assert len(closed) == 1
    assert closed[0].startswith("-")
    assert run.changed == 1
    assert [one.rsplit("/", 1)[1] for one in run.writes] == ["removeSecurityRules"]
    assert not [rule for rule in rules_of(life) if rule["id"] == "BYHAND"]


OPTIONAL = ("budget", "group", "quota", "user", "volumebackuppolicy")


def optional(life: Ground) -> set[str]:
    """Say which of the things that can be switched off there are."""
    store = life.cloud.store
    rows = [(kind, row) for kind in OPTIONAL for row in store.of(kind)]
    found = {kind for kind, row in rows if row.id != life.cloud.user and not row.facts.get("oracles")}
    return found | {"lock" for row in store.of("bucket") if row.facts.get("retention")}


def test_what_is_switched_off_goes_and_comes_back(life: Ground) -> None:
    """A lock stands in the way of versions, so it is opened before these are asked for again."""
    versions, locked = optional(life), {"oci_storage_lock_days": 1}
    life.play("provision", **locked).expect()
    assert optional(life) - versions == {"lock"}
    less = {
        "oci_guard_email": "",
        "oci_guard_quota": False,
        "oci_identity_backup_user": False,
        "oci_storage_volume_backups": 0,
    }
    check = life.play("provision", "--check", **less).expect()
    run = life.play("provision", **less).expect()
    assert check.changed == run.changed == 4
    assert life.variables_of("atlas_backup_s3_url") == [""]
    assert optional(life) == set()
    assert not list((life.inventory / ".secrets").glob("oci_backup_key*"))
    assert life.play("provision", **less).expect().changed == 0
    life.play("provision", atlas_backup_s3_url="https://s3.example.org/mine").expect()
    assert optional(life) == versions
    assert not (life.inventory / "host_vars/machine/oracle_cloud_backup.yml").exists(), "others were chosen"
    assert life.play("provision").expect().changed == 1, "only that file is written"


def test_what_is_used_and_what_lies_about(life: Ground) -> None:
    from tests.oci_api import seeds

    elsewhere = seeds.compartment(life.cloud, name="theirs").id
    theirs = seeds.volume(life.cloud, elsewhere, name="theirs", gb=0)
    ours = seeds.volume(life.cloud, elsewhere, name="ours", gb=0, freeformTags={"atlas": "production"})
    run = life.play("leftovers").expect()
    assert run.writes == []
    assert theirs.id in run.screen
    assert ours.id in run.screen
    life.play("leftovers", life.extra(remove=[theirs.id])).expect(2)
    assert theirs.state == "AVAILABLE"
    run = life.play("leftovers", life.extra(remove=[ours.id])).expect()
    assert [one.split("/")[-1] for one in run.writes] == [ours.id]


@pytest.mark.parametrize("confirm", [None, "", "staging", "Production"])
def test_nothing_is_taken_down_by_mistake(life: Ground, confirm: str | None) -> None:
    extra = [] if confirm is None else [life.extra(confirm=confirm)]
    run = life.play("destroy", *extra).expect(2)
    assert "Nothing was removed" in run.words
    assert run.calls == []


def test_taken_down_but_for_data_and_what_others_have(life: Ground) -> None:
    run = life.play("destroy", life.extra(confirm="production")).expect()
    assert life.left() == sorted([*DATA, "compartment theirs", "volume theirs"])
    for words in ("removed:", "- instance atlas", "kept:", "- bucket atlas-production-backup"):
        assert words in run.screen
    assert not list((life.inventory / "host_vars/machine").iterdir())


def test_a_check_between_lives(life: Ground) -> None:
    """The volume stands, its machine is to come: where is not known before."""
    run = life.play("provision", "--check", "--diff").expect()
    assert run.writes == []
    assert "volume atlas" not in run.screen.replace("volume_attachment atlas", "")


def test_built_again_beside_its_data(life: Ground) -> None:
    (volume,) = (row for row in life.cloud.store.of("volume") if row.body["displayName"] == "atlas")
    life.play("provision").expect()
    (attachment,) = life.cloud.store.of("volumeattachment")
    (machine,) = life.cloud.store.of("instance")
    assert attachment.body["volumeId"] == volume.id
    assert machine.body["availabilityDomain"] == volume.body["availabilityDomain"]


def test_taken_down_with_all_data(life: Ground) -> None:
    life.play("destroy", life.extra(confirm="production", oci_keep=[])).expect()
    assert life.left() == ["compartment theirs", "volume theirs"]
