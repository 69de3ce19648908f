"""What stands after site.yml, seen from the account and from the machine."""

import json
import os
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


def test_the_inventory_says_how_the_machine_is_reached():
    written = yaml.safe_load((DIRECTORY / "inventory/host_vars/machine/oracle_cloud.yml").read_text())
    assert written["ansible_host"] == "127.0.0.1"
    assert written["ansible_user"] == "ubuntu"
    assert "HostKeyAlias=ocid1.instance." in written["ansible_ssh_common_args"]


def test_the_machine_was_configured_over_that_address(host):
    """`base` has been here, with sudo."""
    assert host.file("/etc/atlas").is_directory
    known = (DIRECTORY / "inventory/.secrets/known_hosts").read_text()
    assert known.startswith("ocid1.instance.")
