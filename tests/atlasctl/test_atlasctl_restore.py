"""What of a backup is brought back, whether there is room for it, and what is asked before that."""

import json
import shutil
import time
from collections import namedtuple
from pathlib import Path

import pytest

from atlasctl import cli
from atlasctl.backup import drill as drilling
from atlasctl.backup import make, parts, pieces, restic, restore, settings
from atlasctl.backup.parts import Part
from atlasctl.backup.restic import Snapshot
from atlasctl.paths import Paths
from atlasctl.trouble import Trouble

#: 2026-11-25T03:00:00Z
MORNING = 1_795_575_600
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


def test_files_alone_are_not_replaced_unasked(library):
    """Whether there is a library to lose sight of its database says, which is not restored."""
    (database,), copy = library("echo '1795582200|815'")
    config = Part("config", "Settings", "config", (Path("/x"),), (), None, (), (), ())
    words = restore.question([database, config], copy._replace(parts=[config]))
    assert words.startswith("Settings: those here are replaced by the backup's.")
    (database,), copy = library("true")
    assert restore.question([database, config], copy._replace(parts=[config])) is None


# --- with restic itself

TOOL = """#!/bin/sh
case $1 in
    dump) echo rows > database.dump; echo '{"items": 3}' > facts.json ;;
    load) test "$(cat database.dump)" = rows || { echo "not as it was" >&2; exit 1; } ;;
    newest) echo '1795582200|3' ;;
    url) echo "sqlite:///$2" ;;
    exists) exit 3 ;;
esac
"""


