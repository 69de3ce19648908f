"""atlasctl usage against the fake cloud: signatures, tokens, policies, pages, and what goes wrong there."""

import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from standins import Machine
from tests.oci_api import seeds
from tests.oci_api.server import FakeOci

from atlasctl.cli import main
from atlasctl.cloud import client as client_module
from atlasctl.cloud.client import Client
from atlasctl.cloud.configuration import Configuration
from atlasctl.cloud.metadata import read_machine
from atlasctl.cloud.signing import new_key
from atlasctl.trouble import Trouble

#: What role oci_identity grants, of which docs/free-tier.md is the list.
STATEMENTS = [
    "Allow dynamic-group machines to read metrics in tenancy",
    "Allow dynamic-group machines to read usage-report in tenancy",
    "Allow dynamic-group machines to inspect compartments in tenancy",
    "Allow dynamic-group machines to inspect instances in tenancy",
    "Allow dynamic-group machines to inspect volume-family in tenancy",
    "Allow dynamic-group machines to inspect public-ips in tenancy",
    "Allow dynamic-group machines to read buckets in tenancy",
]
METRICS = "var/lib/prometheus/node-exporter/atlas_free_tier.prom"


@pytest.fixture(scope="module", autouse=True)
def _one_session_key() -> Iterator[None]:
    """Making a key takes longer than all else; test_cloud_signing.py makes them."""
    pair = new_key()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client_module, "new_key", lambda: pair)
        yield


@pytest.fixture
def cloud() -> Iterator[FakeOci]:
    with FakeOci() as fake:
        yield fake


@pytest.fixture
def compartment(cloud: FakeOci) -> str:
    return seeds.compartment(cloud).id


@pytest.fixture
def instance(cloud: FakeOci, compartment: str):
    row = seeds.machine(cloud, compartment)
    subnet = {"compartmentId": compartment, "virtualRouterIp": "10.0.0.1", "cidrBlock": "10.0.0.0/24"}
    card = {
        "compartmentId": compartment,
        "subnetId": cloud.store.add("subnet", subnet).id,
        "privateIp": "10.0.0.2",
        "macAddress": "02:00:17:00:00:01",
    }
    cloud.store.add("vnic", card, instance=row.id)
    return row


def grant(cloud: FakeOci, instance, statements: list[str]) -> None:
    """As role oci_identity does, without asking for it."""
    same = {"compartmentId": cloud.tenancy, "name": "machines", "lifecycleState": "ACTIVE"}
    cloud.store.add("dynamicgroup", same | {"matchingRule": f"Any {{instance.id = '{instance.id}'}}"})
    cloud.store.add("policy", same | {"statements": statements})


@pytest.fixture
def granted(cloud: FakeOci, instance):
    grant(cloud, instance, STATEMENTS)
    return instance


@pytest.fixture
def here(machine: Machine, cloud: FakeOci) -> Machine:
    """Return a machine whose metadata service and cloud are the fake's."""
    services = {
        "metadata": f"{cloud.endpoint}/opc/v2",
        "federation": f"{cloud.endpoint}/v1/x509",
        "endpoint": cloud.endpoint,
    }
    machine.file("etc/atlas/oci.json", services)
    return machine


def configured(machine: Machine, **more) -> None:
    file = machine.root / "etc/atlas/oci.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | more))


def usage(capsys, *arguments: str) -> SimpleNamespace:
    code = main(["usage", *arguments])
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    return SimpleNamespace(code=code, out=said.out, err=said.err)


def client(cloud: FakeOci, **more) -> Client:
    services = {"federation": f"{cloud.endpoint}/v1/x509", "endpoint": cloud.endpoint}
    configuration = Configuration(metadata=f"{cloud.endpoint}/opc/v2", **services)
    return Client(configuration, read_machine(configuration.metadata), **more)


def samples(machine: Machine) -> dict[str, str]:
    text = (machine.root / METRICS).read_text()
    return dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))


def busy(cloud: FakeOci, instance, compartment: str) -> None:
    """Measurements of a week, and a month of usage."""
    own = {"compartment_id": compartment, "dimensions": {"resourceId": instance.id}}
    seeds.series(cloud, "oci_computeagent", "CpuUtilization", 8.0, swing=3, **own)
    seeds.series(cloud, "oci_computeagent", "MemoryUtilization", 31.0, **own)
    bucket = {"resourceID": "ocid1.bucket.oc1..b", "resourceDisplayName": "backup"}
    for name, value, more in (
        ("StoredBytes", 3e9, {"tier": "Standard"}),
        ("AllRequests", 20, {}),
        ("UncommittedParts", 5e8, {"tier": "Standard"}),
    ):
        seeds.series(
            cloud,
            "oci_objectstorage",
            name,
            value,
            compartment_id=compartment,
            dimensions=bucket | more,
            minutes=60,
        )
    (card,) = cloud.store.of("vnic")
    for name in ("VnicToNetworkBytes", "VnicFromNetworkBytes"):
        dimensions = {"resourceId": card.id}
        seeds.series(cloud, "oci_vcn", name, 1e7, compartment_id=compartment, dimensions=dimensions)
    today = datetime.now(UTC).date()
    for back in range(1, 25):
        day = today - timedelta(days=back)
        for number, quantity in (("B93297", 48.0), ("B93298", 288.0)):
            seeds.spent(cloud, {"day": day, "skuPartNumber": number, "skuName": number, "quantity": quantity})


