"""What the door does and says, with the app behind it."""

import base64
import collections
import json
import shlex
import socket
import ssl

import httpx2
import pytest
from visiting import SECURITY, stopped

STATUS = "/status/public.html"


def test_http_leads_to_https(port):
    answer = httpx2.get(f"http://127.0.0.1:{port(80)}/search?q=a")
    assert (answer.status_code, answer.headers["location"]) == (308, "https://127.0.0.1/search?q=a")


def test_pages_ask_for_a_password(web, login):
    refused = web.get("/", headers={"Accept": "text/html"})
    assert refused.status_code == 401
    assert "This Atlas is private" in refused.text
    assert web.get("/", auth=("owner", "wrong")).status_code == 401
    assert web.get("/login", auth=login).status_code == 200


def test_the_full_status_page_asks_for_a_password(web, login):
    assert web.get(STATUS).status_code == 200
    assert web.get("/status/").status_code == 401
    assert web.get("/status/", auth=login).status_code == 200


def test_who_is_turned_away_is_told_why_in_his_own_way(web):
    body = b"x" * 1_100_000
    page = web.post("/settings", content=body, headers={"Accept": "text/html"})
    assert (page.status_code, "Too large" in page.text) == (413, True)
    program = web.post("/api/items", content=body)
    assert (program.status_code, program.json()["error"]["code"]) == (413, "too_large")


def test_files_may_be_large_imports_larger_and_nothing_else(web, token):
    body = b"x" * 2_000_000
    assert web.post("/api/items", content=body, headers=token).status_code == 413
    assert web.post("/api/files", content=body, headers=token).status_code == 422  # the app's own word
    body = b"x" * 27_000_000  # 25m are 26.2 million
    assert web.post("/api/files", content=body, headers=token).status_code == 413
    assert web.post("/api/imports", content=body, headers=token).status_code == 202


# Who it answers to


def test_who_does_not_know_its_name_is_hung_up_on(web, port):
    with pytest.raises(httpx2.TransportError):
        web.get(STATUS, headers={"Host": "elsewhere.example"})
    with pytest.raises(httpx2.TransportError):
        httpx2.get(f"http://127.0.0.1:{port(80)}/", headers={"Host": "elsewhere.example"})


def test_who_does_not_know_its_name_sees_no_certificate(port):
    anybody = ssl.create_default_context()
    anybody.check_hostname = False
    anybody.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port(443)), timeout=5) as plain,
        pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"),
    ):
        anybody.wrap_socket(plain, server_hostname="elsewhere.example")


def test_the_app_is_told_the_name_nginx_knows_and_not_another(raw):
    """An address in the request line goes before the header, so the header must not reach the app."""
    request = b"GET http://machine/login HTTP/1.1\r\nHost: elsewhere.example\r\nConnection: close\r\n\r\n"
    assert b" 401 " in raw(request).partition(b"\r\n")[0] + b" "
    request = b"GET http://elsewhere.example/ HTTP/1.1\r\nHost: machine\r\nConnection: close\r\n\r\n"
    assert raw(request) == b""


# What it says


@pytest.mark.parametrize("path", [STATUS, "/", "/login", "/api/items", "/offline", "/nothing", "/ca.pem"])
def test_every_answer_carries_each_security_header_once(web, path):
    said = collections.Counter(name for name, _ in web.get(path).headers.multi_items())
    for name, value in SECURITY.items():
        assert said[name] == 1, (path, name)
        assert value in web.get(path).headers[name]
    assert "unsafe" not in web.get(path).headers["content-security-policy"]
    assert web.get(path).headers["server"] == "nginx"


