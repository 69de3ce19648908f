"""Oracle's own rules stay, ours come before its REJECT; who gets in, seen from outside."""

import functools
import json
import subprocess
from pathlib import Path

import engine
import machine
import pytest
from outsider import MACHINE, outsider

NAME = "atlas-test-firewall-oracle"
IMAGE = (Path(__file__).parents[1] / "rules.v4").read_text().splitlines()


@pytest.fixture(scope="module")
def play(play):
    """Play the role without the base under it."""
    return functools.partial(play, "--skip-tags=base")


def others(text):
    """All rules that are not about what comes in."""
    return [line for line in text.splitlines() if line.startswith("-") and "INPUT" not in line]


@pytest.fixture
def stranger(host):
    host.check_output("systemd-run --quiet --collect --unit=server python3 -m http.server 443")
    host.check_output("systemd-run --quiet --collect --unit=hidden python3 -m http.server 8080")
    with outsider(host) as somebody:
        yield somebody
    host.run("systemctl stop server hidden")


def test_the_image_kept_its_words(host):
    file = host.file("/etc/iptables/rules.v4").content_string
    assert others(file) == others("\n".join(IMAGE))
    assert [line for line in file.splitlines() if line.startswith(":")] == [
        line for line in IMAGE if line.startswith(":")
    ]
    live = host.check_output("iptables -S")
    assert live.count("-A InstanceServices") == sum(line.startswith("-A InstanceServices") for line in IMAGE)
    assert "-A OUTPUT -d 169.254.0.0/16 -j InstanceServices" in live
    assert "-A FORWARD -j REJECT --reject-with icmp-host-prohibited" in live


def test_what_is_listed_comes_in_and_nothing_else(stranger):
    """Oracle's REJECT says no by ICMP, a few times a second: silence and a refusal are the same here."""
    for version in (4, 6):
        seen = {port: stranger.scan(MACHINE[version], port, port) for port in (22, 25, 123, 443, 8080)}
        listening = [port for port, answer in seen.items() if answer == {port: "open"}]
        # The server speaks IPv4 alone; what it is asked over IPv6 comes through all the same.
        assert listening == ([22, 443] if version == 4 else [22])
    assert stranger.scan(MACHINE[6], 443, 443) == {443: "refused"}


def test_a_source_port_opens_nothing(host, stranger):
    """The image lets in whatever says it comes from port 123."""
    ask = (
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 123));"
        f"s.sendto(b'time?', ('{MACHINE[4]}', 9999))"
    )
    listen = (
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 9999));"
        "s.settimeout(3); print(s.recv(9))"
    )
    host.check_output("systemd-run --quiet --unit=ntp --property=RemainAfterExit=yes python3 -c %s", listen)
    stranger.python(ask)
    host.check_output("sleep 3; systemctl stop ntp; systemctl reset-failed ntp; true")
    assert "time?" not in host.check_output("journalctl --unit=ntp --output=cat --no-pager")


def test_chains_of_others_are_left_alone(host):
    host.check_output("iptables -N DOCKER; iptables -A FORWARD -j DOCKER; iptables -A DOCKER -j RETURN")
    host.check_output("systemctl reload atlas-firewall; systemctl restart atlas-firewall")
    assert "-A DOCKER -j RETURN" in host.check_output("iptables -S DOCKER")
    assert host.run("/usr/local/lib/atlas/firewall check").rc == 0
    host.check_output("iptables -D FORWARD -j DOCKER; iptables -F DOCKER; iptables -X DOCKER")


def test_a_rule_slipped_in_is_noticed_and_healed(host, play):
    host.check_output("iptables -I INPUT -p tcp --dport 8080 -j ACCEPT")
    assert host.run("/usr/local/lib/atlas/firewall check").rc == 2
    healed = play()
    assert healed.changes == {"firewall : Install the rules, and keep them if a new connection gets in": []}
    assert "8080" not in host.check_output("iptables -S")


@pytest.mark.timeout(200)
def test_who_locks_himself_out_has_the_old_rules_back(host, play):
    before = host.check_output("iptables -S; ip6tables -S")
    file = host.check_output("cat /etc/iptables/rules.*")
    locked = {"ssh_allowed_cidrs": ["203.0.113.9/32"], "firewall_trial_seconds": 20}
    refused = play("--extra-vars", json.dumps(locked))
    assert not refused.succeeded
    assert "everything was put back as it was" in refused.output
    assert host.check_output("iptables -S; ip6tables -S") == before
    assert host.check_output("cat /etc/iptables/rules.*") == file


def test_nothing_is_taken_away_when_the_unit_stops(host):
    before = host.check_output("iptables -S; ip6tables -S")
    host.check_output("systemctl stop atlas-firewall")
    assert host.check_output("iptables -S; ip6tables -S") == before
    host.check_output("systemctl start atlas-firewall")
    assert host.check_output("iptables -S; ip6tables -S") == before


@pytest.mark.timeout(200)
def test_it_outlives_a_restart(host, eventually):
    before = host.check_output("iptables -S; ip6tables -S")
    container_engine = engine.require()
    container_engine.run("restart", "--time=5", NAME)
    machine.wait_for_boot(container_engine, NAME)
    eventually(lambda: host.run("true").rc == 0)
    assert host.check_output("iptables -S; ip6tables -S") == before
    assert (
        subprocess.run(
            [container_engine.name, "exec", NAME, "/usr/local/lib/atlas/firewall", "check"],
            env=container_engine.environment,
            check=False,
        ).returncode
        == 0
    )
