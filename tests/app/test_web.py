"""The pages as a browser without JavaScript meets them, on both databases."""

import json
import re
import struct
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import lxml.html
import pytest
import visitor
from conftest import Clock
from starlette.testclient import TestClient
from visitor import OURS, submit

from atlas import accounts
from atlas.database.tables import feeds, sessions, tokens, transitions
from atlas.database.tables import items as items_table
from atlas.settings import Settings

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


@pytest.fixture
def stranger(settings: Settings, clock: Clock) -> Iterator[TestClient]:
    with visitor.visiting(settings, clock) as client:
        client.headers["Accept"] = "text/html"
        yield client


@pytest.fixture
def client(stranger: TestClient) -> TestClient:
    """A person who is logged in."""
    assert visitor.log_in(stranger).status_code == 303
    return stranger


def tree(page: Any) -> Any:
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    return lxml.html.fromstring(page.text)


def text_of(page: Any) -> str:
    return " ".join(tree(page).find("body").text_content().split())


# Logging in and out


def test_a_stranger_is_sent_to_the_login_and_back(stranger: TestClient) -> None:
    answer = stranger.get("/add?url=https://example.org/?a=1&title=T")
    assert answer.status_code == 303
    login = answer.headers["location"]
    visitor.make_owner(stranger)
    target = tree(stranger.get(login)).xpath("//input[@name='next']/@value")[0]
    assert target == "/add?url=https://example.org/?a=1&title=T"
    assert visitor.try_login(stranger, next=target).headers["location"] == target
    assert stranger.get(target).status_code == 200


def test_the_session_cookie_is_locked_to_this_host(stranger: TestClient) -> None:
    cookies = visitor.log_in(stranger).headers.get_list("set-cookie")
    session = next(cookie for cookie in cookies if cookie.startswith("__Host-atlas="))
    flags = {part.strip().lower() for part in session.split(";")[1:]}
    assert flags == {"httponly", "max-age=604800", "path=/", "samesite=lax", "secure"}


def test_without_tls_the_cookie_has_no_prefix(settings: Settings, clock: Clock) -> None:
    with visitor.visiting(settings, clock, public_url="http://atlas.test") as client:
        cookies = visitor.log_in(client).headers.get_list("set-cookie")
        session = next(cookie for cookie in cookies if cookie.startswith("atlas="))
        assert "secure" not in session.lower()
        assert "httponly" in session.lower()


@pytest.mark.parametrize(
    "fields", [{"password": "wrong"}, {"name": "nobody"}, {"password": ""}, {"name": EVIL}]
)
def test_a_wrong_login_says_no_more_than_that(stranger: TestClient, fields: dict[str, str]) -> None:
    answer = visitor.log_in(stranger, **fields)
    assert answer.status_code == 401
    assert "Name or password is wrong." in text_of(answer)
    assert visitor.count_rows(stranger, sessions) == 0
    assert "<script>alert" not in answer.text


def test_before_there_is_an_account_the_form_says_how_to_make_one(stranger: TestClient) -> None:
    assert "atlas user set owner" in text_of(stranger.get("/login"))
    visitor.make_owner(stranger)
    assert "atlas user set" not in text_of(stranger.get("/login"))


def test_who_tries_too_often_is_told_how_long_to_wait(stranger: TestClient, clock: Clock) -> None:
    visitor.make_owner(stranger)
    answers = [visitor.try_login(stranger, password="wrong") for _ in range(6)]
    assert [answer.status_code for answer in answers] == [401] * 5 + [429]
    assert "Too many failed logins. Try again in 15 minutes." in text_of(answers[-1])
    assert answers[-1].headers["retry-after"] == "900"
    assert visitor.try_login(stranger).status_code == 429, "not even with the right password"
    clock.advance(901)
    assert visitor.try_login(stranger).status_code == 303


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.test/", "//evil.test/", "/\\evil.test", "\\\\evil.test", "javascript:alert(1)", "",
        "/\t/evil.test", "http:evil.test", "evil.test", "/\n/evil.test", "///evil.test", " //evil.test",
        "/a\r\nSet-Cookie: a=b",
    ],
)  # fmt: skip
def test_no_login_ends_on_another_site(stranger: TestClient, target: str) -> None:
    assert visitor.log_in(stranger, next=target).headers["location"] == "/"
    assert stranger.get("/login", params={"next": target}).headers["location"] == "/"


