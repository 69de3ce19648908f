"""A machine to practise on: a systemd container that is reached over SSH, as a rented server is.

Molecule's create and destroy playbooks call this file; `make up` uses its functions.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import engine
import image

BOOT_SECONDS = 60
# Downloads of pip, shared by all machines here: a release then installs in seconds.
PIP_CACHE = "atlas-pip-cache:/var/cache/atlas/pip"
PIP_SETTINGS = ("index-url", "extra-index-url", "trusted-host", "default-timeout", "proxy")
CA_INSIDE = "/etc/ssl/host-ca.pem"


@dataclass(frozen=True)
class Machine:
    """What a machine is made of; `ports` are published on 127.0.0.1 (0: any), `ssh` gets its SSH files."""

    name: str
    suite: str
    ssh: Path
    user: str = "root"
    hostname: str = "machine"
    ports: dict[int, int] = field(default_factory=lambda: {22: 0})
    volumes: tuple[str, ...] = ()
    disk_megabytes: int = 0
    network: str = ""  # the engine's own, if empty


# Where an attached block volume shows in Oracle Cloud.
DISK_INSIDE = "/dev/oracleoci/oraclevdb"


def create(container_engine: engine.Engine, machine: Machine) -> None:
    """Start a new machine in place of one of that name; its SSH directory gets a `config` for `ssh -F`.

    With `disk_megabytes` it gets an empty disk, where this machine lets us make one; `disk` there names it.
    """
    base = image.ensure(container_engine, machine.suite)
    destroy(container_engine, machine.name)
    detach(machine.ssh)
    disk = attach(machine.ssh, machine.disk_megabytes) if machine.disk_megabytes else ""
    publish = [f"--publish=127.0.0.1:{outside or ''}:{inside}" for inside, outside in machine.ports.items()]
    volumes = (PIP_CACHE, *_package_index_volumes(), *machine.volumes)
    container_engine.run(
        "run",
        "--detach",
        f"--name={machine.name}",
        f"--hostname={machine.hostname}",
        "--stop-signal=SIGRTMIN+3",
        *engine.run_arguments(container_engine),
        *publish,
        *([f"--network={machine.network}"] if machine.network else []),
        *(f"--volume={volume}" for volume in volumes),
        *([f"--device={disk}:{DISK_INSIDE}"] if disk else []),
        base,
        "/lib/systemd/systemd",
        # systemd 257 (Debian 13) starts on cgroup v1 only when PID 1 is told so; elsewhere it means nothing.
        "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1",
    )
    wait_for_boot(container_engine, machine.name)
    admit(container_engine, machine)


def destroy(container_engine: engine.Engine, name: str) -> None:
    """Remove a machine at once, if it is there."""
    if container_engine.succeeds("container", "inspect", name):
        container_engine.succeeds("kill", name)
        container_engine.run("rm", "--force", "--volumes", name)


def attach(directory: Path, megabytes: int) -> str:
    """Make an empty file a disk and return its device; empty where that is not possible (it takes root)."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = directory / "disk.img"
    with file.open("wb") as empty:
        empty.truncate(megabytes * 1024 * 1024)
    command = ["losetup", "--find", "--show", file]
    made = subprocess.run(command, check=False, capture_output=True, text=True) if os.geteuid() == 0 else None
    if made is None or made.returncode != 0:
        print("There is no disk for the machine: loop devices take root.", file=sys.stderr)
        return ""
    (directory / "disk").write_text(made.stdout)
    return made.stdout.strip()


def detach(directory: Path) -> None:
    """Take back the disk of a machine that is gone."""
    named = directory / "disk"
    if named.exists():
        subprocess.run(["losetup", "--detach", named.read_text().strip()], check=False, capture_output=True)
        named.unlink()


def wait_for_boot(container_engine: engine.Engine, name: str) -> None:
    """Wait until systemd has started what it starts; a failed unit of the bare image is no reason to stop."""
    deadline = time.monotonic() + BOOT_SECONDS
    while time.monotonic() < deadline:
        state = subprocess.run(
            [container_engine.name, "exec", name, "systemctl", "is-system-running", "--wait"],
            env=container_engine.environment,
            check=False,
            capture_output=True,
            text=True,
        )
        if state.stdout.strip() in {"running", "degraded"}:
            return
        time.sleep(0.2)
    logs = container_engine.run("logs", name, check=False)
    sys.exit(f"{name} did not boot in {BOOT_SECONDS} s. Its console said:\n{logs[-2000:]}")


def admit(container_engine: engine.Engine, machine: Machine) -> None:
    """Let the key in the SSH directory in (made when missing), and write `config` and `known_hosts` there."""
    directory = machine.ssh
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = directory / "id_ed25519"
    if not key.exists():
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", machine.name, "-f", key], check=True
        )
    container_engine.execute(
        machine.name, ADMIT.format(user=machine.user), stdin=key.with_suffix(".pub").read_text()
    )
    host_key = container_engine.execute(machine.name, "cut -d ' ' -f 1,2 /etc/ssh/ssh_host_ed25519_key.pub")
    (directory / "known_hosts").write_text(f"{machine.name} {host_key}\n")
    port = published(container_engine, machine.name)[22]
    (directory / "config").write_text(
        CONFIG.format(machine=machine, port=port, directory=directory.resolve())
    )
    if not _answers(directory / "config", machine.name):
        sys.exit(f"{machine.name} runs, but does not answer on SSH port {port}.")


