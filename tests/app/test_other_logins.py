"""Logging in elsewhere: at an OpenID Connect provider, or by a proxy that is trusted."""

import ipaddress
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import sqlalchemy as sa
import visitor
from conftest import Clock
from joserfc.jwk import RSAKey
from openid import CLIENT, SECRET, OpenId
from pydantic import SecretStr, ValidationError
from starlette.testclient import TestClient

from atlas import accounts
from atlas.api.app import create_app
from atlas.database.tables import audit, users
from atlas.settings import Settings

PAGE = {"Accept": "text/html"}


@pytest.fixture
def provider(clock: Clock) -> Iterator[OpenId]:
    with OpenId(clock) as running:
        yield running


@pytest.fixture
def client(settings: Settings, clock: Clock, provider: OpenId) -> Iterator[TestClient]:
    changes = {
        "oidc_issuer": provider.issuer,
        "oidc_client_id": CLIENT,
        "oidc_client_secret": SecretStr(SECRET),
        "oidc_users": "Anna@example.org, bert, boss=owner",
    }
    with visitor.visiting(settings, clock, **changes) as client:
        visitor.make_owner(client)
        yield client


def begin(client: TestClient, target: str = "/") -> str:
    answer = client.get(f"/login/oidc?next={target}", headers=PAGE)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def log_in(client: TestClient, provider: OpenId, target: str = "/") -> Any:
    back = provider.authorize(begin(client, target))
    return client.get("/login/oidc/callback", params=back, headers=PAGE)


def me(client: TestClient) -> Any:
    return client.get("/api/accounts/me", headers={"Accept": "application/json"})


def everybody(client: TestClient) -> list[tuple[str, str, bool]]:
    with visitor.engine_of(client).connect() as conn:
        return [(row.name, row.role, row.is_linked) for row in accounts.list_users(conn)]


def test_the_login_page_shows_the_way(client, provider) -> None:
    assert f"Log in with {urlsplit(provider.issuer).hostname}" in client.get("/login").text


def test_a_first_login_makes_a_member_and_the_next_one_finds_it(client, provider, clock) -> None:
    provider.user = {"sub": "42", "email": "anna@EXAMPLE.org", "email_verified": True}
    answer = log_in(client, provider, "/feeds")
    assert (answer.status_code, answer.headers["location"]) == (303, "/feeds")
    assert me(client).json()["name"] == "Anna@example.org"
    assert me(client).json()["role"] == "member"
    client.cookies.clear()
    provider.user = {"sub": "42", "email": "other@example.org", "email_verified": True}
    log_in(client, provider)
    assert me(client).json()["name"] == "Anna@example.org", "the subject counts, not what it is called today"
    assert everybody(client) == [("Anna@example.org", "member", True), ("owner", "owner", False)]
    with visitor.engine_of(client).connect() as conn:
        done = conn.execute(sa.select(audit.c.action, audit.c.detail).order_by(audit.c.id.desc())).first()
    assert (done.action, done.detail["how"]) == ("login", "openid")


def test_an_account_that_is_there_is_opened_by_whom_the_settings_name_and_once(client, provider) -> None:
    provider.user = {"sub": "1", "preferred_username": "boss"}
    assert log_in(client, provider).status_code == 303
    assert me(client).json()["role"] == "owner"
    client.cookies.clear()
    provider.user = {"sub": "2", "preferred_username": "boss"}
    refused = log_in(client, provider)
    assert refused.status_code == 403
    assert me(client).status_code == 401


def test_nobody_becomes_somebody_who_is_there_already(client, provider, clock) -> None:
    with visitor.engine_of(client).begin() as conn:
        accounts.set_password(conn, "bert", "his own", clock.now, actor="test", role="owner")
    provider.user = {"sub": "3", "preferred_username": "bert"}
    answer = log_in(client, provider)
    assert answer.status_code == 403
    assert "bert=bert" in answer.text


