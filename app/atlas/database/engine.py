"""Connections to the database: how they are opened, and what each transaction starts with.

Write with `with engine.begin() as conn`, read with `with read(engine) as conn`.
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor

from atlas.database.dialect import is_sqlite
from atlas.settings import Settings

__all__ = ["is_sqlite", "make_engine", "read"]

#: How long a writer waits for another one on SQLite, in milliseconds.
SQLITE_BUSY_TIMEOUT = 10_000

#: What a PostgreSQL session starts with. No request may hold the server for long. Searches are planned for
#: the words they carry (a common and a rare word want different plans), and compiling them would cost more
#: than running them.
POSTGRESQL_OPTIONS = {
    "timezone": "UTC",
    "statement_timeout": "15s",
    "idle_in_transaction_session_timeout": "60s",
    "plan_cache_mode": "force_custom_plan",
    "jit": "off",
}


def make_engine(settings: Settings) -> Engine:
    """Return an engine for the database of `settings`; on SQLite file and directory are made (0600, 0750).

    Nothing is connected yet: an unreachable server shows as sqlalchemy.exc.OperationalError at first use.
    """
    url = settings.database()
    if url.get_backend_name() == "sqlite":
        return _sqlite(url)
    return _postgresql(url)


@contextmanager
def read(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that only reads: no writer holds it up, it holds up none. Writing in it fails."""
    with engine.connect().execution_options(atlas_read=True, postgresql_readonly=True) as conn:
        yield conn


def _sqlite(url: sa.URL) -> Engine:
    path = Path(url.database or "")
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    # SQLite gives its -wal and -shm files the mode of the database.
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    engine = sa.create_engine(
        url,
        pool_size=8,
        max_overflow=32,
        connect_args={"timeout": SQLITE_BUSY_TIMEOUT / 1000},
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: DBAPIConnection, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun by _begin_sqlite, not guessed by the driver
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {SQLITE_BUSY_TIMEOUT}")
    _use_wal(cursor)
    for pragma in ("synchronous = FULL", "foreign_keys = ON", "journal_size_limit = 67108864"):
        cursor.execute(f"PRAGMA {pragma}")


def _use_wal(cursor: DBAPICursor) -> None:
    """Write by way of a log; for two who both open a new file, SQLite does not wait, busy_timeout or not."""
    end = time.monotonic() + SQLITE_BUSY_TIMEOUT / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(0.01)
        else:
            return


def _begin_sqlite(conn: Connection) -> None:
    """Take the write lock at once: a reader that turns writer midway could only fail."""
    reading = bool(conn.get_execution_options().get("atlas_read"))
    # By way of SQLAlchemy, so that a lock that is not to be had is an OperationalError as any other.
    conn.exec_driver_sql(f"PRAGMA query_only = {int(reading)}")
    conn.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _postgresql(url: sa.URL) -> Engine:
    options = " ".join(f"-c {name}={value}" for name, value in POSTGRESQL_OPTIONS.items())
    return sa.create_engine(
        url,
        pool_size=8,
        max_overflow=8,
        pool_timeout=10,
        pool_pre_ping=True,
        connect_args={"connect_timeout": 3, "application_name": "atlas", "options": options},
    )
