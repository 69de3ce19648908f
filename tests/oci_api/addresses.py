"""What OCI refuses in a CIDR block, a port range, a protocol, a DNS label."""

import ipaddress
import re
from typing import Any

from tests.oci_api.errors import invalid

PROTOCOLS = {"all", *(str(number) for number in range(256))}
TCP, UDP, ICMP = ("6",), ("17",), ("1", "58")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def cidr(text: object, name: str, *, narrowest: int | None = None, widest: int | None = None) -> Network:
    """The network a field names. Host bits and, where given, a prefix out of range are refused."""
    try:
        network = ipaddress.ip_network(str(text))
    except ValueError:
        raise invalid(f"{name}: {text} is not a valid CIDR block.") from None
    if (widest is not None and network.prefixlen < widest) or (
        narrowest is not None and network.prefixlen > narrowest
    ):
        raise invalid(f"{name}: the CIDR block {text} must be within /{widest} and /{narrowest}.")
    return network


def apart(networks: list[Network], name: str) -> None:
    """Refuse blocks that overlap one another."""
    for number, network in enumerate(networks):
        for other in networks[number + 1 :]:
            if network.version == other.version and network.overlaps(other):
                raise invalid(f"{name}: the CIDR block {other} overlaps {network}.")


def dns_label(text: object, name: str = "dnsLabel", *, longest: int = 15) -> None:
    """A letter, then letters and digits (a hostname may have hyphens inside)."""
    form = r"[a-zA-Z][a-zA-Z0-9]*" if longest == 15 else r"[a-zA-Z]([a-zA-Z0-9-]*[a-zA-Z0-9])?"
    if not re.fullmatch(form, str(text)) or len(str(text)) > longest:
        raise invalid(f"{name}: {text} must begin with a letter, hold letters and digits, at most {longest}.")


def rules(found: list[dict[str, Any]], name: str) -> None:
    """Check security rules, and fill in what OCI answers where nothing was given."""
    for number, rule in enumerate(found):
        rule_(rule, f"{name}[{number}]")


def rule_(rule: dict[str, Any], name: str) -> None:
    protocol = rule["protocol"]
    if protocol not in PROTOCOLS:
        raise invalid(f"{name}.protocol: {protocol} is neither all nor the number of a protocol.")
    for end in ("source", "destination"):
        kind = f"{end}Type"
        if rule.get(end):
            rule.setdefault(kind, "CIDR_BLOCK")
            if rule[kind] == "CIDR_BLOCK":
                cidr(rule[end], f"{name}.{end}")
        elif rule.get(kind):
            raise invalid(f"{name}.{kind} is given without {end}.")
    rule["isStateless"] = bool(rule.get("isStateless"))
    for options, protocols in (("tcpOptions", TCP), ("udpOptions", UDP), ("icmpOptions", ICMP)):
        if rule.get(options) is not None and protocol not in protocols:
            raise invalid(
                f"{name}.{options} is only for the protocol {' or '.join(protocols)}, not {protocol}."
            )
        for group in ("destinationPortRange", "sourcePortRange"):
            ports = (rule.get(options) or {}).get(group)
            if ports and not 1 <= ports["min"] <= ports["max"] <= 65535:
                raise invalid(
                    f"{name}.{options}.{group}: {ports['min']}-{ports['max']} is no range of ports."
                )