def test_a_planted_session_is_not_the_one_that_is_begun(stranger: TestClient) -> None:
    visitor.log_in(stranger)
    planted = stranger.cookies["__Host-atlas"]
    stranger.cookies.clear()
    # The attacker's own valid session is in the victim's browser; it ends as the victim logs in.
    form = stranger.get("/login")
    stranger.cookies.set("__Host-atlas", planted)
    answer = stranger.post(
        "/login",
        data={"name": visitor.NAME, "password": visitor.PASSWORD, "csrf": visitor.csrf_of(form.text)},
        headers=OURS,
    )
    assert answer.status_code == 303
    begun = answer.headers.get_list("set-cookie")[0].partition(";")[0]
    assert begun.startswith("__Host-atlas=")
    assert planted not in begun
    stranger.cookies.clear()
    stranger.cookies.set("__Host-atlas", planted)
    assert stranger.get("/").status_code == 303


def test_logging_in_needs_our_own_form(stranger: TestClient) -> None:
    visitor.make_owner(stranger)
    fields = {"name": visitor.NAME, "password": visitor.PASSWORD}
    assert stranger.post("/login", data=fields, headers=OURS).status_code == 403
    csrf = visitor.csrf_of(stranger.get("/login").text)
    foreign = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.test"}
    assert stranger.post("/login", data={**fields, "csrf": csrf}, headers=foreign).status_code == 403
    stranger.cookies.clear()
    assert stranger.post("/login", data={**fields, "csrf": csrf}, headers=OURS).status_code == 403
    assert visitor.count_rows(stranger, sessions) == 0


def test_logging_out_ends_the_session_on_the_server(client: TestClient) -> None:
    stolen = client.cookies["__Host-atlas"]
    answer = submit(client, "/logout")
    assert answer.headers["location"] == "/login"
    assert "__Host-atlas" not in client.cookies
    client.cookies.set("__Host-atlas", stolen)
    assert client.get("/").status_code == 303
    assert client.get("/api/items").status_code == 401


def test_a_session_in_use_lasts_and_one_forgotten_ends(client: TestClient, clock: Clock) -> None:
    clock.advance(5 * 86_400)
    renewed = client.get("/").headers["set-cookie"]
    assert renewed.startswith("__Host-atlas=")
    assert "Max-Age=604800" in renewed
    assert "set-cookie" not in client.get("/").headers
    clock.advance(5 * 86_400)
    assert client.get("/").status_code == 200
    clock.advance(8 * 86_400)
    assert client.get("/").headers["location"] == "/login"


# Forms


def test_no_form_works_without_its_token(client: TestClient) -> None:
    item = visitor.put_article(client)
    visitor.put_failed(client)
    submit(client, "/settings/tokens", name="mine")
    for method, path in visitor.routes_of(client, {"POST"}):
        if path.startswith("/api/"):
            continue
        for fields in ({}, {"csrf": ""}, {"csrf": "0" * 32}, {"csrf": "ö"}):
            answer = client.request(
                method, path, data={"url": "https://example.org/x", **fields}, headers=OURS
            )
            assert answer.status_code == 403, path
        assert client.request(method, path, headers=OURS).status_code in (403, 415)
    assert visitor.count_rows(client, items_table) == 2
    assert visitor.count_rows(client, tokens) == 1
    assert client.get(f"/api/items/{item}").json()["read_at"] is None


def test_no_form_works_from_another_site_even_with_its_token(client: TestClient) -> None:
    csrf = visitor.csrf_of(client.get("/add").text)
    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.test"},
    ):
        answer = client.post("/add", data={"csrf": csrf, "url": "https://example.org/"}, headers=headers)
        assert answer.status_code == 403
    # An old browser that says nothing about where the form was: the token speaks for it.
    assert client.post("/add", data={"csrf": csrf, "url": "https://example.org/"}).status_code == 303


