"""ansible-doc of the modules for Oracle Cloud: it works, and says what the code does."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MODULES = ["oci_resource", "oci_instance", "oci_teardown", "oci_usage"]


@pytest.fixture(scope="module")
def shown() -> dict[str, Any]:
    """What ansible-doc shows, with what modules share put in."""
    command = [Path(sys.executable).with_name("ansible-doc"), "--json", "--type", "module", *MODULES]
    done = subprocess.run(
        command,
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def differing(told: dict[str, Any], taken: dict[str, Any], where: str = "") -> list[str]:
    """What documentation and code do not say alike."""
    wrong = [f"{where}{name}: only one of the two has it" for name in told.keys() ^ taken.keys()]
    for name in sorted(told.keys() & taken.keys()):
        one, other = told[name], taken[name]
        pairs = {
            "type": (one.get("type", "str"), other.get("type", "str")),
            "elements": (one.get("elements"), other.get("elements")),
            "required": (bool(one.get("required")), bool(other.get("required"))),
            "default": (one.get("default"), other.get("default")),
            "choices": (one.get("choices"), other.get("choices")),
        }
        wrong += [f"{where}{name}: {word} {a!r}, not {b!r}" for word, (a, b) in pairs.items() if a != b]
        if not one.get("description"):
            wrong.append(f"{where}{name}: no description")
        wrong += differing(one.get("suboptions") or {}, other.get("options") or {}, f"{where}{name}.")
    return wrong


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_options_are_those_the_code_takes(shown: dict[str, Any], name: str) -> None:
    options = importlib.import_module(name).OPTIONS
    assert differing(shown[name]["doc"]["options"], options) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_nothing_is_left_out(shown: dict[str, Any], name: str) -> None:
    doc, returned = shown[name]["doc"], shown[name]["return"]
    assert doc["module"] == name
    assert doc["short_description"]
    assert doc["description"]
    assert {"check_mode", "diff_mode"} <= doc["attributes"].keys()
    assert doc["notes"]
    assert all(row["description"] and row["returned"] and row["type"] for row in returned.values())


@pytest.mark.slow
def test_the_text_form_works_too() -> None:
    command = [Path(sys.executable).with_name("ansible-doc"), "--type", "module", *MODULES]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in MODULES:
        assert f"MODULE {name} " in re.sub(r"\x1b\[\d+m", "", done.stdout)


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_tasks_with_options_there_are(name: str) -> None:
    module = importlib.import_module(name)
    for task in yaml.safe_load(module.EXAMPLES):
        assert task["name"]
        assert task[name].keys() <= module.OPTIONS.keys()
        needed = {option for option, said in module.OPTIONS.items() if said.get("required")}
        assert needed <= task[name].keys(), "an example can be copied"


def test_secrets_are_never_logged() -> None:
    account = importlib.import_module("oci_resource").OPTIONS["account"]["options"]
    assert {name for name, said in account.items() if said.get("no_log")} == {"key_content", "pass_phrase"}


def test_every_field_that_is_not_the_sdks_is_documented() -> None:
    oci_kinds = importlib.import_module("oci_kinds")
    options = yaml.safe_load(importlib.import_module("oci_resource").DOCUMENTATION)["options"]
    resources = options["resources"]["suboptions"]
    said = " ".join(resources["spec"]["description"])
    for name, kind in oci_kinds.KINDS.items():
        for field in (*kind.parents, *kind.local):
            assert f"C({field})" in said, f"{name}: {field}"
    assert resources["kind"]["choices"] == list(oci_kinds.KINDS)
