"""Bring a database to the state this release needs. Of several processes at once one does, others wait."""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection, Engine

from atlas.database.dialect import is_sqlite
from atlas.database.engine import read

#: The number PostgreSQL knows our lock by ("atla" as bytes).
LOCK = 0x61746C61

#: How long a process waits for another one's migration on SQLite, in milliseconds.
SQLITE_PATIENCE = 600_000

#: Tables of the full-text index, which SQLAlchemy cannot describe.
NOT_IN_METADATA = frozenset(
    {
        "cards",
        "cards_config",
        "cards_content",
        "cards_data",
        "cards_docsize",
        "cards_idx",
        "contents_fts",
        "contents_fts_config",
        "contents_fts_data",
        "contents_fts_docsize",
        "contents_fts_idx",
        "search_index",
    }
)


class MigrationError(Exception):
    """The database is not one this release can bring up to date; the message says why and what to do."""


def upgrade(engine: Engine) -> None:
    """Bring the database up to this release, in one transaction: whole or not at all.

    Raises MigrationError when it is ahead of this release, or was created so that words cannot be told apart
    in it.
    """
    with _locked(engine) as conn:
        config = _config(conn)
        _check(conn, ScriptDirectory.from_config(config))
        command.upgrade(config, "head")


def downgrade(engine: Engine, revision: str) -> None:
    """Take the database back to `revision` ("base": empty); what came later is lost with its data."""
    with _locked(engine) as conn:
        command.downgrade(_config(conn), revision)


def current(engine: Engine) -> str | None:
    """Return the revision the database is at; None when it was never migrated."""
    with read(engine) as conn:
        return MigrationContext.configure(conn).get_current_revision()


def newest() -> str:
    """Return the revision this release needs."""
    revision = ScriptDirectory.from_config(_config(None)).get_current_head()
    assert revision is not None  # noqa: S101
    return revision


def older() -> frozenset[str]:
    """Return the revisions that are too old for this release."""
    scripts = ScriptDirectory.from_config(_config(None))
    return frozenset(script.revision for script in scripts.walk_revisions()) - {newest()}


def _config(conn: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", "atlas.database:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = conn
    return config


def _check(conn: Connection, scripts: ScriptDirectory) -> None:
    known = {script.revision for script in scripts.walk_revisions()}
    found = MigrationContext.configure(conn).get_current_revision()
    if found is None and not is_sqlite(conn):
        _check_locale(conn)
    if found is not None and found not in known:
        raise MigrationError(
            f"The database is at revision {found}, which this release of Atlas does not know: a newer one "
            "has migrated it. Deploy that release again, or restore a backup made before it."
        )


def _check_locale(conn: Connection) -> None:
    """Refuse the locale C: PostgreSQL then takes all beyond ASCII for letters, and quotes stick to words."""
    name, encoding, ctype = conn.exec_driver_sql(
        "SELECT datname, pg_encoding_to_char(encoding), datctype FROM pg_database "
        "WHERE datname = current_database()"
    ).one()
    if encoding != "UTF8" or ctype in {"C", "POSIX"}:
        raise MigrationError(
            f'The database "{name}" has encoding {encoding} and character type {ctype}, with which no '
            f"text but English can be searched. Create it with: CREATE DATABASE {name} TEMPLATE template0 "
            "ENCODING 'UTF8' LOCALE 'C.UTF-8'."
        )


@contextmanager
def _locked(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as conn:
        if is_sqlite(conn):
            with _locked_sqlite(conn):
                yield conn
            return
        with conn.begin():
            conn.execute(sa.text("SET LOCAL statement_timeout = 0"))
            conn.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
            yield conn


@contextmanager
def _locked_sqlite(conn: Connection) -> Iterator[None]:
    """Begin, foreign keys unenforced: rebuilding a table drops it, which would delete what points at it."""
    connection = conn.connection
    connection.cursor().execute(f"PRAGMA busy_timeout = {SQLITE_PATIENCE}")
    connection.cursor().execute("PRAGMA foreign_keys = OFF")
    try:
        with conn.begin():
            yield
            broken = conn.exec_driver_sql("PRAGMA foreign_key_check").all()
            if broken:
                raise RuntimeError(
                    f"the migration would leave {len(broken)} rows pointing nowhere: {broken[:5]}"
                )
    finally:
        # The settings changed above belong to this connection: the pool opens a fresh one instead.
        conn.invalidate()
