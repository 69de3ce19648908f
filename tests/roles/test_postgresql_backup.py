"""The database is dumped and loaded by the role's program, on a real server that has no patience."""

import importlib.machinery
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

import pytest

TOOL = "roles/postgresql/tree/usr/local/lib/atlas-backup/postgresql"
#: On a machine 5 minutes, and a dump that takes longer.
SERVER = {
    "listen_addresses": "''",
    "idle_in_transaction_session_timeout": "500ms",
    "statement_timeout": "500ms",
    "fsync": "off",
    "shared_buffers": "8MB",
    "max_connections": "10",
}
DUMP_SECONDS = 1.5
ROWS = 2000


@pytest.fixture(scope="module")
def server():
    """A server with a library in it; its socket is in the directory."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parts[-2]))
    if not programs:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    home = Path(tempfile.mkdtemp(prefix="atlas-dump-"))  # a socket's path has to be short
    home.chmod(0o755)
    as_owner = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if as_owner:
        shutil.chown(home, "postgres")

    def call(program, *words):
        command = [*as_owner, str(programs[-1] / program), *words]
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)
        assert done.returncode == 0, done.stderr

    call("initdb", "--auth=trust", "--username=postgres", "--no-sync", "-D", f"{home}/data")
    options = " ".join(f"-c {name}={value}" for name, value in SERVER.items())
    call(
        *("pg_ctl", "-D", f"{home}/data", "-l", f"{home}/log", "-w"),
        *("-o", f"{options} -c unix_socket_directories={home}", "start"),
    )
    at = ("-h", str(home), "-U", "postgres")
    try:
        call("createuser", *at, "atlas")
        call("createdb", *at, "--owner=atlas", "atlas")
        table = "CREATE TABLE items (id int PRIMARY KEY, title text, updated_at timestamptz DEFAULT now())"
        rows = f"INSERT INTO items SELECT n, repeat('a page ', 20) FROM generate_series(1, {ROWS}) n"
        call("psql", *at, "-q", "-c", table, "-c", rows, "atlas")
        yield home
    finally:
        call("pg_ctl", "-D", f"{home}/data", "-m", "immediate", "stop")
        shutil.rmtree(home)


@pytest.fixture
def tool(root, server, tmp_path):
    """Run the program in a directory of the set; what dumps and loads takes its time."""
    for name in ("pg_dump", "pg_restore"):
        program = server / "slow" / name
        program.parent.mkdir(exist_ok=True)
        program.parent.chmod(0o755)
        program.write_text(f'#!/bin/sh\nsleep {DUMP_SECONDS}\nexec {shutil.which(name)} "$@"\n')
        program.chmod(0o755)

    def run(*words, host=server):
        environment = {
            "PATH": f"{server}/slow:{os.environ['PATH']}",
            "PGHOST": str(host),
            "PGUSER": "postgres",
        }
        return subprocess.run(
            [root / TOOL, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    return run


def test_a_dump_may_take_longer_than_the_server_lets_others_wait(tool):
    for words in (("dump",), ("verify",), ("load", "atlas_restored")):
        done = tool(*words)
        assert done.returncode == 0, f"{words[0]}: {done.stderr}"
    assert tool("newest", "atlas_restored").stdout == tool("newest").stdout
    assert tool("newest").stdout.endswith(f"|{ROWS}\n")


def test_that_nobody_can_say_whether_there_is_one_is_not_taken_for_no(tool):
    assert tool("exists", "atlas_gone").returncode == 3
    unreachable = tool("exists", "atlas_gone", host="/nonexistent")
    assert unreachable.returncode == 1
    assert "No such file or directory" in unreachable.stderr


def test_what_kept_a_moment_from_being_dumped_is_said(root, tmp_path, monkeypatch, capsys):
    loader = importlib.machinery.SourceFileLoader("postgresql_at", str(root / f"{TOOL}-at"))
    program = importlib.util.module_from_spec(importlib.util.spec_from_loader("postgresql_at", loader))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader.exec_module(program)
    failing = tmp_path / "dump"
    failing.write_text("#!/bin/sh\necho 'the table items cannot be read' >&2\nexit 1\n")
    failing.chmod(0o755)
    monkeypatch.setattr(program, "DUMP", str(failing))
    for name in ("refuse_without_room", "unpack", "archive_all"):
        monkeypatch.setattr(program, name, lambda *_: None)
    monkeypatch.setattr(program, "alive", lambda: False)
    monkeypatch.setattr(program, "scratch", nullcontext)
    monkeypatch.setattr(program, "server", lambda _: nullcontext())
    monkeypatch.setattr(program, "base", lambda _: {"timestamp": {"stop": 0}})
    monkeypatch.setattr(sys, "argv", ["postgresql-at", "2026-11-25T09:30:00Z", str(tmp_path)])
    assert program.main() == 1
    assert f"postgresql-at: {failing} failed: the table items cannot be read" in capsys.readouterr().err
