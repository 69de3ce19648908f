"""Atlas as it runs on a machine, for benchmarks: its processes and what they cost."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Atlas:
    """A database and where to find it, as environment."""

    environment: dict[str, str]

    def start(self, *arguments: str, log: Path) -> subprocess.Popen[bytes]:
        """Start a command of `atlas` in the background."""
        with log.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "atlas", *arguments],
                cwd=ROOT / "app",
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def run(self, *arguments: str, stdin: str = "") -> str:
        """Run a command of `atlas` and return what it prints."""
        command = [sys.executable, "-m", "atlas", *arguments]
        done = subprocess.run(
            command,
            cwd=ROOT / "app",
            env=self.environment,
            input=stdin,
            text=True,
            stdout=subprocess.PIPE,
            check=True,
        )
        return done.stdout


def new_atlas(directory: Path, database_url: str, **options: object) -> Atlas:
    """Migrate an empty database and make its owner; may fetch from this machine, without pauses."""
    own = {
        "data_dir": directory,
        "database_url": database_url,
        "allowed_networks": "127.0.0.0/8",
        "host_delay_seconds": 0,
        "owner_password": "benchmark",
        **options,
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ATLAS_")}
    environment["PYTHONPATH"] = str(_without_development_packages(directory.parent))
    environment |= {f"ATLAS_{name.upper()}": str(value) for name, value in own.items() if value != ""}
    atlas = Atlas(environment)
    atlas.run("migrate")
    return atlas


def _without_development_packages(directory: Path) -> Path:
    """Hide `rich`: structlog loads it where it is installed, which is only where Atlas is developed."""
    package = directory / "hidden" / "rich"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('raise ImportError("not installed in production")')
    return package.parent


@contextmanager
def running(*processes: subprocess.Popen[bytes]) -> Iterator[None]:
    """End processes after the block."""
    try:
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait(30)


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_url(url: str, seconds: float = 30) -> None:
    """Wait until something answers well."""
    end = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def tree(pid: int) -> list[int]:
    """Return a process and its descendants."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def cpu_seconds(pid: int) -> float:
    """Return what a process and its descendants, the ended ones included, have used of the processors."""
    ticks = 0
    for member in tree(pid):
        fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS


def memory_mb(pid: int) -> dict[str, float]:
    """Return what a process has in memory: `Rss`, `Pss` (what is shared counts in part), `Peak`."""
    found: dict[str, float] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in ("Rss", "Pss"):
            found[name] = int(value.split()[0]) / 1024
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            found["Peak"] = int(line.split()[1]) / 1024
    return found


def command_of(pid: int) -> str:
    """Return how a process was started, in short."""
    words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return " ".join(word for word in words[1:] if word not in ("-P", "-m", ""))[:40]
