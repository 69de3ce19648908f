"""`/etc/atlas/oci.json`: what the machine watches in Oracle Cloud, and where its services are.

Nothing in it is secret. All keys may be left out.

    compartments         OCIDs of the compartments to look into; default: all of the tenancy
    limits               what is free, by name (see Limits in atlasctl.usage.readings)
    account              "always_free", or "pay_as_you_go": there each storage tier has a limit of its own
    usage_api            false: do not ask for the tenancy's usage and costs (needs a policy of the tenancy)
    idle_watched         false: nothing is said of idle machines being reclaimed
    backups_kept         so many of the newest volume backups are wanted; the others are leftovers
    upload_days          unfinished uploads older than this are leftovers
    textfile_directory   where the node exporter finds metrics
    metadata             URL of the metadata service, for private clouds and tests; so are the next four
    federation           URL of the service that hands out tokens
    endpoint             URL of all other services at once
    endpoints            URLs by service: compute, identity, monitoring, object_storage, usage
    ca_file              certificates to trust instead of the system's
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from atlasctl.trouble import Trouble

METADATA = "http://169.254.169.254/opc/v2"
ACCOUNTS = ("always_free", "pay_as_you_go")
#: What Oracle calls Always Free, as of November 2026. GB are 10^9 bytes, those of volumes Oracle's.
LIMITS: dict[str, float] = {
    "a1_ocpu_hours": 1500,
    "a1_memory_gb_hours": 9000,
    "volume_gb": 200,
    "backups": 5,
    "object_gb": 20,
    "object_tier_gb": 10,
    "object_requests": 50000,
    "egress_gb": 10000,
}


class Configuration(NamedTuple):
    """What the file says, defaults filled in."""

    compartments: tuple[str, ...] = ()
    limits: dict[str, float] = LIMITS
    account: str = ACCOUNTS[0]
    usage_api: bool = True
    idle_watched: bool = True
    backups_kept: int = 5
    upload_days: float = 7
    textfile_directory: str = "/var/lib/prometheus/node-exporter"
    metadata: str = METADATA
    federation: str | None = None
    endpoint: str | None = None
    endpoints: dict[str, str] = {}  # noqa: RUF012  (never written to)
    ca_file: str | None = None


def read_configuration(path: Path) -> Configuration:
    """Return the configuration; a file that is not there is one that says nothing.

    Raises Trouble for one that cannot be read, and for keys and values nobody understands.
    """
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return Configuration()
    except ValueError as error:
        raise Trouble(f"{path} is not JSON ({error}). site.yml writes it: run it again.") from None
    if not isinstance(value, dict):
        raise Trouble(f"{path} must hold one JSON object. site.yml writes it: run it again.")
    return _parse(path, value)


def _parse(path: Path, value: dict[str, Any]) -> Configuration:
    fields = Configuration._field_defaults
    for key in value:
        if key not in fields:
            raise Trouble(f"{path}: unknown key {key!r}; known: {', '.join(fields)}")
    wrong = [key for key, fits in _rules(value).items() if key in value and not fits]
    if wrong:
        raise Trouble(f"{path}: {wrong[0]!r} cannot be {json.dumps(value[wrong[0]])}")
    given: dict[str, Any] = dict(value)
    given["compartments"] = tuple(value.get("compartments", ()))
    given["limits"] = LIMITS | value.get("limits", {})
    for key in ("metadata", "federation", "endpoint"):
        if given.get(key):
            given[key] = given[key].rstrip("/")  # a slash too many breaks the signature
    return Configuration(**given)


def _rules(value: dict[str, Any]) -> dict[str, bool]:
    """Say of each key whether its value is of the right kind."""
    limits = value.get("limits", {})
    return {
        "compartments": _texts(value.get("compartments")),
        "limits": isinstance(limits, dict)
        and all(key in LIMITS and _number(number) and number > 0 for key, number in limits.items()),
        "account": value.get("account") in ACCOUNTS,
        "usage_api": isinstance(value.get("usage_api"), bool),
        "idle_watched": isinstance(value.get("idle_watched"), bool),
        "backups_kept": _number(value.get("backups_kept")),
        "upload_days": _number(value.get("upload_days")),
        "textfile_directory": isinstance(value.get("textfile_directory"), str),
        "metadata": _url(value.get("metadata")),
        "federation": value.get("federation") is None or _url(value["federation"]),
        "endpoint": value.get("endpoint") is None or _url(value["endpoint"]),
        "endpoints": isinstance(value.get("endpoints"), dict) and all(map(_url, value["endpoints"].values())),
        "ca_file": value.get("ca_file") is None or isinstance(value["ca_file"], str),
    }


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) and one for one in value)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _url(value: object) -> bool:
    return isinstance(value, str) and value.startswith(("http://", "https://"))
