"""Word to systemd about how a service does (sd_notify), without its library. Elsewhere these do nothing."""

import os
import socket
from array import array
from collections.abc import Sequence
from contextlib import suppress

#: The first descriptor that systemd hands over (sd_listen_fds).
FIRST_FD = 3


def notify(*states: str, fds: Sequence[int] = ()) -> bool:
    """Send states such as "READY=1", and descriptors to be kept; tell if anyone is there to hear them."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):  # an abstract socket: its name begins with NUL
        address = "\0" + address[1:]
    message = "\n".join(states).encode()
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.settimeout(1)
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", fds))] if fds else []
        sender.sendmsg([message], ancillary, 0, address)
        return True
    return False


def keep(name: str, listening: socket.socket) -> bool:
    """Leave a socket with systemd for the next run of the unit (FileDescriptorStoreMax); tell if it hears."""
    return notify("FDSTORE=1", f"FDNAME={name}", fds=[listening.fileno()])


def give_up(name: str) -> bool:
    """Have systemd close the sockets it keeps by a name."""
    return notify("FDSTOREREMOVE=1", f"FDNAME={name}")


def kept(name: str) -> list[socket.socket]:
    """Return the sockets that an earlier run of the unit left by a name."""
    names, count = os.environ.get("LISTEN_FDNAMES", "").split(":"), os.environ.get("LISTEN_FDS", "")
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or not count.isdecimal():
        return []
    handed = enumerate(names[: int(count)], FIRST_FD)
    return [socket.socket(fileno=number) for number, called in handed if called == name]


def watchdog_seconds() -> float | None:
    """Return how often to send "WATCHDOG=1": half of what the unit allows; None when it has no watchdog."""
    text, process = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not text.isdecimal() or int(text) == 0 or process not in ("", str(os.getpid())):
        return None
    return int(text) / 2_000_000
