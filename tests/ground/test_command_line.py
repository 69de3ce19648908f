"""playbooks/provision.yml, then dns.yml, with every value as the command line gives it: as text."""

import os
import socketserver
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml
from tests.oci_api.server import FakeOci

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
pytest.importorskip("oci", reason="make setup-oci installs Oracle's SDK")

ROOT = Path(__file__).parents[2]
TEXTS = {
    "oci_allow_paid": "no",
    "oci_compute_boot_volume_gb": "50",
    "oci_compute_capacity_minutes": "0",
    "oci_compute_resize": "false",
    "oci_guard_budget": "1",
    "oci_guard_quota": "false",
    "oci_identity_backup_user": "false",
    "oci_network_ipv6": "true",
    "oci_storage_infrequent_days": "0",
    "oci_storage_lock_days": "0",
    "oci_storage_retention_days": "30",
    "oci_storage_volume_backups": "2",
    "oci_storage_volume_vpus_per_gb": "10",
    "oci_volume_gb": "60",
}


class Ssh(socketserver.BaseRequestHandler):
    """What answers where the machine would."""

    def handle(self):
        self.request.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")


@pytest.fixture
def port():
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Ssh) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def play(home, playbook, **texts):
    command = [Path(sys.executable).with_name("ansible-playbook"), "--inventory", home / "production"]
    command += [f"--extra-vars={name}={text}" for name, text in texts.items()]
    environment = {
        **os.environ,
        "ANSIBLE_HOME": str(home / "ansible"),
        "ANSIBLE_NOCOLOR": "1",
        "HOME": str(home),
    }
    done = subprocess.run(
        [*command, f"playbooks/{playbook}.yml"],
        cwd=ROOT,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return " ".join(done.stdout.split())


def test_text_is_read_as_what_it_stands_for(tmp_path, port):
    with FakeOci(addresses=["127.0.0.1"]) as cloud:
        variables = {
            "ansible_port": port,
            "atlas_domain": "atlas.example.org",
            "oci_account": {**cloud.account(tmp_path), "poll_seconds": 0.05},
            "oci_enabled": True,
            "oci_guard_email": "owner@example.org",
            "ssh_allowed_cidrs": ["198.51.100.7/32"],
        }
        inventory = tmp_path / "production"
        inventory.mkdir()
        hosts = {"all": {"hosts": {"machine": variables}}}
        (inventory / "hosts.yml").write_text(yaml.safe_dump(hosts))
        play(tmp_path, "provision", **TEXTS)

        assert not list(cloud.store.of("quota"))
        assert not list(cloud.store.of("user", name="atlas-production-backup"))
        (volume,) = cloud.store.of("volume")
        (policy,) = cloud.store.of("volumebackuppolicy", displayName="atlas")
        (budget,) = cloud.store.of("budget")
        (bucket,) = cloud.store.of("bucket")
        assert volume.body["sizeInGBs"] == 60
        assert policy.body["schedules"][0]["retentionSeconds"] == 2 * 7 * 86400
        assert budget.body["amount"] == 1
        assert bucket.body["versioning"] == "Enabled"

        written = yaml.safe_load((inventory / "host_vars/machine/oracle_cloud.yml").read_text())
        (card,) = cloud.store.of("vnic")
        assert [written["atlas_ipv6_address"]] == card.body["ipv6Addresses"]

        shown = play(tmp_path, "dns", dns_wait_seconds="0")
        assert "atlas.example.org. 300 IN A 127.0.0.1" in shown
        assert f"atlas.example.org. 300 IN AAAA {written['atlas_ipv6_address']}" in shown

        play(tmp_path, "destroy", confirm="production", oci_keep="{{ [] }}")
        assert [row.kind for row in cloud.store.rows.values() if is_ours(row)] == []


def is_ours(row):
    dead = {"TERMINATED", "TERMINATING", "DELETED", "DELETING"}
    return (
        row.body.get("freeformTags", {}).get("atlas") == "production"
        and row.body.get("lifecycleState") not in dead
    )
