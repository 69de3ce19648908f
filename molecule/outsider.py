"""Somebody else on the network: a network namespace of the machine, reached by a cable of its own.

What comes from there passes the machine's firewall as anything from outside does.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

MACHINE = {4: "192.0.2.1", 6: "2001:db8:1::1"}
# Three addresses of strangers; the last IPv6 address has its /64 to itself.
STRANGERS = {
    4: ("192.0.2.2", "192.0.2.3", "192.0.2.4"),
    6: ("2001:db8:1::2", "2001:db8:1::3", "2001:db8:1:1::4"),
}

UP = f"""
ip netns add outsider
ip link add outside type veth peer name eth0 netns outsider
ip address add {MACHINE[4]}/24 dev outside
ip address add {MACHINE[6]}/48 dev outside nodad
ip link set outside up
for address in {" ".join(STRANGERS[4])}; do ip -n outsider address add $address/24 dev eth0; done
for address in {" ".join(STRANGERS[6])}; do ip -n outsider address add $address/48 dev eth0 nodad; done
ip -n outsider link set lo up
ip -n outsider link set eth0 up
"""

# What answers a connection, and how: `open` takes it, `refused` says no. All ports in a few seconds.
SCAN = r"""
import errno, select, socket, sys
address, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
family = socket.AF_INET6 if ":" in address else socket.AF_INET
for start in range(first, last + 1, 4096):
    waiting = {}
    for port in range(start, min(start + 4096, last + 1)):
        s = socket.socket(family, socket.SOCK_STREAM)
        s.setblocking(False)
        if s.connect_ex((address, port)) not in (0, errno.EINPROGRESS):
            print(port, "refused")
        waiting[s.fileno()] = (s, port)
    poll = select.poll()
    for number in waiting:
        poll.register(number, select.POLLOUT)
    while ready := poll.poll(600):
        for number, _ in ready:
            s, port = waiting.pop(number)
            poll.unregister(number)
            print(port, "refused" if s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) else "open")
            s.close()
    for s, _ in waiting.values():
        s.close()
"""

# Which UDP ports say anything at all: an answer, or that nobody is there.
SCAN_UDP = r"""
import socket, sys, time
address, ports = sys.argv[1], [int(port) for port in sys.argv[2:]]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
sockets = {port: socket.socket(family, socket.SOCK_DGRAM) for port in ports}
for port, s in sockets.items():
    s.setblocking(False)
    s.connect((address, port))
    s.send(b"hello")
    time.sleep(0.02)
time.sleep(1)
for port, s in sockets.items():
    try:
        s.recv(100)
        print(port, "answered")
    except ConnectionRefusedError:
        print(port, "refused")
    except BlockingIOError:
        pass
"""

# What a server says first, asked from an address; nothing if it cannot be reached.
GREETED = r"""
import socket, sys
address, port, source = sys.argv[1:]
try:
    print(socket.create_connection((address, int(port)), 2, (source, 0)).recv(100))
except OSError:
    pass
"""


@dataclass(frozen=True)
class Outsider:
    """Runs commands over there; `host` is the machine, as testinfra reaches it."""

    host: object

    def run(self, command: str):
        """Run a shell command over there."""
        return self.host.run("ip netns exec outsider sh -c %s", command)

    def python(self, program: str, *arguments: str) -> list[str]:
        """Run a Python program over there and return the lines it prints."""
        words = " ".join(["%s"] * len(arguments))
        command = f"ulimit -n 8192; exec ip netns exec outsider python3 -c %s {words}"
        return self.host.check_output(command, program, *arguments).splitlines()

    def scan(self, address: str, first: int = 1, last: int = 65535) -> dict[int, str]:
        """Say which TCP ports of an address answer, and how."""
        lines = self.python(SCAN, address, str(first), str(last))
        return {int(port): answer for port, answer in map(str.split, lines)}

    def scan_udp(self, address: str, ports: list[int]) -> dict[int, str]:
        """Say which UDP ports of an address answer, and how."""
        lines = self.python(SCAN_UDP, address, *map(str, ports))
        return {int(port): answer for port, answer in map(str.split, lines)}

    def greeted(self, port: int, source: str) -> bool:
        """Say whether a server that speaks first does so to one of the addresses."""
        address = MACHINE[6 if ":" in source else 4]
        return bool(self.python(GREETED, address, str(port), source))


@contextmanager
def outsider(host) -> Iterator[Outsider]:
    """Let there be an outsider."""
    host.run("ip netns delete outsider")
    for line in UP.strip().splitlines():
        host.check_output(line)
    try:
        yield Outsider(host)
    finally:
        host.run("ip netns delete outsider")
