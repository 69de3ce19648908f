"""What the documents of backups say to type can be typed."""

import re
import shlex
from pathlib import Path

import pytest

from atlasctl import cli

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/disaster-recovery.md").read_text()
BLOCKS = re.findall(r"^ *```sh\n(.*?)^ *```$", TEXT, re.MULTILINE | re.DOTALL)
LINES = [line.strip() for block in BLOCKS for line in block.splitlines()]
INDENTED = [
    line.split("   #")[0].strip()
    for line in (ROOT / "docs/backup.md").read_text().splitlines()
    if line.startswith("    ")
]


def words(program):
    """Return what follows a program, wherever it is called."""
    found = [shlex.split(line.removeprefix("sudo ")) for line in [*LINES, *INDENTED] if program in line]
    return [line[1:] for line in found if line[0] == program]


def test_each_case_has_something_to_type():
    cases = re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]
    assert [case.splitlines()[0] for case in cases if "```sh" not in case] == []
    assert len(cases) == 6


@pytest.mark.parametrize("line", words("atlasctl"), ids=" ".join)
def test_atlasctl_knows_it(line):
    cli._parser().parse_args(line)


def test_make_knows_it():
    verbs = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    said = {line[0] for line in words("make")}
    assert said >= {"setup", "emergency-sheet", "backup-pull"}
    assert said <= verbs


def test_the_playbooks_are_there():
    said = {word for line in words(".venv/bin/ansible-playbook") for word in line if word.endswith(".yml")}
    assert "playbooks/restore.yml" in said
    assert [name for name in sorted(said) if not (ROOT / name).exists()] == []
