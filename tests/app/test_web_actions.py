"""What the forms of the pages do, on both databases; how they look is tried in a browser."""

import io
from collections.abc import Iterator
from typing import Any

import lxml.html
import pytest
import sqlalchemy as sa
import visitor
from conftest import Clock
from starlette.testclient import TestClient
from visitor import OURS, csrf_of, put_article, put_failed, submit

from atlas.database.tables import feeds, highlights, transitions
from atlas.database.tables import items as items_table
from atlas.settings import Settings


@pytest.fixture
def client(settings: Settings, clock: Clock) -> Iterator[TestClient]:
    """A person who is logged in."""
    with visitor.visiting(settings, clock) as client:
        client.headers["Accept"] = "text/html"
        assert visitor.log_in(client).status_code == 303
        yield client


def titles(client: TestClient, path: str) -> list[str]:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return [link.text for link in lxml.html.fromstring(answer.text).xpath("//li//h2/a")]


def item_of(client: TestClient, item_id: int) -> dict[str, Any]:
    with visitor.engine_of(client).connect() as conn:
        found = conn.execute(sa.select(items_table).where(items_table.c.id == item_id)).one()
    return dict(found._mapping)


def send_files(client: TestClient, path: str, files: list[tuple[str, bytes]], **fields: str) -> Any:
    csrf = csrf_of(client.get("/add").text)
    sent = [("files", (name, io.BytesIO(raw), "application/octet-stream")) for name, raw in files]
    return client.post(path, data={"csrf": csrf, **fields}, files=sent, headers=OURS)


def test_the_library_is_filtered_by_its_address(client: TestClient) -> None:
    one = put_article(client, "https://example.org/1", title="One", kind="podcast", source="web")
    put_article(client, "https://other.test/2", title="Two", source="import")
    three = put_article(client, "https://example.org/3", title="Three")
    submit(client, f"/items/{one}/star", star="1")
    submit(client, f"/items/{three}/read", read="1")
    submit(client, f"/items/{three}/tags", tags="Sea, long read")
    expected = {
        "": ["Three", "Two", "One"],
        "?order=oldest": ["One", "Two", "Three"],
        "?kind=podcast": ["One"],
        "?source=import": ["Two"],
        "?site=example.org": ["Three", "One"],
        "?read=no": ["Two", "One"],
        "?read=yes": ["Three"],
        "?starred=yes": ["One"],
        "?tag=sea": ["Three"],
        "?tag=Long+Read&kind=article": ["Three"],
        "?after=2026-11-23": [],
        "?after=2026-11-22&before_day=2026-11-22": ["Three", "Two", "One"],
        "?before_day=2026-11-21": [],
        # What is no filter is as if nobody had asked.
        "?kind=nonsense&after=nonsense&before=nonsense&read=perhaps&order=random": ["Three", "Two", "One"],
    }
    assert {query: titles(client, f"/{query}") for query in expected} == expected


def test_a_filter_that_is_on_can_be_taken_off_alone(client: TestClient) -> None:
    put_article(client)
    page = lxml.html.fromstring(client.get("/?kind=article&tag=sea&read=no").text)
    links = {link.text_content(): link.get("href") for link in page.xpath("//ul[@class='on']//a")}
    assert links == {
        "Without Article": "/?read=no&tag=sea",
        "Without unread": "/?kind=article&tag=sea",
        "Without #sea": "/?kind=article&read=no",
    }


def test_pages_of_a_filter_go_on_where_the_last_one_ended(client: TestClient) -> None:
    for n in range(33):
        put_article(client, f"https://example.org/{n}", title=f"Number {n}")
    page = lxml.html.fromstring(client.get("/?order=oldest").text)
    (older,) = page.xpath("//a[@rel='next']/@href")
    assert "order=oldest" in older
    assert titles(client, older) == ["Number 30", "Number 31", "Number 32"]


def test_what_is_shown_is_marked_as_read_together_and_nothing_else(client: TestClient) -> None:
    ids = [put_article(client, f"https://example.org/{n}") for n in range(3)]
    (shown,) = lxml.html.fromstring(client.get("/").text).xpath("//input[@name='items']/@value")
    late = put_article(client, "https://example.org/late")
    answer = submit(client, "/read", items=f"{shown} 99999999999999999999 x", next="/?read=no")
    assert answer.headers["location"] == "/?read=no"
    assert [bool(item_of(client, item)["read_at"]) for item in [*ids, late]] == [True, True, True, False]


def test_no_form_leads_away(client: TestClient) -> None:
    item = put_article(client)
    for target in ("https://evil.test/", "//evil.test/", "/\\evil.test"):
        assert submit(client, f"/items/{item}/star", star="1", next=target).headers["location"] == "/"


