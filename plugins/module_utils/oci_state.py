"""Bring a list of things in Oracle Cloud to what is wanted: first the whole plan, then the work.

The plan asks and changes nothing. It finds everything that is there, checks every field, every name, what
cannot be changed and what would cost money; one mistake anywhere, and nothing at all is done.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ansible.module_utils.oci_account import TRIES, Account, CloudError, Unsure, explain, is_missing
from ansible.module_utils.oci_free import Guard
from ansible.module_utils.oci_kinds import BROKEN, DYING, GONE, KINDS, TAG, Kind, is_dying
from ansible.module_utils.oci_models import PENDING, fields, first_network, lines, normal, same

UNSETTLED = frozenset(
    {
        "PROVISIONING",
        "CREATING",
        "UPDATING",
        "ATTACHING",
        "STARTING",
        "RESTORING",
        "REQUEST_RECEIVED",
        "ASSIGNING",
        "UNASSIGNING",
    }
)
# What Oracle answers when the name is taken.
TAKEN = frozenset({"NotAuthorizedOrResourceAlreadyExists", "BucketAlreadyExists"})
# Seconds in which something made a moment ago may be said not to exist.
BLIND_SECONDS = 120
# Seconds in which what hangs on something may still be on its way out.
PATIENCE = 120.0
# Seconds in which what is asked for again in the same words is the same thing. Oracle itself remembers for a
# day, which is too long: what was removed and is wanted again must be made.
WINDOW_SECONDS = 300


@dataclass
class Wanted:
    """One thing, as the playbook asks for it."""

    key: str
    kind: str
    name: str
    spec: dict[str, Any]
    present: bool = True
    adopt: bool = False
    # What is always there and only set right, such as a network's default security list.
    identity: Any = None

    @property
    def where(self) -> str:
        """Name it in a sentence."""
        return f"{self.kind} {self.name or self.key}"


@dataclass
class Step:
    """What is to be done about one thing."""

    wanted: Wanted
    action: str
    current: dict[str, Any] | None
    fields: dict[str, tuple[Any, Any]] = field(default_factory=dict)


class State:
    """What is there, what is wanted, and the way from one to the other."""

    def __init__(
        self, account: Account, *, owner: str, compartment: str | None, guard: Guard, wait_seconds: float
    ) -> None:
        """Take whom to ask; `owner` is the tag's value that marks what is ours."""
        self.account = account
        self.owner = owner
        self.compartment = compartment
        self.guard = guard
        self.wait_seconds = wait_seconds
        self.known: dict[str, dict[str, Any] | None] = {}
        self.changes: list[str] = []
        self.diff: list[dict[str, str]] = []

    def plan(self, resources: list[Wanted]) -> list[Step]:
        """Say what is to be done.

        Raises CloudError that names what is wrong, before anything was changed.
        """
        steps = []
        for wanted in resources:
            if wanted.kind not in KINDS:
                raise CloudError(
                    f"{wanted.key}: there is no kind {wanted.kind}. Valid are: {', '.join(KINDS)}."
                )
            try:
                steps.append(self._plan(wanted, KINDS[wanted.kind]))
            except CloudError:
                raise
            except Exception as error:
                raise CloudError(explain(error, f"{wanted.where}: looking for it")) from error
        return steps

    def _plan(self, wanted: Wanted, kind: Kind) -> Step:
        spec = self._spec(wanted, kind)
        if wanted.present:
            kind.details(spec, wanted.where)
        if lacking := kind.lacking(spec, named=wanted.identity is not None):
            raise CloudError(f"{wanted.where}: {', '.join(lacking)} must be given.")
        current = self._find(wanted, kind, spec)
        self.known[wanted.key] = current
        if not wanted.present:
            return Step(wanted, "delete" if current and kind.is_meant(spec, current) else "none", current)
        if current is None:
            if wanted.identity is None:
                self.guard.check(kind.costs, spec, wanted.where)
                self._note(wanted, {}, spec)
                return Step(wanted, "create", None)
            self._note(wanted, {}, spec)
            return Step(wanted, "update", None)
        differing = self._differing(wanted, kind, spec, current)
        if not differing:
            return Step(wanted, "none", current)
        self.guard.check(kind.costs, spec, wanted.where, current)
        after = {name: value for name, (_, value) in differing.items()}
        if "freeform_tags" in after:
            after["freeform_tags"] = {**(current.get("freeform_tags") or {}), **after["freeform_tags"]}
        self._note(wanted, {name: before for name, (before, _) in differing.items()}, after)
        return Step(wanted, "update", current, differing)

    def apply(self, steps: list[Step]) -> None:
        """Do what was planned: first remove what is to go, the last one first, then the rest in order.

        Raises CloudError; what was done until then is in `changes`, and a next run goes on from there.
        """
        going = [step for step in reversed(steps) if step.action == "delete"]
        for step in going + [step for step in steps if step.action != "delete"]:
            kind = KINDS[step.wanted.kind]
            doing = {"create": "making", "update": "changing", "delete": "removing"}.get(step.action, "")
            try:
                getattr(self, f"_{step.action}")(step, kind)
            except CloudError:
                raise
            except Exception as error:
                raise CloudError(explain(error, f"{step.wanted.where}: {doing} it")) from error

    def _none(self, step: Step, kind: Kind) -> None:
        if step.current and step.current.get("lifecycle_state") in UNSETTLED:
            self.known[step.wanted.key] = self._settled(step.wanted, kind, step.current)

    def _create(self, step: Step, kind: Kind) -> None:
        wanted = step.wanted
        spec = self._ready_spec(wanted, kind)
        made = self._made(wanted, kind, spec)
        self.changes.append(f"made {wanted.where}")
        # Known before it is ready: should the wait fail, the next run finds it by its tag.
        self.known[wanted.key] = made
        self.known[wanted.key] = self._settled(wanted, kind, made, fresh=True)

    def _made(self, wanted: Wanted, kind: Kind, spec: dict[str, Any]) -> dict[str, Any]:
        """Make it once, also when an answer is lost or a list does not show what was made a moment ago.

        The token says what is made and about when, so another run straight after this gets the same thing
        from Oracle; one that was deleted or renamed since is made anew.
        """
        what = [self.owner, wanted.kind, wanted.name, spec, window()]
        said = json.dumps(what, sort_keys=True, default=str)
        token: str | None = hashlib.sha256(said.encode()).hexdigest()[:30]
        blind_until = time.monotonic() + BLIND_SECONDS
        for attempt in range(1, TRIES + 1):
            try:
                made = kind.create(self.account, spec, wanted.where, token)
            except Exception as error:
                if token and getattr(error, "code", None) == "InvalidatedRetryToken":
                    token = None
                    continue
                # Made by a try or a run whose answer was lost, perhaps.
                if attempt == TRIES or not _may_be_there(error) or time.monotonic() > blind_until:
                    raise
                self.account.pause(attempt)
                if found := self._find(wanted, kind, spec):
                    return found
            else:
                if not token or _is_still(made, spec, kind):
                    return made
                token = None
        raise CloudError(f"{wanted.where}: it could not be made. Run it again in some minutes.")

    def _update(self, step: Step, kind: Kind) -> None:
        wanted = step.wanted
        spec = self._ready_spec(wanted, kind)
        current = step.current or self._find(wanted, kind, spec)
        if current is None:
            raise CloudError(f"{wanted.where}: it is gone since this run began. Run it again.")
        current = self._settled(wanted, kind, current)
        differing = self._differing(wanted, kind, spec, current)
        if differing:
            if "freeform_tags" in differing:
                spec["freeform_tags"] = {**(current.get("freeform_tags") or {}), **spec["freeform_tags"]}
            current = kind.update(self.account, spec, current, differing, wanted.where)
            self.changes.append(f"changed {wanted.where}: {', '.join(differing)}")
        self.known[wanted.key] = self._settled(wanted, kind, current)

    def _delete(self, step: Step, kind: Kind) -> None:
        assert step.current is not None  # noqa: S101 - only what was found is removed
        spec = self._spec(step.wanted, kind)
        remove(self.account, kind, spec, step.current, self.wait_seconds)
        self.changes.append(f"removed {step.wanted.where}")
        self.known[step.wanted.key] = None

    def _find(self, wanted: Wanted, kind: Kind, spec: dict[str, Any]) -> dict[str, Any] | None:
        if wanted.identity is not None:
            identity = self._resolve(wanted.identity, wanted.where)
            return None if identity == PENDING else kind.get(self.account, spec, identity)
        found = kind.find(self.account, spec, wanted.name)
        if not kind.tagged:
            return found[0] if found else None
        ours = [row for row in found if (row.get("freeform_tags") or {}).get(TAG) == self.owner]
        if len(ours) > 1:
            listed = ", ".join(row["id"] for row in ours)
            raise CloudError(
                f"{wanted.where}: there are several, and all say they are ours: {listed}. Remove one."
            )
        if ours:
            return ours[0]
        others = found if kind.unique else [r for r in found if TAG not in (r.get("freeform_tags") or {})]
        if not others or not wanted.present:
            # Only what is ours is ever removed.
            return None
        if len(others) > 1:
            listed = ", ".join(row["id"] for row in others)
            raise CloudError(
                f"{wanted.where}: there are several of that name, none of which this made: {listed}. Choose "
                f"another name, or give the right one the freeform tag {TAG}={self.owner} in Oracle Cloud."
            )
        if not wanted.adopt:
            raise CloudError(
                f"{wanted.where}: there is one of that name which this did not make ({others[0]['id']}: its "
                f"tag {TAG} is not {self.owner}). Choose another name, or set adopt: true to take it over."
            )
        return others[0]

    def _differing(
        self, wanted: Wanted, kind: Kind, spec: dict[str, Any], current: dict[str, Any]
    ) -> dict[str, tuple[Any, Any]]:
        differing = kind.differing(spec, current)
        changeable = kind.changeable()
        # What is not known yet, in a plan, may well be what is there.
        differing = {
            name: both for name, both in differing.items() if name in changeable or both[1] != PENDING
        }
        fixed = [name for name in differing if name not in changeable]
        if fixed:
            name = fixed[0]
            before, after = differing[name]
            raise CloudError(
                f"{wanted.where}: {name} is {_shown(before)} and cannot be changed to {_shown(after)}: "
                "Oracle fixes it when the thing is made, and nothing is ever remade by itself. Put the old "
                f"value back; or remove the {wanted.kind} first (playbooks/destroy.yml removes all) and run "
                "this again."
            )
        return differing

    def _settled(
        self, wanted: Wanted, kind: Kind, seen: dict[str, Any], *, fresh: bool = False
    ) -> dict[str, Any]:
        """Wait until it is ready, and return it as it is then."""
        state = seen.get("lifecycle_state")
        if state is None or state not in UNSETTLED | BROKEN | DYING | GONE:
            return seen
        spec = self._spec(wanted, kind)
        blind_until = time.monotonic() + (BLIND_SECONDS if fresh else 0)

        def look() -> dict[str, Any]:
            try:
                return kind.get(self.account, spec, seen["id"])
            except Exception as error:
                # What was made a moment ago may not be seen everywhere yet.
                if is_missing(error) and time.monotonic() < blind_until:
                    return seen
                raise

        now = self.account.wait(
            look, lambda row: row.get("lifecycle_state") not in UNSETTLED, self.wait_seconds, wanted.where
        )
        if is_dying(now) or now.get("lifecycle_state") in BROKEN:
            raise CloudError(f"{wanted.where}: Oracle says it is {now['lifecycle_state']}. Run it again.")
        return dict(now)

    def _ready_spec(self, wanted: Wanted, kind: Kind) -> dict[str, Any]:
        """Return the spec as it is sent: everything it refers to must be there by now.

        Raises CloudError.
        """
        spec = self._spec(wanted, kind)
        for name, value in spec.items():
            if _pends(value):
                raise CloudError(f"{wanted.where}: {name} refers to something that is not there.")
        return spec

    def _spec(self, wanted: Wanted, kind: Kind) -> dict[str, Any]:
        """Return the spec with what all have, and with references followed as far as they are known."""
        known = fields(kind.models[0])
        spec = dict(wanted.spec)
        if self.compartment and ("compartment_id" in known or "compartment_id" in kind.listed_by):
            spec.setdefault("compartment_id", self.compartment)
        if kind.named in known and wanted.name:
            spec.setdefault(kind.named, wanted.name)
        if kind.tagged and "freeform_tags" in known and wanted.identity is None:
            spec["freeform_tags"] = {**(spec.get("freeform_tags") or {}), TAG: self.owner}
        return {name: self._resolve(value, f"{wanted.where}: {name}") for name, value in spec.items()}

    def _resolve(self, value: Any, where: str) -> Any:
        if isinstance(value, list):
            return [self._resolve(one, where) for one in value]
        if not isinstance(value, dict):
            return value
        if "refs" in value:
            found = [self._follow(str(path), where) for path in value["refs"]]
            try:
                return PENDING if PENDING in found else value["text"] % tuple(found)
            except (KeyError, TypeError, ValueError):
                text = value.get("text")
                raise CloudError(f"{where}: {text!r} needs one %s for each of {len(found)} refs.") from None
        if "ref" not in value:
            return {name: self._resolve(one, where) for name, one in value.items()}
        found = self._follow(str(value["ref"]), where)
        if "prefix" in value and found != PENDING:
            try:
                return first_network(found, int(value["prefix"]))
            except ValueError as error:
                raise CloudError(f"{where}: no /{value['prefix']} in {found}: {error}.") from None
        return found

    def _follow(self, reference: str, where: str) -> Any:
        """Return what a reference stands for: an earlier entry, or the tenancy itself."""
        key, _, path = reference.partition(".")
        found: Any
        if key == "tenancy":
            found = {"id": self.account.tenancy, "region": self.account.region}
            found |= {"namespace": self.account.namespace} if path == "namespace" else {}
        elif key not in self.known:
            raise CloudError(f"{where}: {key} is not the key of anything before it in the list.")
        else:
            found = self.known[key]
        if found is None:
            return PENDING
        for part in (path or "id").split("."):
            try:
                found = found[int(part)] if isinstance(found, list) else found[part]
            except (LookupError, ValueError, TypeError):
                raise CloudError(f"{where}: {key} has no {path}.") from None
        return found

    def _note(self, wanted: Wanted, before: dict[str, Any], after: dict[str, Any]) -> None:
        ordered = KINDS[wanted.kind].ordered

        def readable(side: dict[str, Any]) -> dict[str, Any]:
            told = {name: value for name, value in side.items() if value is not None}
            return {name: value if name in ordered else normal(value) for name, value in told.items()}

        texts = ["".join(f"{line}\n" for line in lines(readable(side))) for side in (before, after)]
        self.diff.append(
            {
                "before_header": wanted.where,
                "after_header": wanted.where,
                "before": texts[0],
                "after": texts[1],
            }
        )


