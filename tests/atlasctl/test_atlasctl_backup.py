"""Backups: what is refused, what is remembered and judged, what restic's words mean.

restic is a stand-in here that says what it is told to; the scenario `memory` has the real one.
"""

import argparse
import json
import subprocess
import time
from pathlib import Path

import pytest

from atlasctl import cli
from atlasctl.backup import command, drill, judging, make, metrics, parts, restic, settings, tell
from atlasctl.backup import state as memory
from atlasctl.files import is_locked, locked
from atlasctl.paths import Paths
from atlasctl.trouble import Trouble

NOW = 1_800_000_000
HOUR, DAY = 3600, 86400
GIVEN = {
    "repositories": [{"name": "local", "url": "/repository"}],
    "directory": "/var/lib/atlas-backup", "password_file": "/etc/atlas-backup/password",
    "textfile_directory": "/metrics", "keep": {"daily": 30, "weekly": 0, "monthly": 2}, "upload_kib": 0,
    "warn_hours": 26, "drill_days": 8, "read_in": 4, "patience": 20, "undo_days": 14, "mail": [],
}  # fmt: skip
BUCKET = {"name": "bucket", "url": "s3:https://s3.example.org/atlas", "environment": {"AWS_X": "y"}}
MISSING = "Fatal: unable to open config file: stat /repository/config: no such file or directory"


def put(path, text, mode=0o644):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


class Backup:
    """A machine that backs up, with a restic that says what it is told to say."""

    def __init__(self, root):
        self.root = root
        self.directory = root / "var/lib/atlas-backup"
        self.directory.mkdir(parents=True)
        self.said = root / "restic"
        self.said.mkdir()
        put(
            root / "programs/restic",
            f"#!/bin/sh\nd={self.said}\n"
            'echo "$@" >> "$d/calls"; cat "$d/$1.err" >&2 2>/dev/null; cat "$d/$1.out" 2>/dev/null\n'
            'exit "$(cat "$d/$1.code" 2>/dev/null || echo 0)"\n',
            0o755,
        )
        self.configure()

    def configure(self, **changed):
        put(self.root / "etc/atlas-backup/settings.json", json.dumps(GIVEN | changed))
        self.settings = settings.read(Paths(self.root))

    def say(self, verb, out="", err="", code=0):
        for name, text in (("out", out), ("err", err), ("code", str(code))):
            (self.said / f"{verb}.{name}").write_text(text)

    def restic(self, name="local"):
        return restic.Restic(self.settings, self.settings.repository(name))

    def calls(self):
        file = self.said / "calls"
        return file.read_text().splitlines() if file.exists() else []

    def part(self, name, **known):
        put(self.root / f"etc/atlas/backup.d/{name}.json", json.dumps({"title": name.title(), **known}))

    def parts(self):
        return parts.read(self.settings.parts_directory)

    def make(self, kind="full", anew=None):
        return make.make(self.settings, self.parts(), kind, self.settings.repositories, anew=anew)

    def remember(self, **known):
        memory.write(self.settings, {"runs": [], "drills": [], "repositories": {}} | known)

    def known(self, name="local"):
        return memory.read(self.settings)["repositories"][name]


@pytest.fixture
def backup(machine, tmp_path):
    return Backup(tmp_path)


# --- settings and backup.d


def test_without_settings_it_says_who_writes_them(tmp_path):
    with pytest.raises(Trouble, match=r"not set up on this machine. Role backup does it"):
        settings.read(Paths(tmp_path))
    put(tmp_path / "etc/atlas-backup/settings.json", '{"repositories": []')
    with pytest.raises(Trouble, match=r"settings.json lacks 'repositories'. Role backup writes it"):
        settings.read(Paths(tmp_path))


