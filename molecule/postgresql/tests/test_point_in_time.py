"""The archive of the database, and the way back to a moment."""

import json
import time

import pytest

AT = "/usr/local/lib/atlas-backup/postgresql-at"
ARCHIVE = "/usr/local/lib/atlas/pgbackrest"
SETTINGS = "/etc/atlas/archive.json"
METRICS = "/var/lib/prometheus/node-exporter/atlas_archive.prom"
PSQL = "cd / && runuser -u postgres -- psql -XAtq"
HEALTH = f"runuser -u postgres -- {ARCHIVE} health"


@pytest.fixture
def ask(host):
    """Ask the database as its own superuser."""

    def psql(query, options="atlas"):
        return host.check_output(f'{PSQL} {options} -c "{query}"')

    return psql


@pytest.fixture(scope="module", autouse=True)
def base_backup(host):
    """Wait for the first base backup, which the play has only begun."""
    host.check_output(f"timeout 60 sh -c 'until test -e {METRICS}; do sleep 0.3; done'")


@pytest.fixture
def directory(host):
    made = host.check_output("mktemp --directory")
    yield made
    host.check_output(f"rm -r {made}")


def switch(ask):
    """Close the file of WAL that is written to, and return its name."""
    ask("select pg_current_xact_id()")
    return ask("select pg_walfile_name(pg_switch_wal())")


def archived(host, segment):
    return host.run(f"ls /var/lib/pgbackrest/archive/atlas/*/*/{segment}-*").succeeded


def last_second(host):
    """Let a whole second pass between what was and what comes; return it."""
    return host.check_output("sleep 1.1; date --utc +%FT%TZ; sleep 1.1")


def test_what_is_written_gets_into_the_archive(host, ask, eventually):
    segment = switch(ask)
    eventually(lambda: archived(host, segment), 10)
    healthy = host.run(HEALTH)
    assert (healthy.rc, healthy.stdout) == (0, "any moment can be brought back\n")
    assert ask("show archive_timeout") == "50s"
    # Else it is not heeded for a quarter of an hour.
    assert ask("select pg_conf_load_time() > pg_postmaster_start_time()") == "t"


def test_the_base_backup_may_do_little_and_tells_how_it_went(host):
    verdict = host.check_output("systemd-analyze security --no-pager atlas-archive.service | tail -n 1")
    assert float(verdict.split(":")[1].split()[0]) <= 3.0
    told = host.file(METRICS)
    assert told.mode == 0o644
    values = dict(line.split() for line in told.content_string.splitlines() if not line.startswith("#"))
    assert time.time() - 3600 < float(values["atlas_archive_backup_timestamp_seconds"]) <= time.time()
    assert float(values["atlas_archive_size_bytes"]) > float(values["atlas_archive_backup_bytes"]) > 0


def test_half_of_the_rows_deleted_by_mistake_are_back(host, ask, directory):
    ask("create table many as select generate_series(1, 1000) n; alter table many owner to atlas")
    moment = last_second(host)
    ask("delete from many where n % 2 = 0")
    host.check_output(f"{AT} {moment} {directory}")
    assert ask("select count(*) from many") == "500"
    ask("create database back", "postgres")
    host.check_output(
        f"cd / && runuser -u postgres -- pg_restore --exit-on-error --dbname=back < {directory}/database.dump"
    )
    assert ask("select count(*), sum(n) from many", "back") == "1000|500500"
    ask("drop database back", "postgres")
    ask("drop table many")
    assert not host.file("/var/lib/postgresql/point-in-time").exists


