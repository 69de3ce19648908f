"""When a site does not give an article: cookies, an archived copy, the same article elsewhere."""

import datetime as dt
import json
import threading
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa
from conftest import Clock
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine
from webserver import Page, WebServer

from atlas import items, site_cookies
from atlas.database.engine import read
from atlas.database.tables import hosts
from atlas.database.tables import items as table
from atlas.fallbacks import elsewhere, wayback
from atlas.fallbacks.elsewhere import Wanted
from atlas.net.client import Fetcher, Response
from atlas.net.errors import FetchError
from atlas.patience import Patience
from atlas.pipeline import process
from atlas.resilience import breakers, pace, quotas
from atlas.settings import Settings
from atlas.stages.context import Context
from atlas.stages.pool import ReaderPool
from atlas.telemetry.tally import Tally
from atlas.worker import Limits, Worker

TITLE = "A quiet morning on the northern shore"
WORDS = " ".join(f"word{number}" for number in range(120))


def article(title: str = TITLE) -> str:
    return (
        f"<!doctype html><html lang=en><head><title>{title} - The Daily</title></head><body><article>"
        f"<h1>{title}</h1><p>{WORDS}.</p><p>It was a morning like no other. <a href='/more'>More</a></p>"
        "</article></body></html>"
    )


def as_json(answer: object) -> Page:
    return Page(json.dumps(answer), content_type="application/json")


@pytest.fixture(scope="module")
def reader() -> Any:
    with ReaderPool(1, 20, 1024) as pool:
        yield pool


@pytest.fixture
def web() -> Any:
    with WebServer() as server:
        yield server


@pytest.fixture
def own(settings: Settings, web: WebServer) -> Settings:
    allowed = Settings(_env_file=None, allowed_networks="127.0.0.0/8").allowed_networks
    return settings.model_copy(
        update={
            "allowed_networks": allowed,
            "host_delay_seconds": 0,
            "max_attempts": 2,
            "retry_base_seconds": 0.001,
            "wayback_enabled": True,
            "wayback_url": web.url("/available"),
        }
    )


def work(own: Settings, engine: Engine, reader: Any, url: str, **fields: Any) -> Any:
    """Take one item through; return its row, and its history as (stage, reason)."""
    clock = dt.datetime.now(dt.UTC)
    with engine.begin() as conn:
        item_id = items.add(conn, url, now=clock, correlation_id="t", **fields).id
    Worker(own, engine, Fetcher(own), reader, limits=Limits(once=True)).run()
    with read(engine) as conn:
        row = conn.execute(sa.select(table).where(table.c.id == item_id)).one()
        told = [(step["stage"], step["reason"]) for step in items.history(conn, item_id)]
    return row, told


def copy_of(web: WebServer, url: str) -> None:
    """Let the archive have a copy."""
    where = web.url(f"/web/20240517101112/{url}")
    snapshot = {"available": True, "url": where, "timestamp": "20240517101112", "status": "200"}
    web.pages["/available"] = lambda _: as_json({"archived_snapshots": {"closest": snapshot}})
    web.pages[f"/web/20240517101112id_/{url}"] = Page(article())


def available(web: WebServer) -> list[str]:
    return [path for path in web.paths if path.startswith("/available")]


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/status/404", "/status/403", "/status/500"])
def test_what_is_gone_or_closed_is_taken_from_the_archive_and_says_so(own, engine, web, reader, path) -> None:
    url = web.url(path)
    copy_of(web, url)
    row, told = work(own, engine, reader, url)
    assert (row.stage, row.error) == (590, None)
    assert row.final_url == web.url(f"/web/20240517101112id_/{url}")
    stages = [stage for stage, _ in told]
    assert stages[stages.index(130) :][:3] == [130, 160, 190]
    assert (160, "The Wayback Machine's copy of 2024-05-17") in told
    with read(engine) as conn:
        html = items.get(conn, row.id)["html"]
    assert web.url("/more") in html, "links start from the page's own address"
    assert len(available(web)) == 1, "asked at the last try only"