def test_a_repository_nobody_knows_is_refused_with_those_there_are(backup):
    backup.configure(repositories=[*GIVEN["repositories"], {**BUCKET, "budget_gb": 10}])
    assert backup.settings.repository("bucket").budget == 10_000_000_000
    assert backup.settings.repository("bucket").directory is None
    assert backup.settings.repository("local").directory == Path("/repository")
    with pytest.raises(Trouble, match="no repository 'buckt'; there are: local, bucket"):
        backup.settings.repository("buckt")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "cannot be used"),
        ("[]", "cannot be used"),
        ('{"title": "x", "part": "config", "pathes": ["/x"]}', "unknown: pathes"),
        ('{"title": "x", "part": "all", "paths": ["/x"]}', "part is none of database, originals, config"),
        ('{"title": "x", "part": "config", "paths": []}', "names neither paths nor a tool"),
        ('{"part": "config", "paths": ["/x"]}', "lacks 'title'"),
        ('{"title": "x", "paths": ["/x"]}', "lacks 'part'"),
    ],
)
def test_half_a_backup_is_none(backup, text, words):
    backup.part("good", part="config", paths=["/x"])
    put(backup.root / "etc/atlas/backup.d/worse.json", text)
    with pytest.raises(Trouble, match=r"worse\.json cannot be used") as error:
        backup.parts()
    assert words in str(error.value)


def test_nothing_to_back_up_is_no_backup(backup):
    with pytest.raises(Trouble, match="Nothing to back up is named"):
        backup.parts()


# --- making one


def tool(backup, script):
    return str(put(backup.root / "tool", f"#!/bin/sh\n{script}\n", 0o755))


def test_a_run_dumps_stores_and_remembers(backup):
    originals = put(backup.root / "originals/one", "1").parent
    dump = tool(backup, "case $1 in dump) echo rows > dump; echo '{\"items\": 3}' > facts.json;; esac")
    backup.part("database", part="database", tool=dump)
    backup.part("originals", part="originals", paths=[str(originals), "/not/there"], exclude=["*.tmp"])
    backup.say("backup", json.dumps({"message_type": "summary", "snapshot_id": "a" * 64, "data_added": 7}))
    backup.say("stats", '{"total_size": 99}')
    done = backup.make()
    assert (done["ok"], done["words"]) == (True, None)
    assert done["parts"]["database"]["bytes"] > 0
    (stored,) = [call for call in backup.calls() if call.startswith("backup ")]
    assert f" {backup.directory}/set {originals}" in stored
    assert "/not/there" not in stored
    for pattern in (*make.ASIDE, "*.tmp"):
        assert f"--exclude={pattern}" in stored
    (forget,) = [call for call in backup.calls() if call.startswith("forget ")]
    assert "--keep-daily=30 --keep-monthly=2 --keep-within=1d --prune" in forget
    assert "weekly" not in forget
    assert not backup.settings.staging.exists()
    known = backup.known()
    assert (known["snapshot"], known["stored"], known["words"]) == ("a" * 8, 99, None)
    assert known["first_at"] == known["success_at"] == done["at"]
    again = backup.make()
    assert "pruned" not in again["repositories"]["local"], "once a day is enough"
    assert backup.known()["first_at"] == done["at"] < backup.known()["success_at"] == again["at"]
    backup.remember(repositories={"local": backup.known() | {"pruned_at": again["at"] + 5 * DAY}})
    assert backup.make()["repositories"]["local"]["pruned"], "a clock that was ahead keeps nobody from it"


def test_only_all_of_it_counts_as_a_backup(backup):
    backup.part("config", part="config", paths=["/x"])
    backup.say("stats", '{"total_size": 99}')
    backup.say("backup", json.dumps({"message_type": "summary", "snapshot_id": "b" * 64}))
    backup.make("config")
    assert "success_at" not in backup.known()
    assert backup.known()["config_at"]
    assert not [call for call in backup.calls() if call.startswith("forget ")], "at night is enough"


def test_how_all_of_it_went_is_not_hidden_by_a_part_that_went_well(backup):
    backup.part("config", part="config", paths=["/x"])
    failed = {"at": NOW, "kind": "full", "seconds": 5, "words": None, "repositories": {}, "parts": {}}
    backup.remember(runs=[failed], repositories={"local": {"words": "it is full", "success_at": NOW}})
    backup.say("backup", json.dumps({"message_type": "summary", "snapshot_id": "b" * 64}))
    for _ in range(3):
        assert backup.make("config")["ok"]
    assert backup.known()["words"] == "it is full"
    assert memory.read(backup.settings)["runs"] == [failed]
    assert 'atlas_backup_failed{repository="local"} 1' in metrics.metrics(
        backup.settings, memory.read(backup.settings)
    )


