"""Check what is wanted against the SDK's own models, and compare it with what is there.

A model names its fields and their types (`swagger_types`), says of a required one so in its docstring, and
knows its enumerations; so a slip of the pen is found before anything is asked, and nothing here goes stale.
"""

from __future__ import annotations

import datetime
import difflib
import ipaddress
import re
from collections.abc import Iterator
from typing import Any

from ansible.module_utils.oci_account import CloudError

PLAIN = {"str": str, "bool": bool, "object": object, "datetime": datetime.datetime}
NUMBERS = {"int", "float"}
# What stands for something this run will make, while it only plans.
PENDING = "pending"


def model(package: str, name: str) -> Any:
    """Return a model's class: `model("core", "CreateVcnDetails")`."""
    return getattr(__import__(f"oci.{package}.models", fromlist=[name]), name)


def fields(kind: Any) -> dict[str, str]:
    """Return the names and types of a model's fields."""
    return dict(kind().swagger_types)


def build(package: str, kind: Any, given: dict[str, Any], where: str) -> Any:
    """Make a model of what is given, to be sent.

    Raises CloudError that names the field that is unknown, missing or of a wrong type, and the valid ones.
    """
    if hasattr(kind, "get_subtype") and isinstance(given, dict):
        camel = {kind().attribute_map.get(name, name): value for name, value in given.items()}
        kind = model(package, kind.get_subtype(camel))
    known = _known(kind, given, where)
    values = {}
    for name, value in given.items():
        if value is None:
            continue
        values[name] = _value(package, known[name], value, f"{where}: {name}")
    lacking = [name for name in known if _is_required(kind, name) and name not in values]
    if lacking:
        raise CloudError(f"{where}: {', '.join(lacking)} must be given.")
    for name, value in list(values.items()):
        words = _enumeration(kind, name) if isinstance(value, str | list) else set()
        if words and value == PENDING:
            del values[name]
        elif words and not words.issuperset(value if isinstance(value, list) else [value]):
            # Some models take any word, and would send UNKNOWN_ENUM_VALUE in its place.
            raise CloudError(f"{where}: {name} must be one of {', '.join(sorted(words))}, not {value}.")
    try:
        return kind(**values)
    except ValueError as error:
        raise CloudError(f"{where}: {error}") from error


def _known(kind: Any, given: dict[str, Any], where: str) -> dict[str, str]:
    """Return a model's fields, after all that are given are found among them."""
    known: dict[str, str] = kind().swagger_types
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise CloudError(
                f"{where}: {name} is no field of {kind.__name__}{hint}. Valid are: "
                f"{', '.join(sorted(known))}."
            )
    return known


def _enumeration(kind: Any, name: str) -> set[str]:
    """Return the words a field may have: the model's constants that are named after it."""
    head = f"{name.upper()}_"
    longer = tuple(f"{other.upper()}_" for other in kind().swagger_types if other.startswith(f"{name}_"))
    constants = (word for word in dir(kind) if word.startswith(head) and not word.startswith(longer))
    return {value for word in constants if isinstance(value := getattr(kind, word), str)}


def _is_required(kind: Any, name: str) -> bool:
    # Some docstrings carry a note before the word, so it is looked for in the sentence that defines the
    # field.
    return "**[Required]**" in (getattr(kind, name).__doc__ or "").split("\n\n")[0]


def _value(package: str, wanted: str, value: Any, where: str) -> Any:
    if value == PENDING:
        return value
    if match := re.fullmatch(r"list\[(.+)\]", wanted):
        if not isinstance(value, list):
            raise CloudError(f"{where} must be a list, not {_called(value)}.")
        return [_value(package, match[1], one, f"{where}[{i}]") for i, one in enumerate(value)]
    if wanted in NUMBERS or wanted in PLAIN:
        return _plain(wanted, value, where)
    if not isinstance(value, dict):
        raise CloudError(f"{where} must be a dictionary, not {_called(value)}.")
    if match := re.fullmatch(r"dict\(str, (.+)\)", wanted):
        return {str(key): _value(package, match[1], one, f"{where}.{key}") for key, one in value.items()}
    return build(package, model(package, wanted), value, where)


