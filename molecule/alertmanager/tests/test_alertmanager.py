"""Alerts that are told by a real Alertmanager, to a mail server and a place for webhooks that keep them."""

import email
import http.server
import json
import os
import re
import threading
import time
from datetime import UTC, datetime, timedelta
from email import policy
from pathlib import Path

import pytest
import yaml
from mailserver import MailServer
from tunnel import Reached

GIVEN = yaml.safe_load((Path(__file__).parents[1] / "variables.yml").read_text())
UNIT = "prometheus-alertmanager.service"
API = "http://127.0.0.1:9093/alertmanager/api/v2"
PRIVATE = "tr0mb0ne"
COOKIE = "__Host-atlas-alerts"


class Hooks(Reached):
    """A place for webhooks: what came is in `calls`, as path, headers and body."""

    def __init__(self, scenario_directory: Path) -> None:
        super().__init__(scenario_directory, 5588)
        self.calls: list[tuple[str, dict[str, str], bytes]] = []
        hooks = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hooks.calls.append((self.path, dict(self.headers), body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.open()

    def stop(self) -> None:
        self.shut()
        self.server.shutdown()

    def got(self, start: str, text: str = "") -> list[tuple[str, dict[str, str], bytes]]:
        return [call for call in self.calls if call[0].startswith(start) and text.encode() in call[2]]


class Alerts:
    """Alertmanager, spoken to from inside the machine as Prometheus does."""

    def __init__(self, host) -> None:
        self.host = host

    def ask(self, path: str, method: str = "GET", body: object = None):
        script = (
            "import json, sys, urllib.request as r\n"
            f"q = r.Request({API + path!r}, method={method!r}, data=sys.stdin.buffer.read() or None,"
            " headers={'Content-Type': 'application/json'})\n"
            "print(r.urlopen(q, timeout=20).read().decode())"
        )
        given = json.dumps(body) if body is not None else ""
        said = self.host.run("printf %%s %s | python3 -c %s", given, script)
        assert said.rc == 0, said.stderr
        return json.loads(said.stdout) if said.stdout.strip() else None

    def fire(self, *names: str, severity: str = "warning", ended: bool = False, **labels: str) -> None:
        now = datetime.now(UTC)
        alerts = [
            {
                "labels": {"alertname": name, "severity": severity, "instance": "machine", **labels},
                "annotations": {
                    "summary": f"{name} happened",
                    "description": "It does so.",
                    "runbook": f"docs/alerts.md#{name.lower()}",
                },
                "generatorURL": "https://machine/prometheus/graph?g0.expr=up",
                "startsAt": (now - timedelta(minutes=5)).isoformat(),
                "endsAt": (now + timedelta(hours=0 if ended else 1)).isoformat(),
            }
            for name in names
        ]
        self.ask("/alerts", "POST", alerts)

    def end(self, *names: str, **labels: str) -> None:
        self.fire(*names, ended=True, **labels)

    def listens(self) -> bool:
        return self.host.run("ss -Hltn | grep -q 127.0.0.1:9093").rc == 0


@pytest.fixture(scope="module")
def server(host, scenario_directory):
    made = MailServer(
        scenario_directory, GIVEN["atlas_mail_port"], GIVEN["atlas_mail_user"], GIVEN["atlas_mail_password"]
    )
    host.check_output(f"cat > {GIVEN['mail_ca_file']} <<'END'\n{made.certificate}END")
    made.open()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def hooks(scenario_directory, unreachable):  # noqa: ARG001
    made = Hooks(scenario_directory)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def unreachable(host, eventually):
    """Alertmanager has met an address it cannot reach: hooks are not there yet."""
    Alerts(host).fire("TooEarly")
    eventually(lambda: host.run(f"journalctl -u {UNIT} | grep -q 5588").rc == 0)
    Alerts(host).end("TooEarly")


@pytest.fixture
def mails(host, server, eventually):
    """The mail server, reached from the machine, with nothing on its way any more."""
    if not server.way:
        server.open()
    eventually(lambda: host.run(f"ss -Hltn | grep -q :{GIVEN['atlas_mail_port']}").rc == 0)
    host.run("atlasctl mail flush")
    return server


@pytest.fixture
def alerts(host):
    return Alerts(host)


def read(mail):
    return email.message_from_bytes(mail[1], policy=policy.default)


def subjects(server):
    return [read(mail)["Subject"] for mail in server.mails]


def about(server, text):
    return [subject for subject in subjects(server) if text in subject]


@pytest.mark.usefixtures("hooks")
def test_an_alert_is_mailed_and_so_is_its_end(alerts, mails, eventually):
    alerts.fire("DatabaseDown", severity="critical")
    eventually(lambda: about(mails, "[Atlas] CRITICAL: DatabaseDown happened"))
    (mail,) = [read(one) for one in mails.got("DatabaseDown")]
    assert mail["To"] == "owner@example.org"
    assert mail["From"] == "sender@example.org"
    text = mail.get_body(("plain",)).get_content()
    assert "CRITICAL: DatabaseDown happened" in text
    assert re.search(r"DatabaseDown, on machine, since \d\d:\d\d UTC on \d+ \w+", text)
    assert "It does so." in text
    assert "What it means, what to do: https://docs.example.org/atlas/docs/alerts.md#databasedown" in text
    assert "Graph: https://machine/prometheus/graph?g0.expr=up" in text
    assert "All alerts, and silence: https://machine/alerts/" in text
    html = mail.get_body(("html",)).get_content()
    assert '<a href="https://docs.example.org/atlas/docs/alerts.md#databasedown">' in html
    assert 'name="viewport"' in html
    alerts.end("DatabaseDown", severity="critical")
    eventually(lambda: about(mails, "[Atlas] Resolved: DatabaseDown happened"))
    assert len(mails.got("DatabaseDown")) == 2


def test_it_is_told_by_every_other_way_too(alerts, hooks, mails, eventually):
    alerts.fire("DiskFull", severity="critical")
    eventually(lambda: all(hooks.got(way, "DiskFull") for way in ("/ntfy/", "/slack/", "/hook/")))
    path, headers, body = hooks.got("/ntfy/", "DiskFull")[0]
    assert path.startswith(f"/ntfy/{PRIVATE}?tpl=1&click=https%3A//machine/alerts/&m=%7B%7B")
    assert path.endswith("&p=4&tags=rotating_light")
    assert headers["Authorization"] == "Bearer tk_tr0mb0ne"
    (told,) = json.loads(body)["alerts"]
    assert (told["status"], told["annotations"]["summary"]) == ("firing", "DiskFull happened")
    assert hooks.got("/hook/", "DiskFull")[0][1]["Authorization"] == "Bearer hook-tr0mb0ne"
    (attachment,) = json.loads(hooks.got("/slack/", "DiskFull")[0][2])["attachments"]
    assert attachment["title"] == "[Atlas] CRITICAL: DiskFull happened"
    assert attachment["title_link"] == "https://machine/alerts/"
    assert "docs/alerts.md#diskfull" in attachment["text"]
    alerts.end("DiskFull", severity="critical")
    eventually(lambda: about(mails, "Resolved: DiskFull"))


def test_what_is_for_information_goes_by_mail_alone(alerts, hooks, mails, eventually):
    alerts.fire("Restarted", severity="info")
    eventually(lambda: about(mails, "[Atlas] INFO: Restarted happened"))
    assert not [call for call in hooks.calls if b"Restarted" in call[2]]
    alerts.end("Restarted", severity="info")


def test_a_storm_is_one_mail(alerts, mails, eventually):
    names = [f"Storm{number}" for number in range(40)]
    alerts.fire(*names)
    eventually(lambda: all(mails.got(f"{name} happened") for name in names))
    alerts.end(*names)
    eventually(lambda: about(mails, "[Atlas] Resolved: Storm"))
    assert len(about(mails, "Storm")) <= 3, subjects(mails)


def test_one_thing_is_told_once(alerts, mails, eventually):
    """The critical one, not the warning before it; and who is dead, not all that he does not do."""
    alerts.fire("Filling", severity="critical", mountpoint="/")
    alerts.fire("Gone", severity="critical", job="app", inhibits="job")
    alerts.fire("Filling", mountpoint="/")
    alerts.fire(*(f"Missing{number}" for number in range(20)), job="app")
    alerts.fire("Filling", mountpoint="/data")
    eventually(lambda: mails.got("Gone happened") and about(mails, "WARNING: Filling"))
    time.sleep(3)
    assert not mails.got("Missing"), subjects(mails)
    for one in map(read, mails.got("WARNING: Filling")):
        assert "more)" not in one["Subject"], "the one of / is kept quiet"
    alerts.end("Filling", severity="critical", mountpoint="/")
    alerts.end("Gone", severity="critical", job="app", inhibits="job")
    alerts.end("Filling", mountpoint="/")
    alerts.end("Filling", mountpoint="/data")
    alerts.end(*(f"Missing{number}" for number in range(20)), job="app")


def test_the_watchdog_keeps_the_switch_from_falling_and_bothers_nobody(alerts, hooks, mails, eventually):
    alerts.fire("Watchdog", severity="info")
    eventually(lambda: len(hooks.got("/heartbeat/", "Watchdog")) >= 2, seconds=25)
    assert not mails.got("Watchdog")
    assert not [
        call for call in hooks.calls if b"Watchdog" in call[2] and not call[0].startswith("/heartbeat/")
    ]
    alerts.end("Watchdog", severity="info")


def test_trouble_with_mail_is_told_by_everything_else(alerts, hooks, eventually):
    alerts.fire("MailNotDelivered")
    eventually(lambda: all(hooks.got(way, "MailNotDelivered") for way in ("/ntfy/", "/slack/", "/hook/")))
    assert "&p=4&" in hooks.got("/ntfy/", "MailNotDelivered")[0][0], "a loud push"
    alerts.end("MailNotDelivered")


@pytest.mark.timeout(120)
def test_while_the_mail_server_is_away_nothing_is_lost(host, alerts, server, eventually):
    """Also not what came and went meanwhile, through a restart of Alertmanager."""
    server.shut()
    eventually(lambda: host.run(f"ss -Hltn | grep -q :{GIVEN['atlas_mail_port']}").rc != 0)

    def kept(text):
        return host.run(f"grep -rlE 'Subject:.*{text}' /var/spool/atlas-mail").rc == 0

    alerts.fire("Brief", severity="critical")
    eventually(lambda: kept("CRITICAL: Brief"))
    alerts.end("Brief", severity="critical")
    eventually(lambda: kept("Resolved: Brief"))
    host.check_output(f"systemctl restart {UNIT}")
    eventually(alerts.listens)
    alerts.fire("Lasting")
    eventually(lambda: kept("WARNING: Lasting"))
    server.open()
    # By itself: nobody flushes.
    for text in ("CRITICAL: Brief", "Resolved: Brief", "WARNING: Lasting"):
        eventually(lambda text=text: about(server, text), seconds=60)
    alerts.end("Lasting")
    eventually(lambda: about(server, "Resolved: Lasting"))
    assert len(about(server, "Lasting")) == 2, subjects(server)


def test_it_is_told_once_through_a_restart(host, alerts, mails, eventually):
    alerts.fire("Steady")
    eventually(lambda: about(mails, "WARNING: Steady"))
    host.check_output(f"systemctl restart {UNIT}")
    eventually(alerts.listens)
    alerts.fire("Steady")
    time.sleep(4)
    assert len(mails.got("Steady happened")) == 1, "what was told is remembered"
    alerts.end("Steady")
    eventually(lambda: about(mails, "Resolved: Steady"))


def test_a_process_that_is_killed_comes_back(host, alerts, eventually):
    host.check_output(f"systemctl kill --signal=KILL {UNIT}")
    eventually(lambda: host.service(UNIT).is_running and alerts.listens())
    assert alerts.ask("/status")["config"]["original"]


@pytest.fixture
def browser(web, host):  # noqa: ARG001
    """Whoever has nginx's password, at the page of alerts."""
    secrets = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "secrets"
    web.auth = ("owner", (secrets / "owner_password").read_text().strip())
    return web


def form(page, which):
    part = page.partition(f'action="/alerts/{which}"')[2].partition("</form>")[0]
    return dict(re.findall(r'name="(\w+)" value="([^"]*)">', part.partition("<button")[0]))


def test_the_page_silences_and_that_survives_a_restart(host, alerts, mails, browser, eventually):
    alerts.fire("Noisy", mountpoint="/")
    eventually(lambda: about(mails, "WARNING: Noisy"))
    page = browser.get("/alerts/")
    assert page.status_code == 200, page.text
    assert "Noisy happened" in page.text
    assert 'href="https://docs.example.org/atlas/docs/alerts.md#noisy"' in page.text
    assert 'href="https://machine/prometheus/graph?g0.expr=up"' in page.text
    assert "Prometheus does not answer" in page.text, "it is not on this machine"
    assert len(page.content) + len(browser.get("/alerts/alerts.css").content) < 15_000
    done = browser.post("/alerts/silence", data=form(page.text, "silence") | {"hours": "1"})
    assert (done.status_code, done.headers["Location"]) == (303, "/alerts/?done=silenced")
    host.check_output(f"systemctl restart {UNIT}")
    eventually(alerts.listens)
    alerts.fire("Noisy", mountpoint="/")
    told = host.check_output("journalctl --unit nginx --no-pager --output=cat | grep alerts/silence")
    assert '"user":"owner"' in told.splitlines()[-1], "who did it stands in the log"
    (silence,) = [one for one in alerts.ask("/silences") if one["status"]["state"] == "active"]
    assert silence["createdBy"] == "owner"
    said = host.run("atlasctl alerts")
    assert "Noisy happened (silenced)" in said.stdout
    page = browser.get("/alerts/")
    assert "Nothing is wrong." in page.text
    done = browser.post("/alerts/end", data=form(page.text, "end"))
    assert done.headers["Location"] == "/alerts/?done=ended"
    assert host.run("atlasctl alerts").rc == 1
    alerts.end("Noisy", mountpoint="/")


def test_the_page_is_for_nobody_without_the_password_and_no_button_without_the_page(alerts, browser):
    alerts.fire("Guarded")
    wanted = form(browser.get("/alerts/").text, "silence") | {"hours": "1"}
    del browser.cookies[COOKIE]
    assert browser.post("/alerts/silence", data=wanted).headers["Location"] == "/alerts/?done=stale"
    browser.auth = None
    for path in ("/alerts/", "/alerts/alerts.css", "/alerts/silence"):
        assert browser.get(path).status_code == 401
    assert browser.post("/alerts/silence", data=wanted).status_code == 401
    assert not [one for one in alerts.ask("/silences") if one["status"]["state"] == "active"]
    alerts.end("Guarded")


def test_the_page_says_when_alertmanager_is_down_and_costs_nothing_when_nobody_looks(
    host, browser, alerts, eventually
):
    host.check_output(f"systemctl stop {UNIT}")
    try:
        page = browser.get("/alerts/")
        assert "Alertmanager does not answer: Connection refused" in page.text
        assert "Nothing is wrong" not in page.text
        assert host.run("atlasctl alerts").stderr.startswith("atlasctl: Alertmanager does not answer")
    finally:
        host.check_output(f"systemctl start {UNIT}")
    eventually(alerts.listens)
    assert host.service("atlas-alerts.service").is_running
    used = int(host.check_output("systemctl show --value -p MainPID atlas-alerts.service"))
    rss = int(host.check_output(f"awk '/VmRSS/ {{print $2}}' /proc/{used}/status"))
    assert rss < 40_000, "kB"
    eventually(lambda: not host.service("atlas-alerts.service").is_running, seconds=30)
    assert browser.get("/alerts/").status_code == 200, "and it comes back"


def test_a_test_reaches_its_owner(host, mails, eventually):
    host.check_output("atlasctl alerts test")
    eventually(lambda: about(mails, "WARNING: Test from machine: alerts reach you"))


def test_it_is_reached_from_this_machine_alone(host):
    listening = [line.split()[3] for line in host.check_output("ss -Hltn").splitlines()]
    assert "127.0.0.1:9093" in listening
    assert not [address for address in listening if address.endswith(":9094")], "no cluster"
    assert [address for address in listening if address.endswith(":9093")] == ["127.0.0.1:9093"]


def test_what_is_as_good_as_a_password_is_seen_by_nobody(host):
    configuration = host.file("/etc/atlas/alertmanager.yml")
    assert (configuration.user, configuration.mode) == ("root", 0o600)
    assert PRIVATE in configuration.content_string
    assert PRIVATE not in host.check_output("ps -eo args")
    # Also not when an address cannot be reached, which the tests before have seen to.
    said = host.check_output("journalctl --no-pager --output=cat")
    assert "dial tcp 127.0.0.1:5588: connect: connection refused" in said
    assert PRIVATE not in said
    found = host.run(
        f"grep -rl {PRIVATE} /etc /run/systemd /var/lib --exclude=alertmanager.yml --exclude=mail_password"
    )
    assert found.stdout == ""
    user = host.check_output(f"ps -o user= -p $(systemctl show --value -p MainPID {UNIT})")
    assert user not in ("root", "prometheus")


def test_what_amtool_refuses_is_not_installed(host, play):
    before = host.file("/etc/atlas/alertmanager.yml").content_string
    wrong = {"alertmanager_mute_times": [{"weekdays": ["caturday"]}]}
    done = play("--extra-vars", json.dumps(wrong))
    assert not done.succeeded
    assert "caturday" in done.output
    assert PRIVATE not in done.output
    assert host.file("/etc/atlas/alertmanager.yml").content_string == before
    assert host.service(UNIT).is_running


@pytest.mark.parametrize("unit", [UNIT, "atlas-alerts.service"])
def test_the_sandbox_is_tight(host, unit):
    said = host.check_output(f"systemd-analyze security --no-pager {unit} | tail -n 1")
    assert float(said.split(":")[1].split()[0]) <= 3.0, said


def test_health_looks_at_it(host):
    assert host.run("atlasctl health --json --no-heal").rc in (0, 1, 2)
    report = json.loads(host.check_output("cat /var/lib/atlas-status/status.json"))
    seen = {one["name"]: one["observed"] for one in report["checks"]}
    assert (seen["alertmanager"], seen["timers"]) == ("HEALTHY", "HEALTHY")