def test_a_token_of_another_session_is_worth_nothing(client: TestClient) -> None:
    csrf = visitor.csrf_of(client.get("/add").text)
    client.cookies.clear()
    visitor.try_login(client)
    answer = client.post("/add", data={"csrf": csrf, "url": "https://example.org/"}, headers=OURS)
    assert answer.status_code == 403
    assert "out of date" in text_of(answer)


def test_looking_changes_nothing(client: TestClient) -> None:
    item = visitor.put_article(client)
    before = client.get(f"/api/items/{item}").json()
    rows = visitor.count_rows(client, transitions)
    for method, path in visitor.routes_of(client, {"GET"}):
        assert client.request(method, path).status_code < 500, path
    for path in ("/add?url=https://example.org/new&title=T", f"/items/{item}", "/?state=failed"):
        assert client.get(path).status_code == 200
    assert client.get(f"/api/items/{item}").json() == before
    assert visitor.count_rows(client, items_table) == 1
    assert visitor.count_rows(client, transitions) == rows


# Adding


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"url": "https://example.org/a"}, "https://example.org/a"),
        ({"text": "Look at this: https://example.org/a."}, "https://example.org/a"),
        ({"text": "(see https://example.org/a_(b))"}, "https://example.org/a_(b)"),
        ({"text": "no address", "title": "T https://example.org/t"}, "https://example.org/t"),
        ({"url": "example.org/a"}, "https://example.org/a"),
        ({}, ""),
    ],
)
def test_the_form_finds_the_address_in_what_was_shared(
    client: TestClient, query: dict[str, str], found: str
) -> None:
    page = tree(client.get("/add", params=query))
    assert page.xpath("//input[@id='url']/@value") == [found]
    focused = page.xpath("//*[@autofocus]")
    assert [element.tag for element in focused] == ["button" if found else "input"]


def test_shared_words_without_an_address_become_a_note(client: TestClient) -> None:
    page = tree(client.get("/add", params={"text": "nothing at all", "title": "A thought"}))
    assert page.xpath("//textarea[@name='text']")[0].text == "nothing at all"
    assert page.xpath("//input[@name='title']/@value") == ["A thought"]


def test_adding_leads_to_a_page_that_becomes_the_article(client: TestClient) -> None:
    answer = submit(client, "/add", url="https://example.org/bridges", title="On bridges")
    assert answer.status_code == 303
    waiting = client.get(answer.headers["location"])
    assert "Saved On bridges" in text_of(waiting)
    assert "Waiting to be fetched" in text_of(waiting)
    assert tree(waiting).xpath("//noscript/meta/@content") == ["3"]
    assert tree(waiting).xpath("//*[@data-pending]/@data-stage") == ["110"]


def test_adding_again_says_so_and_leads_there(client: TestClient) -> None:
    first = visitor.put_article(client, "https://example.org/a")
    answer = submit(client, "/add", url="https://example.org/a")
    page = client.get(answer.headers["location"])
    assert "Already here" in text_of(page)
    assert f"/items/{first}" in tree(page).xpath("//main//a/@href")


@pytest.mark.parametrize("url", ["nonsense", "", "ftp://example.org/", EVIL, "https://user:pw@example.org/"])
def test_a_wrong_address_keeps_what_was_typed_and_says_why(client: TestClient, url: str) -> None:
    answer = submit(client, "/add", url=url)
    assert answer.status_code == 422
    page = tree(answer)
    assert page.xpath("//input[@id='url']/@value") == [url]
    assert page.xpath("//input[@id='url']/@aria-describedby") == ["why"]
    assert page.xpath("//*[@id='why']")[0].text_content().endswith(".")
    assert "<script>alert" not in answer.text


def test_a_full_queue_is_told_on_the_form(settings: Settings, clock: Clock) -> None:
    with visitor.visiting(settings, clock, max_queue_size=1) as client:
        visitor.log_in(client)
        assert submit(client, "/add", url="https://example.org/1").status_code == 303
        answer = submit(client, "/add", url="https://example.org/2")
        assert answer.status_code == 429
        assert "Too many pages are waiting" in text_of(answer)
        assert tree(answer).xpath("//input[@id='url']/@value") == ["https://example.org/2"]


