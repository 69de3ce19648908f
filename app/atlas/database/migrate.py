"""Bring a database to the state this release needs. Of several processes at once one does, others wait.

Alembic is loaded only by what migrates: all that starts asks which revision a database is at, and would start
later by a quarter of a second.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from atlas.database.dialect import is_sqlite
from atlas.database.engine import read

if TYPE_CHECKING:
    from alembic.config import Config

#: The number PostgreSQL knows our lock by ("atla" as bytes).
LOCK = 0x61746C61

#: How long a process waits for another one's migration on SQLite, in milliseconds.
SQLITE_PATIENCE = 600_000

#: What SQLAlchemy cannot describe: the tables of the full-text index; and what only one of the engines has.
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
        "ix_items_site",
        "search_index",
        "sites",
    }
)


class MigrationError(Exception):
    """The database is not one this release can bring up to date; the message says why and what to do."""


def upgrade(engine: Engine) -> None:
    """Bring the database up to this release, in one transaction: whole or not at all.

    Raises MigrationError when it is ahead of this release, or was created so that words cannot be told apart
    in it.
    """
    from alembic import command  # noqa: PLC0415

    with _locked(engine) as conn:
        _check(conn)
        command.upgrade(_config(conn), "head")


def downgrade(engine: Engine, revision: str) -> None:
    """Take the database back to `revision` ("base": empty); what came later is lost with its data."""
    from alembic import command  # noqa: PLC0415

    with _locked(engine) as conn:
        command.downgrade(_config(conn), revision)


def current(engine: Engine) -> str | None:
    """Return the revision the database is at; None when it was never migrated."""
    with read(engine) as conn:
        return _current(conn)


def _current(conn: Connection) -> str | None:
    if not sa.inspect(conn).has_table("alembic_version"):
        return None
    revision: str | None = conn.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return revision


def newest() -> str:
    """Return the revision this release needs."""
    return max(_revisions())


def older() -> frozenset[str]:
    """Return the revisions that are too old for this release."""
    return _revisions() - {newest()}


def _revisions() -> frozenset[str]:
    """Return all that this release knows: the numbers that its scripts' names begin with."""
    scripts = (Path(__file__).parent / "migrations" / "versions").glob("[0-9]*_*.py")
    return frozenset(script.name.partition("_")[0] for script in scripts)


def _config(conn: Connection) -> "Config":
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "atlas.database:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = conn
    return config


def _check(conn: Connection) -> None:
    found = _current(conn)
    if found is None and not is_sqlite(conn):
        _check_locale(conn)
    if found is not None and found not in _revisions():
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
