"""The client against the worst servers there are: each fetch ends soon, with a code and a sentence."""

import datetime as dt
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from webserver import ARTICLE, Page, WebServer

from atlas.net.client import Fetcher, FetchError, parse_retry_after
from atlas.settings import Settings

SYSTEM_TLS = ssl.create_default_context()
NOON = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)


@pytest.fixture
def web() -> Iterator[WebServer]:
    with WebServer() as server:
        yield server


def fetcher(*, allowed: str = "127.0.0.1/32", resolver=None, tls=None, **options) -> Fetcher:
    limits = {"fetch_timeout_seconds": 5, "fetch_connect_timeout_seconds": 2, **options}
    settings = Settings(_env_file=None, allowed_networks=allowed, **limits)
    return Fetcher(settings, tls=tls or SYSTEM_TLS, **({"resolver": resolver} if resolver else {}))


def failure(url: str, **options) -> FetchError:
    with pytest.raises(FetchError) as caught:
        fetcher(**options).get(url)
    assert caught.value.message.isprintable(), caught.value.message
    return caught.value


def test_a_page(web: WebServer) -> None:
    response = fetcher().get(web.url("/article#part"))

    assert response.status == 200
    assert response.body == ARTICLE.encode()
    assert response.content_type == "text/html; charset=utf-8"
    assert response.headers["Content-Length"] == str(len(ARTICLE))
    assert response.final_url == web.url("/article")
    assert response.redirects == ()


def test_the_request_is_honest_and_plain(web: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    fetcher().get(web.url("/article?q=a%20b", host="127.0.0.1").replace("http://", "http://me:secret@"))

    headers = web.requests[0].headers
    assert web.requests[0].path == "/article?q=a%20b"
    assert headers["host"] == f"127.0.0.1:{web.port}"
    assert headers["user-agent"].startswith("Atlas/")
    assert headers["accept-encoding"] == "gzip, deflate"
    assert not {"authorization", "cookie", "referer"} & set(headers)


@pytest.mark.parametrize(
    ("path", "code", "retry"),
    [
        ("/status/400", "http_400", False),
        ("/status/401", "http_401", False),
        ("/status/403", "http_403", False),
        ("/status/404", "http_404", False),
        ("/status/408", "http_408", True),
        ("/status/410", "http_410", False),
        ("/status/418", "http_418", False),
        ("/status/429", "rate_limited", True),
        ("/status/500", "http_500", True),
        ("/status/503", "http_503", True),
        ("/status/503/120", "rate_limited", True),
        ("/status/304", "bad_response", False),
        ("/status/305", "bad_response", False),
        ("/loop/1", "too_many_redirects", False),
        ("/cookie", "too_many_redirects", False),
        ("/no-location", "bad_response", False),
        ("/metadata", "forbidden_address", False),
        ("/redirect/302/http%3A%2F%2F[fd00:ec2::254]%2F", "forbidden_address", False),
        ("/redirect/302/http%3A%2F%2F[::ffff:a9fe:a9fe]%2F", "forbidden_address", False),
        ("/redirect/302/http%3A%2F%2Fexample.com@169.254.169.254%2F", "forbidden_address", False),
        ("/redirect/302/http%3A%2F%2F2852039166%2F", "forbidden_address", False),
        ("/redirect/302/%2F%2F169.254.169.254%2Fx", "forbidden_address", False),
        ("/redirect/302/http%3A%2F%2F127.0.0.2%2F", "forbidden_address", False),
        ("/redirect/302/file%3A%2F%2F%2Fetc%2Fpasswd", "invalid_url", False),
        ("/redirect/302/ftp%3A%2F%2Fexample.com%2F", "invalid_url", False),
        ("/redirect/302/gopher%3A%2F%2F127.0.0.1%3A25%2F", "invalid_url", False),
        ("/redirect/302/javascript%3Aalert(1)", "invalid_url", False),
        ("/redirect/302/http%3A%2F%2F", "too_many_redirects", False),
        ("/redirect/302/http%3A%2F%2F[", "invalid_url", False),
        ("/redirect/302/http%3A%2F%2Fexample.com%3A99999%2F", "invalid_url", False),
        ("/large", "body_too_large", False),
        ("/large/announced", "body_too_large", False),
        ("/bomb/gzip", "decompression_bomb", False),
        ("/bomb/deflate", "decompression_bomb", False),
        ("/nested-bomb", "bad_response", False),
        ("/gzip/broken", "bad_response", False),
        ("/gzip/plain", "bad_response", False),
        ("/gzip/cut", "connection_failed", True),
        ("/brotli", "bad_response", False),
        ("/truncated", "connection_failed", True),
        ("/hang-up", "connection_failed", True),
        ("/garbage", "bad_response", False),
        ("/many-headers", "bad_response", False),
    ],
)
def test_bad_manners(web: WebServer, path: str, code: str, retry: bool) -> None:
    error = failure(web.url(path))

    assert (error.code, error.retry) == (code, retry), error.message


@pytest.mark.parametrize("path", ["/endless", "/slow-headers", "/silent"])
def test_the_time_limit_holds_however_slowly_it_drips(web: WebServer, path: str) -> None:
    start = time.monotonic()

    error = failure(web.url(path), fetch_timeout_seconds=0.4)

    assert time.monotonic() - start < 1.5
    assert (error.code, error.retry) == ("timeout", True)
    assert error.message == "The site did not finish within 0.4 seconds."


def test_the_time_limit_counts_redirects_together(web: WebServer) -> None:
    def slow(request) -> Page:
        time.sleep(0.15)
        return Page("", 302, {"Location": request.path + "x"})

    for length in range(20):
        web.pages["/a" + "x" * length] = slow

    error = failure(web.url("/a"), fetch_timeout_seconds=0.5, fetch_max_redirects=20)

    assert error.code == "timeout"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/gzip", ARTICLE),
        ("/gzip/double", ARTICLE + "and more"),
        ("/gzip/padded", ARTICLE),
        ("/deflate", ARTICLE),
        ("/deflate/raw", ARTICLE),
        ("/empty", ""),
        ("/redirect/301/%2Farticle", ARTICLE),
        ("/redirect/308/article", None),
    ],
)
def test_what_is_odd_but_fine(web: WebServer, path: str, body: str | None) -> None:
    web.pages["/redirect/308/article"] = Page(body or "", 308, {"Location": "../../article"})

    assert fetcher().get(web.url(path)).body == (ARTICLE if body is None else body).encode()


