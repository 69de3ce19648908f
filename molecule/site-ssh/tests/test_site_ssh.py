import time

import pytest
from library import Library


def test_whoever_logs_in_is_not_root(host):
    assert host.check_output("id -un") == "debian"


def test_a_page_is_saved_read_and_found(host, web, birds):
    library = Library(web, host.check_output("sudo atlas token create test"))
    item = library.read(f"{birds}/kingfisher.html")
    assert item["stage"] == 590, item["error"]
    assert [hit["id"] for hit in library.search("kingfisher")] == [item["id"]]


def test_nobody_watches_where_nobody_is_to(host):
    assert not host.package("prometheus").is_installed
    assert not host.package("prometheus-node-exporter").is_installed
    assert not host.file("/etc/nginx/atlas.d/prometheus.conf").exists


def test_the_embedded_database_needs_no_server(host):
    assert host.run("sudo test -s /var/lib/atlas/atlas.db").succeeded
    assert not host.package("postgresql").is_installed


@pytest.mark.timeout(300)
def test_the_embedded_database_is_backed_up_and_proven_by_the_units(host):
    """They may do little, and SQLite writes also where it only reads."""
    for unit in ("atlas-backup", "atlas-drill"):
        done = host.run(f"sudo systemctl start {unit}")
        assert done.succeeded, host.check_output(f"sudo journalctl --unit={unit} --output=cat --lines=30")
    said = host.run("sudo atlasctl backup check")
    assert said.succeeded, said.stdout
    assert said.stdout.startswith("local "), said.stdout
    assert said.stdout.count("proven") == 1


@pytest.mark.timeout(300)
def test_what_was_deleted_a_moment_ago_is_back_as_it_was_a_second_before(host, web, birds, eventually):
    """Of the embedded database there is no archive, but a snapshot every few minutes, by its own unit."""
    assert host.run("systemctl is-active atlas-snapshot.timer").succeeded
    library = Library(web, host.check_output("sudo atlas token create moments"))
    number = library.read(f"{birds}/heron.html")["id"]
    began = time.monotonic()
    done = host.run("sudo systemctl start atlas-snapshot")
    assert done.succeeded, host.check_output("sudo journalctl --unit=atlas-snapshot --output=cat --lines=30")
    print(f"A snapshot took {time.monotonic() - began:.1f} seconds")
    moment = host.check_output("sleep 2; date -u +%Y-%m-%dT%H:%M:%SZ; sleep 1")
    assert library.client.delete(f"/api/items/{number}").status_code == 204
    host.check_output("sudo systemctl start atlas-snapshot")
    assert library.client.get(f"/api/items/{number}").status_code == 404
    restored = host.run(f"sudo atlasctl restore --at {moment} --yes")
    assert restored.succeeded, restored.stderr
    print(restored.stdout)
    assert f"the newest there is up to {moment}" in restored.stdout
    eventually(lambda: library.client.get(f"/api/items/{number}").status_code == 200, seconds=60)
    assert [hit["id"] for hit in library.search("heron")] == [number]
    assert host.run("sudo atlasctl backup check").succeeded


def test_a_snapshot_waits_for_nobody(host):
    """It is passed over while something else is at work, and nobody is told of a failure."""
    lock = "sudo flock /var/lib/atlas-backup/lock"
    began = time.monotonic()
    assert host.run(f"{lock} systemctl start atlas-snapshot").succeeded
    assert time.monotonic() - began < 20
    assert host.run("systemctl is-failed atlas-snapshot").stdout.strip() == "inactive"


@pytest.mark.timeout(120)
def test_it_is_well(host, eventually):
    eventually(lambda: host.run("sudo atlasctl health").rc == 0, seconds=100)
