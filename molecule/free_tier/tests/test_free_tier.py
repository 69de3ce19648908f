"""The machine of a scenario is not in Oracle Cloud: it must say so at once, everywhere, and break nothing."""

import json
import time

METRICS = "/var/lib/prometheus/node-exporter/atlas_free_tier.prom"


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