@pytest.mark.parametrize(
    "user",
    [
        {"sub": "7"},
        {"sub": "7", "preferred_username": "stranger"},
        {"sub": "7", "preferred_username": "owner"},
        {"sub": "7", "preferred_username": "anna@example.org"},
        {"sub": "7", "email": "anna@example.org"},
        {"sub": "7", "email": "anna@example.org", "email_verified": False},
        {"sub": "7", "email": "anna@example.org", "email_verified": "true"},
        {"sub": "7", "name": "bert"},
        {"sub": "7", "preferred_username": ["bert"]},
    ],
)
def test_whom_the_settings_do_not_name_stays_outside(client, provider, user) -> None:
    provider.user = user
    assert log_in(client, provider).status_code == 403
    assert everybody(client) == [("owner", "owner", False)]


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"aud": "another"},
        {"aud": None},
        {"aud": ["atlas", "another"]},
        {"iss": "https://evil.test"},
        {"iss": None},
        {"exp": 1},
        {"exp": None},
        {"iat": None},
        {"iat": 2**40},
        {"nbf": 2**40},
        {"sub": None},
        {"sub": ""},
        {"sub": 42},
        {"aud": ["atlas", "another"], "azp": "another"},
    ],
    ids=str,
)
def test_a_token_that_says_the_wrong_thing_is_refused(client, provider, claims) -> None:
    provider.user = {"sub": "42", "preferred_username": "bert"}
    provider.claims = claims
    assert log_in(client, provider).status_code == 403
    assert me(client).status_code == 401
    assert len(everybody(client)) == 1


def lies(provider: OpenId) -> dict[str, Any]:
    claims = {"iss": provider.issuer, "aud": CLIENT, "sub": "42", "preferred_username": "bert"}
    return {
        "unsigned": {"lie_header": {"alg": "none"}},
        "signed by another key": {"lie_key": RSAKey.generate_key(2048, {"kid": "one"}, private=True)},
        "by an unknown key": {"lie_header": {"kid": "two"}},
        "signed by the public key": {"lie_header": {"alg": "HS256"}},
        "no token": {"lie_token": "nonsense"},
        "half a token": {"lie_token": provider.sign(claims).rpartition(".")[0] + "."},
    }


@pytest.mark.parametrize(
    "lie",
    [
        "unsigned",
        "signed by another key",
        "by an unknown key",
        "signed by the public key",
        "no token",
        "half a token",
    ],
)
def test_a_token_that_is_not_the_providers_is_refused(client, provider, lie) -> None:
    provider.user = {"sub": "42", "preferred_username": "bert"}
    for name, value in lies(provider)[lie].items():
        setattr(provider, name, value)
    assert log_in(client, provider).status_code == 403
    assert me(client).status_code == 401


def test_several_audiences_are_fine_if_it_was_made_for_us(client, provider) -> None:
    provider.user = {"sub": "42", "preferred_username": "bert"}
    provider.claims = {"aud": [CLIENT, "another"], "azp": CLIENT}
    assert log_in(client, provider).status_code == 303


def test_a_login_ends_in_the_browser_that_began_it(client, provider) -> None:
    provider.user = {"sub": "42", "preferred_username": "bert"}
    back = provider.authorize(begin(client))
    cookies = dict(client.cookies)
    client.cookies.clear()
    asked = len(provider.requests)
    assert client.get("/login/oidc/callback", params=back, headers=PAGE).status_code == 403
    client.cookies.update(cookies)
    for wrong in (
        {**back, "state": "x"},
        {"code": back["code"]},
        {"state": back["state"]},
        {"error": "denied"},
    ):
        assert client.get("/login/oidc/callback", params=wrong, headers=PAGE).status_code == 403
    assert len(provider.requests) == asked, "the provider was not even asked"
    assert client.get("/login/oidc/callback", params=back, headers=PAGE).status_code == 303
    assert client.get("/login/oidc/callback", params=back, headers=PAGE).status_code == 403, "once"


def test_a_planted_session_is_worth_nothing_after_the_login(client, provider) -> None:
    visitor.try_login(client)
    planted = client.cookies["__Host-atlas"]
    provider.user = {"sub": "42", "preferred_username": "bert"}
    log_in(client, provider)
    assert client.cookies["__Host-atlas"] != planted
    client.cookies.clear()
    client.cookies.set("__Host-atlas", planted, domain="atlas.test", path="/")
    assert me(client).status_code == 401


