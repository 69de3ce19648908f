"""Putting a release in place: build, check, migrate, switch, restart, wait until ready; else go back."""

import os
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from atlasctl import systemd
from atlasctl.files import write_json
from atlasctl.paths import Paths
from atlasctl.release import store
from atlasctl.release.build import build, damage, identify
from atlasctl.run import run
from atlasctl.settings import read_settings
from atlasctl.trouble import Trouble
from atlasctl.web import NoAnswerError, get
from atlasctl.words import exact_now, shorten

CHECK_SECONDS = 60
MIGRATE_SECONDS = 1800
RESTART_SECONDS = 120


class Plan(NamedTuple):
    """How a release is put in place on this machine."""

    paths: Paths
    root: Path
    user: str
    units: list[str]
    ready_url: str
    ready_seconds: float
    settle_seconds: float
    keep: int


class DeployError(Exception):
    """A release could not be put in place; the text is for people, `report` for programs."""

    def __init__(self, text: str, report: dict[str, Any]) -> None:
        super().__init__(text)
        self.report = report


class NotReadyError(Exception):
    """The release that was switched to does not serve; `evidence` is what its units and the journal say."""

    def __init__(self, reason: str, evidence: dict[str, Any]) -> None:
        super().__init__(reason)
        self.evidence = evidence


def deploy(plan: Plan, source: Path, python: str) -> dict[str, Any]:
    """Make the release of `source` the current one and return what was done.

    Raises DeployError when it was not built or did not become ready; then the previous release serves again.
    """
    blueprint = identify(source, python)
    release_id = blueprint.id
    before = store.current_id(plan.root)
    built = store.find(plan.root, release_id)
    damaged = damage(built.path, blueprint) if built else ""
    again = built is not None and built.served_at != "" and before == release_id
    back = built if again else store.previous(plan.root, release_id)
    report: dict[str, Any] = {"changed": True, "release": release_id, "previous": before, "actions": []}
    if before == release_id and built and not damaged and _serves(plan):
        if not built.served_at:
            _mark_served(plan.root, release_id)
        return report | {"changed": False}
    try:
        if built is None or damaged:
            _say(f"building {release_id}: the first one takes a minute or two")
            build(plan.paths, plan.root, blueprint)
            report["actions"].append(f"rebuilt: {damaged} was damaged" if damaged else "built")
        moved = _prepare(plan, release_id, back)
        report["actions"].append("migrated")
    except (Trouble, OSError) as error:
        ending = "No release is in place."
        if before == release_id and (built is None or damaged):
            # What runs was not started from what is there now: the next deploy must not find it in order.
            (plan.root / "releases" / release_id / "FINISHED").unlink(missing_ok=True)
            ending = "What runs of it is left running; the next deploy builds it again."
        stays = before if before and store.find(plan.root, before) else None
        ending = f"Release {stays} goes on as before." if stays else ending
        report |= {"failed": True, "reason": str(error), "serving": stays}
        raise DeployError(f"Release {release_id} was not put in place: {error}\n{ending}", report) from None
    _switch_or_go_back(plan, release_id, back, report, moved)
    report["actions"] += [f"deleted {gone}" for gone in store.prune(plan.root, plan.keep)]
    return report


def rollback(plan: Plan, release_id: str | None) -> dict[str, Any]:
    """Go back to a release that served before and return what was done; the schema stays as it is."""
    current = store.current_id(plan.root)
    target = _target(plan.root, release_id, current)
    back = store.find(plan.root, current) if current and current != target.id else None
    report: dict[str, Any] = {"changed": True, "release": target.id, "previous": current, "actions": []}
    _switch_or_go_back(plan, target.id, back, report, set())
    stays = store.migrations(back.path) - store.migrations(target.path) if back else set()
    return report | {"note": _schema_note(stays)}


def _target(root: Path, release_id: str | None, current: str | None) -> store.Release:
    known = store.releases(root)
    if release_id is None:
        found = [one for one in known if one.served_at and one.id != current][:1]
    else:
        found = [one for one in known if one.finished_at and one.id.startswith(release_id)]
    if len(found) != 1:
        name = release_id or "a release that served before"
        raise Trouble(f"There is no single finished release for: {name}. Look: atlasctl release list")
    return found[0]


def _prepare(plan: Plan, release_id: str, back: store.Release | None) -> set[str]:
    """Check the configuration and migrate; return the migrations that the release before does not know."""
    release = plan.root / "releases" / release_id
    moved = store.migrations(release) - store.migrations(back.path) if back else set()
    _say("checking the configuration and migrating the database")
    _atlas(plan, release, "check-config", CHECK_SECONDS, "it does not accept the configuration")
    stays = f" (on the way: {', '.join(sorted(moved))}; what was done of it stays)" if moved else ""
    _atlas(plan, release, "migrate", MIGRATE_SECONDS, f"the database could not be migrated{stays}")
    return moved


def _atlas(plan: Plan, release: Path, verb: str, timeout: float, complaint: str) -> None:
    """Run a verb of the release's `atlas` as the app's user, with the settings its units have."""
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": "/var/lib/atlas"}
    environment |= read_settings(plan.paths.settings) | {"ATLAS_SECRETS_DIR": str(plan.paths.secrets)}
    command = [str(release / "bin/atlas"), verb]
    result = run(command, timeout=timeout, env=environment, user=plan.user, cwd=Path("/"))
    if result.code != 0:
        said = "\n".join(f"{result.out}\n{result.err}".strip().splitlines()[-20:])
        raise Trouble(f"{complaint} (atlas {verb}, exit code {result.code}):\n{said}")


