"""What is unusual is told, and what is only life is not: the rules of `atlas_usual` in made-up weeks.

Three show what is usual, a fourth is judged. Each kind of life is an instance, all in one run of promtool.
"""

import itertools
import math
import random
from pathlib import Path

import pytest
import yaml

RULES = Path(__file__).parents[2] / "roles/atlas/tree/etc/prometheus/rules.d/atlas.yml"
DAYS = 26
LOOKS = 12  # in an hour: one each five minutes, as the group's own interval
NOON = 23 * 24 + 12  # of a day in the fourth week


def readers_feeds(chance, hour):
    """Sixty feeds: sixty items an hour by day, six at night, half of that on Saturday and Sunday."""
    rate = (60 if 7 <= hour % 24 < 22 else 6) * (0.5 if hour // 24 % 7 in {5, 6} else 1)
    return poisson(chance, rate / LOOKS)


def offices_feeds(chance, hour):
    """Many by day, from one minute to the next nothing at night."""
    return poisson(chance, 100 / LOOKS) if 6 <= hour % 24 < 22 else 0


def bursts(chance, hour):
    """Some feeds that bring all of a day at once: nothing for hours, then up to thirty."""
    return chance.randint(3, 30) if chance.random() < (1 if 6 <= hour % 24 < 23 else 0.2) / LOOKS else 0


def a_handful(chance, hour):
    """Twenty items a day: of them nobody can say that they do not come."""
    return poisson(chance, 1.2 / LOOKS) if 6 <= hour % 24 < 23 else 0


def poisson(chance, rate):
    end, drawn, count = math.exp(-rate), chance.random(), 0
    while drawn > end:
        drawn, count = drawn * chance.random(), count + 1
    return count


def times(life, share, days):
    return lambda chance, hour: round(life(chance, hour) * (share if hour // 24 in days else 1))


def late(life):
    """In the fourth week the clock is another."""
    return lambda chance, hour: life(chance, hour + (1 if hour >= 24 * 21 else 0))


def until(life, hours):
    return lambda chance, hour: 0 if hour in hours else life(chance, hour)


def importing(life, hours, each=1400):
    return lambda chance, hour: life(chance, hour) + (each if hour in hours else 0)


def two_an_hour(chance, hour):
    return poisson(chance, 2 / LOOKS)


def none_ever(chance, hour):
    return 0


IMPORTS = [*range(10 * 24 + 9, 10 * 24 + 15), *range(24 * 24 + 9, 24 * 24 + 15)]
STOPPED = range(NOON - 3, NOON + 24)

# name: what comes in, what fails, when an import waits, when Atlas is away
QUIET = {
    "feeds": (readers_feeds, two_an_hour, (), ()),
    "offices": (offices_feeds, two_an_hour, (), ()),
    "bursts": (bursts, two_an_hour, (), ()),
    "handful": (until(a_handful, STOPPED), none_ever, (), ()),
    "import": (importing(readers_feeds, IMPORTS), importing(two_an_hour, IMPORTS, 50), IMPORTS, ()),
    "holidays": (times(readers_feeds, 0.25, {9, 23}), two_an_hour, (), ()),
    "summertime": (late(offices_feeds), two_an_hour, (), ()),
    "away": (readers_feeds, two_an_hour, (), [*range(24 * 16, 24 * 17), *range(NOON, NOON + 10)]),
    # The first failures of a life, and no more than a bad evening.
    "evening": (
        readers_feeds,
        lambda chance, hour: poisson(chance, (12 if hour in range(NOON, NOON + 2) else 0) / LOOKS),
        (),
        (),
    ),
}
TOLD = {
    "stopped": (until(readers_feeds, STOPPED), two_an_hour, (), ()),
    "stopped_after_import": (
        until(importing(readers_feeds, IMPORTS[:6]), STOPPED),
        two_an_hour,
        IMPORTS[:6],
        (),
    ),
    "stopped_offices": (until(offices_feeds, STOPPED), none_ever, (), ()),
    "failing": (
        readers_feeds,
        lambda chance, hour: 5 if hour in STOPPED else two_an_hour(chance, hour),
        (),
        (),
    ),
    "failing_first": (readers_feeds, lambda chance, hour: 5 if hour in STOPPED else 0, (), ()),
}


def counter(life, chance, away, begin=700):
    """Return a counter as promtool wants it; `_` where Atlas is not there to be asked."""
    hours = [look // LOOKS for look in range(DAYS * 24 * LOOKS)]
    counts = itertools.accumulate((life(chance, hour) for hour in hours), initial=begin)
    return " ".join("_" if hour in away else str(count) for hour, count in zip(hours, counts, strict=False))


def series(name, coming, failing, imports, away, chance):
    outcome = f'atlas_item_outcomes_total{{instance="{name}", job="atlas", kind="article", outcome='
    waiting = " ".join("500" if look // LOOKS in imports else "0" for look in range(DAYS * 24 * LOOKS))
    found = [
        {"series": outcome + '"complete"}', "values": counter(coming, chance, set(away))},
        {"series": f'atlas_queue_length{{instance="{name}", lane="import"}}', "values": waiting},
    ]
    if failing is not none_ever:
        found.append(
            {
                "series": outcome + '"failed", code="http_404"}',
                "values": counter(failing, chance, set(away), 0),
            }
        )
    return found


def expect(expression, hour, names):
    return {
        "expr": f"count by (instance) ({expression})",
        "eval_time": f"{hour}h",
        "exp_samples": [{"labels": f'{{instance="{name}"}}', "value": 1} for name in names],
    }


def told(alert, hour, names, summary, description):
    words = {"summary": summary, "description": description, "runbook": f"docs/alerts.md#{alert.lower()}"}
    alerts = [
        {"exp_labels": {"severity": "info", "instance": name}, "exp_annotations": words} for name in names
    ]
    return {"alertname": alert, "eval_time": f"{hour}h", "exp_alerts": alerts}


@pytest.mark.slow
def test_the_unusual_is_told_and_nothing_else(promtool, tmp_path):
    groups = yaml.safe_load(RULES.read_text())["groups"]
    records = [
        rule for group in groups for rule in group["rules"] if rule.get("record") == "atlas:importing:max2h"
    ]
    wanted = [
        {"name": "records", "rules": records},
        *(group for group in groups if group["name"] == "atlas_usual"),
    ]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": wanted}))
    firing = 'ALERTS{alertstate="firing", alertname="%s"}'
    ingest, failures = firing % "IngestUnusual", firing % "FailuresUnusual"
    stopped, failing = (
        [name for name in TOLD if "stopped" in name],
        [name for name in TOLD if "failing" in name],
    )
    lives = QUIET | TOLD
    test = {
        "interval": "5m",
        "input_series": [
            row for name, life in lives.items() for row in series(name, *life, random.Random(name))
        ],
        "alert_rule_test": [
            told(
                "IngestUnusual",
                NOON + 8,
                stopped,
                "0 items an hour came in, less than a tenth of what is usual at this time",
                "Are the feeds still asked? The page Feeds shows which do not answer.",
            ),
            told(
                "FailuresUnusual",
                NOON + 2,
                failing,
                "60 items an hour fail, over five times what is usual at this time",
                "The page Failed shows the reasons.",
            ),
        ],
        "promql_expr_test": [
            # Ever.
            expect(f"count_over_time({ingest}[4w])", DAYS * 24 - 1, stopped),
            expect(f"count_over_time({failures}[4w])", DAYS * 24 - 1, failing),
            # Not at once, then within eleven hours (of failures four), and no more when it is mended.
            expect(ingest, NOON - 3, []),
            expect(ingest, STOPPED.stop + 4, []),
            expect(failures, NOON - 2, []),
            expect(failures, STOPPED.stop + 4, []),
        ],
    }
    for one in test["promql_expr_test"]:
        one["exp_samples"].sort(key=lambda sample: sample["labels"])
    whole = {"rule_files": ["rules.yml"], "evaluation_interval": "5m", "tests": [test]}
    whole["group_eval_order"] = ["atlas_records", "atlas", "atlas_usual"]
    (tmp_path / "test.yml").write_text(yaml.safe_dump(whole, width=10**9))
    promtool("test", "rules", tmp_path / "test.yml")
