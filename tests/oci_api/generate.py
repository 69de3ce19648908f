"""Make `tables.json` from the installed SDK: what OCI's API takes and answers, as the SDK itself says it.

    python -m tests.oci_api.generate          writes tables.json
    python -m tests.oci_api.generate --check  says what differs, and changes nothing

The SDK is generated from Oracle's specification, so its source is read (not run): an operation's path,
parameters and body from the client's method, a model's fields, types, required ones and enums from the
model's class. A field stands as `TYPE`, `TYPE!` when required, then its enum: `str! EPHEMERAL|RESERVED`.
"""

import ast
import json
import re
import sys
from collections.abc import Iterator
from importlib import metadata, util
from pathlib import Path
from typing import Any

from tests.oci_api import operations

TABLES = Path(__file__).with_name("tables.json")
COMMAND = "python -m tests.oci_api.generate"
PLAIN = {"str", "int", "float", "bool", "datetime", "object", "bytes", "date"}
OWN_ENUMS = {"UNKNOWN_ENUM_VALUE"}


def sdk_folder() -> Path:
    spec = util.find_spec("oci")
    if spec is None or spec.origin is None:
        raise SystemExit("the oci package is not installed: make setup-oci")
    return Path(spec.origin).parent


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def field(kind: str, *, required: bool, enum: list[str]) -> str:
    words = [word for word in enum if word not in OWN_ENUMS]
    if any(re.search(r"[|\s]", word) for word in words):
        raise ValueError(f"an enum with a blank or a bar in it: {words}")
    return kind + "!" * required + (" " + "|".join(words) if words else "")


