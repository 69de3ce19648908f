"""What strangers try, and the owner's page meanwhile: he comes from another address, logged in."""

import pytest
from visiting import log_in

#: What the owner waits for a page, in seconds; one of twenty may take longer, as tests share a machine.
PATIENCE = 1.0


@pytest.fixture
def owners_page(elsewhere, web, login):
    """Ask for the library as the owner, twenty times, and return the longest but one in seconds."""
    log_in(web, login)
    cookies = "; ".join(f"{name}={value}" for name, value in web.cookies.items())

    def ask() -> float:
        headers = {"Accept": "text/html", "Cookie": cookies}
        seen = elsewhere("198.51.100.8", "/", headers=headers, times=20)
        assert {one["status"] for one in seen} == {200}
        return sorted(one["seconds"] for one in seen)[-2]

    return ask


@pytest.mark.timeout(90)
def test_five_hundred_that_never_end_their_header(crowd, owners_page):
    with crowd("slowloris", connections=500, seconds=20) as ended:
        crowd.wait(4)
        assert owners_page() < PATIENCE
    assert ended["result"].get("held", 0) == 0
    assert sum(ended["result"].values()) == 500


@pytest.mark.timeout(90)
def test_bodies_that_never_end_hold_a_hundred_connections_at_most(crowd, owners_page):
    with crowd("dawdle", path="/offline", connections=150, seconds=12) as ended:
        crowd.wait(4)
        assert owners_page() < PATIENCE
    assert ended["result"]["429"] >= 50


@pytest.mark.timeout(90)
def test_a_flood_of_requests(crowd, owners_page):
    with crowd("flood", path="/", connections=50, seconds=12) as ended:
        crowd.wait(3)
        assert owners_page() < PATIENCE
    answered = ended["result"]
    assert answered["429"] > 1000
    assert answered["401"] < 100 + 20 * 15  # what one address is given, and no more


def test_bodies_that_are_too_large_are_refused_before_they_are_read(raw, web, owners_page):
    huge = b"POST %b HTTP/1.1\r\nHost: machine\r\nContent-Length: 99999999999\r\n\r\n"
    for path in (b"/login", b"/api/items", b"/fever/", b"/add/files", b"/api/files"):
        assert raw(huge % path).startswith(b"HTTP/1.1 413 "), path
    endless = (b"x" * 65_536 for _ in range(64))
    assert web.post("/offline", content=endless).status_code == 413
    assert owners_page() < PATIENCE


HIDDEN = b"GET /smuggled HTTP/1.1\r\nHost: machine\r\n\r\n"
CHUNKED = b"0\r\n\r\n" + HIDDEN
VARIANTS = {
    "both lengths": (b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", CHUNKED),
    "both, the other way round": (b"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n", CHUNKED),
    "two lengths": (b"Content-Length: 0\r\nContent-Length: 44\r\n", HIDDEN),
    "two lengths in one": (b"Content-Length: 0, 44\r\n", HIDDEN),
    "a length with a sign": (b"Content-Length: +0\r\n", HIDDEN),
    "a negative length": (b"Content-Length: -1\r\n", HIDDEN),
    "an unknown coding": (b"Transfer-Encoding: xchunked\r\n", CHUNKED),
    "a coding in a list": (b"Transfer-Encoding: identity, chunked\r\n", CHUNKED),
    "two codings": (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", CHUNKED),
    "a space before the colon": (b"Transfer-Encoding : chunked\r\n", CHUNKED),
    "a folded line": (b"Transfer-Encoding:\r\n chunked\r\n", CHUNKED),
    "a control character": (b"Transfer-Encoding: \x0bchunked\r\n", CHUNKED),
    "a zero in a header": (b"X: a\x00b\r\n", HIDDEN),
    "a bare return": (b"X: a\rTransfer-Encoding: chunked\r\n", CHUNKED),
    "a chunk of a wrong size": (b"Transfer-Encoding: chunked\r\n", b"ffffffffffffffffff\r\n" + HIDDEN),
    "a second host": (b"Host: elsewhere.example\r\n", b""),
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("path", [b"/offline", b"/api/imports"])
def test_a_request_in_a_request_is_refused(host, raw, path, variant):
    """What could be read as one request or as two is answered with an error and the end of the connection."""
    header, body = VARIANTS[variant]
    answer = raw(b"POST %b HTTP/1.1\r\nHost: machine\r\n%b\r\n%b" % (path, header, body))
    statuses = [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert len(statuses) <= 1, answer
    assert all(status in (400, 401, 405, 411, 413, 501) for status in statuses), answer
    assert "path=/smuggled" not in host.check_output("journalctl --unit=atlas-api --since=-10s --output=cat")
    assert '"path":"/smuggled"' not in host.check_output("journalctl -t nginx --since=-10s --output=cat")
