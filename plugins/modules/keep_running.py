"""Keep systemd units running, many in one call."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: keep_running
short_description: Keep systemd units running, many in one call
description:
  - Whatever became of a unit, afterwards it is unmasked, enabled, started, and what systemd has loaded of it,
    and of what it triggers as a timer or socket, is what stands on disk. All units are looked at in one call
    of C(systemctl), or two; nothing is done when nothing is wrong.
  - A unit is restarted when it started before one of O(reads), or its own unit file in C(/etc), was last
    written, and reloaded when it started or was last reloaded before one of O(rereads) was. Unlike a handler,
    that cannot be forgotten by a play that is stopped between the two.
  - Units of O(stopped) that run are stopped, even when nothing of them is left but the running unit, and
    those that would come back at a boot are disabled. Their files are not removed here.
  - Supports check mode; units that are not there yet would be started.
options:
  units:
    description: Full names, such as C(nginx.service) or C(atlas-health.timer).
    type: list
    elements: str
    default: []
  reads:
    description: Files, or directories with all in them, that the units read when they start, and only then.
    type: list
    elements: path
    default: []
  rereads:
    description: Files, or directories with all in them, that the units also read when they are reloaded.
    type: list
    elements: path
    default: []
  stopped:
    description: Units that are not wanted any more, by their full names; what is not there is stopped enough.
    type: list
    elements: str
    default: []
author: Atlas
attributes:
  check_mode: {support: full, description: Says what would be done.}
"""

EXAMPLES = r"""
- name: Keep the app running
  keep_running:
    units: [atlas-api.service, atlas-worker.service]
    reads: [/etc/atlas/atlas.env]
"""

RETURN = r"""
healed:
  description: What was done to which unit.
  returned: always
  type: dict
  sample: {nginx.service: [unmasked, started]}
"""

import os
import time
from collections.abc import Callable, Iterator

from ansible.module_utils.basic import AnsibleModule

PROPERTIES = (
    "LoadState",
    "UnitFileState",
    "ActiveState",
    "NeedDaemonReload",
    "FragmentPath",
    "Triggers",
    "ActiveEnterTimestampMonotonic",
    "StateChangeTimestampMonotonic",
)
MISSING = ("not-found", "bad-setting", "error")
JOURNAL_LINES = "15"


class SystemdError(Exception):
    """A unit cannot be kept running; the message says why."""


Run = Callable[[list[str]], tuple[int, str, str]]
Units = dict[str, dict[str, str]]


def main() -> None:
    """Read the parameters, do the work."""
    module = AnsibleModule(
        argument_spec={
            "units": {"type": "list", "elements": "str", "default": []},
            "reads": {"type": "list", "elements": "path", "default": []},
            "rereads": {"type": "list", "elements": "path", "default": []},
            "stopped": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )

    def run(command: list[str]) -> tuple[int, str, str]:
        code, out, err = module.run_command(command)
        return int(code), str(out), str(err)

    names = module.params["units"]
    try:
        reads, rereads = module.params["reads"], module.params["rereads"]
        healed = keep_running(run, names, reads, rereads, check=module.check_mode)
        healed |= keep_stopped(run, module.params["stopped"], check=module.check_mode)
    except SystemdError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(healed), healed=healed)


def keep_running(
    run: Run, names: list[str], reads: list[str], rereads: list[str], *, check: bool
) -> dict[str, list[str]]:
    """Put right what is wrong with the units; say what was done to which.

    Raises SystemdError when a unit is not there, or does not start.
    """
    units = _show(run, names)
    healed: dict[str, list[str]] = {}
    triggered = sorted({name for unit in units.values() for name in unit["Triggers"].split()} - set(units))
    loaded = [*units.values(), *_show(run, triggered).values()]
    if any(unit["NeedDaemonReload"] == "yes" or unit["LoadState"] != "loaded" for unit in loaded):
        masked = [name for name, unit in units.items() if unit["LoadState"] == "masked"]
        if not check:
            if masked:
                _do(run, ["systemctl", "unmask", "--runtime", *masked])
                _do(run, ["systemctl", "unmask", *masked])
            _do(run, ["systemctl", "daemon-reload"])
            units = _show(run, names)
        for name in masked:
            healed.setdefault(name, []).append("unmasked")
    for name, unit in units.items():
        if unit["LoadState"] in MISSING and not check:
            raise SystemdError(f"There is no usable unit {name} on this machine ({unit['LoadState']}).")
        if wrong := _wrong(unit, reads, rereads):
            healed.setdefault(name, []).extend(wrong)
    if not check:
        # Of a directory of drop-ins that was not there when it last read all, systemd does not take notice.
        if any({"started", "restarted"} & set(wrong) for wrong in healed.values()):
            _do(run, ["systemctl", "daemon-reload"])
        _heal(run, healed)
    return healed


