"""health.d: one JSON file a check, dropped there by the role that owns the thing.

`/etc/atlas/health.d/NAME.json` is an object with the keys below. An unknown key is an error, so that a
typing mistake shows up as a check of its own (DEGRADED, naming the file) instead of being ignored.

Every check
    check        unit | http | tcp | disk | memory | certificate | command; required
    name         the file's name without .json (the default): a-z, 0-9 and dashes
    title        what the owner calls it, on the status page; default: the name
    unit         the systemd unit behind it: what is restarted (and, for check = unit, what is watched)
    restart      true: restart `unit` when the check is DOWN (check = unit: each watched unit that is down;
                 check = command: also when CRITICAL). Disabled and masked units are left alone.
                 Default: false
    after        names of checks this one stands on: they are healed first, and while one of them is down
                 and not healed, this one is not restarted. Names that are not there are ignored: what they
                 check may stand on another machine. Default: []
    fall         so many bad runs in a row before it counts; default: 2, for check = unit: 1
    rise         so many better runs in a row before it counts; default: 1
    timeout      seconds that one run may take; default: 5, for check = command: 10
    alert        the alert that tells of the same trouble; default: HealthBad and HealthDegraded tell of it

check = unit     DOWN: a unit is not there, masked, failed or stopped. CRITICAL: systemd is about to start it
                 again. DEGRADED: it is starting, or systemd started it again 3 times within 10 minutes.
    units        list of units, instead of `unit`; "atlas-*.timer" is every enabled one that is called so
    expect       "active" (default), or "not-failed" for a service that a timer starts and that ends by itself

check = http     DOWN: no answer. CRITICAL: another status, or a field with another value. DEGRADED: slow.
    url          http or https on this machine (localhost, 127.0.0.1, ::1); required
    status       the right status; default: 200
    field        a key of the JSON answer, with dots to go deeper: "checks.database.status"
    healthy      values of the field that are HEALTHY; default: ["ok", "healthy", true]
    degraded     values of the field that are DEGRADED; default: ["degraded"]
    max_seconds  a right answer that takes longer is DEGRADED
    host         Host header and TLS server name, when the site is not called like the address
    verify       false: accept any certificate, for a self-signed one of this machine; default: true
    ca_file      certificates to trust instead of the system's

check = tcp      DOWN: nothing accepts.
    address      "127.0.0.1:5432"; required

check = disk     percent used, of space or of inodes, whichever is higher, counted as df does
    path         any path on the file system; required
    warning      DEGRADED from here on; default: 80
    critical     CRITICAL from here on; default: 90

check = memory   percent of all memory that is available (MemAvailable)
    warning      DEGRADED below; default: 10
    critical     CRITICAL below; default: 4

check = certificate   days left; CRITICAL also when it cannot be read
    file         a certificate (PEM); `file`, `address` or both are required
    address      "127.0.0.1:443": the certificate served there, which is judged then; DEGRADED when `file` has
                 another
    host         TLS server name for `address`, DEGRADED when another name is certified; default: "localhost"
    warning      DEGRADED below so many days, of a life of 90; of a shorter one, in proportion; default: 21
    critical     CRITICAL below so many days, in the same way; default: 7
    renewal      a JSON file: while it is there, DEGRADED; its `trouble` says what is in the way of a new one

check = command  exit code 0 HEALTHY, 1 DEGRADED, 2 CRITICAL, else or no end DOWN; its first line says why
    argv         list of program and arguments (no shell); required
    user         run it as this user instead of root

Example, `/etc/atlas/health.d/api.json`:

    {"check": "http", "title": "Web and API", "url": "http://127.0.0.1:7444/ready",
     "unit": "atlas-api.service", "restart": true, "after": ["database"]}
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from atlasctl.web import LOOPBACK

NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
UNIT = re.compile(r"[A-Za-z0-9:_.\\@-]+\.(service|timer|socket|path|mount|target)")
ADDRESS = re.compile(r"\S+:\d{1,5}")


class Definition(NamedTuple):
    """One check, as its file says; `parameters` are those of its kind, defaults filled in."""

    name: str
    title: str
    check: str
    unit: str | None = None
    restart: bool = False
    after: tuple[str, ...] = ()
    fall: int = 1
    rise: int = 1
    timeout: float = 5
    alert: str = ""
    parameters: dict[str, Any] = {}  # noqa: RUF012  (never written to)

    @property
    def units(self) -> list[str]:
        """The units this check is about."""
        several = self.parameters.get("units")
        return list(several) if several else [self.unit] if self.unit else []


class Broken(NamedTuple):
    """A file of health.d that is no check, and why."""

    file: str
    error: str


class DefinitionError(ValueError):
    """What is wrong with a file, in words for its author."""


class Kind(NamedTuple):
    """What a value must be: in words, and as a test."""

    words: str
    fits: Callable[[object], bool]


class Key(NamedTuple):
    """What a key must hold, and what it is when it is left out."""

    kind: Kind
    default: object = None
    required: bool = False


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _is_unit(value: object) -> bool:
    return isinstance(value, str) and UNIT.fullmatch(value) is not None


def _is_unit_or_pattern(value: object) -> bool:
    return isinstance(value, str) and _is_unit(value.replace("*", ""))


def _is_address(value: object) -> bool:
    return isinstance(value, str) and ADDRESS.fullmatch(value) is not None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_local_url(value: object) -> bool:
    try:
        parts = urlsplit(value if isinstance(value, str) else "")
        return parts.scheme in ("http", "https") and parts.hostname in LOOPBACK and parts.port != 0
    except ValueError:
        return False


def _is_list_of(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and all(map(fits, value))


TEXT = Kind("text", _is_text)
UNIT_NAME = Kind("unit like atlas-api.service", _is_unit)
HOST_PORT = Kind("host and port like 127.0.0.1:5432", _is_address)
URL = Kind("URL on this machine (localhost, 127.0.0.1, ::1)", _is_local_url)
NUMBER = Kind("number", _is_number)
COUNT = Kind("whole number above 0", _is_count)
FLAG = Kind("true or false", _is_flag)
TEXTS = Kind("list of text", _is_list_of(_is_text))
UNITS = Kind("list of units like atlas-api.service", _is_list_of(_is_unit_or_pattern))
ANYTHING = Kind("list", _is_list_of(lambda _: True))

COMMON = {
    "check": Key(TEXT, required=True),
    "name": Key(TEXT),
    "title": Key(TEXT),
    "unit": Key(UNIT_NAME),
    "restart": Key(FLAG, default=False),
    "after": Key(TEXTS, ()),
    "fall": Key(COUNT),
    "rise": Key(COUNT, 1),
    "timeout": Key(NUMBER),
    "alert": Key(TEXT, ""),
}
KINDS = {
    "unit": {"units": Key(UNITS, ()), "expect": Key(TEXT, "active")},
    "http": {
        "url": Key(URL, required=True),
        "status": Key(COUNT, 200),
        "field": Key(TEXT),
        "healthy": Key(ANYTHING, ("ok", "healthy", True)),
        "degraded": Key(ANYTHING, ("degraded",)),
        "max_seconds": Key(NUMBER),
        "host": Key(TEXT),
        "verify": Key(FLAG, default=True),
        "ca_file": Key(TEXT),
    },
    "tcp": {"address": Key(HOST_PORT, required=True)},
    "disk": {"path": Key(TEXT, required=True), "warning": Key(NUMBER, 80), "critical": Key(NUMBER, 90)},
    "memory": {"warning": Key(NUMBER, 10), "critical": Key(NUMBER, 4)},
    "certificate": {
        "file": Key(TEXT),
        "address": Key(HOST_PORT),
        "host": Key(TEXT, "localhost"),
        "warning": Key(NUMBER, 21),
        "critical": Key(NUMBER, 7),
        "renewal": Key(TEXT),
    },
    "command": {"argv": Key(TEXTS, required=True), "user": Key(TEXT)},
}


def load(directory: Path) -> tuple[list[Definition], list[Broken]]:
    """Read every check of `directory`, by name; what cannot be read is told, never raised."""
    found: list[Definition] = []
    broken: list[Broken] = []
    for path in sorted(directory.glob("*.json")):
        try:
            found.append(parse(path.stem, path.read_bytes()))
        except (OSError, ValueError) as error:
            broken.append(Broken(path.name, _words(error)))
    return found, broken


def parse(stem: str, raw: bytes) -> Definition:
    """Return the check a file holds; raises DefinitionError (or another ValueError) with what is wrong."""
    value = json.loads(raw)
    if not isinstance(value, dict):
        raise DefinitionError("the file must hold one JSON object")
    kind = value.get("check")
    if kind not in KINDS:
        raise DefinitionError(f"'check' must be one of {', '.join(KINDS)}; it is {kind!r}")
    keys = COMMON | KINDS[kind]
    unknown = sorted(value.keys() - keys.keys())
    if unknown:
        raise DefinitionError(
            f"unknown key {unknown[0]!r} in a {kind} check; known: {', '.join(sorted(keys))}"
        )
    read = {key: _read(key, keys[key], value) for key in keys}
    name = read["name"] or stem
    if name != stem or not NAME.fullmatch(name):
        raise DefinitionError(
            f"'name' must be the file's name without .json, of a-z, 0-9 and dashes; it is {name!r}"
        )
    definition = Definition(
        name=name,
        title=read["title"] or name,
        check=kind,
        unit=read["unit"],
        restart=read["restart"],
        after=tuple(read["after"]),
        fall=read["fall"] or (1 if kind == "unit" else 2),
        rise=read["rise"],
        timeout=read["timeout"] or (10 if kind == "command" else 5),
        alert=read["alert"],
        parameters={key: read[key] for key in KINDS[kind]},
    )
    _check_together(definition)
    return definition


def _read(key: str, expected: Key, value: dict[str, Any]) -> Any:  # noqa: ANN401  (as JSON is)
    if value.get(key) is None:
        if expected.required:
            raise DefinitionError(f"{key!r} is missing")
        return expected.default
    if not expected.kind.fits(value[key]):
        raise DefinitionError(f"{key!r} must be: {expected.kind.words}; it is {json.dumps(value[key])}")
    return value[key]


def _check_together(definition: Definition) -> None:
    """Refuse what is right key by key and wrong as a whole."""
    given = definition.parameters
    rules = {
        "'unit' or 'units' is missing": definition.check == "unit" and not definition.units,
        '\'expect\' must be "active" or "not-failed"': given.get("expect", "active")
        not in ("active", "not-failed"),
        "'file' or 'address' is missing": definition.check == "certificate"
        and not (given["file"] or given["address"]),
        "'argv' is empty": definition.check == "command" and not given["argv"],
        "'restart' needs a 'unit'": definition.restart and not definition.units,
        "'warning' must not be above 'critical': it counts what is used": definition.check == "disk"
        and given["warning"] > given["critical"],
        "'warning' must not be below 'critical': it counts what is left": definition.check
        in ("memory", "certificate")
        and given["warning"] < given["critical"],
    }
    for words, is_broken in rules.items():
        if is_broken:
            raise DefinitionError(words)


def _words(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON: {error.msg}, line {error.lineno}, column {error.colno}"
    if isinstance(error, UnicodeDecodeError):
        return "not JSON: not UTF-8 text"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error)
