"""Change how a machine is reached, and take it back unless somebody gets in anew.

The machine's half of `install_tree`'s option `trial`. Files are installed and their transaction is left open;
a connection that is made from now on closes it. If none comes, a timer of systemd takes everything back; if
the machine goes down meanwhile, a unit does so while it boots. Both run this file, which is copied beside the
journal for that: they need neither Ansible nor the network.

Standard library only.
"""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

try:
    from ansible.module_utils import file_tree
except ImportError:  # beside the journal, without Ansible
    import file_tree  # type: ignore[import-not-found]

UNITS = "/etc/systemd/system"
COMMAND_SECONDS = 60
# /proc counts in hundredths of a second, and rounds down.
TICK = 0.02
# So long after a try that failed the timer tries again to take everything back.
AGAIN_SECONDS = 30

# What `keep` says when it did.
KEPT = ("kept", "answers", "untried")
# A server on this machine answers at once, or is asked again.
ANSWER_SECONDS = 3
# One at a time: whoever asks for many and logs in with none is soon not answered any more.
KEY_KINDS = ("ed25519", "rsa", "ecdsa")

BOOT_UNIT = """\
# Made by install_tree for as long as a change is on trial.
[Unit]
Description=Take back what was on trial when the machine went down: {name}
DefaultDependencies=no
RequiresMountsFor={journal} /etc
After=local-fs.target
Before=sysinit.target network-pre.target shutdown.target {before}
Conflicts=shutdown.target

[Service]
Type=oneshot
ExecStart={python} {journal}/trial.py boot
"""


@dataclass(frozen=True)
class Restore:
    """What is not in files: `save` prints how it is, `load` gets that on its standard input."""

    load: Sequence[str]
    save: Sequence[str] = ()


@dataclass(frozen=True)
class Trial:
    """How a change is tried; commands are lists of words.

    `apply` makes it hold once the files are there, `holds` says whether it does, `restore` takes it back once
    the files are as before. `before` are units that must not start with what was taken back.
    """

    name: str
    seconds: int
    apply: Sequence[Sequence[str]]
    holds: Sequence[Sequence[str]] = ()
    restore: Sequence[Restore] = ()
    before: Sequence[str] = ()


@dataclass
class Outcome:
    """What `begin` did, or in check mode would do: `drifted` is why, where no file differs."""

    result: file_tree.Result
    drifted: str = ""
    opened: bool = False

    @property
    def changed(self) -> bool:
        """Whether anything is, or would be, otherwise than before."""
        return bool(self.result.changes or self.result.recovered or self.drifted)


# --- beginning -------------------------------------------------------------------------------------------


def begin(
    tree: file_tree.Tree,
    trial: Trial,
    *,
    journal: str,
    validate: Sequence[Sequence[str]] = (),
    check: bool = False,
    client: str = "",
) -> Outcome:
    """Install and apply `tree`; what was before comes back in `trial.seconds` unless `keep` is called.

    `client` is who tries, an address: whoever bans strangers can read in the record that this is none.

    Raises file_tree.TreeError: when the tree cannot be installed, or a command fails, after all was put back.
    """
    if check:
        changes = file_tree.plan(tree, check=True)
        return Outcome(file_tree.Result(changes), drifted="" if changes else _drift(trial))
    with file_tree.locked(journal):
        outcome = Outcome(file_tree.Result(recovered=_take_back(journal)))
        outcome.result.changes = file_tree.plan(tree)
        outcome.drifted = "" if outcome.result.changes else _drift(trial)
        if not outcome.result.changes and not outcome.drifted:
            return outcome
        _open(journal, trial, client)
        try:
            if outcome.result.changes:
                file_tree.begin(journal, outcome.result.changes)
            file_tree.apply(outcome.result.changes, validate)
            for command in trial.apply:
                _must(command)
        except BaseException:
            _take_back(journal)
            raise
        outcome.opened = True
        return outcome