def test_no_login_ends_on_another_site(client, provider) -> None:
    provider.user = {"sub": "42", "preferred_username": "bert"}
    assert log_in(client, provider, "https://evil.test/").headers["location"] == "/"
    assert log_in(client, provider, "//evil.test/").headers["location"] == "/"


@pytest.mark.parametrize(
    "lie",
    [
        {"lie_issuer": "https://another.test"},
        {"lie_endpoint": "http://10.255.255.1"},
        {"lie_endpoint": "http://localhost:1"},
        {"lie_endpoint": "file:///etc"},
    ],
)
def test_a_provider_that_sends_us_elsewhere_is_not_followed(client, provider, lie) -> None:
    """Its own host may be on a private network; no other private address is asked because it says so."""
    for name, value in lie.items():
        setattr(provider, name, value)
    provider.user = {"sub": "42", "preferred_username": "bert"}
    answer = client.get("/login/oidc", headers=PAGE)
    if answer.status_code == 303:
        back = provider.authorize(answer.headers["location"])
        answer = client.get("/login/oidc/callback", params=back, headers=PAGE)
    assert answer.status_code in (403, 502)
    assert me(client).status_code == 401


def test_a_provider_that_is_away_is_said_to_be(client, provider) -> None:
    provider.__exit__()
    answer = client.get("/login/oidc", headers=PAGE)
    assert answer.status_code == 502
    assert "does not answer" in answer.text


def test_without_a_provider_there_is_no_such_door(settings, clock) -> None:
    with visitor.visiting(settings, clock) as client:
        visitor.make_owner(client)
        assert client.get("/login/oidc", headers=PAGE).status_code == 404
        assert client.get("/login/oidc/callback?code=x&state=y", headers=PAGE).status_code == 404
        assert "oidc" not in client.get("/login").text


@pytest.mark.parametrize(
    "wrong",
    [
        {"oidc_issuer": "http://login.example.org", "oidc_client_id": "x"},
        {"oidc_issuer": "https://login.example.org"},
        {"oidc_users": "a=,b"},
        {"proxy_login_header": "Remote-User"},
        {"proxy_login_header": "Remote User", "proxy_login_networks": "10.0.0.0/8"},
    ],
)
def test_wrong_settings_are_refused(wrong) -> None:
    with pytest.raises(ValidationError):
        Settings(_env_file=None, **wrong)


# By a proxy


def proxied(settings: Settings, clock: Clock, address: str, **changes: Any) -> TestClient:
    import ipaddress

    update = {
        "public_url": visitor.HOST,
        "proxy_login_header": "Remote-User",
        "proxy_login_networks": [ipaddress.ip_network("10.0.0.5/32"), ipaddress.ip_network("fd00::/8")],
        **changes,
    }
    app = create_app(settings.model_copy(update=update), clock=clock)
    client = TestClient(app, base_url=visitor.HOST, follow_redirects=False, client=(address, 1))
    visitor.make_owner(client)
    return client


@pytest.mark.parametrize("address", ["10.0.0.5", "fd00::1"])
def test_a_trusted_proxy_says_who_it_is(settings, clock, address) -> None:
    client = proxied(settings, clock, address)
    page = client.get("/add", headers={**PAGE, "Remote-User": "owner"})
    assert page.status_code == 200
    assert me(client).json()["name"] == "owner", "it is a session like any other"
    csrf = visitor.csrf_of(page.text)
    done = client.post(
        "/add", data={"csrf": csrf, "url": "https://e.org"}, headers={**visitor.OURS, "Remote-User": "owner"}
    )
    assert done.status_code == 303
    sessions = client.get("/api/accounts/sessions").json()["items"]
    assert len(sessions) == 1, "not one for each request"


