"""Types, connections and migrations: the same on both engines."""

import datetime as dt
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import sqlite as sqlite_dialect

from atlas import items
from atlas.database import migrate
from atlas.database.dialect import Json, UtcDateTime, is_sqlite, storable
from atlas.database.engine import _use_wal, make_engine, read
from atlas.database.tables import audit, hosts, metadata, users
from atlas.search import search

APP = Path(__file__).resolve().parents[2] / "app"


# Types


def test_a_moment_comes_back_as_utc(engine):
    kathmandu = dt.timezone(dt.timedelta(hours=5, minutes=45))
    moment = dt.datetime(2026, 11, 22, 1, 2, 3, 456, tzinfo=kathmandu)
    with engine.begin() as conn:
        conn.execute(hosts.insert().values(host="a", next_at=moment))
        found = conn.execute(sa.select(hosts.c.next_at)).scalar_one()
    assert found == moment
    assert found.tzinfo is dt.UTC


def test_a_moment_without_zone_is_refused(engine):
    naive = dt.datetime(2026, 11, 22)  # noqa: DTZ001
    with engine.begin() as conn, pytest.raises(sa.exc.StatementError, match="without a time zone"):
        conn.execute(hosts.insert().values(host="a", next_at=naive))


@pytest.mark.parametrize("year", [1, 9999])
def test_a_moment_beyond_the_calendar_in_utc_is_kept_at_its_end(engine, year):
    hours = 14 if year == 1 else -11
    zone = dt.timezone(dt.timedelta(hours=hours))
    moment = dt.datetime(1, 1, 1, tzinfo=zone) if year == 1 else dt.datetime(9999, 12, 31, 23, tzinfo=zone)
    with engine.begin() as conn:
        conn.execute(hosts.insert().values(host="a", next_at=moment))
        assert conn.execute(sa.select(hosts.c.next_at)).scalar_one().year == year


zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)))
moments = st.datetimes(timezones=zones)


@given(one=moments, other=moments)
def test_on_sqlite_text_sorts_as_time(one, other):
    stored = [UtcDateTime().process_bind_param(moment, sqlite_dialect.dialect()) for moment in (one, other)]
    assert len(stored[0]) == len(stored[1]) == 27
    if one < other:
        assert stored[0] <= stored[1]


def test_text_no_database_could_keep_is_made_storable(engine):
    with engine.begin() as conn:
        conn.execute(users.insert().values(name="a\x00b\ud800c", password_hash="", created_at=items_now()))
        same = sa.select(users.c.name).where(users.c.name == "a\x00b\ud800c")
        assert conn.execute(same).scalar_one() == "a\ufffdb\ufffdc"


def test_objects_are_kept_and_made_storable(engine):
    detail = {"n": 1.5, "list": ["a\x00", None, True], "pair \ud83d": {"é": "😀"}}
    with engine.begin() as conn:
        conn.execute(audit.insert().values(at=items_now(), actor="a", action="b", detail=detail))
        conn.execute(audit.insert().values(at=items_now(), actor="a", action="c", detail=None))
        found = conn.execute(sa.select(audit.c.detail).order_by(audit.c.id)).scalars().all()
        assert conn.execute(sa.select(audit.c.action).where(audit.c.detail.is_(None))).scalar_one() == "c"
    assert found == [{"n": 1.5, "list": ["a\ufffd", None, True], "pair \ufffd": {"é": "😀"}}, None]


@given(text=st.text(st.characters()))
def test_storable_changes_nothing_else(text):
    kept = storable(text)
    kept.encode()
    assert "\x00" not in kept
    assert storable(kept) == kept
    if "\ufffd" not in kept:
        assert kept == text


def items_now():
    return dt.datetime(2026, 11, 22, tzinfo=dt.UTC)


# Connections


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_sqlite_is_durable(engine):
    with read(engine) as conn:
        found = {
            name: conn.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 10_000}