def test_star_note_tags_and_place(client: TestClient) -> None:
    item = put_article(client)
    assert submit(client, f"/items/{item}/star", star="1").headers["location"] == f"/items/{item}"
    submit(client, f"/items/{item}/note", note="  Worth it.\n")
    submit(client, f"/items/{item}/tags", tags="Sea,, #harbour ,SEA")
    assert submit(client, f"/items/{item}/progress", progress="0.42").status_code == 204
    for nonsense in ("", "nan", "-1", "1e400", "0.1;"):
        assert submit(client, f"/items/{item}/progress", progress=nonsense).status_code == 204
    row = item_of(client, item)
    assert (row["note"], row["progress"], bool(row["starred_at"])) == ("Worth it.", 0.42, True)
    page = client.get(f"/items/{item}").text
    assert [link.text for link in lxml.html.fromstring(page).xpath("//article//ul[@class='tags']//a")] == [
        "harbour",
        "Sea",
    ]
    assert "42 % read" in page
    submit(client, f"/items/{item}/star", star="0")
    assert item_of(client, item)["starred_at"] is None


def test_a_highlight_is_made_changed_and_removed(client: TestClient) -> None:
    item = put_article(client, text="Some words about lighthouses.")
    made = submit(client, f"/items/{item}/highlights", quote="about  lighthouses", note="Yes.")
    assert made.headers["location"] == f"/items/{item}#mark-1"
    page = lxml.html.fromstring(client.get(f"/items/{item}").text)
    (entry,) = page.xpath("//li[@data-highlight]")
    assert entry.xpath(".//blockquote")[0].text == "about lighthouses"
    assert entry.get("data-prefix") == "Some words "
    submit(client, f"/items/{item}/highlights/1", note="No.")
    assert "No." in client.get(f"/items/{item}").text
    submit(client, f"/items/{item}/highlights/1/delete")
    assert visitor.count_rows(client, highlights) == 0
    assert submit(client, f"/items/{item}/highlights/1/delete").status_code == 404
    assert submit(client, f"/items/{item}/highlights", quote="   ").status_code == 404


def test_an_item_is_deleted_only_by_its_form(client: TestClient) -> None:
    item = put_article(client)
    assert client.get(f"/items/{item}/delete").status_code == 405
    assert submit(client, f"/items/{item}/delete").headers["location"] == "/"
    assert client.get(f"/items/{item}").status_code == 404
    assert submit(client, f"/items/{item}/delete").status_code == 404


def test_what_is_no_item_cannot_be_changed(client: TestClient) -> None:
    for act in ("star", "read", "note", "tags", "highlights", "retry", "edit"):
        assert submit(client, f"/items/999/{act}", quote="x", text="x").status_code == 404, act


def test_dead_letters_by_reason_and_their_ways_out(client: TestClient) -> None:
    one, two = put_failed(client, "https://example.org/1"), put_failed(client, "https://example.org/2")
    assert len(titles(client, "/failed")) == 2
    assert titles(client, "/failed?reason=timeout") == []
    assert "HTTP 404" in client.get("/failed").text
    submit(client, f"/failed/{one}/aside", aside="1")
    assert titles(client, "/failed") == ["example.org/2"]
    assert titles(client, "/failed?aside=yes") == ["example.org/1"]
    submit(client, f"/failed/{one}/aside", aside="0")
    submit(client, "/failed/retry", reason="")
    assert titles(client, "/failed") == []
    assert [item_of(client, item)["stage"] for item in (one, two)] == [110, 110]
    assert submit(client, f"/failed/{one}/aside", aside="1").status_code == 404, "it waits again"


def test_pasting_the_text_of_a_dead_letter_lets_it_go_on(client: TestClient) -> None:
    dead = put_failed(client)
    assert submit(client, "/failed/content", item=str(dead), content="  \n ").status_code == 422
    answer = submit(client, "/failed/content", item=str(dead), content="I have <it>.\n\nOn paper.")
    assert answer.headers["location"] == f"/items/{dead}"
    row = item_of(client, dead)
    assert (row["stage"], row["error"]) == (190, None)
    readable = put_article(client)
    assert submit(client, "/failed/content", item=str(readable), content="More").status_code == 409
    assert submit(client, "/failed/content", item="x", content="More").status_code == 404


