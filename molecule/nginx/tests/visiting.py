"""What the tests of the door share and import."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx2

#: What every answer says, whoever gives it, and what its value has in it.
SECURITY = {
    "content-security-policy": "default-src 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "permissions-policy": "camera=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


@contextmanager
def stopped(host, *units: str) -> Iterator[None]:
    """Have units stopped for a while."""
    names = " ".join(units)
    host.check_output(f"systemctl stop {names}")
    try:
        yield
    finally:
        host.check_output(f"systemctl start {names}")


def ready(client: httpx2.Client) -> bool:
    """Say whether the app is there and ready."""
    try:
        return client.get("/ready").status_code == 200
    except httpx2.TransportError:
        return False
