"""Asking Oracle: who asks, what is tried again and what is not, and what an error says to do."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import oci_account
import oci_state
import pytest
from oci_account import Account, CloudError
from oci_operator import Operator, writes
from tests.oci_api.server import FakeOci

pytestmark = pytest.mark.usefixtures("cloud")

VCN = {"kind": "vcn", "name": "net", "spec": {"cidr_blocks": ["10.0.0.0/16"]}}
GATEWAY = {
    "kind": "internet_gateway",
    "name": "net",
    "spec": {"vcn_id": {"ref": "vcn"}, "is_enabled": True},
}
BUCKET = {"kind": "bucket", "name": "box", "spec": {}}
LOCK = {
    "kind": "retention_rule",
    "name": "lock",
    "spec": {
        "namespace": {"ref": "tenancy.namespace"},
        "bucket": {"ref": "bucket"},
        "duration": {"time_amount": 30, "time_unit": "DAYS"},
    },
}
TEAM = {
    "kind": "group",
    "name": "team",
    "spec": {"compartment_id": {"ref": "tenancy"}, "description": "of Atlas"},
}
KINDS_WITH_STATES = [VCN, BUCKET, TEAM]


def said_by(operator: Operator, *entries: dict[str, Any], **more: Any) -> str:
    with pytest.raises(CloudError) as caught:
        operator.apply(*entries, **more)
    return str(caught.value)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long it would have waited; it does not."""
    slept: list[float] = []
    real = time.sleep
    monkeypatch.setattr(oci_account.time, "sleep", lambda seconds: (slept.append(seconds), real(0)))
    return slept


# Tried again


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_while_oracle_is_busy_it_is_asked_again(operator, cloud, compartment, status):
    cloud.misbehave.fail(3, path="/20160918/vcns", status=status, code="TooBusy", message="Busy")
    assert operator.apply(VCN, compartment=compartment).changes == ["made vcn net"]
    assert sum(1 for _ in cloud.store.of("vcn")) == 1


def test_it_waits_as_long_as_oracle_asks_for(operator, cloud, compartment, pauses):
    cloud.misbehave.throttle(1, path="/20160918/vcns", retry_after=7)
    operator.apply(VCN, compartment=compartment)
    assert 7 in pauses


def test_each_pause_is_longer_and_none_too_long(operator, cloud, compartment, pauses):
    operator.options["poll_seconds"] = 2.0
    cloud.misbehave.throttle(100, path="/20160918/vcns", retry_after=3600)
    assert "Oracle asked to slow down until the patience ran out" in said_by(
        operator, VCN, compartment=compartment
    )
    assert len(pauses) == oci_account.TRIES - 1
    assert max(pauses) <= oci_account.LONGEST_PAUSE * 1.3
    del pauses[:]
    cloud.misbehave.reset()
    cloud.misbehave.throttle(100, path="/20160918/vcns")
    said_by(operator, VCN, compartment=compartment)
    assert pauses[0] < 3
    assert pauses[0] * 4 < pauses[3]


def test_trouble_that_does_not_end_says_whose_it_is(operator, cloud, compartment):
    cloud.misbehave.fail(100, path="/20160918/vcns")
    said = said_by(operator, VCN, compartment=compartment)
    assert "vcn net: looking for it: Internal error. Trouble at Oracle's side: run it again later." in said
    assert "request " in said


def test_what_is_wrong_with_the_request_is_not_tried_again(operator, cloud, compartment):
    cloud.misbehave.fail(
        100, method="POST", path="/20160918/vcns", status=400, code="InvalidParameter", message="No."
    )
    assert "vcn net: making it: No. (HTTP 400 InvalidParameter" in said_by(
        operator, VCN, compartment=compartment
    )
    assert len([one for one in writes(cloud) if "vcns" in one]) == 1


# Nothing is made twice


@pytest.mark.parametrize("entry", KINDS_WITH_STATES, ids=lambda entry: entry["kind"])
def test_a_create_whose_answer_never_comes_is_not_doubled(operator, cloud, compartment, entry):
    before = {row.id for row in cloud.store.rows.values()}
    cloud.misbehave.lose_answer(1, method="POST")
    done = operator.apply(entry, compartment=compartment)
    assert done.changes == [f"made {entry['kind']} {entry['name']}"]
    kinds = [row.kind for row in cloud.store.rows.values() if row.id not in before]
    assert kinds.count(entry["kind"]) == 1
    assert not operator.apply(entry, compartment=compartment).changed


