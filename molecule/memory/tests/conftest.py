"""A machine with something to lose, and storage away from it."""

import json
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parents[1]
sys.path[:0] = [str(HERE), str(HERE.parent)]

from machines import A_WAY, reach  # noqa: E402
from storage import Storage  # noqa: E402


@pytest.fixture(scope="session")
def storage(scenario_directory):
    """Storage that speaks S3, in reach of the machine."""
    host = reach(scenario_directory)
    host.check_output(A_WAY)
    server = Storage(scenario_directory, 5600)
    server.admit(host)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def saved(host, storage, birds):
    """Back up a library with something in it; return what the backup says of itself."""
    assert storage.way
    for name in ("heron", "egret", "stork"):
        host.check_output(f"atlas add {birds}/{name}.html")
    host.check_output("atlas note 'A note that must not be lost'")
    read = "atlas status --json | grep -qE '\"readable\": ([4-9]|[1-9][0-9])'"
    host.check_output(f"for i in $(seq 60); do {read} && exit; sleep 1; done; exit 1")
    return json.loads(host.check_output("atlasctl backup --json"))
