"""The API as programs meet it, on both databases."""

import asyncio
import contextlib
import re
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
import test_faults
import visitor
from conftest import Clock
from sqlalchemy import event
from starlette.testclient import TestClient

from atlas import accounts, items
from atlas.api import auth, edge
from atlas.api.errors import Problem
from atlas.api.saving import Saver
from atlas.database.engine import make_engine
from atlas.database.tables import items as items_table
from atlas.database.tables import tokens, workers
from atlas.settings import Settings
from atlas.urls import InvalidUrl

own_server = test_faults.own_server  # a fixture


@pytest.fixture
def stranger(settings: Settings, clock: Clock) -> Iterator[TestClient]:
    with visitor.visiting(settings, clock) as client:
        yield client


@pytest.fixture
def client(stranger: TestClient) -> TestClient:
    """A program with a token."""
    visitor.use_token(stranger)
    return stranger


def is_error(answer: Any, status: int, code: str) -> str:
    """Check that an answer is an error in our one form; return its message."""
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "id"}
    assert error["code"] == code
    assert error["id"] == answer.headers["x-request-id"]
    assert error["message"].endswith((".", "…")), error["message"]
    return str(error["message"])


# Adding


def test_a_page_is_queued(client: TestClient) -> None:
    answer = client.post("/api/items", json={"url": "https://Example.org/a?utm_source=x", "title": "T"})
    assert answer.status_code == 202
    added = answer.json()
    assert added == {"id": added["id"], "url": "https://example.org/a", "stage": 110, "duplicate_of": None}
    assert answer.headers["location"] == f"/api/items/{added['id']}"
    item = client.get(answer.headers["location"]).json()
    assert (item["stage"], item["title"], item["error"], item["text"]) == (110, "T", None, None)


def test_a_page_that_is_here_is_not_touched(client: TestClient) -> None:
    first = visitor.put_article(client, "https://example.org/a")
    before = client.get(f"/api/items/{first}").json()
    again = client.post("/api/items", json={"url": "http://example.org/a"}).json()
    assert (again["stage"], again["duplicate_of"]) == (599, first)
    after = client.get(f"/api/items/{first}").json()
    assert [(seen["source"], seen["url"]) for seen in after.pop("also_seen_in")] == [
        ("api", "http://example.org/a")
    ]
    assert before.pop("also_seen_in") == []
    assert after == before


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hello",
        "ftp://example.org/",
        "https://",
        "https://user:pw@example.org/",
        "https://a\x00b/",
        "javascript:1",
    ],
)
def test_what_is_no_address_is_refused_with_the_reason(client: TestClient, url: str) -> None:
    is_error(client.post("/api/items", json={"url": url}), 422, "invalid_url")
    assert visitor.count_rows(client, items_table) == 0


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"json": {}}, "“url” is missing."),
        ({"json": {"url": 7}}, "“url” must be a valid string."),
        ({"json": {"url": "https://e.org", "title": "x" * 501}}, "“title” must have at most 500 characters"),
        ({"json": [1]}, "The body must be a JSON object (Content-Type: application/json)."),
        (
            {"content": b"{nope", "headers": {"Content-Type": "application/json"}},
            "The body is not valid JSON.",
        ),
        (
            {"content": b'{"url": "https://e.org"}', "headers": {"Content-Type": "text/plain"}},
            "The body must be",
        ),
        ({}, "The body is missing; send JSON."),
    ],
)
def test_a_wrong_body_is_explained_in_plain_words(
    client: TestClient, body: dict[str, Any], words: str
) -> None:
    assert words in is_error(client.post("/api/items", **body), 422, "invalid_request")


def test_a_body_beyond_the_limit_is_refused(client: TestClient) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(30):
            yield b"x" * 100_000

    body = b'{"url": "' + b"x" * edge.MAX_BODY + b'"}'
    is_error(
        client.post("/api/items", content=body, headers={"Content-Type": "application/json"}),
        413,
        "too_large",
    )
    is_error(
        client.post("/api/items", content=endless(), headers={"Content-Type": "application/json"}),
        413,
        "too_large",
    )


def test_a_full_queue_says_when_to_come_back(settings: Settings, clock: Clock) -> None:
    with visitor.visiting(settings, clock, max_queue_size=3) as client:
        visitor.use_token(client)
        answers = [client.post("/api/items", json={"url": f"https://example.org/{n}"}) for n in range(5)]
        assert [answer.status_code for answer in answers] == [202, 202, 202, 429, 429]
        is_error(answers[-1], 429, "queue_full")
        assert answers[-1].headers["retry-after"] == "30"
        assert visitor.count_rows(client, items_table) == 3


