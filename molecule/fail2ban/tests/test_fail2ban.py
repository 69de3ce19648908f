"""Who guesses is banned, and nobody else: strangers at their own addresses, real lines, and crafted ones."""

import json
from contextlib import contextmanager
from pathlib import Path

import pytest
from outsider import MACHINE, STRANGERS, outsider

GUESSER, OWNER, CRAFTY = STRANGERS[4]
IGNORED = "192.0.2.9"  # converge.yml says so
METRICS = "/var/lib/prometheus/node-exporter/atlas_fail2ban.prom"
CA = "/etc/atlas/certificate/ca.pem"
GUESS = {"path": "/", "basic": ("owner", "wrong")}
# The app, too, counts; it would turn an address away for what another test did.
FORGET = (
    "python3 -c \"import sqlite3; c = sqlite3.connect('/var/lib/atlas/atlas.db', 30);"
    " c.execute('delete from login_failures'); c.commit()\""
)
JAILS = {"sshd", "atlas-password", "atlas-login"}
# Asks one thing after the other over TLS, and says the status of each; 0 where no connection came about.
VISIT = r"""
import base64, http.client, json, re, socket, ssl, sys
wanted = json.loads(sys.argv[1])
context = ssl.create_default_context(cafile="/etc/atlas/certificate/ca.pem")
found, cookie = [], ""
def ask(method, path, body=None, headers={}):
    plain = socket.create_connection((wanted["to"], 443), 2, (wanted["from"], 0))
    plain.settimeout(5)
    with context.wrap_socket(plain, server_hostname="machine") as tls:
        connection = http.client.HTTPConnection("machine", timeout=20)
        connection.sock = tls
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
        return answer.status, text, answer.headers.get_all("Set-Cookie") or []
def basic(pair):
    return {"Authorization": "Basic " + base64.b64encode(":".join(pair).encode()).decode()}
for one in wanted["requests"] * wanted["times"]:
    headers = {**one.get("headers", {}), **(basic(one["basic"]) if "basic" in one else {})}
    try:
        if "form" in one:
            _, page, cookies = ask("GET", "/login", headers={**headers, "Accept": "text/html"})
            csrf = re.search('name="csrf" value="([0-9a-f]+)"', page)[1]
            from urllib.parse import urlencode
            headers |= {
                "Cookie": "; ".join(c.split(";")[0] for c in cookies),
                "Accept": "text/html",
                "Sec-Fetch-Site": "same-origin",
                "Content-Type": "application/x-www-form-urlencoded",
            }
            found.append(ask("POST", "/login", urlencode({"csrf": csrf, **one["form"]}), headers)[0])
        else:
            found.append(ask(one.get("method", "GET"), one["path"], one.get("body"), headers)[0])
    except OSError:
        found.append(0)
        if wanted.get("stop"):
            break
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def password(scenario_directory):
    return Path(scenario_directory, "secrets", "owner_password").read_text().strip()


@pytest.fixture(scope="module")
def street(host):
    with outsider(host) as somebody:
        host.check_output(f"ip -n outsider address add {IGNORED}/24 dev eth0")
        yield somebody


@pytest.fixture
def visit(street):
    """Ask the machine's web server from an address; return the statuses, 0 where there was no connection."""

    def ask(source, *requests, times=1, stop=False):
        to = MACHINE[6 if ":" in source else 4]
        wanted = {"from": source, "to": to, "requests": requests, "times": times, "stop": stop}
        return json.loads(street.python(VISIT, json.dumps(wanted))[0])

    return ask


@pytest.fixture(autouse=True)
def nobody_banned(host, eventually):
    """Begin anew: without bans, or failures that are counted."""
    host.check_output(FORGET)
    # Where it has just been started, it takes a moment until it listens.
    eventually(lambda: host.run("fail2ban-client reload --restart --unban --all || exit 1").rc == 0, 60)
    yield
    eventually(lambda: host.run("fail2ban-client unban --all || exit 1").rc == 0, 60)


def tell(host, words):
    """Ask fail2ban; its 255 would be a lost machine."""
    return host.check_output(f"fail2ban-client {words} || exit 1")


def banned(host, jail):
    """Who is banned; a question mark where nobody answers."""
    said = host.run(f"fail2ban-client get {jail} banip || exit 1")
    return set(said.stdout.split()) if said.rc == 0 else {"?"}


