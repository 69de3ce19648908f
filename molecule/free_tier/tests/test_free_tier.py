"""First as it is, for the machine of a scenario is not in Oracle Cloud; then in the fake one, through SSH."""

import json
import subprocess
import time

import pytest
from tests.oci_api import seeds
from tests.oci_api.server import FakeOci

METRICS = "/var/lib/prometheus/node-exporter/atlas_free_tier.prom"
PORT = 9977


def test_elsewhere_it_says_so_at_once(host):
    started = time.monotonic()
    said = host.run("atlasctl usage")
    assert time.monotonic() - started < 10
    assert said.rc == 1
    assert "not in Oracle Cloud" in said.stdout
    assert "Traceback" not in said.stdout + said.stderr


def test_the_timer_runs_soon_and_daily(host):
    assert host.service("atlas-usage.timer").is_running
    listed = host.check_output(
        "systemctl show atlas-usage.timer --property=NextElapseUSecRealtime,Persistent"
    )
    assert "Persistent=yes" in listed


def test_a_failed_run_is_told_in_metrics_and_by_the_unit(host):
    assert host.run("systemctl start atlas-usage.service").rc != 0
    metrics = host.file(METRICS)
    assert "atlas_free_tier_success 0" in metrics.content_string
    assert 'atlas_free_tier_source_success{source="metadata"} 0' in metrics.content_string
    assert metrics.mode == 0o644
    journal = host.check_output("journalctl --no-pager --unit=atlas-usage.service --output=cat")
    assert "not in Oracle Cloud" in journal


def test_health_tells_too(host):
    said = host.run("atlasctl usage --check")
    assert said.rc == 1
    assert "not in Oracle Cloud" in said.stdout
    report = json.loads(host.run("atlasctl health --json").stdout)
    check = next(one for one in report["checks"] if one["name"] == "free-tier")
    assert check["title"] == "Oracle Cloud, free limits"


def test_the_sandbox_is_tight(host):
    said = host.check_output("systemd-analyze security --no-pager atlas-usage.service | tail -n 1")
    assert float(said.split(":")[1].split()[0]) < 2.5, said


def test_nothing_but_root_reads_the_configuration(host):
    file = host.file("/etc/atlas/oci.json")
    assert (file.user, file.group, file.mode) == ("root", "root", 0o640)
    assert json.loads(file.content_string)["limits"]["volume_gb"] == 200


@pytest.fixture(scope="module")
def cloud(scenario_directory):
    """A cloud on the loopback address here that the machine finds on its own."""
    with FakeOci() as fake:
        machine = seeds.machine(fake, seeds.compartment(fake).id)
        same = {"compartmentId": fake.tenancy, "name": "machines", "lifecycleState": "ACTIVE"}
        fake.store.add("dynamicgroup", same | {"matchingRule": f"Any {{instance.id = '{machine.id}'}}"})
        allowed = ["Allow dynamic-group machines to read all-resources in tenancy"]
        fake.store.add("policy", same | {"statements": allowed})
        ssh = [
            "ssh",
            "-F",
            str(scenario_directory / "ssh" / "config"),
            "-o",
            "ExitOnForwardFailure=yes",
            "-N",
        ]
        forward = f"127.0.0.1:{PORT}:{fake.endpoint.removeprefix('http://')}"
        with subprocess.Popen([*ssh, "-R", forward, "machine"]) as forwarding:
            try:
                yield fake
            finally:
                forwarding.terminate()


@pytest.fixture
def in_the_cloud(host, play, cloud, eventually):
    """The machine converged with the cloud's addresses, and back again."""
    eventually(lambda: host.run(f"ss -Hltn | grep -q :{PORT}").rc == 0)
    url = f"http://127.0.0.1:{PORT}"
    services = {"metadata": f"{url}/opc/v2", "federation": f"{url}/v1/x509", "endpoint": url}
    given = {"free_tier_services": services, "free_tier_idle_watched": False}
    converged = play("--extra-vars", json.dumps(given))
    assert converged.succeeded, converged.output
    yield cloud
    assert play().succeeded


@pytest.mark.timeout(300)
def test_in_the_cloud_its_unit_signs_asks_and_writes(host, in_the_cloud):
    seeds.volume(in_the_cloud, in_the_cloud.tenancy, name="forgotten", gb=60)
    host.check_output("systemctl start atlas-usage.service")
    metrics = host.file(METRICS).content_string
    assert "atlas_free_tier_success 1" in metrics
    assert 'atlas_free_tier_used{limit="volume_gb"} 110' in metrics
    assert 'atlas_free_tier_leftovers{kind="volume"} 1' in metrics
    assert "ocid1" not in metrics
    said = host.run("atlasctl usage --check")
    assert (said.rc, said.stdout.startswith("within what is free")) == (0, True), said.stdout
    table = host.check_output("atlasctl usage")
    assert "forgotten" in table
    assert "Volumes, GB" in table
    in_the_cloud.misbehave.fail(99, path="/20160918/volumes", status=404, code="NotAuthorizedOrNotFound")
    assert host.run("systemctl start atlas-usage.service").rc != 0
    metrics = host.file(METRICS).content_string
    assert 'atlas_free_tier_source_success{source="volumes"} 0' in metrics
    assert 'atlas_free_tier_used{limit="volume_gb"} 110' in metrics, "the last good number"
    journal = host.check_output("journalctl --no-pager --unit=atlas-usage.service --output=cat --lines=30")
    assert "may not read the volumes" in journal
