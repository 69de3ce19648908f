"""Write the one list of open ports as the firewalls of a machine want it.

`atlas_open_ports` has `port`, `protocol` (tcp or udp), `purpose` and, where not everybody may, `sources`;
Oracle's firewalls are written from the same list by `oci_rules`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from ansible.errors import AnsibleFilterError

PROTOCOLS = ("tcp", "udp")
PURPOSE_LENGTH = 100

#: What the chain INPUT has before and after the ports; the images of Oracle say it with the same words.
BEFORE = {
    4: [
        "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-A INPUT -i lo -j ACCEPT",
        "-A INPUT -p icmp -j ACCEPT",
        "-A INPUT -p udp -m udp --sport 67 --dport 68 -j ACCEPT",
    ],
    6: [
        "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-A INPUT -i lo -j ACCEPT",
        "-A INPUT -p ipv6-icmp -j ACCEPT",
        "-A INPUT -s fe80::/10 -p udp -m udp --sport 547 --dport 546 -j ACCEPT",
    ],
}
#: Says in the file whose the chain is; a comment is not loaded.
OURS = "# The chain INPUT is managed by Ansible: change atlas_open_ports in group_vars/all/network.yml."
LOG = '-A INPUT -m limit --limit 10/min -j LOG --log-prefix "atlas-firewall refused: "'
REFUSE = {
    4: "-A INPUT -j REJECT --reject-with icmp-host-prohibited",
    6: "-A INPUT -j REJECT --reject-with icmp6-adm-prohibited",
}
INPUT = ("-A INPUT ", "-I INPUT ", ":INPUT ")
EMPTY = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n"


class Opened(NamedTuple):
    """A port for one kind of addresses; without sources it is open to all of them."""

    version: int
    port: int
    protocol: str
    purpose: str
    sources: list[str]


def open_ports_problems(ports: list[dict[str, Any]]) -> list[str]:
    """Say what is wrong with the list, in words for whoever wrote it."""
    return [problem for port in ports for problem in _problems(port)]


def nftables_rules(ports: list[dict[str, Any]]) -> list[str]:
    """Return the rules that let the ports' traffic in, for a table of the family inet.

    Raises AnsibleFilterError for a port, protocol or source that is none.
    """
    rules = []
    for port in ports:
        for opened in _opened(port):
            address = {4: "ip", 6: "ip6"}[opened.version]
            sources = f"{address} saddr {{ {', '.join(opened.sources)} }} " if opened.sources else ""
            rules.append(f'{sources}{opened.protocol} dport {opened.port} accept comment "{opened.purpose}"')
    return list(dict.fromkeys(rules))  # what is open to all is so in one rule


def nftables_interfaces(interfaces: list[str]) -> str:
    """Return the interfaces as a set of names in nftables, where * stands for the rest of a name."""
    return ", ".join(f'"{interface}"' for interface in interfaces)


def iptables_rules(
    text: str,
    ports: list[dict[str, Any]],
    version: int = 4,
    *,
    interfaces: Sequence[str] = (),
    log: bool = False,
) -> str:
    """Return what `iptables-save` wrote (empty: nothing yet) with the chain INPUT made of the ports.

    All else stays word for word: other tables, and in `filter` the chains of others. What comes in by one of
    the interfaces is let in.
    Raises AnsibleFilterError for a port, protocol or source that is none, and for a text that is no such.
    """
    lines = (text.strip() or EMPTY).splitlines()
    if "*filter" not in lines:
        lines += EMPTY.splitlines()
    begin = lines.index("*filter")
    try:
        end = lines.index("COMMIT", begin)
    except ValueError as error:
        raise AnsibleFilterError("The rules of the machine have a table filter without COMMIT.") from error
    table = [line for line in lines[begin:end] if not line.startswith((*INPUT, OURS))]
    chains = max(number for number, line in enumerate(table) if line.startswith(("*", ":"))) + 1
    ours = [
        OURS,
        *BEFORE[version],
        *(f"-A INPUT -i {interface.replace('*', '+')} -j ACCEPT" for interface in interfaces),
        *_iptables_ports(ports, version),
        *([LOG] if log else []),
        REFUSE[version],
    ]
    table = [table[0], ":INPUT ACCEPT [0:0]", *table[1:chains], *ours, *table[chains:]]
    return "\n".join([*lines[:begin], *table, *lines[end:]]) + "\n"


def _iptables_ports(ports: list[dict[str, Any]], version: int) -> Iterator[str]:
    for port in ports:
        for opened in _opened(port):
            if opened.version == version:
                for source in opened.sources or [""]:
                    sources = f"-s {source} " if source else ""
                    yield (
                        f"-A INPUT {sources}-p {opened.protocol} -m {opened.protocol} --dport {opened.port} "
                        f'-m comment --comment "{opened.purpose}" -j ACCEPT'
                    )


def _opened(port: dict[str, Any]) -> Iterator[Opened]:
    if problems := list(_problems(port)):
        raise AnsibleFilterError(f"atlas_open_ports: {problems[0]}.")
    networks = [ipaddress.ip_network(source) for source in port.get("sources") or []]
    purpose = re.sub(r"[^\w .,:/()-]", "", str(port.get("purpose", "")))[:PURPOSE_LENGTH]
    for version in (4, 6):
        sources = [str(network) for network in networks if network.version == version]
        if sources or not networks:
            yield Opened(version, int(port["port"]), _protocol(port), purpose, sources)


def _protocol(port: dict[str, Any]) -> str:
    return str(port.get("protocol", "tcp"))


def _problems(port: dict[str, Any]) -> Iterator[str]:
    number = port.get("port")
    if not isinstance(number, int) or not 0 < number < 65536:
        yield f"{number!r} is no port"
    if _protocol(port) not in PROTOCOLS:
        yield f"the protocol of port {number} is {_protocol(port)!r}, not tcp or udp"
    for source in port.get("sources") or []:
        try:
            ipaddress.ip_network(source)
        except ValueError as error:
            yield f"{source!r}, a source of port {number}, is no network: {error}"


class FilterModule:
    """The filters Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name them."""
        return {
            "open_ports_problems": open_ports_problems,
            "nftables_rules": nftables_rules,
            "nftables_interfaces": nftables_interfaces,
            "iptables_rules": iptables_rules,
        }
