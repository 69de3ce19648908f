"""What is backed up comes back: from here, from storage, a part of it, and on a machine that is new."""

import json
import re

import pytest
from botocore.exceptions import ClientError
from machines import A_WAY, another
from storage import DOCUMENT, KEY

# What a person would miss. The others tell how Atlas itself fares, and go on changing.
MISSED = ("items", "contents", "item_tags", "tags", "transitions", "versions", "users", "sessions", "tokens")
# The bucket is left alone by the machine, and it is time that it was pruned.
PRUNE_NOTHING = """
import json, sys
settings = json.load(open(sys.argv[1]))
for one in settings["repositories"]:
    one["prune"] = one["name"] != "bucket"
json.dump(settings, open(sys.argv[1], "w"))
"""
LONG_AGO = 'sed -i \'s/"pruned_at": [0-9.]*/"pruned_at": 0/\' /var/lib/atlas-backup/state.json'


def originals(host) -> str:
    """Return the checksums of all originals."""
    return host.check_output("cd /var/lib/atlas/originals && find . -type f | sort | xargs sha256sum")


def rows(host) -> str:
    """Return the rows of all tables, and a sum over them, as a dump has them."""
    place = "/run/facts"
    host.check_output(
        f"rm -rf {place}; mkdir -p {place}; cd {place}; /usr/local/lib/atlas-backup/postgresql dump"
    )
    return json.loads(host.file(f"{place}/facts.json").content_string)["tables"]


def test_a_backup_is_in_every_repository(host, saved, storage):
    assert saved["ok"], saved
    assert set(saved["repositories"]) == {"local", "bucket"}
    listed = json.loads(host.check_output("atlasctl backup list --json"))
    made = {one["snapshot"] for one in saved["repositories"].values()}
    found = [one for one in listed if one["id"] in made]
    assert {one["repository"] for one in found} == {"local", "bucket"}
    assert len({one["time"] for one in found}) == 1
    assert any(name.startswith("data/") for name in storage.objects())


def test_what_a_day_costs_stays_far_below_what_is_free(host, saved, storage):
    """50,000 requests a month are free in Oracle Cloud; a day may take a tenth of a thirtieth."""
    assert saved["ok"]
    storage.asked.clear()
    host.check_output("atlas note 'Another day'; atlasctl backup")
    print(f"Requests of a daily backup: {sum(storage.asked.values())} {dict(storage.asked)}")
    assert sum(storage.asked.values()) < 50000 / 30 / 10


@pytest.mark.usefixtures("saved")
def test_an_unproven_backup_is_told_and_a_proven_one_too(host):
    assert "not tried yet" in host.check_output("atlasctl backup check")
    # By the unit, which may do little, as every week.
    proven = "was restored, compared and served by Atlas"
    journal = f"journalctl --unit=atlas-drill.service --output=cat | grep -c '{proven}'"
    host.check_output("systemctl start atlas-backup.service && systemctl start atlas-drill.service")
    assert host.check_output(journal) == "2"
    assert host.check_output("atlasctl backup check").count("proven") == 2
    metrics = host.file("/var/lib/prometheus/node-exporter/atlas_backup.prom").content_string
    for metric in ("atlas_backup_success_timestamp_seconds", "atlas_drill_success_timestamp_seconds"):
        assert metrics.count(f"{metric}{{") == 2
    # Nothing of the trial is left.
    assert set(host.file("/var/lib/atlas-backup").listdir()) & {"set", "drill", "restored"} == set()
    assert "atlas_drill" not in host.check_output("runuser -u postgres -- psql -Atlqc '' -l")


@pytest.mark.usefixtures("saved")
def test_what_was_deleted_by_mistake_comes_back_and_the_restore_can_be_undone(host):
    before, files = rows(host), originals(host)
    host.check_output("atlasctl backup")
    host.check_output("runuser -u postgres -- psql -qd atlas -c 'DELETE FROM items'")
    host.check_output("rm -r /var/lib/atlas/originals")
    host.check_output("atlas note 'Written after the mistake'")
    refused = host.run("atlasctl restore < /dev/null")
    assert refused.rc == 1
    assert "after the last change in this backup" in refused.stdout
    assert "--yes" in refused.stderr
    restored = host.run("atlasctl restore --yes")
    assert restored.succeeded, restored.stderr
    assert " from local, " in restored.stdout
    after = rows(host)
    assert after["items"] == before["items"]
    assert after["contents"] == before["contents"]
    assert set(originals(host).splitlines()) >= set(files.splitlines())
    undone = host.run("atlasctl restore --undo")
    assert undone.succeeded, undone.stderr
    assert host.check_output("atlas search mistake").startswith("1 found")
    host.check_output("atlasctl restore --yes")
    assert rows(host)["items"] == before["items"]


@pytest.mark.usefixtures("saved")
def test_one_part_comes_back_alone(host):
    host.check_output("echo 'something else' > /etc/atlas/secrets/owner_password")
    before = rows(host)["items"]
    said = host.run("atlasctl restore --only config --repository bucket --yes")
    assert said.succeeded, said.stderr
    assert host.file("/etc/atlas/secrets/owner_password").content_string != "something else\n"
    assert host.check_output("stat -c '%U %G %a' /etc/atlas/secrets/owner_password") == "root atlas 640"
    assert rows(host)["items"] == before


