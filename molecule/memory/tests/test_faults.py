"""What goes wrong while backing up and restoring: it is said clearly, and nothing is lost."""

import json
import os
import random

import pytest
from test_memory import LONG_AGO

REPOSITORY = "/var/lib/atlas-backup/repository"
# Each takes as long as a storage is given to answer; `make test-long` tries all, and kills more often.
ALL = os.environ.get("MEMORY_FAULTS") == "all"
REFUSALS = [
    (403, "the key of the storage service is refused there"),
    (507, "the storage is full"),
    (500, "the storage service has an error of its own"),
    (429, "the storage service wants fewer requests"),
]
KILLS = 20 if ALL else 5


@pytest.fixture(autouse=True)
def mended(host, storage, saved):
    """Begin each test with a sound library, and leave no fault behind."""
    assert saved["parts"]
    yield
    storage.fault, storage.delay, storage.refused = None, 0.0, 0
    host.check_output(
        "systemctl reset-failed 'fault*' 2>/dev/null; umount /var/lib/atlas-backup 2>/dev/null; true"
    )


def count(host) -> int:
    """Return how many items the library has."""
    return int(host.check_output("runuser -u postgres -- psql -Atd atlas -c 'SELECT count(*) FROM items'"))


def whole(host) -> None:
    """See that a backup can be made, and that the local repository is sound."""
    said = host.run("atlasctl backup")
    assert said.succeeded, said.stdout
    host.check_output(f"restic -q --password-file /etc/atlas-backup/password -r {REPOSITORY} check")


@pytest.mark.parametrize(("status", "words"), REFUSALS if ALL else REFUSALS[:2])
def test_storage_that_refuses_costs_only_its_own_copy(host, storage, status, words):
    storage.fault = status
    said = host.run("atlasctl backup")
    assert said.rc == 1
    assert words in said.stdout, said.stdout
    assert "local: snapshot" in said.stdout
    assert host.run("atlasctl backup check").succeeded  # the one before is young enough
    metrics = host.file("/var/lib/prometheus/node-exporter/atlas_backup.prom").content_string
    assert 'atlas_backup_failed{repository="bucket"} 1' in metrics
    storage.fault = None
    whole(host)


def test_storage_that_is_away_is_named(host, storage):
    storage.shut()
    try:
        said = host.run("atlasctl backup --repository bucket")
        assert said.rc == 1
        assert "nobody answers there" in said.stdout
    finally:
        storage.open()
    host.check_output("for i in $(seq 50); do ss -Hltn | grep -q :5600 && break; sleep 0.1; done")
    whole(host)


def test_storage_that_is_slow_or_stumbles_gets_everything(host, storage):
    storage.delay, storage.fault, storage.refused = 0.2, 500, 3
    host.check_output("head -c 3000000 /dev/urandom > /var/lib/atlas/blob")
    said = host.run("atlasctl backup --repository bucket")
    assert said.succeeded, said.stdout
    assert storage.refused == 0
    host.check_output("rm /var/lib/atlas/blob")


def test_a_wrong_password_is_named(host):
    host.check_output("cp -p /etc/atlas-backup/password /run/right; echo wrong > /etc/atlas-backup/password")
    try:
        said = host.run("atlasctl backup --repository local")
        assert said.rc == 1
        assert "the password in /etc/atlas-backup/password does not open it" in said.stdout
        assert "emergency sheet" in said.stdout
        assert host.run("atlasctl restore --yes --repository local").rc == 1
    finally:
        host.check_output("mv /run/right /etc/atlas-backup/password")
    whole(host)


def test_two_at_once_are_one_after_the_other(host, storage):
    storage.delay = 0.3
    host.check_output("systemd-run --quiet --unit=fault-one atlasctl backup")
    host.check_output(
        "for i in $(seq 100); do test -s /var/lib/atlas-backup/lock && exit; sleep 0.05; done; exit 1"
    )
    second = host.run("atlasctl backup")
    assert second.rc == 1
    assert "Busy: atlasctl backup by" in second.stderr
    assert "Busy" in host.run("atlasctl restore --yes").stderr
    storage.delay = 0.0
    host.check_output(
        "for i in $(seq 600); do systemctl -q is-active fault-one || exit 0; sleep 0.1; done; exit 1"
    )
    whole(host)


def test_a_dump_that_ends_well_and_is_half_is_no_backup(host):
    """A program that writes half of it and says that all went well."""
    tool = "/usr/local/lib/atlas-backup/postgresql"
    host.check_output(f"mv {tool} {tool}.right")
    host.check_output(
        f"printf '%s\\n' '#!/bin/sh' '{tool}.right \"$@\" || exit 1' "
        f"'test \"$1\" != dump || truncate --size=-2000 database.dump' > {tool}; chmod 755 {tool}"
    )
    try:
        before = host.check_output("atlasctl backup list")
        said = host.run("atlasctl backup")
        assert said.rc == 1
        assert "No backup was made. Database: verify failed" in said.stdout
        assert host.check_output("atlasctl backup list") == before
    finally:
        host.check_output(f"mv {tool}.right {tool}")


def test_a_disk_that_is_full_is_said_before_anything_is_begun(host):
    """Of the local repository nothing is seen below the small disk, so it is only asked of the other."""
    before = count(host)
    host.check_output("mount -t tmpfs -o size=100m none /var/lib/atlas-backup")
    said = host.run("atlasctl backup --repository bucket")
    assert said.rc == 1
    assert "there is no room for the dump below /var/lib/atlas-backup" in said.stdout
    restored = host.run("atlasctl restore --yes --repository bucket")
    assert restored.rc == 1
    assert "There is no room to restore beside what is there" in restored.stderr
    assert "Nothing was changed" in restored.stderr
    host.check_output("umount /var/lib/atlas-backup")
    assert count(host) == before