def test_sqlite_makes_its_file_for_its_user_alone(plain_settings):
    engine = make_engine(plain_settings)
    migrate.upgrade(engine)
    with engine.begin() as conn:
        conn.execute(hosts.insert().values(host="a", next_at=items_now()))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in plain_settings.data_dir.iterdir()}
    assert modes == {"atlas.db": 0o600, "atlas.db-wal": 0o600, "atlas.db-shm": 0o600}
    assert stat.S_IMODE(plain_settings.data_dir.stat().st_mode) == 0o750


@pytest.mark.parametrize("settings", ["postgresql"], indirect=True)
def test_postgresql_sessions_are_bounded_and_in_utc(engine):
    with read(engine) as conn:
        names = (
            "timezone",
            "statement_timeout",
            "idle_in_transaction_session_timeout",
            "jit",
            "application_name",
        )
        found = [conn.exec_driver_sql(f"SHOW {name}").scalar_one() for name in names]
    assert found == ["UTC", "15s", "1min", "off", "atlas"]


def test_a_server_that_is_away_is_an_operational_error(plain_settings):
    nowhere = plain_settings.model_copy(
        update={"database_url": "postgresql+psycopg://atlas@127.0.0.1:1/atlas"}
    )
    with pytest.raises(sa.exc.OperationalError), read(make_engine(nowhere)):
        pass


def test_a_reader_sees_one_moment_and_does_not_wait_for_the_writer(engine):
    query = sa.select(sa.func.count()).select_from(hosts)
    with engine.begin() as writer:
        writer.execute(hosts.insert().values(host="a", next_at=items_now()))
        with read(engine) as reader:
            assert reader.execute(query).scalar_one() == 0
    with read(engine) as reader:
        assert reader.execute(query).scalar_one() == 1


def test_a_reader_cannot_write_and_the_connection_can_again(engine):
    new = hosts.insert().values(host="a", next_at=items_now())
    with read(engine) as conn, pytest.raises(sa.exc.DBAPIError, match=r"readonly|read-only"):
        conn.execute(new)
    with engine.begin() as conn:
        conn.execute(new)


