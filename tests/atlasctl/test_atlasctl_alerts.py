"""Alerts in the hand: the command and the page, with stand-ins for Alertmanager and Prometheus."""

import http.client
import http.server
import json
import re
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from atlasctl import cli
from atlasctl.alerts import sources
from atlasctl.alerts.command import length
from atlasctl.alerts.history import Episode, episodes, merge
from atlasctl.alerts.page import Look, render, style
from atlasctl.alerts.server import COOKIE, Server
from atlasctl.alerts.sources import Alert, Settings, Silence, TooMuchError
from atlasctl.trouble import Trouble
from atlasctl.words import stamp

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
TOKEN = "t" * 32


class Answers(http.server.BaseHTTPRequestHandler):
    """What both say, as `both` has it."""

    both: "Both"

    def answer(self, value: object, status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        asked = {name: one for name, (one,) in parse_qs(address.query).items()}
        if self.both.broken and self.both.broken in address.path:
            self.answer("no", 500)
        elif address.path == "/alertmanager/api/v2/alerts":
            self.answer(self.both.alerts)
        elif address.path == "/alertmanager/api/v2/silences":
            self.answer(self.both.silences)
        elif address.path == "/prometheus/api/v1/query":
            self.answer({"status": "success", "data": {"result": self.both.firing}})
        elif address.path == "/prometheus/api/v1/query_range":
            self.both.queries.append(asked)
            self.answer({"status": "success", "data": {"result": self.both.windows.get(asked["step"], [])}})
        else:
            self.answer("no such page", 404)

    def do_POST(self) -> None:
        said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/alertmanager/api/v2/silences":
            made = {"id": f"s{len(self.both.silences)}", "status": {"state": "active"}, **said}
            self.both.silences.append(made)
            self.answer({"silenceID": made["id"]})
        else:
            self.both.posted += said
            self.answer({})

    def do_DELETE(self) -> None:
        for one in self.both.silences:
            if self.path == f"/alertmanager/api/v2/silence/{one['id']}":
                one["status"]["state"] = "expired"
                return self.answer({})
        return self.answer("silence not found", 404)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Both:
    """Alertmanager at /alertmanager and Prometheus at /prometheus."""

    def __init__(self) -> None:
        self.alerts: list[dict] = []
        self.silences: list[dict] = []
        self.firing: list[dict] = []
        self.windows: dict[str, list[dict]] = {}
        self.posted: list[dict] = []
        self.queries: list[dict] = []
        self.broken = ""
        self.server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), type("Mine", (Answers,), {"both": self})
        )
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.settings = Settings(
            f"{self.address}/alertmanager", f"{self.address}/prometheus", "https://docs", 15
        )

    def fire(self, name: str, severity: str = "warning", *, quiet: bool = False, **labels: str) -> None:
        self.alerts.append(
            {
                "fingerprint": f"{len(self.alerts):016x}",
                "labels": {"alertname": name, "severity": severity, "instance": "atlas", **labels},
                "annotations": {
                    "summary": f"{name} happened",
                    "description": "It does so.",
                    "runbook": f"docs/alerts.md#{name.lower()}",
                },
                "startsAt": stamp(datetime.now(UTC) - timedelta(minutes=10)),
                "endsAt": stamp(datetime.now(UTC) + timedelta(minutes=10)),
                "generatorURL": "https://atlas.example.org/prometheus/graph?g0.expr=up&g0.tab=1",
                "status": {"state": "active", "silencedBy": ["s0"] if quiet else [], "inhibitedBy": []},
            }
        )


@pytest.fixture
def both(machine):
    made = Both()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    addresses = {"alertmanager": made.settings.alertmanager, "prometheus": made.settings.prometheus}
    machine.file("etc/atlas/alerts.json", {**addresses, "docs": "https://docs", "interval_seconds": 15})
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


# --- the command


def test_nothing_is_wrong(both, capsys):
    both.fire("Watchdog", "info")
    assert cli.main(["alerts"]) == 0
    assert capsys.readouterr().out == "Nothing is wrong.\n"


