"""The wallabag API, asked as its apps and KOReader ask it."""

import datetime as dt
import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
import visitor
from conftest import Clock
from readers import put_entry, put_feed, state_of, tags_of
from starlette.testclient import TestClient

from atlas.settings import Settings

JSON = {"Content-type": "application/json", "Accept": "application/json, */*"}


@pytest.fixture
def stranger(settings: Settings, clock: Clock) -> Iterator[TestClient]:
    with visitor.visiting(settings, clock) as client:
        visitor.make_owner(client)
        yield client


class App:
    """A client that logged in as KOReader does."""

    def __init__(self, client: TestClient, password: str) -> None:
        self.client = client
        answer = client.post("/wallabag/oauth/v2/token", content=self.login(password), headers=JSON)
        assert answer.status_code == 200, answer.text
        self.token = answer.json()["access_token"]

    @staticmethod
    def login(password: str) -> str:
        return json.dumps(
            {
                "grant_type": "password",
                "client_id": "1_any",
                "client_secret": "any",
                "username": visitor.NAME,
                "password": password,
            }
        )

    def ask(self, method: str, path: str, status: int = 200, **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token}", **more.pop("headers", {})}
        answer = self.client.request(method, f"/wallabag/api{path}", headers=headers, **more)
        assert answer.status_code == status, answer.text
        return answer.json()


@pytest.fixture
def app(stranger: TestClient) -> App:
    return App(stranger, visitor.make_token(stranger, "read", "write"))


def items_of(page: Any) -> list[int]:
    return [entry["id"] for entry in page["_embedded"]["items"]]


def test_koreader_synchronises(stranger, app) -> None:
    """wallabag.koplugin: pages until one is missing (404), JSON bodies, answers of 200 that are objects."""
    made = [visitor.put_article(stranger, f"https://example.org/{n}") for n in range(3)]
    visitor.put_article(stranger, "https://example.org/read", read_at=stranger.app.state.parts.clock())
    first = app.ask("GET", "/entries.json?archive=0&page=1&perPage=2")
    assert items_of(first) == made[:0:-1]
    assert items_of(app.ask("GET", "/entries.json?archive=0&page=2&perPage=2")) == made[:1]
    assert app.ask("GET", "/entries.json?archive=0&page=3&perPage=2", 404)["error"] == "not_found"
    entry = first["_embedded"]["items"][0]
    assert (entry["title"], entry["tags"], entry["mimetype"]) == ("A title", [], "text/html")

    added = app.ask(
        "POST", "/entries.json", headers=JSON, content='{"url": "https://e.org/new", "tags": "a,b"}'
    )
    assert (added["given_url"], added["content"]) == ("https://e.org/new", "")
    assert [tag["label"] for tag in added["tags"]] == ["a", "b"]
    assert items_of(app.ask("GET", "/entries.json?archive=0&page=1&perPage=30&tags=b")) == [added["id"]]
    tagged = app.ask("POST", f"/entries/{made[0]}/tags.json", headers=JSON, content='{"tags": "review"}')
    assert [tag["label"] for tag in tagged["tags"]] == ["review"]
    app.ask("PATCH", f"/entries/{made[0]}.json", headers=JSON, content='{"archive": 1}')
    assert state_of(stranger, made[0]) == (True, False)
    removed = app.ask("DELETE", f"/entries/{made[1]}.json")
    assert removed["id"] == made[1]
    app.ask("GET", f"/entries/{made[1]}.json", 404)