@pytest.mark.parametrize("entry", KINDS_WITH_STATES, ids=lambda entry: entry["kind"])
def test_one_that_fails_and_whose_repeat_is_lost(operator, cloud, compartment, entry):
    before = {row.id for row in cloud.store.rows.values()}
    cloud.misbehave.fail(1, method="POST", status=502, code="BadGateway")
    cloud.misbehave.lose_answer(1, method="POST", after=1)
    operator.apply(entry, compartment=compartment)
    kinds = [row.kind for row in cloud.store.rows.values() if row.id not in before]
    assert kinds.count(entry["kind"]) == 1


def test_a_rule_without_tokens_is_not_doubled_either(operator, cloud, compartment):
    operator.apply(BUCKET, compartment=compartment)
    cloud.misbehave.lose_answer(1, method="POST", path="/n/axexample/b/box/retentionRules")
    operator.apply(BUCKET, LOCK, compartment=compartment)
    (bucket,) = cloud.store.of("bucket")
    assert len(bucket.facts["retention"]) == 1


def test_a_delete_whose_answer_never_comes_is_done(operator, cloud, compartment):
    operator.apply(VCN, compartment=compartment)
    cloud.misbehave.lose_answer(1, method="DELETE")
    assert operator.apply({**VCN, "state": "absent"}, compartment=compartment).changes == ["removed vcn net"]
    assert not list(cloud.store.of("vcn"))


def test_a_second_run_straight_after_finds_what_no_list_shows_yet(operator, cloud, compartment):
    cloud.misbehave.stale = 3
    first = operator.apply(VCN, compartment=compartment).rows["vcn"]
    cloud.store.get(first["id"]).unseen = 2
    second = operator.apply(VCN, compartment=compartment).rows["vcn"]
    assert first["id"] == second["id"]
    assert sum(1 for _ in cloud.store.of("vcn")) == 1


def test_what_is_asked_for_again_some_time_later_is_another(operator, cloud, compartment, monkeypatch):
    """Oracle may answer a token as it did before, for a day; but what is gone must be made again."""
    tokens = []
    for window in (1, 2):
        monkeypatch.setattr(oci_state, "window", lambda window=window: window)
        cloud.tokens.clear()
        operator.apply(VCN, compartment=compartment)
        tokens += [token for token, name in cloud.tokens if name == "core.create_vcn"]
        operator.apply({**VCN, "state": "absent"}, compartment=compartment)
    assert len(set(tokens)) == 2


@pytest.mark.parametrize("entry", [BUCKET, TEAM], ids=lambda entry: entry["kind"])
def test_a_unique_name_no_list_shows_yet(operator, cloud, compartment, entry):
    first = operator.apply(entry, compartment=compartment).rows[entry["kind"]]
    row = cloud.store.rows[f"bucket:axexample/{first['id']}" if entry is BUCKET else first["id"]]
    row.unseen = 2
    cloud.tokens.clear()
    second = operator.apply(entry, compartment=compartment).rows[entry["kind"]]
    assert first["id"] == second["id"]


def test_what_was_made_and_is_not_seen_yet_is_waited_for(operator, cloud, compartment):
    cloud.misbehave.stale = 5
    done = operator.apply(VCN, GATEWAY, compartment=compartment)
    assert done.rows["vcn"]["lifecycle_state"] == "AVAILABLE"
    assert done.rows["internet_gateway"]["lifecycle_state"] == "AVAILABLE"


# States


def test_it_waits_until_a_thing_is_ready(operator, cloud, compartment):
    cloud.misbehave.slow_states = 8
    assert operator.apply(VCN, GATEWAY, compartment=compartment).rows["vcn"]["lifecycle_state"] == "AVAILABLE"


def test_waiting_has_an_end_and_the_next_run_goes_on(operator, cloud, compartment):
    cloud.misbehave.slow_states = 1000
    said = said_by(operator, VCN, compartment=compartment, wait=0.2)
    assert "vcn net: not within 0 s. Run it again: it goes on where it is." in said
    (vcn,) = cloud.store.of("vcn")
    assert vcn.state == "PROVISIONING"
    cloud.store.finish(vcn)
    cloud.misbehave.reset()
    done = operator.apply(VCN, GATEWAY, compartment=compartment)
    assert done.changes == ["made internet_gateway net"]