def test_the_worst_comes_first_and_the_exit_code_says_how_bad_it_is(both, capsys):
    both.fire("Told", "info")
    assert cli.main(["alerts"]) == 1
    both.fire("DiskFull", "critical", mountpoint="/data")
    capsys.readouterr()
    assert cli.main(["alerts"]) == 2
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [
        "CRITICAL  DiskFull happened",
        "          DiskFull, mountpoint /data, for 10 minutes",
        "          It does so.",
        "          docs/alerts.md#diskfull",
    ]
    assert cli.main(["alerts", "--json"]) == 2
    told = json.loads(capsys.readouterr().out)["alerts"]
    assert [one["labels"]["alertname"] for one in told] == ["DiskFull", "Told"]


def test_a_silence_is_made_shown_and_ended(both, capsys):
    both.fire("DiskFilling")
    before = datetime.now(UTC)
    assert cli.main(["alerts", "silence", "DiskFilling", "2d"]) == 0
    (made,) = both.silences
    assert made["matchers"] == [
        {"name": "alertname", "value": "DiskFilling", "isRegex": False, "isEqual": True}
    ]
    ends = datetime.fromisoformat(made["endsAt"])
    assert abs(ends - before - timedelta(days=2)) < timedelta(seconds=10)
    assert "does not fire" not in capsys.readouterr().out
    assert cli.main(["alerts"]) == 1
    assert "silence   DiskFilling: until " in capsys.readouterr().out
    assert cli.main(["alerts", "end", "DiskFilling"]) == 0
    assert made["status"]["state"] == "expired"
    assert cli.main(["alerts", "end", "DiskFilling"]) == 1
    assert "There is no silence of DiskFilling" in capsys.readouterr().err


def test_what_does_not_fire_may_be_silenced_and_that_is_said(both, capsys):
    assert cli.main(["alerts", "silence", "Typo", "1h"]) == 0
    assert "It does not fire now." in capsys.readouterr().out
    assert len(both.silences) == 1


@pytest.mark.parametrize("said", ["", "1", "h", "1y", "-1h", "0h", "91d", "1h30m", "99999h"])
def test_what_is_no_length_of_time_is_refused(said):
    with pytest.raises(Trouble, match="no length of time"):
        length(said)


def test_lengths_of_time():
    found = [length(one) for one in ("30m", "1h", "2d", "1w")]
    assert found == [timedelta(minutes=30), timedelta(hours=1), timedelta(days=2), timedelta(weeks=1)]


def test_a_test_is_an_alert_that_ends_by_itself(both, capsys):
    assert cli.main(["alerts", "test", "--severity", "critical"]) == 0
    (told,) = both.posted
    assert told["labels"]["severity"] == "critical"
    assert "Nothing is to be done" in told["annotations"]["description"]
    left = datetime.fromisoformat(told["endsAt"]) - datetime.now(UTC)
    assert timedelta(seconds=30) < left < timedelta(seconds=70)
    assert cli.main(["alerts", "test", "--severity", "awful"]) == 1
    assert "critical, warning, info" in capsys.readouterr().err


def test_without_alertmanager_that_is_said(both, machine, capsys):
    both.broken = "/alerts"
    assert cli.main(["alerts"]) == 1
    assert "Alertmanager says: no" in capsys.readouterr().err
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    machine.file("etc/atlas/alerts.json", {"alertmanager": nobody})
    assert cli.main(["alerts"]) == 1
    assert "Alertmanager does not answer: Connection refused" in capsys.readouterr().err
    (machine.root / "etc/atlas/alerts.json").unlink()
    assert cli.main(["alerts"]) == 1
    assert "Run site.yml" in capsys.readouterr().err


# --- what was


def series(*points, **labels):
    metric = {"alertname": "DiskFull", "alertstate": "firing", "severity": "critical", **labels}
    return {"metric": metric, "values": [[at, str(count)] for at, count in points]}


