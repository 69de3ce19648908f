"""Who is told what, and in which words: judged by amtool, with the role's own configuration and templates."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ROLE = ROOT / "roles/alertmanager"
MAIL = {
    "atlas_mail_server": "mail.example.org",
    "atlas_mail_user": "me@example.org",
    "atlas_mail_to": "owner@example.org",
}
OTHERS = {
    "alertmanager_ntfy_url": "https://ntfy.example.org/topic",
    "alertmanager_ntfy_token": "tk_x",
    "alertmanager_slack_url": "https://hooks.example.org/T/B",
    "alertmanager_webhook_url": "https://program.example.org/hook",
    "alertmanager_webhook_token": "secret",
}
RECEIVERS = ("critical", "warning", "info", "heartbeat", "nobody")
VARIANTS = {
    "nothing": {},
    "mail": MAIL,
    "others": OTHERS,
    "everything": MAIL
    | OTHERS
    | {
        "alertmanager_heartbeat_url": "https://switch.example.org/x",
        "alertmanager_docs_url": "https://docs.example.org/atlas",
        "alertmanager_mute_times": [
            {"times": [{"start_time": "22:00", "end_time": "24:00"}], "location": "Europe/Berlin"}
        ],
    },
}


@pytest.fixture(scope="session")
def rendered(run_play, tmp_path_factory):
    """Return directories by variant, with what the role puts on the machine; links between them lead here."""
    home = tmp_path_factory.mktemp("alertmanager")
    files = [*sorted((ROOT / "group_vars/all").glob("*.yml")), *sorted(ROLE.glob("[dv]*/main.yml"))]
    tasks = [
        {
            "name": name,
            "install_tree": {
                "src": str(ROLE / "tree"),
                "dest": f"{home}/{name}",
                "journal": f"{home}/journal",
            },
            "vars": {"atlas_domain": "atlas.example.org", "atlas_auth_mode": "both"} | variables,
        }
        for name, variables in VARIANTS.items()
    ]
    play = {"hosts": "all", "gather_facts": False, "vars_files": list(map(str, files)), "tasks": tasks}
    run_play(home, play)
    for name in VARIANTS:
        file = home / name / "etc/atlas/alertmanager.yml"
        text = file.read_text()
        assert "/etc/atlas/alertmanager.d/" in text
        file.write_text(text.replace("/etc/atlas/", f"{home}/{name}/etc/atlas/"))
    return {name: home / name / "etc/atlas" for name in VARIANTS}


def amtool(*arguments):
    if shutil.which("amtool") is None:
        pytest.skip("amtool is not installed (Debian packages it in prometheus-alertmanager)")
    done = subprocess.run(["amtool", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def configuration(directory):
    return yaml.safe_load((directory / "alertmanager.yml").read_text())


@pytest.mark.parametrize("variant", VARIANTS)
def test_amtool_accepts_it(rendered, variant):
    said = amtool("check-config", rendered[variant] / "alertmanager.yml")
    assert "1 templates" in said  # one pattern, of two files


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        ({"alertname": "DiskFull", "severity": "critical"}, "critical"),
        ({"alertname": "DiskFull", "severity": "warning"}, "warning"),
        ({"alertname": "DiskFull"}, "warning"),
        ({"alertname": "Told", "severity": "info"}, "info"),
        ({"alertname": "MailNotDelivered", "severity": "warning"}, "critical"),
        ({"alertname": "AlertsNotSent", "severity": "critical"}, "critical"),
        ({"alertname": "Watchdog", "severity": "info"}, "heartbeat"),
    ],
)
def test_who_is_told(rendered, labels, receiver):
    words = [f"{name}={value}" for name, value in labels.items()]
    file = rendered["everything"] / "alertmanager.yml"
    assert amtool("config", "routes", "test", f"--config.file={file}", *words).strip() == receiver


def test_without_a_switch_the_watchdog_is_told_to_nobody(rendered):
    words = ["alertname=Watchdog", "severity=info"]
    file = rendered["mail"] / "alertmanager.yml"
    assert amtool("config", "routes", "test", f"--config.file={file}", *words).strip() == "nobody"


def ways(directory):
    """Return how each receiver is told: kinds, and hosts of webhooks."""
    found = {}
    for receiver in configuration(directory)["receivers"]:
        hooks = {
            urlsplit(one["url"]).hostname.partition(".")[0] for one in receiver.get("webhook_configs", [])
        }
        kinds = {kind for kind in ("email", "slack") if receiver.get(f"{kind}_configs")}
        found[receiver["name"]] = hooks | kinds
    return found


def test_each_way_is_on_when_it_is_configured(rendered):
    everything = {"email", "slack", "ntfy", "program"}
    assert ways(rendered["nothing"]) == {name: set() for name in RECEIVERS}
    assert ways(rendered["mail"])["critical"] == ways(rendered["mail"])["info"] == {"email"}
    others = ways(rendered["others"])
    assert others["critical"] == others["warning"] == others["info"] == everything - {"email"}
    both = ways(rendered["everything"])
    assert both["critical"] == both["warning"] == everything
    assert (both["info"], both["heartbeat"], both["nobody"]) == ({"email"}, {"switch"}, set())


def test_mail_goes_to_the_queue_of_this_machine(rendered):
    settings = configuration(rendered["mail"])["global"]
    assert (settings["smtp_smarthost"], settings["smtp_require_tls"]) == ("127.0.0.1:2525", False)


def test_a_way_that_is_muted_is_never_the_critical_one(rendered):
    routes = configuration(rendered["everything"])["route"]["routes"]
    assert [route["receiver"] for route in routes if "mute_time_intervals" in route] == ["info", "warning"]
    assert not [
        route
        for route in configuration(rendered["mail"])["route"]["routes"]
        if "mute_time_intervals" in route
    ]


def test_ntfy_gets_templates_of_its_own(rendered):
    """The address holds what ntfy fills in from the JSON; 4,096 bytes is the most it shows."""
    (hook,) = [
        one
        for receiver in configuration(rendered["everything"])["receivers"]
        if receiver["name"] == "critical"
        for one in receiver["webhook_configs"]
        if "ntfy" in one["url"]
    ]
    address = urlsplit(hook["url"])
    said = {name: value for name, (value,) in parse_qs(address.query, strict_parsing=True).items()}
    assert address.path == "/topic"
    assert (said["tpl"], said["p"], said["tags"]) == ("1", "4", "rotating_light")
    assert said["click"] == "https://atlas.example.org/alerts/"
    assert "CRITICAL: " in said["t"]
    assert "SEVERITY" not in said["t"]
    for template in (said["t"], said["m"]):
        assert template.count("{{") == template.count("}}") > 5
    assert hook["max_alerts"] * 400 < 4096
    assert hook["http_config"]["authorization"]["credentials"] == "tk_x"
    assert len(hook["url"]) < 4096


def alert(name, severity="warning", *, ended="", **more):
    return {
        "status": "resolved" if ended else "firing",
        "labels": {"alertname": name, "severity": severity, "instance": "atlas"},
        "annotations": {
            "summary": f"{name} is <b>here</b>",
            "description": "Look & see.",
            "runbook": f"docs/alerts.md#{name.lower()}",
        },
        "startsAt": "2026-11-22T04:05:06Z",
        "endsAt": ended or "0001-01-01T00:00:00Z",
        "generatorURL": "https://atlas.example.org/prometheus/graph?g0.expr=up+%3D%3D+0&g0.tab=1",
    } | more


def render(directory, template, alerts, tmp_path, kind="text", severity="warning"):
    """Return what a template says of alerts."""
    data = {
        "receiver": severity,
        "status": "firing" if any(one["status"] == "firing" for one in alerts) else "resolved",
        "alerts": alerts,
        "groupLabels": {"severity": severity},
        "commonLabels": {"severity": severity},
        "commonAnnotations": {},
        "externalURL": "https://atlas.example.org/alerts",
    }
    (tmp_path / "data.json").write_text(json.dumps(data))
    words = [f"--template.glob={directory}/alertmanager.d/*.tmpl", f"--template.data={tmp_path}/data.json"]
    text = f'--template.text={{{{ template "{template}" . }}}}'
    return amtool("template", "render", *words, f"--template.type={kind}", text)


OLD = alert("Old", startsAt="2026-11-20T04:05:06Z")
NEW = alert("New")
GONE = alert("Gone", ended="2026-11-22T05:35:06Z")


@pytest.mark.parametrize(
    ("alerts", "severity", "said"),
    [
        ([alert("Down", "critical")], "critical", "[Atlas] CRITICAL: Down is <b>here</b>"),
        ([OLD, NEW, OLD], "warning", "[Atlas] WARNING: New is <b>here</b> (and 2 more)"),
        ([NEW, OLD], "warning", "[Atlas] WARNING: New is <b>here</b> (and 1 more)"),
        ([GONE], "warning", "[Atlas] Resolved: Gone is <b>here</b>"),
        ([GONE, OLD], "info", "[Atlas] INFO: Old is <b>here</b>; resolved: Gone is <b>here</b>"),
        ([alert("Bare", annotations={})], "info", "[Atlas] INFO: Bare"),
    ],
)
def test_the_subject(rendered, tmp_path, alerts, severity, said):
    subject = render(rendered["mail"], "atlas.subject", alerts, tmp_path, severity=severity)
    assert subject == said


def test_the_text_says_all_there_is_to_know(rendered, tmp_path):
    assert render(rendered["everything"], "atlas.text", [NEW, GONE], tmp_path) == (
        "WARNING: New is <b>here</b>\n"
        "New, on atlas, since 04:05 UTC on 22 November\n"
        "Look & see.\n"
        "What it means, what to do: https://docs.example.org/atlas/docs/alerts.md#new\n"
        "Graph: https://atlas.example.org/prometheus/graph?g0.expr=up+%3D%3D+0&g0.tab=1\n"
        "\n"
        "Resolved: Gone is <b>here</b>\n"
        "Gone, on atlas, from 04:05 UTC on 22 November to 05:35 UTC on 22 November, after 1h30m0s\n"
        "\n"
        "All alerts, and silence: https://atlas.example.org/alerts/\n"
    )


def test_without_an_address_of_the_docs_they_are_read_on_the_machine(rendered, tmp_path):
    address = "https://atlas.example.org/alerts/runbooks/docs/alerts.md#new"
    said = render(rendered["mail"], "atlas.text", [NEW], tmp_path)
    assert f"What it means, what to do: {address}\n" in said
    html = render(rendered["mail"], "atlas.html", [NEW], tmp_path, "html")
    assert f'href="{address}"' in html


def test_every_alert_has_its_runbook_on_the_machine(rendered):
    pages = rendered["mail"].parents[1] / "usr/share/atlas/runbooks"
    runbooks = [
        rule["annotations"]["runbook"]
        for file in ROOT.glob("roles/*/tree/etc/prometheus/rules.d/*.yml")
        for group in yaml.safe_load(file.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]
    assert len(runbooks) > 50
    for page, _, anchor in (runbook.partition("#") for runbook in runbooks):
        assert f'<h3 id="{anchor}">' in (pages / page).read_text(), (page, anchor)


def test_no_link_of_a_runbook_leads_nowhere(rendered):
    folder = rendered["mail"].parents[1] / "usr/share/atlas/runbooks/docs"
    pages = {path.name: path.read_text() for path in folder.iterdir()}
    for name, text in pages.items():
        for link in re.findall('href="(?!https:|/)([^"]*)"', text):
            page, _, anchor = link.partition("#")
            assert not anchor or f'id="{anchor}"' in pages[page or name], (name, link)


def test_the_html_escapes_what_alerts_say(rendered, tmp_path):
    html = render(rendered["everything"], "atlas.html", [alert("Down", "critical"), GONE], tmp_path, "html")
    assert "Down is &lt;b&gt;here&lt;/b&gt;" in html
    assert "<b>here" not in html
    assert 'href="https://docs.example.org/atlas/docs/alerts.md#down"' in html
    assert 'href="https://atlas.example.org/prometheus/graph?g0.expr=up' in html
    assert 'href="https://atlas.example.org/alerts/"' in html
    assert "#c1121f" in html
    assert "#1a7f37" in html
    assert "ZgotmplZ" not in html
    assert len(html) < 4000


def test_forty_alerts_make_one_mail_of_a_size_a_phone_can_show(rendered, tmp_path):
    html = render(rendered["everything"], "atlas.html", [NEW] * 40, tmp_path, "html")
    assert len(html) < 40_000


def test_slack(rendered, tmp_path):
    said = render(rendered["everything"], "atlas.slack", [NEW, GONE], tmp_path)
    assert said.startswith("*New is <b>here</b>*, on atlas, since 04:05 UTC on 22 November\nLook & see.\n")
    assert "Resolved: *Gone is <b>here</b>*, on atlas, at 05:35 UTC on 22 November, after 1h30m0s" in said
    assert render(rendered["everything"], "atlas.color", [NEW], tmp_path) == "#b35900"
    assert render(rendered["everything"], "atlas.color", [GONE], tmp_path) == "good"


def test_silences_are_exchanged_while_nobody_writes_them():
    """It keeps them in memory, and writes them again when it ends."""
    known = json.loads((ROLE / "tree/etc/atlas/backup.d/alertmanager.json").read_text())
    assert known["units"] == ["prometheus-alertmanager.service"]
