"""Which addresses Atlas may speak to, and a network backend that speaks to no others.

A page or a feed may name any machine, also one inside our own walls: the database, the router, the cloud's
metadata service that hands out keys. Checking a name first and connecting to it afterwards is not enough,
because the second look-up may bring another answer (DNS rebinding). So a name is resolved once, every address
it has is checked, and the connection goes to the very address that was checked. The name itself stays what
TLS verifies and what stands in the Host header. Redirects make new connections, which pass here as well.
"""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

import httpcore2

from atlas.net.errors import FetchError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
#: Looks a host name up: all its addresses, as text. Raises OSError.
Resolver = Callable[[str], Iterable[str]]

#: Machines that hand out keys, or are part of the cloud underneath us. No setting opens them.
_NEVER: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(network), words)
    for network, words in (
        ("169.254.0.0/16", "the link-local network, where clouds keep their metadata service"),
        ("fe80::/10", "the link-local network"),
        ("fd00:ec2::/32", "a cloud's metadata service"),
        ("fd00:c1::/32", "a cloud's metadata service"),
        ("fd20:ce::/32", "a cloud's metadata service"),
        # A translator's own prefix: where its addresses end cannot be told from them.
        ("64:ff9b:1::/48", "a gateway to other networks (NAT64)"),
        ("100.100.100.200/32", "a cloud's metadata service"),
        ("168.63.129.16/32", "a cloud's metadata service"),
        ("192.0.0.192/32", "a cloud's metadata service"),
    )
)

#: IANA's registries of special-purpose addresses. Ours, and not `is_global`, whose answers differ between the
#: Python versions we run on. IPv6 is simpler: the internet is 2000::/3 without what stands here.
_SPECIAL: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(network), words)
    for network, words in (
        ("0.0.0.0/8", "this machine"),
        ("10.0.0.0/8", "a private network"),
        ("100.64.0.0/10", "a provider's internal network"),
        ("127.0.0.0/8", "this machine"),
        ("172.16.0.0/12", "a private network"),
        ("192.0.0.0/24", "a reserved network"),
        ("192.0.2.0/24", "a network for documentation only"),
        ("192.88.99.0/24", "a reserved network"),
        ("192.168.0.0/16", "a private network"),
        ("198.18.0.0/15", "a network for measurements only"),
        ("198.51.100.0/24", "a network for documentation only"),
        ("203.0.113.0/24", "a network for documentation only"),
        ("224.0.0.0/4", "a multicast network"),
        ("240.0.0.0/4", "a reserved network"),
        ("::/128", "this machine"),
        ("::1/128", "this machine"),
        ("64:ff9b::/96", "a gateway to other networks (NAT64)"),
        ("fc00::/7", "a private network"),
        ("fec0::/10", "a private network"),
        ("ff00::/8", "a multicast network"),
        ("2001::/32", "a tunnel to other networks (Teredo)"),
        ("2001::/23", "a reserved network"),
        ("2001:db8::/32", "a network for documentation only"),
        ("2002::/16", "a tunnel to other networks (6to4)"),
        ("3fff::/20", "a network for documentation only"),
    )
)
_INTERNET6 = IPv6Network("2000::/3")
_EVERYTHING = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))
_NAT64 = IPv6Network("64:ff9b::/96")


def forbidden(address: Address, allowed: Sequence[Network] = ()) -> str | None:
    """Why we may not speak to `address`, in words like "a private network"; None when we may.

    An IPv6 address that carries an IPv4 address is judged by both. `allowed` opens networks, but never
    link-local ones or a metadata service.
    """
    faces = _faces(address)
    for face in faces:
        for network, words in _NEVER:
            if face in network:
                return words
    for face in faces:
        if any(face in network for network in allowed):
            continue
        for network, words in _SPECIAL:
            if face in network:
                return words
        if isinstance(face, IPv6Address) and face not in _INTERNET6:
            return "a reserved network"
    return None


def _faces(address: Address) -> list[Address]:
    """List the address, and the IPv4 addresses a packet to it may end at."""
    if isinstance(address, IPv4Address):
        return [address]
    if address.ipv4_mapped:
        return [address.ipv4_mapped]  # the kernel itself makes an IPv4 connection of it
    faces: list[Address] = [address]
    if address in _NAT64 or int(address) >> 32 == 0:
        faces.append(IPv4Address(int(address) & 0xFFFFFFFF))
    if address.sixtofour:
        faces.append(address.sixtofour)
    if address.teredo:
        faces.extend(address.teredo)
    return faces