def window() -> int:
    """Return the number of the span of time this is in."""
    return int(time.time() // WINDOW_SECONDS)


def _may_be_there(error: Exception) -> bool:
    return isinstance(error, Unsure) or getattr(error, "code", None) in TAKEN


def _is_still(made: dict[str, Any], spec: dict[str, Any], kind: Kind) -> bool:
    """Say whether what was made with a token is there, and goes by the name it was made with."""
    name = spec.get(kind.named)
    return not is_dying(made) and (name is None or same(name, made.get(kind.named)))


def _pends(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_pends, value.values()))
    return any(map(_pends, value)) if isinstance(value, list) else bool(value == PENDING)


def _shown(value: Any) -> str:
    return ", ".join(lines(normal(value))) if isinstance(value, list | dict) else str(value)


def remove(
    account: Account,
    kind: Kind,
    spec: dict[str, Any],
    current: dict[str, Any],
    wait_seconds: float,
    *,
    patience: float | None = None,
) -> None:
    """Remove one thing and wait until it is gone.

    What still hangs on it may be on its way out too, so a refusal for that is tried again for `patience`
    seconds. Raises the SDK's ServiceError when it is refused still, and CloudError when it is there after
    `wait_seconds`.
    """
    start = time.monotonic()
    patience = min(PATIENCE, wait_seconds) if patience is None else patience
    while True:
        try:
            kind.delete(account, spec, current)
            break
        except Exception as error:
            if is_missing(error):
                return
            patient = time.monotonic() - start < patience
            if getattr(error, "status", None) != 409 or not patient:
                raise
            time.sleep(account.poll_seconds)
    for _ in _until_gone(account, kind, spec, current, start + wait_seconds):
        time.sleep(account.poll_seconds)


def _until_gone(
    account: Account, kind: Kind, spec: dict[str, Any], current: dict[str, Any], end: float
) -> Iterator[None]:
    """Yield while it is still there; what has no state is gone when it was deleted."""
    while current.get("lifecycle_state") is not None:
        try:
            if kind.get(account, spec, current["id"]).get("lifecycle_state") in GONE:
                return
        except Exception as error:
            if is_missing(error):
                return
            raise
        if time.monotonic() > end:
            raise CloudError(f"{kind.noun} {current['id']} is still there. Run it again in some minutes.")
        yield