def test_a_disk_that_fills_up_while_dumping_leaves_no_half_backup(host):
    host.check_output("mount -t tmpfs -o size=300m none /var/lib/atlas-backup")
    tool = "/usr/local/lib/atlas-backup/greedy"
    program = "'#!/bin/sh' 'exec head -c 400M /dev/zero > dump'"
    host.check_output(f"printf '%s\\n' {program} > {tool}; chmod 755 {tool}")
    greedy = {"title": "Something greedy", "part": "database", "tool": tool}
    host.check_output("echo %s > /etc/atlas/backup.d/greedy.json", json.dumps(greedy))
    try:
        said = host.run("atlasctl backup --repository bucket")
        assert said.rc == 1
        assert "Something greedy: dump failed" in said.stdout
        assert "No space left on device" in said.stdout
    finally:
        host.check_output(f"rm {tool} /etc/atlas/backup.d/greedy.json; umount /var/lib/atlas-backup")
    whole(host)


@pytest.mark.timeout(24 * KILLS)
@pytest.mark.parametrize("what", ["backup", "restore"])
def test_whenever_it_is_killed_nothing_is_lost(host, storage, what):
    """At random moments: while dumping, uploading, pruning; while fetching, loading, exchanging."""
    storage.delay = 0.05
    before = count(host)
    argv = "atlasctl backup" if what == "backup" else "atlasctl restore --yes"
    moments = random.Random(7)
    for number in range(KILLS):
        host.check_output(LONG_AGO)
        unit = f"fault-{what}-{number}"
        host.check_output(f"systemd-run --quiet --unit={unit} {argv}")
        kill = f"systemctl kill --signal=KILL {unit}; systemctl reset-failed {unit}"
        host.check_output(f"sleep {moments.uniform(0.3, 9):.2f}; ({kill}) 2>/dev/null; true")
        assert count(host) == before
    storage.delay = 0.0
    if what == "restore":
        restored = host.run("atlasctl restore --yes")
        assert restored.succeeded, restored.stderr
    host.check_output("systemctl start atlas-api atlas-worker; atlas audit")
    whole(host)


@pytest.mark.timeout(120 * KILLS)
def test_a_restore_killed_while_it_exchanges_is_told_of_and_taken_back(host):
    """The library has one item more than the backup; after each kill it has it again."""
    whole(host)
    before = count(host)
    host.check_output("atlas note 'Only here, in no backup'")
    journal = "/var/lib/atlas-backup/restore.json"
    killed = f"grep -qs '\"done\": false' {journal}"
    for number in range(KILLS):
        unit = f"fault-exchange-{number}"
        host.check_output(f"systemd-run --quiet --unit={unit} atlasctl restore --yes --repository local")
        # As soon as it begins to exchange, and a little later each time.
        host.check_output(f"for i in $(seq 6000); do {killed} && exit; sleep 0.01; done; exit 1")
        host.run(f"sleep {number * 0.3:.1f}; systemctl kill --signal=KILL {unit}")
        host.check_output(f"while systemctl -q is-active {unit}; do sleep 0.1; done")
        if host.run(killed).succeeded:
            said = host.run("atlasctl backup check")
            assert said.rc == 1
            assert "a restore was killed in the middle: atlasctl restore --undo" in said.stdout
        else:
            assert number, "the first is killed at once"
        undone = host.run("atlasctl restore --undo")
        assert undone.succeeded, undone.stderr
        assert count(host) == before + 1
        assert "killed" not in host.run("atlasctl backup check").stdout
    assert host.check_output("atlas search 'in no backup'").startswith("1 found")
    assert host.check_output("find /var/lib/atlas /etc/atlas -name '.atlas-replaced*'") == ""
    databases = host.check_output("runuser -u postgres -- psql -Atlqc '' -l")
    assert not [name for name in ("atlas_restored", "atlas_replaced", "atlas_undone") if name in databases]
    host.check_output("atlas audit")
    whole(host)


def test_a_damaged_pack_is_found_and_the_snapshots_that_need_it_are_named(host):
    """Last of all here: what is damaged stays so."""
    listed = json.loads(host.check_output("atlasctl backup list --json --repository local"))
    host.check_output(
        f"pack=$(find {REPOSITORY}/data -type f -printf '%s %p\\n' | sort -n | tail -1 | cut -d ' ' -f 2);"
        " chmod u+w $pack; printf XXXXXXXX | dd of=$pack bs=1 seek=40 conv=notrunc status=none"
    )
    said = host.run("atlasctl drill --repository local")
    assert said.rc == 1
    assert "local: NOT PROVEN" in said.stdout
    assert any(one["id"] in said.stdout for one in listed), said.stdout
    assert "local: not proven" in host.run("atlasctl backup check").stdout
    # It is begun anew beside the damaged one, by whoever says so.
    host.check_output(f"mv {REPOSITORY} {REPOSITORY}.damaged")
    refused = host.run("atlasctl backup --repository local")
    assert "was there before and is gone" in refused.stdout
    assert host.run("atlasctl backup --repository local --anew local").succeeded
    assert host.run("atlasctl drill --repository local").succeeded
    host.check_output(f"rm -r {REPOSITORY}.damaged")
