"""In CI all that tests need is installed: there a test that is skipped for want of it has failed."""

from __future__ import annotations

import os
from typing import TypeVar

import pytest

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)
WANTING = ("is installed", "not installed", "make setup", "there is no ")


def fail_in_ci(report: Report) -> Report:
    """Return the report of a test or a file; as a failure where it was skipped for what is not installed."""
    if os.environ.get("CI") == "true" and report.skipped:
        reason = str(report.longrepr)
        if any(words in reason for words in WANTING):
            report.outcome = "failed"
    return report
