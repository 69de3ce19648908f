"""Walk the availability domains for a machine, again and again where none has room, and say so each time.

A module says nothing before it ends; so the waiting is done here, on the operator's screen, and each walk is
one run of the module. Stopping it loses nothing: what there is is in Oracle Cloud, and the next run goes on
from it.
"""

from __future__ import annotations

import time
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

LONGEST = 5
GROWTH = 1.5
NO_ROOM = (
    "Oracle has no room now: {}. This is not your account's limit. Run it again later (early morning in the "
    "region's time does best): everything else is in place, and it goes on from here. capacity_minutes "
    "(oci_compute_capacity_minutes in the inventory) makes it wait longer."
)


class ActionModule(ActionBase):  # type: ignore[misc]
    """The action plugin Ansible loads by this name."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the task."""
        super().run(tmp, task_vars)
        options = dict(self._task.args)
        first, *fallback = options.get("shapes") or [{}]
        end = time.monotonic() + 60 * float(options.get("capacity_minutes", 60))
        pause = float(options.get("capacity_pause_seconds", 60))
        longest, walk = LONGEST * pause, 1
        while True:
            result = self._walk(options, [first], task_vars)
            if not _is_full(result):
                return result
            left = end - time.monotonic()
            if left <= 0:
                break
            _say(
                f"No room for {', '.join(result['full'])} (walk {walk}). Trying again in "
                f"{min(pause, left):.0f} s, for {left / 60:.0f} minutes more; Ctrl-C loses nothing."
            )
            time.sleep(min(pause, left))
            pause, walk = min(pause * GROWTH, longest), walk + 1
        if fallback:
            names = ", ".join(str(one.get("shape")) for one in fallback)
            _say(f"No room for {first.get('shape')} in all that time. Trying {names}.")
            full = result["full"]
            result = self._walk(options, fallback, task_vars)
            if not _is_full(result):
                return result
            result["full"] = full + result["full"]
        return result | {"failed": True, "msg": NO_ROOM.format(", ".join(result["full"]))}

    def _walk(self, options: dict[str, Any], shapes: list[Any], task_vars: Any) -> dict[str, Any]:  # noqa: ANN401
        arguments = {**options, "shapes": shapes}
        result: dict[str, Any] = self._execute_module(
            module_name="oci_instance", module_args=arguments, task_vars=task_vars
        )
        return result


def _is_full(result: dict[str, Any]) -> bool:
    return not result.get("failed") and bool(result.get("full"))


def _say(words: str) -> None:
    Display().display(words, color="yellow")
