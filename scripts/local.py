"""Atlas in a container on this machine: `make up`, `status`, `backup`, `restore`, ..."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import engine
import image
import machine
import setup

NAME = "atlas-local"
INVENTORY = engine.ROOT / "inventory" / "local"
SSH = INVENTORY / ".ssh"
PASSWORD = INVENTORY / ".secrets" / "owner_password"
# The port inside, the variable that moves it, and where it stands unless moved.
PORTS = {443: ("HTTPS_PORT", 8443), 80: ("HTTP_PORT", 8080), 22: ("SSH_PORT", 8022)}
# What outlives the container. Their owners get fixed numbers, or a new container might number them otherwise.
VOLUMES = {
    "atlas-local-data": "/var/lib/atlas",
    "atlas-local-postgresql": "/var/lib/postgresql",
    "atlas-local-postgresql-settings": "/etc/postgresql",  # a cluster is both, or Debian does not know it
    "atlas-local-certificate": "/etc/atlas/certificate",
    "atlas-local-backup": "/var/lib/atlas-backup",
}
OWNERS = {
    "postgres": (800, "/var/lib/postgresql", "/bin/bash"),
    "atlas": (801, "/var/lib/atlas", "/usr/sbin/nologin"),
}
READY_SECONDS = 120
# Exit codes of `atlasctl status`: well, wants attention, broken.
STATUS_ANSWERS = (0, 1, 2)


def main() -> None:
    """Run the verb named on the command line."""
    verbs = {one.__name__: one for one in (up, down, status, logs, shell, token, backup, drill, restore)}
    verb, *arguments = sys.argv[1:] or [""]
    if verb not in verbs:
        sys.exit(f"Usage: {sys.argv[0]} {'|'.join(verbs)}")
    verbs[verb](*arguments)


def up() -> None:
    """Bring Atlas up, or heal it."""
    started = time.monotonic()
    setup.install_packages(setup.venv_packages() + engine.packages(), "to run containers")
    setup.make_venv()
    container_engine = engine.require()
    _start(container_engine)
    ports = machine.published(container_engine, NAME)
    _play(ports)
    url = f"https://localhost:{ports[443]}"
    _wait_until_ready(url)
    # The last look was from before the release: what `make status` says next must be of now.
    container_engine.execute(NAME, "atlasctl health --quiet")
    print(
        WELCOME.format(
            seconds=time.monotonic() - started, url=url, password=PASSWORD.relative_to(engine.ROOT)
        )
    )


WELCOME = """
Atlas is up ({seconds:.0f} s): {url}
  Login:     owner
  Password:  in {password}
  The browser warns once: the certificate is signed by this machine's own authority.

