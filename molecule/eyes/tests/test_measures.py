"""What is measured: all that rules and dashboards ask for, and right."""

import re
import statistics
import sys
import time
from pathlib import Path

import pytest
import yaml
from library import Library, article

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "tests"))

from watching import QUICK  # noqa: E402

import dashboards  # noqa: E402

JOBS = {"alertmanager", "atlas", "blackbox", "nginx", "node", "postgres", "process", "prometheus"}
ARTICLES, NOTHING = 270, 30
PAIRS, TAKEN_IN = 15, 150
# Health's timer among them: it would start the others again.
WATCHERS = (
    "atlas-health.timer prometheus prometheus-alertmanager prometheus-node-exporter"
    " prometheus-blackbox-exporter prometheus-nginx-exporter prometheus-process-exporter"
    " prometheus-postgres-exporter"
)
#: Metrics that are not there, and why.
NOT_HERE = {
    r"atlas_free_tier_.*|atlas_usage_.*": "there is no account in Oracle Cloud",
    r"atlas:(ingested|failed):(avg|increase|usual).*": "what is usual is known after three weeks",
    r"alertmanager_(nflog|silences)_maintenance_.*": "it counts that from Debian 13 on",
    r"atlas_mail_queue_oldest_timestamp_seconds": "only while mail waits",
    r"node_timex_.*": "a container's clock is its host's",
    r"atlas_backup_home_.*": "no personal machine fetches backups",
    r"atlas_backup_repository_budget_bytes": "only storage elsewhere has one",
    r"grafana_.*": "its vendor's packages are not installed here",
}
NAME = re.compile(r"(?<![\w.\"'=~$])([a-zA-Z_][\w:]*_[\w:]*|\w+:\w+:\w+)(?!\w*\()")
BY = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
LABELS = re.compile(r"\{[^{}]*\}|\"[^\"]*\"")


def names(expression):
    """Return the metrics an expression asks for."""
    bare = LABELS.sub(" ", BY.sub(" ", expression))
    return {name for name in NAME.findall(bare) if not name.isupper()}


def test_names_are_found_in_expressions():
    said = 'sum by (le, a_label) (rate(a_b{x="c_d"}[5m])) / on (a_label) avg_over_time(l:m:n[3h] offset 7d)'
    assert names(said) == {"a_b", "l:m:n"}