class Kept:
    """A machine with a database, originals and settings, and a repository."""

    def __init__(self, root):
        self.root = root
        given = {
            "repositories": [{"name": "local", "url": str(root / "repository")}],
            "directory": "/var/lib/atlas-backup", "password_file": "/etc/atlas-backup/password",
            "textfile_directory": "/metrics", "keep": {"daily": 30}, "upload_kib": 0, "warn_hours": 26,
            "drill_days": 8, "read_in": 1, "patience": 20, "undo_days": 14, "mail": [],
        }  # fmt: skip
        self.put("etc/atlas-backup/settings.json", json.dumps(given))
        self.put("etc/atlas-backup/password", "a password of some length")
        self.put("tool", TOOL).chmod(0o755)
        self.settings = settings.read(Paths(root))
        self.settings.directory.mkdir(parents=True)
        self.put("originals/one", "1" * 1000)
        self.put("settings/env", "2" * 100)
        for name, known in {
            "database": {"part": "database", "tool": str(root / "tool")},
            "originals": {"part": "originals", "paths": [str(root / "originals")]},
            "settings": {"part": "config", "paths": [str(root / "settings")]},
        }.items():
            self.put(f"etc/atlas/backup.d/{name}.json", json.dumps({"title": name.title(), **known}))

    def put(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def parts(self, *kinds):
        return [part for part in parts.read(self.settings.parts_directory) if not kinds or part.kind in kinds]

    def backup(self, kind="full"):
        chosen = self.parts() if kind == "full" else self.parts(kind)
        is_part = kind == "database"
        done = make.make(
            self.settings, chosen, kind, self.settings.repositories, anew=None, in_pieces=is_part
        )
        assert done["ok"], done
        return next(one for one in reversed(self.restic.snapshots()) if one.kind == kind)

    @property
    def restic(self):
        return restic.Restic(self.settings, self.settings.repositories[0])

    def fetch(self, snapshot, *kinds):
        return restore.fetch(self.settings, self.restic, snapshot, self.parts(*kinds), restore.PLACE)

    def has_free(self, monkeypatch, free):
        usage = namedtuple("usage", "total used free")
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 0, free))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Back all of it up, and then the settings alone; restic takes its time for each thing it is asked."""
    if shutil.which("restic") is None:
        pytest.skip("restic is not installed")
    root = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(restic, "CACHE", str(root / "cache"))
        made = Kept(root)
        return made, made.backup(), made.backup("config")


@pytest.fixture
def kept(made, monkeypatch):
    kept, snapshot, only = made
    monkeypatch.setattr(restic, "CACHE", str(kept.root / "cache"))
    monkeypatch.setenv("ATLASCTL_ROOT", str(kept.root))
    return kept, snapshot, only


@pytest.mark.slow
def test_what_is_fetched_is_what_is_wanted_and_in_the_backup(kept):
    kept, snapshot, only = kept
    copy = kept.fetch(snapshot)
    assert [part.kind for part in copy.parts] == ["database", "originals", "config"]
    assert (copy.paths[kept.root / "originals"] / "one").read_text() == "1" * 1000
    copy = kept.fetch(snapshot, "config")
    assert [part.kind for part in copy.parts] == ["config"]
    assert not (copy.dumps / "database").exists(), "nothing is fetched that nobody wants"
    assert [part.kind for part in kept.fetch(only).parts] == ["config"]
    with pytest.raises(
        Trouble, match=rf"{only.id} \(config\) has nothing of this: Database\. atlasctl backup"
    ):
        kept.fetch(only, "database")


@pytest.mark.slow
def test_what_the_machine_has_since_the_backup_is_not_said_to_be_restored(kept):
    kept, snapshot, _ = kept
    new = {"title": "Something new", "part": "database", "tool": str(kept.root / "tool")}
    path = kept.put("etc/atlas/backup.d/newer.json", json.dumps(new))
    assert "Something new" not in [part.title for part in kept.fetch(snapshot).parts]
    (done,) = drilling.drill(kept.settings, kept.parts(), kept.settings.repositories)
    path.unlink()
    assert done["words"] == f"Snapshot {snapshot.id} has no dump of Something new."


@pytest.mark.slow
def test_what_is_not_as_it_was_dumped_is_not_restored(kept, monkeypatch):
    kept, snapshot, _ = kept
    monkeypatch.setattr(restore, "digest", lambda path: "0" * 64)
    with pytest.raises(Trouble, match=rf"database\.dump in snapshot {snapshot.id} is not what was dumped"):
        kept.fetch(snapshot, "database")


@pytest.mark.slow
def test_only_what_is_wanted_needs_room(kept, monkeypatch):
    kept, snapshot, _ = kept
    assert kept.restic.size(snapshot.id, [kept.root / "originals"]) == 1000
    assert kept.restic.size(snapshot.id, [kept.root / "settings/env"]) == 100
    everything = kept.restic.size(snapshot.id, [])
    assert everything > 1100
    kept.has_free(monkeypatch, make.SPARE_BYTES + everything - 1)
    with pytest.raises(
        Trouble, match=r"There is no room to restore beside what is there\. Nothing was changed"
    ):
        kept.fetch(snapshot)
    kept.fetch(snapshot, "config")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("only", "names"),
    [
        (["--only", "config"], {"env"}),
        (["--only", "database"], {"database.dump", "facts.json"}),
        ([], {"env", "one", "database.dump", "facts.json"}),
    ],
)
def test_a_part_is_written_to_a_directory_with_what_tells_of_it(kept, tmp_path, capsys, only, names):
    kept, snapshot, _ = kept
    assert cli.main(["restore", snapshot.id, "--to", str(tmp_path / "look"), *only]) == 0
    assert "Nothing else was changed" in capsys.readouterr().out
    found = {path.name for path in (tmp_path / "look").rglob("*") if path.is_file()}
    assert found == names | {"manifest.json"}


@pytest.mark.slow
def test_without_room_nothing_is_written_there(kept, tmp_path, monkeypatch, capsys):
    kept, snapshot, _ = kept
    kept.has_free(monkeypatch, make.SPARE_BYTES)
    place = tmp_path / "a/new/directory"
    assert cli.main(["restore", snapshot.id, "--to", str(place)]) == 1
    words = f"Nothing was written of snapshot {snapshot.id}: there is no room for it at {place}"
    assert words in capsys.readouterr().err
    assert not place.exists()


@pytest.mark.slow
def test_what_is_said_in_the_end_is_what_was_restored(kept, capsys):
    kept, _, only = kept
    kept.put("settings/env", "changed")
    assert cli.main(["restore", only.id, "--yes"]) == 0
    said = capsys.readouterr().out
    assert ": Settings.\n" in said
    assert "Database" not in said
    assert (kept.root / "settings/env").read_text() == "2" * 100
    assert cli.main(["restore", "--undo"]) == 0
    assert (kept.root / "settings/env").read_text() == "changed"
    assert not list(kept.root.rglob(".atlas-re*"))


# --- to a moment, where no archive is kept

LIVE_TOOL = """#!/bin/sh
# A database that is a file.
cd_=$(dirname "$0")
case $1 in
    dump) cp "$cd_/atlas" database.dump; echo '{"items": 3}' > facts.json ;;
    load) cp database.dump "$cd_/$2" ;;
    swap) mv "$cd_/atlas" "$cd_/$3"; mv "$cd_/$2" "$cd_/atlas" ;;
    exists) test -f "$cd_/$2" || exit 3 ;;
    drop) rm -f "$cd_/$2" ;;
    newest) echo '1795582200|3' ;;
    url) echo "sqlite:///$2" ;;