def failures(host, jail):
    """How often each address is found by a jail's filter in the whole journal, as fail2ban-regex tells."""
    said = host.check_output(
        f"fail2ban-regex --out ip systemd-journal /etc/fail2ban/filter.d/{jail}.conf"
    ).split()
    return {address: said.count(address) for address in said}


def test_each_jail_stands(host):
    names = tell(host, "status").split("Jail list:")[1]
    assert set(names.replace(",", " ").split()) == JAILS
    assert host.run("/usr/local/lib/atlas/fail2ban check").rc == 0


@pytest.mark.parametrize("version", [4, 6])
def test_a_thousand_wrong_passwords_for_nginx(host, street, visit, password, version):
    guesser, owner, _ = STRANGERS[version]
    seen = visit(guesser, GUESS, times=1000, stop=True)
    assert seen[-1] == 0, "never banned"
    assert seen.count(401) <= 240
    assert banned(host, "atlas-password") == {guesser}
    right = {"path": "/login", "basic": ("owner", password)}
    assert visit(owner, right) == [200]
    assert street.greeted(22, guesser), "who is banned at the pages may still come by SSH"
    tell(host, f"unban {guesser}")
    assert visit(guesser, right) == [200]


def test_wrong_passwords_for_the_app(host, visit, eventually, password):
    outer = {"basic": ("owner", password)}
    wrong = [{**outer, "form": {"name": f"name {n}", "password": "wrong"}} for n in range(40)]
    seen = visit(GUESSER, *wrong, stop=True)
    eventually(lambda: banned(host, "atlas-login") == {GUESSER})
    assert visit(GUESSER, {"path": "/login", **outer}) == [0]
    right = {**outer, "form": {"name": "owner", "password": password}}
    assert visit(OWNER, right) == [303]
    assert set(seen) <= {0, 200, 401, 403, 422, 429}
    assert not banned(host, "atlas-password"), "nginx's password was right"


def test_one_name_at_speed_is_throttled_then_banned(host, visit, eventually):
    """The app closes the name after five; what nginx turns away is told of one in twenty."""
    body = "Email=owner&Passwd=wrong"
    head = {"Content-Type": "application/x-www-form-urlencoded"}
    path = "/api/greader/accounts/ClientLogin"
    one = {"method": "POST", "path": path, "body": body, "headers": head}
    seen = visit(GUESSER, one, times=1000, stop=True)
    assert 429 in seen
    eventually(lambda: banned(host, "atlas-login") == {GUESSER})
    assert seen.count(401) + seen.count(403) <= 10


def test_programs_with_an_old_token_are_not_meant(host, visit):
    old = {"Authorization": "Bearer atl_" + "x" * 40}
    reader = {"Authorization": "GoogleLogin auth=atl_" + "x" * 40}
    requests = [
        {"path": "/api/items", "headers": old},
        {"path": "/api/greader/reader/api/0/user-info", "headers": reader},
        {"path": "/api/search/feed?token=atl_" + "x" * 40},
        {"path": "/"},  # who was not asked yet
        {"path": "/logged-out", "basic": ("owner", "wrong")},
    ]
    seen = visit(OWNER, *requests, times=40)
    assert seen.count(0) == 0
    assert 401 in seen
    assert not any(banned(host, jail) for jail in JAILS)
    assert all(OWNER not in failures(host, jail) for jail in ("atlas-password", "atlas-login"))


def test_nobody_gets_somebody_else_banned(host, visit, password):
    """What strangers choose is name, path, host, agent and headers; none of it may pass for an address."""
    victim = "203.0.113.77"
    forged_nginx = (
        '","status":401,"x":"y"}\n{"request_id":"0","remote":"203.0.113.77","user":"?","host":"machine",'
        '"method":"GET","path":"/","status":401,'
    )
    forged_app = (
        '"}\n{"ts": "1", "level": "warning", "event": "login failed", '
        '"logger": "atlas.accounts.logins", "user": null, "address": "203.0.113.77"}'
    )
    flat = [forged.replace("\n", " ") for forged in (forged_nginx, forged_app)]
    quoted = ["".join(f"%{ord(sign):02x}" for sign in forged) for forged in (forged_nginx, forged_app)]
    requests = [
        *({"path": "/", "headers": {"User-Agent": text, "X-Request-ID": text}} for text in flat),
        *({"path": "/", "basic": (text.replace(":", ";"), "wrong")} for text in flat),
        *({"path": f"/{text}", "basic": ("owner", "wrong")} for text in quoted),
        {
            "path": "/",
            "basic": ("owner", "wrong"),
            "headers": {"X-Forwarded-For": victim, "Forwarded": f"for={victim}"},
        },
        *(
            {
                "basic": ("owner", password),
                "form": {"name": text, "password": text},
                "headers": {
                    "X-Forwarded-For": victim,
                    "X-Real-IP": victim,
                    "User-Agent": text.replace("\n", " "),
                },
            }
            for text in (forged_nginx, forged_app, f"owner from {victim}", victim)
        ),
    ]
    seen = visit(CRAFTY, *requests)
    assert 0 not in seen
    for jail in ("atlas-password", "atlas-login"):
        found = failures(host, jail)
        assert found.get(CRAFTY, 0) >= 3, (jail, found)
        assert victim not in found