@pytest.mark.slow
def test_a_wall_is_taken_from_the_archive(own, engine, web, reader) -> None:
    url = web.url("/wall")
    web.pages["/wall"] = Page(
        "<html><title>Log in</title><form><input type=password></form>Please log in</html>"
    )
    copy_of(web, url)
    row, told = work(own, engine, reader, url)
    assert (row.stage, row.error) == (590, None), told
    assert [stage for stage, _ in told][:6] == [110, 120, 190, 130, 160, 190]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (as_json({"archived_snapshots": {}}), "The Wayback Machine has no copy of it"),
        (Page("<html>oops"), "The Wayback Machine did not help"),
        (as_json([1]), "The Wayback Machine did not help"),
        (
            as_json({"archived_snapshots": {"closest": {"available": True, "url": "ftp://x/"}}}),
            "did not help",
        ),
        (Page("", status=500), "The Wayback Machine did not help"),
    ],
)
def test_an_archive_that_does_not_help_changes_nothing_but_the_history(
    own, engine, web, reader, answer, said
) -> None:
    web.pages["/available"] = lambda _: answer
    row, told = work(own, engine, reader, web.url("/status/404"))
    assert (row.stage, row.error["code"], row.lease) == (777, "http_404", None)
    assert [stage for stage, _ in told] == [110, 130, 140, 777]
    assert said in told[2][1]


@pytest.mark.slow
def test_an_archive_that_is_down_is_left_alone(own, engine, web, reader) -> None:
    web.pages["/available"] = lambda _: Page("", status=500)
    for number in range(breakers.threshold("provider:wayback").failures + 2):
        row, told = work(own, engine, reader, web.url(f"/status/404?{number}"))
        assert row.stage == 777
    assert told[2] == (140, "The Wayback Machine was not asked: it is left alone for now")
    assert len(available(web)) == breakers.threshold("provider:wayback").failures


@pytest.mark.slow
def test_an_archive_may_be_done_without(own, engine, web, reader) -> None:
    off = own.model_copy(update={"wayback_enabled": False})
    _, told = work(off, engine, reader, web.url("/status/404"))
    assert [stage for stage, _ in told] == [110, 777]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("provider", "shape", "headers"),
    [
        ("searxng", lambda found: {"results": found}, {}),
        ("brave", lambda found: {"web": {"results": found}}, {"x-subscription-token": "secret-key"}),
        (
            "google",
            lambda found: {"items": [{"title": one["title"], "link": one["url"]} for one in found]},
            {"x-goog-api-key": "secret-key"},
        ),
    ],
)
def test_the_same_article_elsewhere_is_found_by_its_title(
    own, engine, web, reader, provider, shape, headers
) -> None:
    found = [
        {"title": "A quiet evening on the northern shore", "url": web.url("/evening")},
        {"title": f"{TITLE} | Mirror", "url": web.url("/trap")},
        {"title": f"{TITLE} | Mirror", "url": web.url("/mirror")},
    ]
    web.pages |= {
        "/search": lambda _: as_json(shape(found)),
        "/available": as_json({"archived_snapshots": {}}),
        "/evening": Page(article("A quiet evening on the northern shore")),
        "/trap": Page(article("Ten ways to lose weight this summer")),
        "/mirror": Page(article()),
    }
    key = Settings(_env_file=None, search_provider="brave", search_key="secret-key").search_key
    searching = own.model_copy(
        update={"search_provider": provider, "search_url": web.url("/search"), "search_key": key}
    )
    row, told = work(searching, engine, reader, web.url("/status/404"), title=TITLE)
    assert (row.stage, row.final_url) == (590, web.url("/mirror"))
    assert "/evening" not in web.paths, "another article is not even fetched"
    assert any(
        stage == 150 and "An article of the same title at 127.0.0.1" in reason for stage, reason in told
    )
    (asked,) = [request for request in web.requests if request.path.startswith("/search")]
    assert parse_qs(urlsplit(asked.path).query)["q"] == [f'"{TITLE}"']
    sent = {name.lower(): value for name, value in asked.headers.items()}
    assert {name: sent[name] for name in headers} == headers
    assert "secret-key" not in json.dumps(told)


