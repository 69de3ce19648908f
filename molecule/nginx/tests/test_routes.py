"""Tricks with paths, without credentials: none leads out of a directory, or past a door."""

import pytest
from ways import REFUSED

TRICKS = (
    "/status/../etc/passwd", "/status/..%2f..%2fetc/passwd", "/status../atlas/atlas.db",
    "/status..%2fatlas/atlas.db", "/static/../../../../etc/passwd", "/static/..%252f..%252fetc/passwd",
    "/static/%2e%2e/%2e%2e/etc/passwd", "/static../etc/passwd", "/ca.pem/../current/privkey.pem",
    "/current/privkey.pem", "/privkey.pem", "/unavailable.css/../../etc/passwd", "/unavailable",
    "/refused", "/refused.json", "/goodbye.html", "/.well-known/acme-challenge/../../../etc/passwd",
    "/.git/config", "/.env", "/atlas.htpasswd", "/api/..;/settings", "/static/..;/settings",
    "/static/..\\settings", "/%2e%2e/settings", "/;/settings", "/static/%00", "/settings%00.css",
    "/settings/../static/x", "/static//../settings", "/./settings", "//settings", "/sw.js/../settings",
    "/offline/../api/items", "/fever/../settings", "/reader/..%2fsettings", "/health/../settings",
)  # fmt: skip


@pytest.mark.parametrize("path", TRICKS)
def test_no_trick_with_the_path_finds_anything(raw, path):
    request = f"GET {path} HTTP/1.1\r\nHost: machine\r\nAccept: text/html\r\nConnection: close\r\n\r\n"
    answer = raw(request.encode())
    status = int(answer.split(b" ", 2)[1]) if answer else 400
    assert status in REFUSED, (path, answer[:300])
    for secret in (b"root:", b"PRIVATE KEY", b"SQLite format", b"$2b$", b"Log out"):
        assert secret not in answer, path
