"""Who gets in, seen from outside; and that no mistake in the list of ports locks its author out."""

import functools
import json
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor

import engine
import machine
import pytest
from outsider import MACHINE, STRANGERS, outsider

NAME = "atlas-test-firewall"
LISTED = {22, 80, 443}
TRIAL = "/var/lib/install_tree/firewall/trial.json"
# Answers on every port it is given, and says who asks.
SERVER = r"""
import selectors, socket, sys
ready = selectors.DefaultSelector()
for port in map(int, sys.argv[1:]):
    s = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    ready.register(s, selectors.EVENT_READ)
print("listening", flush=True)
while True:
    for key, _ in ready.select():
        connection, address = key.fileobj.accept()
        connection.sendall(b"hello")
        connection.close()
"""


@pytest.fixture(scope="module")
def play(play):
    """Play the role without the base under it."""
    return functools.partial(play, "--skip-tags=base")


@pytest.fixture(scope="module", autouse=True)
def servers(host):
    """Something behind each listed port, and behind some that are not listed."""
    host.check_output("printf %s > /run/servers.py", SERVER)
    ports = "80 443 5432 8000 9000"
    host.check_output(f"systemd-run --quiet --collect --unit=servers python3 /run/servers.py {ports}")
    yield
    host.run("systemctl stop servers")


@pytest.fixture
def stranger(host):
    with outsider(host) as somebody:
        yield somebody


def rules(host):
    return host.check_output("nft --stateless list table inet atlas")


@pytest.mark.parametrize("version", [4, 6])
def test_of_all_tcp_ports_only_those_listed_answer(stranger, version):
    assert stranger.scan(MACHINE[version]) == dict.fromkeys(LISTED, "open")


def test_the_scan_would_see_what_is_open(host, stranger):
    host.check_output("/usr/local/lib/atlas/firewall remove")
    try:
        seen = stranger.scan(MACHINE[4], 5400, 8100)
        assert {port for port, answer in seen.items() if answer == "open"} == {5432, 8000}
        assert len(seen) == 8100 - 5400 + 1
        assert stranger.scan_udp(MACHINE[4], [53, 161]) == {53: "refused", 161: "refused"}
    finally:
        host.check_output("systemctl reload atlas-firewall")


# Asks for a connection some hundred times a second, by each kind of address, until its standard input ends.
# Says how often it asked, and how often it got one.
KNOCKS = """
import selectors, socket, sys, time
ready, asked, opened, waiting = selectors.DefaultSelector(), 0, 0, []
ready.register(sys.stdin, selectors.EVENT_READ)
print("knocking", flush=True)
while True:
    for address in sys.argv[2:]:
        s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        s.setblocking(False)
        s.connect_ex((address, int(sys.argv[1])))
        ready.register(s, selectors.EVENT_WRITE)
        waiting.append(s)
        asked += 1
    for key, _ in ready.select(0.003):
        if key.fileobj is sys.stdin:
            print(asked, opened)
            sys.exit()
        opened += key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        ready.unregister(key.fileobj)
    while len(waiting) > 400:
        if (oldest := waiting.pop(0)) in ready.get_map():
            ready.unregister(oldest)
        oldest.close()
"""


def knocks(host, stranger, port, command):
    """Return how often a stranger asked for a connection while a command ran, and how often he got one."""
    host.check_output("rm -f /run/knocks; mkfifo /run/knocks")
    with ThreadPoolExecutor(1) as beside:
        running = beside.submit(
            stranger.run,
            f"python3 -c '{KNOCKS}' {port} {MACHINE[4]} {MACHINE[6]} < /run/knocks",
        )
        host.check_output(f"exec 3> /run/knocks; sleep 0.5; {command}; sleep 0.5")
        asked, opened = map(int, running.result().stdout.split()[1:])
    return asked, opened


