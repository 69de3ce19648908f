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


@pytest.mark.timeout(120)
def test_it_is_well(host, eventually):
    eventually(lambda: host.run("sudo atlasctl health").rc == 0, seconds=100)
