import ssl
from pathlib import Path

import httpx2
import pytest

STATUS = "/status/public.html"


@pytest.fixture(autouse=True)
def _status_page(host):
    """What atlasctl writes; this scenario has none."""
    host.check_output(
        "mkdir -p /var/lib/atlas-status; echo 'all is well' | tee /var/lib/atlas-status/{index,public}.html"
    )


@pytest.fixture
def login(scenario_directory):
    return ("owner", Path(scenario_directory, "secrets", "owner_password").read_text().strip())


def test_http_leads_to_https(port):
    answer = httpx2.get(f"http://127.0.0.1:{port(80)}/search?q=a")
    assert (answer.status_code, answer.headers["location"]) == (308, "https://127.0.0.1/search?q=a")


def test_pages_ask_for_a_password_and_say_so_while_the_app_is_away(web, login):
    assert web.get("/").status_code == 401
    assert web.get("/", auth=("owner", "wrong")).status_code == 401
    away = web.get("/", auth=login)
    assert away.status_code == 503
    assert "Atlas is not answering just now" in away.text


def test_programs_get_json_while_the_app_is_away(web):
    away = web.get("/api/items", headers={"Authorization": "Bearer atl_x"})
    assert away.status_code == 503
    assert away.json()["error"]["code"] == "unavailable"


@pytest.mark.parametrize(
    "path", ["/accounts/ClientLogin", "/reader/api/0/token", "/fever", "/fever/?api", "/wallabag/api/version"]
)
def test_feed_readers_need_no_password_of_nginx(web, path):
    assert web.get(path).json()["error"]["code"] == "unavailable"


def test_imports_may_be_large_and_nothing_else(web):
    body = b"x" * 27_000_000  # 25m are 26.2 million
    token = {"Authorization": "Bearer atl_x"}
    assert web.post("/api/items", content=body, headers=token).status_code == 413
    assert web.post("/api/imports", content=body, headers=token).status_code == 503


def test_the_status_page_needs_no_app(web, login):
    assert web.get(STATUS).text == "all is well\n"
    assert web.get("/status/").status_code == 401
    assert web.get("/status/", auth=login).text == "all is well\n"


def test_a_request_gets_through_with_the_token_and_without_nginxs_password(host, web, login):
    """A small echo stands in for the app."""
    host.check_output(
        "systemd-run --quiet --unit=echo python3 -c '"
        "import http.server as h\n"
        "class E(h.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200); self.end_headers(); self.wfile.write(bytes(self.headers))\n"
        'h.HTTPServer(("127.0.0.1", 7444), E).serve_forever()\''
    )
    try:
        host.check_output("for i in $(seq 50); do ss -Hltn | grep -q :7444 && break; sleep 0.1; done")
        assert (
            "Authorization: Bearer atl_x" in web.get("/api/", headers={"Authorization": "Bearer atl_x"}).text
        )
        echoed = web.get("/", auth=login).text
        assert "Authorization:" not in echoed
        assert "X-Request-ID:" in echoed
    finally:
        host.check_output("systemctl stop echo")


def test_what_is_for_the_machines_own_eyes_is_hidden(web, login):
    assert web.get("/metrics", auth=login).status_code == 404


def test_strangers_are_hung_up_on(web):
    with pytest.raises(httpx2.RemoteProtocolError):
        web.get(STATUS, headers={"Host": "elsewhere.example"})


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


def test_answers_carry_the_security_headers(web):
    headers = web.get(STATUS).headers
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["x-content-type-options"] == "nosniff"
    assert "nginx/" not in headers["server"]