def _plain(wanted: str, value: Any, where: str) -> Any:
    if wanted in NUMBERS:
        return _number(wanted, value, where)
    if wanted == "datetime":
        return _moment(value, where)
    if not isinstance(value, PLAIN[wanted]):
        raise CloudError(f"{where} must be {_called(wanted)}, not {_called(value)}.")
    return value


def _number(wanted: str, value: Any, where: str) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise CloudError(f"{where} must be a number, not {_called(value)}.")
    try:
        # What Ansible made of a template may be text.
        return int(value) if wanted == "int" else float(value)
    except ValueError:
        raise CloudError(f"{where} must be a number, not {_called(value)}.") from None


def _moment(value: Any, where: str) -> datetime.datetime:
    try:
        found = value if isinstance(value, datetime.datetime) else datetime.datetime.fromisoformat(str(value))
    except ValueError:
        raise CloudError(f"{where} must be a date and time, not {_called(value)}.") from None
    return found if found.tzinfo else found.replace(tzinfo=datetime.UTC)


def _called(value: Any) -> str:
    if isinstance(value, str) and value in PLAIN:
        return {"str": "text", "bool": "true or false"}.get(value, value)
    return f"{value!r}"


def differences(wanted: dict[str, Any], current: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the fields that are not as wanted: (as it is, as it should be)."""
    return {
        name: (current.get(name), value)
        for name, value in wanted.items()
        if value is not None and not same(value, current.get(name))
    }


def same(wanted: Any, current: Any) -> bool:
    """Say whether what is there is as wanted, in whatever order Oracle lists it and with what it adds."""
    if isinstance(wanted, dict):
        there = {} if current is None else current
        return isinstance(there, dict) and all(
            same(value, there.get(name)) for name, value in wanted.items() if value is not None
        )
    if isinstance(wanted, list):
        # An element is the same only as a whole: a rule that lacks its ports is another rule.
        return bool(normal(wanted) == normal([] if current is None else current))
    if isinstance(wanted, bool) or isinstance(current, bool):
        return bool(wanted) == bool(current)
    if isinstance(wanted, int | float) and isinstance(current, int | float):
        return float(wanted) == float(current)
    return str(normal(wanted)) == str("" if current is None else normal(current))


def normal(value: Any) -> Any:
    """Return a value as both sides would write it: no empty fields, no defaults, lists in one order."""
    if isinstance(value, dict):
        return {name: normal(one) for name, one in sorted(value.items()) if not _says_nothing(name, one)}
    if isinstance(value, list):
        return sorted((normal(one) for one in value), key=repr)
    if isinstance(value, str) and "/" in value:
        try:
            return str(ipaddress.ip_network(value, strict=False))
        except ValueError:
            return value
    return value


def _says_nothing(name: str, value: Any) -> bool:
    # A rule is stateful and of networks unless it says otherwise; Oracle writes that out, and people do not.
    defaults = {
        "is_stateless": False,
        "source_type": "CIDR_BLOCK",
        "destination_type": "CIDR_BLOCK",
        "route_type": "STATIC",
    }
    added = {"id", "is_valid", "time_created"}
    return value is None or value in ([], {}) or name in added or value == defaults.get(name)


def first_network(network: str, prefix: int) -> str:
    """Return the first network of so many bits in a larger one: a subnet's /64 of a VCN's /56."""
    return str(next(ipaddress.ip_network(network, strict=False).subnets(new_prefix=prefix)))


def lines(value: Any, depth: int = 0) -> Iterator[str]:
    """Write a value as lines for a diff: like YAML, stable in order."""
    pad = "  " * depth
    if isinstance(value, dict):
        for name in sorted(value):
            yield from _entry(f"{pad}{name}:", value[name], depth)
    elif isinstance(value, list):
        for one in value:
            if isinstance(one, dict):
                words = ", ".join(f"{name}: {_brief(one[name])}" for name in sorted(one))
                yield f"{pad}- {{{words}}}"
            else:
                yield f"{pad}- {_brief(one)}"
    else:
        yield f"{pad}{_brief(value)}"


def _entry(head: str, value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, dict | list) and value:
        yield head
        yield from lines(value, depth + 1)
    else:
        yield f"{head} {_brief(value)}"


def _brief(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_brief(value[name])}" for name in sorted(value)) + "}"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
