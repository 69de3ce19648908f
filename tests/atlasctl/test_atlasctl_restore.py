"""What is asked before a restore replaces something."""

from pathlib import Path

import pytest

from atlasctl.backup import restore
from atlasctl.backup.parts import Part
from atlasctl.backup.restic import Snapshot

SNAPSHOT = Snapshot("1a2b3c4d", "2026-11-25T03:10:00Z", ("atlas", "full"), (), "local")


@pytest.fixture
def library(tmp_path):
    """A database whose tool says what it is told to: of the live one, and of the restored."""

    def make(live, restored="1795575000|812"):
        tool = tmp_path / "tool"
        tool.write_text(f"#!/bin/sh\ncase $2 in '') {live};; *) echo '{restored}';; esac\n")
        tool.chmod(0o755)
        part = Part("database", "Database", "database", (), (), str(tool), (), (), ())
        return [part], restore.Copy(SNAPSHOT, Path("/nowhere"), {}, [part])

    return make


def test_nothing_is_asked_where_there_is_nothing_to_lose(library):
    assert restore.question(*library("true")) is None


def test_what_came_after_the_backup_is_said(library):
    words = restore.question(*library("echo '1795582200|815'"))
    assert "library here (815 items) is replaced by the backup's (812 items)" in words
    assert "changed 2 hours after the last change in this backup" in words


def test_a_library_that_cannot_be_read_can_be_replaced(library):
    words = restore.question(*library("echo 'file is not a database' >&2; exit 1"))
    assert "cannot be read, and is replaced" in words
    assert "file is not a database" in words
