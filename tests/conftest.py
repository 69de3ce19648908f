"""What must be set before any test is read, and what holds for all of them."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

import skips

# Read when Oracle's SDK is imported: its own retries would hide what the fake cloud answers.
os.environ["OCI_SDK_DEFAULT_RETRY_ENABLED"] = "false"
os.environ["OCI_SDK_DEFAULT_CIRCUITBREAKER_ENABLED"] = "false"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    return skips.fail_in_ci((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report():
    return skips.fail_in_ci((yield))
