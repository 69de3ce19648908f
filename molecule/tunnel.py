"""The way through SSH to what listens on the machine itself."""

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2


@contextlib.contextmanager
def through_ssh(scenario_directory: Path, port: int) -> Iterator[httpx2.Client]:
    """Yield a client of a port of the machine's loopback address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        here = free.getsockname()[1]
    ssh = ["ssh", "-F", str(scenario_directory / "ssh" / "config"), "-o", "ExitOnForwardFailure=yes", "-N"]
    with subprocess.Popen([*ssh, "-L", f"127.0.0.1:{here}:127.0.0.1:{port}", "machine"]) as forwarding:
        try:
            _wait(here)
            with httpx2.Client(base_url=f"http://127.0.0.1:{here}", timeout=30) as client:
                yield client
        finally:
            forwarding.terminate()


def _wait(port: int) -> None:
    """Wait until SSH listens."""
    end = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < end, "no way through SSH"
            time.sleep(0.1)
        else:
            return