def test_writers_queue_instead_of_failing(engine):
    """What begins by reading and then writes: on SQLite a deferred transaction would fail here."""

    def count_up():
        for _ in range(20):
            with engine.begin() as conn:
                row = sa.select(users.c.password_hash).where(users.c.name == "a").with_for_update()
                value = int(conn.execute(row).scalar_one())
                conn.execute(users.update().values(password_hash=str(value + 1)))

    with engine.begin() as conn:
        conn.execute(users.insert().values(name="a", password_hash="0", created_at=items_now()))
    threads = [threading.Thread(target=count_up) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with read(engine) as conn:
        assert conn.execute(sa.select(users.c.password_hash)).scalar_one() == "100"


# Migrations


@pytest.fixture
def empty(empty_settings):
    engine = make_engine(empty_settings)
    yield engine
    engine.dispose()


def test_migrations_lead_to_the_tables(engine):
    options = {
        "target_metadata": metadata,
        "compare_type": True,
        "compare_server_default": engine.dialect.name != "sqlite",  # which knows no IDENTITY
        "include_name": lambda name, _kind, _parents: name not in migrate.NOT_IN_METADATA,
    }
    with read(engine) as conn:
        assert compare_metadata(MigrationContext.configure(conn, opts=options), metadata) == []


def test_checks_and_conditions_are_the_tables_own(engine):
    """What Alembic does not compare: check constraints and the conditions of partial indexes."""
    with read(engine) as conn:
        inspector = sa.inspect(conn)
        checks = {check["name"] for check in inspector.get_check_constraints("items")}
        indexes = {index["name"]: index for index in inspector.get_indexes("items")}
    assert checks == {"ck_items_stage", "ck_items_duplicate"}
    where = f"{engine.dialect.name}_where"
    assert "599" in str(indexes["uq_items_url_key"]["dialect_options"][where])
    assert "due_at" in str(indexes["ix_items_queue"]["dialect_options"][where])


def test_down_and_up_again_with_data_inside(engine, clock):
    with engine.begin() as conn:
        added = items.add(conn, "https://example.com/", now=clock(), correlation_id="test")
        items.write_content(conn, added.id, title="Of whales", text="Call me Ishmael.", html="<p>Call me")
    migrate.downgrade(engine, "0001")
    with engine.begin() as conn:  # written while there is no index
        names = "kind, url, url_key, host, stage, lane, correlation_id, added_at, updated_at"
        later = conn.exec_driver_sql(
            f"INSERT INTO items ({names}) SELECT kind, url || '2', url_key || '2', host, 590, lane, "
            "correlation_id, added_at, updated_at FROM items RETURNING id"
        ).scalar_one()
        items.write_content(conn, later, title="", text="Ishmael again", html="<p>")
    migrate.upgrade(engine)
    with read(engine) as conn:
        assert {hit.id for hit in search(conn, "ishmael")[1]} == {added.id, later}
        assert items.get(conn, later)["source"] == "api"
        assert items.get(conn, added.id)["text"] == "Call me Ishmael."
        assert {hit.id for hit in search(conn, "site:example.com")[1]} == {added.id, later}


def a_row(table):
    """Make up a row: something in every column, pointing at the first row of other tables."""
    made = {
        sa.BigInteger: 1, sa.Integer: 1, sa.SmallInteger: 1, sa.Double: 0.5, sa.Boolean: True,
    }  # fmt: skip
    row = {}
    for column in table.columns:
        kind = column.type
        if column.primary_key and column.identity is not None:
            continue
        if isinstance(kind, UtcDateTime):
            row[column.name] = items_now()
        elif isinstance(kind, Json):
            row[column.name] = {"a": [1, None, "b"]}
        elif type(kind) in made:
            row[column.name] = made[type(kind)]
        else:
            row[column.name] = f"{column.name} of {table.name}"[: getattr(kind, "length", None)]
    return row | ({"stage": 590, "duplicate_of": None} if table.name == "items" else {})


def test_every_step_down_and_up_keeps_what_its_schema_can_hold(engine):
    with engine.begin() as conn:
        for table in metadata.sorted_tables:
            conn.execute(table.insert().values(a_row(table)))
    revisions = []
    while (at := migrate.current(engine)) is not None and at != "0001":
        revisions.append(at)
        migrate.downgrade(engine, "-1")
    assert revisions == sorted(revisions, reverse=True)
    assert revisions[0] == migrate.newest()
    migrate.upgrade(engine)
    kept = {"items", "contents", "feeds", "users", "tokens", "sessions", "transitions", "hosts", "audit"}
    with read(engine) as conn:
        for table in metadata.sorted_tables:
            found = conn.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            assert found == (table.name in kept | {"feed_entries", "workers", "login_failures"}), table.name
        row = conn.execute(sa.select(metadata.tables["items"])).one()
        assert (row.title, row.source, row.progress) == ("title of items", "api", 0.0)


def test_all_the_way_down_leaves_nothing(engine):
    migrate.downgrade(engine, "base")
    with read(engine) as conn:
        assert sa.inspect(conn).get_table_names() == ["alembic_version"]
        if not is_sqlite(conn):
            left = conn.exec_driver_sql(
                "SELECT count(*) FROM pg_ts_config, pg_proc WHERE cfgname = 'atlas' OR proname LIKE 'atlas%%'"
            )
            assert left.scalar_one() == 0
    migrate.upgrade(engine)
    assert migrate.current(engine) == migrate.newest()


def test_scripts_are_named_by_their_revisions():
    """What starts knows revisions by these names alone: a script that is named otherwise would not count."""
    config = Config()
    config.set_main_option("script_location", "atlas.database:migrations")
    config.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(config)
    assert migrate.newest() == scripts.get_current_head()
    assert migrate.older() == {one.revision for one in scripts.walk_revisions()} - {migrate.newest()}


def test_upgrading_twice_changes_nothing(engine):
    with read(engine) as conn:
        before = conn.execute(sa.text("SELECT * FROM alembic_version")).all()
    migrate.upgrade(engine)
    with read(engine) as conn:
        assert conn.execute(sa.text("SELECT * FROM alembic_version")).all() == before


def test_foreign_keys_are_enforced_again_after_a_migration(engine):
    migrate.upgrade(engine)
    with engine.begin() as conn, pytest.raises(sa.exc.IntegrityError):
        items.write_content(conn, 4711, title="", text="", html="")


def test_several_processes_may_upgrade_at_once(empty, empty_settings):
    program = (
        "from atlas.settings import load_settings\n"
        "from atlas.database import engine, migrate\n"
        "migrate.upgrade(engine.make_engine(load_settings()))\n"
    )
    environment = {
        "PYTHONPATH": str(APP),
        "ATLAS_DATA_DIR": str(empty_settings.data_dir),
        "ATLAS_DATABASE_URL": empty_settings.database_url,
    }
    running = [
        subprocess.Popen([sys.executable, "-c", program], env=environment, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [(process.communicate()[1], process.returncode) for process in running] == [("", 0)] * 2
    assert migrate.current(empty) == migrate.newest()


def test_a_database_of_a_newer_release_is_refused(engine):
    with engine.begin() as conn:
        conn.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(migrate.MigrationError, match=r"revision 9999.*Deploy that release again"):
        migrate.upgrade(engine)


def test_a_failing_migration_changes_nothing(empty, monkeypatch):
    def fail(*_arguments):
        raise RuntimeError("power cut")

    monkeypatch.setattr("alembic.operations.Operations.create_index", fail)
    with pytest.raises(RuntimeError, match="power cut"):
        migrate.upgrade(empty)
    assert migrate.current(empty) is None
    with read(empty) as conn:
        assert sa.inspect(conn).get_table_names() == []


def test_postgresql_that_cannot_tell_letters_is_refused(postgres, plain_settings):
    name = postgres.create(template="template0 ENCODING 'UTF8' LOCALE 'C'")
    engine = make_engine(plain_settings.model_copy(update={"database_url": postgres.url(name)}))
    with pytest.raises(migrate.MigrationError, match=r"CREATE DATABASE .* LOCALE 'C.UTF-8'"):
        migrate.upgrade(engine)
    engine.dispose()
    postgres.drop(name)


def test_postgresql_without_unaccent_still_searches(postgres, plain_settings, clock):
    name = postgres.create(template="template0")
    owner = "atlas_without_rights"
    postgres.execute(f"CREATE ROLE {owner} LOGIN")
    admin = sa.create_engine(postgres.url(name))
    with admin.begin() as conn:
        conn.exec_driver_sql(f"GRANT CREATE, USAGE ON SCHEMA public TO {owner}")
    admin.dispose()
    url = postgres.url(name).replace(f"//{postgres.user}@", f"//{owner}@")
    engine = make_engine(plain_settings.model_copy(update={"database_url": url}))
    migrate.upgrade(engine)
    with engine.begin() as conn:
        added = items.add(conn, "https://example.com/", now=clock(), correlation_id="test")
        items.write_content(conn, added.id, title="", text="un café noir", html="")
        assert search(conn, "café")[0] == 1
        assert search(conn, "cafe")[0] == 0
    engine.dispose()
    postgres.drop(name)
    postgres.execute(f"DROP ROLE {owner}")


class Busy:
    """A cursor that finds the file locked so many times, as SQLite does without waiting."""

    def __init__(self, times, code):
        self.times, self.code, self.asked = times, code, 0

    def execute(self, statement):
        assert statement == "PRAGMA journal_mode = WAL"
        self.asked += 1
        if self.asked <= self.times:
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = self.code
            raise error


def test_who_opens_a_new_file_while_another_does_waits():
    cursor = Busy(3, sqlite3.SQLITE_BUSY)
    _use_wal(cursor)
    assert cursor.asked == 4


def test_what_is_wrong_with_a_file_besides_is_told_at_once():
    cursor = Busy(3, sqlite3.SQLITE_CANTOPEN)
    with pytest.raises(sqlite3.OperationalError):
        _use_wal(cursor)
    assert cursor.asked == 1