@pytest.mark.slow
def test_the_days_questions_are_counted(own, engine, web, reader) -> None:
    web.pages |= {
        "/search": lambda _: as_json({"results": []}),
        "/available": as_json({"archived_snapshots": {}}),
    }
    searching = own.model_copy(
        update={"search_provider": "searxng", "search_url": web.url("/search"), "search_daily_quota": 2}
    )
    for number in range(4):
        _, told = work(searching, engine, reader, web.url(f"/status/404?{number}"), title=TITLE)
    assert sum(path.startswith("/search") for path in web.paths) == 2
    assert told[-2] == (140, "SearXNG was not asked: the day's 2 questions are used up")


def test_quotas_are_of_a_day(engine: Engine, clock: Clock) -> None:
    for expected in (True, True, False):
        with engine.begin() as conn:
            assert quotas.take(conn, "x", most=2, now=clock.now) is expected
    clock.advance(86_400)
    with engine.begin() as conn:
        assert quotas.take(conn, "x", most=2, now=clock.now)
        assert not quotas.take(conn, "y", most=0, now=clock.now)
        assert quotas.used(conn, "x", now=clock.now) == 1


SAME = [
    ("A quiet morning on the shore", "A Quiet Morning on the Shore"),
    ("A quiet morning on the shore", "A quiet morning on the shore | The Daily"),
    ("A quiet morning on the shore - The Daily", "A quiet morning on the shore — Mirror of Things"),
    ("What\u2019s new in Python 3.14", "What's New In Python 3.14 :: Docs"),
    ("The state of the art of reading", "State of art of reading"),
]
OTHER = [
    ("Release notes of version 3.13", "Release notes of version 3.14"),
    ("The war in the north, part 1", "The war in the north, part 2"),
    ("Why coffee is good for your heart", "Why coffee is bad for your heart"),
    ("A quiet morning on the shore", "A quiet morning on the shore and what came of it"),
    ("Home - The Daily", "Home - The Daily"),
    ("News of the day", "News of the week"),
    ("A quiet morning on the shore", ""),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_titles_that_are_the_same(one: str, other: str) -> None:
    assert elsewhere.same(Wanted(one, from_address=False), other)


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_titles_that_are_not(one: str, other: str) -> None:
    assert not elsewhere.same(Wanted(one, from_address=False), other)


@given(
    st.lists(
        st.sampled_from(["north", "south", "war", "tea", "part", "1", "2", "not"]), min_size=4, max_size=9
    ),
    st.data(),
)
def test_a_word_more_less_or_other_is_another_article(words: list[str], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(words) - 1))
    changed = [*words[:place], "changed", *words[place + 1 :]]
    wanted = Wanted(" ".join(words), from_address=False)
    assert elsewhere.same(wanted, " ".join(words).upper())
    for other in (changed, [*words, "more"], words[:place] + words[place + 1 :]):
        assert not elsewhere.same(wanted, " ".join(other))


def test_what_an_address_says() -> None:
    slug = "https://a.example/2024/05/a-quiet-morning-on-the-northern-shore-1234567.html"
    found = elsewhere.wanted(None, slug)
    assert found is not None
    assert found.words == "a quiet morning on the northern shore"
    assert elsewhere.same(found, "A Quiet Morning on the Northern Shore | The Daily")
    assert not elsewhere.same(found, "A Quiet Evening on the Northern Shore | The Daily")
    assert elsewhere.wanted(None, "https://a.example/index.html") is None
    assert elsewhere.wanted("Home", "https://a.example/p?id=12") is None