class TestWhole:
    def test_from_nothing_to_the_table(self, here, cloud, granted, compartment, capsys):
        busy(cloud, granted, compartment)
        seeds.volume(cloud, cloud.tenancy, name="forgotten", gb=100)  # in another compartment
        said = usage(capsys, "--json")
        assert said.code == 0, said.out
        report = json.loads(said.out)
        used = {one["limit"]: one["used"] for one in report["limits"]}
        assert used["volume_gb"] == 150
        assert used["object_gb"] == 3
        assert used["a1_ocpu_hours"] > 0
        if datetime.now(UTC).day > 1:  # on the first of a month there is next to nothing yet
            assert used["object_requests"] > 0
            assert used["egress_gb"] > 0
        assert report["problems"] == []
        assert report["concerns"] == []
        assert report["idle"] == {
            "cpu": pytest.approx(11, abs=0.1),
            "memory": 31,
            "network": pytest.approx(1e7 / (4e9 / 8 * 300) * 100, abs=0.01),
            "observed_hours": pytest.approx(168, abs=0.2),
            "margin": 11,
        }
        assert [(one["kind"], one["name"]) for one in report["leftovers"]] == [("volume", "forgotten")]
        words = usage(capsys).out
        assert "Volumes, GB" in words
        assert "forgotten" in words
        assert "ocid1" not in words

    def test_the_statements_in_the_docs_are_enough_and_each_is_needed(self, here, cloud, instance, capsys):
        grant(cloud, instance, STATEMENTS)
        busy(cloud, instance, instance.body["compartmentId"])
        report = json.loads(usage(capsys, "--json").out)
        assert report["problems"] == []
        (policy,) = cloud.store.of("policy")
        for left_out in STATEMENTS:
            if "inspect instances" in left_out:
                continue  # Oracle asks for it with attachments; the fake does not
            policy.body["statements"] = [one for one in STATEMENTS if one != left_out]
            found = json.loads(usage(capsys, "--json").out)["problems"]
            assert any("may not read" in one["message"] for one in found), left_out

    def test_few_requests_to_object_storage(self, here, cloud, granted, capsys):
        usage(capsys, "--json")
        asked = [path for _, path, _ in cloud.calls if path.startswith("/n")]
        assert len(asked) == 3  # the namespace, and the list of buckets of two compartments
        assert len(cloud.calls) < 45

    def test_only_reads(self, here, cloud, granted, capsys):
        before = {row.id: json.dumps(row.body, default=str) for row in cloud.store.rows.values()}
        usage(capsys, "--json")
        after = {row.id: json.dumps(row.body, default=str) for row in cloud.store.rows.values()}
        assert after == before
        assert {method for method, _, _ in cloud.calls} == {"GET", "POST"}
        posted = {path for method, path, _ in cloud.calls if method == "POST"}
        assert {path.partition("?")[0] for path in posted} == {
            "/v1/x509",
            "/20180401/metrics/actions/summarizeMetricsData",
            "/20200107/usage",
        }

    def test_named_compartments_are_all_it_looks_into(self, here, cloud, granted, compartment, capsys):
        seeds.volume(cloud, cloud.tenancy, name="elsewhere", gb=100)
        configured(here, compartments=[compartment])
        report = json.loads(usage(capsys, "--json").out)
        assert {one["limit"]: one["used"] for one in report["limits"]}["volume_gb"] == 50
        assert not any("/compartments" in path for _, path, _ in cloud.calls)

    def test_long_lists_have_pages(self, cloud, granted, compartment):
        for number in range(7):
            seeds.volume(cloud, compartment, name=f"v{number}", gb=50)
        asking = client(cloud)
        found = asking.listed(
            "compute", "/20160918/volumes", "the volumes", compartmentId=compartment, limit="3"
        )
        assert len(found) == 7
        assert asking.calls["compute"] == 3


