"""Databases for tests: what takes `engine` runs on SQLite and on PostgreSQL, always on a fresh database."""

import datetime as dt
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from argon2 import PasswordHasher
from private_postgres import Postgres, find_binaries
from sqlalchemy.engine import Engine

from atlas.accounts import passwords
from atlas.database import migrate
from atlas.database.engine import make_engine
from atlas.settings import Settings
from atlas.telemetry import tally

if TYPE_CHECKING:
    from livesite import Site
    from playwright.sync_api import Browser

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


@pytest.fixture(autouse=True)
def _nothing_counted_before() -> None:
    tally.PROCESS.drain()


@pytest.fixture(scope="session", autouse=True)
def real_hasher() -> Iterator[PasswordHasher]:
    """Hashes of passwords are cheap: what makes the real ones dear is what a test asks this for."""
    real = passwords._HASHER
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_HASHER", PasswordHasher(time_cost=2, memory_cost=64, parallelism=1))
        yield real


def make_settings(data_dir: Path, database_url: str = "") -> Settings:
    # Tests talk to this machine only.
    return Settings(_env_file=None, data_dir=data_dir, database_url=database_url, wayback_enabled=False)


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


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL server is installed (/usr/lib/postgresql/*/bin)")
    with Postgres(binaries) as server:
        server.create(template="template0", name="atlas_template")
        _migrate(make_settings(server.directory / "unused", server.url("atlas_template")))
        yield server


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Site"]:
    """A running Atlas with something on every page."""
    from livesite import running

    with running(tmp_path_factory.mktemp("site")) as made:
        yield made


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    """One browser for all tests of pages."""
    from livesite import chromium

    with chromium() as made:
        yield made
