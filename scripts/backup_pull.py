"""Copy the machine's backups to this computer: `make backup-pull` sets it up, a timer repeats it weekly.

One file, which needs restic, OpenSSH and Python only: the timer runs a copy of it. What it keeps is in one
place (`--help` names it): a key that can do nothing but read backups, the machine's host key, the passwords
of both repositories, and how the last copy went.
"""

from __future__ import annotations

import argparse
import datetime
import fcntl
import getpass
import json
import os
import secrets
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
HOME = Path("~").expanduser()
PLACE = Path(os.environ.get("XDG_CONFIG_HOME") or HOME / ".config") / "atlas" / "backup-pull"
UNITS = Path(os.environ.get("XDG_CONFIG_HOME") or HOME / ".config") / "systemd" / "user"
KEY = PLACE / "id_ed25519"
SSH_CONFIG = PLACE / "ssh_config"
KNOWN_HOSTS = PLACE / "known_hosts"
MACHINE_PASSWORD = PLACE / "machine-password"
HOME_PASSWORD = PLACE / "home-password"
SETTINGS = PLACE / "settings.json"
STATE = PLACE / "state.json"
PROGRAM = PLACE / "backup_pull.py"
ALIAS = "atlas-machine"
SOURCE = f"sftp:{ALIAS}:/repository"
#: Asked of both sides: what home would forget at once is not fetched. The machine tells kinds apart by tags.
KEEP = ("--group-by=host,tags", "--keep-daily=30", "--keep-monthly=12")
#: Each week another part of the data at home is read; all of it in a quarter of a year.
PARTS = 12
DAY = 86400
EXAMPLE_ADDRESS = "203.0.113.10"


class Trouble(Exception):  # noqa: N818 - it is not always an error of ours
    """What is wrong and what to do, in words; not worth trying again by itself."""

    code = 2


class Unreachable(Trouble):
    """The machine cannot be reached now."""

    code = 1