def keep_stopped(run: Run, names: list[str], *, check: bool) -> dict[str, list[str]]:
    """Stop those of the units that run, disable those that would start at a boot; say what was done to which.

    Raises SystemdError when one does not stop.
    """
    healed: dict[str, list[str]] = {}
    for name, unit in _show(run, names).items():
        # Of a unit whose file is gone systemctl says that there is none to disable.
        if unit["UnitFileState"] == "enabled" and os.path.exists(unit["FragmentPath"]):
            healed.setdefault(name, []).append("disabled")
        if unit["ActiveState"] not in ("inactive", "failed"):
            healed.setdefault(name, []).append("stopped")
    # In this order: what is stopped and still enabled, atlasctl's health would start again.
    for verb, done in (("disable", "disabled"), ("stop", "stopped")):
        wrong = [name for name, said in healed.items() if done in said]
        if wrong and not check:
            _do(run, ["systemctl", verb, *wrong])
    return healed


def _wrong(unit: dict[str, str], reads: list[str], rereads: list[str]) -> list[str]:
    own = [unit["FragmentPath"]] if unit["FragmentPath"].startswith("/etc/") else []
    wrong = []
    if unit["UnitFileState"] in ("disabled", ""):
        wrong.append("enabled")
    if unit["ActiveState"] not in ("active", "activating", "reloading"):
        wrong.append("started")
    elif _written_since(unit["ActiveEnterTimestampMonotonic"], own + reads):
        wrong.append("restarted")
    elif _written_since(unit["StateChangeTimestampMonotonic"], rereads):
        wrong.append("reloaded")
    return wrong


def _heal(run: Run, healed: dict[str, list[str]]) -> None:
    enable = [name for name, wrong in healed.items() if "enabled" in wrong]
    start = [name for name, wrong in healed.items() if "started" in wrong]
    restart = [name for name, wrong in healed.items() if "restarted" in wrong]
    reload = [name for name, wrong in healed.items() if "reloaded" in wrong]
    if enable:
        _do(run, ["systemctl", "enable", *enable])
    if start:
        run(["systemctl", "reset-failed", *start])  # complains about units that never ran
        _do(run, ["systemctl", "start", *start], start)
    if restart:
        _do(run, ["systemctl", "restart", *restart], restart)
    if reload:
        _do(run, ["systemctl", "reload", *reload], reload)


def _show(run: Run, names: list[str]) -> Units:
    if not names:  # of none, systemctl tells of itself
        return {}
    _, out, err = run(["systemctl", "show", f"--property={','.join(PROPERTIES)}", "--", *names])
    blocks = out.strip().split("\n\n")
    if len(blocks) != len(names):
        raise SystemdError(f"systemctl does not say how the units are: {err.strip() or out.strip()}")
    return {
        name: {key: value for key, _, value in (line.partition("=") for line in block.splitlines())}
        for name, block in zip(names, blocks, strict=True)
    }


def _written_since(timestamp: str, paths: list[str]) -> bool:
    """Compare ages, as the clock may have been set since."""
    age = time.clock_gettime(time.CLOCK_MONOTONIC) - int(timestamp or 0) / 1_000_000
    return any(time.time() - os.stat(file).st_mtime < age for path in paths for file in _files(path))


def _files(path: str) -> Iterator[str]:
    """Yield the path and all below it; where a file was removed, its directory is newer."""
    if os.path.exists(path):
        yield path
    for directory, names, files in os.walk(path):
        for name in (*names, *files):
            if os.path.exists(os.path.join(directory, name)):
                yield os.path.join(directory, name)


def _do(run: Run, command: list[str], units: list[str] | None = None) -> None:
    code, out, err = run(command)
    if code == 0:
        return
    said = (err.strip() or out.strip()) or f"exit code {code}"
    for name in units or []:
        _, journal, _ = run(
            ["journalctl", f"--unit={name}", f"--lines={JOURNAL_LINES}", "--output=cat", "--quiet"]
        )
        said += f"\n--- last journal lines of {name}\n{journal.strip()}"
    raise SystemdError(f"`{' '.join(command)}` failed: {said}")


if __name__ == "__main__":
    main()