esac
"""


@pytest.fixture(scope="module")
def morning(tmp_path_factory):
    """Back up at 3:00, and the database alone at 3:05 and 3:10: it says which it is."""
    if shutil.which("restic") is None:
        pytest.skip("restic is not installed")
    kept = Kept(tmp_path_factory.mktemp("minutes"))
    kept.put("tool", LIVE_TOOL)
    for minute, kind in ((0, "full"), (5, "database"), (10, "database")):
        kept.put("atlas", f"as of 3:{minute:02}")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(restic, "CACHE", str(kept.root / "cache"))
            patch.setattr(time, "time", lambda at=MORNING + minute * 60: at)
            patch.setattr(pieces, "BYTES", 4)
            patch.setattr(pieces, "IN_A_DIRECTORY", 2)
            kept.backup(kind)
    return kept


@pytest.fixture
def minutes(morning, monkeypatch):
    kept = morning
    monkeypatch.setattr(restic, "CACHE", str(kept.root / "cache"))
    monkeypatch.setenv("ATLASCTL_ROOT", str(kept.root))
    kept.put("atlas", "after the mistake")
    kept.put("originals/two", "fetched at 3:07")
    return kept


@pytest.mark.slow
@pytest.mark.parametrize(
    ("at", "found"),
    [("2026-11-25T03:04:59Z", "3:00"), ("2026-11-25T04:05:00+01:00", "3:05"), ("latest", "3:10")],
)
def test_a_moment_is_that_of_the_newest_snapshot_before_it(minutes, capsys, at, found):
    assert cli.main(["restore", "--at", at, "--yes"]) == 0
    said = capsys.readouterr().out
    assert (minutes.root / "atlas").read_text() == f"as of {found}"
    assert f"with the database of 2026-11-25T0{found}:00Z (snapshot " in said
    assert ": Database, Originals, Settings; 3 items." in said
    assert (minutes.root / "originals/two").exists(), "what was fetched since stays"
    assert cli.main(["restore", "--undo"]) == 0
    assert (minutes.root / "atlas").read_text() == "after the mistake"
    assert not (minutes.settings.directory / "restored").exists()


@pytest.mark.slow
def test_what_is_stored_in_pieces_is_written_to_a_directory_whole(minutes, tmp_path):
    newest = minutes.restic.snapshots()[-1]
    assert minutes.restic.size(newest.id, [minutes.settings.staging / "database/database.dump.pieces"]) > 4
    assert cli.main(["restore", newest.id, "--to", str(tmp_path / "look")]) == 0
    (dump,) = (tmp_path / "look").rglob("database.dump")
    assert dump.read_text() == "as of 3:10"
    assert not list((tmp_path / "look").rglob("*.pieces"))


@pytest.mark.slow
def test_a_moment_before_all_snapshots_is_refused_with_the_first_there_is(minutes, capsys):
    for at, words in {
        "2026-11-25T02:59:59Z": "from before 2026-11-25T02:59:59Z; the first is of 2026-11-25T03:00:00Z",
        "2026-11-25T03:04:59": "'2026-11-25T03:04:59' is no time with a zone",
    }.items():
        assert cli.main(["restore", "--at", at, "--yes"]) == 1
        assert words in capsys.readouterr().err
    assert (minutes.root / "atlas").read_text() == "after the mistake"


@pytest.mark.slow
def test_of_the_last_day_all_snapshots_are_kept_and_of_days_before_the_last(minutes, monkeypatch):
    minutes.restic.forget()
    assert len(minutes.restic.snapshots()) == 3
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: MORNING + 2 * 86400)
        minutes.backup("database")
    minutes.restic.forget()
    assert [(one.kind, one.time[:16]) for one in minutes.restic.snapshots()] == [
        ("full", "2026-11-25T03:00"),
        ("database", "2026-11-25T03:10"),
        ("database", "2026-11-27T03:00"),
    ]