def test_the_way_taken_is_told(web: WebServer) -> None:
    web.pages["/old"] = Page("", 301, {"Location": "/newer?x=é"})
    web.pages["/newer?x=%C3%A9"] = Page("", 302, {"Location": web.url("/article#top")})

    response = fetcher().get(web.url("/old"))

    assert response.redirects == (web.url("/old"), web.url("/newer?x=%C3%A9"))
    assert response.final_url == web.url("/article")


def test_too_large_is_measured_unpacked(web: WebServer) -> None:
    import gzip
    import random

    words = random.Random(1).randbytes(30_000).hex()
    web.pages["/packed"] = Page(gzip.compress(words.encode()), headers={"Content-Encoding": "gzip"})

    assert len(web.pages["/packed"].body) < 50_000 < len(words)
    assert failure(web.url("/packed"), fetch_max_bytes=50_000).code == "body_too_large"
    assert len(fetcher(fetch_max_bytes=60_000).get(web.url("/packed")).body) == 60_000


def test_a_redirect_s_endless_body_is_not_read(web: WebServer) -> None:
    head = f"HTTP/1.1 302 Found\r\nLocation: {web.url('/article')}\r\n"
    head += "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                connection.settimeout(5)
                connection.recv(65_536)
                connection.sendall(head.encode() + b"4\r\nmore\r\n")
                connection.recv(1)  # until the client has had enough

        thread = threading.Thread(target=serve)
        thread.start()
        response = fetcher(fetch_timeout_seconds=2).get(f"http://127.0.0.1:{server.getsockname()[1]}/")
        thread.join()

    assert response.final_url == web.url("/article")