def test_adds_that_come_together_are_committed_together(settings: Settings, clock: Clock) -> None:
    engine = make_engine(settings)
    commits = []
    event.listen(engine, "commit", commits.append)

    async def add_all() -> list[Any]:
        saver = Saver(engine, 1000, clock)
        news = [items.New(f"https://example.org/{n}" if n != 7 else "nonsense", "test") for n in range(40)]
        return await asyncio.gather(*(saver.add(new) for new in news), return_exceptions=True)

    outcomes = asyncio.run(add_all())
    assert isinstance(outcomes.pop(7), InvalidUrl)
    assert len({added.id for added in outcomes}) == 39
    assert len(commits) < 5
    engine.dispose()


def test_many_at_once_fare_as_one_by_one(client: TestClient, clock: Clock) -> None:
    here = visitor.put_article(client, "https://example.org/here")
    dead = visitor.put_failed(client)
    urls = ["https://example.org/new", "nonsense", "https://example.org/here", "https://example.org/dead",
            "https://example.org/new#again"]  # fmt: skip
    with visitor.engine_of(client).begin() as conn:
        new, invalid, double, revived, twice = items.add_many(
            conn, [items.New(url, f"id-{n}") for n, url in enumerate(urls)], now=clock()
        )
        assert isinstance(invalid, InvalidUrl)
        assert (new.stage, new.duplicate_of) == (110, None)
        assert (double.stage, double.duplicate_of) == (599, here)
        assert (revived.id, revived.stage) == (dead, 110)
        assert (twice.stage, twice.duplicate_of) == (599, new.id)
        assert [step["correlation_id"] for step in items.history(conn, new.id)] == ["id-0"]
        assert items.history(conn, revived.id)[-1]["correlation_id"] == "id-3"
        assert items.add_many(conn, [], now=clock()) == []


def test_one_add_that_fails_does_not_take_others_down(
    settings: Settings, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(settings)
    real = items.add_many

    def add_many(conn: sa.Connection, news: Any, **options: Any) -> Any:
        if any(new.url.endswith("/bad") for new in news):
            conn.exec_driver_sql("SELECT broken FROM nowhere")
        return real(conn, news, **options)

    monkeypatch.setattr(items, "add_many", add_many)

    async def add_all() -> list[Any]:
        saver = Saver(engine, 1000, clock)
        news = [items.New(f"https://example.org/{name}", "test") for name in ("a", "bad", "b")]
        return await asyncio.gather(*(saver.add(new) for new in news), return_exceptions=True)

    first, bad, last = asyncio.run(add_all())
    assert isinstance(bad, sa.exc.DBAPIError)
    assert first.id != last.id
    engine.dispose()


# Looking


def test_a_read_item_carries_its_text_and_html(client: TestClient) -> None:
    item_id = visitor.put_article(
        client, title="On bridges", text="Steel.", html="<p>Steel.</p>", site="Example"
    )
    item = client.get(f"/api/items/{item_id}").json()
    wanted = {"id": item_id, "stage": 590, "title": "On bridges", "site": "Example", "byline": None}
    assert item.items() >= {**wanted, "text": "Steel.", "html": "<p>Steel.</p>", "error": None}.items()


def test_a_failed_item_says_why(client: TestClient) -> None:
    item = client.get(f"/api/items/{visitor.put_failed(client)}").json()
    assert item["stage"] == 777
    assert item["error"].items() >= {"code": "http_404", "message": "It is gone.", "id": "ab12cd34"}.items()


@pytest.mark.parametrize("item_id", ["1", "0", "-5", "99999999999999999999"])
def test_an_item_that_is_not_there(client: TestClient, item_id: str) -> None:
    is_error(client.get(f"/api/items/{item_id}"), 404, "not_found")


def test_lists_go_on_by_cursor_without_a_gap(client: TestClient) -> None:
    ids = [visitor.put_article(client, f"https://example.org/{n}") for n in range(7)]
    seen, cursor = [], ""
    while True:
        page = client.get(f"/api/items?limit=3&cursor={cursor}").json()
        seen += [item["id"] for item in page["items"]]
        assert not {"text", "html"} & set(page["items"][0])
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == ids[::-1]


def test_lists_filter(client: TestClient) -> None:
    read = visitor.put_article(client, "https://example.org/read", text="about lighthouses")
    dead = visitor.put_failed(client)
    double = client.post("/api/items", json={"url": "https://example.org/read"}).json()["id"]

    def ids(query: str) -> list[int]:
        return [item["id"] for item in client.get(f"/api/items?{query}").json()["items"]]

    assert ids("") == ids("stage=&kind=&q=&cursor=") == [dead, read]
    assert ids("stage=777") == [dead]
    assert ids("stage=599") == [double]
    assert ids("kind=article") == [dead, read]
    assert ids("kind=podcast") == []
    assert ids("q=lighthouse") == [read]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "limit=x", "cursor=x", "cursor=-1", "stage=x", "stage=1000"]
)
def test_a_wrong_filter_is_named(client: TestClient, query: str) -> None:
    message = is_error(client.get(f"/api/items?{query}"), 422, "invalid_request")
    assert f"“{query.partition('=')[0]}” must be" in message


