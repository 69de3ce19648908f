import pytest
from library import Library, answers

UNITS = ("atlas-api.service", "atlas-worker.service")


@pytest.fixture
def library(host, tunnel, eventually):
    eventually(lambda: answers(tunnel))
    return Library(tunnel, host.check_output("atlas token create test"))


def test_a_page_is_saved_read_and_found(library, birds):
    item = library.read(f"{birds}/heron.html")
    assert (item["stage"], item["title"]) == (590, "On the heron"), item["error"]
    assert "The heron stood in the water" in item["text"]
    assert [hit["id"] for hit in library.search("heron")] == [item["id"]]


def test_the_command_does_the_same(host, birds, eventually):
    host.check_output(f"atlas add {birds}/bittern.html")
    eventually(lambda: "On the bittern" in host.check_output("atlas search bittern"))


def test_a_killed_worker_comes_back_and_loses_nothing(host, library, birds):
    numbers = [
        library.add(f"{birds}/{name}.html") for name in ("stork", "crane", "ibis", "spoonbill", "flamingo")
    ]
    host.check_output("systemctl kill --signal=KILL atlas-worker.service")
    assert {item["stage"] for item in library.ended(numbers, seconds=90)} == {590}


@pytest.mark.parametrize("path", ["/metadata", "/redirect/302/http%3A%2F%2F192.168.0.1%2F"])
def test_addresses_that_are_not_for_it_are_refused_with_a_reason(library, birds, path):
    item = library.read(f"{birds}{path}")
    assert item["stage"] == 777
    assert item["error"]["code"] == "forbidden_address"


def test_secrets_are_in_no_process_and_no_open_file(host):
    # The pattern comes from the file: as an argument, grep would find itself.
    secret = "/etc/atlas/secrets/owner_password"
    assert host.run(f"grep -alFf {secret} /proc/[0-9]*/environ /proc/[0-9]*/cmdline").stdout == ""
    assert host.file("/etc/atlas/secrets/owner_password").mode == 0o640
    assert host.run("runuser -u nobody -- cat /etc/atlas/secrets/owner_password").failed


@pytest.mark.parametrize("unit", UNITS)
def test_units_are_sandboxed(host, unit):
    verdict = host.check_output(f"systemd-analyze security --no-pager {unit} | tail -n 1")
    exposure = float(verdict.split(":")[1].split()[0])
    assert exposure <= 3, verdict


@pytest.mark.parametrize("unit", UNITS)
def test_units_start_with_the_machine(host, unit):
    assert host.service(unit).is_enabled


def test_its_user_cannot_log_in(host):
    assert host.user("atlas").shell == "/usr/sbin/nologin"


def test_the_release_belongs_to_root_and_is_compiled(host):
    assert host.run("find -L /opt/atlas/current ! -user root | grep .").failed
    assert host.file("/opt/atlas/current/FINISHED").exists
    compiled = host.check_output("find -L /opt/atlas/current/app -name '*.pyc' | wc -l")
    assert int(compiled) > 20


def test_the_worker_asks_the_feeds(host, library, birds, eventually):
    host.check_output(f"atlas feed add {birds}/feed.xml")
    eventually(lambda: library.search("dipper"), seconds=60)


def test_the_timer_of_earlier_releases_is_gone(host):
    assert not host.service("atlas-scheduler.timer").is_running
    assert host.run("find /etc -name '*scheduler*' | grep .").failed
