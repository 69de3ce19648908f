"""Doors that must stay shut, and requests that must not break what answers them."""

import io
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import visitor
from conftest import Clock
from readers import put_entry, put_feed
from starlette.testclient import TestClient
from visitor import OURS, csrf_of, submit
from webserver import Page, WebServer

from atlas.net.client import Fetcher
from atlas.settings import Settings
from atlas.sources.imports.page import read_document, read_html

#: Longer than any number of a row, and than what Python reads as one.
HUGE = ("9" * 25, "9" * 5000)


@pytest.fixture
def stranger(settings: Settings, clock: Clock) -> Iterator[TestClient]:
    with visitor.visiting(settings, clock) as client:
        yield client


@pytest.fixture
def client(stranger: TestClient) -> TestClient:
    """A person who is logged in."""
    assert visitor.log_in(stranger).status_code == 303
    return stranger


@pytest.fixture
def app(stranger: TestClient) -> TestClient:
    """A program with a token."""
    visitor.use_token(stranger)
    return stranger


# What strangers see


@pytest.mark.parametrize("ending", ["api/version", "api/info.json", "oauth/v2/token", "accounts/ClientLogin"])
@pytest.mark.parametrize("base", ["/reader/api/0/stream/contents", "/api/greader.php/reader/atom"])
def test_a_stream_is_not_public_for_what_its_name_ends_in(
    stranger: TestClient, base: str, ending: str
) -> None:
    feed = put_feed(stranger, f"https://example.org/{ending}")
    put_entry(stranger, feed, 1)
    answer = stranger.get(f"{base}/feed/https://example.org/{ending}")
    assert answer.status_code == 401, answer.text


@pytest.mark.parametrize("name", ["\ud800", "\0"])
def test_a_name_that_cannot_be_one_is_only_a_wrong_one(stranger: TestClient, name: str) -> None:
    body = json.dumps({"grant_type": "password", "username": name, "password": "x"})
    answer = stranger.post(
        "/wallabag/oauth/v2/token", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 400, answer.text


# Passwords and what they opened


def test_a_new_password_ends_what_the_old_one_opened(app: TestClient) -> None:
    own = app.headers.pop("Authorization")
    login = {"grant_type": "password", "username": visitor.NAME, "password": visitor.PASSWORD}
    given = app.post("/wallabag/oauth/v2/token", data=login).json()

    def opens(token: str) -> bool:
        answer = app.get("/wallabag/api/entries", headers={"Authorization": token})
        return bool(answer.status_code == 200)

    assert opens(f"Bearer {given['access_token']}")
    change = {"old": visitor.PASSWORD, "new": "another horse"}
    assert app.put("/api/accounts/me/password", json=change, headers={"Authorization": own}).is_success
    assert not opens(f"Bearer {given['access_token']}")
    refresh = {"grant_type": "refresh_token", "refresh_token": given["refresh_token"]}
    assert app.post("/wallabag/oauth/v2/token", data=refresh).status_code == 400
    assert opens(own)  # it was made by hand, and is ended by hand


def test_two_devices_with_the_same_app_stay_logged_in(app: TestClient) -> None:
    del app.headers["Authorization"]
    login = {"grant_type": "password", "username": visitor.NAME, "password": visitor.PASSWORD}
    phone, tablet = (app.post("/wallabag/oauth/v2/token", data=login).json() for _ in range(2))
    for device in (phone, tablet):
        refresh = {"grant_type": "refresh_token", "refresh_token": device["refresh_token"]}
        assert app.post("/wallabag/oauth/v2/token", data=refresh).status_code == 200


# Bodies


def test_forms_with_files_take_what_the_settings_allow(client: TestClient) -> None:
    csrf = csrf_of(client.get("/add").text)
    large = b"A long story. " * 100_000
    sent = client.post("/add/files", data={"csrf": csrf}, files={"files": ("story.txt", large)}, headers=OURS)
    assert sent.status_code == 303, sent.text
    pasted = {"csrf": csrf, "url": "https://example.org/long", "content": large.decode()}
    as_form = {"nothing": ("", b"")}
    assert client.post("/add/paste", data=pasted, files=as_form, headers=OURS).status_code == 303
    dead = visitor.put_failed(client)
    content = {"csrf": csrf, "item": str(dead), "content": large.decode()}
    answer = client.post("/failed/content", data=content, files=as_form, headers=OURS)
    assert answer.status_code == 303


# Numbers and dates


@pytest.mark.parametrize("number", HUGE)
def test_endless_numbers_are_no_errors_of_ours(client: TestClient, number: str) -> None:
    assert submit(client, "/feeds/read", feed=number).status_code < 500
    assert submit(client, "/feeds/read", up_to=number).status_code < 500
    assert client.get(f"/items/{number}").status_code == 404
    assert client.get(f"/?feed={number}&before={number}").status_code == 200
    assert client.get(f"/search?q=a&from={number}").status_code == 200
    assert client.get(f"/settings/log?before={number}").status_code == 200


@pytest.mark.parametrize("number", HUGE)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/wallabag/api/entries/{}"),
        ("DELETE", "/wallabag/api/entries/{}.json"),
        ("GET", "/wallabag/api/entries/{}/export.epub"),
        ("GET", "/wallabag/api/annotations/{}"),
        ("POST", "/wallabag/api/annotations/{}"),
        ("PUT", "/wallabag/api/annotations/{}.json"),
        ("DELETE", "/wallabag/api/annotations/{}"),
        ("DELETE", "/wallabag/api/tags/{}"),
        ("DELETE", "/wallabag/api/entries/1/tags/{}"),
        ("DELETE", "/api/tags/{}"),
        ("GET", "/reader/api/0/stream/contents/feed/{}"),
    ],
)
def test_endless_numbers_are_no_errors_of_the_clients_apis(
    app: TestClient, method: str, path: str, number: str
) -> None:
    answer = app.request(
        method, path.format(number), json={"quote": "x"} if method in ("POST", "PUT") else None
    )
    assert answer.status_code < 500, answer.text