def test_the_android_app_synchronises(stranger, app, clock) -> None:
    """di72nn's wrapper: forms, sorted by change, `since`, one letter flags, lists of tags."""
    old = visitor.put_article(stranger, "https://example.org/old", byline="Anna", language="en")
    clock.advance(3600)
    new = visitor.put_article(stranger, "https://example.org/new", final_url="https://example.org/final")
    assert app.ask("GET", "/version.json") == "2.6.9"
    page = app.ask(
        "GET", "/entries.json?sort=updated&order=asc&page=1&perPage=30&archive=0&starred=0&detail=full"
    )
    assert items_of(page) == [old, new]
    assert (page["page"], page["limit"], page["pages"], page["total"]) == (1, 30, 1, 2)
    assert set(page["_links"]) == {"self", "first", "last"}
    entry = page["_embedded"]["items"][0]
    assert entry["created_at"] == "2026-11-22T08:00:00+0000"
    assert (entry["published_by"], entry["language"], entry["reading_time"]) == (["Anna"], "en", 4)
    assert (entry["is_archived"], entry["is_starred"], entry["domain_name"]) == (0, 0, "example.org")
    assert entry["content"] == "<p>Some words about lighthouses.</p>"
    second = page["_embedded"]["items"][1]
    assert (second["url"], second["given_url"]) == ("https://example.org/final", "https://example.org/new")
    assert app.ask("GET", f"/entries/{old}")["id"] == old
    listed = app.ask("GET", "/entries?detail=metadata")["_embedded"]["items"]
    assert [entry["content"] for entry in listed] == ["", ""]

    since = int(clock.now.timestamp())
    assert items_of(app.ask("GET", f"/entries.json?since={since}")) == [new]
    clock.advance(60)
    changed = app.ask("PATCH", f"/entries/{old}.json", data={"starred": "1", "title": "Mine", "tags": "x,y"})
    assert (changed["title"], changed["is_starred"]) == ("Mine", 1)
    assert items_of(app.ask("GET", f"/entries.json?since={since + 30}")) == [old], "marks are changes as well"
    assert tags_of(stranger, old) == ["x", "y"]
    app.ask("PATCH", f"/entries/{old}.json", data={"starred": "0"})
    assert state_of(stranger, old) == (False, False)

    (x, y) = app.ask("GET", f"/entries/{old}/tags.json")
    app.ask("DELETE", f"/entries/{old}/tags/{x['id']}.json")
    assert [(tag["label"], tag["nbEntries"]) for tag in app.ask("GET", "/tags.json")] == [("y", 1)]
    assert app.ask("DELETE", "/tag/label.json?tag=y")["id"] == y["id"]
    app.ask("DELETE", "/tag/label.json?tag=y", 404)
    app.ask("DELETE", f"/tags/{y['id']}.json", 404)
    assert app.ask("DELETE", f"/entries/{old}.json?expect=id") == {"id": old}


def test_what_feeds_bring_is_there_once_somebody_wants_it(stranger, app, clock) -> None:
    feed = put_feed(stranger)
    starred = put_entry(stranger, feed, 1, source="feed", starred_at=clock.now)
    saved = put_entry(stranger, feed, 2, source="feed")
    put_entry(stranger, feed, 3, source="feed")
    assert items_of(app.ask("GET", "/entries")) == [starred]
    added = app.ask("POST", "/entries", data={"url": f"https://example.org/{feed}/2", "starred": "0"})
    assert (added["id"], added["content"]) == (saved, "<p>Some words about lighthouses.</p>")
    assert items_of(app.ask("GET", "/entries")) == [saved, starred]


def test_adding_again_changes_nothing_that_is_there(stranger, app, clock) -> None:
    item = visitor.put_article(stranger, read_at=clock.now, starred_at=clock.now)
    again = app.ask("POST", "/entries", data={"url": "https://example.org/a", "archive": "0", "starred": "0"})
    assert (again["id"], again["is_archived"], again["is_starred"]) == (item, 1, 1)
    assert again["title"] == "A title"


def test_a_page_comes_with_its_content(stranger, app) -> None:
    added = app.ask(
        "POST",
        "/entries.json",
        headers=JSON,
        content=json.dumps(
            {"url": "https://example.org/paywalled", "title": "Seen", "content": "<p>Behind the wall.</p>"}
        ),
    )
    with visitor.engine_of(stranger).connect() as conn:
        from atlas.database.tables import items

        row = conn.execute(items.select().where(items.c.id == added["id"])).one()
    assert (row.stage, row.source, row.title) == (190, "client", "Seen")
    assert row.original_sha256


def test_an_e_reader_fetches_a_book(stranger, app) -> None:
    item = visitor.put_article(stranger, title="A & B")
    answer = stranger.get(
        f"/wallabag/api/entries/{item}/export.epub", headers={"Authorization": f"Bearer {app.token}"}
    )
    assert answer.headers["content-type"] == "application/epub+zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as book:
        assert book.read("mimetype") == b"application/epub+zip"
        assert any(b"Some words about lighthouses." in book.read(name) for name in book.namelist())
    app.ask("GET", "/entries/999/export.epub", 404)


