"""A small name server, on several loopback addresses: authority of some zones, and resolver for who asks it.

Every address is a server of every zone, and can be made to say something else, to refuse or to be silent.
"""

import socket
import socketserver
import threading
from typing import Any, Self

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

ADDRESSES = ("127.0.0.1", "127.0.0.2")
NEGATIVE = 120


class Nameserver:
    """The servers ns1.test and ns2.test, with `with`."""

    def __init__(self, *zones: str) -> None:
        self.zones = [dns.name.from_text(zone) for zone in ("test", *zones)]
        # (server or "", name, type) -> (ttl, texts)
        self.records: dict[tuple[str, str, str], tuple[int, tuple[str, ...]]] = {}
        self.refusing: set[str] = set()
        self.silent: set[str] = set()
        self.not_authority: set[str] = set()
        self.asked: list[tuple[str, str, str]] = []
        self.on_question: Any = None
        for number, address in enumerate(ADDRESSES, 1):
            self.set(f"ns{number}.test", "A", address)
        self._servers: list[Any] = []
        self.port = 0

    def set(self, name: str, kind: str, *texts: str, ttl: int = 300, server: str = "") -> None:
        """Have one server, or all, say this; without texts they know nothing of the type."""
        key = (server, name, kind)
        if texts:
            self.records[key] = (ttl, texts)
        else:
            self.records.pop(key, None)

    def __enter__(self) -> Self:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind((ADDRESSES[0], 0))
            self.port = free.getsockname()[1]
        for address in ADDRESSES:
            server = socketserver.ThreadingUDPServer((address, self.port), _handler(self, address))
            server.daemon_threads = True
            self._servers.append(server)
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def answer(self, server: str, raw: bytes) -> bytes | None:
        query = dns.message.from_wire(raw)
        question = query.question[0]
        name, kind = question.name, dns.rdatatype.to_text(question.rdtype)
        self.asked.append((server, name.to_text(omit_final_dot=True), kind))
        if self.on_question:
            self.on_question(self)
        recursive = bool(query.flags & dns.flags.RD)
        if server in self.silent and not recursive:
            return None
        reply = dns.message.make_response(query, recursion_available=recursive)
        if server in self.refusing and not recursive:
            reply.set_rcode(dns.rcode.REFUSED)
            return reply.to_wire()
        if server not in self.not_authority or recursive:
            reply.flags |= dns.flags.AA
        self._fill(reply, server, name, kind)
        return reply.to_wire()

    def _fill(self, reply: dns.message.Message, server: str, name: dns.name.Name, kind: str) -> None:
        zone = max((zone for zone in self.zones if name.is_subdomain(zone)), key=len, default=dns.name.root)
        soa = dns.rrset.from_text(
            zone, 3600, "IN", "SOA", f"ns1.test. admin.test. 1 3600 600 86400 {NEGATIVE}"
        )
        if kind in {"SOA", "NS"} and name == zone:
            servers = [f"ns{number}.test." for number in range(1, len(ADDRESSES) + 1)]
            reply.answer.append(
                soa if kind == "SOA" else dns.rrset.from_text(zone, 3600, "IN", "NS", *servers)
            )
            return
        text = name.to_text(omit_final_dot=True)
        for asked in (kind, "CNAME"):
            held = self.records.get((server, text, asked), self.records.get(("", text, asked)))
            if held:
                reply.answer.append(dns.rrset.from_text(name, held[0], "IN", asked, *held[1]))
                if asked != kind:
                    self._fill(reply, server, dns.name.from_text(held[1][0]), kind)
                return
        reply.authority.append(soa)
        if not any(known == text for _, known, _ in self.records) and name not in self.zones:
            reply.set_rcode(dns.rcode.NXDOMAIN)


def _handler(nameserver: Nameserver, address: str) -> type[socketserver.BaseRequestHandler]:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            raw, connection = self.request
            answer = nameserver.answer(address, raw)
            if answer:
                connection.sendto(answer, self.client_address)

    return Handler
