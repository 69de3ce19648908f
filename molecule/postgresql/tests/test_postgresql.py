import json
from pathlib import Path

import pytest

LOGIN = "PGPASSWORD={password} psql -h 127.0.0.1 -U atlas -d atlas -Atc {query!r}"


@pytest.fixture
def sql(host, scenario_directory):
    password = Path(scenario_directory, "secrets", "database_password").read_text().strip()

    def ask(query, password=password):
        return host.run(LOGIN.format(password=password, query=query))

    return ask


def test_atlas_logs_in_with_its_password_and_owns_its_database(sql):
    assert sql("create table drop_me (n int); drop table drop_me").succeeded
    assert (
        sql("select rolsuper, rolcreatedb, rolcreaterole from pg_roles where rolname = 'atlas'").stdout
        == "f|f|f\n"
    )


def test_a_wrong_password_is_refused(sql):
    answer = sql("select 1", password="wrong")
    assert answer.failed
    assert "password authentication failed" in answer.stderr


def test_nobody_reaches_it_from_outside(host):
    listening = host.check_output("ss -Hltn '( sport = :5432 )' | awk '{print $4}'")
    assert listening == "127.0.0.1:5432"


def test_a_row_comes_back_from_what_backup_is_told_to_do(host, sql):
    backup = json.loads(host.file("/etc/atlas/backup.d/database.json").content_string)
    dump, verify, restore = (" ".join(backup[verb]) for verb in ("dump", "verify", "restore"))
    assert sql("create table kept (word text); insert into kept values ('still here')").succeeded
    host.check_output(
        f"umask 077; {dump} > /root/atlas.dump && {verify} < /root/atlas.dump > /root/atlas.list"
    )
    assert "TABLE DATA public kept" in host.file("/root/atlas.list").content_string
    assert sql("drop table kept").succeeded
    host.check_output(f"{restore} < /root/atlas.dump")
    assert sql("select word from kept").stdout == "still here\n"
    assert sql("drop table kept").succeeded