def _drift(trial: Trial) -> str:
    """Say what does not hold; empty when all does."""
    for command in trial.holds:
        code, said = _run(command)
        if code:
            return said.strip() or f"`{' '.join(command)}` ended with {code}"
    return ""


def _open(journal: str, trial: Trial, client: str) -> None:
    """Remember what is not in files, and see to it that everything is taken back."""
    loads = [
        {"command": list(restore.load), "text": _saved(restore.save)} for restore in reversed(trial.restore)
    ]
    record = {
        "name": trial.name,
        "opened": time.clock_gettime(time.CLOCK_BOOTTIME),
        "client": client,
        "loads": loads,
        "answered": ssh_answers(),
    }
    for name, module in (("file_tree.py", file_tree), ("trial.py", sys.modules[__name__])):
        _write(os.path.join(journal, name), inspect.getsource(module))
    _write(_record(journal), json.dumps(record))
    unit = BOOT_UNIT.format(
        name=trial.name, journal=journal, before=" ".join(trial.before), python=sys.executable
    )
    try:
        _write(_boot_unit(trial.name), unit, 0o644)
        wanted = _boot_wish(trial.name)
        os.makedirs(os.path.dirname(wanted), exist_ok=True)
        if not os.path.islink(wanted):
            os.symlink(_boot_unit(trial.name), wanted)
        _must(
            [
                *("systemd-run", "--quiet", "--collect", f"--unit={_timer(trial.name)}"),
                *(f"--on-active={trial.seconds}s", "--timer-property=AccuracySec=100ms"),
                f"--on-unit-inactive={AGAIN_SECONDS}s",
                *(sys.executable, os.path.join(journal, "trial.py"), "back"),
            ]
        )
    except BaseException:
        _end(journal, trial.name)
        raise


def _saved(command: Sequence[str]) -> str:
    """Return what a command prints; nothing when it fails, as what it asks for may not be there yet."""
    if not command:
        return ""
    code, said = _run(command)
    return "" if code else said


# --- ending ----------------------------------------------------------------------------------------------


def keep(journal: str, came_in: float | None) -> str:
    """Close the trial: `kept`, or why not: `gone` (taken back already), `stale` (an old connection asks).

    `came_in` is when the connection was made, in seconds since boot; None if it is none of SSH. Such a one
    proves nothing about the way in, so what can be seen from the machine itself must do: `answers` (kept, as
    the SSH server still does), `mute` (not kept, as it no longer does) or `untried` (kept; it never did).
    """
    state = "kept"
    with file_tree.locked(journal):
        record = _read(journal)
        if record is None:
            return "gone"
        if came_in is None:
            state = ("answers" if ssh_answers() else "mute") if record["answered"] else "untried"
            if state == "mute":
                return state
        elif came_in < record["opened"] - TICK:
            return "stale"
        if file_tree.journalled(journal):
            file_tree.close(journal)
        _end(journal, record["name"])
    return state


def take_back(journal: str, *, boot: bool = False) -> list[str]:
    """Put everything back as it was before the open trial, if there is one; returns the paths.

    While the machine boots the files are enough: what they are for starts later.
    """
    with file_tree.locked(journal):
        return _take_back(journal, boot=boot)


def _take_back(journal: str, *, boot: bool = False) -> list[str]:
    record = _read(journal)
    paths: list[str] = []
    failed = []
    try:
        paths = file_tree.recover(journal)
    except file_tree.TreeError as error:
        if record is None:
            raise
        failed.append(str(error))
    if record is None:
        return paths
    stuck = bool(failed)
    for load in [] if boot else record["loads"]:
        code, said = _run(load["command"], load["text"])
        if code:
            failed.append(f"`{' '.join(load['command'])}` ended with {code}: {said.strip()}")
    if stuck:  # what needs no file is as it was; the timer tries the files again
        raise file_tree.TreeError("; ".join(failed))
    _end(journal, record["name"], boot=boot)
    if failed:
        raise file_tree.TreeError("the files were put back, but " + "; ".join(failed))
    return paths