def main() -> None:
    """Run the verb named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=f"It keeps its files in {PLACE}.")
    parser.add_argument("verb", nargs="?", default="set-up", choices=["set-up", "run", "status"])
    verb = parser.parse_args().verb
    os.umask(0o077)
    try:
        {"set-up": set_up, "run": run, "status": status}[verb]()
    except Trouble as trouble:
        print(trouble, file=sys.stderr)
        sys.exit(trouble.code)


def set_up() -> None:
    """Make what is missing of key, passwords, repository and timer; then copy."""
    for program, package in {"restic": "restic", "ssh": "openssh-client", "sftp": "openssh-client"}.items():
        if not shutil.which(program):
            raise Trouble(
                f"{program} is missing. Install it: sudo apt install {package} (elsewhere: brew, dnf, ...)"
            )
    PLACE.mkdir(parents=True, exist_ok=True)
    known = _read(SETTINGS)
    machine = os.environ.get("HOST") or known.get("machine") or _from_inventory(_inventory())
    directory = (
        Path(os.environ.get("DIR") or known.get("directory") or HOME / "atlas-backup").expanduser().absolute()
    )
    _make_key()
    _ask_machine(machine)
    _open_repository(directory, was_there=known.get("directory") == str(directory) and HOME_PASSWORD.exists())
    # Not before: what they name is missed when it is not there.
    _write(SETTINGS, {"machine": machine, "directory": str(directory)})
    shutil.copyfile(__file__, PROGRAM)
    _install_timer()
    try:
        reach()
    except Unreachable as trouble:
        raise Trouble(f"{trouble}\n{_let_in()}") from None
    run()


def _inventory() -> Path:
    return ROOT / "inventory" / (os.environ.get("INVENTORY") or "production")


def _from_inventory(inventory: Path) -> str:
    """Return how the one machine of an inventory is reached: user@address:port."""
    say = (
        "Say how the machine is reached: make backup-pull HOST=user@address "
        "(or user@address:port, or a Host of ~/.ssh/config)"
    )
    listed = _call([str(ROOT / ".venv/bin/ansible-inventory"), f"--inventory={inventory}", "--list"])
    if listed.returncode:
        raise Trouble(f"{inventory} does not tell. {say}")
    machines = json.loads(listed.stdout)["_meta"]["hostvars"]
    names = [name for name, said in machines.items() if said.get("ansible_host") != EXAMPLE_ADDRESS]
    if len(names) != 1:
        raise Trouble(f"{inventory} names {', '.join(names) or 'no machine of yours'}. {say}")
    said = machines[names[0]]
    address, port = said.get("ansible_host", names[0]), said.get("ansible_port", 22)
    return f"{said.get('ansible_user', 'root')}@{address}:{port}"


def _make_key() -> None:
    """Make the key this computer comes with, and write it into the inventory."""
    if not KEY.exists():
        comment = f"atlas-home {os.uname().nodename}"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", KEY], check=True)
        print(f"Made a key that can do nothing but read backups: {KEY}.pub")
    public = KEY.with_suffix(".pub").read_text().strip()
    variables = _inventory() / "group_vars" / "all"
    said = [path.read_text() for path in variables.glob("*.yml")] if variables.is_dir() else []
    if any(public.split()[1] in text for text in said):
        return
    if variables.is_dir() and not any("backup_home_keys" in text for text in said):
        path = variables / "backup_home.yml"
        path.write_text(
            "---\n# The personal machines that may fetch the backups; written by `make backup-pull`.\n"
            f"backup_home_keys:\n  - {public}\n"
        )
        path.chmod(0o644)
        print(f"Wrote it into {path.relative_to(ROOT)}.")
    else:
        print(f"Add this line to backup_home_keys in your inventory:\n  - {public}")


def _let_in() -> str:
    inventory = _inventory().relative_to(ROOT)
    return (
        "Does the machine know the key yet? Let it in, then say `make backup-pull` again:\n"
        f"  .venv/bin/ansible-playbook -i {inventory} site.yml"
    )


#: The host key over a line whose host key is already trusted, and the password, which is root's.
ASK = (
    "cat /etc/ssh/ssh_host_ed25519_key.pub; "
    "test $(id -u) = 0 || sudo='sudo -n'; $sudo cat /etc/atlas-backup/password"
)


def _ask_machine(machine: str) -> None:
    """Learn host key and password from the machine, coming as its owner; else keep what is known."""
    user_and_host, _, port = machine.partition(":")
    way = ["ssh", *(["-p", port] if port else []), user_and_host]
    resolved = dict(
        line.split(" ", 1) for line in _call([*way[:-1], "-G", way[-1]]).stdout.splitlines() if " " in line
    )
    said = subprocess.run([*way, ASK], check=False, stdout=subprocess.PIPE, text=True)
    host_key, _, password = said.stdout.partition("\n")
    if host_key.startswith("ssh-ed25519 "):
        KNOWN_HOSTS.write_text(f"{ALIAS} {' '.join(host_key.split()[:2])}\n")
    elif not KNOWN_HOSTS.exists():
        raise Trouble(
            f"`{shlex.join(way)}` does not get in, so the machine's host key is not known. "
            "Say how you come in as its owner: make backup-pull HOST=user@address:port"
        )
    if password.strip():
        MACHINE_PASSWORD.write_text(f"{password.strip()}\n")
    elif not MACHINE_PASSWORD.exists():
        if not sys.stdin.isatty():
            raise Trouble(
                "The password of the machine's repository could not be read there: /etc/atlas-backup/password"
            )
        typed = getpass.getpass(
            "Password of the machine's repository (emergency sheet, or /etc/atlas-backup/password there): "
        )
        MACHINE_PASSWORD.write_text(f"{typed.strip()}\n")
    jump = f"  ProxyJump {resolved['proxyjump']}\n" if "proxyjump" in resolved else ""
    SSH_CONFIG.write_text(
        CONFIG.format(host=resolved.get("hostname", user_and_host), port=resolved.get("port", 22), jump=jump)
    )


CONFIG = f"""\
# Written by `make backup-pull`.
Host {ALIAS}
  HostName {{host}}
  Port {{port}}
  User atlas-home
{{jump}}\
  HostKeyAlias {ALIAS}
  IdentityFile "{KEY}"
  IdentitiesOnly yes
  IdentityAgent none
  UserKnownHostsFile "{KNOWN_HOSTS}"
  GlobalKnownHostsFile none
  StrictHostKeyChecking yes
  UpdateHostKeys no
  BatchMode yes
  ConnectTimeout 30
  ServerAliveInterval 30
  ServerAliveCountMax 4
