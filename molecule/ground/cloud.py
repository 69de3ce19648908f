"""An account for the scenario: `cloud.py start|stop DIRECTORY` runs a fake of Oracle's API and its inventory.

The machine that will be launched is the container: its SSH port and key are what the inventory of
a real account would not need to say.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import engine  # noqa: E402
import machine  # noqa: E402

SECONDS = 30


def start(directory: Path) -> None:
    """Start the API, wait until it listens, and write the inventory."""
    cloud = directory / "cloud"
    cloud.mkdir(parents=True, exist_ok=True)
    (cloud / "account.json").unlink(missing_ok=True)
    command = [sys.executable, "-m", "tests.oci_api", "--directory", str(cloud)]
    with (cloud / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--public-address", "127.0.0.1"],
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    (cloud / "pid").write_text(str(process.pid))
    end = time.monotonic() + SECONDS
    while not (cloud / "account.json").exists():
        if process.poll() is not None or time.monotonic() > end:
            sys.exit(f"The API did not start:\n{(cloud / 'log').read_text()}")
        time.sleep(0.1)
    write_inventory(directory, json.loads((cloud / "account.json").read_text()))


def write_inventory(directory: Path, account: dict) -> None:
    """Write an inventory (Molecule has `inventory` to itself), with the container's key as the one to use."""
    inventory = directory / "test"
    secrets = inventory / ".secrets"
    secrets.mkdir(parents=True, exist_ok=True)
    for suffix in ("", ".pub"):
        shutil.copy(directory / "ssh" / f"id_ed25519{suffix}", secrets / f"ssh_key{suffix}")
    variables = {
        "ansible_port": machine.published(engine.require(), "atlas-test-ground")[22],
        "oci_enabled": True,
        "oci_account": {**account, "poll_seconds": 0.05},
        "oci_guard_email": "owner@example.org",
        "oci_compute_capacity_minutes": 0,
        "ssh_allowed_cidrs": ["198.51.100.7/32"],
    }
    hosts = {"all": {"hosts": {"machine": variables}}}
    (inventory / "hosts.yml").write_text(yaml.safe_dump(hosts))


def stop(directory: Path) -> None:
    """Stop the API, if it runs, and remove what `start` made."""
    pid = directory / "cloud" / "pid"
    if pid.exists():
        try:
            os.kill(int(pid.read_text()), signal.SIGTERM)
        except ProcessLookupError:
            print("It had ended.")
    shutil.rmtree(directory / "cloud", ignore_errors=True)
    shutil.rmtree(directory / "test", ignore_errors=True)


if __name__ == "__main__":
    {"start": start, "stop": stop}[sys.argv[1]](Path(sys.argv[2]))