def test_conditional_requests(web: WebServer) -> None:
    web.pages["/feed"] = lambda request: Page(
        "", 304 if request.headers.get("if-none-match") == '"1"' else 200
    )

    assert fetcher().get(web.url("/feed"), headers={"If-None-Match": '"1"'}).status == 304
    assert fetcher().get(web.url("/feed"), headers={"If-None-Match": '"0"'}).status == 200


def test_private_headers_stay_with_the_site_they_were_meant_for(web: WebServer) -> None:
    headers = {"Cookie": "session=1", "Authorization": "Bearer x", "Accept": "text/plain"}
    with WebServer() as other:
        web.pages["/here"] = Page("", 302, {"Location": "/there"})
        web.pages["/there"] = Page("", 302, {"Location": other.url("/article")})

        fetcher().get(web.url("/here"), headers=headers)

        assert web.requests[1].headers["cookie"] == "session=1"
        assert other.requests[0].headers["accept"] == "text/plain"
        assert not {"cookie", "authorization"} & set(other.requests[0].headers)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "//example.com/",
        "ftp://example.com/",
        "http://",
        "http:///x",
        "https://[::1",
        "http://a b/",
        "http://example.com:0/",
        "http://example.com:65536/",
        "http://exa\nmple.com/",
        "http://[fe80::1%25eth0]/",
        "http://host%2ename/",
        "http://..",
        "http://ex%00ample.com",
        "http://" + "a" * 70_000,
        "http://:80/",
        "http://\ud800.com/",
    ],
)
def test_what_is_no_web_address(url: str) -> None:
    assert failure(url).code == "invalid_url"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.2",
        "2130706434",
        "0x7f000002",
        "0177.0.0.2",
        "127.2",
        "[::1]",
        "[::ffff:127.0.0.2]",
        "[64:ff9b::7f00:2]",
        "[::127.0.0.2]",
        "0.0.0.0",
        "0",
        "127.0.0.2.",
        "169.254.169.254",
        "[fd00:c1::a9fe:a9fe]",
        "[2002:7f00:1::]",
        "\uff11\uff12\uff17.0.0.2",
        "127\u30020\u30020\u30022",
        "user@127.0.0.2",
        "example.com\\@127.0.0.2",
        "127.0.0.1@127.0.0.2",
    ],
)
def test_forbidden_hosts_get_no_packet(host: str) -> None:
    with WebServer(host="127.0.0.2") as inside:
        error = failure(f"http://{host}:{inside.port}/")

        assert error.code in {"forbidden_address", "dns_failure", "invalid_url"}, (host, error.message)
        assert inside.requests == []


def test_a_name_that_changes_its_address_reaches_only_checked_ones(web: WebServer) -> None:
    answers = iter([["127.0.0.1"], ["127.0.0.2"], ["127.0.0.2"]])
    asked = []

    def rebinding(host: str) -> list[str]:
        asked.append(host)
        return next(answers)

    web.pages["/close"] = Page("", 302, {"Location": "/again", "Connection": "close"})
    with WebServer(host="127.0.0.2", port=web.port) as inside:
        error = failure(web.url("/close", host="rebind.test"), resolver=rebinding)

        assert asked == ["rebind.test", "rebind.test"]
        assert error.code == "forbidden_address"
        assert web.paths == ["/close"]
        assert inside.requests == []


def test_one_look_up_serves_the_connection_that_it_checked(web: WebServer) -> None:
    asked = []

    def once(host: str) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

    web.pages["/first"] = Page("", 302, {"Location": "/article"})

    response = fetcher(resolver=once).get(web.url("/first", host="site.test"))

    assert response.final_url == web.url("/article", host="site.test")
    assert web.requests[1].headers["host"] == f"site.test:{web.port}"
    assert asked == ["site.test"]


def test_a_connection_is_not_kept_for_the_next_fetch(web: WebServer) -> None:
    answers = iter([["127.0.0.1"], ["127.0.0.2"]])
    client = fetcher(resolver=lambda _: next(answers))
    client.get(web.url("/article", host="site.test"))

    with pytest.raises(FetchError, match="leads to"):
        client.get(web.url("/article", host="site.test"))


def test_nobody_at_home() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    error = failure(f"http://127.0.0.1:{port}/")

    assert (error.code, error.retry) == ("connection_failed", True)
    assert error.message == "127.0.0.1 cannot be reached."