# The library


def test_an_empty_library_helps_a_newcomer(client: TestClient) -> None:
    page = client.get("/")
    assert "Your library starts with one page" in text_of(page)
    assert tree(page).xpath("//form[@action='/add']//input[@name='url']")
    assert "Nothing failed" in text_of(client.get("/?state=failed"))
    assert "No feeds yet" in text_of(client.get("/feeds"))


def test_the_library_shows_each_state_in_words(client: TestClient) -> None:
    visitor.put_article(client, title="On bridges", site="Bridge Times", word_count=1150)
    dead = visitor.put_failed(client, message="The site says there is no such page (404).")
    submit(client, "/add", url="https://example.org/new")
    text = text_of(client.get("/"))
    for words in ("On bridges", "Bridge Times", "5 min", "example.org/new", "Waiting to be fetched"):
        assert words in text
    assert "Could not be saved" in text
    assert "The site says there is no such page (404)." in text
    failed = client.get("/?state=failed")
    assert "On bridges" not in text_of(failed)
    assert tree(failed).xpath("//li//form[@method='post']/@action") == [f"/items/{dead}/retry"]
    assert "On bridges" not in text_of(client.get("/?state=waiting"))
    assert "example.org/new" in text_of(client.get("/?state=waiting"))


def test_trying_again_queues_a_failed_item(client: TestClient) -> None:
    dead = visitor.put_failed(client)
    assert submit(client, f"/items/{dead}/retry").headers["location"] == f"/items/{dead}"
    assert client.get(f"/api/items/{dead}").json().items() >= {"stage": 110, "error": None}.items()
    submit(client, f"/items/{dead}/retry")
    assert visitor.count_rows(client, items_table) == 1, "one that is queued is left alone"
    assert submit(client, "/items/999/retry").status_code == 404


def test_older_items_are_a_link_away(client: TestClient) -> None:
    ids = [visitor.put_article(client, f"https://example.org/{n}") for n in range(45)]
    first = tree(client.get("/"))
    older = tree(client.get(first.xpath("//a[@rel='next']/@href")[0]))
    seen = [link for page in (first, older) for link in page.xpath("//li//h2/a/@href")]
    assert seen == [f"/items/{item}" for item in ids[::-1]]
    assert not older.xpath("//a[@rel='next']")
    assert client.get("/?before=nonsense").status_code == 200


def test_the_reader(client: TestClient) -> None:
    visitor.put_article(client, "https://example.org/0", title="The older one")
    item = visitor.put_article(
        client,
        html="<p>Un <em>pont</em>.</p>",
        title="Un pont",
        language="fr",
        byline="A. Eiffel",
        site="Le Pont",
    )
    visitor.put_article(client, "https://example.org/2", title="The newer one")
    page = tree(client.get(f"/items/{item}"))
    article = page.xpath("//article")[0]
    assert article.get("lang") == "fr"
    assert article.xpath(".//h1")[0].text_content() == "Un pont"
    assert article.xpath(".//div/p/em")[0].text == "pont"
    assert "A. Eiffel" in article.text_content()
    assert page.xpath("//a[@rel='next']/span/text()") == ["The older one"]
    assert page.xpath("//a[@rel='prev']/span/text()") == ["The newer one"]
    assert "Added" in page.xpath("//details[@class='history']")[0].text_content()


def test_marking_as_read_and_unread(client: TestClient) -> None:
    item = visitor.put_article(client)
    assert submit(client, f"/items/{item}/read", read="1").headers["location"] == "/"
    assert client.get(f"/api/items/{item}").json()["read_at"] is not None
    assert "Mark as unread" in text_of(client.get(f"/items/{item}"))
    submit(client, f"/items/{item}/read", read="0")
    assert client.get(f"/api/items/{item}").json()["read_at"] is None
    assert submit(client, "/items/999/read", read="1").status_code == 404