def test_search_finds_and_counts(client: TestClient) -> None:
    found = visitor.put_article(client, title="<b>Keeper</b>", text="A lighthouse & its <i>keeper</i>.")
    visitor.put_article(client, "https://example.org/b", title="Bread", text="Flour, water, salt.")
    answer = client.get('/api/search?q=keeper -bread "a lighthouse"').json()
    assert (answer["total"], [hit["id"] for hit in answer["items"]]) == (1, [found])
    hit = answer["items"][0]
    assert hit["title"] == "<b>Keeper</b>"
    assert "<mark>keeper</mark>" in hit["snippet"]
    assert "&lt;i&gt;" in hit["snippet"]
    assert "<i>" not in hit["snippet"]
    assert client.get("/api/search?q=nothing").json() == {"total": 0, "items": []}


def test_search_needs_words(client: TestClient) -> None:
    assert "“q” is missing." in is_error(client.get("/api/search"), 422, "invalid_request")
    assert client.get("/api/search?q=").json()["total"] == 0


def test_feeds_are_followed_and_listed(client: TestClient) -> None:
    answer = client.post("/api/feeds", json={"url": "https://example.org/feed.xml"})
    assert answer.status_code == 201
    feed = answer.json()
    assert (feed["url"], feed["failures"], feed["error"]) == ("https://example.org/feed.xml", 0, None)
    assert client.post("/api/feeds", json={"url": "https://example.org/feed.xml"}).json()["id"] == feed["id"]
    assert client.get("/api/feeds").json() == {"items": [feed]}
    is_error(client.post("/api/feeds", json={"url": "nonsense"}), 422, "invalid_url")


@pytest.mark.parametrize(
    "text",
    [
        "\x00",
        "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
        "'\"*()",
        "-",
        '"',
        "é" * 300,
        "AND OR NOT",
        "a:b",
        "%00",
        "\\",
    ],
)
def test_no_question_breaks_search_or_list(client: TestClient, text: str) -> None:
    for path in ("/api/search", "/api/items"):
        assert client.get(path, params={"q": text}).status_code == 200


# Who may


def test_nothing_answers_strangers_but_what_is_meant_to(stranger: TestClient) -> None:
    public = {"/login", "/health", "/ready", "/manifest.webmanifest", "/favicon.ico", "/robots.txt"}
    public |= {"/sw.js", "/offline", "/login/oidc", "/login/oidc/callback"}  # the same for everybody
    public |= {"/enter", "/logged-out"}  # a way on, and a goodbye: neither shows anything
    for method, path in visitor.routes_of(stranger, {"GET", "POST", "PUT", "PATCH", "DELETE"}):
        if path in public or path.startswith("/static/"):
            continue
        as_program = stranger.request(method, path)
        is_error(as_program, 401, "not_logged_in")
        assert as_program.headers["www-authenticate"].startswith("Bearer")
        if not path.startswith("/api/"):
            as_person = stranger.request(method, path, headers={"Accept": "text/html"})
            assert as_person.status_code == 303
            assert as_person.headers["location"].startswith("/login")
    for path in ("/api/nothing", "/nothing", "/docs", "/redoc", "/openapi.json", "/metrics"):
        is_error(stranger.get(path), 401, "not_logged_in")


@pytest.mark.parametrize(
    "header", ["Bearer wrong", "Bearer ", "Bearer atl_" + "A" * 43, "Basic b3duZXI6eA==", "x"]
)
def test_a_wrong_token_opens_nothing(stranger: TestClient, header: str) -> None:
    visitor.make_owner(stranger)
    is_error(stranger.get("/api/items", headers={"Authorization": header}), 401, "not_logged_in")


def test_a_token_opens_no_page(client: TestClient) -> None:
    assert client.get("/api/items").status_code == 200
    for path in ("/", "/settings", "/items/1"):
        assert client.get(path, headers={"Accept": "text/html"}).headers["location"].startswith("/login")
    assert client.post("/settings/tokens", data={"name": "more"}).status_code == 401
    assert visitor.count_rows(client, tokens) == 1


