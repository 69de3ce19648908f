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


@pytest.fixture
def tool(host):
    """What backup is told to call, in a directory of its own; and that directory."""
    tool = json.loads(host.file("/etc/atlas/backup.d/database.json").content_string)["tool"]
    place = host.check_output("umask 077; mktemp --directory")
    yield lambda *words: host.run(f"cd {place} && {tool} {' '.join(words)}"), place
    host.check_output(f"rm -r {place}")
    host.check_output(f"for name in atlas_new atlas_old; do {tool} drop $name; done")


def test_a_row_comes_back_from_what_backup_is_told_to_do(sql, tool):
    call, _ = tool
    assert sql("create table kept (word text); insert into kept values ('still here')").succeeded
    for verb in ("dump", "verify"):
        said = call(verb)
        assert said.succeeded, said.stderr
    assert sql("drop table kept").succeeded
    for words in (["load", "atlas_new"], ["swap", "atlas_new", "atlas_old"]):
        said = call(*words)
        assert said.succeeded, said.stderr
    assert sql("select word from kept").stdout == "still here\n"
    # And the way back.
    assert call("exists", "atlas_new").failed
    assert call("swap", "atlas_old", "atlas_new").succeeded
    assert sql("select word from kept").failed


@pytest.mark.parametrize("damage", ["truncate --size=-1", "truncate --size=50%", "truncate --size=0"])
def test_half_a_dump_is_none(host, sql, tool, damage):
    call, place = tool
    rows = "insert into kept select repeat(md5(n::text), 50) from generate_series(1, 2000) n"
    assert sql(f"create table if not exists kept (word text); {rows}").succeeded
    try:
        assert call("dump").succeeded
        host.check_output(
            f"{damage} {place}/database.dump"
            if "%" not in damage
            else f"truncate --size=$(( $(stat -c %s {place}/database.dump) / 2 )) {place}/database.dump"
        )
        assert call("verify").failed
    finally:
        assert sql("drop table kept").succeeded


def test_rows_that_are_not_those_that_were_dumped_are_found(host, sql, tool):
    call, place = tool
    assert sql("create table kept (word text); insert into kept values ('still here')").succeeded
    try:
        assert call("dump").succeeded
        host.check_output(f"sed -i 's/still here/still hero/' {place}/database.dump")
        said = call("load", "atlas_new")
        assert said.failed
        assert "the table kept is not as it was" in said.stderr
    finally:
        assert sql("drop table kept").succeeded
