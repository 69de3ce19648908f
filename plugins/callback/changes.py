"""Callback that sums up after a play what it changed: what `make up` healed, what a test must find."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: changes
type: notification
short_description: Sum up what a play changed
description:
  - After the last task, lists each changed task with the host and the files it wrote.
  - Where E(ATLAS_CHANGES_FILE) names a file, writes the same there as JSON.
author: Atlas
"""

#: Files listed by name after a task; a first run writes hundreds.
SHOWN_FILES = 12


class CallbackModule(CallbackBase):  # type: ignore[misc]  # ansible-core ships no types
    """Collect changed tasks and print them at the end."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "changes"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._changes: list[dict[str, Any]] = []

    def v2_runner_on_ok(self, result: Any) -> None:  # noqa: ANN401 - ansible-core ships no types
        """Remember a task that changed something."""
        outcome = result._result
        if outcome.get("changed"):
            self._changes.append(
                {
                    "host": result._host.get_name(),
                    "task": result._task.get_name(),
                    "files": outcome.get("changed_files", []),
                }
            )

    def v2_playbook_on_stats(self, stats: Any) -> None:  # noqa: ANN401, ARG002
        """Print the sum, and write it where a program wants to read it."""
        if path := os.environ.get("ATLAS_CHANGES_FILE"):
            Path(path).write_text(json.dumps(self._changes, indent=2))
        self._display.banner("CHANGES")
        if not self._changes:
            self._display.display("Nothing had to be changed.")
        for change in self._changes:
            self._display.display(f"{change['host']}: {change['task']}", color="yellow")
            for file in change["files"][:SHOWN_FILES]:
                self._display.display(f"    {file}", color="yellow")
            if len(change["files"]) > SHOWN_FILES:
                self._display.display(f"    and {len(change['files']) - SHOWN_FILES} more", color="yellow")
