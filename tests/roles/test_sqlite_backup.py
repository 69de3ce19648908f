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


@pytest.mark.parametrize("damage", ["none", "header"])
def test_killed_between_the_two_halves_of_an_exchange_it_goes_back(tool, tmp_path, damage):
    """The live one has two names then, and is the one that was there."""
    live = tmp_path / "atlas.db"
    library(live)
    tool("dump")
    tool("load", "atlas_restored")
    if damage == "header":
        live.write_bytes(b"this is no database, " * 4000)
    kept = live.read_bytes()
    (tmp_path / "atlas_replaced.db").hardlink_to(live)
    tool("exists", "atlas_replaced")
    tool("swap", "atlas_replaced", "atlas_undone")
    tool("exists", "atlas_replaced", code=3)
    assert live.read_bytes() == kept
    tool("drop", "atlas_undone")
    assert live.read_bytes() == kept


def test_a_broken_one_that_was_replaced_comes_back_as_it_was(tool, tmp_path):
    live = tmp_path / "atlas.db"
    library(live)
    tool("dump")
    live.write_bytes(b"this is no database, " * 4000)
    tool("load", "atlas_restored")
    tool("swap", "atlas_restored", "atlas_replaced")
    tool("swap", "atlas_replaced", "atlas_undone")
    assert live.read_bytes() == b"this is no database, " * 4000
    tool("exists", "atlas_undone")


def test_that_there_is_no_such_database_is_not_taken_for_trouble(tool):
    tool("exists", "atlas_replaced", code=3)
    tool("exists", "postgres", code=1)
