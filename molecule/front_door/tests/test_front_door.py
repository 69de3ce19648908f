"""The whole machine, attacked from a container beside it, and restarted; its owner notices none of it.

Ways in without credentials, smuggled requests and reloads without a lost request are the scenario nginx's:
there, too, the real app stands behind the real nginx.
"""

import base64
import time
from pathlib import Path

import engine
import machine
import pytest
import yaml
from library import Library, answers
from outsider import SCAN
from visiting import OURS, PAGE, csrf_of, log_in
from world import NAME, OUTSIDER

ROOT = Path(__file__).resolve().parents[3]
LISTED = yaml.safe_load((ROOT / "group_vars/all/network.yml").read_text())["atlas_open_ports"]
TCP = {line["port"]: "open" for line in LISTED if line["protocol"] == "tcp"}
UDP = {line["port"] for line in LISTED if line["protocol"] == "udp"}
MAIN_UDP = [53, 67, 68, 69, 111, 123, 137, 138, 161, 162, 323, 443, 500, 514, 520, 623, 1194, 1701, 1900,
            3478, 4500, 5060, 5353, 5355, 11211, 51820]  # fmt: skip
FORGET = (
    "python3 -c \"import sqlite3; c = sqlite3.connect('/var/lib/atlas/atlas.db', 30);"
    " c.execute('delete from login_failures'); c.commit()\""
)
METRICS = "/var/lib/prometheus/node-exporter/atlas_fail2ban.prom"
# How many of the wrong passwords each door may look at, and the jail that counts them.
DOORS = {"app": (5, "atlas-login"), "nginx": (199, "atlas-password")}
# How many nginx lets come at once; at the app's door whoever guesses on is always throttled.
FREE = {"app": 0, "nginx": 120}
PATIENCE = 1.0  # what the owner waits for a page, in seconds
UNITS = (
    "atlas-firewall",
    "ssh",
    "fail2ban",
    "nginx",
    "atlas-api",
    "atlas-worker",
    "atlas-health.timer",
    "atlas-fail2ban.timer",
)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("version", [4, 6])
def test_of_all_ports_those_listed_answer_and_no_other(outsider, version):
    address = outsider.address(version)
    if not address:
        pytest.skip("the engine's network has no IPv6")
    assert outsider.scan(address) == TCP
    assert set(outsider.scan_udp(address, MAIN_UDP)) <= UDP


@pytest.fixture
def guesses(web, login):
    """What a stranger sends who guesses: at nginx's door, and, as if he knew that password, at the app's."""
    page = web.get("/login", headers=PAGE, auth=login)
    known = {
        **OURS,
        "Authorization": basic(*login),
        "Cookie": "; ".join(f"{name}={value}" for name, value in web.cookies.items()),
        "Content-Type": "application/x-www-form-urlencoded",
    }
    form = f"csrf={csrf_of(page)}&name=owner&password=wrong"
    web.cookies.clear()
    return {
        "app": {"path": "/login", "method": "POST", "headers": known, "body": form},
        "nginx": {"path": "/status/", "headers": {"Authorization": basic("owner", "wrong")}},
    }


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


class Bans:
    """Who is banned, as fail2ban and the metrics say."""

    def __init__(self, host, eventually) -> None:
        self.host, self.eventually = host, eventually

    def tell(self, words: str) -> str:
        """Ask fail2ban; its 255 would be a lost machine."""
        with self.host.sudo():
            return self.host.check_output(f"fail2ban-client {words} || exit 1")

    def counted(self, jail: str) -> int:
        """Return how many are banned, as Prometheus will read it; a timer writes it every minute."""
        with self.host.sudo():
            self.host.check_output("systemctl start atlas-fail2ban.service")
        line = f'atlas_fail2ban_banned{{jail="{jail}"}} '
        return int(self.host.file(METRICS).content_string.partition(line)[2].split()[0])

    def forget(self) -> None:
        """Let nobody have failed, and nobody be banned."""
        with self.host.sudo():
            self.host.check_output(FORGET)
        self.tell("unban --all")


@pytest.fixture
def bans(host, eventually):
    """Without any: before, as a test may run again, and after."""
    found = Bans(host, eventually)
    found.forget()
    yield found
    found.forget()


def pages_are_shut(outsider):
    """Say whether the outsider sees nothing of the machine but SSH."""
    return outsider.scan(outsider.address(), SCAN, "1", "1024") == {22: "open"}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("door", DOORS)
