"""Somebody who keeps things in a fake cloud with the engine of the modules for Oracle Cloud, quickly."""

from dataclasses import dataclass
from typing import Any

import oci_free
import oci_resource
import oci_state
import pytest
from oci_account import Account, CloudError
from tests.oci_api.server import FakeOci

OWNER = "production"
READS = {"GET", "HEAD"}
# Questions that are asked with POST.
QUESTIONS = ("/20200107/usage", "/_control", "/v1/x509")

__all__ = ["OWNER", "CloudError", "Done", "Operator", "writes"]


def writes(cloud: FakeOci, start: int = 0) -> list[str]:
    """What was asked for since then that changes anything, as `POST /20160918/vcns`."""
    return [
        f"{method} {path}"
        for method, path, _ in cloud.calls[start:]
        if method not in READS and not path.startswith(QUESTIONS)
    ]


@dataclass
class Done:
    """How a run ended: what was planned for each key, what was done, and what is known now."""

    actions: dict[str, str]
    changes: list[str]
    diff: dict[str, tuple[str, str]]
    rows: dict[str, Any]
    writes: list[str]

    @property
    def changed(self) -> bool:
        return any(action != "none" for action in self.actions.values())


class Operator:
    """`apply` is a run of oci_resource without Ansible around it."""

    def __init__(self, cloud: FakeOci, account: dict[str, Any], owner: str = OWNER) -> None:
        self.cloud = cloud
        self.options = {**account, "poll_seconds": 0.01}
        self.owner = owner

    def account(self, **more: Any) -> Account:
        return Account({**self.options, **more})

    def apply(
        self,
        *entries: dict[str, Any],
        check: bool = False,
        compartment: str | None = None,
        wait: float = 5.0,
        allow_paid: bool = False,
        limits: dict[str, float] | None = None,
    ) -> Done:
        """Plan, and unless it is a check do, what the entries say. Raises CloudError."""
        start = len(self.cloud.calls)
        account = self.account()
        state = oci_state.State(
            account,
            owner=self.owner,
            compartment=compartment,
            guard=oci_free.Guard(account, allow_paid=allow_paid, limits=limits),
            wait_seconds=wait,
        )
        steps = state.plan(oci_resource.wanted([filled(entry) for entry in entries]))
        assert writes(self.cloud, start) == [], "a plan changes nothing"
        if not check:
            state.apply(steps)
        return Done(
            {step.wanted.key: step.action for step in steps},
            state.changes,
            {one["after_header"]: (one["before"], one["after"]) for one in state.diff},
            state.known,
            writes(self.cloud, start),
        )

    def refused(self, *entries: dict[str, Any], **more: Any) -> str:
        """The sentence with which a run is refused, before anything was changed."""
        start = len(self.cloud.calls)
        with pytest.raises(CloudError) as caught:
            self.apply(*entries, **more)
        assert writes(self.cloud, start) == [], f"refused, but changed: {caught.value}"
        return str(caught.value)


def filled(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry as Ansible hands it to the module, with its defaults."""
    plain = {"key": None, "name": "", "spec": {}, "state": "present", "adopt": False, "id": None}
    assert not entry.keys() - plain.keys() - {"kind"}, entry
    return {**plain, **entry}
