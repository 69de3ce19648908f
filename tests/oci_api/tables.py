"""What the API takes: the operations and models of `tables.json`, and the checks OCI makes by them."""

import datetime as dt
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tests.oci_api.errors import Refused, invalid, missing, unparsable

TABLES = Path(__file__).with_name("tables.json")
LISTS = re.compile(r"list\[(.+)\]$")
MAPS = re.compile(r"dict\(str, (.+)\)$")


@dataclass(frozen=True)
class Field:
    """A parameter or a model's field: its type, whether it must be there, and the only values it may have."""

    kind: str
    required: bool = False
    enum: tuple[str, ...] = ()


@dataclass(frozen=True)
class Model:
    name: str
    fields: dict[str, Field]
    discriminator: str = ""
    subtypes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Operation:
    """`body` and `answer` are types; an answer that is empty is 204."""

    name: str
    method: str
    path: str
    query: dict[str, Field]
    headers: dict[str, Field]
    body: Field | None
    answer: str

    @property
    def is_stream(self) -> bool:
        return self.body is not None and self.body.kind == "stream"


def read_field(text: str) -> Field:
    """From the tables' `str! A|B`. A type may have a blank in it: `dict(str, object)`."""
    found = re.match(r"(dict\(.*\)|[^\s!]+)(!?)(?: (.+))?$", text)
    if found is None:
        raise ValueError(f"not a field: {text}")
    return Field(found[1], bool(found[2]), tuple((found[3] or "").split("|")) if found[3] else ())


def _fields(entry: Mapping[str, str]) -> dict[str, Field]:
    return {name: read_field(text) for name, text in entry.items()}


@cache
def models() -> dict[str, Model]:
    return {
        name: Model(name, _fields(row["fields"]), row.get("discriminator", ""), row.get("subtypes", {}))
        for name, row in json.loads(TABLES.read_text())["models"].items()
    }


@cache
def operations() -> dict[str, Operation]:
    return {
        name: Operation(
            name,
            row["method"],
            row["path"],
            _fields(row.get("query", {})),
            _fields(row.get("headers", {})),
            read_field(row["body"]) if "body" in row else None,
            row.get("answer", ""),
        )
        for name, row in json.loads(TABLES.read_text())["operations"].items()
    }


@cache
def _by_form() -> dict[tuple[str, int], list[tuple[list[str], Operation]]]:
    forms: dict[tuple[str, int], list[tuple[list[str], Operation]]] = {}
    for operation in operations().values():
        parts = operation.path.split("/")
        forms.setdefault((operation.method, len(parts)), []).append((parts, operation))
    for rows in forms.values():
        rows.sort(key=lambda row: sum(part.startswith("{") for part in row[0]))  # words before names
    return forms


def find(method: str, path: str) -> tuple[Operation, dict[str, str]] | None:
    """The operation a request is for, and its path parameters.

    `path` is as on the wire: a name may hold %2F.
    """
    parts = path.split("/")
    for template, operation in _by_form().get((method, len(parts)), []):
        if all(want.startswith("{") or want == got for want, got in zip(template, parts, strict=True)):
            named = {
                want[1:-1]: unquote(got)
                for want, got in zip(template, parts, strict=True)
                if want.startswith("{")
            }
            if all(named.values()):
                return operation, named
    return None


def check_query(operation: Operation, query: Mapping[str, list[str]]) -> dict[str, Any]:
    """The query with its types. Refuses what the operation does not know, lacks, or cannot read."""
    for name in query:
        if name not in operation.query:
            known = ", ".join(sorted(operation.query)) or "none"
            raise invalid(f"Unknown query parameter {name}. Known here: {known}.")
    found: dict[str, Any] = {}
    for name, want in operation.query.items():
        values = query.get(name, [])
        if not values or values == [""]:
            if want.required:
                raise missing(name, "query parameter")
            continue
        items = LISTS.match(want.kind)
        parts = (
            [part for value in values for part in value.split(",")]
            if items or name == "fields"
            else values[:1]
        )
        for part in parts:
            if want.enum and part.upper() not in {word.upper() for word in want.enum}:
                raise invalid(f"Invalid query parameter {name}: {part} is none of {', '.join(want.enum)}.")
        read = [_word(part, items[1] if items else want.kind, name) for part in parts]
        found[name] = read if items or name == "fields" else read[0]
    return found


def _word(text: str, kind: str, name: str) -> object:
    if kind == "int":
        if not re.fullmatch(r"-?\d+", text):
            raise invalid(f"Invalid query parameter {name}: {text} is not a number.")
        return int(text)
    if kind == "bool":
        if text.lower() not in ("true", "false"):
            raise invalid(f"Invalid query parameter {name}: {text} is neither true nor false.")
        return text.lower() == "true"
    return text


