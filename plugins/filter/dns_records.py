"""Which records a name needs to lead to a machine, and how each who keeps them wants them written."""

from __future__ import annotations

import ipaddress
from typing import Any

import idna
from ansible.errors import AnsibleFilterError

# Names nobody's DNS answers for: RFC 6761, 6762 and 8375, and ICANN's `internal`.
PRIVATE = ("localhost", "local", "internal", "test", "invalid", "home.arpa")


def why_no_record(domain: str) -> str:
    """Say why a name needs no record, to follow the name in a sentence; nothing where it needs one."""
    name = domain.rstrip(".").lower()
    if _address(name.strip("[]")):
        return "is an address"
    if any(name == private or name.endswith(f".{private}") for private in PRIVATE):
        return "is a name of this computer or of a network of its own"
    return "" if "." in name else "is a name without a domain, known only where somebody gave it"


def not_addresses(addresses: list[str]) -> list[str]:
    """Return those of a list that are no IP addresses."""
    return [address for address in addresses if not _address(address)]


def dns_records(domain: str, addresses: list[str], ttl: int) -> list[dict[str, Any]]:
    """Return the records that make a name lead to addresses: `name`, `type`, `content` and `ttl` in seconds.

    Raises AnsibleFilterError for a name that DNS cannot hold, or what is no address.
    """
    name = domain.rstrip(".").lower()
    if not name.isascii():
        raise AnsibleFilterError(f"atlas_domain: write {name} as DNS has it, {_ascii(name)}.")
    found = {}
    for text in addresses:
        if not (address := _address(text)):
            raise AnsibleFilterError(f"atlas_dns_addresses: {text} is no address.")
        found[str(address)] = "A" if address.version == 4 else "AAAA"
    return [
        {"name": name, "type": kind, "content": address, "ttl": ttl}
        for kind, address in sorted((kind, address) for address, kind in found.items())
    ]


def dns_lines(records: list[dict[str, Any]]) -> list[str]:
    """Return records as a zone file has them."""
    return [f"{one['name']}. {one['ttl']} IN {one['type']} {one['content']}" for one in records]


def oci_dns_records(records: list[dict[str, Any]], zone: str = "") -> list[dict[str, Any]]:
    """Return the entries for `oci_resource`, one a type. Without a zone, the one that holds them is found."""
    entries: dict[str, dict[str, Any]] = {}
    for one in records:
        spec = {"zone": zone or None, "type": one["type"], "items": []}
        entry = {"key": one["type"], "kind": "dns_records", "name": one["name"], "spec": spec}
        entries.setdefault(one["type"], entry)["spec"]["items"].append(
            {"domain": one["name"], "rtype": one["type"], "rdata": one["content"], "ttl": one["ttl"]}
        )
    return list(entries.values())


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _ascii(name: str) -> str:
    try:
        return idna.encode(name, uts46=True).decode()
    except idna.IDNAError as error:
        raise AnsibleFilterError(f"atlas_domain: {name} is no name DNS can hold: {error}") from error


class FilterModule:
    """The filters Ansible loads."""

    def filters(self) -> dict[str, Any]:
        """Name them."""
        return {
            "why_no_record": why_no_record,
            "not_addresses": not_addresses,
            "dns_records": dns_records,
            "dns_lines": dns_lines,
            "oci_dns_records": oci_dns_records,
        }