def test_windows_are_joined_to_spans():
    whole = 20  # looks in a window of 300 s, one every 15 s
    assert merge([(600, 4), (900, whole), (1200, 8)], 300, 15) == [(540, 1020)]
    assert merge([(600, 4)], 300, 15) == [(540, 600)]
    assert merge([(600, whole), (1200, whole)], 300, 15) == [(300, 600), (900, 1200)]
    assert merge([(600, whole + 1)], 300, 15) == [(300, 600)], "one look more than fits, at both ends"
    assert merge([], 300, 15) == []


def test_the_history_names_start_and_end(both):
    end = NOW.timestamp()
    old = series((end - 90000, 4), (end - 89700, 20), (end - 89400, 8))
    still = series((end - 300, 10), (end, 20), instance="atlas")
    both.windows["300"] = [old, still]
    both.firing = [{"metric": {**still["metric"], "__name__": "ALERTS"}, "value": [end, "1"]}]
    first, second = episodes(both.settings, NOW)
    assert (first.end, NOW - first.start) == (None, timedelta(seconds=450))
    assert (second.start, second.end) == (
        NOW - timedelta(seconds=90060),
        NOW - timedelta(seconds=89580),
    )
    assert "alertstate" not in second.labels
    (asked,) = both.queries
    assert float(asked["end"]) - float(asked["start"]) == 30 * 86400
    assert asked["query"] == 'count_over_time(ALERTS{alertstate="firing",alertname!="Watchdog"}[300s])'


def test_a_time_too_bad_for_the_fine_view_is_shown_coarsely(both, monkeypatch):
    monkeypatch.setattr(sources, "MOST_BYTES", 20_000)
    both.windows["300"] = [series(*((300 * number, 20) for number in range(2000)))]
    both.windows["3600"] = [series((NOW.timestamp() - 7200, 240))]
    (episode,) = episodes(both.settings, NOW)
    assert episode.end - episode.start == timedelta(hours=1)
    both.windows["3600"] = both.windows["300"]
    with pytest.raises(TooMuchError):
        episodes(both.settings, NOW)


