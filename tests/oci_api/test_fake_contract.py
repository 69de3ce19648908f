"""The tables are the SDK's, and the fake answers all of them."""

import json
from functools import cache
from typing import Any

import pytest
from tests.oci_api import generate, server, tables
from tests.oci_api.calls import HANDLERS

pytest.importorskip("oci", reason="make setup-oci installs Oracle's SDK")


@cache
def of_the_sdk() -> dict[str, Any]:
    return generate.tables()


def test_the_tables_are_those_of_the_installed_sdk():
    found = generate.differences(json.loads(generate.TABLES.read_text()), of_the_sdk())
    assert not found, "\n".join(
        [f"The SDK differs from the tables; see what it means, then {generate.COMMAND}", *found]
    )


def test_a_change_of_the_sdk_is_named():
    new = of_the_sdk()
    old = json.loads(json.dumps(new))
    old["models"]["core.CreateVcnDetails"]["fields"]["cidrBlock"] = "str!"
    del old["operations"]["core.list_vcns"]
    assert generate.differences(old, new) == [
        "operation core.list_vcns: not in the tables",
        "model core.CreateVcnDetails: fields.cidrBlock was 'str!', is 'str'",
    ]


def test_every_operation_of_the_tables_has_its_handler():
    assert server.SUBJECTS
    assert sorted(tables.operations().keys() - HANDLERS.keys()) == []