def test_an_item_that_will_be_tried_again_says_when(client: TestClient, clock: Clock) -> None:
    item = visitor.put_failed(client, message="The site did not answer.")
    with visitor.engine_of(client).begin() as conn:
        due = clock.now.replace(hour=10)
        conn.execute(items_table.update().values(stage=888, due_at=due))
    page = client.get(f"/items/{item}")
    assert "Saved, and will be tried again" in text_of(page)
    assert "The site did not answer. Next try in 2 hours." in text_of(page)


def test_search(client: TestClient) -> None:
    item = visitor.put_article(client, title="The keeper", text="A lighthouse stands on the rock.")
    page = tree(client.get("/search?q=lighthouse"))
    assert page.xpath("//li//h2/a/@href") == [f"/items/{item}"]
    assert page.xpath("//li//mark/text()") == ["lighthouse"]
    assert "1 result" in page.text_content()
    assert "Nothing found for “zebra”" in text_of(client.get("/search?q=zebra"))
    assert client.get("/search?q=lighthouse&from=nonsense").status_code == 200


def test_feeds_show_how_they_are(client: TestClient) -> None:
    assert submit(client, "/feeds", url="example.org/feed.xml").status_code == 303
    assert "Waiting for its first reading" in text_of(client.get("/feeds"))
    error = {"code": "http_404", "message": "There is nothing at this address."}
    with visitor.engine_of(client).begin() as conn:
        conn.execute(feeds.update().values(failures=3, error=error, title="Tides"))
        feed_id = conn.execute(feeds.select()).one().id
    text = text_of(client.get("/feeds"))
    assert "Tides" in text
    assert f"/?feed={feed_id}" in tree(client.get("/feeds")).xpath("//h3/a/@href")
    assert "Nothing here yet" in text_of(client.get(f"/?feed={feed_id}"))
    visitor.put_article(client, title="The tide is high", feed_id=feed_id)
    visitor.put_article(client, "https://example.org/2", title="Something else")
    assert "The tide is high" in text_of(client.get(f"/?feed={feed_id}"))
    assert "Something else" not in text_of(client.get(f"/?feed={feed_id}"))
    assert client.get("/?feed=999").status_code == 404
    assert "There is nothing at this address. Tried 3 times" in text
    answer = submit(client, "/feeds", url="nonsense")
    assert answer.status_code == 422
    assert tree(answer).xpath("//*[@id='why']")


# Settings


def test_a_token_is_shown_once_and_works(client: TestClient) -> None:
    made = tree(submit(client, "/settings/tokens", name="phone"))
    token = made.xpath("//input[@id='new-token']/@value")[0]
    assert token not in client.get("/settings").text
    program = {"Authorization": f"Bearer {token}", "Cookie": ""}
    assert client.get("/api/items", headers=program).status_code == 200
    revoke = tree(client.get("/settings")).xpath("//form[contains(@action, '/revoke')]/@action")[0]
    submit(client, revoke)
    assert client.get("/api/items", headers=program).status_code == 401, "at once"


def test_other_sessions_can_be_ended(client: TestClient) -> None:
    mine = client.cookies["__Host-atlas"]
    client.cookies.clear()
    visitor.try_login(client)
    other = client.cookies["__Host-atlas"]
    client.cookies.clear()
    client.cookies.set("__Host-atlas", mine)
    ends = tree(client.get("/settings")).xpath("//li//form[contains(@action, '/sessions/')]/@action")
    assert ends == [f"/settings/sessions/{accounts.digest(other)}/revoke"], "not the present one"
    submit(client, ends[0])
    client.cookies.clear()
    client.cookies.set("__Host-atlas", other)
    assert client.get("/").status_code == 303


def test_the_bookmarklet_opens_our_form(client: TestClient) -> None:
    link = tree(client.get("/settings")).xpath("//a[@data-bookmarklet]/@href")[0]
    assert link.startswith("javascript:")
    assert f'"{visitor.HOST}/add"' in link


# Every page


#: Pages that need no more than their address.
LOOKED_AT = (
    "/", "/?state=failed", "/?state=duplicate", "/search", "/feeds", "/settings", "/failed", "/imports",
    "/add/note", "/add/files", "/add/text", "/add/paste", "/settings/appearance", "/settings/users",
    "/settings/log", "/feeds/1", "/offline", "/exports",
)  # fmt: skip


