"""A release that does not serve is taken back, and the play says why."""

import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PARTS = (
    "ansible.cfg",
    "app",
    "docs",
    "group_vars",
    "playbooks",
    "plugins",
    "requirements",
    "roles",
    "site.yml",
)


@pytest.fixture
def broken_repository(tmp_path):
    """This repository, with an API that dies at its start."""
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, tmp_path / part, symlinks=True)
        else:
            shutil.copy(ROOT / part, tmp_path / part)
    serve = tmp_path / "app" / "atlas" / "commands" / "serve.py"
    serve.write_text('raise RuntimeError("broken on purpose")\n')
    return tmp_path


@pytest.mark.timeout(600)
def test_a_broken_release_is_rolled_back_and_the_play_says_why(host, library, play, broken_repository):
    before = host.check_output("readlink /opt/atlas/current")
    stopped = play(repository=broken_repository)
    assert not stopped.succeeded
    assert "broken on purpose" in stopped.output, stopped.output
    assert "serves again" in stopped.output, stopped.output
    assert host.check_output("readlink /opt/atlas/current") == before
    assert library.client.get("/ready").status_code == 200
    again = play()
    assert again.succeeded, again.output
    assert host.check_output("readlink /opt/atlas/current") == before
