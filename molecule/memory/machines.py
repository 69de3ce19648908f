"""Losing a machine, and having another in its place."""

import os
from pathlib import Path
from typing import Any

import engine
import machine
import testinfra

# The way from the machine to the storage is one that its own rules for SSH do not allow.
A_WAY = (
    "echo 'AllowTcpForwarding yes' > /etc/ssh/sshd_config.d/00-a-way.conf && systemctl reload ssh && sleep 1"
)


def reach(directory: Path) -> Any:
    """Return the machine as it is now."""
    return testinfra.get_host("ssh://machine", ssh_config=str(directory / "ssh/config"))


def another(directory: Path, suite: str) -> Any:
    """Destroy the machine with all it had, and return a new, bare one that is reached in the same way."""
    name = f"atlas-test-{os.environ['MOLECULE_SCENARIO_NAME']}"
    ports = dict.fromkeys([22, 80, 443], 0)
    machine.create(engine.require(), machine.Machine(name, suite, directory / "ssh", ports=ports))
    return reach(directory)
