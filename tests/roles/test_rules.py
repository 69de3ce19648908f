"""Alert rules, judged by promtool: each fires when it should, only then, and has its place in a runbook."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TESTS = Path(__file__).parent / "rules"
RULES = sorted(ROOT.glob("roles/*/tree/etc/prometheus/rules.d/*.yml"))


def promtool(*arguments):
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (Debian packages it in prometheus)")
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def alerts(path):
    return [rule for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


@pytest.fixture(params=RULES, ids=lambda path: path.stem)
def rules(request):
    return request.param


def test_promtool_accepts_them(rules):
    promtool("check", "rules", rules)


def test_they_fire_when_they_should(rules):
    promtool("test", "rules", TESTS / rules.name)


def test_each_alert_is_tried_firing_and_silent(rules):
    tried = {}
    for test in yaml.safe_load((TESTS / rules.name).read_text())["tests"]:
        for check in test["alert_rule_test"]:
            tried.setdefault(check["alertname"], set()).add(bool(check.get("exp_alerts")))
    assert tried == {rule["alert"]: {True, False} for rule in alerts(rules)}


def test_each_alert_says_what_to_do(rules):
    for rule in alerts(rules):
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(), re.MULTILINE)
        assert anchor == rule["alert"].lower()
        assert rule["alert"] in headings
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]
