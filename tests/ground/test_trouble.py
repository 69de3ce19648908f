"""What goes wrong, as a busy person sees it on the screen: what it is, and what to do."""

import os
from pathlib import Path
from typing import Any

import pytest
from tests.ground.ground import Ground
from tests.oci_api import seeds

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

IDENTITY = "--tags=oci_identity"
TO_THE_MACHINE = "--tags=oci_identity,oci_network,oci_compute"


@pytest.fixture(autouse=True)
def well(life: Ground) -> Any:
    yield
    life.cloud.misbehave.reset()


def failed(life: Ground, *arguments: str, **more: Any) -> str:
    """Run it, see it fail, and return what is on the screen."""
    run = life.play("provision", *arguments, **more).expect(2)
    assert "MODULE FAILURE" not in run.words
    assert "failed=1" in run.words
    return run.words


def account(life: Ground, **changed: Any) -> dict[str, Any]:
    found = {**life.variables["oci_account"], **changed}
    return {name: value for name, value in found.items() if value is not None}


# The key


def test_a_key_that_oracle_does_not_know(life: Ground) -> None:
    life.cloud.misbehave.expired = True
    said = failed(life, IDENTITY)
    assert "Oracle does not accept the key. Look at user, fingerprint, tenancy and key_file" in said
    assert "Nothing was changed." in said


def test_a_clock_that_is_wrong(life: Ground) -> None:
    life.cloud.misbehave.clock_skew = 3600
    assert "this computer's clock" in failed(life, IDENTITY)


def test_a_key_file_that_is_not_there(life: Ground, tmp_path: Path) -> None:
    wrong = account(life, key_file=str(tmp_path / "key.pem"))
    assert f"The API key {tmp_path}/key.pem is not there or not readable." in failed(
        life, IDENTITY, oci_account=wrong
    )


def test_no_account_at_all(life: Ground) -> None:
    said = failed(life, IDENTITY, oci_account={"profile": "DEFAULT"})
    assert "No API key" in said
    assert "docs/oci-first-run.md" in said


def test_without_the_package(life: Ground, tmp_path: Path) -> None:
    (tmp_path / "oci").mkdir()
    (tmp_path / "oci" / "__init__.py").write_text("raise ImportError('none')\n")
    life.environment = {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    try:
        assert "make setup-oci" in failed(life, IDENTITY)
    finally:
        life.environment = {}


def test_a_key_in_the_inventory_is_not_shown(life: Ground) -> None:
    key = Path(life.variables["oci_account"]["key_file"]).read_text()
    run = life.play("provision", "-vvv", "--check", IDENTITY, oci_account=account(life, key_content=key))
    run.expect()
    assert key.splitlines()[5] not in run.screen


# The way


def test_nobody_there(life: Ground) -> None:
    wrong = account(life, endpoint="http://127.0.0.1:9", poll_seconds=0.01)
    assert "http://127.0.0.1:9 does not answer" in failed(life, IDENTITY, oci_account=wrong)


def test_asked_too_often(life: Ground) -> None:
    life.cloud.misbehave.throttle(1000)
    assert "Oracle asked to slow down until the patience ran out. Run it again in some minutes." in failed(
        life, IDENTITY
    )


def test_trouble_at_oracles(life: Ground) -> None:
    life.cloud.misbehave.fail(1000)
    said = failed(life, IDENTITY)
    assert "Trouble at Oracle's side: run it again later." in said
    assert "request " in said, "for a support case"


# What is ours, and what is asked for


def test_a_name_somebody_else_has(life: Ground) -> None:
    theirs = seeds.compartment(life.cloud, name="taken-production").id
    said = failed(life, IDENTITY, oci_name="taken")
    assert (
        f"compartment taken-production: there is one of that name which this did not make ({theirs}" in said
    )
    assert "Choose another name" in said


def test_what_it_did_until_then_is_said(life: Ground) -> None:
    """And the next run goes on from there."""
    life.cloud.misbehave.fail(
        1, method="POST", path="/20160918/policies", status=400, code="InvalidParameter", message="No."
    )
    said = failed(life, IDENTITY)
    assert "policy atlas-production: making it: No." in said
    assert "Done before that: made compartment atlas-production; made dynamic_group atlas-production." in said
    run = life.play("provision", IDENTITY).expect()
    assert not [one for one in run.writes if one.startswith("POST /20160918/compartments")]


def test_away_from_home(life: Ground) -> None:
    wrong = account(life, region="eu-zurich-1")
    said = failed(life, "--tags=oci_identity,oci_network", oci_account=wrong)
    assert "eu-zurich-1 is not this account's home region" in said
    assert "set region to it" in said


def test_a_variable_of_the_wrong_kind(life: Ground) -> None:
    run = life.play("provision", oci_network_ipv6="perhaps", oci_volume_gb="large").expect(2)
    assert "oci_network_ipv6" in run.words
    assert run.calls == []


# The machine


def test_no_room_for_it(life: Ground) -> None:
    life.cloud.misbehave.no_capacity = ["*"]
    said = failed(life, TO_THE_MACHINE)
    assert "Oracle has no room now: VM.Standard.A1.Flex in Uocm:EU-FRANKFURT-1-AD-1" in said
    assert "VM.Standard.E2.1.Micro in Uocm:EU-FRANKFURT-1-AD-3" in said
    assert "it goes on from here" in said
    assert "oci_compute_capacity_minutes" in said
    assert list(life.cloud.store.of("instance")) == []


def test_beyond_the_accounts_limit(life: Ground) -> None:
    life.cloud.misbehave.limits_exceeded = ["standard-a1-core-count"]
    said = failed(life, TO_THE_MACHINE)
    assert "standard-a1-core-count" in said
    assert "The account's limit is reached (Oracle Cloud: Governance, Limits, Quotas and Usage)" in said


def test_a_machine_that_costs_money(life: Ground) -> None:
    paid = [{"shape": "VM.Standard.E4.Flex", "ocpus": 1, "memory_gb": 4}]
    said = failed(life, TO_THE_MACHINE, oci_compute_shapes=paid)
    assert "the shape VM.Standard.E4.Flex costs money (PAID)" in said
    assert "Set allow_paid: true (oci_allow_paid) to make it and pay." in said


def test_room_after_a_while(life: Ground) -> None:
    """Which is told meanwhile; last, as there is a machine then."""
    life.cloud.misbehave.fail(3, method="POST", path="/20160918/instances", message="Out of host capacity.")
    waiting = {"oci_compute_capacity_minutes": 1, "oci_compute_capacity_pause_seconds": 1}
    run = life.play("provision", TO_THE_MACHINE, **waiting).expect()
    assert "No room for VM.Standard.A1.Flex in Uocm:EU-FRANKFURT-1-AD-1" in run.words
    assert "(walk 1). Trying again in 1 s, for 1 minutes more; Ctrl-C loses nothing." in run.words
    (machine,) = life.cloud.store.of("instance")
    assert machine.body["shape"] == "VM.Standard.A1.Flex"