class TestMetrics:
    def test_the_timer_writes_them_and_health_reads_what_was_written(
        self, here, cloud, granted, compartment, capsys
    ):
        busy(cloud, granted, compartment)
        assert usage(capsys, "--metrics").out == ""
        written = samples(here)
        assert written['atlas_free_tier_used{limit="volume_gb"}'] == "50"
        assert written['atlas_free_tier_source_success{source="volumes"}'] == "1"
        assert "ocid1" not in (here.root / METRICS).read_text()
        assert (here.root / METRICS).stat().st_mode & 0o777 == 0o644
        calls = len(cloud.calls)
        usage(capsys, "--check")
        assert len(cloud.calls) == calls, "health asks nobody"

    def test_a_bad_day_keeps_the_numbers_of_the_last_good_one(self, here, cloud, granted, capsys):
        usage(capsys, "--metrics")
        cloud.misbehave.metadata_down = True
        said = usage(capsys, "--metrics")
        assert said.code == 1
        assert "not in Oracle Cloud" in said.out
        written = samples(here)
        assert written['atlas_free_tier_used{limit="volume_gb"}'] == "50"
        assert written["atlas_free_tier_success"] == "0"
        assert written['atlas_free_tier_source_success{source="metadata"}'] == "0"
        assert written['atlas_free_tier_source_success{source="volumes"}'] == "0"

    def test_but_not_those_of_another_month(self, here, cloud, granted, capsys):
        usage(capsys, "--metrics")
        file = here.root / "var/lib/atlasctl/usage.json"
        report = json.loads(file.read_text())
        for part in report["parts"].values():
            part["read_at"] = "2025-01-31T12:00:00Z"
        file.write_text(json.dumps(report))
        cloud.misbehave.metadata_down = True
        usage(capsys, "--metrics")
        assert 'atlas_free_tier_used{limit="volume_gb"}' not in samples(here)

    def test_health_in_a_line(self, here, cloud, granted, compartment, capsys):
        never = usage(capsys, "--check")
        assert (never.code, "atlas-usage.service" in never.out) == (1, True)
        busy(cloud, granted, compartment)
        configured(here, idle_watched=False)
        assert usage(capsys, "--metrics").code == 0
        well = usage(capsys, "--check")
        assert (well.code, well.out.startswith("within what is free")) == (0, True), well.out
        seeds.volume(cloud, compartment, name="large", gb=120)
        usage(capsys, "--metrics")
        near = usage(capsys, "--check")
        assert near.code == 1
        assert near.out.startswith("Volumes, GB: 85% of what is free is used")
        file = here.root / "var/lib/atlasctl/usage.json"
        report = json.loads(file.read_text()) | {"read_at": "2026-01-01T00:00:00Z"}
        file.write_text(json.dumps(report))
        assert usage(capsys, "--check").out.startswith("last read")


class TestToken:
    def test_one_token_serves_a_run_and_is_renewed_before_it_ends(self, cloud, granted, compartment):
        asking = client(cloud)
        for _ in range(3):
            asking.listed("compute", "/20160918/volumes", "the volumes", compartmentId=compartment)
        assert asking.calls["federation"] == 1
        cloud.misbehave.token_seconds = 30  # ends within the minute
        again = client(cloud)
        for _ in range(2):
            again.listed("compute", "/20160918/volumes", "the volumes", compartmentId=compartment)
        assert again.calls["federation"] == 2

    def test_a_token_that_is_not_accepted_is_renewed_once(self, cloud, granted, compartment):
        asking = client(cloud)
        asking.listed("compute", "/20160918/volumes", "the volumes", compartmentId=compartment)
        cloud.keys.sessions.clear()
        asking.listed("compute", "/20160918/volumes", "the volumes", compartmentId=compartment)
        assert asking.calls["federation"] == 2
        cloud.misbehave.federation = "unknown"
        cloud.keys.sessions.clear()
        with pytest.raises(Trouble, match="does not accept this machine's signature"):
            asking.listed("compute", "/20160918/volumes", "the volumes", compartmentId=compartment)
        assert asking.calls["federation"] == 3

    @pytest.mark.parametrize(("trouble", "words"), [("refused", "no token"), ("garbage", "is no token")])
    def test_without_a_token_it_says_so(self, cloud, granted, compartment, trouble, words):
        cloud.misbehave.federation = trouble
        with pytest.raises(Trouble, match=words):
            client(cloud).listed("compute", "/20160918/volumes", "the volumes", compartmentId=compartment)

    def test_a_wrong_clock_is_named(self, cloud, granted, compartment):
        cloud.misbehave.clock_skew = 3600
        with pytest.raises(Trouble, match="timedatectl"):
            client(cloud).listed("compute", "/20160918/volumes", "the volumes", compartmentId=compartment)


