"""What is backed up comes back."""

import json

import pytest


@pytest.fixture(scope="module")
def saved(host, storage, birds):
    """A library with something in it, backed up."""
    for name in ("heron", "egret", "stork"):
        host.check_output(f"atlas add {birds}/{name}.html")
    host.check_output("atlas note 'A note that must not be lost'")
    host.check_output(
        "for i in $(seq 60); do atlas status --json | grep -q '\"readable\": 4' && exit; sleep 1; done"
    )
    storage.asked.clear()
    return json.loads(host.check_output("atlasctl backup --json"))


def test_a_backup_is_in_every_repository(host, saved, storage):
    assert saved["ok"], saved
    assert set(saved["repositories"]) == {"local", "bucket"}
    listed = json.loads(host.check_output("atlasctl backup list --json"))
    assert {one["repository"] for one in listed} == {"local", "bucket"}
    assert len({one["time"] for one in listed}) == 1
    assert any(name.startswith("data/") for name in storage.objects())
    print(f"Requests of the first backup: {dict(storage.asked)}")


@pytest.mark.usefixtures("saved")
def test_an_unproven_backup_is_told_and_a_proven_one_too(host):
    assert "not tried yet" in host.check_output("atlasctl backup check")
    assert host.run("atlasctl drill").succeeded
    assert host.check_output("atlasctl backup check").count("proven") == 2