@pytest.mark.parametrize("verb", ["restart", "reload", "stop"])
def test_a_shut_port_stays_shut_while_the_rules_are_loaded_anew(host, stranger, verb):
    once = f"systemctl {verb} atlas-firewall && systemctl reset-failed atlas-firewall"
    many = f"for i in $(seq 20); do {once} || exit 1; done"
    # At a port that no other test opens: the kernel would go on with connections it has seen.
    asked, opened = knocks(host, stranger, 9000, many)
    host.check_output("systemctl start atlas-firewall")
    assert asked > 200
    assert opened == 0
    assert host.run("/usr/local/lib/atlas/firewall check").rc == 0


def test_the_knocking_would_hear_an_open_port(host, stranger):
    for port, command in ((80, "true"), (5432, "/usr/local/lib/atlas/firewall remove")):
        asked, opened = knocks(host, stranger, port, command)
        host.check_output("systemctl reload atlas-firewall")
        assert 0 < opened <= asked


@pytest.mark.parametrize("version", [4, 6])
def test_udp_says_nothing(stranger, version):
    ports = [53, 67, 69, 111, 123, 137, 161, 443, 500, 514, 1194, 1900, 4500, 5353, 11211, 51820]
    assert stranger.scan_udp(MACHINE[version], ports) == {}


@pytest.mark.parametrize("version", [4, 6])
def test_what_ip_needs_comes_in(host, stranger, version):
    """IPv6 finds its neighbours by ICMP, after all it knew was forgotten on both sides."""
    host.check_output("ip neigh flush dev outside; ip -n outsider neigh flush dev eth0")
    assert stranger.run(f"ping -c 2 -i 0.2 -W 2 {MACHINE[version]}").rc == 0


@pytest.mark.usefixtures("stranger")
@pytest.mark.parametrize("version", [4, 6])
def test_a_connection_hears_of_packets_that_are_too_large(host, version):
    """A narrow road behind the next router: its word must reach the kernel, or the connection hangs."""
    far = {4: "198.51.100.1", 6: "2001:db8:2::1"}[version]
    next_router = STRANGERS[version][0]
    host.check_output("ip netns add far")
    commands = f"""
ip -n outsider link add narrow type veth peer name eth0 netns far
ip -n outsider link set narrow mtu 1300 up
ip -n far link set eth0 mtu 1300 up
ip -n outsider addr add {"198.51.100.2/24" if version == 4 else "2001:db8:2::2/64 nodad"} dev narrow
ip -n far addr add {far}{"/24" if version == 4 else "/64 nodad"} dev eth0
ip -n far route add default via {"198.51.100.2" if version == 4 else "2001:db8:2::2"}
ip netns exec outsider sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
ip route add {far} via {next_router}
"""
    try:
        for command in commands.strip().splitlines():
            host.check_output(command)
        host.run(f"ping -M do -s 1400 -c 2 -i 0.2 -W 1 {far}")
        assert "mtu 1300" in host.check_output(f"ip route get {far}")
    finally:
        host.run(f"ip route delete {far}; ip netns delete far")


def test_published_ports_go_on_working(port):
    for inside in (80, 443):
        with socket.create_connection(("127.0.0.1", port(inside)), timeout=5) as connection:
            assert connection.recv(10) == b"hello"


def test_tables_of_others_are_left_alone(host):
    host.check_output("nft add table inet others")
    host.check_output("systemctl reload atlas-firewall; systemctl restart atlas-firewall")
    assert "table inet others" in host.check_output("nft list tables")
    host.check_output("nft delete table inet others")


def test_whoever_flushes_everything_gets_the_rules_back(host):
    """Debian's own nftables.service begins with that."""
    before = rules(host)
    host.check_output("systemctl start nftables")
    assert host.run("/usr/local/lib/atlas/firewall check").rc == 2
    host.check_output("systemctl restart nftables")
    assert rules(host) == before
    host.check_output("systemctl reload nftables")
    assert rules(host) == before
    host.check_output("systemctl stop nftables; systemctl start atlas-firewall")