class Service:
    """One package of the SDK (`oci.core`): its clients' methods and its models."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = sdk_folder() / name
        listing = (self.folder / "models" / "__init__.py").read_text()
        self.files = {
            cls: module for module, cls in re.findall(r"^from \.(\w+) import (\w+)$", listing, re.MULTILINE)
        }

    def client(self, client: str) -> str:
        listing = (self.folder / "__init__.py").read_text()
        found = re.search(rf"^from \.(\w+) import {client}\b", listing, re.MULTILINE)
        if found is None:
            raise SystemExit(f"the SDK has no oci.{self.name}.{client} any more")
        return (self.folder / f"{found[1]}.py").read_text()

    def typed(self, kind: str) -> str:
        """A type with its models named by service: `list[core.RouteRule]`."""
        return re.sub(
            r"\w+", lambda word: f"{self.name}.{word[0]}" if word[0] in self.files else word[0], kind
        )

    def model(self, name: str) -> dict[str, Any]:
        tree = ast.parse((self.folder / "models" / f"{self.files[name]}.py").read_text())
        cls = next(node for node in tree.body if isinstance(node, ast.ClassDef))
        types: dict[str, str] = {}
        wire: dict[str, str] = {}
        required: set[str] = set()
        enums: dict[str, list[str]] = {}
        subtypes: dict[str, str] = {}
        key = ""
        for function in (node for node in cls.body if isinstance(node, ast.FunctionDef)):
            doc = ast.get_docstring(function) or ""
            if function.name == "__init__":
                types = literal(function, "swagger_types")
                wire = literal(function, "attribute_map")
            elif function.name == "get_subtype":
                key, subtypes = discriminator(function)
            elif doc.startswith("**[Required]** Gets"):
                required.add(function.name)
            elif doc.startswith(("Sets", "**[Required]** Sets")):
                enums[function.name] = allowed(function)
        made: dict[str, Any] = {
            "fields": {
                wire[attribute]: field(
                    self.typed(kind), required=attribute in required, enum=enums.get(attribute, [])
                )
                for attribute, kind in types.items()
            }
        }
        if subtypes:
            made["discriminator"] = key
            made["subtypes"] = {value: f"{self.name}.{subtype}" for value, subtype in subtypes.items()}
        return made


def literal(function: ast.FunctionDef, attribute: str) -> dict[str, str]:
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "attr", "") == attribute:
            return dict(ast.literal_eval(node.value))
    raise ValueError(f"no {attribute} in {function.name}")


def allowed(function: ast.FunctionDef) -> list[str]:
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "allowed_values":
            return [str(value) for value in ast.literal_eval(node.value)]
    return []


def discriminator(function: ast.FunctionDef) -> tuple[str, dict[str, str]]:
    """From `type = object_dictionary['type']` and `if type == 'iscsi': return 'AttachIScsiVolumeDetails'`."""
    source = ast.unparse(function)
    key = re.search(r"object_dictionary\['(\w+)'\]", source)
    pairs = re.findall(r"== '([^']+)':\s+return '(\w+)'", source)
    return (key[1] if key else ""), dict(pairs)


def operation(service: Service, source: str, name: str) -> dict[str, Any]:
    found = re.search(rf"^    def {name}\(.*?(?=^    def |\Z)", source, re.MULTILINE | re.DOTALL)
    if found is None:
        raise SystemExit(f"the SDK has no operation {name} in oci.{service.name} any more")
    text = found[0]
    function = ast.parse("class C:\n" + text).body[0].body[0]  # type: ignore[attr-defined]
    doc = parameters(ast.get_docstring(function) or "")
    base = re.search(r"'base_path': '([^']*)'", source)
    path = re.search(r'resource_path = "([^"]+)"', text)
    method = re.search(r'method = "(\w+)"', text)
    if not (base and path and method):
        raise SystemExit(f"{name}: its source is not of the form this generator reads")
    made: dict[str, Any] = {"method": method[1], "path": base[1].rstrip("/") + path[1]}
    for group, wanted in (("query_params", "query"), ("header_params", "headers")):
        entries = dict(named(function, group))
        if group == "header_params":
            entries = {
                key: value for key, value in entries.items() if key.lower() not in ("accept", "content-type")
            }
        if entries:
            made[wanted] = {
                key: field(
                    re.sub(r"^oci\..*", "object", doc.get(argument, {}).get("type", "str")),
                    required=doc.get(argument, {}).get("required", False),
                    enum=doc.get(argument, {}).get("enum", []) if wanted == "query" else [],
                )
                for key, argument in entries.items()
            }
    body = re.search(r"\bbody=(\w+)", text)
    if body:
        model = str(doc.get(body[1], {}).get("type", "object")).rsplit(".", 1)[-1]
        made["body"] = service.typed(model) + "!" * doc.get(body[1], {}).get("required", False)
    answer = re.search(r'response_type="([^"]+)"', text)
    if answer:
        made["answer"] = service.typed(answer[1])
    return made


def named(function: ast.FunctionDef, group: str) -> Iterator[tuple[str, str]]:
    """Pairs of wire name and Python argument of `query_params = {"vcnId": kwargs.get("vcn_id", missing)}`."""
    for node in ast.walk(function):
        if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)):
            continue
        if not (isinstance(node.targets[0], ast.Name) and node.targets[0].id == group):
            continue
        for key, value in zip(node.value.keys, node.value.values, strict=True):
            source = ast.unparse(value)
            argument = re.search(r"kwargs\.get\('(\w+)'", source) or re.match(r"(\w+)$", source)
            if key is not None and argument:
                yield str(ast.literal_eval(key)), argument[1]


def parameters(doc: str) -> dict[str, dict[str, Any]]:
    """Type, required and enum of each argument, from the docstring."""
    found = {}
    for part in re.split(r"^:param ", doc, flags=re.MULTILINE)[1:]:
        head = re.match(r"([\w.\[\]()]+(?:, \w+\))?) (\w+): \((required|optional)\)", part)
        if head is None:
            continue
        values = re.search(r"Allowed values are: (.+)", part)
        found[head[2]] = {
            "type": head[1],
            "required": head[3] == "required",
            "enum": re.findall(r'"([^"]+)"', values[1]) if values else [],
        }
    return found


def models_in(kind: str) -> list[str]:
    return re.findall(r"\w+\.\w+", kind.split(" ", maxsplit=1)[0])


def tables() -> dict[str, Any]:
    services: dict[str, Service] = {}
    sources: dict[tuple[str, str], str] = {}
    made: dict[str, Any] = {}
    for name, client, word in operations.names():
        service = services.setdefault(name, Service(name))
        if (name, client) not in sources:
            sources[name, client] = service.client(client)
        made[f"{name}.{word}"] = operation(service, sources[name, client], word)
    models: dict[str, Any] = {}
    todo = [
        model
        for entry in made.values()
        for key in ("body", "answer")
        for model in models_in(entry.get(key, ""))
    ]
    while todo:
        full = todo.pop()
        if full in models:
            continue
        name, model = full.split(".")
        models[full] = services[name].model(model)
        todo += [found for kind in models[full]["fields"].values() for found in models_in(kind)]
        todo += models[full].get("subtypes", {}).values()
    return {"sdk": metadata.version("oci"), "operations": made, "models": dict(sorted(models.items()))}


def text(made: dict[str, Any]) -> str:
    """One operation or model a line, so that a newer SDK shows as a diff one can read."""
    lines = ["{", f'"sdk": {json.dumps(made["sdk"])},']
    for group in ("operations", "models"):
        rows = [f"{json.dumps(name)}: {json.dumps(row)}" for name, row in made[group].items()]
        lines += [f'"{group}": {{', ",\n".join(rows), "}," if group == "operations" else "}"]
    return "\n".join([*lines, "}"]) + "\n"


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """A sentence for each operation or model that differs."""
    found = []
    if old["sdk"] != new["sdk"]:
        found.append(f"the SDK is {new['sdk']}, the tables are of {old['sdk']}")
    for group, noun in (("operations", "operation"), ("models", "model")):
        for name in sorted(old[group].keys() | new[group].keys()):
            before, after = old[group].get(name), new[group].get(name)
            if before is None or after is None:
                found.append(f"{noun} {name}: {'not in the tables' if before is None else 'not in the SDK'}")
            elif before != after:
                found.append(f"{noun} {name}: {_changed(before, after)}")
    return found


def _changed(before: dict[str, Any], after: dict[str, Any]) -> str:
    said = []
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            said += [
                f"{key}.{part} was {old.get(part)!r}, is {new.get(part)!r}"
                for part in sorted(old.keys() | new.keys())
                if old.get(part) != new.get(part)
            ]
        else:
            said.append(f"{key} was {old!r}, is {new!r}")
    return "; ".join(said)


def main(arguments: list[str]) -> int:
    new = tables()
    if "--check" in arguments:
        found = differences(json.loads(TABLES.read_text()), new)
        print("\n".join(found) or f"the tables are the SDK's, {new['sdk']}")
        return 1 if found else 0
    TABLES.write_text(text(new))
    print(f"{len(new['operations'])} operations, {len(new['models'])} models of oci {new['sdk']}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
