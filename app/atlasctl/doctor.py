"""`atlasctl doctor`: looks for what is wrong and prints, for each finding, the command that repairs it."""

import json
import os
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from atlasctl.certificate import from_file
from atlasctl.files import MAKE_ROOM, read_object
from atlasctl.health.checks import used
from atlasctl.health.definitions import Definition, load
from atlasctl.health.page import STALE_SECONDS
from atlasctl.paths import Paths
from atlasctl.release import store
from atlasctl.run import NOT_FOUND, run
from atlasctl.settings import api_port, read_settings
from atlasctl.systemd import Unit, enabled, ours, show
from atlasctl.trouble import Trouble
from atlasctl.words import ago, parse, utc_now

MOST = 99
DISK_PERCENT = 80
CERTIFICATE_DAYS = 21
NGINX_PORTS = [80, 443]
ROOT = 0
REPAIR = "site.yml puts it back: run it again"


class Finding(NamedTuple):
    """What is wrong, and the command that repairs it."""

    what: str
    repair: str


class Scene(NamedTuple):
    """What all examinations look at."""

    paths: Paths
    now: datetime
    definitions: list[Definition]
    settings: dict[str, str]


def doctor(paths: Paths, *, as_json: bool) -> int:
    """Print all findings; return how many there are (99 at most)."""
    findings = examine(paths, utc_now())
    if as_json:
        print(json.dumps([finding._asdict() for finding in findings], ensure_ascii=False))
    else:
        for number, finding in enumerate(findings, 1):
            print(f"{number}. {finding.what}\n   {finding.repair}")
        if not findings:
            print("Nothing found: all that doctor knows to look at is in order.")
    if os.geteuid() != 0:
        print("Some things only root can see. All of it: sudo atlasctl doctor", file=sys.stderr)
    return min(len(findings), MOST)


def examine(paths: Paths, now: datetime) -> list[Finding]:
    """Run every examination; one that fails is a finding itself."""
    scene = Scene(paths, now, load(paths.health_d)[0], read_settings(paths.settings))
    findings: list[Finding] = []
    for look in EXAMINATIONS:
        try:
            findings += look(scene)
        except (Trouble, OSError, ValueError) as error:
            findings.append(
                Finding(f"{look.__name__.strip('_')}: could not look: {error}", "sudo atlasctl doctor")
            )
    return findings


def _units(scene: Scene) -> Iterator[Finding]:
    watched = enabled([name for one in scene.definitions for name in one.units])
    for unit in show(sorted({*watched, *ours(), "atlas-health.timer"})).values():
        yield from _unit(unit)


def _unit(unit: Unit) -> Iterator[Finding]:
    name = unit.name
    if unit.load == "not-found":
        yield Finding(f"{name} is not there", REPAIR)
    elif unit.load == "masked":
        until_reboot = " --runtime" if unit.enabled == "masked-runtime" else ""
        repair = f"systemctl unmask {name}{until_reboot} && systemctl enable --now {name}"
        yield Finding(f"{name} is masked", repair)
    elif unit.load != "loaded":
        yield Finding(
            f"{name} is not readable for systemd ({unit.load})", f"systemctl status {name}; {REPAIR}"
        )
    elif unit.enabled == "disabled":
        yield Finding(
            f"{name} is disabled: it does not start with the machine", f"systemctl enable --now {name}"
        )
    elif unit.active == "failed":
        yield Finding(
            f"{name} has failed ({unit.result})", f"atlasctl logs {name} -n 50; systemctl restart {name}"
        )
    elif name.endswith(".timer") and unit.sub == "elapsed":
        yield Finding(f"{name} has no next time: it will not fire again", f"systemctl restart {name}")
    elif unit.active == "inactive" and unit.enabled == "enabled":
        yield Finding(f"{name} is stopped", f"systemctl start {name}")


def _releases(scene: Scene) -> Iterator[Finding]:
    root = scene.paths.app_root
    if not root.is_dir():
        return
    current = store.current_id(root)
    known = {one.id: one for one in store.releases(root)}
    served = any(one.served_at for one in known.values())
    repair = "atlasctl release rollback" if served else "atlasctl release deploy"
    if current is None:
        yield Finding(f"{root}/current points to no release", repair)
    elif current not in known:
        yield Finding(f"{root}/current points to {current}, which is not there", repair)
    elif not known[current].finished_at:
        yield Finding(f"the current release {current} is unfinished", repair)
    rubble = [one.id for one in known.values() if not one.finished_at and one.id != current]
    if rubble:
        yield Finding(
            f"unfinished releases take up space: {', '.join(rubble)}", "atlasctl release prune --count 3"
        )


def _secrets(scene: Scene) -> Iterator[Finding]:
    if not scene.paths.secrets.is_dir():
        return
    for path in sorted(scene.paths.secrets.iterdir()):
        seen = path.stat()
        if seen.st_mode & (stat.S_IRWXO | stat.S_IWGRP):
            yield Finding(f"{path} is open to others ({stat.filemode(seen.st_mode)})", f"chmod 0640 {path}")
        if seen.st_uid != ROOT:
            yield Finding(f"{path} does not belong to root", f"chown root {path}")
        if seen.st_size == 0:
            yield Finding(f"{path} is empty", REPAIR)