def pages_of(client: TestClient) -> dict[str, Any]:
    """Every kind of page, full of what strangers could have written."""
    fields = {"title": EVIL, "byline": EVIL, "site": EVIL, "excerpt": EVIL, "language": '"><script>'}
    article = visitor.put_article(
        client, f"https://example.org/{EVIL}", text=f"lighthouse {EVIL}", html="<p>x</p>", **fields
    )
    visitor.put_article(client, "https://example.org/b", **fields)
    dead = visitor.put_failed(client, message=EVIL)
    submit(client, f"/items/{article}/tags", tags=EVIL)
    submit(client, f"/items/{article}/note", note=EVIL)
    submit(client, f"/items/{article}/highlights", quote=EVIL, prefix=EVIL, note=EVIL)
    waiting = submit(client, "/add", url="https://example.org/new", title=EVIL).headers["location"]
    double = submit(client, "/add", url="https://example.org/b").headers["location"]
    submit(client, "/feeds", url="https://example.org/feed.xml")
    with visitor.engine_of(client).begin() as conn:
        error = {"code": EVIL, "message": EVIL}
        conn.execute(
            feeds.update().values(title=EVIL, site_url="javascript:alert(1)", failures=1, error=error)
        )
    get = client.get
    pages = {path: get(path) for path in LOOKED_AT}
    pages["one feed"] = get("/?feed=1")
    pages["reader"] = get(f"/items/{article}")
    pages["dead"] = get(f"/items/{dead}")
    pages["paste"] = get(f"/failed/{dead}/content")
    pages["filtered"] = get(
        "/", params={"tag": EVIL, "site": EVIL, "kind": EVIL, "folder": EVIL, "after": EVIL}
    )
    pages["waiting"] = get(waiting)
    pages["double"] = get(double)
    pages["found"] = get("/search?q=lighthouse")
    pages["not found"] = get("/search", params={"q": EVIL})
    pages["add"] = get("/add", params={"url": EVIL, "title": EVIL, "text": EVIL})
    pages["refused"] = submit(client, "/add", url=EVIL, title=EVIL)
    pages["token"] = submit(client, "/settings/tokens", name=EVIL)
    pages["missing"] = get(f"/items/999?{EVIL}")
    submit(client, "/logout")
    pages["login"] = get("/login", params={"next": f"/{EVIL}"})
    pages["login failed"] = visitor.try_login(client, name=EVIL, password="wrong")
    return pages


def test_nothing_a_stranger_wrote_becomes_code(client: TestClient) -> None:
    for name, page in pages_of(client).items():
        assert page.status_code < 500, name
        found = tree(page)
        assert found.xpath("//script/@src"), name
        assert not found.xpath(
            "//script[not(@src)] | //style | //@style | //iframe | //img | //object | //base"
        ), name
        assert not found.xpath("//@*[starts-with(name(), 'on')]"), name
        links = [
            link for link in found.xpath("//@href | //@src | //@action") if ":" in link.partition("/")[0]
        ]
        allowed = (
            ("https:", "http:")
            if name not in ("/settings", "token")
            else ("https:", "http:", "javascript:(()=>")
        )
        assert all(link.startswith(allowed) for link in links), (name, links)


def test_every_page_is_made_for_everyone(client: TestClient) -> None:
    for name, page in pages_of(client).items():
        found = tree(page)
        assert found.get("lang") == "en", name
        assert len(found.xpath("//h1")) == 1, name
        assert len(found.xpath("//main[@id='main']")) == 1, name
        assert found.xpath("//a[@href='#main']"), name
        assert found.xpath("string(//title)").strip(), name
        ids = found.xpath("//@id")
        assert len(ids) == len(set(ids)), (name, ids)
        for field in found.xpath("//input[not(@type='hidden')] | //select | //textarea"):
            labelled = field.get("aria-label") or found.xpath(f"//label[@for='{field.get('id')}']")
            labelled = labelled or field.xpath("parent::label")
            assert labelled, (name, field.get("name"))
        for button in found.xpath("//button | //a"):
            assert button.text_content().strip() or button.get("aria-label"), name
        for targets in found.xpath("//@aria-describedby | //@aria-labelledby"):
            assert set(targets.split()) <= set(ids), (name, targets)