@pytest.mark.usefixtures("saved")
def test_a_snapshot_can_be_looked_at_without_touching_anything(host):
    host.check_output("rm -rf /root/look; atlasctl restore --to /root/look --repository bucket")
    assert host.file("/root/look/var/lib/atlas-backup/set/database/database.dump").size > 1000
    again = host.run("atlasctl restore --to /root/look")
    assert again.rc == 1
    assert "is there already" in again.stderr
    host.check_output("rm -r /root/look")


@pytest.mark.usefixtures("saved")
def test_another_password_opens_everything_and_the_old_one_nothing(host):
    old = host.file("/etc/atlas-backup/password").content_string
    host.check_output("echo another-password-of-some-length | atlasctl backup rekey")
    assert host.check_output("atlasctl backup list --json").count('"bucket"') > 0
    host.check_output("umask 077; echo %s > /run/old", old.strip())
    refused = host.run("restic --password-file /run/old -r /var/lib/atlas-backup/repository snapshots")
    assert "wrong password" in refused.stderr
    host.check_output("atlasctl backup rekey < /run/old; rm /run/old")
    assert host.file("/etc/atlas-backup/password").content_string == old


def test_whoever_has_the_machines_key_cannot_remove_what_was_stored(host, saved, storage):
    assert saved["ok"]
    names = storage.objects()
    assert len(names) > 5
    storage.forget_everything()
    assert storage.objects() == {}
    gone = host.run("atlasctl backup --repository bucket")
    assert gone.rc == 1
    assert "was there before and is gone" in gone.stdout
    with pytest.raises(ClientError, match="AccessDenied"):
        storage.remove_a_version_as_machine()
    storage.bring_back()
    assert set(storage.objects()) >= set(names)
    said = host.run("atlasctl drill --repository bucket")
    assert said.succeeded, said.stdout


def test_a_key_that_can_only_add_backs_up_and_what_is_old_goes_by_another(host, saved, storage):
    """As docs/backup.md has it for storage without versions: the policy and the command are read there."""
    assert saved["ok"]
    settings = "/etc/atlas-backup/settings.json"
    host.check_output(f"cp -p {settings} /run/settings")
    (bucket,) = (
        one
        for one in json.loads(host.file(settings).content_string)["repositories"]
        if one["name"] == "bucket"
    )
    storage.give(host, storage.adder)
    host.check_output(f"python3 -c '{PRUNE_NOTHING}' {settings}")
    try:
        for number in range(2):
            host.check_output(f"atlas note 'Added by the key that adds, {number}'; {LONG_AGO}")
            said = host.run("atlasctl backup --repository bucket")
            assert said.succeeded, said.stdout
        with pytest.raises(ClientError, match="AccessDenied"):
            storage.remove_as(storage.adder, next(name for name in storage.objects() if "data/" in name))
        assert not [name for name in storage.objects() if "locks/" in name]
        owner = " ".join(f"{name}={value}" for name, value in zip(KEY, storage.owner, strict=True))
        restic = f"{owner} restic -r {bucket['url']} --password-file /etc/atlas-backup/password"
        before = host.check_output(f"{restic} snapshots --json --tag atlas").count('"short_id"')
        (forget,) = re.findall(r"^    restic (forget --tag atlas.*)$", DOCUMENT, re.MULTILINE)
        host.check_output(f"{restic} {forget}")
        after = host.check_output(f"{restic} snapshots --json --tag atlas").count('"short_id"')
        assert before >= 2
        assert after == 1, "of this day the last"
        assert host.run("atlasctl drill --repository bucket").succeeded
    finally:
        host.check_output(f"mv /run/settings {settings}")


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("saved")
def test_a_new_machine_is_as_the_old_one_was(host, storage, scenario_directory, play, eventually):
    """The old one is destroyed with its disk; the new one is of the next Debian, with a newer PostgreSQL."""
    token = host.check_output("atlas token create of-before")
    before, files = rows(host), originals(host)
    host.check_output("atlasctl backup")
    certificate = host.check_output("sha256sum /etc/atlas/certificate/ca.pem")
    storage.shut()
    machine = another(scenario_directory, "trixie")
    done = play()
    assert done.succeeded, done.output[-3000:]
    machine.check_output(A_WAY)
    storage.admit(machine)
    seconds = machine.check_output("date +%s")
    said = machine.run("atlasctl restore --yes")
    assert said.succeeded, said.stderr + said.stdout
    print(f"Restored in {int(machine.check_output('date +%s')) - int(seconds)} s")
    after = rows(machine)
    assert {table: after[table] for table in MISSED} == {table: before[table] for table in MISSED}
    assert originals(machine) == files
    assert machine.check_output("sha256sum /etc/atlas/certificate/ca.pem") == certificate
    headers = {"Authorization": f"Bearer {token.split()[-1]}"}
    request = f"urllib.request.Request('http://127.0.0.1:7444/api/items', headers={headers})"
    asked = f"import urllib.request; print(urllib.request.urlopen({request}).status)"
    eventually(lambda: machine.run("python3 -c %s", asked).stdout == "200\n")