def test_what_a_killed_restore_left_is_not_stored(backup):
    backup.part("config", part="config", paths=["/x"])
    put(backup.directory / "restore.json", json.dumps({"at": NOW, "snapshot": "aaaa1111", "done": False}))
    done = backup.make()
    assert done["words"].startswith("A restore was killed, and what is here is of two moments")
    assert "atlasctl restore --undo" in done["words"]
    assert backup.calls() == []


# --- snapshots every few minutes

SNAPSHOT = ["backup", "--only", "database", "--repository", "local", "--if-free"]


@pytest.fixture
def library(backup):
    """A database of so many items; its tool writes down what it is asked."""

    def make(items="1795582200|3"):
        script = (
            f"echo $1 >> {backup.root}/asked\n"
            f"case $1 in dump) echo rows > dump; echo '{{}}' > facts.json;; newest) echo '{items}';; esac"
        )
        backup.part("database", part="database", tool=tool(backup, script))
        backup.part("config", part="config", paths=["/x"])
        backup.say("backup", json.dumps({"message_type": "summary", "snapshot_id": "e" * 64}))
        return backup.root / "asked"

    return make


def test_a_snapshot_of_the_database_says_nothing_when_all_went_well(backup, library, capsys):
    library()
    before = time.time()
    assert cli.main(SNAPSHOT) == 0
    assert capsys.readouterr() == ("", "")
    (stored,) = [call for call in backup.calls() if call.startswith("backup ")]
    assert "--tag=atlas,database" in stored
    assert "/x" not in stored.split()
    moment = stored.partition("--time=")[2][:19]
    assert moment >= time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(before)), "nothing in it is younger"
    known = memory.read(backup.settings)
    assert known["runs"] == []
    assert known["repositories"]["local"]["snapshot"] == "e" * 8


def test_after_a_long_one_there_is_a_rest_of_twenty_times_as_long(backup, library):
    asked = library()
    for ago, seconds, taken in ((600, 40, 0), (600, 20, 1), (-600, 40, 1)):
        asked.unlink(missing_ok=True)
        backup.remember(
            repositories={"local": {"database_at": time.time() - ago, "database_seconds": seconds}}
        )
        assert cli.main(SNAPSHOT) == 0
        assert (asked.read_text().count("dump\n") if asked.exists() else 0) == taken
    assert memory.read(backup.settings)["repositories"]["local"]["database_seconds"] < 20
    assert cli.main(SNAPSHOT[:-1]) == 0, "whoever asks for one gets it"


def test_a_snapshot_that_fails_says_why(backup, library, capsys):
    library()
    backup.say("backup", err="Fatal: no space left on device", code=1)
    assert cli.main(SNAPSHOT) == 1
    assert "the disk is full" in capsys.readouterr().out


def test_while_another_one_works_the_turn_is_passed_over(backup, library, capsys):
    asked = library()
    with locked(backup.settings.lock, "atlasctl restore", "now"):
        assert cli.main(SNAPSHOT) == 0
        assert capsys.readouterr() == ("", "")
        assert cli.main(SNAPSHOT[:-1]) == 1
    assert "Busy: atlasctl restore" in capsys.readouterr().err
    assert not asked.exists()
    assert backup.calls() == []


def test_whoever_comes_while_a_snapshot_is_taken_waits_for_it(backup, library, capsys):
    library()
    lock = backup.settings.lock
    put(backup.root / "programs/sleeping", f"#!/bin/sh\nflock {lock} sleep 2\n", 0o755)
    lock.write_text("atlasctl backup --if-free by root, process 7, since then")
    with subprocess.Popen([str(backup.root / "programs/sleeping")]):
        while not is_locked(lock):
            time.sleep(0.01)
        assert cli.main(SNAPSHOT) == 0
        assert backup.calls() == []
        assert cli.main(SNAPSHOT[:-1]) == 0
    assert "Busy: atlasctl backup --if-free by root" in capsys.readouterr().err


def test_where_there_is_nothing_to_lose_yet_no_repository_is_begun(backup, library, capsys):
    """What is brought back there from home is to be the repository."""
    asked = library(items="")
    assert cli.main(SNAPSHOT) == 0
    assert asked.read_text() == "newest\n"
    assert backup.calls() == []