def test_notes_pieces_and_pages_come_in_by_forms(client: TestClient) -> None:
    note = submit(client, "/add/note", title="A thought", text="Some *words*.", tags="mine").headers[
        "location"
    ]
    piece = submit(client, "/add/text", url="https://example.org/a", text="A passage.", title="From A")
    page = submit(client, "/add/paste", url="https://example.org/b", content="<p>Seen</p>")
    rows = [item_of(client, int(place.rpartition("/")[2])) for place in (
        note, piece.headers["location"], page.headers["location"])]  # fmt: skip
    assert [(row["kind"], row["source"], row["stage"]) for row in rows] == [
        ("note", "web", 190), ("note", "web", 190), ("article", "web", 190)]  # fmt: skip
    assert submit(client, "/add/note", title="", text="  ").status_code == 422
    assert submit(client, "/add/text", url="nowhere", text="x").status_code == 422
    assert submit(client, "/add/paste", url="https://example.org/c", content="").status_code == 422


def test_a_note_is_changed_and_no_other_item(client: TestClient) -> None:
    place = submit(client, "/add/note", title="A thought", text="Before.").headers["location"]
    page = lxml.html.fromstring(client.get(f"{place}/edit").text)
    assert page.xpath("//textarea[@name='text']")[0].text == "Before."
    assert submit(client, f"{place}/edit", title="A thought", text="").status_code == 422
    assert submit(client, f"{place}/edit", title="Another", text="After.").headers["location"] == place
    assert lxml.html.fromstring(client.get(f"{place}/edit").text).xpath("//textarea")[0].text == "After."
    article = put_article(client)
    assert client.get(f"/items/{article}/edit").status_code == 404
    assert submit(client, f"/items/{article}/edit", text="Mine now.").status_code == 404


def test_files_come_in_each_for_itself(client: TestClient) -> None:
    answer = send_files(client, "/add/files", [("a.txt", b"Some text."), ("b.bin", b"\0\1\2")], tags="desk")
    assert answer.status_code == 200
    said = [
        entry.text_content() for entry in lxml.html.fromstring(answer.text).xpath("//ul[@role='status']/li")
    ]
    assert said[0] == "a.txt"
    assert "cannot be read" in said[1]
    one = send_files(client, "/add/files", [("c.md", b"# Heading\n\nText.")])
    assert one.headers["location"].startswith("/items/")
    large = send_files(client, "/add/files", [("d.txt", b"A long text. " * 200_000)])
    assert large.headers["location"].startswith("/items/"), "as large as the setting allows"
    assert send_files(client, "/add/files", [("e.txt", b"x" * 21_000_000)]).status_code == 413
    assert send_files(client, "/add/files", []).status_code == 422
    # Its own token, as all forms need one.
    sent = [("files", ("a.txt", io.BytesIO(b"x"), "text/plain"))]
    assert client.post("/add/files", data={"csrf": "0" * 32}, files=sent, headers=OURS).status_code == 403
    assert client.post("/add/files", files=sent, headers=OURS).status_code == 403


def test_an_import_begins_with_a_form(client: TestClient) -> None:
    answer = send_files(client, "/imports", [("links.txt", b"https://example.org/1\n")], dry_run="1")
    place = answer.headers["location"]
    page = client.get(place)
    assert "links.txt" in page.text
    assert "dry run" in page.text
    assert "links.txt" in client.get("/imports").text
    submit(client, f"{place}/cancel")
    assert "Cancelled" in client.get(place).text
    again = submit(client, f"{place}/run").headers["location"]
    assert again != place
    assert submit(client, f"{again}/run").status_code == 409, "it was no dry run"
    assert send_files(client, "/imports", []).status_code == 422
    assert client.get("/imports/999").status_code == 404


def test_a_feed_is_changed_by_its_form(client: TestClient) -> None:
    submit(client, "/feeds", url="https://example.org/feed.xml")
    options = {
        "title": "", "folder": "Sea", "interval_seconds": "86400", "full_text": "page",
        "retention_days": "30",
        "action-0": "drop", "field-0": "title", "pattern-0": "sponsored", "tag-0": "ignored here",
        "action-1": "tag", "field-1": "any", "pattern-1": "harbour", "tag-1": "sea",
    }  # fmt: skip
    assert submit(client, "/feeds/1", **options).headers["location"] == "/feeds"
    with visitor.engine_of(client).connect() as conn:
        feed = conn.execute(feeds.select()).one()
    assert (feed.folder, feed.interval_seconds, feed.full_text, feed.retention_days) == (
        "Sea",
        86400,
        "page",
        30,
    )
    assert [rule["action"] for rule in feed.rules] == ["drop", "tag"]
    for wrong in ({"pattern-0": "("}, {"retention_days": "soon"}, {"full_text": "half"}):
        assert submit(client, "/feeds/1", **{**options, **wrong}).status_code == 422, wrong
    submit(client, "/feeds/1/pause", paused="1")
    assert "Paused" in client.get("/feeds").text
    submit(client, "/feeds/1/refresh")
    item = put_article(client, feed_id=1)
    submit(client, "/feeds/read", folder="Sea", up_to=str(item))
    assert item_of(client, item)["read_at"]
    submit(client, "/feeds/1/remove")
    assert visitor.count_rows(client, feeds) == 0
    assert item_of(client, item)["feed_id"] is None, "what it brought stays"
    assert client.get("/feeds/1").status_code == 404