@pytest.mark.parametrize("address", ["10.0.0.6", "127.0.0.1", "fe80::1", "testclient"])
def test_from_anywhere_else_the_header_means_nothing(settings, clock, address) -> None:
    client = proxied(settings, clock, address)
    for name in ("owner", "nobody"):
        answer = client.get("/", headers={**PAGE, "Remote-User": name, "X-Forwarded-For": "10.0.0.5"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert client.get("/api/items", headers={"Remote-User": "owner"}).status_code == 401


def test_it_is_off_unless_it_is_set(settings, clock) -> None:
    client = proxied(settings, clock, "10.0.0.5", proxy_login_header="")
    assert client.get("/", headers={**PAGE, "Remote-User": "owner"}).status_code == 303


def test_the_proxy_makes_no_accounts_and_switches_users(settings, clock) -> None:
    client = proxied(settings, clock, "10.0.0.5")
    refused = client.get("/", headers={**PAGE, "Remote-User": "stranger"})
    assert refused.status_code == 403
    assert "stranger" in refused.text
    twice = client.get("/", headers=[("Accept", "text/html"), ("Remote-User", "owner"), ("Remote-User", "x")])
    assert twice.status_code == 303, "said twice, one of them was not said by the proxy"
    with visitor.engine_of(client).begin() as conn:
        accounts.set_password(conn, "bert", "x", clock.now, actor="test")
    client.get("/add", headers={**PAGE, "Remote-User": "owner"})
    client.get("/add", headers={**PAGE, "Remote-User": "bert"})
    assert me(client).json()["name"] == "bert"
    foreign = client.get("/api/accounts/me", headers={"Remote-User": "owner"})
    assert foreign.status_code == 401, "a program is not logged in as somebody else on the way"
    with visitor.engine_of(client).connect() as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(users)).scalar() == 2


def test_who_connects_is_known_behind_our_own_web_server(settings, clock) -> None:
    """nginx on this machine asks another program who it is, and passes that on."""
    from atlas.commands.serve import _behind_proxy

    here = [ipaddress.ip_network("127.0.0.1/32")]
    inner = proxied(settings, clock, "127.0.0.1", proxy_login_networks=here)
    client = TestClient(
        _behind_proxy(inner.app, settings),
        base_url=visitor.HOST,
        follow_redirects=False,
        client=("127.0.0.1", 1),
    )
    by_nginx = client.get("/add", headers={**PAGE, "Remote-User": "owner", "X-Forwarded-For": "192.0.2.7"})
    assert by_nginx.status_code == 200
    rows = client.get("/api/accounts/sessions").json()["items"]
    assert [row["address"] for row in rows] == ["192.0.2.7"]


@pytest.mark.parametrize(
    ("brought", "believed"),
    [
        ({"Door-Key": "k" * 43}, True),
        ({}, False),
        ({"Door-Key": "k" * 42}, False),
        ([("Door-Key", "k" * 43), ("Door-Key", "x")], False),
    ],
    ids=["the key", "none", "another", "two"],
)
def test_with_a_key_only_who_brings_it_says_where_a_request_comes_from(
    settings, clock, brought, believed
) -> None:
    """A program of this machine cannot pass for a login proxy elsewhere, nor for another address."""
    from atlas.commands.serve import _behind_proxy

    changes = {
        "door_key": SecretStr("k" * 43),
        "proxy_login_networks": [ipaddress.ip_network("192.0.2.7/32")],
    }
    inner = proxied(settings, clock, "127.0.0.1", **changes)
    client = TestClient(
        _behind_proxy(inner.app, settings.model_copy(update=changes)),
        base_url=visitor.HOST,
        follow_redirects=False,
        client=("127.0.0.1", 1),
    )
    said = [("Accept", "text/html"), ("Remote-User", "owner"), ("X-Forwarded-For", "192.0.2.7")]
    headers = [*said, *(brought.items() if isinstance(brought, dict) else brought)]
    answer = client.get("/add", headers=headers)
    assert answer.status_code == (200 if believed else 303)
    if believed:
        rows = client.get("/api/accounts/sessions").json()["items"]
        assert [row["address"] for row in rows] == ["192.0.2.7"]
    else:
        assert client.get("/metrics", headers=headers[1:]).status_code == 401, "it says a proxy is between"


def test_query_of_the_login_survives(client) -> None:
    query = dict(parse_qsl(urlsplit(begin(client)).query))
    assert query["redirect_uri"] == f"{visitor.HOST}/login/oidc/callback"