class TestTrouble:
    def ask(self, cloud, compartment, **more):
        asking = client(cloud, **more)
        return asking.listed("compute", "/20160918/volumes", "the volumes", compartmentId=compartment), asking

    def test_not_now_is_asked_again_when_told(self, cloud, granted, compartment):
        waited = []
        cloud.misbehave.throttle(2, path="/20160918/volumes", retry_after=7)
        found, asking = self.ask(cloud, compartment, pause=waited.append)
        assert found == []
        assert waited == [7, 7]
        assert asking.calls["compute"] == 3

    def test_without_a_word_of_when_the_pauses_grow(self, cloud, granted, compartment):
        waited = []
        cloud.misbehave.fail(3, path="/20160918/volumes", status=503)
        self.ask(cloud, compartment, pause=waited.append)
        assert [0.75 * 2**step <= pause <= 1.25 * 2**step for step, pause in enumerate(waited)] == [True] * 3

    def test_and_there_is_an_end_to_it(self, cloud, granted, compartment):
        waited = []
        cloud.misbehave.fail(99, path="/20160918/volumes")
        with pytest.raises(Trouble, match=r"does not say the volumes \(asked 5 times, last: 500 Internal"):
            self.ask(cloud, compartment, pause=waited.append)
        assert len(waited) == 4

    def test_nor_is_it_asked_past_the_end_of_the_run(self, cloud, granted, compartment, monkeypatch):
        monkeypatch.setattr(client_module, "RUN_SECONDS", 3)
        cloud.misbehave.throttle(99, path="/20160918/volumes", retry_after=20)
        started = time.monotonic()
        with pytest.raises(Trouble, match="asked 1 times"):
            self.ask(cloud, compartment)
        assert time.monotonic() - started < 3

    def test_a_connection_that_is_dropped_is_made_anew(self, cloud, granted, compartment):
        cloud.misbehave.lose_answer(1, method="GET", path="/20160918/volumes")
        assert self.ask(cloud, compartment, pause=lambda _: None)[0] == []

    def test_a_service_that_never_answers_costs_seconds(self, cloud, granted, compartment, monkeypatch):
        monkeypatch.setattr(client_module, "ANSWER_SECONDS", 0.3)
        cloud.misbehave.slow_down(99, path="/20160918/volumes", seconds=1)
        with pytest.raises(Trouble, match=r"no answer within 0\.3 s"):
            self.ask(cloud, compartment, pause=lambda _: None)

    def test_a_fresh_dynamic_group_is_explained(self, cloud, granted, compartment):
        cloud.misbehave.propagation = 9
        with pytest.raises(Trouble, match="may need some minutes; otherwise run the provision playbook"):
            self.ask(cloud, compartment)

    def test_one_source_that_fails_costs_its_own_numbers_only(self, here, cloud, granted, capsys):
        cloud.misbehave.fail(999, path="/20200107", status=400, code="InvalidParameter", message="No.")
        said = usage(capsys, "--json")
        report = json.loads(said.out)
        assert said.code == 1
        assert {"cost", "a1_hours"} <= {one["source"] for one in report["problems"]}
        assert "InvalidParameter: No." in json.dumps(report["problems"])
        assert {"volume_gb", "object_gb", "egress_gb"} <= {one["limit"] for one in report["limits"]}

    def test_elsewhere_it_says_so_at_once(self, machine, capsys):
        machine.file("etc/atlas/oci.json", {"metadata": "http://127.0.0.1:9/opc/v2"})
        started = time.monotonic()
        said = usage(capsys)
        assert time.monotonic() - started < 3
        assert said.code == 1
        assert "This machine is not in Oracle Cloud" in said.out

    def test_another_provider_at_the_same_address(self, machine, site, capsys):
        site.answers["/opc/v2/instance/"] = (200, '{"instance-id": "i-123"}')
        machine.file("etc/atlas/oci.json", {"metadata": site.url("/opc/v2")})
        assert "not as Oracle does" in usage(capsys).out

    def test_certificates_that_are_none(self, cloud, granted, compartment, monkeypatch):
        asking = client(cloud)
        monkeypatch.setattr(client_module, "read_certificates", lambda _: SimpleNamespace(leaf="x", key="y"))
        with pytest.raises(Trouble, match="openssl x509 failed"):
            asking.listed("compute", "/20160918/volumes", "the volumes", compartmentId=compartment)

    def test_answers_nobody_expects(self, here, cloud, granted, compartment, capsys, monkeypatch):
        monkeypatch.setattr(
            Client, "listed", lambda *_, **__: [{"sizeInGBs": "many", "lifecycleState": "AVAILABLE"}]
        )
        said = usage(capsys, "--json")
        assert said.code == 1
        assert "a form nobody expected" in said.out


def test_the_statements_here_are_those_of_the_docs_and_of_the_role():
    from pathlib import Path

    root = Path(__file__).parents[2]
    docs = (root / "docs/free-tier.md").read_text()
    role = (root / "roles/oci_identity/vars/main.yml").read_text()
    for statement in STATEMENTS:
        words = re.search(r"to (\w+ [\w-]+) in tenancy", statement)[1]
        assert f"Allow dynamic-group GROUP to {words} in tenancy" in docs
        assert f"to {words} in tenancy" in role