def test_addresses_of_copies() -> None:
    address = "https://web.archive.org/web/20240517101112id_/https://a.example/x?y=1"
    assert wayback.copied(address) == ("2024-05-17", "https://a.example/x?y=1")
    assert wayback.copied("https://a.example/web/2024/x") is None


@pytest.mark.slow
def test_cookies_open_a_site_and_go_nowhere_else(own, engine, web, reader) -> None:
    with WebServer(host="127.0.0.2") as other:
        other.pages = {"/": Page(article())}
        web.pages = {
            "/mine": lambda request: Page(article() if cookie(request) else "<p>Subscribe!"),
            "/away": Page("", status=302, headers={"Location": other.url("/")}),
        }
        with engine.begin() as conn:
            site_cookies.keep(conn, "127.0.0.1", "session=top-secret; a=b", now=dt.datetime.now(dt.UTC))
        row, told = work(own, engine, reader, web.url("/mine"))
        assert row.stage == 590
        work(own, engine, reader, web.url("/away"))
        assert cookie(web.requests[-1]) == "session=top-secret; a=b"
        assert other.requests
        assert not any(map(cookie, other.requests))
        assert "top-secret" not in json.dumps(told)


def test_which_cookies_go_where(engine: Engine, clock: Clock) -> None:
    with engine.begin() as conn:
        site_cookies.keep(conn, "Example.org", "Cookie: a=1;b=2", now=clock.now)
        site_cookies.keep(conn, "https://sub.example.org/x", "c=3", now=clock.now)
        assert [row["host"] for row in site_cookies.hosts(conn)] == ["example.org", "sub.example.org"]
        assert all(set(row) == {"host", "updated_at"} for row in site_cookies.hosts(conn))
        sent = {
            url: site_cookies.header_for(conn, url)
            for url in (
                "https://example.org/", "https://www.example.org/x", "https://a.sub.example.org/",
                "https://badexample.org/", "https://example.org.evil.example/", "http://example.org/",
            )
        }  # fmt: skip
        assert list(sent.values()) == ["a=1; b=2", "a=1; b=2", "c=3", None, None, None]
        assert site_cookies.remove(conn, "example.org")
        assert not site_cookies.remove(conn, "example.org")
        for host, cookies in (
            ("org", "a=1"),
            ("example.org", "hello"),
            ("example.org", ""),
            ("example.org", "a=1\r\nX: y"),
        ):
            with pytest.raises(site_cookies.BadCookies):
                site_cookies.keep(conn, host, cookies, now=clock.now)


def cookie(request: Any) -> str | None:
    return {name.lower(): value for name, value in request.headers.items()}.get("cookie")


class Down:
    """A site that does not answer; `asked` says how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.error = FetchError("timeout", "It does not answer.", retry=True)

    def get(self, _url: str, **_: Any) -> Response:
        self.asked += 1
        raise self.error


def take(ctx: Context, clock: Clock) -> str:
    """Let a worker take one item as far as it goes; return what became of it."""
    leased = items.lease(ctx.engine, worker="w", now=clock.now, lease_seconds=30, host_delay_seconds=0)
    if leased is None:
        return "nothing due"
    return process(ctx, leased, tally=Tally(), stopping=lambda: False).code


@pytest.fixture
def down(settings: Settings, engine: Engine, clock: Clock) -> Context:
    own = settings.model_copy(update={"host_delay_seconds": 0, "max_attempts": 50})
    patience = Patience(threading.Event())
    context = Context(own, engine, Down(), None, clock, patience)  # type: ignore[arg-type]
    with engine.begin() as conn:
        items.add_many(conn, [items.New(f"https://down.example/{n}", "t") for n in range(30)], now=clock.now)
    return context


def let_rest(ctx: Context, clock: Clock) -> None:
    """Make the pace and the items' own waits no matter."""
    with ctx.engine.begin() as conn:
        conn.execute(hosts.update().values(next_at=clock.now, delay_seconds=None))
        conn.execute(table.update().where(table.c.due_at.is_not(None)).values(due_at=clock.now))