def test_a_rule_slipped_in_is_noticed_and_healed(host, play):
    before = rules(host)
    assert host.run("/usr/local/lib/atlas/firewall check").rc == 0
    host.check_output("nft insert rule inet atlas input tcp dport 5432 accept")
    found = host.run("/usr/local/lib/atlas/firewall check")
    assert (found.rc, "not those of" in found.stdout) == (2, True)
    healed = play()
    assert healed.succeeded, healed.output
    assert healed.changes == {"firewall : Install the rules, and keep them if a new connection gets in": []}
    assert rules(host) == before


def test_a_port_for_one_network_only(play, stranger):
    ports = [
        {"port": 22, "protocol": "tcp", "purpose": "SSH"},
        {"port": 8000, "protocol": "tcp", "purpose": "inside", "sources": ["192.0.2.2/32", "2001:db8:1::3"]},
    ]
    assert play("--extra-vars", json.dumps({"atlas_open_ports": ports})).succeeded
    try:
        assert [stranger.greeted(8000, source) for source in STRANGERS[4][:2]] == [True, False]
        assert [stranger.greeted(8000, source) for source in STRANGERS[6][:2]] == [False, True]
        assert stranger.scan(MACHINE[4], 80, 443) == {}
    finally:
        assert play().succeeded


@pytest.mark.timeout(200)
def test_who_locks_himself_out_has_the_old_rules_back_within_a_minute(host, play):
    before, file = rules(host), host.check_output("sha256sum /etc/atlas/firewall.nft")
    refused = play("--extra-vars", json.dumps({"ssh_allowed_cidrs": ["203.0.113.9/32"]}))
    assert not refused.succeeded
    assert "everything was put back as it was" in refused.output
    assert "ssh_allowed_cidrs" in refused.output
    told = "journalctl --unit=trial-firewall.timer --unit=trial-firewall.service --output=short-unix --quiet"
    lines = host.check_output(f"{told} --no-pager | grep Started | tail -n 2").splitlines()
    began, ended = (float(line.split()[0]) for line in lines)
    assert 40 < ended - began < 60
    assert rules(host) == before
    assert host.check_output("sha256sum /etc/atlas/firewall.nft") == file
    assert not host.file(TRIAL).exists
    assert host.check_output("systemctl list-units --all --plain --no-legend 'trial-*'") == ""
    assert play().changes == {}


@pytest.mark.timeout(300)
def test_a_restart_in_the_middle_of_a_trial_takes_it_back_too(host, play, eventually):
    """And the rules are in force again before anybody could come in."""
    before = rules(host)
    locked = {"ssh_allowed_cidrs": ["203.0.113.9/32"], "firewall_trial_seconds": 60}
    with ThreadPoolExecutor(1) as beside:
        trial = beside.submit(play, "--extra-vars", json.dumps(locked))
        eventually(lambda: "203.0.113.9" in inside("nft list table inet atlas"), seconds=60)
        container_engine = engine.require()
        container_engine.run("restart", "--time=5", NAME)
        machine.wait_for_boot(container_engine, NAME)
        assert inside("nft --stateless list table inet atlas").strip() == before
        assert not trial.result().succeeded
    assert "203.0.113.9" not in host.file("/etc/atlas/firewall.nft").content_string
    assert not host.file("/etc/systemd/system/trial-firewall-boot.service").exists
    started = "systemctl show --value --property=ActiveEnterTimestampMonotonic"
    firewall, network = (int(host.check_output(f"{started} {unit}")) for unit in ("atlas-firewall", "ssh"))
    assert 0 < firewall < network
    assert play().changes == {}


def inside(command):
    """Ask the machine past its network."""
    container_engine = engine.require()
    return subprocess.run(
        [container_engine.name, "exec", NAME, *command.split()],
        env=container_engine.environment,
        capture_output=True,
        text=True,
        check=False,
    ).stdout


def test_a_second_firewall_is_refused_with_a_sentence(host, play):
    host.check_output("mkdir -p /etc/ufw && echo ENABLED=yes > /etc/ufw/ufw.conf")
    try:
        refused = play()
    finally:
        host.check_output("rm -r /etc/ufw")
    assert not refused.succeeded
    assert "ufw disable" in refused.output