def test_a_machine_whose_library_is_emptied_goes_on_with_its_own_repository(backup, library):
    library()
    assert cli.main(SNAPSHOT) == 0
    library(items="")
    backup.say("snapshots", json.dumps([listed("eeeeeeee", "2026-11-25T03:00:00Z", "database")]))
    backup.say("stats", '{"total_size": 99}')
    assert backup.make()["ok"]


def test_the_list_does_not_drown_in_snapshots_of_the_database(backup, capsys):
    rows = [listed(f"{minute:08}", f"2026-11-03T03:{minute:02}:00Z", "database") for minute in range(20)]
    rows.append(listed("aaaa0001", "2026-11-03T03:09:30Z"))
    rows += [listed(f"bbbb000{n}", f"2026-11-02T03:0{n}:00Z", "config") for n in range(5)]
    backup.say("snapshots", json.dumps(rows))
    assert cli.main(["backup", "list"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[:5] == [
        "00000019 03:19 UTC on 3 November database local",
        "and 9 more since 03:10 UTC on 3 November: atlasctl restore --at TIME",
        "aaaa0001 03:09 UTC on 3 November full local",
        "00000009 03:09 UTC on 3 November database local",
        "and 9 more since 03:00 UTC on 3 November: atlasctl restore --at TIME",
    ]
    assert len(lines) == 10
    assert cli.main(["backup", "list", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 26


@pytest.mark.parametrize("verb", ["dump", "verify"])
def test_what_cannot_be_dumped_or_read_back_is_not_sent(backup, verb):
    failing = tool(backup, f'case $1 in {verb}) echo "row 7 is torn" >&2; exit 1;; esac')
    backup.part("database", part="database", tool=failing)
    done = backup.make()
    assert done["words"] == f"Database: {verb} failed: row 7 is torn"
    assert (done["ok"], backup.calls()) == (False, [])
    assert make.words(done) == f"No backup was made. {done['words']}"
    assert "atlas_backup_run_failed 1" in metrics.metrics(backup.settings, memory.read(backup.settings))


def test_one_repository_that_fails_does_not_keep_the_other_from_its_backup(backup):
    backup.configure(repositories=[*GIVEN["repositories"], BUCKET])
    backup.part("config", part="config", paths=["/x"])
    put(
        backup.root / "programs/restic",
        '#!/bin/sh\ncase $RESTIC_REPOSITORY in s3:*) echo "Stat: AccessDenied $AWS_X" >&2; exit 1;; esac\n'
        "case $1 in stats) echo '{\"total_size\": 5}';; "
        'backup) echo \'{"message_type": "summary", "snapshot_id": "cccccc", "data_added": 2048}\';; esac\n',
        0o755,
    )
    done = backup.make()
    assert (done["ok"], done["words"]) == (False, None)
    first, local, bucket = make.words(done).splitlines()
    assert first == "The set is whole."
    assert local.startswith("local: snapshot cccccc, 2 kB new, 5 bytes in all, in ")
    assert bucket.startswith("bucket: FAILED. The repository bucket cannot be opened: the key of the storage")
    assert "AccessDenied y" in bucket, "it is given its own environment"
    assert "success_at" in backup.known("local")
    assert "success_at" not in backup.known("bucket")


def test_a_backup_that_was_killed_leaves_nothing_behind(backup):
    """Half a set, half a copy beside the real thing, and what a restore replaced long ago."""
    log = backup.root / "asked"
    live = put(backup.root / "originals/one", "1").parent
    backup.part("database", part="database", tool=tool(backup, f'echo "$@" >> {log}'))
    backup.part("originals", part="originals", paths=[str(live)])
    old = time.time() - 15 * DAY
    put(backup.directory / "restore.json", json.dumps({"at": old, "snapshot": "aaaa1111", "done": True}))
    left = [backup.directory / place / "x" for place in ("set", "drill", "restored")]
    left.append(live / ".atlas-replaced/one")
    for path in left:
        put(path, "half")
    backup.remember(runs=[{"at": NOW, "seconds": 5, "words": None, "repositories": {}, "parts": {}}])
    assert cli.main(["backup", "expire", "--wait"]) == 0
    assert [path for path in left if path.parent.exists()] == []
    assert {path.name for path in live.iterdir()} == {"one"}
    assert set(log.read_text().splitlines()) == {
        f"drop atlas_{name}" for name in ("drill", "restored", "replaced", "undone")
    }
    assert "atlas_backup_seconds 5" in (backup.root / "metrics/atlas_backup.prom").read_text()


def test_what_was_replaced_lately_is_kept(backup):
    live = put(backup.root / "originals/one", "1").parent
    backup.part("originals", part="originals", paths=[str(live)])
    put(live / ".atlas-replaced/one", "0")
    put(backup.directory / "restore.json", json.dumps({"at": time.time() - 13 * DAY, "done": True}))
    assert cli.main(["backup", "expire"]) == 0
    assert (live / ".atlas-replaced/one").read_text() == "0"


# --- restic's words


@pytest.mark.parametrize(("sign", "meaning"), restic.MEANINGS)
def test_what_restic_says_is_told_in_plain_words(backup, sign, meaning):
    backup.say("cat", err=f"Fatal: it went so: {sign.upper()} (see there)", code=1)
    with pytest.raises(Trouble) as error:
        backup.restic().prepare(is_known=False)
    told = str(error.value)
    assert told.startswith("The repository local cannot be opened: ")
    assert meaning.format(password=backup.settings.password_file) in told
    assert sign.upper() in told, "restic's own words are there for whoever looks further"
    assert [call.split()[0] for call in backup.calls()] == ["cat"], "nothing is made anew because of it"


def test_what_nobody_has_seen_before_is_told_as_it_is(backup):
    backup.say("snapshots", err="Fatal: the moon is full", code=1)
    with pytest.raises(
        Trouble, match=r"does not say what it holds: restic says. \(Fatal: the moon is full\)"
    ):
        backup.restic().snapshots()


def test_a_repository_is_made_where_there_was_none_and_missed_where_there_was_one(backup):
    backup.say("cat", err=MISSING, code=1)
    backup.restic().prepare(is_known=False)
    assert [call.split()[0] for call in backup.calls()] == ["cat", "init", "unlock", "key"]
    with pytest.raises(Trouble, match=r"was there before and is gone .*atlasctl backup --anew local"):
        backup.restic().prepare(is_known=True)
    assert len(backup.calls()) == 5


def test_a_new_machine_does_not_put_its_empty_library_before_what_is_to_be_brought_back(backup):
    dump = tool(backup, "case $1 in dump) echo rows > dump; echo '{}' > facts.json;; esac")
    backup.part("database", part="database", tool=dump)
    held = {"short_id": "aaaa1111", "time": "2026-11-25T03:00:00Z", "tags": ["atlas", "full"], "paths": []}
    backup.say("snapshots", json.dumps([held]))
    done = backup.make()
    assert "is empty, and the repository local holds backups" in done["repositories"]["local"]["words"]
    assert not [call for call in backup.calls() if call.startswith("backup ")]


def test_a_backup_that_did_not_read_all_is_none(backup):
    backup.say(
        "backup", '{"message_type": "summary", "snapshot_id": "d"}', "error: /x: input/output error", 3
    )
    with pytest.raises(Trouble, match="did not get all there is"):
        backup.restic().backup("full", NOW, [Path("/x")], [])
    assert backup.calls()[-1] == "forget d", "it would be the newest"


def test_one_that_may_not_be_deleted_there_is_not_taken_for_a_backup(backup):
    half = "d" * 64
    said = json.dumps({"message_type": "summary", "snapshot_id": half})
    backup.say("backup", said, "error: /x: input/output error", 3)
    backup.say("forget", err="AccessDenied", code=1)
    with pytest.raises(Trouble, match="did not get all there is"):
        backup.restic().backup("full", NOW, [Path("/x")], [])
    rows = [listed("00000001", "2026-11-01T03:00:00Z"), listed(half[:8], "2026-11-02T03:00:00Z")]
    backup.say("snapshots", json.dumps(rows))
    assert [one.id for one in backup.restic().snapshots()] == ["00000001"]


def test_whether_a_repository_was_made_is_known_or_nobody_can_say(backup):
    assert backup.restic().is_there()
    backup.say("cat", err=MISSING, code=1)
    assert not backup.restic().is_there()
    backup.say("cat", err="dial tcp: connection refused", code=1)
    with pytest.raises(Trouble, match="nobody answers there"):
        backup.restic().is_there()


@pytest.mark.parametrize("call", [
    lambda one: one.is_there(), lambda one: one.snapshots(), lambda one: one.size("aaaa", []),
    lambda one: one.restore("aaaa", Path("/x"), []), lambda one: one.check(1, 1),
])  # fmt: skip
def test_who_only_reads_waits_for_nobody(backup, call):
    backup.say("snapshots", "[]")
    call(backup.restic())
    assert backup.calls()
    assert all("--no-lock" in line for line in backup.calls())


def test_damage_is_told_with_the_snapshots_it_is_in(backup):
    backup.say("check", err="error: pack 3a4b5c6d7e8f: ciphertext verification failed\nFatal: errors", code=1)
    backup.say(
        "find", "Found blob 1 in pack 3a4b5c6d7e8f\n ... in snapshot 11112222 (2026)\nin snapshot 00001111"
    )
    with pytest.raises(Trouble, match=r"is damaged: .*Damaged snapshots: 00001111, 11112222$"):
        backup.restic().check(1, 4)
    assert backup.calls() == ["check --read-data-subset=1/4 --no-lock", "find --pack 3a4b5c6d7e8f --no-lock"]


# --- judging


DRILLED = {"success_at": NOW - HOUR, "first_at": NOW - 90 * DAY, "drill_at": NOW - 2 * DAY}


@pytest.mark.parametrize(
    ("known", "code", "words"),
    [
        ({}, 1, "local: no backup yet"),
        ({"words": "it is full"}, 1, "local: no backup yet (it is full)"),
        (DRILLED, 0, "local 60 minutes ago, proven 2 days ago"),
        (DRILLED | {"success_at": NOW - 26 * HOUR}, 0, "local 26 hours ago, proven 2 days ago"),
        (DRILLED | {"success_at": NOW - 26 * HOUR - 1}, 1, "local: the last backup is 26 hours old"),
        (
            DRILLED | {"success_at": NOW - 4 * DAY, "words": "why"},
            1,
            "local: the last backup is 4 days old (why)",
        ),
        (
            DRILLED | {"success_at": NOW + 5 * DAY},
            1,
            "local: the last backup is of a moment 5 days ahead: the clock was wrong then, or is now",
        ),
        (DRILLED | {"drill_at": NOW + 5 * DAY}, 1, "local: not proven for 90 days: atlasctl drill"),
        (DRILLED | {"drill_words": "it is torn"}, 1, "local: not proven: it is torn"),
        (DRILLED | {"drill_at": NOW - 9 * DAY}, 1, "local: not proven for 9 days: atlasctl drill"),
        ({"success_at": NOW - HOUR, "first_at": NOW - 7 * DAY}, 0, "local 60 minutes ago, not tried yet"),
        (
            {"success_at": NOW - HOUR, "first_at": NOW - 9 * DAY},
            1,
            "local: not proven for 9 days: atlasctl drill",
        ),
    ],
)
def test_an_unproven_backup_is_no_backup(backup, monkeypatch, known, code, words):
    monkeypatch.setattr(time, "time", lambda: NOW)
    backup.remember(repositories={"local": known})
    assert judging.judge(backup.settings) == (code, words)


def test_what_kept_the_set_from_being_made_is_told_of_each_repository(backup, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: NOW)
    runs = [{"at": NOW, "seconds": 5, "words": "Database: dump failed", "repositories": {}, "parts": {}}]
    backup.remember(runs=runs)
    assert judging.judge(backup.settings) == (1, "local: no backup yet (Database: dump failed)")
    put(backup.settings.password_file, "x")
    monkeypatch.setattr(judging, "_set_up_at", lambda _: NOW - HOUR)
    assert judging.judge(backup.settings) == (1, "local: no backup yet (Database: dump failed)")
    old = DRILLED | {"success_at": NOW - 4 * DAY}
    backup.remember(runs=runs, repositories={"local": old})
    words = "local: the last backup is 4 days old (Database: dump failed)"
    assert judging.judge(backup.settings) == (1, words)
    backup.remember(runs=runs, repositories={"local": old | {"words": "it is full"}})
    assert judging.judge(backup.settings) == (1, "local: the last backup is 4 days old (it is full)")


def test_one_bad_repository_is_enough(backup, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: NOW)
    backup.configure(repositories=[*GIVEN["repositories"], BUCKET])
    backup.remember(repositories={"local": DRILLED})
    assert judging.judge(backup.settings) == (1, "bucket: no backup yet")


def test_a_torn_memory_is_no_memory(backup):
    put(backup.settings.state, '{"runs": [')
    assert memory.read(backup.settings) == {"runs": [], "drills": [], "repositories": {}, "half": []}


def test_runs_are_remembered_up_to_a_number(backup):
    backup.remember(runs=[{"n": number} for number in range(150)])
    kept = memory.read(backup.settings)["runs"]
    assert (len(kept), kept[-1]) == (memory.KEPT_RUNS, {"n": 149})


# --- metrics


def test_metrics_tell_what_there_is_and_nothing_of_what_there_is_not(backup):
    backup.configure(repositories=[*GIVEN["repositories"], {**BUCKET, "budget_gb": 10}])
    backup.remember(
        repositories={
            "local": DRILLED | {"stored": 500, "drill_words": "it is torn"},
            "bucket": {"words": "full"},
        },
        runs=[{"seconds": 61.5, "words": None, "repositories": {"local": {"added": 12}}}],
    )
    text = metrics.metrics(backup.settings, memory.read(backup.settings))
    assert sorted(line for line in text.splitlines() if not line.startswith("#")) == [
        'atlas_backup_added_bytes{repository="local"} 12',
        'atlas_backup_allowed_age_seconds{repository="bucket"} 93600',
        'atlas_backup_allowed_age_seconds{repository="local"} 93600',
        'atlas_backup_failed{repository="bucket"} 1',
        'atlas_backup_failed{repository="local"} 0',
        f'atlas_backup_first_timestamp_seconds{{repository="local"}} {NOW - 90 * DAY}',
        'atlas_backup_repository_budget_bytes{repository="bucket"} 10000000000',
        'atlas_backup_repository_bytes{repository="local"} 500',
        "atlas_backup_run_failed 0",
        "atlas_backup_seconds 61.5",
        f'atlas_backup_success_timestamp_seconds{{repository="local"}} {NOW - HOUR}',
        'atlas_drill_allowed_age_seconds{repository="bucket"} 691200',
        'atlas_drill_allowed_age_seconds{repository="local"} 691200',
        'atlas_drill_failed{repository="bucket"} 0',
        'atlas_drill_failed{repository="local"} 1',
        f'atlas_drill_success_timestamp_seconds{{repository="local"}} {NOW - 2 * DAY}',
    ]


# --- choosing


def asked(**given):
    return argparse.Namespace(
        **({"repository": None, "only": None, "snapshot": None, "at": None, "yes": True} | given)
    )


def chosen_of(backup, wanted):
    return command._choose(command._found(backup.settings, wanted), wanted)


def listed(identity, moment, kind="full"):
    return {"short_id": identity, "time": moment, "tags": ["atlas", kind], "paths": ["/x"]}


def test_the_newest_that_holds_what_is_wanted_is_chosen(backup):
    rows = [
        listed("00000003", "2026-11-03T03:00:00.123456789Z"),
        listed("00000001", "2026-11-01T03:00:00Z"),
        listed("00000009", "2026-11-09T03:00:00Z", "database"),
    ]
    backup.say("snapshots", json.dumps(rows))
    assert [one.id for one in backup.restic().snapshots()] == ["00000001", "00000003", "00000009"]
    chosen = {
        "00000003": asked(), "00000009": asked(only="database"), "00000001": asked(snapshot="00000001ffff"),
    }  # fmt: skip
    for identity, wanted in chosen.items():
        assert chosen_of(backup, wanted)[0].id == identity
    assert chosen_of(backup, asked(only="config", snapshot="latest"))[0].id == "00000003"
    assert chosen_of(backup, asked(at="2026-11-10T03:00:00Z"))[0].id == "00000003", "it has the files"
    with pytest.raises(Trouble, match="There is no snapshot 7777"):
        chosen_of(backup, asked(snapshot="7777"))


def test_what_was_made_by_a_clock_that_was_ahead_is_not_the_newest(backup):
    rows = [listed("0000000a", "2199-01-01T03:00:00Z"), listed("00000001", "2026-11-01T03:00:00Z")]
    backup.say("snapshots", json.dumps(rows))
    assert chosen_of(backup, asked())[0].id == "00000001"
    assert drill.latest(backup.restic()).id == "00000001"
    assert chosen_of(backup, asked(snapshot="0000000a"))[0].id == "0000000a"
    backup.say("snapshots", json.dumps(rows[:1]))
    assert chosen_of(backup, asked())[0].id == "0000000a", "or the clock is behind now"


def test_a_repository_that_does_not_answer_does_not_hide_the_other(backup, capsys):
    backup.configure(repositories=[BUCKET, *GIVEN["repositories"]])
    put(
        backup.root / "programs/restic",
        '#!/bin/sh\ncase $RESTIC_REPOSITORY in s3:*) echo "dial: connection refused" >&2; exit 1;; esac\n'
        f"echo '{json.dumps([listed('00000003', '2026-11-03T03:00:00Z')])}'\n",
        0o755,
    )
    snapshot, chosen = chosen_of(backup, asked())
    assert (snapshot.id, chosen.repository.name) == ("00000003", "local")
    assert "bucket does not say what it holds: nobody answers there" in capsys.readouterr().err


def test_on_the_first_day_a_moment_is_of_the_database_alone(backup):
    backup.say("snapshots", json.dumps([listed("00000009", "2026-11-09T03:00:00Z", "database")]))
    assert chosen_of(backup, asked(at="2026-11-10T03:00:00Z"))[0].id == "00000009"
    with pytest.raises(Trouble, match="no backup to restore from"):
        chosen_of(backup, asked())


def test_without_any_backup_it_says_so(backup):
    backup.say("snapshots", "null")
    with pytest.raises(Trouble, match="no backup to restore from"):
        chosen_of(backup, asked())


# --- mail


@pytest.fixture
def post(backup):
    put(backup.root / "usr/sbin/sendmail", f"#!/bin/sh\ncat > {backup.root}/sent\n", 0o755)
    return backup.root / "sent"


@pytest.mark.parametrize(
    ("mail", "result", "told"),
    [
        ([], "exit-code", False),
        (["failure"], "success", False),
        (["failure"], "exit-code", True),
        (["success"], "success", True),
        (["success"], "oom-kill", False),
    ],
)
def test_mail_is_sent_of_what_is_wanted(backup, post, monkeypatch, mail, result, told):
    backup.configure(mail=mail)
    monkeypatch.setenv("SERVICE_RESULT", result)
    assert cli.main(["backup", "tell", "backup"]) == 0
    assert post.exists() is told


def test_mail_says_what_failed_in_plain_words(backup, post):
    backup.configure(mail=["failure", "success"])
    run = {"at": time.time() - 30, "seconds": 29, "words": "Database: dump failed", "repositories": {}}
    drill = {"repository": "local", "at": time.time() - 9, "seconds": 9, "words": "The pack is torn"}
    backup.remember(runs=[run], drills=[drill | {"words": None}, drill])
    tell.tell(Paths(backup.root), backup.settings, "backup", "exit-code")
    assert "Subject: [Atlas] The backup failed\nTo: root\n" in post.read_text()
    assert (
        "No backup was made. Database: dump failed\n\nMore: journalctl --unit atlas-backup"
        in post.read_text()
    )
    tell.tell(Paths(backup.root), backup.settings, "drill", "exit-code")
    assert "Subject: [Atlas] The backups are NOT proven" in post.read_text()
    assert "local: NOT PROVEN. The pack is torn" in post.read_text()


@pytest.mark.parametrize(
    "runs", [[], [{"at": NOW, "seconds": 5, "words": None, "repositories": {}, "parts": {}}]]
)
def test_a_job_that_was_killed_is_not_taken_for_the_one_before(backup, post, runs):
    backup.configure(mail=["failure"])
    backup.remember(runs=[one | {"at": time.time() - 600} for one in runs])
    tell.tell(Paths(backup.root), backup.settings, "backup", "oom-kill")
    assert "The job ended before it could say how it went (oom-kill)." in post.read_text()


def test_mail_that_is_not_taken_is_no_success(backup, post):
    backup.configure(mail=["failure"])
    put(backup.root / "usr/sbin/sendmail", "#!/bin/sh\necho no room >&2; exit 75\n", 0o755)
    with pytest.raises(Trouble, match="could not be handed in: no room"):
        tell.tell(Paths(backup.root), backup.settings, "drill", "timeout")
