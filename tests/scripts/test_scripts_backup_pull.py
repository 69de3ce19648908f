"""What `make backup-pull` decides: where the machine is, what is new, what is written and what never is."""

import json
import os
import subprocess

import backup_pull
import pytest

NOW = 1_800_000_000.0


def snapshot(name, days_ago, original=None):
    moment = backup_pull.datetime.datetime.fromtimestamp(
        NOW - days_ago * backup_pull.DAY, backup_pull.datetime.UTC
    )
    # As restic writes it: nanoseconds.
    said = {"id": name, "time": moment.strftime("%Y-%m-%dT%H:%M:%S.123456789Z")}
    return said | ({"original": original} if original else {})


def names(found):
    return [one["id"] for one in found]


def test_the_first_time_all_is_new():
    listed = [snapshot("a", 400), snapshot("b", 1), snapshot("c", 0)]
    assert names(backup_pull._new(listed, [], 0.0, NOW)) == ["a", "b", "c"]


def test_what_is_here_under_another_name_is_not_new():
    here = [snapshot("x", 1, original="a"), snapshot("b", 2)]
    listed = [snapshot("a", 1), snapshot("b", 2), snapshot("c", 0)]
    assert names(backup_pull._new(listed, here, 0.0, NOW)) == ["c"]


def test_nothing_is_new_that_is_older_than_the_last_copy_or_of_tomorrow():
    listed = [snapshot("old", 9), snapshot("late", 7.5), snapshot("new", 1), snapshot("future", -2)]
    newest = NOW - 7 * backup_pull.DAY
    assert names(backup_pull._new(listed, [], newest, NOW)) == ["late", "new"]


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A copy of the repository with an inventory, and a computer on which nothing is set up."""
    variables = tmp_path / "atlas/inventory/production/group_vars/all"
    variables.mkdir(parents=True)
    (variables / "main.yml").write_text("---\natlas_domain: atlas.example.org\n")
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.delenv("INVENTORY", raising=False)
    monkeypatch.setattr(backup_pull, "ROOT", tmp_path / "atlas")
    files = "KEY SSH_CONFIG KNOWN_HOSTS MACHINE_PASSWORD HOME_PASSWORD SETTINGS STATE"
    for name in files.split():
        monkeypatch.setattr(backup_pull, name, place / getattr(backup_pull, name).name)
    monkeypatch.setattr(backup_pull, "PLACE", place)
    return variables


def test_the_key_is_made_once_and_written_into_the_inventory(repository, capsys):
    backup_pull._make_key()
    written = (repository / "backup_home.yml").read_text()
    public = backup_pull.KEY.with_suffix(".pub").read_text().strip()
    assert written.endswith(f"backup_home_keys:\n  - {public}\n")
    assert "backup_home.yml" in capsys.readouterr().out
    backup_pull._make_key()
    assert (repository / "backup_home.yml").read_text() == written
    assert backup_pull.KEY.with_suffix(".pub").read_text().strip() == public
    assert capsys.readouterr().out == ""


def test_keys_of_others_are_never_overwritten(repository, capsys):
    other = "---\nbackup_home_keys:\n  - ssh-ed25519 AAAAother\n"
    (repository / "backup_home.yml").write_text(other)
    backup_pull._make_key()
    assert (repository / "backup_home.yml").read_text() == other
    assert backup_pull.KEY.with_suffix(".pub").read_text().strip() in capsys.readouterr().out


def inventory_says(monkeypatch, machines, code=0):
    said = subprocess.CompletedProcess([], code, json.dumps({"_meta": {"hostvars": machines}}), "")
    monkeypatch.setattr(backup_pull, "_call", lambda *_, **__: said)


def test_the_inventory_tells_how_the_machine_is_reached(monkeypatch, tmp_path):
    inventory_says(monkeypatch, {"atlas": {"ansible_host": "198.51.100.3", "ansible_user": "atlas-admin"}})
    assert backup_pull._from_inventory(tmp_path) == "atlas-admin@198.51.100.3:22"


@pytest.mark.parametrize(
    ("machines", "code"),
    [({}, 0), ({"atlas": {"ansible_host": "203.0.113.10"}}, 0), ({"a": {}, "b": {}}, 0), ({"a": {}}, 1)],
    ids=["none", "the example", "two", "a vault without its password"],
)
def test_an_inventory_that_does_not_tell_is_asked_about(monkeypatch, tmp_path, machines, code):
    inventory_says(monkeypatch, machines, code)
    with pytest.raises(backup_pull.Trouble, match="HOST=user@address"):
        backup_pull._from_inventory(tmp_path)


def test_a_missing_program_is_named_with_its_package(monkeypatch):
    monkeypatch.setattr(backup_pull.shutil, "which", lambda name: None if name == "restic" else name)
    with pytest.raises(backup_pull.Trouble, match="apt install restic"):
        backup_pull.set_up()


def test_without_systemd_the_line_for_cron_is_printed(monkeypatch, capsys):
    monkeypatch.setattr(backup_pull.shutil, "which", lambda _: None)
    backup_pull._install_timer()
    assert "17 11 * * 0" in capsys.readouterr().out


def test_a_disk_that_is_not_attached_is_no_reason_to_begin_anew(repository, tmp_path):
    directory = tmp_path / "disk/atlas"
    with pytest.raises(backup_pull.Trouble, match="Is its disk attached"):
        backup_pull._open_repository(directory, was_there=True)
    backup_pull._write(backup_pull.SETTINGS, {"machine": "a@b", "directory": str(directory)})
    with pytest.raises(backup_pull.Trouble, match="Is its disk attached"):
        backup_pull.pull(NOW)
    assert not directory.exists()


def test_a_repository_that_could_not_be_made_is_not_missed_the_next_time(repository, tmp_path, monkeypatch):
    directory = tmp_path / "disk/atlas"
    monkeypatch.setenv("HOST", "me@atlas")
    monkeypatch.setenv("DIR", str(directory))
    for name in ("_make_key", "_install_timer", "reach", "run"):
        monkeypatch.setattr(backup_pull, name, lambda: None)
    monkeypatch.setattr(backup_pull, "_ask_machine", lambda _: None)
    monkeypatch.setattr(backup_pull, "PROGRAM", tmp_path / "program")
    monkeypatch.setattr(backup_pull.shutil, "which", lambda name: name)
    codes = [1, 0]
    monkeypatch.setattr(
        backup_pull,
        "restic",
        lambda verb, **_: subprocess.CompletedProcess([verb], codes.pop(0), "", "no space left"),
    )
    with pytest.raises(backup_pull.Trouble, match=r"No repository could be made in .*no space left"):
        backup_pull.set_up()
    assert not backup_pull.SETTINGS.exists()
    backup_pull.set_up()
    assert backup_pull._read(backup_pull.SETTINGS) == {"machine": "me@atlas", "directory": str(directory)}


def test_two_copies_do_not_run_at_once(repository):
    with backup_pull._alone(), pytest.raises(backup_pull.Trouble, match="Another copy"), backup_pull._alone():
        pass


@pytest.fixture
def programs(repository, tmp_path, monkeypatch):
    """What restic and sftp answer, and what they were asked."""
    asked = []
    home = tmp_path / "copy"
    home.mkdir()
    (home / "config").write_text("")
    backup_pull._write(backup_pull.SETTINGS, {"machine": "a@b", "directory": str(home)})
    answers = {
        "forget": json.dumps([{"keep": [snapshot("a", 1), snapshot("b", 0)]}]),
        "snapshots": "[]",
    }
    failing = {}

    def call(command, **_):
        words = command[3:] if command[0] == "restic" else command
        asked.append(words)
        code = next((1 for sign, times in failing.items() if sign in words and times.pop(0)), 0)
        return subprocess.CompletedProcess(command, code, answers.get(words[0], ""), "it broke" * code)

    monkeypatch.setattr(backup_pull, "_call", call)
    return asked, failing


def test_a_copy_takes_its_steps_in_order_and_removes_last(programs):
    asked, _ = programs
    backup_pull.pull(NOW)
    verbs = [words[0] for words in asked]
    assert verbs == ["sftp", "unlock", "snapshots", "forget", "copy", "check", "forget", "sftp", "snapshots"]
    assert {"--dry-run", "--no-lock"} < set(asked[3])
    assert "--no-lock" in asked[4]
    assert backup_pull._read(backup_pull.STATE)["success"] == NOW


@pytest.mark.parametrize("verb", ["unlock", "check"])
def test_where_something_is_wrong_nothing_is_removed_nor_told_as_done(programs, verb):
    asked, failing = programs
    failing[verb] = [True]
    with pytest.raises(backup_pull.Trouble, match="it broke"):
        backup_pull.pull(NOW)
    assert "--prune" not in [word for words in asked for word in words]
    assert asked[-1][0] == verb
    assert "success" not in backup_pull._read(backup_pull.STATE)


def test_one_damaged_backup_does_not_keep_the_others_away(programs):
    asked, failing = programs
    failing["copy"] = [True, False, True]  # both, then the newest alone, then the other
    with pytest.raises(backup_pull.Trouble, match="1 of 2 new backups could not be copied"):
        backup_pull.pull(NOW)
    assert [words[-1] for words in asked if words[0] == "copy"] == ["b", "b", "a"]
    assert "--prune" not in [word for words in asked for word in words]


def test_what_came_before_a_broken_run_is_taken_up(programs):
    asked, _ = programs
    backup_pull._write(backup_pull.STATE, {"unfinished": True})
    backup_pull.pull(NOW)
    assert ["rebuild-index"] in asked
    asked.clear()
    backup_pull.pull(NOW)
    assert ["rebuild-index"] not in asked


def test_nothing_is_readable_by_others(repository, monkeypatch, tmp_path):
    """Keys and passwords are made with the mask of the program."""
    monkeypatch.setattr(backup_pull.sys, "argv", ["backup_pull.py", "status"])
    before = os.umask(0o022)
    try:
        with pytest.raises(SystemExit):
            backup_pull.main()
        backup_pull._write(backup_pull.STATE, {})
        assert backup_pull.STATE.stat().st_mode & 0o077 == 0
    finally:
        os.umask(before)