def expressions():
    """Return what the rules ask, by where it stands."""
    for path in sorted(ROOT.glob("roles/*/tree/etc/prometheus/rules.d/*.yml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                yield f"{path.stem}: {rule.get('alert') or rule['record']}", rule["expr"]


def test_all_that_is_to_be_measured_is(prometheus, eventually):
    def states():
        return {(one["labels"]["job"], one["health"]) for one in prometheus.ask("targets")["activeTargets"]}

    eventually(lambda: {health for _, health in states()} == {"up"}, 60)
    assert {job for job, _ in states()} >= JOBS


def test_what_is_counted_is_what_happened(  # noqa: PLR0917
    host, web, pages, prometheus, eventually, tmp_path
):
    """270 articles and 30 addresses where there is nothing."""
    counted = {
        "taken in": 'sum(atlas_item_outcomes_total{outcome=~"complete|duplicate"}) or vector(0)',
        "failed": 'sum(atlas_item_outcomes_total{outcome="failed"}) or vector(0)',
    }
    before = {what: prometheus.value(expression) for what, expression in counted.items()}
    for number in range(ARTICLES):
        (tmp_path / f"{number}.html").write_text(article(f"bird number {number}"))
    address = pages(tmp_path)
    library = Library(web, host.check_output("atlas token create test"))
    numbers = [library.add(f"{address}/{number}.html") for number in range(ARTICLES + NOTHING)]
    library.ended(numbers, 120)
    for what, much in (("taken in", ARTICLES), ("failed", NOTHING)):
        eventually(lambda what=what, much=much: prometheus.value(counted[what]) - before[what] == much)
    shares = {
        "atlas:ingest_failures:ratio1h": NOTHING / (ARTICLES + NOTHING),
        "sum(increase(atlas:ingested:sum[10m]))": ARTICLES,
        "increase(atlas:failed:sum[10m])": NOTHING,
    }
    # Prometheus draws a line through what it saw, a little beyond both ends.
    for expression, share in shares.items():
        eventually(lambda e=expression, s=share: prometheus.value(e) == pytest.approx(s, rel=0.15))


def test_every_alert_leads_to_what_is_to_be_done(web, owner_password):
    runbooks = {
        rule["annotations"]["runbook"]
        for path in ROOT.glob("roles/*/tree/etc/prometheus/rules.d/*.yml")
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    pages = dict.fromkeys({runbook.partition("#")[0] for runbook in runbooks}, "")
    for name in pages:
        address = f"/alerts/runbooks/{name}"
        assert web.get(address).status_code == 401
        answer = web.get(address, auth=("owner", owner_password))
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8"), name
        pages[name] = answer.text
    for name, _, anchor in (runbook.partition("#") for runbook in runbooks):
        assert f'id="{anchor}"' in pages[name], (name, anchor)


def test_every_metric_a_rule_names_is_there(prometheus):
    there = set(prometheus.ask("label/__name__/values"))
    missing = {
        f"{where} names {name}"
        for where, expression in expressions()
        for name in names(expression) - there
        if not any(re.fullmatch(pattern, name) for pattern in NOT_HERE)
    }
    assert missing == set()


def test_every_panel_of_the_dashboards_shows_something(prometheus, eventually):
    def empty():
        return [
            f"{name}: {panel}: {expression}"
            for name, dashboard in dashboards.load().items()
            for panel, expression in dashboards.queries(dashboard)
            if not prometheus.query(expression)
        ]

    eventually(lambda: empty() == [], 60)


def test_watching_takes_little_memory(prometheus, eventually):
    def watchers() -> dict[str, float]:
        taken = prometheus.query('namedprocess_namegroup_memory_bytes{memtype="resident"}')
        names = {name: size for labels, size in taken.items() for key, name in labels if key == "groupname"}
        ours = {"prometheus", "alertmanager"}
        return {name: size for name, size in names.items() if name in ours or name.endswith("-exporter")}

    # One that has just started is known by its name at the next look.
    eventually(lambda: len(watchers()) == 7)
    # Grafana, where it is, may take its hundred besides.
    assert sum(watchers().values()) < 250e6


@pytest.mark.skipif(QUICK, reason="it takes ten minutes: make test-long")
@pytest.mark.timeout(3600)
def test_watching_slows_ingestion_by_less_than_two_per_cent(host, web, pages, tmp_path):
    """Pairs of runs, one with and one without all that measures; which of the two is first takes turns."""
    for number in range(2 * PAIRS * TAKEN_IN):
        (tmp_path / f"pair-{number}.html").write_text(article(f"bird of pair {number}"))
    address = pages(tmp_path)
    library = Library(web, host.check_output("atlas token create pairs"))
    fresh = iter(range(2 * PAIRS * TAKEN_IN))

    def seconds(verb):
        host.check_output(f"systemctl {verb} {WATCHERS}")
        time.sleep(5)  # what starts is busy
        began = time.monotonic()
        numbers = [library.add(f"{address}/pair-{next(fresh)}.html") for _ in range(TAKEN_IN)]
        library.ended(numbers, 300)
        return time.monotonic() - began

    ratios = []
    for pair in range(PAIRS):
        verbs = ("start", "stop") if pair % 2 else ("stop", "start")
        took = {verb: seconds(verb) for verb in verbs}
        ratios.append(took["start"] / took["stop"])
    print(f"Watched, {TAKEN_IN} articles took this share of the time they take unwatched:", sorted(ratios))
    assert statistics.median(ratios) < 1.02


def test_measures_are_behind_the_password(web):
    assert web.get("/prometheus/graph").status_code == 401
