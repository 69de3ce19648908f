"""The container engine of this machine: which one, what it needs here, how a systemd container runs in it.

Standard library only: this runs before anything is installed.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"
VENV = ROOT / ".venv"

# What the sandboxes of units need inside (ProtectSystem, PrivateTmp, ...). --privileged would do too, but
# hands the container the clock and the sysctls of this machine.
CAPABILITIES = (
    "SYS_ADMIN",
    "NET_ADMIN",
    "NET_RAW",
    "SYS_PTRACE",
    "SYS_NICE",
    "IPC_LOCK",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "DAC_READ_SEARCH",
    "LINUX_IMMUTABLE",
    "SYSLOG",
)
CAP_SYS_RESOURCE = 24


@dataclass(frozen=True)
class Engine:
    """A usable container engine: its command, and the environment that command runs in."""

    name: str
    environment: dict[str, str]

    def run(self, *arguments: str, check: bool = True) -> str:
        """Run the engine and return what it printed; `check` exits with the engine's own words on failure."""
        result = subprocess.run(
            [self.name, *arguments], env=self.environment, check=False, capture_output=True, text=True
        )
        if check and result.returncode != 0:
            sys.exit(f"{self.name} {' '.join(arguments[:2])} failed:\n{result.stderr.strip()}")
        return result.stdout.strip()

    def succeeds(self, *arguments: str) -> bool:
        """Say whether the engine's command ends with success."""
        result = subprocess.run(
            [self.name, *arguments], env=self.environment, check=False, capture_output=True
        )
        return result.returncode == 0

    def execute(self, container: str, script: str, *, stdin: str = "") -> str:
        """Run a shell script inside a container and return what it printed; exits when the script fails."""
        command = [self.name, "exec", "-i", container, "sh", "-eu", "-c", script]
        result = subprocess.run(
            command, env=self.environment, input=stdin, check=False, capture_output=True, text=True
        )
        if result.returncode != 0:
            sys.exit(f"In container {container}: {result.stderr.strip() or result.stdout.strip()}")
        return result.stdout.strip()


def find() -> Engine | None:
    """Return the engine `ATLAS_ENGINE` names, else podman, else a running docker; None when there is none."""
    wanted = os.environ.get("ATLAS_ENGINE", "")
    if wanted not in {"", "podman", "docker"}:
        sys.exit(f"ATLAS_ENGINE is {wanted!r}: it must be podman or docker.")
    if wanted in {"", "podman"} and shutil.which("podman"):
        return Engine("podman", _podman_environment())
    docker = wanted in {"", "docker"} and shutil.which("docker")
    if docker and subprocess.run(["docker", "info"], check=False, capture_output=True).returncode == 0:
        return Engine("docker", dict(os.environ))
    return None


def require() -> Engine:
    """Return the engine, or exit with the command that installs one."""
    return find() or sys.exit(
        "There is no container engine here (podman, or a running docker). Install it: make setup"
    )


def packages() -> list[str]:
    """Name the Debian packages this machine lacks for building and running containers."""
    found = find()
    missing = [] if found else ["podman", "netavark", "aardvark-dns", "iptables", "slirp4netns"]
    if os.geteuid() != 0:
        # podman only recommends what it needs without root; mmdebstrap needs uidmap whatever the engine.
        missing += ["dbus-user-session", "passt"] if missing else []
        missing += [] if shutil.which("newuidmap", path=_system_path()) else ["uidmap"]
    with_docker = found is not None and found.name == "docker"
    if not with_docker and not shutil.which(_runtime(), path=_system_path()):
        missing.append(_runtime())
    missing += [
        package
        for command, package in (("mmdebstrap", "mmdebstrap"), ("ssh", "openssh-client"))
        if not shutil.which(command)
    ]
    if not Path("/usr/share/keyrings/debian-archive-keyring.gpg").exists():
        missing.append("debian-archive-keyring")
    return missing


def run_arguments(engine: Engine) -> list[str]:
    """List the flags that let systemd boot and sandbox its units in a container of this engine."""
    flags = (
        [f"--cap-add={','.join(CAPABILITIES)}"]
        if engine.name == "podman"
        else [f"--cap-add={capability}" for capability in CAPABILITIES]
    )
    flags += ["--security-opt=seccomp=unconfined", "--security-opt=label=disable"]
    if Path("/sys/kernel/security/apparmor").exists():
        flags.append("--security-opt=apparmor=unconfined")
    if engine.name == "podman":
        return [*flags, *_share(), "--systemd=always", "--security-opt=unmask=ALL"]
    return [
        *flags,
        "--security-opt=systempaths=unconfined",
        "--cgroupns=host",
        "--volume=/sys/fs/cgroup:/sys/fs/cgroup:rw",
        "--tmpfs=/run",
        "--tmpfs=/run/lock",
        "--tmpfs=/tmp",
        "--env=container=docker",
    ]


def _share() -> list[str]:
    """Let a machine have the processor beside what tests it.

    In cgroup v1 podman's containers are one group together, which counts as much as one process beside it.
    """
    return ["--cgroup-parent=/", "--cpu-shares=2048"] if _cgroup_v1() and os.geteuid() == 0 else []


def _podman_environment() -> dict[str, str]:
    """Point podman at a configuration of our own where it could not start containers with the system's."""
    environment = dict(os.environ)
    text = containers_conf(
        rootless=os.geteuid() != 0,
        cgroup_v1=_cgroup_v1(),
        systemd=Path("/run/systemd/system").exists(),
        may_raise_limits=_may_raise_limits(),
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        processes=resource.getrlimit(resource.RLIMIT_NPROC)[1],
    )
    if text and "CONTAINERS_CONF" not in environment:
        path = CACHE / "containers.conf"
        if not path.exists() or path.read_text() != text:
            CACHE.mkdir(exist_ok=True)
            path.write_text(text)
        environment["CONTAINERS_CONF"] = str(path)
    return environment


def containers_conf(
    *, rootless: bool, cgroup_v1: bool, systemd: bool, may_raise_limits: bool, open_files: int, processes: int
) -> str:
    """Write what podman must be told here; empty on an ordinary machine, whose own configuration holds."""
    containers, engine = [], []
    if not rootless and not may_raise_limits:
        # Without CAP_SYS_RESOURCE a container cannot have more than this process may have.
        limits = f'"nofile={_at_most(open_files, 20000)}", "nproc={_at_most(processes, 30000)}"'
        containers.append(f"default_ulimits = [{limits}]")
    if cgroup_v1:
        engine.append('runtime = "runc"')
    if cgroup_v1 or not systemd:
        engine.append('cgroup_manager = "cgroupfs"')
    if not systemd:
        containers.append('log_driver = "k8s-file"')
        engine.append('events_logger = "file"')
    sections = [("containers", containers), ("engine", engine)]
    return "".join(f"[{name}]\n" + "\n".join(lines) + "\n" for name, lines in sections if lines)


def _at_most(limit: int, ceiling: int) -> str:
    value = ceiling if limit == resource.RLIM_INFINITY else min(limit, ceiling)
    return f"{value}:{value}"


def _cgroup_v1() -> bool:
    return not Path("/sys/fs/cgroup/cgroup.controllers").exists()


def _runtime() -> str:
    """Name the runtime that starts containers here: crun cannot do so on hybrid cgroup v1."""
    return "runc" if _cgroup_v1() else "crun"


def _system_path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def _may_raise_limits() -> bool:
    status = Path("/proc/self/status").read_text()
    effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff"))
    return bool(int(effective, 16) >> CAP_SYS_RESOURCE & 1)
