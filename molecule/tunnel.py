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
            wait_until_listening(here)
            with httpx2.Client(base_url=f"http://127.0.0.1:{here}", timeout=30) as client:
                yield client
        finally:
            forwarding.terminate()


class Reached:
    """Something that listens here, which the machine reaches at a port of its own while the way is open."""

    def __init__(self, scenario_directory: Path, outside: int) -> None:
        self.ssh = ["ssh", "-F", str(scenario_directory / "ssh" / "config"), "-N"]
        self.outside = outside
        #: Port it listens at on the loopback address here.
        self.port = 0
        self.way: subprocess.Popen | None = None

    def open(self) -> None:
        """Let the machine reach it."""
        way = f"127.0.0.1:{self.outside}:127.0.0.1:{self.port}"
        self.way = subprocess.Popen([*self.ssh, "-o", "ExitOnForwardFailure=yes", "-R", way, "machine"])

    def shut(self) -> None:
        """Let the machine reach it no more."""
        if self.way:
            self.way.terminate()
            self.way.wait()
            self.way = None


def wait_until_listening(port: int, seconds: float = 10) -> None:
    """Wait until somebody listens at a port of the loopback address here."""
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < end, f"nobody listens at {port} within {seconds} s"
            time.sleep(0.1)
        else:
            return