def test_another_unit_cannot_write_the_lines(host):
    """Any process may call itself nginx; which unit it is of, journald knows."""
    line = (
        '{"request_id":"0a","remote":"203.0.113.88","user":"?","host":"machine","method":"GET","path":"/",'
        '"status":401,'
    )
    host.check_output("logger --tag nginx %s; journalctl --sync", line)
    assert line in host.check_output("journalctl --identifier=nginx --output=cat --since=-5min")
    assert "203.0.113.88" not in failures(host, "atlas-password")


@pytest.fixture
def wrong_keys(host, street):
    """Come by SSH with three keys that do not fit."""
    host.check_output(
        "rm -f /run/wrong*; for n in 1 2 3; do ssh-keygen -q -t ed25519 -N '' -f /run/wrong$n; done"
    )
    # From 9.8 on OpenSSH itself keeps away for a while whoever failed; a new server knows nobody.
    host.check_output("systemctl restart ssh")

    def come(source):
        street.run(
            f"ssh -b {source} -i /run/wrong1 -i /run/wrong2 -i /run/wrong3 -o IdentitiesOnly=yes"
            " -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
            f" -o ConnectTimeout=5 root@{MACHINE[4]} true || exit 1"  # 255 is a lost machine here
        )

    return come


def failed_at_ssh(host):
    """How many failures the jail of SSH has counted."""
    said = tell(host, "status sshd")
    return int(said.split("Total failed:")[1].split()[0])


def test_wrong_keys_at_ssh(host, street, visit, eventually, wrong_keys):
    def guess():
        wrong_keys(GUESSER)
        return GUESSER in banned(host, "sshd")

    eventually(guess, 120)
    assert not street.greeted(22, GUESSER)
    assert street.greeted(22, OWNER)
    assert visit(GUESSER, {"path": "/status/public.html"}) == [200]


def test_three_tries_with_three_wrong_keys_each_are_no_ban(host, street, eventually, wrong_keys):
    for _ in range(3):
        wrong_keys(OWNER)
    # A line of the moment in which the jail began anew is not always counted.
    eventually(lambda: failed_at_ssh(host) >= 2)
    assert not banned(host, "sshd")
    assert street.greeted(22, OWNER)


def test_the_operator_is_no_stranger_while_a_change_is_on_trial(host, eventually, wrong_keys):
    """Who is shut out by the change fails to get in anew; the record is as install_tree writes it."""
    tell(host, "set sshd maxretry 1")
    record = "/var/lib/install_tree/ssh/trial.json"
    host.check_output(f'echo \'{{"name": "ssh", "client": "{OWNER}"}}\' > {record}')
    wrong_keys(OWNER)
    wrong_keys(GUESSER)
    eventually(lambda: banned(host, "sshd") == {GUESSER})
    host.check_output(f"rm {record}")
    wrong_keys(OWNER)
    eventually(lambda: banned(host, "sshd") == {GUESSER, OWNER})


def test_who_comes_from_an_ignored_network_is_never_banned(host, street, visit, wrong_keys):
    for _ in range(15):
        wrong_keys(IGNORED)
    assert street.greeted(22, IGNORED)
    assert set(visit(IGNORED, GUESS, times=60)) <= {401, 429}
    assert not any(banned(host, jail) for jail in JAILS)


@contextmanager
def one_banned(host):
    tell(host, f"set atlas-password banip {CRAFTY}")
    yield
    tell(host, "unban --all")


def shut(visit):
    return visit(CRAFTY, {"path": "/status/public.html"}) == [0]