def test_what_failed_says_why(stranger, app) -> None:
    item = visitor.put_failed(stranger, message="It is <gone>.")
    assert app.ask("GET", f"/entries/{item}")["content"] == "<p>It is &lt;gone&gt;.</p>"


def test_wallabagger_asks_whether_pages_are_here(stranger, app) -> None:
    item = visitor.put_article(stranger, "https://example.org/a")
    put_entry(stranger, put_feed(stranger), 1, source="feed")
    here, away = "https://example.org/a?utm_source=x", "https://example.org/b"
    assert app.ask("GET", f"/entries/exists.json?url={here}") == {"exists": True}
    assert app.ask("GET", f"/entries/exists.json?url={here}&return_id=1") == {"exists": item}
    assert app.ask("GET", f"/entries/exists.json?url={away}&return_id=1") == {"exists": None}
    assert app.ask("GET", "/entries/exists.json?url=nonsense") == {"exists": False}
    both = app.ask("GET", "/entries/exists.json", params={"urls[]": [here, away], "return_id": "1"})
    assert both == {here: item, away: None}
    sums = [hashlib.sha1(url.encode()).hexdigest() for url in ("https://example.org/a", away)]
    assert app.ask("GET", f"/entries/exists.json?hashed_url={sums[0]}") == {"exists": True}
    assert app.ask("GET", f"/entries/exists?hashed_url={sums[1]}") == {"exists": False}
    found = app.ask("GET", "/entries/exists", params={"hashed_urls[]": sums})
    assert found == {sums[0]: True, sums[1]: False}


def test_annotations_are_highlights(stranger, app) -> None:
    item = visitor.put_article(stranger)
    body = {"text": "Why?", "quote": "about lighthouses", "ranges": [{"start": "/p[1]", "startOffset": "11"}]}
    made = app.ask("POST", f"/annotations/{item}.json", headers=JSON, content=json.dumps(body))
    assert (made["text"], made["quote"], made["user"]) == ("Why?", "about lighthouses", "owner")
    listed = app.ask("GET", f"/annotations/{item}.json")
    assert (listed["total"], listed["rows"]) == (1, [made])
    assert app.ask("GET", f"/entries/{item}.json")["annotations"] == [made]
    headers = {"Authorization": f"Bearer {app.token}"}
    ours = stranger.get(f"/api/items/{item}/highlights", headers=headers)
    assert ours.status_code == 200
    assert "about lighthouses" in ours.text
    changed = app.ask("PUT", f"/annotations/{made['id']}.json", headers=JSON, content='{"text": "So."}')
    assert changed["text"] == "So."
    assert app.ask("DELETE", f"/annotations/{made['id']}.json")["id"] == made["id"]
    app.ask("DELETE", f"/annotations/{made['id']}.json", 404)
    app.ask("POST", "/annotations/999", 404, data={"quote": "x"})
    app.ask("POST", f"/annotations/{item}", 404, data={"quote": " "})


# Logging in


def test_a_password_gives_tokens_that_are_renewed_and_revoked(stranger, clock) -> None:
    made = stranger.post("/wallabag/oauth/v2/token", content=App.login(visitor.PASSWORD), headers=JSON).json()
    assert (made["token_type"], made["expires_in"]) == ("bearer", 3600)
    entries = "/wallabag/api/entries.json"

    def status(token: str) -> int:
        stranger.app.state.parts.tokens.forget()
        return stranger.get(entries, headers={"Authorization": f"Bearer {token}"}).status_code

    assert status(made["access_token"]) == 200
    assert status(made["refresh_token"]) == 401, "it is for one thing only"
    clock.advance(3600)
    assert status(made["access_token"]) == 401
    refresh = {"grant_type": "refresh_token", "client_id": "x", "client_secret": "x"}
    again = stranger.post(
        "/wallabag/oauth/v2/token", data={**refresh, "refresh_token": made["refresh_token"]}
    ).json()
    assert status(again["access_token"]) == 200
    used = stranger.post("/wallabag/oauth/v2/token", data={**refresh, "refresh_token": made["refresh_token"]})
    assert (used.status_code, used.json()["error"]) == (400, "invalid_grant")

    admin = {"Authorization": f"Bearer {visitor.make_token(stranger)}"}
    rows = stranger.get("/api/accounts/tokens", headers=admin).json()["items"]
    (row,) = [row for row in rows if row["kind"] != "token"]
    assert row["name"].startswith("wallabag: ")
    assert stranger.delete(f"/api/accounts/tokens/{row['id']}", headers=admin).status_code == 204
    assert status(again["access_token"]) == 401


