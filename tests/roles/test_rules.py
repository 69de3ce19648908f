"""Alert rules, judged by promtool: each fires when it should, only then, and has its place in a runbook."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TESTS = Path(__file__).parent / "rules"
PAGE = ROOT / "docs/alerts.md"
#: They take weeks: test_usual.py.
ELSEWHERE = {"IngestUnusual", "FailuresUnusual"}
RULES = sorted(ROOT.glob("roles/*/tree/etc/prometheus/rules.d/*.yml"))


def all_rules(path):
    return [rule for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


def alerts(path):
    return [rule for rule in all_rules(path) if "alert" in rule]


def trials(rules):
    """Return its tests: by the minute, and those that take days, in longer steps."""
    return [file for file in (TESTS / rules.name, TESTS / f"{rules.stem}_days.yml") if file.exists()]


@pytest.fixture(params=RULES, ids=lambda path: path.stem)
def rules(request):
    return request.param


def test_promtool_accepts_them(promtool, rules):
    promtool("check", "rules", rules)


def test_they_fire_when_they_should(promtool, rules):
    promtool("test", "rules", *trials(rules))


def test_each_alert_is_tried_firing_and_silent(rules):
    tried = {}
    for file in trials(rules):
        for test in yaml.safe_load(file.read_text())["tests"]:
            for check in test.get("alert_rule_test", []):
                tried.setdefault(check["alertname"], set()).add(bool(check.get("exp_alerts")))
    # What always fires cannot be silent.
    assert tried == {
        rule["alert"]: {True} if rule["expr"] == "vector(1)" else {True, False}
        for rule in alerts(rules)
        if rule["alert"] not in ELSEWHERE
    }


def test_recording_rules_are_named_by_level_metric_and_operation(rules):
    for name in (rule["record"] for rule in all_rules(rules) if "record" in rule):
        assert re.fullmatch("[a-z]+:[a-z_]+:[a-z]+([0-9]+[mh])?", name), name


def test_each_alert_says_what_to_do(rules):
    for rule in alerts(rules):
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(), re.MULTILINE)
        assert anchor == rule["alert"].lower()
        assert rule["alert"] in headings
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]


def test_the_table_of_alerts_tells_all_of_them():
    told = re.findall(r"^\| \[(\w+)\]\((\S+)\) \| (\w+) \| ([\w ]+) \|", PAGE.read_text(), re.MULTILINE)
    assert sorted(told) == sorted(row(rule) for path in RULES for rule in alerts(path))


def row(rule):
    runbook = rule["annotations"]["runbook"].removeprefix("docs/").removeprefix(PAGE.name)
    count, unit = (
        int(rule.get("for", "0m")[:-1]),
        {"m": "minute", "h": "hour", "d": "day"}[rule.get("for", "0m")[-1]],
    )
    after = f"{count} {unit}{'s' if count > 1 else ''}" if count else "at once"
    return rule["alert"], runbook, rule["labels"]["severity"], after