"""


def _open_repository(directory: Path, *, was_there: bool) -> None:
    """Make the repository at home, with a password of its own, unless there is one."""
    if (directory / "config").exists():
        if not HOME_PASSWORD.exists():
            raise Trouble(
                f"{directory} is there already. Put its password into {HOME_PASSWORD}, or take another: DIR="
            )
        return
    if was_there:
        raise Trouble(_gone(directory))
    if not HOME_PASSWORD.exists():
        HOME_PASSWORD.write_text(f"{'-'.join(secrets.token_hex(3) for _ in range(6))}\n")
        print(
            "\nThe repository at home has a password of its own, told this once:\n\n"
            f"    {HOME_PASSWORD.read_text()}\n"
            f"Write it on the emergency sheet: if of this computer only the disk with {directory} is left,\n"
            "nothing else opens it.\n"
        )
    directory.mkdir(parents=True, exist_ok=True)
    made = restic("init", home=directory)
    if made.returncode:
        raise Trouble(f"No repository could be made in {directory}: {_words(made)}")
    print(f"Made the repository {directory}.")


def _gone(directory: Path) -> str:
    return (
        f"The repository {directory} is gone. Is its disk attached? To begin anew elsewhere: "
        "make backup-pull DIR=..."
    )


SERVICE = f"""\
# Written by `make backup-pull`.
[Unit]
Description=Atlas: copy the machine's backups to this computer
StartLimitIntervalSec=12h
StartLimitBurst=6

[Service]
Type=oneshot
ExecStart="{sys.executable}" "{PROGRAM}" run
Nice=10
IOSchedulingClass=idle
# Not reached (1): once more, six times at most. Whatever else is wrong (2) wants somebody.
Restart=on-failure
RestartSec=30min
RestartPreventExitStatus=2
"""
TIMER = """\
# Written by `make backup-pull`.
[Unit]
Description=Atlas: copy the machine's backups to this computer, weekly

[Timer]
OnCalendar=Sun 10:00
RandomizedDelaySec=4h
Persistent=true

