"""What the tests of the door share and import."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2

PAGE = {"Accept": "text/html"}
#: What a browser says of a form of our own page.
OURS = {**PAGE, "Sec-Fetch-Site": "same-origin"}

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


def csrf_of(page: httpx2.Response) -> str:
    """Return the token of a page's forms."""
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', page.text)
    assert found, page.text
    return found[1]


def log_in(web: httpx2.Client, login: tuple[str, str]) -> None:
    """Come in by both doors, as a browser does the first time."""
    page = web.get("/login", headers=PAGE, auth=login)
    form = {"csrf": csrf_of(page), "name": login[0], "password": login[1]}
    assert web.post("/login", data=form, headers=OURS, auth=login).status_code == 303
