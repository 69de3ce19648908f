"""Accounts by API: what a token may do, who may do what to whom, and what is kept of it."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
import visitor
from conftest import Clock
from starlette.testclient import TestClient

from atlas import accounts
from atlas.api.auth import TOKEN_SECONDS
from atlas.settings import Settings


@pytest.fixture
def stranger(settings: Settings, clock: Clock) -> Iterator[TestClient]:
    with visitor.visiting(settings, clock) as client:
        visitor.make_owner(client)
        yield client


@pytest.fixture
def client(stranger: TestClient) -> TestClient:
    """A program of the owner's with a token for everything."""
    stranger.headers["Authorization"] = f"Bearer {visitor.make_token(stranger)}"
    return stranger


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def code(answer: Any) -> str:
    return answer.json()["error"]["code"]


def add_member(client: TestClient, name: str = "guest", password: str = "their own words") -> int:
    answer = client.post("/api/accounts/users", json={"name": name, "password": password})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


# Scopes


@pytest.mark.parametrize(
    ("method", "path", "needs"),
    [
        ("GET", "/api/items", "read"),
        ("HEAD", "/api/items", "read"),
        ("POST", "/api/items", "write"),
        ("DELETE", "/api/items/1", "write"),
        ("GET", "/api/accounts/me", "admin"),
        ("GET", "/api/accounts", "admin"),
        ("POST", "/api/accounts/tokens", "admin"),
        ("DELETE", "/api/accounts/sessions", "admin"),
        ("GET", "/metrics", "read"),
    ],
)
def test_a_token_does_what_its_scopes_allow_and_no_more(stranger, method, path, needs) -> None:
    for scope in accounts.SCOPES:
        answer = stranger.request(method, path, headers=bearer(visitor.make_token(stranger, scope)))
        if scope == needs:
            assert answer.status_code not in (401, 403), (scope, answer.text)
        else:
            assert answer.status_code == 403
            if method != "HEAD":
                assert code(answer) == "scope_missing"
                message = answer.json()["error"]["message"]
                assert f"“{needs}”" in message
                assert f"this one has {scope}" in message


def test_tokens_of_before_may_do_everything(stranger) -> None:
    old = bearer(visitor.make_token(stranger))
    assert stranger.get("/api/items", headers=old).status_code == 200
    assert stranger.post("/api/items", json={"url": "https://e.org"}, headers=old).status_code == 202
    me = stranger.get("/api/accounts/me", headers=old).json()
    assert me == {
        "id": me["id"], "name": "owner", "role": "owner", "how": "token", "scopes": ["read", "write", "admin"]
    }  # fmt: skip


def test_a_token_ends_when_its_time_is_over(stranger, clock) -> None:
    token = visitor.make_token(stranger, "read", expires_at=clock.now + dt.timedelta(days=1))
    assert stranger.get("/api/items", headers=bearer(token)).status_code == 200
    clock.advance(86_400 - TOKEN_SECONDS)
    stranger.app.state.parts.tokens.forget()
    assert stranger.get("/api/items", headers=bearer(token)).status_code == 200
    clock.advance(TOKEN_SECONDS)
    stranger.app.state.parts.tokens.forget()
    assert stranger.get("/api/items", headers=bearer(token)).status_code == 401


def test_a_token_made_by_api_looks_and_writes_unless_told_otherwise(client, clock) -> None:
    made = client.post("/api/accounts/tokens", json={"name": "phone", "expires_in_days": 30}).json()
    assert set(made) == {"token"}
    row = client.get("/api/accounts/tokens").json()["items"][0]
    assert (row["name"], row["kind"], row["scopes"]) == ("phone", "token", ["read", "write"])
    assert dt.datetime.fromisoformat(row["expires_at"]) == clock.now + dt.timedelta(days=30)
    assert made["token"] not in client.get("/api/accounts/tokens").text
    assert client.get("/api/accounts/me", headers=bearer(made["token"])).status_code == 403

    assert client.delete(f"/api/accounts/tokens/{row['id']}").status_code == 204
    assert client.get("/api/items", headers=bearer(made["token"])).status_code == 401
    assert client.delete(f"/api/accounts/tokens/{row['id']}").status_code == 404


@pytest.mark.parametrize("scopes", [[], ["everything"], "read", None])
def test_a_token_for_nothing_or_for_what_there_is_not_is_refused(client, scopes) -> None:
    answer = client.post("/api/accounts/tokens", json={"name": "x", "scopes": scopes})
    assert (answer.status_code, code(answer)) == (422, "invalid_request")


# Tokens in addresses


