"""Print a warning: something the operator must know that is no reason to stop.

Option: `message`. It stands out as Ansible's own warnings do, and the play goes on.
"""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):  # type: ignore[misc]
    """The action plugin Ansible loads by this name."""

    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"message"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the task."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        return result | {"changed": False, "warnings": [str(self._task.args["message"])]}