def test_the_last_day_there_is_can_be_asked_for(client: TestClient) -> None:
    assert client.get("/?before_day=9999-12-31").status_code == 200
    assert client.get("/search?q=before:9999-12-31").status_code == 200
    assert client.get("/search?q=after:9999").status_code == 200


@pytest.mark.parametrize("action", ["subscribe", "edit"])
def test_what_a_feed_cannot_be_called_is_said_to_the_client(app: TestClient, action: str) -> None:
    put_feed(app, "https://example.org/feed")
    form = {"ac": action, "s": "feed/1", "t": "x" * 5000}
    assert app.post("/reader/api/0/subscription/edit", data=form).status_code < 500


# Secrets on their way


def test_keys_stay_with_the_site_they_are_for() -> None:
    settings = Settings(_env_file=None, allowed_networks="127.0.0.1/32")
    with WebServer() as web, WebServer() as other:
        web.pages["/search"] = Page(status=302, headers={"Location": other.url("/elsewhere")})
        other.pages["/elsewhere"] = Page("found")
        sent = {"X-Subscription-Token": "geheim", "Accept": "application/json", "If-None-Match": '"1"'}
        Fetcher(settings).get(web.url("/search"), headers=sent)
        assert "geheim" in str(web.requests[0].headers.items())
        assert "geheim" not in str(other.requests[0].headers.items())
        assert other.requests[0].headers["accept"] == "application/json"


# Texts made to be slow


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (read_html, "<link " * 40_000),
        (read_html, "<title " * 40_000),
        (read_html, "<meta " * 40_000),
        (read_html, "<!-- " * 40_000),
        (read_document, "[" * 65_000),
        (read_document, "[a](" * 16_000),
    ],
)
def test_no_document_takes_long_to_look_at(read: Any, text: str) -> None:
    began = time.process_time()
    list(read(io.BytesIO(text.encode()), "a"))
    assert time.process_time() - began < 1