def test_a_token_may_stand_in_the_address_of_a_feed_only_and_only_to_read(stranger, capfd) -> None:
    reading, strong = visitor.make_token(stranger, "read"), visitor.make_token(stranger, "read", "write")
    assert stranger.get(f"/api/export/feed?token={reading}").status_code not in (401, 403)
    assert code(stranger.get(f"/api/export/feed?token={strong}")) == "token_too_strong"
    assert stranger.get("/api/export/feed?token=atl_wrong").status_code == 401
    assert stranger.get("/api/export/feed").status_code == 401
    for path in ("/api/items", "/api/export/feed/x", "/api/export/json", "/", "/metrics"):
        answer = stranger.get(f"{path}?token={reading}")
        assert answer.status_code in (401, 303), path
    assert stranger.post(f"/api/export/feed?token={reading}").status_code in (403, 404, 405)
    told = capfd.readouterr()
    assert "path=/api/export/feed" in told.out
    assert reading not in told.out + told.err


# Users


def test_owners_manage_users_and_members_do_not(client, stranger) -> None:
    guest = add_member(client)
    listed = client.get("/api/accounts/users").json()["items"]
    assert [(row["name"], row["role"], row["has_password"]) for row in listed] == [
        ("guest", "member", True),
        ("owner", "owner", True),
    ]
    theirs = bearer(visitor.make_token(client, name="guest"))
    for method, path, body in (
        ("GET", "/api/accounts/users", None),
        ("POST", "/api/accounts/users", {"name": "x", "password": "y"}),
        ("PATCH", f"/api/accounts/users/{guest}", {"role": "owner"}),
        ("DELETE", f"/api/accounts/users/{guest}", None),
        ("GET", "/api/accounts/audit", None),
    ):
        answer = client.request(method, path, json=body, headers=theirs)
        assert (answer.status_code, code(answer)) == (403, "owner_only"), path
    assert client.get("/api/accounts/me", headers=theirs).json()["role"] == "member"
    assert client.get("/api/items", headers=theirs).status_code == 200


def test_members_see_and_end_their_own_tokens_only(client) -> None:
    add_member(client)
    theirs = bearer(visitor.make_token(client, name="guest"))
    assert {row["user_name"] for row in client.get("/api/accounts/tokens").json()["items"]} == {
        "owner",
        "guest",
    }
    (mine,) = client.get("/api/accounts/tokens", headers=theirs).json()["items"]
    assert mine["user_name"] == "guest"
    others = next(
        row["id"] for row in client.get("/api/accounts/tokens").json()["items"] if row["user_name"] == "owner"
    )
    assert client.delete(f"/api/accounts/tokens/{others}", headers=theirs).status_code == 404
    assert client.get("/api/items").status_code == 200
    assert client.delete(f"/api/accounts/tokens/{mine['id']}").status_code == 204
    assert client.get("/api/items", headers=theirs).status_code == 401


def test_a_removed_user_is_out_at_once(client, clock) -> None:
    guest = add_member(client)
    theirs = bearer(visitor.make_token(client, name="guest"))
    assert client.get("/api/items", headers=theirs).status_code == 200
    assert client.delete(f"/api/accounts/users/{guest}").status_code == 204
    assert client.get("/api/items", headers=theirs).status_code == 401
    assert client.delete(f"/api/accounts/users/{guest}").status_code == 404


def test_the_last_owner_stays_one(client) -> None:
    owner = client.get("/api/accounts/me").json()["id"]
    assert code(client.patch(f"/api/accounts/users/{owner}", json={"role": "member"})) == "last_owner"
    assert code(client.delete(f"/api/accounts/users/{owner}")) == "last_owner"
    second = add_member(client, "second")
    assert client.patch(f"/api/accounts/users/{second}", json={"role": "owner"}).json()["role"] == "owner"
    assert client.patch(f"/api/accounts/users/{owner}", json={"role": "member"}).status_code == 200
    assert client.get("/api/accounts/users").status_code == 403, "what was believed of the token is forgotten"


@pytest.mark.parametrize("name", ["", " ", " x", "x ", "y" * 101])
def test_odd_names_are_refused(client, name) -> None:
    answer = client.post("/api/accounts/users", json={"name": name, "password": "x"})
    assert answer.status_code == 422


def test_a_name_is_given_once(client) -> None:
    add_member(client)
    answer = client.post("/api/accounts/users", json={"name": "guest", "password": "other"})
    assert (answer.status_code, code(answer)) == (409, "user_exists")


# Sessions


def log_in(client: TestClient) -> None:
    """Log in by the form; afterwards ask as a script of our own pages would."""
    assert visitor.try_login(client).status_code == 303


OURS = {"Sec-Fetch-Site": "same-origin", "Accept": "application/json"}


