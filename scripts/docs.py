"""Write the pages of docs/ that say what stands in code: configuration.md, metrics.md and stages.md.

`python scripts/docs.py` writes them, `--check` says whether they are as they should be (exit code 1 if not).
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "app"))

# The app is not installed, it stands beside us.
from atlas.settings import PREFIX, Settings  # noqa: E402
from atlas.stages.table import DONE, FETCHING, GROUPS, TERMINAL, Stage, group  # noqa: E402
from atlas.telemetry.catalogue import CATALOGUE, Entry  # noqa: E402
from atlas.telemetry.metrics import CACHE_SECONDS, COUNT_SECONDS  # noqa: E402

CONFIGURATION_HEAD = """# Configuration

<!-- Written by `make docs` from the roles' argument specs and the app's settings. -->

Variables of the playbook belong into `group_vars/` of an inventory; what several roles share stands, with its
default, in `group_vars/all/`. A wrong value, or a name no role knows, stops the play before anything changes.
"""


METRICS_HEAD = """# Metrics

<!-- Written by `make docs` from app/atlas/telemetry/catalogue.py. -->

`GET /metrics` answers Prometheus: from the machine itself without a token, from elsewhere with one. What it
says is at most {cache} seconds old (what must look at every item: {count} seconds), so that scraping costs
next to nothing however large the library is. No label holds a web address or a host.

Counters are sums over all processes of Atlas, kept in the database: they go on counting through restarts and
updates. What a process has counted is written every few seconds.

| metric | type | labels | what it tells |
|---|---|---|---|
"""
METRICS_TAIL = """
Besides there are `process_*` (memory, CPU seconds, open files, start time) of the API's process.

## Questions they answer

| question | expression |
|---|---|
| Does Atlas keep up? | `max(atlas_queue_oldest_wait_seconds)` |
| How many items come in an hour? | `sum by (kind) (increase(atlas_item_outcomes_total{outcome="complete"}[1h]))` |
| Why do items fail? | `topk(5, sum by (code) (increase(atlas_item_outcomes_total{outcome="failed"}[1d])))` |
| How many seconds does reading take (95 %)? | `histogram_quantile(0.95, sum by (le) (rate(atlas_step_seconds_bucket{step="read"}[1h])))` |
| Does a worker live? | `min(atlas_worker_heartbeat_age_seconds) < 60` |
| How quick are answers (95 %)? | `histogram_quantile(0.95, sum by (le, route) (rate(atlas_request_seconds_bucket[5m])))` |
| How far is the import? | `atlas_import_records{progress="read"} / ignoring(progress) atlas_import_records{progress="total"}` |
| Do transcripts arrive? | `sum by (outcome) (increase(atlas_transcripts_total[1d]))` |
| Did anything break inside? | `sum(increase(atlas_errors_total[1d]))`, then [`atlas error ID`](logs-and-errors.md) |
"""  # noqa: E501 - a row of a table is one line


STAGES_HEAD = """# Stages

<!-- Written by `make docs` from app/atlas/stages/table.py. -->

An item's row is the queue: its stage says where it stands and what comes next. Every change is recorded with
its time, the reason in plain words, and the correlation id that leads through the log from the request to the
last stage (`GET /api/items/ID` shows where an item stands, its page the whole history).

Some numbers have a meaning and no step of their own yet: what happens there is part of the step that ends the
group. Failed items: [resilience](resilience.md).
"""


def main() -> int:
    """Write or check the pages; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, say whether they are current")
    check = parser.parse_args().check
    status = 0
    pages = {"configuration.md": configuration(), "metrics.md": metrics(), "stages.md": stages()}
    for name, text in pages.items():
        page = ROOT / "docs" / name
        if not check:
            page.write_text(text)
        elif not page.exists() or page.read_text() != text:
            print(f"docs/{name} is not what the code says; run `make docs`", file=sys.stderr)
            status = 1
    return status


def metrics() -> str:
    """Return the page of metrics."""
    head = METRICS_HEAD.format(cache=round(CACHE_SECONDS), count=round(COUNT_SECONDS))
    return head + "".join(f"{metric(entry)}\n" for entry in CATALOGUE.values()) + METRICS_TAIL


def stages() -> str:
    """Return the page of stages."""
    lines = [STAGES_HEAD]
    for first, name in GROUPS.items():
        lines += [f"## {first:03}-{first + 99:03}: {name}" if first < 600 else f"## {name}", ""]
        lines += ["| stage | name | what it means | next |", "|---|---|---|---|"]
        lines += [
            f"| {stage:03} | {stage.name} | {stage.meaning} | {following(stage)} |"
            for stage in Stage
            if group(stage) == name
        ]
        lines.append("")
    return "\n".join(lines)


def following(stage: Stage) -> str:
    """Say what happens to an item at a stage."""
    if stage in DONE:
        return "the end: readable"
    if stage in TERMINAL:
        return "the end"
    return "its site is asked" if stage in FETCHING else ""


def metric(entry: Entry) -> str:
    """Return the table row of one metric."""
    name = entry.name + {"counter": "_total", "info": "_info"}.get(entry.type, "")
    labels = ", ".join(f"`{label}`" for label in entry.labels)
    return f"| `{name}` | {entry.type} | {labels} | {cell(entry.meaning)} |"


def configuration() -> str:
    """Return the page of all variables and settings."""
    specs = sorted(ROOT.glob("roles/*/meta/argument_specs.yml"))
    roles = [
        role(spec.parent.parent.name, yaml.safe_load(spec.read_text())["argument_specs"]["main"])
        for spec in specs
    ]
    return "\n".join([CONFIGURATION_HEAD, *roles, settings()])


def role(name: str, spec: dict[str, Any]) -> str:
    """Return the section of one role."""
    about = " ".join(spec["description"]) if isinstance(spec["description"], list) else spec["description"]
    lines = [
        f"## Role `{name}`: {spec['short_description'][0].lower()}{spec['short_description'][1:]}",
        "",
        about.strip(),
        "",
    ]
    options = spec.get("options", {})
    if options:
        lines += ["| variable | type | default | what it is |", "|---|---|---|---|"]
        lines += [option(key, value) for key, value in sorted(options.items())]
        lines.append("")
    return "\n".join(lines)


def option(name: str, spec: dict[str, Any]) -> str:
    """Return the table row of one variable."""
    kind = " or ".join(f"`{choice}`" for choice in spec.get("choices", [])) or spec.get("type", "str")
    default = "from `group_vars/all/`" if spec.get("required") else f"`{yaml_of(spec.get('default'))}`"
    text = spec["description"] if isinstance(spec["description"], str) else " ".join(spec["description"])
    return f"| `{name}` | {kind} | {default} | {cell(text)} |"


def yaml_of(value: object) -> str:
    """Return a value as it would be typed, on one line."""
    if value is None:
        return "(none)"
    return yaml.safe_dump(value, default_flow_style=True, width=10_000).replace("\n...", "").strip()


def cell(text: str) -> str:
    """Return text that does not break a table."""
    return " ".join(text.split()).replace("|", "\\|")


def settings() -> str:
    """Return the section of the app's settings."""
    lines = [
        "## The app",
        "",
        "The app reads `ATLAS_*` from its environment and a `.env` file, secrets also from files named",
        "like the option. On a machine the playbook writes them; what no variable covers goes into",
        "`atlas_settings`. `atlas check-config` says what is wrong.",
        "",
        "| setting | default | what it is |",
        "|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        default = {"None": "(none)", "": "(empty)"}.get(str(field.default), field.default)
        lines.append(f"| `{PREFIX}{name.upper()}` | `{default}` | {cell(field.description or '')} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
