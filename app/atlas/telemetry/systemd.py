"""Word to systemd about how a service does (sd_notify), without its library. Elsewhere these do nothing."""

import os
import socket
from contextlib import suppress


def notify(*states: str) -> bool:
    """Send states such as "READY=1" or "STATUS=Draining"; return whether anyone is there to hear them."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):  # an abstract socket: its name begins with NUL
        address = "\0" + address[1:]
    message = "\n".join(states).encode()
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.settimeout(1)
        sender.sendto(message, address)
        return True
    return False


def watchdog_seconds() -> float | None:
    """Return how often to send "WATCHDOG=1": half of what the unit allows; None when it has no watchdog."""
    text, process = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not text.isdecimal() or int(text) == 0 or process not in ("", str(os.getpid())):
        return None
    return int(text) / 2_000_000
