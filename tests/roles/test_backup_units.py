"""What may be written by who backs up."""

import re

import pytest

pytestmark = pytest.mark.slow


#: What they differ in: where they write, and for how long.
APART = frozenset({"Description", "After", "Wants", "ReadWritePaths", "TimeoutStartSec"})


@pytest.fixture(scope="module")
def directories(root, run_play, tmp_path_factory):
    """Return where units are, by the database they are for."""
    home = tmp_path_factory.mktemp("units")
    given = [
        *sorted((root / "group_vars/all").glob("*.yml")),
        *sorted((root / "roles/backup").glob("[dv]*/main.yml")),
    ]
    known = {"atlas_backup_password": "correct horse battery", "monitoring_enabled": False}
    trees = [str(root / "roles/backup" / name) for name in ("tree", "snapshots")]
    tasks = [
        {
            "name": f"Backups of {engine}",
            "install_tree": {"src": trees, "dest": f"{home}/{engine}", "journal": f"{home}/journal"},
            "vars": known | {"atlas_database_engine": engine},
        }
        for engine in ("postgresql", "sqlite")
    ]
    run_play(
        home, {"hosts": "all", "gather_facts": False, "vars_files": list(map(str, given)), "tasks": tasks}
    )
    return {engine: home / engine / "etc/systemd/system" for engine in ("postgresql", "sqlite")}


@pytest.fixture(scope="module")
def units(directories):
    """Return the unit that backs up, by the database it is for."""
    return {engine: (place / "atlas-backup.service").read_text() for engine, place in directories.items()}


@pytest.fixture(scope="module")
def snapshots(directories):
    """Return the units of SQLite: the one that backs up, the one that takes snapshots, and its timer."""
    names = ("atlas-backup.service", "atlas-snapshot.service", "atlas-snapshot.timer")
    return [(directories["sqlite"] / name).read_text() for name in names]


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


def test_snapshots_are_taken_by_who_may_do_no_more_than_who_backs_up(snapshots):
    backup, snapshot, timer = snapshots
    assert (
        "\nExecStart=/usr/local/bin/atlasctl backup --only database --repository local --if-free\n"
        in snapshot
    )
    assert "\nOnUnitActiveSec=5min\n" in timer

    def limits(text):
        lines = [line for line in text.splitlines() if "=" in line and not line.startswith(("#", "Exec"))]
        return {line for line in lines if line.partition("=")[0] not in APART}

    assert limits(snapshot) <= limits(backup)
    assert len(limits(snapshot)) > 20
