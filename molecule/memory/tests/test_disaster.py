"""The lists of docs/disaster-recovery.md, followed as they are written: the commands are read there."""

import re
import shlex
import subprocess
import time
from pathlib import Path

import pytest
from machines import A_WAY, another
from test_memory import MISSED, originals, rows

pytestmark = pytest.mark.timeout(1200)
ROOT = Path(__file__).parents[3]
DOCUMENT = (ROOT / "docs/disaster-recovery.md").read_text()
DELETED = "DELETE FROM items WHERE id NOT IN (SELECT duplicate_of FROM items WHERE duplicate_of IS NOT NULL)"
PLAY = ".venv/bin/ansible-playbook -i inventory/production "


def commands(title: str) -> list[str]:
    """Return the commands of a list, in their order."""
    text = DOCUMENT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    return [line.strip() for block in blocks for line in block.splitlines()]


class Person:
    """Who does what a list says, and answers yes when asked."""

    def __init__(self, host, play, *arguments):
        self.host, self.play, self.arguments = host, play, arguments
        self.said = ""

    def does(self, command, instead=("", "")):
        """Run one command where it belongs; `instead` is what stands in the document for something here."""
        assert instead[0] in command, command
        command = command.replace(*instead)
        if command.startswith("sudo "):
            # Typed at a terminal: what has questions asks them.
            typed = f"script --quiet --return --command {shlex.quote(command)} /dev/null <<< yes"
            done = self.host.run("bash -c %s", typed)
            assert done.succeeded, f"{command}\n{done.stdout}\n{done.stderr}"
            self.said = done.stdout
        elif command.startswith(PLAY):
            playbook, *arguments = shlex.split(command.removeprefix(PLAY))
            done = self.play(*self.arguments, *arguments, playbook=str(ROOT / playbook))
            assert done.succeeded, done.output[-3000:]
            self.said = done.output
        else:
            assert command.startswith("make "), command  # what it does here is tried by other tests


def library(host):
    """Return what a person would miss."""
    there = rows(host)
    return {table: there[table] for table in MISSED}


@pytest.fixture(autouse=True)
def _backed_up(host, storage, saved, eventually):
    assert saved["ok"], saved
    storage.admit(host)  # a playbook has written the key of the inventory
    host.check_output("atlas note 'The last thing before the disaster'")
    eventually(lambda: library(host) == (time.sleep(3) or library(host)), 120)  # nothing is at work any more
    host.check_output("atlasctl backup")


def test_the_database_is_corrupted(host, play):
    before = library(host)
    broken = "SELECT pg_relation_filepath('contents')"
    file = host.check_output("runuser -u postgres -- psql -Atd atlas -c %s", broken)
    host.check_output("runuser -u postgres -- psql -qd atlas -c CHECKPOINT")
    host.check_output("sleep 70; systemctl stop postgresql")  # what was written is archived within a minute
    host.check_output(f"dd if=/dev/urandom of=/var/lib/postgresql/15/main/{file} bs=8k count=4 conv=notrunc")
    host.check_output("systemctl start postgresql && sleep 3")
    steps = commands("The database is corrupted")
    person = Person(host, play)
    for step in steps[:3]:  # stop, list, back to a moment ago
        person.does(step)
    assert library(host) == before
    # And what is for a PostgreSQL that does not start.
    host.check_output("systemctl stop postgresql; rm /var/lib/postgresql/15/main/global/pg_control")
    for step in [steps[4], steps[5], steps[3]]:
        person.does(step)
    assert library(host) == before
    person.does(steps[6])
    person.does(steps[7])


def test_a_bad_deploy(host, play, repository):
    with (repository / "app/atlas/__init__.py").open("a") as file:
        file.write("# Not what was asked for.\n")
    before, good = library(host), host.check_output("readlink /opt/atlas/current")
    deployed = play("--tags=atlas", repository=repository)
    assert deployed.succeeded, deployed.output[-3000:]
    assert host.check_output("readlink /opt/atlas/current") != good
    host.check_output(f"runuser -u postgres -- psql -qd atlas -c '{DELETED}'")
    spoilt = library(host)
    back, look, restore, undo = commands("A bad deploy")
    person = Person(host, play)
    person.does(back)
    assert host.check_output("readlink /opt/atlas/current") == good
    assert library(host) == spoilt, "the database stays as it is"
    host.check_output("sleep 70")  # what was written is archived within a minute
    person.does(look)
    bad = next(line for line in person.said.splitlines() if "built" in line and "* " not in line)
    person.does(restore, ("2026-11-25T09:30:00Z", bad.partition("built ")[2].split()[0]))
    assert library(host) == before
    person.does(undo)
    assert library(host) == spoilt
    host.check_output("atlasctl restore latest --yes")