def test_errors_are_pages_for_people_and_json_for_programs(client: TestClient) -> None:
    page = client.get("/nowhere")
    assert page.status_code == 404
    assert "Nothing here" in text_of(page)
    assert page.headers["x-request-id"] in page.text
    assert client.get("/nowhere", headers={"Accept": "*/*"}).json()["error"]["code"] == "not_found"
    with visitor.database_away(client):
        page = client.get("/")
        assert page.status_code == 503
        assert page.headers["retry-after"] == "5"
        assert "The database does not answer right now." in text_of(page)
    assert client.get("/").status_code == 200


# What is public


def test_static_files_are_kept_for_ever_and_nothing_else_is_there(stranger: TestClient) -> None:
    page = tree(stranger.get("/login"))
    for path in page.xpath("//link[@rel != 'manifest']/@href | //script/@src"):
        answer = stranger.get(path)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["x-content-type-options"] == "nosniff"
    for path in (
        "/static/atlas.css",
        "/static/../app.py",
        "/static/%2e%2e%2fapp.py",
        "/static/..%2fapp.py",
        "/static/",
    ):
        assert stranger.get(path).status_code in (303, 404), path


def test_the_manifest_names_icons_that_are_what_it_says(stranger: TestClient) -> None:
    answer = stranger.get("/manifest.webmanifest")
    assert answer.headers["content-type"].startswith("application/manifest+json")
    manifest = json.loads(answer.text)
    shared = manifest["share_target"]
    assert (shared["action"], shared["method"]) == ("/share", "POST")
    assert shared["params"].items() >= {"title": "title", "text": "text", "url": "url"}.items()
    for icon in manifest["icons"]:
        body = stranger.get(icon["src"]).content
        if icon["type"] == "image/png":
            assert f"{'x'.join(map(str, struct.unpack('>II', body[16:24])))}" == icon["sizes"]
    assert stranger.get("/favicon.ico").status_code == 200
    assert "Disallow: /" in stranger.get("/robots.txt").text


def test_first_page_is_light(client: TestClient) -> None:
    page = client.get("/")
    assets = [
        client.get(path) for path in tree(page).xpath("//link[@rel='stylesheet']/@href | //script/@src")
    ]
    assert len(page.content) + sum(len(asset.content) for asset in assets) < 60_000
    css = next(asset for asset in assets if "css" in asset.headers["content-type"])
    assert len(css.content) < 25 * 1024
    assert not re.search(r"@import|url\(\s*['\"]?(https?:)?//", css.text)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_can_be_told_apart(plain_settings: Settings, scheme: str) -> None:
    css = (files("atlas.web") / "static" / "atlas.css").read_text()
    pairs_of = re.findall(r"--([\w-]+): light-dark\(#([0-9a-f]{3,6}), #([0-9a-f]{3,6})\);", css)
    colours = {name: light if scheme == "light" else dark for name, light, dark in pairs_of}

    def luminance(name: str) -> float:
        digits = colours[name] if len(colours[name]) == 6 else "".join(2 * digit for digit in colours[name])
        parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    texts = ["ink", "soft", "accent", "accent-deep", "bad"]
    pairs = [(text, ground) for text in texts for ground in ("paper", "card")]
    pairs += [
        ("on-accent", "accent"),
        ("on-accent", "accent-deep"),
        ("accent", "tint"),
        ("bad", "bad-tint"),
        ("ink", "mark"),
    ]
    for text, ground in pairs:
        lighter, darker = sorted((luminance(text), luminance(ground)), reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (text, ground)


@pytest.mark.parametrize("path", ["/items/" + "9" * 5000, "/settings/sessions/%00/revoke"])
def test_an_address_that_cannot_be_is_not_found(client, path) -> None:
    assert client.get(path).status_code in {404, 405}
