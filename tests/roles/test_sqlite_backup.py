"""The embedded database is brought back also where the live one is broken."""

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest


@pytest.fixture
def tool(root, tmp_path):
    """Run the tool, with its database below `tmp_path`."""
    program = root / "roles/atlas/embedded/usr/local/lib/atlas-backup/sqlite"
    text = program.read_text().replace('Path("/var/lib/atlas")', f"Path({str(tmp_path)!r})")
    text = text.replace('shutil.chown(_path(name), "atlas", "atlas")', "")
    (tmp_path / "tool").write_text(text)
    (tmp_path / "set").mkdir()

    def run(*words, code=0):
        command = [sys.executable, "-I", str(tmp_path / "tool"), *words]
        done = subprocess.run(command, cwd=tmp_path / "set", capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        return done.stdout.strip()

    return run


def library(path):
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE items (updated_at TEXT)")
        database.execute("INSERT INTO items VALUES ('2026-11-25T09:30:00Z')")
        database.commit()


@pytest.mark.parametrize("damage", ["none", "header", "gone"])
def test_a_dump_takes_the_place_of_what_is_there(tool, tmp_path, damage):
    live = tmp_path / "atlas.db"
    library(live)
    before = tool("newest")
    tool("dump")
    tool("verify")
    if damage == "gone":
        live.unlink()
    elif damage == "header":
        live.write_bytes(b"this is no database, " * 4000)
        (tmp_path / "atlas.db-wal").write_bytes(b"nor is this a log")
        tool("newest", code=1)
    broken = live.read_bytes() if live.exists() else b""
    tool("load", "atlas_restored")
    tool("swap", "atlas_restored", "atlas_replaced")
    assert not (tmp_path / "atlas.db-wal").exists()
    assert (before, tool("newest")) == ("1795599000|1", "1795599000|1")
    if damage == "header":
        assert (tmp_path / "atlas_replaced.db").read_bytes() == broken


def test_what_was_replaced_comes_back(tool, tmp_path):
    library(tmp_path / "atlas.db")
    tool("dump")
    shutil.copyfile(tmp_path / "atlas.db", tmp_path / "kept")
    tool("load", "atlas_restored")
    tool("swap", "atlas_restored", "atlas_replaced")
    tool("swap", "atlas_replaced", "atlas_restored")
    assert (tmp_path / "atlas.db").read_bytes() == (tmp_path / "kept").read_bytes()
