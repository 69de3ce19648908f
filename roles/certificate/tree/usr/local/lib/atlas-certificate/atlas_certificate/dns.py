"""The addresses of a name as name servers tell them: /etc/hosts says what the world does not know."""

import ipaddress
import secrets
import socket
import struct
from pathlib import Path

A, AAAA = 1, 28
NAME_NOT_THERE = 3
PORT = 53
SECONDS = 3.0
ROUNDS = 2
# What systemd-resolved asks itself; its own answers mix in what /etc/hosts says.
RESOLVERS = (Path("/run/systemd/resolve/resolv.conf"), Path("/etc/resolv.conf"))
RCODES = {1: "format error", 2: "server failure", 4: "not implemented", 5: "refused"}


class NoAnswerError(Exception):
    """No name server gave an answer; the message says which were asked, and what they said."""


def servers() -> list[str]:
    """List the name servers this machine uses."""
    for path in RESOLVERS:
        lines = path.read_text().splitlines() if path.exists() else []
        found = [line.split()[1] for line in lines if line.startswith("nameserver ")]
        if found:
            return found
    return ["127.0.0.1"]


def resolve(name: str, asked: list[str]) -> list[str]:
    """Return the IPv4 and IPv6 addresses of a name; none when it has none. Raises NoAnswerError."""
    return [*_ask(name, A, asked), *_ask(name, AAAA, asked)]


def _ask(name: str, kind: int, asked: list[str]) -> list[str]:
    said = {}
    for server in asked * ROUNDS:
        try:
            return _read(_exchange(_question(name, kind), server), kind)
        except (OSError, ValueError) as error:
            said[server] = str(error) or type(error).__name__
    words = "; ".join(f"{server}: {words}" for server, words in said.items())
    raise NoAnswerError(f"The DNS gave no answer for {name} ({words})")


def _question(name: str, kind: int) -> bytes:
    labels = name.rstrip(".").encode("idna").split(b".")
    packed = b"".join(bytes([len(label)]) + label for label in labels)
    # An identity nobody can guess, recursion desired, one question.
    head = secrets.token_bytes(2) + struct.pack("!5H", 0x0100, 1, 0, 0, 0)
    return head + packed + struct.pack("!BHH", 0, kind, 1)


def _exchange(question: bytes, server: str) -> bytes:
    """Ask over UDP, and over TCP when the answer did not fit."""
    address, _, port = server.partition("#")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    place = (address, int(port or PORT))
    with socket.socket(family, socket.SOCK_DGRAM) as udp:
        udp.settimeout(SECONDS)
        udp.connect(place)
        udp.send(question)
        answer = _of(question, udp.recv(4096))
    truncated = answer[2] & 0x02
    if not truncated:
        return answer
    with socket.socket(family, socket.SOCK_STREAM) as tcp, tcp.makefile("rb") as incoming:
        tcp.settimeout(SECONDS)
        tcp.connect(place)
        tcp.sendall(struct.pack("!H", len(question)) + question)
        (length,) = struct.unpack("!H", incoming.read(2))
        return _of(question, incoming.read(length))


def _of(question: bytes, answer: bytes) -> bytes:
    """Return the answer when it is one to this question; raises ValueError when it is not."""
    asked = question[12:].lower()
    if answer[:2] != question[:2] or answer[12 : 12 + len(asked)].lower() != asked:
        raise ValueError("it answers what was not asked")
    return answer


def _read(answer: bytes, kind: int) -> list[str]:
    """Return the addresses of an answer; whatever aliases lead there, a resolver has followed."""
    _, flags, questions, answers = struct.unpack("!4H", answer[:8])
    rcode = flags & 0x0F
    if rcode not in (0, NAME_NOT_THERE):
        raise ValueError(RCODES.get(rcode, f"code {rcode}"))
    try:
        place, found = 12, []
        for _ in range(questions):
            place = _after_name(answer, place) + 4
        for _ in range(answers):
            place = _after_name(answer, place)
            its_kind, _, _, length = struct.unpack("!HHIH", answer[place : place + 10])
            place += 10
            if its_kind == kind:
                found.append(str(ipaddress.ip_address(answer[place : place + length])))
            place += length
    except (IndexError, ValueError, struct.error) as error:
        raise ValueError("its answer is broken") from error
    return found


def _after_name(answer: bytes, place: int) -> int:
    """Return where what follows the name at `place` begins."""
    while length := answer[place]:
        if length & 0xC0:  # the rest of the name stands elsewhere
            return place + 2
        place += length + 1
    return place + 1
