"""Write what roles say once as Oracle wants it: the one list of open ports, and what is told by mail.

`atlas_open_ports` has `port`, `protocol` (tcp or udp), `purpose` and, where not everybody may, `sources`.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from ansible.errors import AnsibleFilterError

PROTOCOLS = {"tcp": "6", "udp": "17"}
EVERYWHERE = ("0.0.0.0/0", "::/0")


def oci_rules(
    ports: list[dict[str, Any]], *, ipv6: bool = False, directed: bool = False
) -> list[dict[str, Any]]:
    """Return the rules for what may come in, as `ingress_security_rules` of a security list takes them.

    With `directed` they are as a network security group takes them, and what may go out is among them.
    Without `ipv6`, sources that are IPv6 networks are left out: Oracle refuses them in a network that has
    none.

    Raises AnsibleFilterError for a port, protocol or source that is none.
    """
    rules = [rule for port in ports for rule in _opened(port)]
    # A packet that is too large must come back, or connections hang: Oracle's networks carry 9,000 bytes.
    rules.append(_icmp("1", "0.0.0.0/0", {"type": 3, "code": 4}))
    rules.append(_icmp("58", "::/0", {"type": 2}))
    rules = [rule for rule in rules if ipv6 or ":" not in rule["source"]]
    if directed:
        rules = [{"direction": "INGRESS", **rule} for rule in rules] + [
            {"direction": "EGRESS", **rule} for rule in oci_egress(ipv6)
        ]
    return rules


def oci_egress(ipv6: bool) -> list[dict[str, Any]]:  # noqa: FBT001 - a filter
    """Return the rules for what may go out: everything, of IPv6 too where there is some."""
    return [
        {"protocol": "all", "destination": everywhere, "description": "Everything may go out"}
        for everywhere in (EVERYWHERE if ipv6 else EVERYWHERE[:1])
    ]


def oci_alert_rule(percent: int, recipients: str) -> dict[str, Any]:
    """Return the entry for `oci_resource` of a mail at so many per cent of the entry `budget`."""
    return {
        "key": f"alert_{percent}",
        "kind": "alert_rule",
        "name": f"{percent}-percent",
        "spec": {
            "budget_id": {"ref": "budget"},
            "type": "ACTUAL",
            "threshold": percent,
            "threshold_type": "PERCENTAGE",
            "recipients": recipients,
            "message": "Oracle Cloud charges for something. Atlas itself needs nothing that costs money.",
        },
    }


def _opened(port: dict[str, Any]) -> list[dict[str, Any]]:
    number, protocol = port.get("port"), str(port.get("protocol", "tcp"))
    if not isinstance(number, int) or not 0 < number < 65536:
        raise AnsibleFilterError(f"atlas_open_ports: {number!r} is no port.")
    if protocol not in PROTOCOLS:
        raise AnsibleFilterError(
            f"atlas_open_ports: the protocol of port {number} is {protocol!r}, not tcp or udp."
        )
    return [
        {
            "protocol": PROTOCOLS[protocol],
            "source": _network(source, number),
            f"{protocol}_options": {"destination_port_range": {"min": number, "max": number}},
            "description": str(port.get("purpose", "")),
        }
        for source in port.get("sources", EVERYWHERE)
    ]


def _network(source: str, number: int) -> str:
    try:
        return str(ipaddress.ip_network(source))
    except ValueError as error:
        raise AnsibleFilterError(
            f"atlas_open_ports: {source!r}, a source of port {number}, is no network: {error}"
        ) from error


def _icmp(protocol: str, source: str, options: dict[str, int]) -> dict[str, Any]:
    return {
        "protocol": protocol,
        "source": source,
        "icmp_options": options,
        "description": "Packets that are too large",
    }


class FilterModule:
    """The filters Ansible loads."""

    def filters(self) -> dict[str, Any]:
        """Name them."""
        return {"oci_rules": oci_rules, "oci_egress": oci_egress, "oci_alert_rule": oci_alert_rule}