def test_the_look_is_kept_with_the_account(client: TestClient) -> None:
    assert "data-theme" not in client.get("/").text
    submit(client, "/settings/appearance", theme="dark", font="sans", size="5", width="enormous", keys="off")
    page = lxml.html.fromstring(client.get("/").text)
    assert {name: value for name, value in page.attrib.items() if name.startswith("data-")} == {
        "data-theme": "dark", "data-font": "sans", "data-size": "5", "data-keys": "off"}  # fmt: skip
    assert not page.xpath("//dialog"), "without its list of keys the script answers to none"
    submit(client, "/settings/appearance", theme="auto")
    assert client.get("/").text.count("data-font") == 1, "what was not asked for stays"


def test_tokens_get_no_more_than_was_ticked(client: TestClient) -> None:
    page = submit(client, "/settings/tokens", name="reader", scopes="read", days="30")
    token = lxml.html.fromstring(page.text).xpath("//input[@id='new-token']/@value")[0]
    asks = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
    client.cookies.clear()
    assert client.get("/api/items", headers=asks).status_code == 200
    assert client.post("/api/items", json={"url": "https://example.org/"}, headers=asks).status_code == 403


def test_accounts_and_their_log(client: TestClient) -> None:
    assert (
        submit(client, "/settings/users", name="ada", password="long enough", role="member").status_code
        == 303
    )
    assert submit(client, "/settings/users", name="ada", password="again", role="member").status_code == 409
    assert submit(client, "/settings/users", name="", password="", role="member").status_code == 422
    assert "ada" in client.get("/settings/users").text
    assert "user.create" in client.get("/settings/log").text
    submit(client, "/settings/users/2/role", role="owner")
    submit(client, "/settings/users/2/role", role="member")
    assert submit(client, "/settings/users/1/role", role="member").status_code == 409, "the only owner"
    client.cookies.clear()
    visitor.try_login(client, name="ada", password="long enough")
    for path in ("/settings/users", "/settings/log"):
        assert client.get(path).status_code == 403
        assert path not in client.get("/settings").text
    assert submit(client, "/settings/users/1/remove").status_code == 403


def test_the_password_is_changed_with_the_old_one(client: TestClient) -> None:
    new = {"new": "another long one", "again": "another long one"}
    assert submit(client, "/settings/password", old="wrong", **new).status_code == 403
    assert submit(client, "/settings/password", old=visitor.PASSWORD, new="a", again="b").status_code == 422
    assert submit(client, "/settings/password", old=visitor.PASSWORD, **new).status_code == 303
    client.cookies.clear()
    assert visitor.try_login(client).status_code == 401
    assert visitor.try_login(client, password="another long one").status_code == 303


def test_only_what_is_this_readers_own_may_be_kept_by_the_browser(client: TestClient) -> None:
    ready, dead = put_article(client, title="Schön"), put_failed(client)
    kept = client.get(f"/items/{ready}")
    assert kept.headers["x-atlas-keep"] == "1"
    assert kept.headers["x-atlas-title"] == "Sch%C3%B6n"
    assert "x-atlas-keep" in client.get("/").headers
    for path in (
        f"/items/{dead}",
        "/items/999",
        "/?read=no",
        "/settings",
        "/search?q=words",
        "/offline",
        "/login",
    ):
        assert "x-atlas-keep" not in client.get(path).headers, path
    assert submit(client, "/logout").headers["clear-site-data"] == '"storage"'


def test_sound_may_play_only_where_there_is_some(client: TestClient) -> None:
    silent = put_article(client, "https://example.org/1")
    loud = put_article(client, "https://example.org/2", media={"audio": "https://cdn.example.org/a.mp3"})
    odd = put_article(client, "https://example.org/3", media={"audio": "javascript:alert(1)"})
    rules = {
        item: client.get(f"/items/{item}").headers["content-security-policy"] for item in (silent, loud, odd)
    }
    assert "media-src https:;" in rules[loud]
    assert "media-src" not in rules[silent] + rules[odd]
    assert lxml.html.fromstring(client.get(f"/items/{loud}").text).xpath("//audio/@src")
    assert not lxml.html.fromstring(client.get(f"/items/{odd}").text).xpath("//audio")


def test_nothing_of_it_was_done_by_looking(client: TestClient) -> None:
    put_article(client)
    put_failed(client)
    before = visitor.count_rows(client, transitions)
    for method, path in visitor.routes_of(client, {"GET"}):
        client.request(method, path)
    assert visitor.count_rows(client, transitions) == before
