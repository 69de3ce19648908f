"""With the emergency sheet alone the backups can be opened: what it says to type is typed."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PASSWORD = "a 'password' with $HOME and \"quotes\" in it"
PATH = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
TYPED = re.compile(r"^  \$ (.*)$", re.MULTILINE)
S3 = {
    "atlas_backup_s3_url": "https://storage.example.org/bucket",
    "atlas_backup_s3_region": "eu-frankfurt-1",
    "vault_atlas_backup_s3_key_id": "AKIAEXAMPLE",
    "vault_atlas_backup_s3_secret_key": "secret/of+the=key",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The computer at home, with a copy of the backups."""
    home = tmp_path_factory.mktemp("home")
    pull = home / ".config/atlas/backup-pull"
    pull.mkdir(parents=True)
    (pull / "settings.json").write_text(json.dumps({"directory": str(home / "the copy")}))
    (pull / "home-password").write_text(PASSWORD + "\n")
    return home


@pytest.fixture(scope="module")
def written(root, home):
    """Write the sheet there; return its path, and what was said meanwhile."""
    given = {"vault_atlas_backup_password": PASSWORD, "atlas_domain": "atlas.example.org", **S3}
    said = _play(root, home, given)
    assert said.returncode == 0, said.stdout
    return home / "sheet.txt", said.stdout + said.stderr


@pytest.fixture(scope="module")
def text(written):
    return written[0].read_text()


def _play(root, home, given):
    (home / "given.json").write_text(json.dumps({"sheet": str(home / "sheet.txt"), **given}))
    program = Path(sys.executable).with_name("ansible-playbook")
    command = [program, "-vvv", "--diff", "-i", "machine,", "-e", f"@{home}/given.json"]
    return subprocess.run(
        [*command, "playbooks/emergency_sheet.yml"],
        cwd=root,
        env=PATH | {"HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )


def section(text, number):
    """Return what is below a heading such as `3. GET THE FILES` or `2.1 The bucket`."""
    found = re.search(rf"^{re.escape(number)} .*?$(.*?)(?=^\d\.|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, text
    return found[1]


def test_what_is_typed_from_the_sheet_brings_everything_back(text, home, tmp_path):
    if shutil.which("restic") is None:
        pytest.skip("restic is not installed")
    kept = {"var/lib/atlas/one page": b"\x00kept", "var/lib/atlas-backup/set/database/database.dump": b"sql"}
    for name, content in kept.items():
        (tmp_path / "machine" / name).parent.mkdir(parents=True)
        (tmp_path / "machine" / name).write_bytes(content)
    opened = PATH | {"RESTIC_PASSWORD": PASSWORD, "RESTIC_REPOSITORY": str(home / "the copy")}
    for words in ("init", "backup --tag=atlas,full var", "backup --tag=atlas,database var/lib/atlas"):
        command = ["restic", "--no-cache", *words.split()]
        subprocess.run(command, cwd=tmp_path / "machine", env=opened, check=True, capture_output=True)

    computer = tmp_path / "a new computer"
    computer.mkdir()
    typed = "\n".join(TYPED.findall(section(text, "2.2") + section(text, "3.")))
    done = subprocess.run(
        ["bash", "-euc", typed],
        cwd=computer,
        env=PATH | {"HOME": str(computer)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    restored = computer / "atlas-restored"
    found = {str(one.relative_to(restored)): one.read_bytes() for one in restored.rglob("*") if one.is_file()}
    assert found == kept


def test_the_bucket_opens_with_the_keys_on_the_sheet(text):
    *typed, last = TYPED.findall(section(text, "2.1"))
    assert last == "restic snapshots --tag atlas"
    command = ["bash", "-euc", "\n".join([*typed, "env -0"])]
    said = subprocess.run(command, env=PATH, capture_output=True, text=True, check=True).stdout
    found = dict(line.split("=", 1) for line in said.split("\0") if line)
    wanted = {
        "RESTIC_PASSWORD": PASSWORD,
        "RESTIC_REPOSITORY": "s3:https://storage.example.org/bucket",
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret/of+the=key",
        "AWS_DEFAULT_REGION": "eu-frankfurt-1",
    }
    assert {name: found.get(name) for name in wanted} == wanted


def test_the_lines_for_the_inventory_are_those_a_new_machine_needs(text):
    lines = re.findall(r"^(?:vault_)?atlas_.*$", section(text, "4."), re.MULTILINE)
    assert yaml.safe_load("\n".join(lines)) == S3 | {
        "vault_atlas_backup_password": PASSWORD,
        "atlas_domain": "atlas.example.org",
        "atlas_database_engine": "postgresql",
    }


def test_nobody_else_sees_it(written):
    path, said = written
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "Write it" in said
    assert [one for one in (PASSWORD, "secret/of+the=key", "$HOME and") if one in said] == []


def test_it_fits_on_paper(text):
    """A line that the printer breaks would be typed wrong."""
    assert [line for line in text.splitlines() if len(line) > 100] == []


def test_no_sheet_is_made_of_a_password_that_opens_nothing(root, tmp_path):
    done = _play(root, tmp_path, {"atlas_secrets_directory": str(tmp_path / "none")})
    assert done.returncode == 2
    assert "machine has no backups yet: run site.yml first" in done.stdout
    assert not (tmp_path / "none").exists()