def test_the_history_on_a_terminal(both, capsys):
    assert cli.main(["alerts", "history"]) == 0
    assert capsys.readouterr().out == "No alert in 30 days.\n"
    now = time.time()
    both.windows["300"] = [series((now - 7200, 4))]
    assert cli.main(["alerts", "history"]) == 0
    assert re.search(
        r"critical  DiskFull, for 60 seconds|critical  DiskFull, for 1 minute", capsys.readouterr().out
    )
    assert cli.main(["alerts", "history", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert told["labels"]["alertname"] == "DiskFull"


# --- the page


def alert(name="DiskFull", severity="critical", *, quiet=False, **more):
    given = {
        "id": "0123456789abcdef",
        "labels": {"alertname": name, "severity": severity, "mountpoint": "/"},
        "annotations": {"summary": f"{name} happened", "runbook": "docs/alerts.md#x"},
        "since": NOW - timedelta(hours=3),
        "graph": "https://atlas.example.org/prometheus/graph",
        "silenced_by": ("s0",) if quiet else (),
        "inhibited": False,
    }
    return Alert(**(given | more))


def shown(look, **more):
    return render(look, NOW, docs=more.pop("docs", "https://docs"), token=TOKEN, **more)


def test_a_quiet_day():
    page = shown(Look())
    assert "<title>Atlas: no alerts</title>" in page
    assert "Nothing is wrong." in page
    assert "No alert." in page
    assert "<form" not in page
    assert "<script" not in page
    assert len(page) + len(style()) < 6000


def test_an_alert_says_what_there_is_to_know_and_has_its_buttons():
    page = shown(Look(alerts=[alert(), alert("Other", "warning", quiet=True)]))
    assert "<title>Atlas: 1 alert</title>" in page
    assert '<b class="CRITICAL">CRITICAL: DiskFull happened</b>' in page
    assert "DiskFull, mountpoint /, for 3 hours, since" in page
    assert '<a href="https://docs/docs/alerts.md#x">What to do</a>' in page
    assert '<a href="https://atlas.example.org/prometheus/graph">Graph</a>' in page
    assert page.count("<form") == 1, "what is quiet has no button to make it so"
    assert '<button name="hours" value="24">Silence for 1 day</button>' in page
    assert "Other happened</b> (silenced)" in page
    assert "What to do: <code>docs/alerts.md#x</code>" in shown(Look(alerts=[alert()]), docs="")


def test_a_normal_day_is_below_15_kilobytes():
    silences = [Silence("s0", "Other, severity=warning", NOW + timedelta(hours=1), "owner")]
    past = [
        Episode({"alertname": f"Thing{number}", "severity": "warning", "mountpoint": "/"}, NOW, NOW)
        for number in range(40)
    ]
    look = Look([alert(), alert("Two", "warning")], silences, "", past)
    page = shown(look)
    assert "and 10 more: <code>atlasctl alerts</code>" in page
    assert len(page) + len(style()) < 15_000


def test_a_storm_stays_a_page():
    page = shown(Look(alerts=[alert(f"Storm{number}") for number in range(400)]))
    assert "400 alerts." in page
    assert "and 380 more" in page
    assert len(page) < 40_000


def test_what_alerts_say_is_text_and_no_page():
    evil = '"><script>alert(1)</script>'
    page = shown(
        Look(
            alerts=[
                alert(
                    evil,
                    annotations={"summary": evil, "description": evil, "runbook": evil},
                    labels={"alertname": evil, evil: evil},
                    graph="javascript:alert(1)",
                    id=evil,
                )
            ],
            silences=[Silence(evil, evil, NOW, evil)],
            history_trouble=evil,
            episodes=[Episode({"alertname": evil, "severity": evil}, NOW, None)],
        ),
        done=evil,
    )
    assert "<script" not in page
    assert "javascript:" not in page


def test_without_alertmanager_the_page_says_so_and_shows_the_rest():
    past = [Episode({"alertname": "Earlier"}, NOW - timedelta(hours=2), NOW - timedelta(hours=1))]
    page = shown(Look(trouble="Alertmanager does not answer: Connection refused", episodes=past))
    assert "Alertmanager does not answer: Connection refused. What is wrong now cannot be shown" in page
    assert "Unknown." in page
    assert "Nothing is wrong" not in page
    assert "Earlier" in page


# --- the page's server


class Browser:
    """Speaks to the server as nginx does."""

    def __init__(self, path) -> None:
        self.path = str(path)
        self.cookie = ""

    def ask(self, method, path, form=None, **headers):
        connection = http.client.HTTPConnection("atlas.example.org", timeout=10)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(10)
        connection.sock.connect(self.path)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookie:
            given.setdefault("Cookie", f"other=1; {self.cookie}")
        body = urlencode(form) if form is not None else None
        connection.request(method, path, body, {"Host": "atlas.example.org", **given})
        answer = connection.getresponse()
        answer.text = answer.read().decode()
        if answer.headers["Set-Cookie"]:
            self.cookie = answer.headers["Set-Cookie"].partition(";")[0]
        connection.close()
        return answer

    def form(self, page, which):
        """Return what a form of the page sends besides its button."""
        part = page.partition(f'action="/alerts/{which}"')[2].partition("</form>")[0]
        return dict(re.findall(r'name="(\w+)" value="([^"]*)">', part.partition("<button")[0]))


@pytest.fixture
def browser(both, tmp_path):
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "socket"))
    listening.listen()
    server = Server(both.settings, listening, 30)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield Browser(tmp_path / "socket")
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_buttons_work(both, browser):
    both.fire("DiskFull", "critical", mountpoint="/")
    page = browser.ask("GET", "/alerts/")
    assert (page.status, page.headers["Cache-Control"]) == (200, "no-store")
    assert "form-action 'self'" in page.headers["Content-Security-Policy"]
    words = page.headers["Set-Cookie"]
    assert words.startswith(COOKIE)
    assert all(word in words for word in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/"))
    form = browser.form(page.text, "silence") | {"hours": "24"}
    done = browser.ask("POST", "/alerts/silence", form, Remote_User="owner", Sec_Fetch_Site="same-origin")
    assert (done.status, done.headers["Location"]) == (303, "/alerts/?done=silenced")
    (made,) = both.silences
    assert {one["name"]: one["value"] for one in made["matchers"]} == both.alerts[0]["labels"]
    assert made["createdBy"] == "owner"
    both.alerts[0]["status"]["silencedBy"] = [made["id"]]
    page = browser.ask("GET", "/alerts/?done=silenced")
    assert "It is kept quiet." in page.text
    assert "by owner" in page.text
    done = browser.ask("POST", "/alerts/end", browser.form(page.text, "end"))
    assert done.headers["Location"] == "/alerts/?done=ended"
    assert made["status"]["state"] == "expired"


def test_a_page_of_somebody_elses_can_press_no_button(both, browser):
    both.fire("DiskFull", "critical")
    form = browser.form(browser.ask("GET", "/alerts/").text, "silence") | {"hours": "1"}
    mine = browser.cookie
    for wrong in (
        {"token": "x" * 32},
        {"token": ""},
    ):
        said = browser.ask("POST", "/alerts/silence", form | wrong)
        assert said.headers["Location"] == "/alerts/?done=stale"
    for headers in (
        {"Cookie": ""},
        {"Cookie": f"{COOKIE}={'x' * 32}"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Origin": "https://evil.example.org"},
        {"Origin": "null"},
    ):
        said = browser.ask("POST", "/alerts/silence", form, **headers)
        assert said.headers["Location"] == "/alerts/?done=stale", headers
    assert browser.ask("GET", "/alerts/silence?hours=1").status == 404
    assert browser.ask("POST", "/alerts/", form).status == 404
    assert both.silences == []
    browser.cookie = mine
    right = browser.ask("POST", "/alerts/silence", form, Origin="https://atlas.example.org")
    assert right.headers["Location"] == "/alerts/?done=silenced"


def test_what_a_form_may_say_is_little(both, browser):
    both.fire("DiskFull", "critical")
    form = browser.form(browser.ask("GET", "/alerts/").text, "silence")
    said = [
        browser.ask("POST", "/alerts/silence", form | more).headers["Location"].partition("=")[2]
        for more in ({"hours": "9999"}, {"hours": "1", "alert": "gone"}, {})
    ]
    assert said == ["failed", "gone", "failed"]
    assert browser.ask("POST", "/alerts/silence", Content_Length="5000").status == 413
    assert browser.ask("POST", "/alerts/silence", Content_Length="-1").status == 413
    assert browser.ask("POST", "/alerts/other", form).status == 404
    assert browser.ask("GET", "/alerts/../etc/passwd").status == 404
    assert both.silences == []
    both.broken = "/alerts"
    said = browser.ask("POST", "/alerts/silence", form | {"hours": "1"})
    assert said.headers["Location"] == "/alerts/?done=failed"


def test_the_cookie_stays_so_that_other_tabs_do(browser):
    browser.ask("GET", "/alerts/")
    first = browser.cookie
    browser.ask("GET", "/alerts/")
    assert browser.cookie == first


def test_each_half_is_shown_without_the_other(both, browser):
    both.fire("DiskFull", "critical")
    both.broken = "/prometheus"
    page = browser.ask("GET", "/alerts/")
    assert "DiskFull happened" in page.text
    assert "Prometheus says: no" in page.text
    both.broken = "/alertmanager"
    both.windows["300"] = [series((time.time() - 7200, 4))]
    page = browser.ask("GET", "/alerts/")
    assert "Alertmanager says: no" in page.text
    assert "DiskFull" in page.text
    assert browser.ask("HEAD", "/alerts/").text == ""


def test_the_style_is_served(browser):
    answer = browser.ask("GET", "/alerts/alerts.css")
    assert answer.headers["Content-Type"].startswith("text/css")
    assert "prefers-color-scheme: dark" in answer.text


def test_it_ends_when_nobody_comes(both, tmp_path):
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "socket"))
    listening.listen()
    with Server(both.settings, listening, 0.05) as server:
        server.handle_request()
        assert server.idle


def test_it_serves_only_on_a_socket_of_systemd(both, capsys):
    assert both.settings.docs
    assert cli.main(["alerts", "serve"]) == 1
    assert "the page is at /alerts/" in capsys.readouterr().err