def test_what_is_kept_for_ever_is_compressed_and_kept_also_while_the_app_is_away(host, web, login):
    page = web.get("/login", auth=login, headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in page.headers  # BREACH: there is a secret in it
    path = page.text.partition('<link rel="stylesheet" href="')[2].partition('"')[0]
    sheet = web.get(path, headers={"Accept-Encoding": "gzip"})
    assert sheet.headers["content-encoding"] == "gzip"
    assert "immutable" in sheet.headers["cache-control"]
    plain = web.get(path, headers={"Accept-Encoding": "identity"})
    assert (plain.text, "content-encoding" in plain.headers) == (sheet.text, False)
    with stopped(host, "atlas-api"):
        assert web.get(path, headers={"Accept-Encoding": "gzip"}).text == sheet.text
        assert web.get("/static/never.css").status_code == 503


def test_the_log_has_no_secrets(host, web):
    """Neither queries nor names that may be a password in the wrong field; no other log quotes it."""
    host.check_output("systemctl restart nginx")
    mark = host.check_output("date +%s.%N")
    web.get("/api/export/feed?token=atl_quails")
    web.get("/login?q=quails", auth=("quails", "wrong"))
    web.get("/search?q=quails", headers={"Referer": "https://machine/?q=quails", "Cookie": "atlas=quails"})
    web.post("/login?quails", content=b"x" * 1_100_000)
    host.check_output("sleep 0.5")
    assert "quails" not in host.check_output(f"journalctl --since=@{mark} --unit=nginx --output=cat")
    assert not host.run("grep -rl quails /var/log/nginx").stdout
    lines = host.check_output(f"journalctl --since=@{mark} --identifier=nginx --output=cat").splitlines()
    assert not [line for line in lines if "quails" in line]
    logged = [json.loads(line) for line in lines]
    assert next(line["user"] for line in logged if line["path"] == "/login") == "?"
    assert {"request_id", "remote", "host", "method", "path", "status", "seconds"} <= logged[0].keys()


@pytest.mark.parametrize(
    "path", ["/metrics", "/metrics/", "//metrics", "/static/..%2fmetrics", "/api/../metrics", "/%6detrics"]
)
def test_what_is_for_the_machines_own_eyes_is_hidden(raw, password, path):
    known = base64.b64encode(f"owner:{password}".encode()).decode()
    head = (
        f"GET {path} HTTP/1.1\r\nHost: machine\r\nAuthorization: Basic {known}\r\nConnection: close\r\n\r\n"
    )
    assert raw(head.encode()).startswith(b"HTTP/1.1 404 ")


# How much it answers


def test_logins_are_counted_by_address(elsewhere):
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    seen = elsewhere(
        "198.51.100.7",
        "/accounts/ClientLogin",
        method="POST",
        headers=form,
        body="Email=a&Passwd=b",
        times=60,
    )
    turned_away = [one for one in seen if one["status"] == 429 and "too_many_requests" in one["text"]]
    assert 25 <= len(turned_away) <= 31  # nginx's word; the app's own comes first, after five
    assert {one["retry_after"] for one in turned_away} == {"10"}
    assert (
        elsewhere(
            "198.51.100.8", "/accounts/ClientLogin", method="POST", headers=form, body="Email=a&Passwd=b"
        )[0]["status"]
        != 429
    )


def test_a_network_of_ipv6_is_one_visitor(elsewhere):
    assert [one["status"] for one in elsewhere("2001:db8:1::7", "/login", times=180)].count(429) > 50
    assert [one["status"] for one in elsewhere("2001:db8:1::8", "/login", times=90)].count(429) > 20
    assert {one["status"] for one in elsewhere("2001:db8:2::7", "/login", times=90)} == {401}


def test_programs_that_are_busy_do_not_trip(elsewhere, token):
    """A feed reader's first sync, or a script that adds links one by one."""
    seen = elsewhere("198.51.100.8", "/api/items?limit=1", headers=token, times=1000)
    assert {one["status"] for one in seen} == {200}


def test_a_thousand_wrong_passwords_are_throttled(elsewhere):
    wrong = {"Authorization": "Basic " + base64.b64encode(b"owner:wrong").decode()}
    seen = [one["status"] for one in elsewhere("198.51.100.7", "/status/", headers=wrong, times=1000)]
    assert set(seen) == {401, 429}
    assert seen.count(401) < 200


def test_only_networks_that_are_allowed_come_in(elsewhere, play, web, port):
    def seen(address: str, path: str = STATUS) -> int:
        return elsewhere(address, path)[0]["status"]

    def told(path: str) -> str:
        return elsewhere("198.51.100.8", path, headers={"Accept": "text/html"})[0]["text"]

    allowed = {"nginx_allowed_networks": ["198.51.100.7/32", "2001:db8:1::/64"]}
    done = play("--tags=nginx", f"--extra-vars={json.dumps(allowed)}")
    try:
        assert done.succeeded, done.output
        assert {seen("198.51.100.7"), seen("2001:db8:1::7")} == {200}
        assert seen("198.51.100.7", "/login") == 401, "the password is asked for all the same"
        for path in (STATUS, "/login", "/api/items", "/health"):
            assert {seen("198.51.100.8", path), seen("2001:db8:2::7", path)} == {403}, path
        assert web.get(STATUS).status_code == 403
        assert "Closed" in told("/login"), "a page of ours says so"
        assert 'href="/status' not in told("/login"), "and leads nowhere that is closed too"
        assert json.loads(told("/api/items"))["error"]
        challenge = httpx2.get(f"http://127.0.0.1:{port(80)}/.well-known/acme-challenge/none")
        assert challenge.status_code == 404, "an authority asks from anywhere"
        wrong = play("--tags=nginx", '--extra-vars={"nginx_allowed_networks": ["198.51.100.300"]}')
        assert not wrong.succeeded
        assert "198.51.100.300" in wrong.output
        assert seen("198.51.100.7") == 200
    finally:
        assert play("--tags=nginx").succeeded
    assert web.get(STATUS).status_code == 200


# TLS


def test_old_tls_is_refused(port):
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname = False
    old.verify_mode = ssl.CERT_NONE
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    old.minimum_version = ssl.TLSVersion.TLSv1_2
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    old.set_ciphers("AES128-SHA")  # no forward secrecy
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"https://127.0.0.1:{port(443)}{STATUS}", verify=old)