def test_a_thousand_wrong_passwords_are_throttled_then_banned_and_the_owner_works_on(
    outsider, guesses, owner, bans, door
):
    most, jail = DOORS[door]
    guesser = outsider.address(container=OUTSIDER)
    with owner:
        seen = outsider.ask(**guesses[door], times=1000, patience=5)
        bans.eventually(lambda: pages_are_shut(outsider))
    statuses = [one["status"] for one in seen]
    print(door, {status: statuses.count(status) for status in set(statuses)})
    assert set(statuses) <= {401, 429, 0}
    # 0: banned, and not answered any more. Where the machine is slow that may be before he has tried so many
    # that nginx throttles him; whoever has tried more was throttled.
    assert 429 in statuses or (statuses[-1] == 0 and statuses.count(401) <= FREE[door])
    assert statuses.count(401) <= most
    assert owner.waited() < PATIENCE
    assert bans.tell(f"get {jail} banip").split() == [guesser]
    assert bans.counted(jail) == 1
    owner.web.cookies.clear()
    log_in(owner.web, owner.login)  # at his address nobody has counted anything
    assert owner.web.get("/add", headers=PAGE).status_code == 200
    bans.tell(f"unban {guesser}")
    assert [one["status"] for one in outsider.ask("/status/public.html", patience=5)] == [200]
    assert bans.counted(jail) == 0


@pytest.mark.timeout(240)
def test_slow_ones_and_a_flood_at_once(outsider, owner):
    with (
        outsider.crowd("slowloris", connections=500, seconds=20) as slow,
        outsider.crowd("flood", path="/", connections=20, seconds=12) as flood,
        owner,
    ):
        while flood["running"]():
            time.sleep(0.5)
    print(slow["result"], flood["result"])
    assert slow["result"].get("held", 0) == 0
    assert sum(slow["result"].values()) == 500
    assert flood["result"]["429"] > 500
    assert owner.waited() < PATIENCE


@pytest.mark.timeout(240)
def test_a_restart_of_nginx_under_load_costs_no_more_than_its_moment(host, outsider, owner):
    """Of what is on its way none is lost; only who knocks in that moment finds the door shut."""
    token = host.check_output("atlas token create visitor --scope read")
    asked = {
        "path": "/api/items?limit=1",
        "headers": {"Authorization": f"Bearer {token}"},
        "connections": 4,
        "times": 1500,
        "pause": 0.03,
    }
    with outsider.crowd("load", **asked) as ended:
        for _ in range(2):
            time.sleep(2)
            host.check_output("systemctl restart nginx")
    result = ended["result"]
    print("restart of nginx:", result)
    lost = sum(result["failures"].values())
    assert set(result["statuses"]) == {"200"}
    assert sum(result["statuses"].values()) + lost == 1500
    assert lost < 600
    assert owner.web.get("/add", headers=PAGE).status_code == 200


@pytest.mark.timeout(300)
def test_all_is_there_again_after_a_restart_of_the_machine(host, outsider, web, login, bans):
    log_in(web, login)
    library = Library(web, host.check_output("atlas token create front"))
    number = web.post("/api/notes", json={"title": "A note", "text": "Ibis"}).json()["id"]
    before = library.item(number)
    guesser = outsider.address(container=OUTSIDER)
    bans.tell(f"set atlas-password banip {guesser}")
    del web.headers["Authorization"]
    booted = host.check_output("systemctl show --value --property=UserspaceTimestampMonotonic")
    container_engine = engine.require()
    ports = machine.published(container_engine, NAME)
    began = time.monotonic()
    container_engine.run("restart", "--time=20", NAME)
    assert machine.published(container_engine, NAME) == ports
    bans.eventually(lambda: answers(web), 90)
    print(f"ready again after {time.monotonic() - began:.1f} s")
    machine.wait_for_boot(container_engine, NAME)
    assert host.check_output("systemctl show --value --property=UserspaceTimestampMonotonic") != booted
    for unit in UNITS:
        assert host.service(unit).is_running, unit
    assert host.check_output("/usr/local/lib/atlas/firewall check; echo $?").endswith("0")
    # Who is banned still is, of the rest no more is open than before.
    assert pages_are_shut(outsider)
    bans.tell(f"unban {guesser}")
    assert outsider.scan(outsider.address()) == TCP
    # Who was logged in still is, and what was kept is there.
    assert web.get("/add", headers=PAGE).status_code == 200
    assert web.get(f"/api/items/{number}").json()["title"] == before["title"]
