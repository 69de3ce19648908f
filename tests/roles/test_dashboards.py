"""The dashboards: made by their builder, readable by Grafana, asking for what there is, leading somewhere."""

import copy
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tests.dashboards import VARIABLES, annotations, load, queries
from tests.roles.test_rules import RULES

from atlas.telemetry.catalogue import CATALOGUE

ROOT = Path(__file__).parents[2]
DASHBOARDS = load()
# What the exporters of Debian 12 call what we ask of them.
EXPORTED = {
    "node": {
        "node_cpu_seconds_total",
        "node_disk_read_bytes_total",
        "node_disk_written_bytes_total",
        "node_memory_MemAvailable_bytes",
        "node_memory_MemTotal_bytes",
        "node_memory_SwapFree_bytes",
        "node_memory_SwapTotal_bytes",
        "node_network_receive_bytes_total",
        "node_network_transmit_bytes_total",
        "node_systemd_service_restart_total",
        "node_systemd_unit_state",
    },
    "process": {"namedprocess_namegroup_cpu_seconds_total", "namedprocess_namegroup_memory_bytes"},
    "blackbox": {"probe_ssl_earliest_cert_expiry"},
    "nginx": {"nginx_http_requests_total"},
    "postgres": {
        "pg_settings_max_connections",
        "pg_stat_database_numbackends",
        "pg_stat_database_xact_commit",
        "pg_stat_database_xact_rollback",
    },
    # atlasctl writes these for the node exporter.
    "atlasctl": {
        "atlas_health_state",
        "atlas_health_restarts_total",
        "atlas_backup_success_timestamp_seconds",
        "atlas_drill_success_timestamp_seconds",
    },
    "prometheus": {"up", "ALERTS"},
    "rules of prometheus": {
        "atlas:ingested:rate5m",
        "atlas:request_errors:ratio5m",
        "atlas:requests:rate5m",
        "instance:cpu:ratio5m",
        "instance:disk:ratio",
        "instance:memory:ratio",
    },
}
SUFFIXES = {
    "counter": ("_total",),
    "histogram": ("_bucket", "_sum", "_count"),
    "info": ("_info",),
    "gauge": ("",),
}
# Pages that a dashboard may lead to, besides dashboards.
PAGES = {
    "/status/": "roles/nginx/tree/etc/nginx/sites-enabled/atlas.conf.j2",
    "/failed": "app/atlas/web/failed.py",
    "/alerts/": "roles/alertmanager/tree/etc/nginx/atlas.d/alerts.conf.j2",
}


@pytest.fixture(params=DASHBOARDS)
def dashboard(request):
    return DASHBOARDS[request.param]


def asked():
    return [(name, *one) for name, made in DASHBOARDS.items() for one in (*queries(made), *annotations(made))]


def metrics(expression):
    """Name the metrics of an expression: the words that are no function, keyword, label or text."""
    bare = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"\b(by|on|without|ignoring)\s*\([^)]*\)", "", bare)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", bare)
    words = re.findall(r"[A-Za-z_:][A-Za-z0-9_:]*(?!\s*\(|[A-Za-z0-9_:])", bare)
    return {word for word in words if word not in {"or", "and", "unless", "offset", "m", "d", "h", "s", "by"}}


def test_the_files_are_what_the_builder_makes():
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/dashboards", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_there_are_three_with_names_of_their_own():
    assert set(DASHBOARDS) == {"overview", "system", "content"}
    assert len({made["uid"] for made in DASHBOARDS.values()}) == 3
    assert len({made["title"] for made in DASHBOARDS.values()}) == 3


def test_they_are_what_grafana_reads(dashboard):
    """Nothing is lost when Grafana's own types read and write it."""
    script = (
        "import json, sys, warnings; warnings.simplefilter('ignore');"
        "from grafana_foundation_sdk.cog.encoder import JSONEncoder;"
        "from grafana_foundation_sdk.cog.plugins import register_default_plugins;"
        "from grafana_foundation_sdk.models.dashboard import Dashboard;"
        "register_default_plugins();"
        "print(JSONEncoder().encode(Dashboard.from_json(json.load(sys.stdin))))"
    )
    again = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps(dashboard),
        capture_output=True,
        text=True,
        check=True,
    )
    wanted = copy.deepcopy(dashboard)
    for link in wanted["links"]:
        link["placement"] = "inControlsMenu"  # the one place the types know
    assert json.loads(again.stdout) == wanted


def test_every_panel_can_be_understood(dashboard):
    titles = [panel["title"] for panel in dashboard["panels"]]
    assert len(set(titles)) == len(titles)
    for panel in dashboard["panels"]:
        assert 3 <= len(panel["title"]) <= 45, panel["title"]
        assert panel["description"].endswith((".", ")")), panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "prometheus"}
        assert panel["targets"]
        defaults = panel["fieldConfig"]["defaults"]
        if panel["type"] in {"stat", "timeseries"}:
            assert defaults["unit"], panel["title"]
        if panel["type"] == "stat":
            assert len(defaults.get("thresholds", {}).get("steps", [])) >= 1
        if panel["type"] == "state-timeline":
            assert all(one["color"] for one in defaults["mappings"][0]["options"].values())


def test_they_are_read_on_a_phone(dashboard):
    """Grafana puts panels below each other there: few of them, none that is lost without its neighbour."""
    assert len(dashboard["panels"]) <= 24
    rows = {}
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["w"] == 24 or (panel["type"] == "stat" and place["w"] >= 8), panel["title"]
        assert place["h"] <= 12
        rows.setdefault(place["y"], []).append(place)
    for row in rows.values():
        assert sum(place["w"] for place in row) == 24, row
        assert len({place["h"] for place in row}) == 1
    tops = [panel["gridPos"]["y"] for panel in dashboard["panels"]]
    assert tops == sorted(tops), "on a phone they stand in this order"


def test_every_link_leads_somewhere(dashboard):
    links = [link["url"] for link in dashboard["links"]]
    for panel in dashboard["panels"]:
        links += [link["url"] for link in panel["fieldConfig"]["defaults"].get("links", [])]
    uids = {made["uid"] for made in DASHBOARDS.values()}
    assert {f"/grafana/d/{uid}" for uid in uids - {dashboard["uid"]}} <= set(links)
    for link in links:
        uid = link.removeprefix("/grafana/d/")
        assert uid in uids if uid != link else link in PAGES, link


@pytest.mark.parametrize("page", PAGES)
def test_the_pages_they_lead_to_are_there(page):
    assert page in (ROOT / PAGES[page]).read_text()


def test_every_expression_is_one(promtool, tmp_path):
    rules = [
        {"record": f"asked:number{number}", "expr": expression}
        for number, (_, _, expression) in enumerate(asked())
    ]
    assert len(rules) > 40
    path = tmp_path / "asked.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "asked", "rules": rules}]}))
    promtool("check", "rules", "--lint=none", path)


def test_they_ask_for_nothing_that_nobody_measures():
    known = set().union(*EXPORTED.values())
    for entry in CATALOGUE.values():
        known |= {entry.name + suffix for suffix in SUFFIXES[entry.type]}
    for path in RULES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            known |= {rule["record"] for rule in group["rules"] if "record" in rule}
    found = {name: f"{file}: {title}" for file, title, expr in asked() for name in metrics(expr)}
    assert {name: where for name, where in found.items() if name not in known} == {}
    assert set().union(*EXPORTED.values()) <= set(found), "nobody asks for it"


def test_variables_are_filled_in():
    text = json.dumps(DASHBOARDS)
    assert {f"${name}" for name in re.findall(r"\$(\w+)", text)} <= set(VARIABLES)