def test_an_unknown_host() -> None:
    def unknown(host: str) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    error = failure("http://no-such-site.invalid/", resolver=unknown)

    assert (error.code, error.retry) == ("dns_failure", False)
    assert error.message == "There is no site called no-such-site.invalid."


def test_international_names_are_looked_up_in_their_wire_form(web: WebServer) -> None:
    asked = []

    def remember(host: str) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    response = fetcher(resolver=remember).get(web.url("/article", host="bücher.test"))

    assert asked == ["xn--bcher-kva.test"]
    assert response.final_url == web.url("/article", host="xn--bcher-kva.test")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        (" 0 ", 0),
        ("99999999999999", 86_400),
        ("-5", None),
        ("soon", None),
        ("", None),
        (None, None),
        ("1.5", None),
        ("٣", None),
        ("Sun, 22 Nov 2026 12:01:30 GMT", 90),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0),
        ("Sun, 22 Nov 2099 12:00:00 GMT", 86_400),
        ("Sunday, 22-Nov-26 12:00:10 GMT", 10),
        ("Sun Nov 22 12:00:20 2026", 20),
        ("Sun, 99 Nov 2026 12:00:00 GMT", None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, NOON) == seconds


def test_retry_after_reaches_the_caller(web: WebServer) -> None:
    error = failure(web.url("/status/429/120"))

    assert (error.retry_after, error.status) == (120, 429)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> "Authority":
    return Authority(tmp_path_factory.mktemp("tls"))


def test_tls_verifies_the_name_though_the_connection_goes_to_an_address(authority: "Authority") -> None:
    with WebServer(tls=authority.server("site.test")) as web:
        client = fetcher(resolver=lambda _: ["127.0.0.1"], tls=authority.client())

        assert client.get(web.url("/article", host="site.test")).body == ARTICLE.encode()
        assert client.get(web.url("/article", host="site.test.")).body == ARTICLE.encode()
        assert web.requests[0].headers["host"] == f"site.test:{web.port}"


def test_tls_with_another_name(authority: "Authority") -> None:
    with WebServer(tls=authority.server("other.test")) as web:
        error = failure(
            web.url("/article", host="site.test"), resolver=lambda _: ["127.0.0.1"], tls=authority.client()
        )

        assert (error.code, error.retry) == ("tls_error", False)
        assert "site.test cannot prove who it is" in error.message
        assert web.requests == []


def test_tls_with_an_unknown_authority(authority: "Authority") -> None:
    with WebServer(tls=authority.server("site.test")) as web:
        error = failure(web.url("/", host="site.test"), resolver=lambda _: ["127.0.0.1"])

        assert error.code == "tls_error"


def test_tls_where_there_is_none(web: WebServer) -> None:
    error = failure(web.url("/").replace("http:", "https:"))

    assert error.code == "tls_error"


def test_from_https_to_http_is_followed_and_told(web: WebServer, authority: "Authority") -> None:
    with WebServer(tls=authority.server("site.test")) as secure:
        secure.pages["/old"] = Page("", 301, {"Location": web.url("/article")})

        response = fetcher(resolver=lambda _: ["127.0.0.1"], tls=authority.client()).get(
            secure.url("/old", host="site.test")
        )

        assert response.redirects == (secure.url("/old", host="site.test"),)
        assert response.final_url.startswith("http://")


class Authority:
    """A certificate authority of our own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
        self._certificate = self._sign(self._name, self._key, authority=True)

    def client(self) -> ssl.SSLContext:
        pem = self._certificate.public_bytes(serialization.Encoding.PEM).decode()
        return ssl.create_default_context(cadata=pem)

    def server(self, host: str) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        certificate = self._sign(name, key, authority=False, host=host)
        file = self._folder / f"{host}.pem"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def _sign(self, subject, key, *, authority: bool, host: str = "") -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )
        if authority:
            usage = x509.KeyUsage(
                digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
                key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
                decipher_only=False,
            )  # fmt: skip
            builder = builder.add_extension(usage, critical=True)
        else:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        return builder.sign(self._key, hashes.SHA256())