Next: open it and add a page, or `make token` for the API and `make status` for the machine.
"""


def down() -> None:
    """Remove the container; the data only when asked."""
    container_engine = engine.require()
    delete = os.environ.get("DATA", "") == "delete"
    if os.environ.get("DATA", "") not in {"", "delete"}:
        sys.exit("DATA must be empty (the data is kept) or delete.")
    if container_engine.succeeds("container", "inspect", NAME):
        container_engine.run("stop", "--time=60", NAME)
        container_engine.run("rm", NAME)
        print(f"Removed the container {NAME}.")
    else:
        print(f"There is no container {NAME}.")
    volumes = [volume for volume in VOLUMES if container_engine.succeeds("volume", "inspect", volume)]
    if delete and volumes:
        container_engine.run("volume", "rm", *volumes)
        print("Removed its data, and the backups in it.")
    elif volumes:
        print("Its data is kept: `make up` brings it back, `make down DATA=delete` removes it.")


def status() -> None:
    """Show what atlasctl says; that all is not well is an answer too, not a failure to answer."""
    container_engine, command = _command_inside("atlasctl", "status")
    code = subprocess.run(command, env=container_engine.environment, check=False).returncode
    sys.exit(0 if code in STATUS_ANSWERS else code)


def logs(*arguments: str) -> None:
    """Show what the machine logged."""
    _inside("atlasctl", "logs", *arguments)


def shell() -> None:
    """Open a root shell."""
    _inside("bash", "--login")


def token() -> None:
    """Print a new API token."""
    _inside("atlas", "token", "create", f"made-{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}")


def backup(*arguments: str) -> None:
    """Back up now; `list` shows what there is."""
    _inside("atlasctl", "backup", *arguments)


def drill(*arguments: str) -> None:
    """Try the newest backups."""
    _inside("atlasctl", "drill", *arguments)


def restore(*arguments: str) -> None:
    """Bring a backup back; then let all on the machine agree with the secrets that came with it."""
    container_engine, command = _command_inside("atlasctl", "restore", *arguments)
    code = subprocess.run(command, env=container_engine.environment, check=False).returncode
    if code or {"--to", "--help", "-h"} & {one.partition("=")[0] for one in arguments}:
        sys.exit(code)
    _play(machine.published(container_engine, NAME), "playbooks/agree.yml")


def _inside(*command: str) -> None:
    """Become a command inside the container."""
    container_engine, arguments = _command_inside(*command)
    os.execvpe(arguments[0], arguments, container_engine.environment)  # noqa: S606 - the terminal is its


def _command_inside(*command: str) -> tuple[engine.Engine, list[str]]:
    """Return what runs a command inside the running container, with the terminal if there is one."""
    container_engine = engine.require()
    if container_engine.run("ps", "--quiet", "--filter", f"name=^{NAME}$") == "":
        sys.exit(f"{NAME} is not running. Start it: make up")
    terminal = ["--tty"] if sys.stdin.isatty() and sys.stdout.isatty() else []
    return container_engine, [container_engine.name, "exec", "--interactive", *terminal, NAME, *command]


def _start(container_engine: engine.Engine) -> None:
    """Have the container running and reachable, whatever state it was in."""
    if not container_engine.succeeds("container", "inspect", NAME):
        _create(container_engine)
        return
    if not (SSH / "id_ed25519").exists():
        sys.exit(
            f"The container {NAME} was made from another copy of this repository, which has its passwords.\n"
            "Run make there; or `make down up` here: it is made anew with its data and new passwords."
        )
    if container_engine.run("inspect", "--format={{.State.Running}}", NAME) != "true":
        print(f"The container {NAME} was stopped: starting it.", flush=True)
        container_engine.run("start", NAME)
        machine.wait_for_boot(container_engine, NAME)
    suite = _suite(container_engine)
    if container_engine.run("inspect", "--format={{.Config.Image}}", NAME) != image.tag(suite):
        print(
            f"{NAME} was made from an older image. `make down up` makes it anew, its data kept.", flush=True
        )
    published = machine.published(container_engine, NAME)
    for inside, (variable, _) in PORTS.items():
        if os.environ.get(variable, "") not in {"", str(published[inside])}:
            sys.exit(
                f"{NAME} has its {variable} at {published[inside]}. Move it: make down up {variable}=..."
            )
    machine.admit(container_engine, _machine(suite, published))
    _make_owners(container_engine)


def _create(container_engine: engine.Engine) -> None:
    ports = {
        inside: int(os.environ.get(variable, "") or usual) for inside, (variable, usual) in PORTS.items()
    }
    for inside, port in ports.items():
        if user := port_user(port):
            sys.exit(
                f"Port {port} is taken by {user}. Choose another: make up {PORTS[inside][0]}={port + 1000}"
            )
    suite = _suite(container_engine)
    image.ensure(container_engine, suite)  # before the volumes: they hold on to the suite
    for volume in VOLUMES:
        if not container_engine.succeeds("volume", "inspect", volume):
            container_engine.run("volume", "create", f"--label=suite={suite}", volume)
    print(f"Starting the container {NAME} ({image.SUITES[suite]}).", flush=True)
    try:
        machine.create(container_engine, _machine(suite, ports))
        _make_owners(container_engine)
    except BaseException:  # Ctrl-C too: a container half made would be taken for a whole one
        machine.destroy(container_engine, NAME)
        raise


def _make_owners(container_engine: engine.Engine) -> None:
    """Give the owners of the volumes their fixed numbers, unless they are there."""
    for user, (number, home, shell) in OWNERS.items():
        account = f"--system --uid {number} --gid {number} --home-dir {home} --no-create-home --shell {shell}"
        container_engine.execute(
            NAME,
            f"getent group {user} >/dev/null || groupadd --system --gid {number} {user}\n"
            f"getent passwd {user} >/dev/null || useradd {account} {user}",
        )


def _machine(suite: str, ports: dict[int, int]) -> machine.Machine:
    volumes = tuple(f"{volume}:{path}" for volume, path in VOLUMES.items())
    return machine.Machine(NAME, suite, SSH, hostname=NAME, ports=ports, volumes=volumes)


def _suite(container_engine: engine.Engine) -> str:
    """Name the suite to use: the one the data was made with, as PostgreSQL of another could not read it."""
    wanted = os.environ.get("SUITE", "")
    volume = next(iter(VOLUMES))
    if not container_engine.succeeds("volume", "inspect", volume):
        return wanted or image.default_suite()
    made_with = container_engine.run("volume", "inspect", "--format={{.Labels.suite}}", volume)
    if wanted not in {"", made_with}:
        sys.exit(
            f"The data was made on {made_with}; {wanted} has another PostgreSQL, which would be empty.\n"
            f"Keep it with `make up SUITE={made_with}`, or give it up first: make down DATA=delete"
        )
    return made_with


def _play(ports: dict[int, int], playbook: str = "site.yml") -> None:
    """Run a playbook; the callback `changes` sums up what it changed."""
    command = [str(setup.VENV / "bin" / "ansible-playbook"), "-i", str(INVENTORY), playbook]
    if ports[443] != PORTS[443][1]:
        command += ["--extra-vars", f"atlas_public_port={ports[443]}"]
    environment = {
        **os.environ,
        "ANSIBLE_CALLBACK_PLUGINS": "plugins/callback",
        "ANSIBLE_CALLBACKS_ENABLED": "changes",
    }
    if subprocess.run(command, cwd=engine.ROOT, env=environment, check=False).returncode:
        sys.exit("\nThe playbook stopped; the reason is above. Once it is put right, run `make up` again.")


def _wait_until_ready(url: str) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # this machine does not know the container's own authority
    deadline = time.monotonic() + READY_SECONDS
    answer = ""
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/ready", timeout=5, context=context):  # noqa: S310 - https
                return
        except urllib.error.HTTPError as error:
            answer = f"it answers {error.code}: {error.read(500).decode(errors='replace')}"
        except OSError as error:
            answer = str(error)
        time.sleep(0.5)
    sys.exit(f"{url}/ready is not ready after {READY_SECONDS} s: {answer}\nLook with: make status; make logs")


def port_user(port: int) -> str:
    """Say who listens on a port of 127.0.0.1; empty when it is free."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError:
            return "nobody, but only root may use a port this low"
        except OSError:
            return _listener(port) or "a process of another user"
    return ""


def _listener(port: int) -> str:
    """Name the process that listens on a TCP port, as far as this user may see it."""
    listening = "0A"
    sockets = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in table.read_text().splitlines()[1:] if table.exists() else []:
            fields = line.split()
            if fields[3] == listening and int(fields[1].rsplit(":", 1)[1], 16) == port:
                sockets.add(f"socket:[{fields[9]}]")
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            target = str(descriptor.readlink())
        except OSError:
            continue  # gone, or not ours to see
        if target in sockets:
            process = descriptor.parent.parent
            return f"{(process / 'comm').read_text().strip()} (process {process.name})"
    return ""


if __name__ == "__main__":
    main()