def test_deleted_by_mistake(host, play):
    before = library(host)
    moment = host.check_output("sleep 2; date -u +%Y-%m-%dT%H:%M:%SZ; sleep 2")
    host.check_output(f"runuser -u postgres -- psql -qd atlas -c '{DELETED}'")
    assert library(host) != before
    look, back, files = commands("Deleted by mistake")
    person = Person(host, play)
    person.does(look)
    assert host.file("/root/restored").is_directory
    host.check_output("rm -r /root/restored; sleep 70")
    person.does(back, ("2026-11-25T14:05:29Z", moment))
    assert library(host)["items"] == before["items"]
    kept = originals(host)
    host.check_output("rm -r /var/lib/atlas/originals")
    person.does(files)
    assert originals(host) == kept


def test_a_key_is_lost(host, play, scenario_directory):
    read, _, agree, *values = commands("A key is lost")
    password = host.file("/etc/atlas-backup/password").content_string.strip()
    person = Person(host, play)
    person.does(read)
    assert password in person.said
    for secret in (scenario_directory / "secrets").iterdir():
        secret.unlink()
    person.does(agree)
    assert (scenario_directory / "secrets/backup_password").read_text().strip() == password
    for step in values:
        person.does(step)
    assert password in person.said


def test_the_machine_is_lost(host, storage, play, scenario_directory):
    before, files = library(host), originals(host)
    storage.shut()
    machine = another(scenario_directory, "bookworm")
    # The inventory has the key of the bucket.
    keys = zip(("key_id", "secret_key"), storage.machine, strict=True)
    person = Person(machine, play, *(f"--extra-vars=atlas_backup_s3_{name}={key}" for name, key in keys))
    _, _, _, build, back, *after = commands("The machine is lost")
    person.does(build)
    machine.check_output(A_WAY)
    storage.admit(machine)
    person.does(back)
    assert library(machine) == before
    assert originals(machine) == files
    for step in after:
        person.does(step)
    assert machine.check_output("atlasctl backup check").count("proven") == 2


def test_the_account_is_lost(host, storage, play, scenario_directory, tmp_path):
    """What is left is the copy at home, with a password of its own."""
    before, files = library(host), originals(host)
    copy = "restic --repo /root/copy --password-file /run/home"
    host.check_output("rm -rf /root/copy; umask 077; echo the-password-on-the-sheet > /run/home")
    host.check_output(f"{copy} init")
    ours = "--from-repo /var/lib/atlas-backup/repository --from-password-file /etc/atlas-backup/password"
    host.check_output(f"{copy} copy {ours} latest")
    ssh = ["ssh", "-F", str(scenario_directory / "ssh/config"), "machine"]
    with (tmp_path / "copy.tar").open("wb") as kept:
        subprocess.run([*ssh, "tar -C /root/copy -c ."], stdout=kept, check=True)
    storage.shut()
    machine = another(scenario_directory, "bookworm")
    person = Person(machine, play, "--extra-vars=atlas_backup_s3_url=")
    setup, build, _, move, own, key, back = commands("The account is lost")
    person.does(setup)
    person.does(build)
    with (tmp_path / "copy.tar").open("rb") as kept:
        # As step 2 has it; here the way in is root's.
        subprocess.run([*ssh, "mkdir copy && tar --extract --directory copy"], stdin=kept, check=True)
    person.does(move, ("~atlas-admin/copy", "/root/copy"))
    person.does(own)
    machine.check_output("printf 'the-password-on-the-sheet' > /run/home")
    person.does(key, ("key add", "--password-file /run/home key add"))
    person.does(back)
    assert library(machine) == before
    assert originals(machine) == files