def _switch_or_go_back(
    plan: Plan, release_id: str, back: store.Release | None, report: dict[str, Any], moved: set[str]
) -> None:
    """Activate a release, or the one before again; raises DeployError when it did not become ready."""
    try:
        _activate(plan, release_id)
    except NotReadyError as error:
        serving, ending = _go_back(plan, release_id, back)
        note = _schema_note(moved)
        report["actions"] += ["switched", "rolled back" if serving else "not ready"]
        report |= {"failed": True, "reason": str(error), "serving": serving, "note": note, **error.evidence}
        text = "\n".join(filter(None, [_in_words(release_id, error), "---", ending, note]))
        raise DeployError(text, report) from None
    report["actions"] += ["switched", "restarted"]


def _activate(plan: Plan, release_id: str) -> None:
    """Switch, restart and wait; raises NotReadyError."""
    _say(f"switching to {release_id}, then waiting until it is ready")
    store.switch(plan.root, release_id)
    started = time.time()
    try:
        said = systemd.restart(plan.units, timeout=RESTART_SECONDS)
        if said is not None:
            raise NotReadyError(said, _evidence(plan, started, "not asked, because a unit did not start"))
        _wait(plan, started)
    except KeyboardInterrupt:
        raise NotReadyError("interrupted", _evidence(plan, started, "not waited for")) from None
    _mark_served(plan.root, release_id)


def _go_back(plan: Plan, failed: str, back: store.Release | None) -> tuple[str | None, str]:
    """Put the previous release back in place; return the ID of what serves now, and that in words."""
    if back and back.id == failed:
        return None, "This very release served before, so look for the cause elsewhere: atlasctl doctor"
    if back is None:
        running = systemd.stop(plan.units)
        (plan.root / "current").unlink(missing_ok=True)
        ending = f"not stopped: {', '.join(running)}" if running else "the units are stopped"
        return None, f"No release served before; {ending}. Repair the cause, then deploy again."
    try:
        _activate(plan, back.id)
    except NotReadyError as error:
        return (
            None,
            f"Release {back.id} is back in place, but not ready either ({error}). Next: atlasctl doctor",
        )
    return back.id, f"The previous release {back.id} serves again."


def _wait(plan: Plan, started: float) -> None:
    """Wait until the release serves and has done so for a while; raises NotReadyError."""
    end = time.monotonic() + plan.ready_seconds
    since: float | None = None
    while True:
        answer = _ready(plan)
        states = {unit.active for unit in _units(plan).values()}
        now = time.monotonic()
        if answer is None and states == {"active"}:
            since = since or now
            if now - since >= plan.settle_seconds:
                return
        else:
            since = None
        if "failed" in states:
            raise NotReadyError("a unit has failed", _evidence(plan, started, answer or "200"))
        if now >= end + (plan.settle_seconds if since else 0):
            raise NotReadyError(
                f"not within {plan.ready_seconds:g} s", _evidence(plan, started, answer or "200")
            )
        time.sleep(0.2)


def _ready(plan: Plan) -> str | None:
    """Ask /ready; return None when it says yes, else what it says."""
    try:
        answer = get(plan.ready_url, timeout=5)
    except NoAnswerError as error:
        return str(error)
    return None if answer.status == 200 else f"{answer.status} {shorten(answer.body, 500)}"


def _serves(plan: Plan) -> bool:
    return {unit.active for unit in _units(plan).values()} == {"active"} and _ready(plan) is None


def _units(plan: Plan) -> dict[str, systemd.Unit]:
    """Return how the units are; nothing when systemd does not answer, which is no reason to stop halfway."""
    try:
        return systemd.show(plan.units)
    except Trouble:
        return {}


def _evidence(plan: Plan, started: float, answer: str) -> dict[str, Any]:
    """Collect what explains a failure: what /ready says, the units, what the failing ones said meanwhile."""
    units = _units(plan)
    suspects = [name for name, unit in units.items() if unit.active != "active"] or plan.units
    return {
        "ready": answer,
        "units": {name: unit.words for name, unit in units.items()},
        "journal": {name: systemd.journal(name, started) for name in suspects},
    }


def _in_words(release_id: str, error: NotReadyError) -> str:
    lines = [f"Release {release_id} did not become ready: {error}", f"/ready: {error.evidence['ready']}"]
    lines += [f"{name}: {words}" for name, words in error.evidence["units"].items()]
    for name, said in error.evidence["journal"].items():
        lines += [f"--- last lines of {name}", *said]
    return "\n".join(lines)


def _schema_note(moved: set[str]) -> str:
    if not moved:
        return ""
    names = ", ".join(sorted(moved))
    return f"The database schema moved ({names}) and stays so: going back changes the code, not the database."


def _say(text: str) -> None:
    """Tell a person at a terminal what goes on; programs get the report."""
    if sys.stderr.isatty():
        print(f"… {text}", file=sys.stderr)


def _mark_served(root: Path, release_id: str) -> None:
    """Mark a release as one that can be gone back to."""
    write_json(root / "releases" / release_id / "SERVED", {"at": exact_now()})
