"""With an nginx before it that asks for a password of its own: who it is to know, and how to leave."""

import base64
import hashlib
import ipaddress
from collections.abc import Iterator
from datetime import timedelta

import pytest
import visitor
from conftest import Clock
from pydantic import SecretStr, ValidationError
from starlette.testclient import TestClient

from atlas.settings import Settings

KEY = "k" * 43
PAGE = {"Accept": "text/html"}
HERE = [ipaddress.ip_network("127.0.0.1/32")]


@pytest.fixture
def client(settings: Settings, clock: Clock) -> Iterator[TestClient]:
    with visitor.visiting(settings, clock, door_key=SecretStr(KEY)) as client:
        yield client


def passes(clock: Clock) -> str:
    """What nginx makes of the key, as its `secure_link_md5` says."""
    until = int((clock.now + timedelta(days=7)).timestamp())
    digest = hashlib.md5(f"{until} {KEY}".encode(), usedforsecurity=False).digest()
    return f"{until}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def test_who_logged_in_is_known_to_nginx_as_long_as_the_session_lasts(client, clock) -> None:
    assert "__Host-atlas-door" not in client.cookies
    answer = visitor.log_in(client)
    assert client.cookies["__Host-atlas-door"] == passes(clock)
    (cookie,) = [one for one in answer.headers.get_list("set-cookie") if one.startswith("__Host-atlas-door=")]
    assert {"Secure", "HttpOnly", "SameSite=lax", "Path=/", "Max-Age=604800"} <= set(cookie.split("; "))
    clock.now += timedelta(days=2)
    client.get("/add", headers=PAGE)
    assert client.cookies["__Host-atlas-door"] == passes(clock)


def test_who_did_not_log_in_is_not(client) -> None:
    assert visitor.log_in(client, password="wrong").status_code == 401
    client.get("/", headers=PAGE)
    assert "__Host-atlas-door" not in client.cookies


def test_after_the_logout_nobody_is_known_and_nothing_logs_in_again(client) -> None:
    visitor.log_in(client)
    stolen = dict(client.cookies)
    answer = visitor.submit(client, "/logout")
    assert (answer.status_code, answer.headers["location"]) == (303, "/logged-out")
    assert not [name for name in client.cookies if name in ("__Host-atlas", "__Host-atlas-door")]
    assert "You are logged out" in client.get("/logged-out").text
    client.cookies.update(stolen)
    assert client.get("/add", headers=PAGE).status_code == 303
    assert client.get("/api/items").status_code == 401


def test_without_a_key_there_is_no_such_cookie(settings, clock) -> None:
    with visitor.visiting(settings, clock) as client:
        visitor.log_in(client)
        assert "__Host-atlas-door" not in client.cookies
        assert visitor.submit(client, "/logout").headers["location"] == "/login"


def test_a_key_that_could_be_guessed_is_refused() -> None:
    with pytest.raises(ValidationError, match="at least 32"):
        Settings(_env_file=None, door_key=SecretStr("short"))


@pytest.fixture
def named(settings: Settings, clock: Clock) -> Iterator[TestClient]:
    """nginx asks for the password, and says who knew it: atlas_auth_mode basic."""
    changes = {"door_key": SecretStr(KEY), "proxy_login_header": "Remote-User", "proxy_login_networks": HERE}
    with visitor.visiting(settings, clock, **changes) as client:
        client._transport.client = ("127.0.0.1", 1)
        visitor.make_owner(client)
        yield client


def test_nginx_logs_in_and_no_form_asks_again(named) -> None:
    said = {**PAGE, "Remote-User": "owner", "Door-Key": KEY}
    assert named.get("/login?next=/feeds", headers=said).headers["location"] == "/feeds"
    assert named.get("/feeds", headers=said).status_code == 200
    assert "__Host-atlas" in named.cookies
    assert named.get("/api/accounts/me").json()["name"] == "owner"


def test_logging_out_is_possible_also_there(named) -> None:
    named.headers.update({"Remote-User": "owner", "Door-Key": KEY})
    named.get("/add", headers=PAGE)
    assert visitor.submit(named, "/logout").headers["location"] == "/logged-out"
    page = named.get("/logged-out", headers=PAGE)
    assert (page.status_code, "set-cookie" in page.headers) == (200, False)


@pytest.mark.parametrize("key", [{}, {"Door-Key": ""}, {"Door-Key": "wrong"}, {"Door-Key": KEY[:-1]}])
def test_another_program_on_the_machine_cannot_say_who_it_is(named, key) -> None:
    answer = named.get("/add", headers={**PAGE, "Remote-User": "owner", **key})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/add")
    assert named.get("/login", headers={**PAGE, "Remote-User": "owner", **key}).status_code == 200


def test_whom_nginx_asked_goes_on_to_pages_of_ours_only(client) -> None:
    assert client.get("/enter?next=/items/3%3Fa=b").headers["location"] == "/items/3?a=b"
    assert client.get("/enter?next=https://evil.example/").headers["location"] == "/"