def test_a_token_may_stand_for_the_password(stranger) -> None:
    plain = visitor.make_token(stranger, "read")
    app = App(stranger, plain)
    assert app.token == plain
    assert app.ask("POST", "/entries", 403, data={"url": "https://e.org"})["error"] == "scope_missing"
    refreshed = stranger.post(
        "/wallabag/oauth/v2/token", data={"grant_type": "refresh_token", "refresh_token": plain}
    )
    assert refreshed.json()["access_token"] == plain


def test_wrong_passwords_are_refused_in_wallabags_words_and_counted(stranger) -> None:
    for _ in range(5):
        answer = stranger.post("/wallabag/oauth/v2/token", content=App.login("guess"), headers=JSON)
        assert answer.status_code == 400
        assert answer.json() == {
            "error": "invalid_grant",
            "error_description": "Invalid username and password combination",
        }
    answer = stranger.post("/wallabag/oauth/v2/token", content=App.login(visitor.PASSWORD), headers=JSON)
    assert (answer.status_code, answer.json()["error"]) == (429, "too_many_attempts")
    other = stranger.post("/wallabag/oauth/v2/token", data={"grant_type": "authorization_code"})
    assert other.json()["error"] == "unsupported_grant_type"


def test_the_sessions_cookie_opens_nothing(stranger) -> None:
    visitor.try_login(stranger)
    for method, path in (
        ("GET", "/entries"),
        ("POST", "/entries"),
        ("GET", "/entries/1"),
        ("DELETE", "/entries/1"),
        ("GET", "/tags.json"),
        ("GET", "/user"),
    ):
        answer = stranger.request(method, f"/wallabag/api{path}", headers=visitor.OURS)
        assert (answer.status_code, answer.json()["error"]) == (401, "not_logged_in"), path
    assert stranger.get("/wallabag/api/info").json()["appname"] == "wallabag"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/entries?page=x&perPage=-1&since=x&sort=x&order=x&archive=x", 200),
        ("GET", "/entries?perPage=0", 200),
        ("GET", "/entries?page=99999999999999999999", 200),
        ("GET", "/entries?since=99999999999999", 200),
        ("GET", "/entries/99999999999999999999999999", 404),
        ("GET", "/entries/0", 404),
        ("GET", "/entries/x", 404),
        ("POST", "/entries", 400),
        ("PATCH", "/entries/7", 404),
        ("DELETE", "/tags/7", 404),
        ("GET", "/entries/exists", 200),
    ],
)
def test_nonsense_is_answered_in_words(stranger, app, method, path, status) -> None:
    app.ask(method, path, status)


@pytest.mark.parametrize("body", ["[1]", "{", "7", "[" * 100_000, '{"url": {"a": 1}}', '{"url": "ftp://x"}'])
def test_bodies_that_are_nothing(stranger, app, body) -> None:
    app.ask("POST", "/entries", 400, headers=JSON, content=body)


def test_old_entries_come_in_every_order(stranger, app, clock) -> None:
    first = visitor.put_article(stranger, "https://example.org/1", read_at=clock.now)
    second = visitor.put_article(stranger, "https://example.org/2", read_at=clock.now - dt.timedelta(days=1))
    assert items_of(app.ask("GET", "/entries?sort=archived&order=asc")) == [second, first]
    assert items_of(app.ask("GET", "/entries?sort=archived")) == [first, second]
    assert items_of(app.ask("GET", "/entries?sort=created&order=asc")) == [first, second]
    assert items_of(app.ask("GET", "/entries?domain_name=example.org&starred=1")) == []
