"""With an nginx before it that asks for a password of its own: who it is to know, and how to leave."""

import base64
import hashlib
import ipaddress
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import visitor
from conftest import Clock
from pydantic import SecretStr, ValidationError
from starlette.testclient import TestClient

from atlas.api.auth import tell_door
from atlas.settings import Settings

KEY = "k" * 43
PAGE = {"Accept": "text/html"}
HERE = [ipaddress.ip_network("127.0.0.1/32")]


@pytest.fixture
def known(tmp_path: Path) -> Path:
    """Where nginx looks up who is logged in."""
    directory = tmp_path / "door"
    directory.mkdir()
    return directory


@pytest.fixture
def client(settings: Settings, clock: Clock, known: Path) -> Iterator[TestClient]:
    with visitor.visiting(settings, clock, door_key=SecretStr(KEY), door_directory=known) as client:
        yield client


def names(known: Path) -> list[str]:
    return sorted(path.name for path in known.iterdir())


def passes(clock: Clock, known: Path) -> str:
    """What nginx makes of the key and the one file there is, as its `secure_link_md5` says."""
    (name,) = names(known)
    until = int((clock.now + timedelta(days=7)).timestamp())
    digest = hashlib.md5(f"{until} {name} {KEY}".encode(), usedforsecurity=False).digest()
    return f"{until}.{name}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def test_who_logged_in_is_known_to_nginx_as_long_as_the_session_lasts(client, clock, known) -> None:
    assert "__Host-atlas-door" not in client.cookies
    answer = visitor.log_in(client)
    assert client.cookies["__Host-atlas-door"] == passes(clock, known)
    (cookie,) = [one for one in answer.headers.get_list("set-cookie") if one.startswith("__Host-atlas-door=")]
    assert {"Secure", "HttpOnly", "SameSite=lax", "Path=/", "Max-Age=604800"} <= set(cookie.split("; "))
    clock.now += timedelta(days=2)
    client.get("/add", headers=PAGE)
    assert client.cookies["__Host-atlas-door"] == passes(clock, known)


def test_who_did_not_log_in_is_not(client, known) -> None:
    assert visitor.log_in(client, password="wrong").status_code == 401
    client.get("/", headers=PAGE)
    assert "__Host-atlas-door" not in client.cookies
    assert names(known) == []


def test_a_browser_without_its_pass_or_with_an_old_one_gets_it_again(client, clock, known) -> None:
    visitor.log_in(client)
    for held in ("", "1796000000.AAAAAAAAAAAAAAAAAAAAAA", f"1796000000.{'0' * 32}.AAAAAAAAAAAAAAAAAAAAAA"):
        client.cookies.delete("__Host-atlas-door")
        client.cookies.set("__Host-atlas-door", held, domain="atlas.test", path="/")
        client.get("/add", headers=PAGE)
        assert client.cookies.get("__Host-atlas-door", domain="atlas.test") == passes(clock, known)
    assert "set-cookie" not in client.get("/add", headers=PAGE).headers


ENDED_BY = {
    "a logout": lambda client: visitor.submit(client, "/logout"),
    "all logouts": lambda client: client.delete("/api/accounts/sessions", headers=visitor.OURS),
    "one from afar": lambda client: client.delete(
        f"/api/accounts/sessions/{client.get('/api/accounts/sessions').json()['items'][0]['id']}",
        headers=visitor.OURS,
    ),
}


@pytest.mark.parametrize("end", ENDED_BY.values(), ids=ENDED_BY.keys())
def test_what_ends_a_session_ends_its_pass_whoever_has_it(client, known, end) -> None:
    visitor.log_in(client)
    assert len(names(known)) == 1
    assert end(client).status_code < 400
    assert names(known) == []


def test_a_new_password_ends_the_passes_of_all_other_browsers(client, settings, clock, known) -> None:
    visitor.log_in(client)
    (before,) = names(known)
    change = {"old": visitor.PASSWORD, "new": "quite another"}
    assert client.put("/api/accounts/me/password", json=change, headers=visitor.OURS).status_code == 200
    (after,) = names(known)
    assert after != before
    assert f".{after}." in client.cookies["__Host-atlas-door"]


def test_what_another_process_ends_is_noticed(client, clock, known) -> None:
    """`atlas user set` gives a new password; and what is no session's file goes."""
    visitor.log_in(client)
    (known / ("0" * 32)).touch()
    parts = client.app.state.parts
    tell_door(parts)
    assert len(names(known)) == 1
    visitor.make_owner(client)  # sets the password anew
    tell_door(parts)
    assert names(known) == []


def test_it_is_known_again_after_a_restart_with_nothing_there(settings, clock, known) -> None:
    for _ in range(2):
        with visitor.visiting(settings, clock, door_key=SecretStr(KEY), door_directory=known) as client:
            if not names(known):
                visitor.log_in(client)
            (name,) = names(known)
        (known / name).unlink()
    with visitor.visiting(settings, clock, door_key=SecretStr(KEY), door_directory=known):
        end = time.monotonic() + 10
        while names(known) != [name]:
            assert time.monotonic() < end
            time.sleep(0.05)


def test_where_it_cannot_be_kept_people_log_in_all_the_same(settings, clock, known) -> None:
    missing = known / "missing"
    with visitor.visiting(settings, clock, door_key=SecretStr(KEY), door_directory=missing) as client:
        assert visitor.log_in(client).status_code == 303
        assert client.get("/add", headers=PAGE).status_code == 200


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
    said = {**PAGE, "Remote-User": "owner", "Door-Key": KEY, "Door-Named": "yes"}
    assert named.get("/login?next=/feeds", headers=said).headers["location"] == "/feeds"
    assert named.get("/feeds", headers=said).status_code == 200
    assert "__Host-atlas" in named.cookies
    assert named.get("/api/accounts/me").json()["name"] == "owner"


def test_logging_out_is_possible_also_there(named) -> None:
    named.headers.update({"Remote-User": "owner", "Door-Key": KEY, "Door-Named": "yes"})
    named.get("/add", headers=PAGE)
    assert visitor.submit(named, "/logout").headers["location"] == "/logged-out"
    page = named.get("/logged-out", headers=PAGE)
    assert (page.status_code, "set-cookie" in page.headers) == (200, False)


@pytest.mark.parametrize(
    "key",
    [
        {},
        {"Door-Key": "", "Door-Named": "yes"},
        {"Door-Key": "wrong", "Door-Named": "yes"},
        {"Door-Key": KEY[:-1], "Door-Named": "yes"},
        {"Door-Key": KEY, "Door-Named": ""},  # nginx itself, where it has not asked
        {"Door-Key": KEY},
    ],
)
def test_another_program_on_the_machine_cannot_say_who_it_is(named, key) -> None:
    answer = named.get("/add", headers={**PAGE, "Remote-User": "owner", **key})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/add")
    assert named.get("/login", headers={**PAGE, "Remote-User": "owner", **key}).status_code == 200


def test_whom_nginx_asked_goes_on_to_pages_of_ours_only(client) -> None:
    assert client.get("/enter?next=/items/3%3Fa=b").headers["location"] == "/items/3?a=b"
    assert client.get("/enter?next=https://evil.example/").headers["location"] == "/"