def test_what_is_not_ready_is_waited_for_before_it_is_changed(operator, cloud, compartment):
    """As when a run was stopped, and the next wants something else."""
    cloud.misbehave.slow_states = 4
    with pytest.raises(CloudError):
        operator.apply(VCN, compartment=compartment, wait=0.0)
    entry = {**VCN, "spec": {**VCN["spec"], "freeform_tags": {"team": "blue"}}}
    done = operator.apply(entry, compartment=compartment)
    assert done.changes == ["changed vcn net: freeform_tags"]


def test_what_is_not_ready_is_waited_for_also_when_nothing_differs(operator, cloud, compartment):
    cloud.misbehave.slow_states = 4
    with pytest.raises(CloudError):
        operator.apply(VCN, compartment=compartment, wait=0.0)
    assert operator.apply(VCN, compartment=compartment).rows["vcn"]["lifecycle_state"] == "AVAILABLE"


def test_what_ends_while_it_is_made_is_said(operator, cloud, compartment):
    cloud.misbehave.slow_states = 1000
    with pytest.raises(CloudError):
        operator.apply(VCN, compartment=compartment, wait=0.0)
    (vcn,) = cloud.store.of("vcn")
    cloud.misbehave.reset()
    cloud.store.go(vcn, "PROVISIONING", "TERMINATED", looks=1)
    assert "vcn net: Oracle says it is TERMINATED" in said_by(operator, VCN, compartment=compartment)


def test_removing_waits_until_it_is_gone(operator, cloud, compartment):
    operator.apply(VCN, compartment=compartment)
    cloud.misbehave.slow_states = 5
    operator.apply({**VCN, "state": "absent"}, compartment=compartment)
    assert not [row for row in cloud.store.listed("vcn") if row.state != "TERMINATED"]


def test_what_hangs_on_it_is_waited_for_when_it_is_removed(operator, cloud, compartment):
    operator.apply(VCN, GATEWAY, compartment=compartment)
    (gateway,) = cloud.store.of("internetgateway")
    cloud.store.go(gateway, "TERMINATING", "TERMINATED", looks=1 << 30)
    gateway.steps[0].due = cloud.now().replace(year=9000)
    cloud.misbehave.slow_states = 0
    said = said_by(operator, {**VCN, "state": "absent"}, compartment=compartment, wait=0.1)
    assert "is associated with Gateway that is in use" in said
    cloud.store.finish(gateway)
    operator.apply({**VCN, "state": "absent"}, compartment=compartment)


# Who asks


def test_an_expired_key(operator, cloud, compartment):
    cloud.misbehave.expired = True
    said = said_by(operator, VCN, compartment=compartment)
    assert "Oracle does not accept the key" in said
    assert "fingerprint" in said
    assert len(cloud.calls) == 1, "it is not tried again"


def test_a_clock_that_is_wrong(operator, cloud, compartment):
    cloud.misbehave.clock_skew = 3600
    assert "this computer's clock" in said_by(operator, VCN, compartment=compartment)


def test_the_key_of_somebody_else(operator, cloud, compartment, tmp_path):
    (tmp_path / "other").mkdir()
    stranger = FakeOci()
    key = stranger.account(tmp_path / "other")["key_file"]
    operator.options["key_file"] = key
    assert "Oracle does not accept the key" in said_by(operator, VCN, compartment=compartment)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"key_file": "/nowhere/key.pem"}, "The API key /nowhere/key.pem is not there or not readable."),
        ({"key_file": None}, "key_file or key_content"),
        ({"region": None}, "region"),
        ({"region": "frankfurt am main"}, "region"),
        ({"tenancy": "mine"}, "tenancy"),
        ({"user": "me"}, "user"),
        ({"fingerprint": "aa:bb"}, "fingerprint"),
        ({"key_content": "no key at all"}, "The API key cannot be used"),
    ],
)
def test_what_is_wrong_with_the_account_is_named(operator, cloud, change, words):
    with pytest.raises(CloudError) as caught:
        operator.account(**change)
    assert words in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert cloud.calls == []


