"""Another password: whenever it is killed, the file has one that opens all; in the end no other does."""

from pathlib import Path

import pytest

from atlasctl import cli
from atlasctl.backup import rekey
from atlasctl.backup import settings as given
from atlasctl.files import write_json
from atlasctl.paths import Paths
from atlasctl.trouble import Trouble

GIVEN = {
    "directory": "/var/lib/atlas-backup", "password_file": "/etc/atlas-backup/password",
    "textfile_directory": "/metrics", "keep": {"daily": 30}, "upload_kib": 0,
    "warn_hours": 26, "drill_days": 8, "read_in": 4, "patience": 20, "undo_days": 14, "mail": [],
}  # fmt: skip
OLD, NEW = "the-old-password-of-all", "the-new-password-of-all"


class Killed(BaseException):
    """As by kill -9: after it nothing is done any more."""


class Repositories:
    """Repositories that know by which passwords they are opened; each thing asked of them can be the last."""

    def __init__(self, root, monkeypatch):
        self.root = root
        self.left = float("inf")
        self.away = set()
        repositories = [
            {"name": "local", "url": "/repository"},
            {"name": "bucket", "url": "s3:https://x/y"},
            {"name": "new", "url": "s3:https://x/z"},
        ]
        write_json(root / "etc/atlas-backup/settings.json", GIVEN | {"repositories": repositories})
        self.settings = given.read(Paths(root))
        self.file = self.settings.password_file
        outer = self

        class Restic:
            def __init__(self, settings, repository):
                self.settings, self.name = settings, repository.name

            def is_there(self):
                self._open()
                return self.name in outer.keys

            def add_key(self, path):
                self._open()
                outer.keys[self.name].add(path.read_text().strip())

            def keys(self):
                self._open()

            def remove_other_keys(self):
                self._open()
                outer.keys[self.name] = {outer.password(self.settings)}

            def _open(self):
                outer.step()
                if self.name in outer.away:
                    raise Trouble(f"The repository {self.name} cannot be opened: nobody answers there.")
                if self.name in outer.keys and outer.password(self.settings) not in outer.keys[self.name]:
                    raise Trouble(f"The repository {self.name} cannot be opened: wrong password.")

        monkeypatch.setattr(rekey, "Restic", Restic)
        for place, name in ((Path, "replace"), (Path, "unlink")):
            monkeypatch.setattr(place, name, self.counted(getattr(place, name)))
        self.begin()

    def begin(self):
        self.left = float("inf")
        self.keys = {"local": {OLD}, "bucket": {OLD}}
        for path in self.file.parent.iterdir():
            if path.name != "settings.json":
                path.unlink()
        self.file.write_text(OLD + "\n")

    def step(self):
        if self.left <= 0:
            raise Killed
        self.left -= 1

    def counted(self, real):
        def call(*words, **named):
            self.step()
            return real(*words, **named)

        return call

    @staticmethod
    def password(settings):
        return settings.password_file.read_text().strip()

    def rekey(self, password=NEW):
        return rekey.rekey(self.settings, password)


@pytest.fixture
def made(tmp_path, monkeypatch):
    monkeypatch.setenv("ATLASCTL_ROOT", str(tmp_path))
    return Repositories(tmp_path, monkeypatch)


def test_the_new_one_opens_all_that_was_made_and_the_old_one_nothing(made, capsys):
    made.rekey()
    assert made.keys == {"local": {NEW}, "bucket": {NEW}}
    assert made.file.read_text() == NEW + "\n"
    assert made.file.stat().st_mode & 0o777 == 0o600
    assert "bucket: it is opened by the machine's password, and by no other." in capsys.readouterr().out
    made.rekey()
    assert "That is the password already." in capsys.readouterr().out
    assert {path.name for path in made.file.parent.iterdir()} == {"settings.json", "password"}


@pytest.mark.parametrize("then", [NEW, OLD], ids=["said again", "given up"])
def test_whenever_it_is_killed_the_file_opens_everything(made, then):
    for count in range(100):
        made.begin()
        made.left = count
        try:
            made.rekey()
        except Killed:
            made.left = float("inf")
        else:
            break
        for name, keys in made.keys.items():
            assert made.file.read_text().strip() in keys, (count, name)
        made.rekey(then)
        assert made.file.read_text() == then + "\n", count
        assert made.keys == {"local": {then}, "bucket": {then}}, count
    assert count > 8


def test_one_that_cannot_be_asked_changes_nothing(made):
    made.away = {"bucket"}
    with pytest.raises(Trouble, match="bucket cannot be opened: nobody answers"):
        made.rekey()
    assert made.file.read_text() == OLD + "\n"
    made.away = set()
    made.rekey(OLD)
    assert made.keys == {"local": {OLD}, "bucket": {OLD}}
    assert rekey.is_ours(made.settings, OLD)


def test_an_old_one_that_could_not_be_removed_is_removed_at_night(made):
    real = rekey.Restic.remove_other_keys

    def remove(self):
        made.away = {"bucket"}
        real(self)

    rekey.Restic.remove_other_keys = remove
    with pytest.raises(Trouble, match="nobody answers"):
        made.rekey()
    assert made.file.read_text() == NEW + "\n"
    assert made.keys["bucket"] == {OLD, NEW}
    assert not rekey.is_ours(made.settings, NEW)
    rekey.Restic.remove_other_keys, made.away = real, set()
    part = made.root / "etc/atlas/backup.d/config.json"
    part.parent.mkdir(parents=True)
    part.write_text('{"title": "Settings", "part": "config", "paths": ["/not/there"]}')
    assert cli.main(["backup", "expire", "--wait"]) == 0
    assert made.keys == {"local": {NEW}, "bucket": {NEW}}
    assert rekey.is_ours(made.settings, NEW)


def test_where_the_machine_removes_nothing_somebody_else_has_to(made, capsys):
    bucket = made.settings.repository("bucket")._replace(prune=False)
    made.settings = made.settings._replace(repositories=(made.settings.repository("local"), bucket))
    made.rekey()
    assert made.keys == {"local": {NEW}, "bucket": {OLD, NEW}}
    said = capsys.readouterr().out
    assert "bucket: it is opened by the machine's password. This machine removes nothing there" in said
    assert rekey.is_ours(made.settings, NEW)


def test_a_short_one_is_refused(made):
    with pytest.raises(Trouble, match="16 characters or more"):
        made.rekey("short")
