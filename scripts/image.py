"""The image every container here starts from: a bare Debian or Ubuntu server, of the distribution's packages.

It is what a provider hands out (systemd, sshd, sudo, python3) with the packages the roles ask for already
downloaded, so that installing them takes no network. This file and units/ are the recipe: change it, and the
next run builds a new image.
"""

from __future__ import annotations

import fcntl
import hashlib
import platform
import shlex
import subprocess
import sys
import time
from pathlib import Path

import engine

NAME = "localhost/atlas-machine"
SUITES = {"bookworm": "Debian 12", "trixie": "Debian 13", "noble": "Ubuntu 24.04"}
SYSTEM = (
    "ca-certificates",
    "dbus",
    "iproute2",
    "iputils-ping",
    "libpam-systemd",
    "openssh-server",
    "openssl",
    "procps",
    "python3",
    "python3-apt",
    "sudo",
    "systemd",
    "systemd-sysv",
)
DOWNLOADED = (
    "certbot",
    "debsums",
    "fail2ban",
    "msmtp",
    "msmtp-mta",
    "nftables",
    "nginx",
    "pgbackrest",
    "postgresql",
    "prometheus",
    "prometheus-alertmanager",
    "prometheus-blackbox-exporter",
    "prometheus-nginx-exporter",
    "prometheus-node-exporter",
    "prometheus-node-exporter-collectors",
    "prometheus-postgres-exporter",
    "prometheus-process-exporter",
    "python3-debian",
    "python3-psycopg2",
    "python3-systemd",
    "python3-venv",
    "restic",
    "unattended-upgrades",
)
# What only the scenarios install: a certificate authority to practise with, and a judge.
PRACTISED_WITH = {"bookworm": ("lynis", "pebble"), "trixie": ("pebble",)}
NEVER_READ = ("/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/man/*")
# Timers that would take the package manager's lock in the middle of a play.
MASKED = ("apt-daily.timer", "apt-daily-upgrade.timer")
UNITS = Path(__file__).parent / "units"


def default_suite() -> str:
    """Name the suite of this machine when there is a recipe for it, else Debian 12."""
    release = dict(
        line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line
    )
    codename = release.get("VERSION_CODENAME", "").strip('"')
    return codename if codename in SUITES else "bookworm"


def tag(suite: str) -> str:
    """Name the image of a suite; the name changes with the recipe and the processor."""
    if suite not in SUITES:
        sys.exit(f"There is no image for {suite!r}; there is one for each of: {', '.join(SUITES)}.")
    recipe = [path.read_bytes() for path in (Path(__file__), *sorted(UNITS.iterdir()))]
    digest = hashlib.sha256(b"\0".join([*recipe, platform.machine().encode()]))
    return f"{NAME}:{suite}-{digest.hexdigest()[:12]}"


def ensure(container_engine: engine.Engine, suite: str) -> str:
    """Build the image of a suite unless it is there, remove the ones it replaces, and return its name."""
    image = tag(suite)
    engine.CACHE.mkdir(exist_ok=True)
    with (engine.CACHE / f"image-{suite}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two scenarios may want it at once
        if not container_engine.succeeds("image", "inspect", image):
            print(f"Building the {SUITES[suite]} image from its packages: a minute or two.", flush=True)
            started = time.monotonic()
            _build(container_engine, suite, image)
            print(f"Built {image} in {time.monotonic() - started:.0f} s.", flush=True)
            _remove_replaced(container_engine, suite, image)
    return image


def _build(container_engine: engine.Engine, suite: str, image: str) -> None:
    units = sorted(UNITS.iterdir())
    downloaded = " ".join((*DOWNLOADED, *PRACTISED_WITH.get(suite, ())))
    finish = [
        f"chroot $1 apt-get -qq install --yes --download-only --no-install-recommends {downloaded}",
        "rm $1/etc/ssh/ssh_host_*",
        f"copy-in {' '.join(shlex.quote(str(unit)) for unit in units)} /etc/systemd/system",
        f"chroot $1 systemctl --quiet enable {' '.join(unit.name for unit in units)}",
        *(f"ln -s /dev/null $1/etc/systemd/system/{unit}" for unit in MASKED),
    ]
    bootstrap = [
        "mmdebstrap",
        "--variant=apt",
        f"--include={','.join(SYSTEM)}",
        "--skip=cleanup/apt/lists,cleanup/apt/cache",
        "--dpkgopt=force-unsafe-io",
        *(f"--dpkgopt=path-exclude={path}" for path in NEVER_READ),
        *(f"--customize-hook={command}" for command in finish),
        suite,
        "-",
    ]
    if suite == "noble":
        bootstrap.insert(1, "--components=main,universe")
    with subprocess.Popen(bootstrap, stdout=subprocess.PIPE) as rootfs:
        imported = subprocess.run(
            [container_engine.name, "import", "-", image],
            env=container_engine.environment,
            stdin=rootfs.stdout,
            capture_output=True,
            text=True,
            check=False,
        )
    if rootfs.returncode or imported.returncode:
        container_engine.succeeds("rmi", image)
        sys.exit(f"The image {image} could not be built; the reason is above. {imported.stderr.strip()}")


def _remove_replaced(container_engine: engine.Engine, suite: str, image: str) -> None:
    listed = container_engine.run("images", "--format", "{{.Repository}}:{{.Tag}}", NAME)
    for older in listed.splitlines():
        if (
            older.startswith(f"{NAME}:{suite}-")
            and older != image
            and container_engine.succeeds("rmi", older)
        ):
            print(f"Removed {older}, which it replaces.")


if __name__ == "__main__":
    for wanted in sys.argv[1:] or [default_suite()]:
        print(ensure(engine.require(), wanted))