def look_up(host: str) -> list[str]:
    """All addresses of a host name, as the system's resolver gives them. Raises OSError."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Deadline:
    """A moment by which everything must be done."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def remaining(self) -> float:
        """Seconds left, more than 0. Raises FetchError (`timeout`) when there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise out_of_time(self._seconds)
        return left


def out_of_time(seconds: float) -> FetchError:
    """Return the error for a fetch that did not finish within `seconds`."""
    return FetchError("timeout", f"The site did not finish within {seconds:g} seconds.", retry=True)


class GuardedBackend(httpcore2.NetworkBackend):
    """Resolves, checks, and connects to what was checked. Serves one fetch and ends with its deadline."""

    def __init__(
        self,
        *,
        allowed: Sequence[Network],
        deadline: Deadline,
        connect_timeout: float,
        resolver: Resolver = look_up,
    ) -> None:
        self._allowed = allowed
        self._deadline = deadline
        self._connect_timeout = connect_timeout
        self._resolver = resolver

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        """Connect to the first checked address of `host` that answers.

        Raises FetchError (`dns_failure`, `forbidden_address`, `timeout`) and httpcore2's connection errors.
        """
        del timeout  # the deadline and the connect timeout of this fetch rule
        problem: Exception = httpcore2.ConnectError("no address")
        for address in self._checked(host):
            try:
                stream = httpcore2.SyncBackend().connect_tcp(
                    str(address),
                    port,
                    timeout=min(self._connect_timeout, self._deadline.remaining()),
                    local_address=local_address,
                    socket_options=socket_options,
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                problem = error
            else:
                return _DeadlineStream(stream, self._deadline)
        raise problem

    def _checked(self, host: str) -> list[Address]:
        """List the addresses of `host` that may be spoken to, at least one."""
        good: list[Address] = []
        refused: list[str] = []
        can_be_opened = False
        for address in self._resolve(host):
            words = forbidden(address, self._allowed)
            if words is None and not self._listed(address) and _is_own(address):
                words = "this machine"
            if words is None:
                good.append(address)
            else:
                refused.append(f"{address} ({words})")
                can_be_opened |= forbidden(address, _EVERYTHING) is None
        if not good:
            hint = " If that is wanted, list its network in ATLAS_ALLOWED_NETWORKS." if can_be_opened else ""
            message = f"Atlas does not open {host}: it leads to {', '.join(refused[:3])}.{hint}"
            raise FetchError("forbidden_address", message)
        return good

    def _listed(self, address: Address) -> bool:
        return any(address in network for network in self._allowed)

    def _resolve(self, host: str) -> list[Address]:
        """Look up every address of `host`, at least one, within the deadline."""
        try:
            answers = _within(self._deadline.remaining(), lambda: list(self._resolver(host)))
        except TimeoutError:
            message = f"Looking up the name {host} took too long."
            raise FetchError("dns_failure", message, retry=True) from None
        except socket.gaierror as error:
            if error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", None)):
                raise FetchError("dns_failure", f"There is no site called {host}.") from error
            message = f"The name {host} could not be looked up just now."
            raise FetchError("dns_failure", message, retry=True) from error
        except (OSError, UnicodeError) as error:
            raise FetchError("dns_failure", f"The name {host} could not be looked up.") from error
        addresses = [ip_address(answer) for answer in answers]
        if not addresses:
            raise FetchError("dns_failure", f"There is no site called {host}.")
        return addresses


class _DeadlineStream(httpcore2.NetworkStream):
    """A connection on which no wait outlasts the deadline, however slowly the other side drips."""

    def __init__(self, stream: httpcore2.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        del timeout
        return self._stream.read(max_bytes, self._deadline.remaining())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        del timeout
        self._stream.write(buffer, self._deadline.remaining())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        del timeout
        stream = self._stream.start_tls(ssl_context, server_hostname, self._deadline.remaining())
        return _DeadlineStream(stream, self._deadline)

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 (httpcore2's own signature)
        return self._stream.get_extra_info(info)


def _is_own(address: Address) -> bool:
    """Whether `address` is one of this machine's own, behind whose firewall we would stand. Sends nothing."""
    family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), 9))
            return ip_address(probe.getsockname()[0]) == address
    except OSError:
        return False  # no way there at all: connecting will say so


def _within(seconds: float, call: Callable[[], list[str]]) -> list[str]:
    """Call in a thread and wait no longer than `seconds`: the system's resolver knows no time limit.

    Raises TimeoutError, and what `call` raises.
    """
    future: Future[list[str]] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 (handed on to whoever waits)
            future.set_exception(error)

    threading.Thread(target=run, name="look-up", daemon=True).start()
    return future.result(timeout=seconds)