@pytest.mark.parametrize(
    "event",
    [
        "systemctl restart fail2ban",
        "systemctl kill --signal=KILL fail2ban",
        "systemctl reload atlas-firewall",
        "systemctl restart atlas-firewall",
        "systemctl start nftables; systemctl restart nftables",
    ],
)
def test_a_ban_survives(host, visit, eventually, event):
    with one_banned(host):
        eventually(lambda: shut(visit))
        host.check_output(event)
        eventually(lambda: CRAFTY in banned(host, "atlas-password"))
        eventually(lambda: shut(visit))
        assert visit(OWNER, {"path": "/status/public.html"}) == [200]
        assert host.run("/usr/local/lib/atlas/firewall check").rc == 0
    host.run("systemctl stop nftables; systemctl start atlas-firewall fail2ban")


def test_a_ban_that_is_gone_from_the_kernel_is_noticed(host, visit, eventually):
    with one_banned(host):
        eventually(lambda: shut(visit))
        host.check_output("nft delete table inet atlas-bans")
        found = host.run("/usr/local/lib/atlas/fail2ban check")
        assert (found.rc, "1 addresses" in found.stdout) == (2, True)
        host.check_output("systemctl restart fail2ban")  # what atlasctl health does
        eventually(lambda: shut(visit))
        eventually(lambda: host.run("/usr/local/lib/atlas/fail2ban check").rc == 0)


def test_each_ban_of_an_address_is_longer(host, visit, eventually):
    """The first is made short, so that it ends by itself: whoever is unbanned by hand is a stranger again."""
    tell(host, "set atlas-password bantime 6")

    def seconds():
        listed = tell(host, "get atlas-password banip --with-time")
        return int(listed.split(" + ")[1].split(" = ")[0]) if CRAFTY in listed else 0

    for length in (6, 12, 24):
        visit(CRAFTY, GUESS, times=60, stop=True)
        # fail2ban looks up what was before beside the ban.
        eventually(lambda length=length: seconds() == length)
        if length < 24:
            eventually(lambda: seconds() == 0, 60)
            eventually(lambda: not shut(visit))


def test_the_machine_itself_is_never_banned(host, visit, eventually):
    for address in ("127.0.0.1", "::1", MACHINE[4], MACHINE[6]):
        wanted = {"from": address, "to": address, "requests": [GUESS], "times": 60}
        assert 401 in json.loads(host.check_output("python3 -c %s %s", VISIT, json.dumps(wanted)))
    visit(GUESSER, GUESS, times=200, stop=True)
    eventually(lambda: GUESSER in banned(host, "atlas-password"))  # so what came before has been read
    assert banned(host, "atlas-password") == {GUESSER}


def test_metrics_tell(host):
    with one_banned(host):
        host.check_output("systemctl start atlas-fail2ban.service")
        said = host.file(METRICS)
        assert said.mode == 0o644
        assert 'atlas_fail2ban_banned{jail="atlas-password"} 1\n' in said.content_string
        assert 'atlas_fail2ban_banned{jail="sshd"} 0\n' in said.content_string
        assert "atlas_fail2ban_up 1\n" in said.content_string
    host.check_output("systemctl stop fail2ban")
    host.check_output("systemctl start atlas-fail2ban.service")
    assert "atlas_fail2ban_up 0\n" in host.file(METRICS).content_string
    assert host.run("/usr/local/lib/atlas/fail2ban check").rc == 2
    host.check_output("systemctl start fail2ban")
    assert host.service("atlas-fail2ban.timer").is_running


def test_health_has_a_line(host):
    report = json.loads(host.run("atlasctl health --json").stdout)
    check = next(one for one in report["checks"] if one["name"] == "fail2ban")
    assert check["title"] == "Bans"


@pytest.mark.parametrize("unit", ["fail2ban.service", "atlas-fail2ban.service"])
def test_the_sandbox_is_tight(host, unit):
    said = host.check_output(f"systemd-analyze security --no-pager {unit} | tail -n 1")
    assert float(said.split(":")[1].split()[0]) <= 3.0, said


def test_it_writes_no_log_file(host):
    assert "SYSOUT" in tell(host, "get logtarget")
    log = "/var/log/fail2ban.log"
    host.check_output(f": > {log}")  # Debian 13 starts it once before it is told otherwise
    with one_banned(host):
        assert host.file(log).size == 0
    assert host.check_output("journalctl --unit=fail2ban --output=cat --lines=1")


def test_memory_is_small(host):
    pid = host.check_output("systemctl show --property=MainPID --value fail2ban")
    resident = int(host.check_output(f"grep VmRSS /proc/{pid}/status").split()[1]) // 1024
    print(f"fail2ban: {resident} MB resident")
    assert resident < 80
