"""A machine with something to lose, and storage away from it."""

import sys
from pathlib import Path

import pytest
import testinfra
import yaml

HERE = Path(__file__).parents[1]
sys.path[:0] = [str(HERE), str(HERE.parent)]

from storage import Storage  # noqa: E402

GIVEN = yaml.safe_load((HERE / "variables.yml").read_text())
# The way from the machine to the storage is one that its own rules for SSH do not allow.
A_WAY = (
    "echo 'AllowTcpForwarding yes' > /etc/ssh/sshd_config.d/00-a-way.conf && systemctl reload ssh && sleep 1"
)


@pytest.fixture(scope="session")
def storage(scenario_directory):
    """Storage that speaks S3, in reach of the machine."""
    host = testinfra.get_host("ssh://machine", ssh_config=str(scenario_directory / "ssh/config"))
    host.check_output(A_WAY)
    server = Storage(scenario_directory, 5600)
    server.open()
    host.check_output(
        f"for i in $(seq 50); do ss -Hltn | grep -q :{server.outside} && break; sleep 0.1; done"
    )
    yield server
    server.stop()
