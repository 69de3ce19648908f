"""What stands after site.yml, seen from the account and from the machine."""

import json
import os
import re
import subprocess
import urllib.request
from pathlib import Path

import pytest
import yaml

DIRECTORY = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])


@pytest.fixture(scope="module")
def cloud():
    """What the account holds, by kind."""
    endpoint = json.loads((DIRECTORY / "cloud" / "account.json").read_text())["endpoint"]
    with urllib.request.urlopen(f"{endpoint}/_control", timeout=10) as answer:
        return json.load(answer)


@pytest.fixture(scope="module")
def written():
    """What provisioning wrote to the inventory."""
    return yaml.safe_load((DIRECTORY / "test/host_vars/machine/oracle_cloud.yml").read_text())


def test_the_machine_was_configured_over_the_address_in_the_inventory(host, written):
    """`base` has been here, with sudo; and SSH knows the machine by its OCID."""
    assert (written["ansible_host"], written["ansible_user"]) == ("127.0.0.1", "ubuntu")
    assert host.file("/etc/atlas").is_directory
    (alias,) = re.findall(r"HostKeyAlias=(ocid1[.]instance[.]\S+)", written["ansible_ssh_common_args"])
    known = DIRECTORY / "test/.secrets/known_hosts"
    assert subprocess.run(["ssh-keygen", "-F", alias, "-f", known], check=False).returncode == 0


def test_the_account_holds_what_the_roles_make(cloud):
    made = [path for method, path, status in cloud["calls"] if method == "POST" and status == 200]
    for collection in (
        "vcns",
        "subnets",
        "instances",
        "volumes",
        "volumeAttachments",
        "publicIps",
        "policies",
    ):
        assert f"/20160918/{collection}" in made, collection


def test_the_secret_of_the_key_for_backups_is_the_owners_alone():
    key = DIRECTORY / "test/.secrets/oci_backup_key.json"
    assert key.stat().st_mode & 0o777 == 0o600
    assert set(json.loads(key.read_text())) == {"id", "key"}
