"""The machine, and an outsider beside it, on a network of their own: `python3 world.py up` or `down`."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import engine
import machine

NAME = "atlas-test-front_door"
OUTSIDER = f"{NAME}-outsider"


def up(container_engine: engine.Engine, directory: Path, suite: str) -> None:
    """Start both; with IPv6, where the engine has it."""
    down(container_engine, directory)
    if not container_engine.succeeds("network", "create", "--ipv6", NAME):
        container_engine.run("network", "create", NAME)
    ports = {22: 0, 80: 0, 443: 0}
    machine.create(
        container_engine, machine.Machine(NAME, suite, directory / "ssh", ports=ports, network=NAME)
    )
    there = machine.Machine(OUTSIDER, suite, directory / "outsider", hostname="outsider", network=NAME)
    machine.create(container_engine, there)
    # He has a computer of his own: what he takes of this one is not to be the machine's.
    container_engine.succeeds("update", "--cpu-shares=256", OUTSIDER)


def down(container_engine: engine.Engine, directory: Path) -> None:
    """Remove what there is of them."""
    for name, ssh in ((NAME, "ssh"), (OUTSIDER, "outsider")):
        machine.destroy(container_engine, name)
        machine.detach(directory / ssh)
    container_engine.succeeds("network", "rm", NAME)


if __name__ == "__main__":
    where = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
    if sys.argv[1] == "up":
        up(engine.require(), where, os.environ["MACHINE_SUITE"])
    else:
        down(engine.require(), where)