def test_it_says_how_far_back_it_can_go_and_refuses_what_it_cannot(host, directory):
    reach = json.loads(host.check_output(f"{AT} --range"))
    assert reach["earliest"] < reach["latest"]
    refused = {
        "2020-01-01T00:00:00Z": f"goes back to {reach['earliest']} only",
        "2038-01-01T00:00:00+01:00": "2037-12-31T23:00:00Z is still to come",
        "2020-01-01T00:00:00": "is no time with a zone",
        "yesterday": "is no time with a zone",
    }
    for moment, words in refused.items():
        said = host.run(f"{AT} {moment} {directory}")
        assert said.rc == 1
        assert words in said.stderr
        assert "Traceback" not in said.stderr
    assert "is no directory" in host.run(f"{AT} latest {directory}/nowhere").stderr
    assert host.file(directory).listdir() == []


def test_a_run_that_is_killed_leaves_nothing_that_stays(host, directory):
    started = "until test -e /var/lib/postgresql/point-in-time/log; do sleep 0.05; done"
    for signal, left in {"KILL": True, "TERM": False}.items():
        host.run(f"rm -rf {directory}/*; {AT} latest {directory} & {started}; kill -{signal} $!; wait $!")
        assert host.file("/var/lib/postgresql/point-in-time").exists == left
        # Whatever the signal, nobody lives on there.
        host.check_output("timeout 5 sh -c 'while pgrep --full [p]oint-in-time; do sleep 0.1; done'")
        host.run("rm -f /var/lib/postgresql/point-in-time/log")


def test_a_database_that_is_gone_comes_back_up_to_what_was_archived(host, ask, eventually, directory):
    """Nothing can be asked of it any more, and a moment that was not archived is not pretended."""
    segment = switch(ask)
    eventually(lambda: archived(host, segment), 10)
    last = last_second(host)
    host.check_output("systemctl kill --signal=KILL 'postgresql@*.service'; sleep 0.5")
    try:
        refused = host.run(f"{AT} {last} {directory}")
        assert refused.rc == 1
        assert "only up to then it can be brought back" in refused.stderr
        host.check_output(f"{AT} latest {directory}")
    finally:
        host.check_output("systemctl start postgresql@$(ls /etc/postgresql)-main")


def test_a_full_disk_does_not_stop_the_database_and_is_told(host, ask, eventually):
    kept = host.file(SETTINGS).content_string
    crowded = json.loads(kept) | {"reserve_bytes": 10**15}

    def write(settings):
        host.check_output(f"echo '{json.dumps(settings)}' > {SETTINGS}")

    try:
        write(crowded)
        waits = switch(ask)
        time.sleep(2)
        assert not archived(host, waits)
        write(json.loads(kept))
        follows = switch(ask)
        eventually(lambda: archived(host, waits) and archived(host, follows), 70)
        write(crowded | {"queue_bytes": 0})
        lost = switch(ask)
        eventually(lambda: ask("select last_archived_wal from pg_stat_archiver", "postgres") == lost, 10)
        assert not archived(host, lost)
        said = host.run(HEALTH)
        assert said.rc == 1
        assert "WAL was thrown away" in said.stdout
        assert host.run("systemctl start atlas-archive").rc == 1
    finally:
        host.check_output(f"cat > {SETTINGS} <<'END'\n{kept}END")
    host.check_output("systemctl start atlas-archive")
    assert host.run(HEALTH).rc == 0


def test_the_archive_of_a_lost_database_is_kept_when_a_new_one_stands_in_its_place(host):
    host.check_output(
        "cd / && runuser -u postgres -- /usr/lib/postgresql/*/bin/initdb --no-sync /tmp/new > /dev/null"
    )
    configuration = host.file("/etc/pgbackrest.conf").content_string
    try:
        host.check_output("sed -i s,^pg1-path=.*,pg1-path=/tmp/new, /etc/pgbackrest.conf")
        assert host.check_output(f"{ARCHIVE} keep") == '{"changed": true}'
        assert host.check_output(f"{ARCHIVE} keep") == '{"changed": false}'
        assert "full backup" in host.check_output("pgbackrest info")
    finally:
        host.check_output(f"cat > /etc/pgbackrest.conf <<'END'\n{configuration}END\nrm -r /tmp/new")
        host.check_output(f"{ARCHIVE} keep")