[Install]
WantedBy=timers.target
"""


def _install_timer() -> None:
    """Have it repeated weekly, by a timer of this user where there is systemd."""
    if not shutil.which("systemctl") or _call(["systemctl", "--user", "show-environment"]).returncode:
        print(
            "There is no systemd of yours here, so nothing repeats this by itself. For cron (crontab -e):\n"
            f"  17 11 * * 0 {shlex.quote(sys.executable)} {shlex.quote(str(PROGRAM))} run"
        )
        return
    UNITS.mkdir(parents=True, exist_ok=True)
    for name, text in {"service": SERVICE, "timer": TIMER}.items():
        (UNITS / f"atlas-backup-pull.{name}").write_text(text)
    subprocess.run(["systemctl", "--user", "daemon-reload"], check=True)
    subprocess.run(
        ["systemctl", "--user", "--quiet", "enable", "--now", "atlas-backup-pull.timer"], check=True
    )
    user = getpass.getuser()
    linger = _call(["loginctl", "show-user", user, "--property=Linger", "--value"]).stdout.strip()
    hint = "" if linger == "yes" else f" while you are logged in (always: sudo loginctl enable-linger {user})"
    print(f"The copy is repeated every Sunday, or when this computer is next on{hint}.")


def run() -> None:
    """Copy what is new, look at what is at home, and forget what is old."""
    with _alone():
        print(pull(time.time()), flush=True)


def pull(now: float) -> str:
    """Do one copy and return what was done, in words."""
    settings, state = _read(SETTINGS), _read(STATE)
    if not settings:
        raise Trouble("Nothing is set up here yet: make backup-pull")
    home = Path(settings["directory"])
    if not (home / "config").exists():
        raise Trouble(_gone(home))
    reach()
    _must(restic("unlock", home=home), f"The repository {home} cannot be opened")
    if state.get("unfinished"):  # what came over a line that broke is there, but in no index
        _must(restic("rebuild-index", home=home), f"What came last time into {home} cannot be taken up")
    _write(STATE, state | {"unfinished": True})
    before = _snapshots(home)
    new = _new(_wanted(), before, state.get("newest", 0.0), now)
    if new:
        _copy(home, new)
    part = int(now // (7 * DAY)) % PARTS + 1
    checked = restic("check", f"--read-data-subset={part}/{PARTS}", home=home)
    _must(checked, f"The copy in {home} is damaged; nothing in it was removed. {DAMAGED}")
    _must(restic("forget", *KEEP, "--prune", home=home), f"The old could not be removed from {home}")
    _tell_machine()
    after = _snapshots(home)
    newest = max((_time(one) for one in after), default=0.0)
    _write(STATE, {"unfinished": False, "success": now, "newest": newest, "snapshots": len(after)})
    return (
        f"{len(new)} new backups were copied, {len(before) + len(new) - len(after)} old ones forgotten; "
        f"{len(after)} are in {home} ({_size(home)}), the newest of {_day(newest)}. "
        f"Part {part} of {PARTS} was read, and all is whole. {time.time() - now:.0f} s."
    )


DAMAGED = "Give it a new place (make backup-pull DIR=...), and keep this one until that is full."


def _wanted() -> list[dict[str, Any]]:
    """List the machine's snapshots that would be kept at home."""
    said = restic("forget", "--dry-run", "--no-lock", "--json", *KEEP)
    _must(said, "The machine's repository cannot be read")
    return [one for group in json.loads(said.stdout.strip() or "[]") or [] for one in group["keep"] or []]


def _snapshots(home: Path) -> list[dict[str, Any]]:
    said = restic("snapshots", "--json", home=home)
    _must(said, f"The repository {home} cannot be read")
    return json.loads(said.stdout) or []


def _origin(snapshot: dict[str, Any]) -> str:
    """Return what a snapshot is called where it was made."""
    return str(snapshot.get("original") or snapshot["id"])


def _new(
    listed: list[dict[str, Any]], before: list[dict[str, Any]], newest: float, now: float
) -> list[dict[str, Any]]:
    """Choose what to fetch: what is not here, and is of the time since the last copy.

    Whoever holds the machine could date snapshots of his own into the past or the future, and home would
    forget the good ones for them. So after a whole copy nothing older is new, and nothing is of tomorrow.
    """
    here = {_origin(one) for one in before}
    return [one for one in listed if _origin(one) not in here and newest - DAY < _time(one) < now + DAY]


def _day(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))


def _time(snapshot: dict[str, Any]) -> float:
    """Return when a snapshot was made; restic writes nanoseconds, which Python 3.11 reads as microseconds."""
    return datetime.datetime.fromisoformat(snapshot["time"]).timestamp()


