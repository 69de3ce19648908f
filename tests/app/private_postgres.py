"""A PostgreSQL server of one's own, for tests and benchmarks."""

import getpass
import os
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path
from typing import Self

import sqlalchemy as sa


def find_binaries() -> Path | None:
    """Return the directory with the newest installed server's programs; None when there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


class Postgres:
    """A private server on a socket in a directory of its own, as an unprivileged user.

    Unless `durable`, it never waits for the disk. Use it with `with`.
    """

    def __init__(self, binaries: Path, *, durable: bool = False) -> None:
        self.binaries = binaries
        self.durable = durable
        self.directory = Path(tempfile.mkdtemp(prefix="atlas-pg-"))
        self.as_user: list[str] = []
        if os.geteuid() == 0:
            shutil.chown(self.directory, "nobody")
            self.as_user = ["runuser", "-u", "nobody", "--"]
        self.user = "nobody" if self.as_user else getpass.getuser()

        self.admin = sa.create_engine(
            self.url("postgres"), isolation_level="AUTOCOMMIT", pool_size=1, pool_pre_ping=True
        )

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
            raise RuntimeError(f"{program} failed: {log.read_text()[-2000:]}")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        data = str(self.directory / "data")
        locale = ["--encoding", "UTF8", "--locale", "C.UTF-8"]
        self.run("initdb", "--pgdata", data, "--auth", "trust", "--no-sync", *locale)
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.directory),
            "max_connections": "80",
        }
        if self.durable:  # as the role sets it on a machine of 4 GB
            options |= {"shared_buffers": "512MB", "effective_cache_size": "2GB", "work_mem": "16MB"}
            options |= {"random_page_cost": "1.1", "max_wal_size": "1GB", "wal_compression": "lz4"}
            options |= {"default_toast_compression": "lz4"}
        else:
            options |= {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
            options |= {"shared_buffers": "32MB", "autovacuum": "off"}
        flags = " ".join(f"-c {name}='{value}'" for name, value in options.items())
        self.run("pg_ctl", "--pgdata", data, "--wait", "--options", flags, "start")

    def stop(self) -> None:
        self.admin.dispose()
        self.run("pg_ctl", "--pgdata", str(self.directory / "data"), "--wait", "--mode", "immediate", "stop")
        shutil.rmtree(self.directory)
        (self.directory.parent / f"{self.directory.name}.log").unlink()

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://{self.user}@/{database}?host={self.directory}"

    def create(self, *, template: str, name: str | None = None) -> str:
        name = name or f"test_{uuid.uuid4().hex[:12]}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE {template} STRATEGY file_copy')
        return name

    def drop(self, name: str) -> None:
        self.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def execute(self, statement: str) -> None:
        with self.admin.connect() as conn:
            conn.exec_driver_sql(statement)