def test_a_revoked_token_is_worthless_soon(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(auth.time, "monotonic", lambda: now[0])
    assert client.get("/api/items").status_code == 200
    with visitor.engine_of(client).begin() as conn:
        row = accounts.list_tokens(conn)[0]
        accounts.revoke_token(conn, row.id, client.app.state.parts.clock(), actor="test")
    now[0] += auth.TOKEN_SECONDS
    is_error(client.get("/api/items"), 401, "not_logged_in")


def test_a_session_may_use_the_api_from_our_own_pages_only(stranger: TestClient) -> None:
    visitor.log_in(stranger)
    assert stranger.get("/api/items").status_code == 200
    page = {"url": "https://example.org/"}
    foreign: list[dict[str, str]] = [{}, *({"Origin": o} for o in ("null", "https://evil.test", "http://["))]
    foreign += [{"Sec-Fetch-Site": site} for site in ("cross-site", "same-site", "none")]
    for headers in foreign:
        is_error(stranger.post("/api/items", json=page, headers=headers), 403, "cross_site")
    for headers in ({"Sec-Fetch-Site": "same-origin"}, {"Origin": visitor.HOST}):
        assert stranger.post("/api/items", json=page, headers=headers).status_code == 202


def test_metrics_are_for_this_machine_and_for_tokens(
    settings: Settings, clock: Clock, client: TestClient
) -> None:
    client.get("/api/items/1")
    body = client.get("/metrics").text
    assert 'route="/api/items/{item_id}"' in body
    assert "atlas_database_up 1.0" in body
    with TestClient(client.app, client=("127.0.0.1", 5000)) as here:
        assert here.get("/metrics").status_code == 200
        assert here.get("/metrics", headers={"X-Forwarded-For": "203.0.113.9"}).status_code == 401


# Every answer


def test_the_request_id_goes_from_the_header_to_the_history(client: TestClient) -> None:
    answer = client.post(
        "/api/items", json={"url": "https://example.org/a"}, headers={"X-Request-ID": "my-request.0001"}
    )
    assert answer.headers["x-request-id"] == "my-request.0001"
    with visitor.engine_of(client).connect() as conn:
        assert items.history(conn, answer.json()["id"])[0]["correlation_id"] == "my-request.0001"


@pytest.mark.parametrize(
    "given", ["", "short", "a b c d e f", "x" * 65, "новый-ключ".encode(), "<script>alert(1)"]
)
def test_an_odd_request_id_is_replaced(client: TestClient, given: str | bytes) -> None:
    answer = client.get("/api/items", headers={"X-Request-ID": given})
    assert re.fullmatch("[0-9a-f]{16}", answer.headers["x-request-id"])


def test_every_answer_is_guarded(client: TestClient) -> None:
    for answer in (
        client.get("/api/items"),
        client.get("/api/nothing"),
        client.get("/login"),
        client.get("/health"),
    ):
        policy = answer.headers["content-security-policy"]
        assert (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: https:;" in policy
        )
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"


def test_an_unknown_address_and_a_wrong_method(client: TestClient) -> None:
    is_error(client.get("/api/nothing"), 404, "not_found")
    is_error(client.get("/api/items/"), 404, "not_found")
    answer = client.put("/api/items")
    is_error(answer, 405, "method_not_allowed")
    assert set(answer.headers["allow"].split(", ")) <= {"GET", "POST", "HEAD"}


def test_head_is_get_without_a_body(client: TestClient) -> None:
    answer = client.head("/api/items")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == client.get("/api/items").headers["content-length"]


@pytest.mark.slow
def test_what_breaks_inside_is_not_told_outside(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(items, "get", broken)
    answer = client.get("/api/items/1")
    is_error(answer, 500, "internal_error")
    assert "secret" not in answer.text


def test_while_the_database_is_away(client: TestClient) -> None:
    def asked() -> list[Any]:
        return [
            client.get("/api/items"),
            client.get("/api/items/1"),
            client.get("/api/search?q=a"),
            client.post("/api/items", json={"url": "https://example.org/"}),
            client.post("/api/feeds", json={"url": "https://example.org/"}),
        ]

    with visitor.database_away(client):
        for answer in asked():
            message = is_error(answer, 503, "database_unavailable")
            assert answer.headers["retry-after"] == "5"
            assert "secret-host" not in message
        assert client.get("/ready").status_code == 503
        health = client.get("/health")
        assert (health.status_code, health.json()["status"]) == (503, "down")
        assert client.get("/metrics").status_code in (200, 503)
    assert [answer.status_code for answer in asked()] == [200, 404, 200, 202, 201]


# How it is


def test_health_names_each_part(client: TestClient, clock: Clock) -> None:
    answer = client.get("/health")
    body = answer.json()
    assert answer.status_code == 200
    assert body["status"] == "degraded"
    assert set(body["checks"]) == {"database", "worker", "disk", "search", "pipeline"}
    assert body["checks"]["worker"] == {
        "status": "degraded",
        "message": "No worker runs: what is added waits.",
        "milliseconds": body["checks"]["worker"]["milliseconds"],
    }
    with visitor.engine_of(client).begin() as conn:
        conn.execute(workers.insert().values(name="w", started_at=clock(), seen_at=clock()))
    assert client.get("/health").json()["checks"]["worker"]["status"] == "ok"
    clock.advance(61)
    assert client.get("/health").json()["checks"]["worker"]["status"] == "degraded"


def test_health_sees_a_pipeline_that_stands_still(client: TestClient, clock: Clock) -> None:
    client.post("/api/items", json={"url": "https://example.org/"})
    assert client.get("/health").json()["checks"]["pipeline"]["status"] == "ok"
    clock.advance(16 * 60)
    pipeline = client.get("/health").json()["checks"]["pipeline"]
    assert pipeline["status"] == "degraded"
    assert pipeline["message"] == "An item has been due for 16 minutes."


def test_ready_needs_a_migrated_database(empty_settings: Settings, clock: Clock, client: TestClient) -> None:
    assert client.get("/ready").json() == {"status": "ready"}
    with visitor.visiting(empty_settings, clock) as unmigrated:
        answer = unmigrated.get("/ready")
        assert answer.status_code == 503
        assert "atlas migrate" in answer.json()["message"]
    with visitor.engine_of(client).begin() as conn:
        conn.exec_driver_sql("UPDATE alembic_version SET version_num = '9999_from_the_future'")
    assert client.get("/ready").status_code == 200, "an older release must serve on a newer database"
    with visitor.engine_of(client).begin() as conn:
        conn.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
    assert client.get("/ready").status_code == 503


def test_the_description_is_complete(client: TestClient) -> None:
    description = client.get("/api/openapi.json").json()
    assert {"/api/items", "/api/items/{item_id}", "/api/search", "/api/feeds", "/health"} <= set(
        description["paths"]
    )
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            assert operation.get("description") or operation.get("summary"), (method, path)
            for status, response in operation["responses"].items():
                if path.startswith("/api/") and status >= "400":
                    schema = response["content"]["application/json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/ErrorAnswer"}, (method, path, status)


def test_problems_are_what_they_say() -> None:
    problem = Problem(409, "here", "It is here.", {"X": "y"})
    assert (str(problem), problem.headers) == ("It is here.", {"X": "y"})


@pytest.mark.slow
def test_a_real_server_that_stops_and_comes_back(own_server: Any, clock: Clock) -> None:
    server, settings = own_server
    with visitor.visiting(settings, clock) as client:
        visitor.use_token(client)
        page = {"url": "https://example.org/"}
        assert client.post("/api/items", json=page).status_code == 202
        with test_faults.stopped(server):
            for answer in (
                client.get("/api/items"),
                client.post("/api/items", json=page),
                client.get("/ready"),
            ):
                assert answer.status_code == 503
                assert answer.headers["retry-after"] == "5"
            assert client.get("/health").json()["status"] == "down"
        assert client.get("/api/items").json()["items"][0]["stage"] == 110
        assert client.post("/api/items", json=page).json()["stage"] == 599
        assert client.get("/ready").status_code == 200


def test_a_database_that_is_locked_is_told_as_one_that_is_away(settings, clock, monkeypatch) -> None:
    if settings.database_url:
        pytest.skip("only SQLite has a lock on the whole")
    monkeypatch.setattr("atlas.database.engine.SQLITE_BUSY_TIMEOUT", 50)
    with visitor.visiting(settings, clock) as client:
        visitor.use_token(client)
        assert client.get("/api/items").status_code == 200
        page = {"url": "https://example.org/locked"}
        with contextlib.closing(
            sqlite3.connect(settings.data_dir / "atlas.db", isolation_level=None)
        ) as other:
            other.execute("BEGIN IMMEDIATE")
            refused = client.post("/api/items", json=page)
            assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
            assert client.get("/api/items", headers={"Authorization": "Bearer atl_nobody"}).status_code == 401
            other.execute("ROLLBACK")
        assert client.post("/api/items", json=page).status_code == 202