def _disk(scene: Scene) -> Iterator[Finding]:
    seen: set[int] = set()
    for name in ("", "var", "var/lib/atlas", "opt/atlas", "var/lib/postgresql", "tmp"):
        path = scene.paths.root / name
        if not path.is_dir() or path.stat().st_dev in seen:
            continue
        seen.add(path.stat().st_dev)
        for of, percent in used(os.statvfs(path)).items():
            if percent >= DISK_PERCENT:
                yield Finding(f"{percent:.0f} % of the {of} on the disk of {path} is used", MAKE_ROOM)


def _clock(scene: Scene) -> Iterator[Finding]:
    if run(["systemd-detect-virt", "--quiet", "--container"], timeout=10).code == 0:
        return  # the clock is that of the machine around it
    synchronised = run(["timedatectl", "show", "--property=NTPSynchronized", "--value"], timeout=10)
    if synchronised.out.strip() == "no":
        yield Finding("the clock is not synchronised", "systemctl restart systemd-timesyncd; timedatectl")
    built = [moment for one in store.releases(scene.paths.app_root) if (moment := parse(one.finished_at))]
    if built and max(built) > scene.now:
        late = ago((max(built) - scene.now).total_seconds())
        yield Finding(f"the clock is at least {late} late: a release is from the future", "timedatectl")


def _renewals(scene: Scene) -> Iterator[Finding]:
    for file in sorted(
        {str(one.parameters["renewal"]) for one in scene.definitions if one.parameters.get("renewal")}
    ):
        if trouble := read_object(Path(file)).get("trouble"):
            yield Finding(f"there is no new certificate: {trouble}", "atlas-certificate")


def _certificates(scene: Scene) -> Iterator[Finding]:
    files = {str(one.parameters["file"]) for one in scene.definitions if one.parameters.get("file")}
    for file in sorted(files):
        renew = "systemctl start atlas-certificate.service; systemctl reload nginx"
        try:
            days = (from_file(file).end - scene.now).total_seconds() / 86400
        except Trouble as error:
            yield Finding(str(error), renew)
            continue
        if days < CERTIFICATE_DAYS:
            left = f"ends in {days:.0f} days" if days >= 0 else f"ended {-days:.0f} days ago"
            yield Finding(f"the certificate {file} {left}", renew)


def _nginx(scene: Scene) -> Iterator[Finding]:  # noqa: ARG001
    result = run(["nginx", "-t", "-q"], timeout=20)
    if result.code not in (0, NOT_FOUND):
        yield Finding(f"nginx does not accept its configuration: {result.words}", f"nginx -t; {REPAIR}")


def _database(scene: Scene) -> Iterator[Finding]:
    url = scene.settings.get("ATLAS_DATABASE_URL", "")
    if url.startswith("postgresql"):
        parts = urlsplit(url)
        host, port = parts.hostname or "127.0.0.1", parts.port or 5432
        if not _accepts(host, port):
            yield Finding(
                f"the database does not accept connections on {host}:{port}",
                "systemctl restart postgresql; atlasctl logs postgresql -n 50",
            )
    elif scene.settings:
        folder = Path(scene.settings.get("ATLAS_DATA_DIR", "/var/lib/atlas"))
        file = Path(url.removeprefix("sqlite:///")) if url else folder / "atlas.db"
        if not (scene.paths.root / file.relative_to("/")).is_file():
            yield Finding(
                f"the database {file} is not there", "atlas migrate (a new, empty one), or restore a backup"
            )


def _ports(scene: Scene) -> Iterator[Finding]:
    names = ["atlas-api.service", "nginx.service"]
    units = show(names)
    for name, ports in zip(names, ([api_port(scene.settings)], NGINX_PORTS), strict=True):
        for port in ports if units[name].active == "active" else []:
            if not _accepts("127.0.0.1", port):
                yield Finding(f"{name} runs, but port {port} does not answer", f"atlasctl logs {name} -n 50")


def _accepts(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=3).close()
    except OSError:
        return False
    return True


def _health_files(scene: Scene) -> Iterator[Finding]:
    for broken in load(scene.paths.health_d)[1]:
        yield Finding(f"{scene.paths.health_d / broken.file}: {broken.error}", REPAIR)
    if not scene.definitions:
        yield Finding(f"no check is defined in {scene.paths.health_d}", REPAIR)


def _last_report(scene: Scene) -> Iterator[Finding]:
    report = read_object(scene.paths.status_dir / "status.json")
    checked = parse(report.get("checked_at"))
    if checked is None or (scene.now - checked).total_seconds() > STALE_SECONDS:
        last = f"last ran {ago((scene.now - checked).total_seconds())} ago" if checked else "never ran"
        yield Finding(
            f"the checks {last}; they should every 30 seconds", "systemctl restart atlas-health.timer"
        )
        return
    for check in report["checks"]:
        if check["state"] != "HEALTHY" and check["check"] in ("http", "tcp", "command", "memory"):
            yield Finding(f"{check['title']} is {check['state']}: {check['message']}", "atlasctl logs -n 200")


EXAMINATIONS: tuple[Callable[[Scene], Iterator[Finding]], ...] = (
    _units,
    _releases,
    _secrets,
    _disk,
    _clock,
    _certificates,
    _renewals,
    _nginx,
    _database,
    _ports,
    _health_files,
    _last_report,
)