def read_json(raw: bytes) -> object:
    try:
        return json.loads(raw)
    except ValueError:
        raise unparsable("The request body is not JSON.") from None


def check(value: object, kind: str, name: str) -> None:
    """Refuse what is not of this type; `name` is its path in the body, for the message."""
    if items := LISTS.match(kind):
        if not isinstance(value, list):
            raise _mistyped(name, "a list", value)
        for number, item in enumerate(value):
            check(item, items[1], f"{name}[{number}]")
    elif values := MAPS.match(kind):
        if not isinstance(value, dict):
            raise _mistyped(name, "a map", value)
        for key, item in value.items():
            check(item, values[1], f"{name}.{key}")
    elif kind in models():
        check_model(value, models()[kind], name)
    else:
        _check_plain(value, kind, name)


PLAIN: dict[str, tuple[tuple[type, ...], str]] = {
    "str": ((str,), "a string"),
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "bool": ((bool,), "true or false"),
    "datetime": ((str,), "a time"),
}


def _check_plain(value: object, kind: str, name: str) -> None:
    if kind not in PLAIN:
        return  # `object`: whatever it is
    types, noun = PLAIN[kind]
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        raise _mistyped(name, noun, value)
    if kind == "datetime":
        read_time(str(value), name)


def read_time(text: str, name: str) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise invalid(f"{name}: {text} is not a time as RFC 3339 writes it.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _mistyped(name: str, noun: str, value: object) -> Refused:
    return invalid(f"{name} must be {noun}, not {json.dumps(value)[:80]}.")


def check_model(value: object, model: Model, name: str) -> None:
    if not isinstance(value, dict):
        raise _mistyped(name or model.name, "an object", value)
    if model.subtypes:
        model = _subtype(value, model, name)
    for key in value:
        if key not in model.fields:
            raise invalid(
                f"Unknown field {_joined(name, key)}. "
                f"{model.name.split('.')[1]} has {', '.join(model.fields)}."
            )
    for key, want in model.fields.items():
        item = value.get(key)
        if item is None:
            if want.required:
                raise missing(_joined(name, key), "field")
            continue
        for word in item if isinstance(item, list) else [item]:
            if want.enum and word not in want.enum:
                raise invalid(f"{_joined(name, key)}: {word} is none of {', '.join(want.enum)}.")
        check(item, want.kind, _joined(name, key))


def _subtype(value: dict[str, Any], model: Model, name: str) -> Model:
    word = value.get(model.discriminator)
    if word is None and not model.fields[model.discriminator].required:
        return models()[next(iter(model.subtypes.values()))]  # DNS zones: what is said by nobody is NONE
    if word is None:
        raise missing(_joined(name, model.discriminator), "field")
    if word not in model.subtypes:
        raise invalid(f"{_joined(name, model.discriminator)}: {word} is none of {', '.join(model.subtypes)}.")
    return models()[model.subtypes[str(word)]]


def _subtype(value: dict[str, Any], model: Model, name: str) -> Model:
    word = value.get(model.discriminator)
    if word is None and not model.fields[model.discriminator].required:
        return models()[next(iter(model.subtypes.values()))]  # DNS zones: what is said by nobody is NONE
    if word is None:
        raise missing(_joined(name, model.discriminator), "field")
    if word not in model.subtypes:
        raise invalid(f"{_joined(name, model.discriminator)}: {word} is none of {', '.join(model.subtypes)}.")
    return models()[model.subtypes[str(word)]]


def _joined(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key


def shown(value: object, kind: str) -> object:
    """An answer of this type: what the model does not know is left out, what it requires must be there.

    A wrong answer is a fault of the fake, so it raises, and the test that met it fails.
    """
    if items := LISTS.match(kind):
        assert isinstance(value, list), f"not a {kind}: {value}"
        return [shown(item, items[1]) for item in value]
    if kind not in models():
        return value
    assert isinstance(value, dict), f"not a {kind}: {value}"
    model = models()[kind]
    if model.subtypes and value.get(model.discriminator) in model.subtypes:
        model = models()[model.subtypes[value[model.discriminator]]]
    made = {}
    for key, want in model.fields.items():
        item = value.get(key)
        if item is None:
            assert not want.required, f"the fake answers a {model.name} without {key}"
            continue
        if want.enum and isinstance(item, str):
            assert item in want.enum, (
                f"the fake answers {model.name}.{key} = {item}, which is none of {want.enum}"
            )
        made[key] = shown(item, want.kind)
    return made