# Ubuntu starts sshd by a socket, Debian by its service.
ADMIT = """
if [ "{user}" != root ] && ! id -u {user} >/dev/null 2>&1; then
    useradd --create-home --shell /bin/bash {user}
    echo '{user} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/{user}
fi
home=$(getent passwd {user} | cut -d : -f 6)
install -d -m 0700 -o {user} -g {user} "$home/.ssh"
cat > "$home/.ssh/authorized_keys"
chown {user}:{user} "$home/.ssh/authorized_keys"
chmod 0600 "$home/.ssh/authorized_keys"
systemctl --quiet is-active ssh.socket ssh.service >/dev/null || {{
    systemctl --quiet unmask ssh.service
    systemctl --quiet enable --now ssh.service
}}
"""

CONFIG = """\
Host {machine.name} {machine.hostname}
  HostName 127.0.0.1
  Port {port}
  User {machine.user}
  IdentityFile "{directory}/id_ed25519"
  IdentitiesOnly yes
  UserKnownHostsFile "{directory}/known_hosts"
  HostKeyAlias {machine.name}
  StrictHostKeyChecking yes
"""


def published(container_engine: engine.Engine, name: str) -> dict[int, int]:
    """Map the ports inside a machine to those on 127.0.0.1."""
    lines = container_engine.run("port", name).splitlines()  # 22/tcp -> 127.0.0.1:40001
    return {int(line.split("/")[0]): int(line.rsplit(":", 1)[1]) for line in lines}


def _answers(config: Path, host: str) -> bool:
    for _ in range(50):
        command = ["ssh", "-F", str(config), "-o", "ConnectTimeout=5", "-o", "LogLevel=ERROR", host, "true"]
        if subprocess.run(command, check=False, capture_output=True).returncode == 0:
            return True
        time.sleep(0.2)
    return False


def _package_index_volumes() -> list[str]:
    """Let pip inside reach its index as pip here does: same index, proxy and certificate authority."""
    pip = [str(engine.VENV / "bin" / "python"), "-m", "pip"]
    listed = subprocess.run([*pip, "config", "list"], check=False, capture_output=True, text=True)
    configuration, certificate = pip_configuration(listed.stdout)
    if not configuration:
        return []
    path = engine.CACHE / "pip.conf"
    path.parent.mkdir(exist_ok=True)
    path.touch(mode=0o600)
    path.chmod(0o600)  # an index may have a password in its address
    path.write_text(configuration)
    volumes = [f"{path}:/etc/pip.conf:ro"]
    return [*volumes, f"{Path(certificate).resolve()}:{CA_INSIDE}:ro"] if certificate else volumes


def pip_configuration(listed: str) -> tuple[str, str]:
    """Turn what `pip config list` says here into the configuration for inside and the authority's file."""
    found: dict[str, str] = {}
    for line in listed.splitlines():  # :env:.cert='...': what the environment says comes first, and wins
        name, _, value = line.partition("=")
        found.setdefault(name.rsplit(".", 1)[-1], value.strip("'\""))
    # An index in a directory of this machine cannot be reached from inside.
    wanted = {name: found[name] for name in PIP_SETTINGS if name in found and "file:" not in found[name]}
    certificate = found.get("cert", "")
    if certificate:
        wanted["cert"] = CA_INSIDE
    lines = "".join(f"{name} = {value}\n" for name, value in sorted(wanted.items()))
    return (f"[global]\n{lines}" if lines else ""), certificate


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    make = verbs.add_parser("create", help="start a machine")
    make.add_argument("name")
    make.add_argument("--suite", default=image.default_suite(), choices=image.SUITES)
    make.add_argument("--ssh", type=Path, required=True, help="directory for its key, config and known_hosts")
    make.add_argument("--user", default="root", help="who logs in; anyone but root gets sudo")
    make.add_argument("--hostname", default="machine")
    make.add_argument("--disk", type=int, default=0, metavar="MB", help=f"an empty disk at {DISK_INSIDE}")
    make.add_argument("--publish", type=int, action="append", default=[], help="a port inside, besides 22")
    remove = verbs.add_parser("destroy", help="remove a machine")
    remove.add_argument("name")
    remove.add_argument("--ssh", type=Path, required=True)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Run one verb."""
    options = _parse(arguments)
    container_engine = engine.require()
    if options.verb == "destroy":
        destroy(container_engine, options.name)
        detach(options.ssh)
        shutil.rmtree(options.ssh, ignore_errors=True)
        return
    ports = dict.fromkeys([22, *options.publish], 0)
    create(
        container_engine,
        Machine(
            options.name,
            options.suite,
            options.ssh,
            options.user,
            options.hostname,
            ports,
            disk_megabytes=options.disk,
        ),
    )


if __name__ == "__main__":
    main()