def _copy(home: Path, new: list[dict[str, Any]]) -> None:
    """Copy snapshots; where one is damaged, the others nevertheless."""
    source = ("--from-repo", SOURCE, "--from-password-file", str(MACHINE_PASSWORD), "--no-lock")
    done = restic("copy", *source, *(one["id"] for one in new), home=home)
    if not done.returncode:
        return
    reach()  # if the line is what is broken, that is what is said
    failed = {}
    for one in sorted(new, key=_time, reverse=True):
        if (done := restic("copy", *source, one["id"], home=home)).returncode:
            failed[_day(_time(one))] = _words(done)
    if failed:
        raise Trouble(
            f"{len(failed)} of {len(new)} new backups could not be copied: the machine's repository is "
            f"damaged, or may not be read. What is in {home} stays as it is; nothing was removed. "
            "On the machine: sudo atlasctl drill\n"
            f"Of {', '.join(failed)}. restic says: {next(iter(failed.values()))}"
        )


def reach() -> None:
    """Look whether the machine lets us read. Raises Unreachable with the reason when it does not."""
    said = _sftp("ls /repository/config")
    if said.returncode:
        words = " ".join(said.stderr.split())
        if "IDENTIFICATION HAS CHANGED" in words or "Host key verification failed" in words:
            raise Trouble(
                "Somebody else answers where the machine was: its host key is another. Nothing was sent. If "
                "you made the machine anew, say `make backup-pull` again: it learns the key as its owner."
            )
        if "/repository" in words:  # it let us in
            raise Trouble(
                "The machine has no backup yet that may be read here. On it: sudo atlasctl backup; a quarter "
                "of an hour later say `make backup-pull` again."
            )
        raise Unreachable(f"The machine's backups cannot be reached: {words[-300:]}")


def _tell_machine() -> None:
    """Let the machine know that all is here: it looks when that file was last read."""
    with tempfile.TemporaryDirectory() as directory:
        _sftp(f"-get /fetched {directory}/fetched")


def _sftp(command: str) -> subprocess.CompletedProcess[str]:
    return _call(["sftp", "-F", str(SSH_CONFIG), "-b", "-", ALIAS], stdin=f"{command}\n")


def restic(verb: str, *words: str, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run restic on the repository at home, or on the machine's if none is named."""
    environment = {
        **os.environ,
        "RESTIC_REPOSITORY": str(home or SOURCE),
        "RESTIC_PASSWORD_FILE": str(HOME_PASSWORD if home else MACHINE_PASSWORD),
    }
    line = f"ssh -F {shlex.quote(str(SSH_CONFIG))} {ALIAS} -s sftp"
    return _call(["restic", "-o", f"sftp.command={line}", verb, *words], environment=environment)


def _call(
    command: list[str], *, stdin: str = "", environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, input=stdin, env=environment, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        return subprocess.CompletedProcess(command, 127, "", str(error))


def _must(done: subprocess.CompletedProcess[str], what: str) -> None:
    if done.returncode:
        raise Trouble(f"{what}. restic says: {_words(done)}")


def _words(done: subprocess.CompletedProcess[str]) -> str:
    return " ".join(done.stderr.split())[-400:] or f"nothing ({done.returncode})"


def _size(directory: Path) -> str:
    size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


@contextmanager
def _alone() -> Iterator[None]:
    """Let no second copy run beside this one."""
    PLACE.mkdir(parents=True, exist_ok=True)
    with (PLACE / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Trouble("Another copy is running.") from None
        yield


def status() -> None:
    """Say when the last copy was."""
    settings, state = _read(SETTINGS), _read(STATE)
    if "success" not in state:
        raise Trouble("Nothing was copied here yet: make backup-pull")
    days = (time.time() - state["success"]) / DAY
    print(f"All was copied {days:.1f} days ago: {state['snapshots']} backups in {settings['directory']}.")


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.exists() else {}


def _write(path: Path, said: dict[str, Any]) -> None:
    new = path.with_suffix(".new")
    new.write_text(json.dumps(said, indent=2) + "\n")
    new.replace(path)


if __name__ == "__main__":
    main()
