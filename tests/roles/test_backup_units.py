"""What may be written by who backs up."""

import re

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def units(root, run_play, tmp_path_factory):
    """Return the unit that backs up, by the database it is for."""
    home = tmp_path_factory.mktemp("units")
    given = [
        *sorted((root / "group_vars/all").glob("*.yml")),
        *sorted((root / "roles/backup").glob("[dv]*/main.yml")),
    ]
    known = {"atlas_backup_password": "correct horse battery", "monitoring_enabled": False}
    tree = str(root / "roles/backup/tree")
    tasks = [
        {
            "name": f"Backups of {engine}",
            "install_tree": {"src": [tree], "dest": f"{home}/{engine}", "journal": f"{home}/journal"},
            "vars": known | {"atlas_database_engine": engine},
        }
        for engine in ("postgresql", "sqlite")
    ]
    run_play(
        home, {"hosts": "all", "gather_facts": False, "vars_files": list(map(str, given)), "tasks": tasks}
    )
    unit = "etc/systemd/system/atlas-backup.service"
    return {engine: (home / engine / unit).read_text() for engine in ("postgresql", "sqlite")}


def test_sqlites_directory_is_written_to_also_by_who_only_reads_it(units):
    """A server writes beside its database itself."""
    found = {
        name: re.findall(r"^ReadWritePaths=/var/lib/atlas$", text, re.MULTILINE)
        for name, text in units.items()
    }
    assert {name: len(lines) for name, lines in found.items()} == {"postgresql": 0, "sqlite": 1}


def test_whatever_becomes_of_a_backup_somebody_clears_up(units):
    """Outside the sandbox: what a restore replaced is not where backups are."""
    for text in units.values():
        assert "\nExecStopPost=-+/usr/local/bin/atlasctl backup expire --wait\n" in text
        assert "\nKillMode=mixed\n" in text