def test_a_password_is_changed_with_the_old_one_and_sessions_end(stranger) -> None:
    log_in(stranger)
    elsewhere = dict(stranger.cookies)
    stranger.cookies.clear()
    log_in(stranger)
    before = dict(stranger.cookies)

    wrong = stranger.put("/api/accounts/me/password", json={"old": "x", "new": "new words"}, headers=OURS)
    assert (wrong.status_code, code(wrong)) == (403, "wrong_password")
    done = stranger.put(
        "/api/accounts/me/password", json={"old": visitor.PASSWORD, "new": "new words"}, headers=OURS
    )
    assert done.json() == {"ended": 2}
    assert stranger.get("/api/items").status_code == 200, "who changed it stays logged in"
    for cookies in (before, elsewhere):
        stranger.cookies.clear()
        stranger.cookies.update(cookies)
        answer = stranger.get("/api/items", headers={"Accept": "application/json"})
        assert answer.status_code == 401
    stranger.cookies.clear()
    assert visitor.try_login(stranger).status_code == 401
    assert visitor.try_login(stranger, password="new words").status_code == 303


def test_guessing_the_old_password_is_throttled(client) -> None:
    for _ in range(5):
        client.put("/api/accounts/me/password", json={"old": "guess", "new": "x"})
    answer = client.put("/api/accounts/me/password", json={"old": visitor.PASSWORD, "new": "x"})
    assert (answer.status_code, code(answer)) == (429, "too_many_attempts")
    assert int(answer.headers["retry-after"]) > 0


def test_log_out_everywhere_but_here(stranger) -> None:
    for _ in range(3):
        stranger.cookies.clear()
        log_in(stranger)
    rows = stranger.get("/api/accounts/sessions", headers=OURS).json()["items"]
    assert [row["is_current"] for row in rows].count(True) == 1
    other = next(row["id"] for row in rows if not row["is_current"])
    assert stranger.delete(f"/api/accounts/sessions/{other}", headers=OURS).status_code == 204
    assert stranger.delete(f"/api/accounts/sessions/{other}", headers=OURS).status_code == 404
    assert stranger.delete("/api/accounts/sessions?keep_current=true", headers=OURS).json() == {"ended": 1}
    assert stranger.get("/api/items", headers=OURS).status_code == 200
    assert stranger.delete("/api/accounts/sessions", headers=OURS).json() == {"ended": 1}
    assert stranger.get("/api/items", headers=OURS).status_code == 401


def test_nobody_ends_somebody_elses_session(client) -> None:
    add_member(client)
    theirs = bearer(visitor.make_token(client, name="guest"))
    log_in(client)
    (row,) = client.get("/api/accounts/sessions").json()["items"]
    assert client.delete(f"/api/accounts/sessions/{row['id']}", headers=theirs).status_code == 404
    assert client.get("/api/accounts/sessions", headers=theirs).json() == {"items": []}


@pytest.mark.parametrize(
    "said", [{}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.test"}, {"Origin": "null"}]
)
def test_no_other_site_can_use_the_session(stranger, said) -> None:
    log_in(stranger)
    stranger.headers["Accept"] = "*/*"
    for method, path, body in (
        ("POST", "/api/accounts/users", {"name": "evil", "password": "x"}),
        ("POST", "/api/accounts/tokens", {"name": "evil"}),
        ("DELETE", "/api/accounts/sessions", None),
        ("PUT", "/api/accounts/me/password", {"old": visitor.PASSWORD, "new": "evil"}),
    ):
        answer = stranger.request(method, path, json=body, headers=said)
        assert (answer.status_code, code(answer)) == (403, "cross_site")


def test_a_planted_cookie_does_not_become_a_session(stranger) -> None:
    planted = "A" * 43
    stranger.cookies.set("__Host-atlas", planted, domain="atlas.test", path="/")
    log_in(stranger)
    assert stranger.cookies["__Host-atlas"] != planted
    stranger.cookies.clear()
    stranger.cookies.set("__Host-atlas", planted, domain="atlas.test", path="/")
    assert stranger.get("/api/items", headers={"Accept": "*/*"}).status_code == 401


# The record


def test_what_is_done_is_kept_and_can_be_read_in_pages(client) -> None:
    guest = add_member(client)
    client.patch(f"/api/accounts/users/{guest}", json={"role": "owner"})
    client.post("/api/accounts/tokens", json={"name": "phone"})
    client.delete(f"/api/accounts/users/{guest}")
    first = client.get("/api/accounts/audit?limit=2").json()
    assert [(row["actor"], row["action"]) for row in first["items"]] == [
        ("owner", "user.remove"),
        ("owner", "token.create"),
    ]
    second = client.get(f"/api/accounts/audit?before={first['next']}").json()
    assert [row["action"] for row in second["items"]][:2] == ["user.role", "user.create"]
    assert second["next"] is None
    assert "their own words" not in client.get("/api/accounts/audit?limit=200").text