def test_a_host_that_fails_again_and_again_is_left_alone(down: Context, clock: Clock) -> None:
    limits = breakers.threshold("host:down.example")
    for _ in range(limits.failures):
        assert take(down, clock) == "timeout"
        let_rest(down, clock) if down.fetcher.asked < limits.failures else None
    assert take(down, clock) == "nothing due", "its items wait as long as it rests, without being looked at"
    let_rest(down, clock)
    assert take(down, clock) == "host_rests"
    assert down.fetcher.asked == limits.failures
    with read(down.engine) as conn:
        rows = conn.execute(sa.select(table)).all()
    assert sum(row.attempts for row in rows) == limits.failures, "an open breaker costs no attempt"
    clock.advance(limits.rest_seconds + 1)
    assert take(down, clock) == "timeout", "one probe"
    let_rest(down, clock)
    assert take(down, clock) == "host_rests"


def test_a_host_that_is_gone_for_a_day_ends_as_dead_letters(down: Context, clock: Clock) -> None:
    while take(down, clock) != "host_rests":
        let_rest(down, clock)
    clock.advance(86_400)
    let_rest(down, clock)
    codes = set()
    for _ in range(12):
        codes.add(take(down, clock))
        let_rest(down, clock)
    assert "host_down" in codes
    with read(down.engine) as conn:
        dead = conn.execute(sa.select(table.c.error).where(table.c.stage == 777)).scalars().all()
    assert {error["code"] for error in dead} == {"host_down"}
    assert "has not answered since 2026-11-22" in dead[0]["message"]


@pytest.mark.parametrize("code", ["http_404", "rate_limited"])
def test_what_a_host_answers_is_no_outage(down: Context, clock: Clock, code: str) -> None:
    down.fetcher.error = FetchError(code, "It is not there.", retry=code == "rate_limited", retry_after=0.0)
    for _ in range(12):
        take(down, clock)
        let_rest(down, clock)
    with read(down.engine) as conn:
        assert breakers.not_closed(conn) == []
    assert down.fetcher.asked == 12


def test_the_pace_slows_down_on_trouble_and_recovers_carefully() -> None:
    slower = pace.next_delay(1, 1, "failed", None)
    assert slower == 2
    assert pace.next_delay(1, 1, "refused", None) > slower, "a refusal weighs more"
    assert pace.next_delay(0, 0, "failed", None) > 0
    assert pace.next_delay(1, 1, "answered", 9.0) == 9, "a host that takes long gets as long"
    delay, steps = 32.0, 0
    while delay > 1:
        after = pace.next_delay(delay, 1, "answered", 0.1)
        assert delay * 0.89 < after < delay
        delay, steps = after, steps + 1
    assert steps > 20
    for outcome in ("failed", "refused"):
        assert pace.next_delay(59, 1, outcome, 1.0) == pace.SLOWEST
    assert pace.next_delay(1, 600, "failed", 1.0) == 600, "never faster than it was told"


def test_what_was_learnt_of_a_host_is_kept_to(engine: Engine, clock: Clock) -> None:
    with engine.begin() as conn:
        pace.note(conn, "a.example", "refused", 0.1, usual=1, now=clock.now)
        for number in range(2):
            items.add(conn, f"https://a.example/{number}", now=clock.now, correlation_id="t")
    lease = partial(items.lease, engine, worker="w", lease_seconds=300, host_delay_seconds=1)
    assert lease(now=clock.now) is not None
    clock.advance(1.5)
    assert lease(now=clock.now) is None
    clock.advance(1.5)
    assert lease(now=clock.now) is not None