def test_the_key_file_is_something_else(operator, tmp_path):
    for content in (b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", os.urandom(64)):
        (tmp_path / "wrong.pem").write_bytes(content)
        with pytest.raises(CloudError, match="The API key cannot be used"):
            operator.account(key_file=str(tmp_path / "wrong.pem"))


def test_a_key_that_is_locked(operator, cloud, tmp_path):
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(Path(operator.options["key_file"]).read_bytes(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"open"),
    )
    (tmp_path / "locked.pem").write_bytes(locked)
    operator.options["key_file"] = str(tmp_path / "locked.pem")
    for wrong in (None, "shut"):
        with pytest.raises(CloudError, match="pass_phrase"):
            operator.account(pass_phrase=wrong)
    assert operator.account(pass_phrase="open").home_region == cloud.region
    inside = operator.account(key_content=locked.decode(), pass_phrase="open", key_file=None)
    assert inside.home_region == cloud.region


def test_a_profile_of_oracles_own_file(operator, cloud, tmp_path):
    fields = {
        name: operator.options[name] for name in ("user", "fingerprint", "tenancy", "region", "key_file")
    }
    lines = [f"{name}={value}" for name, value in fields.items()]
    path = tmp_path / "config"
    path.write_text("\n".join(["[DEFAULT]", *lines, "", "[WORK]", "region=eu-zurich-1", ""]))
    same = {"endpoint": cloud.endpoint, "config_file": str(path), "poll_seconds": 0.01}
    assert Account(same).home_region == cloud.region
    assert Account({**same, "profile": "WORK"}).region == "eu-zurich-1"
    assert Account({**same, "region": "eu-zurich-1"}).region == "eu-zurich-1"
    with pytest.raises(CloudError, match=r"nor is there a profile OTHER in .*config"):
        Account({**same, "profile": "OTHER"})
    with pytest.raises(CloudError, match=r"docs/oci-first-run\.md"):
        Account({**same, "config_file": str(tmp_path / "none")})
    path.write_text("this is no such file\n")
    with pytest.raises(CloudError, match="config"):
        Account(same)


def test_without_the_package_it_says_how_to_get_it(tmp_path):
    (tmp_path / "oci.py").write_text("raise ImportError('not installed')\n")
    root = Path(__file__).parents[2]
    code = (
        "import sys, types; import ansible.module_utils as m\n"
        f"m.__path__.append({str(root / 'plugins/module_utils')!r})\n"
        "from ansible.module_utils.oci_account import Account\n"
        "Account({})\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "On the operator's machine: make setup-oci" in found.stderr


# Nobody there


def test_nobody_listens(operator, compartment):
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    operator.options["endpoint"] = f"http://127.0.0.1:{port}"
    said = said_by(operator, VCN, compartment=compartment)
    assert f"http://127.0.0.1:{port} does not answer" in said


@pytest.mark.slow
def test_a_name_that_is_none(operator, compartment):
    operator.options["endpoint"] = "http://cloud.invalid:8000"
    assert "cloud.invalid:8000 does not answer" in said_by(operator, VCN, compartment=compartment)


@pytest.mark.parametrize("endpoint", ["cloud.example.org", "ftp://cloud.example.org", "http://"])
def test_an_endpoint_that_is_no_address(operator, compartment, endpoint):
    operator.options["endpoint"] = endpoint
    said = said_by(operator, VCN, compartment=compartment)
    assert "endpoint" in said


def test_an_endpoint_with_a_slash_at_its_end(operator, cloud, compartment):
    operator.options["endpoint"] = f"{cloud.endpoint}/"
    assert operator.apply(VCN, compartment=compartment).changes == ["made vcn net"]


# What all clients of a process share


def test_the_breaker_all_clients_would_share_is_never_used(operator, cloud):
    account = operator.account()
    cloud.misbehave.fail(40, path="/20160918/instances", message="Out of host capacity.")
    for _ in range(20):
        with pytest.raises(Exception, match="Out of host capacity"):
            account.ask("compute", "list_instances", cloud.tenancy)
    assert account.home_region == cloud.region


def test_out_of_host_capacity_is_not_tried_again_blindly(operator, cloud):
    cloud.misbehave.fail(40, path="/20160918/instances", message="Out of host capacity.")
    with pytest.raises(Exception, match="Out of host capacity"):
        operator.account().ask("compute", "list_instances", cloud.tenancy)
    assert len(cloud.calls) == 1


def test_modules_import_no_more_of_the_sdk_than_they_need():
    """The first import of all of it takes seconds."""
    root = Path(__file__).parents[2]
    code = (
        "import sys; import ansible.module_utils as m\n"
        f"m.__path__.append({str(root / 'plugins/module_utils')!r})\n"
        "import ansible.module_utils.oci_state, ansible.module_utils.oci_sweep\n"
        "print(sorted({n for n in sys.modules if n.startswith('oci.')}"
        " & {'oci.core', 'oci.identity', 'oci.budget', 'oci.limits', 'oci.usage_api'}))\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
