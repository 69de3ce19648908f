"""Who guesses is banned, and nobody else: strangers at their own addresses, real lines, and crafted ones."""

import json
from contextlib import contextmanager
from pathlib import Path

import pytest
from outsider import MACHINE, STRANGERS, outsider

GUESSER, OWNER, CRAFTY = STRANGERS[4]
METRICS = "/var/lib/prometheus/node-exporter/atlas_fail2ban.prom"
CA = "/etc/atlas/certificate/ca.pem"
JAILS = {"sshd", "atlas-password", "atlas-login"}
# Asks one thing after the other over TLS, and says the status of each; 0 where no connection came about.
VISIT = r"""
import base64, http.client, json, re, socket, ssl, sys
wanted = json.loads(sys.argv[1])
context = ssl.create_default_context(cafile="/etc/atlas/certificate/ca.pem")
found, cookie = [], ""
def ask(method, path, body=None, headers={}):
    plain = socket.create_connection((wanted["to"], 443), 5, (wanted["from"], 0))
    with context.wrap_socket(plain, server_hostname="machine") as tls:
        connection = http.client.HTTPConnection("machine", timeout=20)
        connection.sock = tls
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
        return answer.status, text, answer.headers.get_all("Set-Cookie") or []
def basic(pair):
    return {"Authorization": "Basic " + base64.b64encode(":".join(pair).encode()).decode()}
for one in wanted["requests"]:
    headers = {**one.get("headers", {}), **(basic(one["basic"]) if "basic" in one else {})}
    try:
        if "form" in one:
            _, page, cookies = ask("GET", "/login", headers={**headers, "Accept": "text/html"})
            csrf = re.search('name="csrf" value="([0-9a-f]+)"', page)[1]
            from urllib.parse import urlencode
            headers |= {"Cookie": "; ".join(c.split(";")[0] for c in cookies), "Accept": "text/html",
                        "Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded"}
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
        yield somebody


@pytest.fixture
def visit(street):
    """Ask the machine's web server from an address; return the statuses, 0 where there was no connection."""

    def ask(source, *requests, stop=False):
        to = MACHINE[6 if ":" in source else 4]
        wanted = {"from": source, "to": to, "requests": requests, "stop": stop}
        return json.loads(street.python(VISIT, json.dumps(wanted))[0])

    return ask


@pytest.fixture(autouse=True)
def nobody_banned(host):
    """Begin anew: without bans, or failures that are counted."""
    host.check_output("fail2ban-client reload --restart --unban --all || exit 1")
    yield
    host.check_output("fail2ban-client unban --all || exit 1")


def banned(host, jail):
    """Who is banned; a question mark where nobody answers."""
    said = host.run(f"fail2ban-client get {jail} banip || exit 1")
    return set(said.stdout.split()) if said.rc == 0 else {"?"}


def guesses(count, name="owner"):
    return [{"path": "/", "basic": (name, f"wrong {number}")} for number in range(count)]


def failures(host, jail):
    """How often each address is found by a jail's filter in the whole journal, as fail2ban-regex tells."""
    said = host.check_output(
        f"fail2ban-regex --out ip systemd-journal /etc/fail2ban/filter.d/{jail}.conf"
    ).split()
    return {address: said.count(address) for address in said}


def test_each_jail_stands(host):
    names = host.check_output("fail2ban-client status | sed -n 's/.*Jail list:\\s*//p'")
    assert set(names.replace(",", " ").split()) == JAILS
    assert host.run("/usr/local/lib/atlas/fail2ban check").rc == 0


@pytest.mark.parametrize("version", [4, 6])
def test_a_thousand_wrong_passwords_for_nginx(host, street, visit, password, version):
    guesser, owner, _ = STRANGERS[version]
    seen = visit(guesser, *guesses(1000), stop=True)
    assert seen[-1] == 0, "never banned"
    assert seen.count(401) <= 240
    assert banned(host, "atlas-password") == {guesser}
    right = {"path": "/login", "basic": ("owner", password)}
    assert visit(owner, right) == [200]
    assert street.greeted(22, guesser), "who is banned at the pages may still come by SSH"
    host.check_output(f"fail2ban-client unban {guesser}")
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
    seen = visit(GUESSER, *[one] * 1000, stop=True)
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
    seen = visit(OWNER, *requests * 40)
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


def test_wrong_keys_at_ssh(host, street, visit, eventually, password):
    host.check_output("rm -f /run/wrong_key*; ssh-keygen -q -t ed25519 -N '' -f /run/wrong_key")
    ssh = (
        f"ssh -b {GUESSER} -i /run/wrong_key -o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking=no "
        f"-o UserKnownHostsFile=/dev/null -o ConnectTimeout=3 root@{MACHINE[4]} true"
    )

    def guess():
        street.run(ssh)
        return GUESSER in banned(host, "sshd")

    eventually(guess, 120)
    assert not street.greeted(22, GUESSER)
    assert street.greeted(22, OWNER)
    assert visit(GUESSER, {"path": "/login", "basic": ("owner", password)}) == [200]


@contextmanager
def one_banned(host):
    host.check_output(f"fail2ban-client set atlas-password banip {CRAFTY}")
    yield
    host.check_output("fail2ban-client unban --all")


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
    def seconds():
        listed = host.check_output("fail2ban-client get atlas-password banip --with-time")
        return int(listed.split(" + ")[1].split(" = ")[0])

    lengths = []
    for _ in range(2):
        visit(CRAFTY, *guesses(60), stop=True)
        eventually(lambda: CRAFTY in banned(host, "atlas-password"))
        lengths.append(seconds())
        host.check_output(f"fail2ban-client unban {CRAFTY}")
    assert lengths[1] > lengths[0] >= 600


def test_the_machine_itself_is_never_banned(host):
    host.check_output("fail2ban-client set atlas-password attempt 127.0.0.1 " + "x " * 60)
    host.check_output("fail2ban-client set atlas-password attempt ::1 " + "x " * 60)
    assert not banned(host, "atlas-password")


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
    assert host.check_output("systemctl restart fail2ban; fail2ban-client get logtarget").count("SYSOUT") == 1
    assert "passwords" not in host.check_output("journalctl --unit=fail2ban --output=cat --priority=err")


def test_memory_is_small(host):
    pid = host.check_output("systemctl show --property=MainPID --value fail2ban")
    resident = int(host.check_output(f"grep VmRSS /proc/{pid}/status").split()[1]) // 1024
    print(f"fail2ban: {resident} MB resident")
    assert resident < 80