def test_http2_is_spoken(port, authority):
    authority.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", port(443)), timeout=5) as plain,
        authority.wrap_socket(plain, server_hostname="machine") as connection,
    ):
        assert connection.selected_alpn_protocol() == "h2"


# Who may pass


def test_a_password_goes_no_further_and_a_token_does(host, web, login):
    """A small echo stands in for the app."""
    with stopped(host, "atlas-api"):
        echo = (
            "import http.server as h\n"
            "class E(h.BaseHTTPRequestHandler):\n"
            "    def do_GET(self):\n"
            "        self.send_response(200); self.end_headers(); self.wfile.write(bytes(self.headers))\n"
            'h.HTTPServer(("127.0.0.1", 7444), E).serve_forever()'
        )
        host.check_output(f"systemd-run --quiet --unit=echo python3 -c {shlex.quote(echo)}")
        try:
            host.check_output("for i in $(seq 50); do ss -Hltn | grep -q :7444 && break; sleep 0.1; done")
            said = {"Door-Key": "k" * 43, "Door-Named": "yes"}
            known = {"Authorization": "Bearer atl_x", "X-Forwarded-For": "127.0.0.1", **said}
            echoed = web.get("/api/", headers=known).text
            assert "Authorization: Bearer atl_x" in echoed
            assert (echoed.count("Door-Key: "), "k" * 43 in echoed) == (1, False)  # nginx's own
            assert "Door-Named" not in echoed  # else anybody could say that nginx had asked him
            assert "127.0.0.1" not in echoed.partition("X-Forwarded-For:")[2].partition("\n")[0]
            echoed = web.get("/", auth=login, headers=said).text
            assert "Authorization:" not in echoed
            assert (echoed.count("Door-Key: "), "k" * 43 in echoed) == (1, False)
            assert "Door-Named" not in echoed
            assert "X-Request-ID:" in echoed
        finally:
            host.check_output("systemctl stop echo")
