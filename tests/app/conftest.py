"""Databases for tests: every test that takes `engine` runs on SQLite and on PostgreSQL, each on a fresh database."""

import datetime as dt
import getpass
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from atlas.database import migrate
from atlas.database.engine import make_engine
from atlas.settings import Settings

START = dt.datetime(2026, 11, 22, 8, 0, tzinfo=dt.UTC)


@dataclass
class Clock:
    """Time that moves only when told: `clock.now`, or call it; `clock.advance(seconds)`."""

    now: dt.datetime = START

    def __call__(self) -> dt.datetime:
        return self.now

    def advance(self, seconds: float) -> dt.datetime:
        self.now += dt.timedelta(seconds=seconds)
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.startswith("ATLAS_") or name == "CREDENTIALS_DIRECTORY":
            monkeypatch.delenv(name)


def make_settings(data_dir: Path, database_url: str = "") -> Settings:
    return Settings(_env_file=None, data_dir=data_dir, database_url=database_url)


@pytest.fixture
def plain_settings(tmp_path: Path) -> Settings:
    """Settings of a test that needs no database."""
    return make_settings(tmp_path / "data")


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """Settings that name a migrated, empty database: the one `engine` talks to."""
    if request.param == "sqlite":
        template: Path = request.getfixturevalue("sqlite_template")
        (tmp_path / "data").mkdir(mode=0o750)
        shutil.copy(template, tmp_path / "data" / "atlas.db")
        yield make_settings(tmp_path / "data")
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = server.create(template="atlas_template")
    yield make_settings(tmp_path / "data", server.url(name))
    server.drop(name)


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    engine = make_engine(settings)
    yield engine
    engine.dispose()


@pytest.fixture
def empty_settings(request: pytest.FixtureRequest, tmp_path: Path, settings: Settings) -> Iterator[Settings]:
    """Settings that name a database nothing was ever done in."""
    if not settings.database_url:
        yield make_settings(tmp_path / "empty")
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = server.create(template="template0")
    yield make_settings(tmp_path / "empty", server.url(name))
    server.drop(name)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("template")
    _migrate(make_settings(directory))
    return directory / "atlas.db"


def _migrate(settings: Settings) -> None:
    engine = make_engine(settings)
    migrate.upgrade(engine)
    engine.dispose()


class Postgres:
    """A private server on a socket in a directory of its own, as an unprivileged user, that never waits for a disk."""

    def __init__(self, binaries: Path) -> None:
        self.binaries = binaries
        self.directory = Path(tempfile.mkdtemp(prefix="atlas-pg-"))
        self.as_user: list[str] = []
        if os.geteuid() == 0:
            shutil.chown(self.directory, "nobody")
            self.as_user = ["runuser", "-u", "nobody", "--"]
        self.user = "nobody" if self.as_user else getpass.getuser()

    def run(self, program: str, *arguments: str) -> None:
        command = [*self.as_user, str(self.binaries / program), *arguments]
        log = self.directory.parent / f"{self.directory.name}.log"
        with log.open("ab") as output:
            done = subprocess.run(
                command,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                check=False,
            )
        if done.returncode:
            pytest.fail(f"{program} failed: {log.read_text()[-2000:]}")

    def start(self) -> None:
        data = str(self.directory / "data")
        self.run(
            "initdb",
            "--pgdata",
            data,
            "--auth",
            "trust",
            "--no-sync",
            "--encoding",
            "UTF8",
            "--locale",
            "C.UTF-8",
        )
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.directory),
            "fsync": "off",
            "full_page_writes": "off",
            "synchronous_commit": "off",
            "shared_buffers": "32MB",
            "max_connections": "80",
            "autovacuum": "off",
        }
        flags = " ".join(f"-c {name}='{value}'" for name, value in options.items())
        self.run("pg_ctl", "--pgdata", data, "--wait", "--options", flags, "start")

    def stop(self) -> None:
        self.run("pg_ctl", "--pgdata", str(self.directory / "data"), "--wait", "--mode", "immediate", "stop")
        shutil.rmtree(self.directory)
        (self.directory.parent / f"{self.directory.name}.log").unlink()

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://{self.user}@/{database}?host={self.directory}"

    def create(self, *, template: str, name: str | None = None) -> str:
        name = name or f"test_{uuid.uuid4().hex[:12]}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE {template}')
        return name

    def drop(self, name: str) -> None:
        self.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def execute(self, statement: str) -> None:
        engine = sa.create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as conn:
            conn.exec_driver_sql(statement)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found:
        pytest.skip("no PostgreSQL server is installed (/usr/lib/postgresql/*/bin)")
    server = Postgres(found[-1].parent)
    server.start()
    try:
        server.create(template="template0", name="atlas_template")
        _migrate(make_settings(server.directory / "unused", server.url("atlas_template")))
        yield server
    finally:
        server.stop()
