"""Write docs/configuration.md from the roles' argument specs and the app's settings, which are the truth.

`python scripts/docs.py` writes it, `--check` says whether it is as it should be (exit code 1 if not).
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "app"))

from atlas.settings import PREFIX, Settings  # noqa: E402 - the app is not installed, it stands beside us

PAGE = ROOT / "docs" / "configuration.md"
HEAD = """# Configuration

<!-- Written by `make docs` from the roles' argument specs and the app's settings. -->

Variables of the playbook belong into `group_vars/` of an inventory; what several roles share stands, with its
default, in `group_vars/all/`. A wrong value, or a name no role knows, stops the play before anything changes.
"""


def main() -> int:
    """Write or check the page; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, say whether the page is current")
    check = parser.parse_args().check
    text = page()
    if check and PAGE.read_text() != text:
        print(f"{PAGE.relative_to(ROOT)} is not what the specs say; run `make docs`", file=sys.stderr)
        return 1
    if not check:
        PAGE.write_text(text)
    return 0


def page() -> str:
    """Return the whole page."""
    specs = sorted(ROOT.glob("roles/*/meta/argument_specs.yml"))
    roles = [
        role(spec.parent.parent.name, yaml.safe_load(spec.read_text())["argument_specs"]["main"])
        for spec in specs
    ]
    return "\n".join([HEAD, *roles, settings()])


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