def _end(journal: str, name: str, *, boot: bool = False) -> None:
    for path in (_record(journal), _boot_wish(name), _boot_unit(name)):
        Path(path).unlink(missing_ok=True)
    if not boot:  # when systemd has other things to do, and no such timer
        _run(["systemctl", "stop", f"{_timer(name)}.timer"])
        _run(["systemctl", "daemon-reload"])


# --- who asks --------------------------------------------------------------------------------------------


def came_in() -> tuple[float | None, str]:
    """Say when the SSH connection was made through which this runs (seconds since boot), and from where.

    None if this does not run through one.
    """
    client = ""
    for pid in _ancestors():
        client = client or _client(pid)
        words = _stat(pid)
        if words[0].startswith("sshd"):
            return int(words[20]) / os.sysconf("SC_CLK_TCK"), client
    return None, client


def ssh_answers() -> bool:
    """Say whether an SSH server answers on this machine's own addresses, as far as an exchange of keys."""
    code, said = _run(["sshd", "-T"])
    ports = [words[1] for words in map(str.split, said.splitlines()) if words[:1] == ["port"]]
    return code == 0 and any(
        _shows_key(port, address, kind)
        for port in ports
        for address in ("127.0.0.1", "::1")
        for kind in KEY_KINDS
    )


def _shows_key(port: str, address: str, kind: str) -> bool:
    code, said = _run(["ssh-keyscan", "-T", str(ANSWER_SECONDS), "-p", port, "-t", kind, address])
    lines = [line.split() for line in said.splitlines() if not line.startswith("#")]
    return code == 0 and any(len(words) == 3 and words[1].startswith(("ssh-", "ecdsa-")) for words in lines)


def _ancestors() -> Iterator[int]:
    pid = os.getpid()
    while pid > 1:
        yield pid
        pid = int(_stat(pid)[2])


def _stat(pid: int) -> list[str]:
    """Return the words of /proc/PID/stat from the command's name on, which may have spaces in it."""
    _, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")
    name, _, words = rest.rpartition(")")
    return [name, *words.split()]


def _client(pid: int) -> str:
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except PermissionError:
        return ""
    for variable in variables:
        if variable.startswith(b"SSH_CONNECTION="):
            return variable.partition(b"=")[2].split()[0].decode(errors="replace")
    return ""


# --- small things ----------------------------------------------------------------------------------------


def _record(journal: str) -> str:
    return os.path.join(journal, "trial.json")


def _boot_unit(name: str) -> str:
    return os.path.join(UNITS, f"trial-{name}-boot.service")


def _boot_wish(name: str) -> str:
    return os.path.join(UNITS, "sysinit.target.wants", f"trial-{name}-boot.service")


def _timer(name: str) -> str:
    return f"trial-{name}"


def _read(journal: str) -> dict | None:  # type: ignore[type-arg]  # what `_open` wrote
    try:
        return dict(json.loads(Path(_record(journal)).read_bytes()))
    except FileNotFoundError:
        return None


def _write(path: str, text: str, mode: int = 0o600) -> None:
    file_tree.put(path, file_tree.State("file", mode=mode, content=text.encode()))


def _must(command: Sequence[str]) -> None:
    code, said = _run(command)
    if code:
        raise file_tree.TreeError(
            f"`{' '.join(command)}` ended with {code}, so everything was put back. It said:\n{said.strip()}"
        )


def _run(command: Sequence[str], text: str = "") -> tuple[int, str]:
    try:
        done = subprocess.run(
            list(command),
            input=text.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=COMMAND_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, str(error)
    return done.returncode, done.stdout.decode(errors="replace")


if __name__ == "__main__":
    take_back(os.path.dirname(os.path.abspath(__file__)), boot=sys.argv[1:] == ["boot"])
