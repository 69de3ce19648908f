"""The whole machine, judged: lynis, systemd on our units, and what listens to the world."""

import ipaddress
import re
import tomllib
from pathlib import Path

import pytest
import yaml

SCENARIO = Path(__file__).resolve().parents[1]
LEAST_INDEX = 80
MOST_EXPOSED = 3.0


@pytest.fixture(scope="module")
def lynis(host):
    """Lynis's report: index and suggestions."""
    if host.system_info.codename != "bookworm":
        pytest.skip("the answers are to the lynis of Debian 12")
    with host.sudo():
        host.check_output("apt-get -qq install --yes --no-install-recommends lynis")
        profile = (SCENARIO / "lynis.prf").read_text()
        host.check_output("printf %s %s > /etc/lynis/custom.prf", "%s", profile)
        host.check_output("lynis audit system --quick --no-colors --quiet")
        report = host.file("/var/log/lynis-report.dat").content_string
        host.check_output("apt-get -qq purge --yes lynis")
    return report


@pytest.mark.timeout(300)
def test_lynis_gives_80_points_or_more(lynis):
    assert int(re.search(r"^hardening_index=(\d+)$", lynis, re.MULTILINE)[1]) >= LEAST_INDEX


def test_what_lynis_suggests_is_done_or_answered(lynis):
    answers = tomllib.loads((SCENARIO / "lynis-waivers.toml").read_text())
    suggested = set(re.findall(r"^(?:suggestion|warning)\[\]=([A-Z0-9-]+)\|", lynis, re.MULTILINE))
    assert suggested - answers.keys() == set(), "neither done nor answered"
    assert answers.keys() - suggested == set(), "answered, and no longer asked"
    assert all(len(reason) > 20 for reason in answers.values())


def test_nobody_has_a_password(host):
    with host.sudo():
        fields = [line.split(":") for line in host.file("/etc/shadow").content_string.splitlines()]
    assert [name for name, password, *_ in fields if not password.startswith(("!", "*"))] == []


def test_our_units_may_do_little(host):
    units = host.check_output("systemctl list-unit-files --no-legend 'atlas*.service'").splitlines()
    names = [line.split()[0] for line in units if "@." not in line]
    assert len(names) >= 5
    for name in names:
        verdict = host.check_output("systemd-analyze security --no-pager %s | tail -n 1", name)
        assert float(verdict.split(":")[1].split()[0]) <= MOST_EXPOSED, verdict


def test_nothing_listens_to_the_world_but_what_is_in_the_list(host):
    listed = yaml.safe_load((SCENARIO.parents[1] / "group_vars/all/network.yml").read_text())
    opened = {(port["protocol"], port["port"]) for port in listed["atlas_open_ports"]}
    listening = set()
    for line in host.check_output("ss -Hltnu").splitlines():
        protocol, _, _, _, local, _ = line.split()
        address, _, port = local.rpartition(":")
        address = address.strip("[]").split("%")[0]
        if address == "*" or not ipaddress.ip_address(address).is_loopback:
            listening.add((protocol, int(port)))
    assert listening == opened
