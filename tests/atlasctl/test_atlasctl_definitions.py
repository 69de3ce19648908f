import json
from pathlib import Path
from typing import Any

import pytest

from atlasctl.health.definitions import COMMON, KINDS, DefinitionError, load, parse


def read(stem: str = "thing", **content: Any) -> Any:
    return parse(stem, json.dumps(content).encode())


def test_a_small_file_is_a_whole_check() -> None:
    check = read("api", check="http", url="http://127.0.0.1:7444/ready")
    assert (check.name, check.title, check.fall, check.rise, check.timeout) == ("api", "api", 2, 1, 5)
    assert not check.restart
    assert check.parameters["status"] == 200
    assert check.parameters["verify"] is True


def test_every_key_of_a_check_is_understood() -> None:
    check = read(
        "site",
        check="http",
        name="site",
        title="The site",
        unit="nginx.service",
        restart=True,
        after=["api"],
        fall=3,
        rise=2,
        timeout=1.5,
        url="https://localhost:8443/status?x=1",
        status=204,
        field="a.b",
        healthy=["yes", 1],
        degraded=["so-so"],
        max_seconds=0.5,
        host="atlas.example",
        verify=False,
        ca_file="/etc/ssl/ca.pem",
    )
    assert (check.unit, check.restart, check.after, check.fall, check.rise, check.timeout) == (
        "nginx.service",
        True,
        ("api",),
        3,
        2,
        1.5,
    )
    assert check.parameters["host"] == "atlas.example"


def test_unit_checks_count_at_once_and_commands_may_take_longer() -> None:
    assert read(check="unit", unit="a.service").fall == 1
    assert read(check="command", argv=["true"]).timeout == 10


def test_a_unit_check_names_one_unit_or_several() -> None:
    assert read(check="unit", unit="a.service").units == ["a.service"]
    assert read(check="unit", units=["a.service", "postgresql@15-main.service"]).units == [
        "a.service",
        "postgresql@15-main.service",
    ]
    assert read(check="tcp", address="127.0.0.1:1").units == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"check": "ping"}, "'check' must be one of unit, http"),
        ({}, "it is None"),
        ({"check": "disk", "pth": "/"}, "unknown key 'pth' in a disk check"),
        ({"check": "disk"}, "'path' is missing"),
        ({"check": "disk", "path": ""}, "'path' must be: text"),
        ({"check": "disk", "path": "/", "warning": 95}, "'warning' must not be above 'critical'"),
        ({"check": "disk", "path": "/", "warning": True}, "'warning' must be: number"),
        ({"check": "memory", "warning": 1}, "'warning' must not be below 'critical'"),
        ({"check": "certificate"}, "'file' or 'address' is missing"),
        ({"check": "certificate", "file": "x", "warning": 3}, "'warning' must not be below 'critical'"),
        ({"check": "http", "url": "http://example.org/"}, "'url' must be: URL on this machine"),
        ({"check": "http", "url": "http://[::1"}, "'url' must be: URL on this machine"),
        ({"check": "http", "url": "http://localhost:99999/"}, "'url' must be: URL on this machine"),
        ({"check": "http", "url": 5}, "'url' must be: URL on this machine"),
        ({"check": "http", "url": "http://localhost/", "healthy": "ok"}, "'healthy' must be: list"),
        ({"check": "tcp", "address": "5432"}, "'address' must be: host and port"),
        ({"check": "unit"}, "'unit' or 'units' is missing"),
        ({"check": "unit", "unit": "nginx"}, "'unit' must be: unit like atlas-api.service"),
        ({"check": "unit", "units": ["a.service", "*"]}, "'units' must be: list of units"),
        ({"check": "unit", "unit": "a.service", "expect": "happy"}, "'expect' must be"),
        ({"check": "command", "argv": []}, "'argv' is empty"),
        ({"check": "command", "argv": "true"}, "'argv' must be: list of text"),
        ({"check": "tcp", "address": "a:1", "restart": True}, "'restart' needs a 'unit'"),
        ({"check": "tcp", "address": "a:1", "restart": "yes"}, "'restart' must be: true or false"),
        ({"check": "tcp", "address": "a:1", "fall": 0}, "'fall' must be: whole number above 0"),
        ({"check": "tcp", "address": "a:1", "name": "other"}, "'name' must be the file's name"),
    ],
)
def test_a_mistake_is_named(content: dict[str, Any], words: str) -> None:
    with pytest.raises(DefinitionError) as error:
        read(**content)
    assert words in str(error.value)


def test_a_file_name_with_capitals_is_refused() -> None:
    with pytest.raises(DefinitionError, match="a-z, 0-9 and dashes"):
        read("My Check", check="memory")


def test_broken_files_are_told_and_the_others_still_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"check": "memory"}')
    (tmp_path / "b.json").write_text('{"check": "memory",}')
    (tmp_path / "c.json").write_text("[1]")
    (tmp_path / "d.json").write_bytes(b'{"check": "\xff"}')
    (tmp_path / "e.json").mkdir()
    (tmp_path / "ignored.json.dpkg-old").write_text("not looked at")
    found, broken = load(tmp_path)
    assert [one.name for one in found] == ["a"]
    assert [one.file for one in broken] == ["b.json", "c.json", "d.json", "e.json"]
    assert "line 1, column" in broken[0].error
    assert broken[1].error == "the file must hold one JSON object"
    assert "UTF-8" in broken[2].error
    assert broken[3].error == "Is a directory"


def test_no_directory_is_no_checks(tmp_path: Path) -> None:
    assert load(tmp_path / "nowhere") == ([], [])


def test_the_docstring_lists_every_key() -> None:
    from atlasctl.health import definitions

    text = definitions.__doc__ or ""
    for keys in [COMMON, *KINDS.values()]:
        for key in keys:
            assert f"\n    {key}  " in text, key
    for kind in KINDS:
        assert f"check = {kind} " in text
