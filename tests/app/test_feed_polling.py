"""Following feeds: asked when due, politely and by one poller; every new entry becomes one item."""

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from structlog.testing import capture_logs
from webserver import ARTICLE, Page, WebServer

from atlas import items
from atlas.database.tables import feed_entries, feeds, hosts
from atlas.database.tables import items as items_table
from atlas.items import InvalidUrl
from atlas.net.client import Fetcher, Response
from atlas.scheduler import Round, poll_due
from atlas.settings import Settings
from atlas.sources.feeds import LEASE_SECONDS, Polled, due, poll
from atlas.sources.reading import MAX_NEW_ENTRIES, read_feed
from atlas.sources.subscriptions import list_feeds, subscribe
from atlas.stages.table import Stage

FEEDS = Path(__file__).parent / "data/feeds"
HOUR = 3600


@pytest.fixture
def web() -> Iterator[WebServer]:
    with WebServer() as server:
        yield server


@pytest.fixture
def settings(settings: Settings) -> Settings:
    local = {"allowed_networks": ["127.0.0.0/8"], "fetch_timeout_seconds": 5, "host_delay_seconds": 0}
    return Settings.model_validate({**settings.model_dump(), **local})


@pytest.fixture
def fetcher(settings: Settings) -> Fetcher:
    return Fetcher(settings)


class Reader:
    """Does in this process what a child does elsewhere."""

    def ask(self, job: str, raw: bytes, **request: Any) -> dict[str, Any]:
        assert job == "feed"
        return read_feed(raw, **request)


READER = Reader()


def rss(*names: object, title: str = "News") -> Page:
    entries = [
        f"<item><title>About {name}</title><guid isPermaLink='false'>{name}</guid>"
        f"<link>https://site.example/{name}</link></item>"
        for name in names
    ]
    text = f"<rss version='2.0'><channel><title>{title}</title>{''.join(entries)}</channel></rss>"
    return Page(text, content_type="application/rss+xml")


def follow(engine: Engine, url: str, clock) -> int:
    with engine.begin() as conn:
        return subscribe(conn, url, now=clock.now)["id"]


def row(engine: Engine, feed_id: int) -> sa.Row:
    with engine.connect() as conn:
        return conn.execute(sa.select(feeds).where(feeds.c.id == feed_id)).one()


def added(engine: Engine) -> list[sa.Row]:
    with engine.connect() as conn:
        return conn.execute(sa.select(items_table).order_by(items_table.c.id)).all()


@pytest.fixture
def ask(settings: Settings, engine: Engine, fetcher: Fetcher, clock) -> Callable[[int], Polled | None]:
    return lambda feed_id: poll(settings, engine, fetcher, READER, feed_id, now=clock.now)


def test_subscribing_twice_is_subscribing_once(engine: Engine, clock) -> None:
    with engine.begin() as conn:
        first = subscribe(conn, "https://site.example/feed?utm_source=x", now=clock.now, interval_seconds=900)
        clock.advance(60)
        again = subscribe(conn, "HTTP://SITE.example/feed", now=clock.now)

        assert again == first
        assert list_feeds(conn) == [first]
        assert due(conn, clock.now) == [(first["id"], "site.example")]
    assert (first["url"], first["interval_seconds"]) == ("https://site.example/feed", 900)
    assert (first["title"], first["failures"], first["error"], first["polled_at"]) == (None, 0, None, None)


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("feed://site.example/rss", "https://site.example/rss"),
        ("feed:http://site.example/rss", "http://site.example/rss"),
        (" Feed:https://site.example/rss ", "https://site.example/rss"),
    ],
)
def test_feed_addresses_of_browsers(engine: Engine, clock, typed: str, url: str) -> None:
    with engine.begin() as conn:
        assert subscribe(conn, typed, now=clock.now)["url"] == url


@pytest.mark.parametrize(
    "typed", ["", "feed", "feed:", "file:///etc/passwd", "http://me:secret@site.example/"]
)
def test_what_cannot_be_followed(engine: Engine, clock, typed: str) -> None:
    with engine.begin() as conn, pytest.raises(InvalidUrl):
        subscribe(conn, typed, now=clock.now)


def test_new_entries_become_items_once(web: WebServer, engine: Engine, ask, clock) -> None:
    web.pages["/feed"] = rss("two", "one")
    feed_id = follow(engine, web.url("/feed"), clock)

    assert ask(feed_id) == Polled(feed_id, new_items=2)

    one, two = added(engine)
    assert (one.url, two.url) == ("https://site.example/one", "https://site.example/two")
    assert (one.title, one.kind, one.stage, one.feed_id) == (
        "About one",
        "article",
        Stage.CONTENT_QUEUED,
        feed_id,
    )
    assert one.lane == items.Lane.NORMAL
    feed = row(engine, feed_id)
    assert (feed.title, feed.failures, feed.lease, feed.error) == ("News", 0, None, None)
    assert feed.polled_at == feed.succeeded_at == clock.now
    assert feed.due_at == clock.now + dt.timedelta(hours=1)

    web.pages["/feed"] = rss("three", "two", "one", title="News!")
    clock.advance(HOUR)
    assert ask(feed_id) == Polled(feed_id, new_items=1)
    assert [item.url for item in added(engine)][2:] == ["https://site.example/three"]
    assert row(engine, feed_id).title == "News!"


def test_nothing_comes_back_after_its_item_was_deleted(web: WebServer, engine: Engine, ask, clock) -> None:
    web.pages["/feed"] = rss("one")
    feed_id = follow(engine, web.url("/feed"), clock)
    ask(feed_id)
    with engine.begin() as conn:
        conn.execute(items_table.delete())

    clock.advance(HOUR)

    assert ask(feed_id) == Polled(feed_id)
    assert added(engine) == []


def test_an_entry_that_is_here_already_points_at_it(web: WebServer, engine: Engine, ask, clock) -> None:
    with engine.begin() as conn:
        mine = items.add(conn, "https://site.example/one", now=clock.now, correlation_id="mine")
    web.pages["/feed"] = rss("one")

    feed_id = follow(engine, web.url("/feed"), clock)

    assert ask(feed_id) == Polled(feed_id)
    (original,) = added(engine)
    assert (original.id, original.stage, original.feed_id) == (mine.id, Stage.CONTENT_QUEUED, None)
    with engine.connect() as conn:
        assert conn.execute(sa.select(feed_entries.c.item_id)).scalars().all() == [mine.id]


@pytest.mark.parametrize("stage", [Stage.COMPLETE, Stage.PERMANENT_ERROR, Stage.DUPLICATE])
def test_guids_that_change_with_every_answer_add_nothing(
    web: WebServer, engine: Engine, ask, clock, stage: Stage
) -> None:
    web.pages["/feed"] = lambda request: Page(
        "<rss><channel><item><title>One</title><link>https://site.example/one</link>"
        f"<guid isPermaLink='false'>{len(web.requests)}</guid></item></channel></rss>"
    )
    feed_id = follow(engine, web.url("/feed"), clock)
    assert ask(feed_id) == Polled(feed_id, new_items=1)
    with engine.begin() as conn:
        original = items.add(conn, "https://site.example/other", now=clock.now, correlation_id="x").id
        fields = {"stage": stage, "due_at": None, "duplicate_of": original}
        conn.execute(items_table.update().where(items_table.c.id != original).values(fields))
    before = added(engine)

    clock.advance(HOUR)

    assert ask(feed_id) == Polled(feed_id)
    assert added(engine) == before


def test_a_feed_that_has_not_changed_is_not_sent_again(web: WebServer, engine: Engine, ask, clock) -> None:
    validators = {"ETag": 'W/"v1"', "Last-Modified": "Sat, 21 Nov 2026 10:00:00 GMT"}

    def serve(request) -> Page:
        page = rss("one")
        if request.headers.get("if-none-match") == 'W/"v1"':
            assert request.headers["if-modified-since"] == validators["Last-Modified"]
            return Page("", 304)
        return Page(page.body, headers=validators)

    web.pages["/feed"] = serve
    feed_id = follow(engine, web.url("/feed"), clock)
    ask(feed_id)
    later = clock.advance(HOUR)

    assert ask(feed_id) == Polled(feed_id)

    feed = row(engine, feed_id)
    assert (feed.succeeded_at, feed.due_at) == (later, later + dt.timedelta(hours=1))
    assert (feed.etag, feed.title) == ('W/"v1"', "News")
    assert "application/rss+xml" in web.requests[0].headers["accept"]


@pytest.mark.parametrize("bad", ['"\xe9"', "a\tb", "x" * 100_000])
def test_a_validator_that_cannot_be_sent_is_not_kept(engine: Engine, settings, clock, bad: str) -> None:
    sent = []

    class Site:
        def get(self, url: str, *, headers: dict[str, str]) -> Response:
            sent.append(headers)
            answer = {"etag": bad, "last-modified": bad}
            return Response(url, 200, answer, "application/rss+xml", rss("one").body.encode())

    feed_id = follow(engine, "https://site.example/feed", clock)
    assert poll(settings, engine, Site(), READER, feed_id, now=clock.now) == Polled(feed_id, new_items=1)
    assert (row(engine, feed_id).etag, row(engine, feed_id).last_modified) == (None, None)

    with engine.begin() as conn:  # kept by an Atlas that knew no better
        conn.execute(feeds.update().values(etag=bad[:100] + "\xe9"))
    clock.advance(HOUR)
    assert poll(settings, engine, Site(), READER, feed_id, now=clock.now) == Polled(feed_id)
    assert "If-None-Match" not in sent[1]


@pytest.mark.parametrize(
    ("header", "hours"),
    [
        ("max-age=60", 1),
        ("public, max-age=7200", 2),
        ("max-age=31536000", 4),
        ("s-maxage=9999", 1),
        ("no-cache", 1),
        ("max-age=x", 1),
    ],
)
def test_a_cache_may_ask_us_to_wait_a_little_longer(
    web: WebServer, engine: Engine, ask, clock, header: str, hours: int
) -> None:
    web.pages["/feed"] = Page(rss().body, headers={"Cache-Control": header})
    feed_id = follow(engine, web.url("/feed"), clock)

    ask(feed_id)

    assert row(engine, feed_id).due_at == clock.now + dt.timedelta(hours=hours)


def test_a_feed_that_fails_is_asked_less_and_less_often_but_never_given_up(
    web: WebServer, engine: Engine, ask, clock
) -> None:
    web.pages["/feed"] = rss("one")
    feed_id = follow(engine, web.url("/feed"), clock)
    ask(feed_id)
    web.pages["/feed"] = Page("oops", 500)
    pauses = []
    for _ in range(8):
        clock.now = row(engine, feed_id).due_at
        assert ask(feed_id) == Polled(feed_id, error="http_500")
        pauses.append((row(engine, feed_id).due_at - clock.now).total_seconds() / HOUR)

    assert pauses == [1, 2, 4, 8, 16, 24, 24, 24]
    feed = row(engine, feed_id)
    assert feed.failures == 8
    assert feed.error["code"] == "http_500"
    assert feed.error["message"] == "The site itself has a problem at the moment (HTTP 500)."
    assert feed.error["at"] == clock.now.isoformat()
    assert (feed.title, feed.lease) == ("News", None)

    web.pages["/feed"] = rss("two", "one")
    clock.now = feed.due_at
    assert ask(feed_id) == Polled(feed_id, new_items=1)
    feed = row(engine, feed_id)
    assert (feed.failures, feed.error) == (0, None)


@pytest.mark.parametrize(("retry_after", "seconds"), [("7200", 7200), ("0", 60), ("999999", 86_400)])
def test_a_site_that_asks_us_to_wait_is_left_alone_for_so_long(
    web: WebServer, engine: Engine, ask, clock, retry_after: str, seconds: int
) -> None:
    web.pages["/feed"] = Page("", 429, {"Retry-After": retry_after})
    feed_id = follow(engine, web.url("/feed"), clock)

    assert ask(feed_id) == Polled(feed_id, error="rate_limited")

    until = clock.now + dt.timedelta(seconds=seconds)
    assert row(engine, feed_id).due_at == until
    with engine.connect() as conn:
        assert conn.execute(sa.select(hosts.c.host, hosts.c.next_at)).all() == [("127.0.0.1", until)]


@pytest.mark.parametrize(
    ("page", "code"),
    [
        (Page(""), "empty"),
        (Page(ARTICLE), "not_a_feed"),
        (Page("<rss><channel>" + "<item/>" * 3, 404), "http_404"),
        (Page(b"\x89PNG\r\n\x1a\n"), "not_a_feed"),
    ],
)
def test_what_is_no_feed_is_said_so(
    web: WebServer, engine: Engine, ask, clock, page: Page, code: str
) -> None:
    web.pages["/feed"] = page
    feed_id = follow(engine, web.url("/feed"), clock)

    assert ask(feed_id) == Polled(feed_id, error=code)
    assert row(engine, feed_id).error["code"] == code


def test_a_forbidden_address_is_not_asked(web: WebServer, engine: Engine, ask, clock) -> None:
    feed_id = follow(engine, "http://169.254.169.254/feed", clock)

    assert ask(feed_id) == Polled(feed_id, error="forbidden_address")


def test_one_poller_at_a_time(web: WebServer, settings, engine: Engine, fetcher, clock) -> None:
    feed_id = follow(engine, web.url("/feed"), clock)
    meanwhile = []

    def serve(request) -> Page:
        meanwhile.append(poll(settings, engine, fetcher, READER, feed_id, now=clock.now))
        return rss("one")

    web.pages["/feed"] = serve

    assert poll(settings, engine, fetcher, READER, feed_id, now=clock.now) == Polled(feed_id, new_items=1)
    assert meanwhile == [None]
    assert poll(settings, engine, fetcher, READER, feed_id, now=clock.now) is None
    assert poll(settings, engine, fetcher, READER, 999, now=clock.now) is None


def test_a_poller_that_lost_its_feed_writes_nothing(
    web: WebServer, settings, engine: Engine, fetcher, clock
) -> None:
    feed_id = follow(engine, web.url("/feed"), clock)
    calls = []

    def serve(request) -> Page:
        calls.append(request)
        if len(calls) == 1:  # so slow that another poller takes over, and succeeds
            clock.advance(LEASE_SECONDS)
            assert poll(settings, engine, fetcher, READER, feed_id, now=clock.now) == Polled(
                feed_id, new_items=1
            )
        return rss("one", title=f"Call {len(calls)}")

    web.pages["/feed"] = serve

    assert poll(settings, engine, fetcher, READER, feed_id, now=clock.now) is None
    assert len(added(engine)) == 1
    assert row(engine, feed_id).lease is None


def test_a_poller_that_died_is_replaced(web: WebServer, engine: Engine, ask, clock) -> None:
    web.pages["/feed"] = rss("one")
    feed_id = follow(engine, web.url("/feed"), clock)
    with engine.begin() as conn:
        held = {"lease": "dead", "due_at": clock.now + dt.timedelta(seconds=LEASE_SECONDS)}
        conn.execute(feeds.update().values(held))

    assert ask(feed_id) is None
    clock.advance(LEASE_SECONDS)
    assert ask(feed_id) == Polled(feed_id, new_items=1)


def test_one_bad_entry_spoils_nothing(web: WebServer, engine: Engine, ask, clock) -> None:
    entries = "".join(
        f"<item><title>{title}</title><link>{link}</link></item>"
        for title, link in [
            ("good", "https://site.example/1"),
            ("no link", ""),
            ("secret", "http://me:secret@site.example/"),
            ("script", "javascript:alert(1)"),
            ("nul &#0; &#xD800;", "https://site.example/2&#0;"),
            ("x" * 100_000, "https://site.example/3"),
            ("port", "https://site.example:99999/"),
            ("emoji 👩‍🚀", "https://site.example/ü/👩"),
        ]
    )
    web.pages["/feed"] = Page(f"<rss><channel>{entries}</channel></rss>")

    polled = ask(follow(engine, web.url("/feed"), clock))

    assert polled is not None
    assert polled.error is None
    urls = {item.url for item in added(engine)}
    assert {f"https://site.example/{number}" for number in (1, 2, 3)} < urls
    assert len(urls) == polled.new_items == 4


def test_a_long_feed_comes_in_parts(web: WebServer, engine: Engine, ask, clock) -> None:
    total = MAX_NEW_ENTRIES + 30
    page = rss(*range(total, 0, -1))
    web.pages["/feed"] = lambda request: (
        Page("", 304) if "if-none-match" in request.headers else Page(page.body, headers={"ETag": '"1"'})
    )
    feed_id = follow(engine, web.url("/feed"), clock)

    assert ask(feed_id) == Polled(feed_id, new_items=MAX_NEW_ENTRIES)
    feed = row(engine, feed_id)
    assert (feed.etag, feed.due_at) == (None, clock.now + dt.timedelta(seconds=60))
    assert added(engine)[-1].url == f"https://site.example/{total}"

    clock.advance(60)
    assert ask(feed_id) == Polled(feed_id, new_items=30)
    assert row(engine, feed_id).etag == '"1"'
    assert len({item.url for item in added(engine)}) == total


def test_a_full_queue_takes_no_entries_but_loses_none(
    web: WebServer, settings, engine: Engine, fetcher, clock
) -> None:
    web.pages["/feed"] = rss(3, 2, 1)
    feed_id = follow(engine, web.url("/feed"), clock)
    tight = settings.model_copy(update={"max_queue_size": 2})

    assert poll(tight, engine, fetcher, READER, feed_id, now=clock.now) == Polled(feed_id, new_items=2)
    clock.advance(60)
    assert poll(tight, engine, fetcher, READER, feed_id, now=clock.now) == Polled(feed_id)
    clock.advance(LEASE_SECONDS)
    assert poll(settings, engine, fetcher, READER, feed_id, now=clock.now) == Polled(feed_id, new_items=1)


def page_with(*links: str) -> Page:
    named = "".join(f'<link rel="alternate" type="application/rss+xml" href="{link}">' for link in links)
    return Page(f"<!doctype html><html><head>{named}</head><body>Hello</body></html>")


def test_following_a_page_follows_its_feed(web: WebServer, engine: Engine, ask, clock) -> None:
    web.pages["/blog"] = page_with("nothing", "/feed.xml?utm_source=page")
    web.pages["/nothing"] = page_with()
    web.pages["/feed.xml"] = rss("one")
    feed_id = follow(engine, web.url("/blog"), clock)

    assert ask(feed_id) == Polled(feed_id, new_items=1)

    assert row(engine, feed_id).url == web.url("/feed.xml")
    clock.advance(HOUR)
    ask(feed_id)
    assert web.paths[-1] == "/feed.xml"


def test_a_page_may_name_a_feed_that_cannot_be_followed(web: WebServer, engine: Engine, ask, clock) -> None:
    secret = web.url("/feed.xml").replace("//", "//me:secret@")
    web.pages["/feed.xml"] = rss("one")
    web.pages["/blog"] = page_with(secret)
    feed_id = follow(engine, web.url("/blog"), clock)

    assert ask(feed_id) == Polled(feed_id, error="invalid_url")
    assert "user name or password" in row(engine, feed_id).error["message"]

    web.pages["/blog"] = page_with(secret, "/feed.xml")
    clock.advance(HOUR)
    assert ask(feed_id) == Polled(feed_id, new_items=1)


def test_a_fault_of_ours_is_written_into_the_feed(
    web: WebServer, settings, engine: Engine, fetcher, clock
) -> None:
    class Broken:
        def ask(self, job: str, raw: bytes, **request: Any) -> dict[str, Any]:
            raise ZeroDivisionError

    web.pages["/feed"] = rss("one")
    feed_id = follow(engine, web.url("/feed"), clock)

    with capture_logs() as logs:
        polled = poll(settings, engine, fetcher, Broken(), feed_id, now=clock.now)

    assert polled == Polled(feed_id, error="internal_error")
    feed = row(engine, feed_id)
    assert (feed.lease, feed.failures, feed.error["code"]) == (None, 1, "internal_error")
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["feed broke its reading"]


def test_a_page_whose_feed_is_followed_already(web: WebServer, engine: Engine, ask, clock) -> None:
    web.pages["/blog"] = page_with("/feed.xml")
    web.pages["/feed.xml"] = rss("one")
    ask(follow(engine, web.url("/feed.xml"), clock))
    second = follow(engine, web.url("/blog"), clock)

    assert ask(second) == Polled(second, error="followed_already")
    assert web.url("/feed.xml") in row(engine, second).error["message"]
    assert len(added(engine)) == 1


def test_a_feed_that_turns_into_a_page_stays_followed_where_it_was(
    web: WebServer, engine: Engine, ask, clock
) -> None:
    web.pages["/feed"] = rss("one")
    feed_id = follow(engine, web.url("/feed"), clock)
    ask(feed_id)
    web.pages["/feed"] = page_with("https://elsewhere.example/feed")
    clock.advance(HOUR)

    assert ask(feed_id) == Polled(feed_id, error="not_a_feed")
    assert row(engine, feed_id).url == web.url("/feed")


def test_a_round_asks_all_that_are_due(web: WebServer, settings, engine: Engine, fetcher, clock) -> None:
    web.pages["/a"] = Page((FEEDS / "rss.xml").read_bytes())
    web.pages["/b"] = Page((FEEDS / "atom.xml").read_bytes())
    web.pages["/c"] = Page("", 500)
    with WebServer(host="127.0.0.2") as other:
        other.pages["/d"] = Page((FEEDS / "feed.json").read_bytes())
        for url in (web.url("/a"), web.url("/b"), web.url("/c"), other.url("/d")):
            follow(engine, url, clock)

        assert poll_due(settings, engine, fetcher, READER, clock=clock) == Round(
            read=3, failed=1, left=0, new_items=7
        )
        assert poll_due(settings, engine, fetcher, READER, clock=clock) == Round()


def test_a_round_ends_when_its_time_is_up(web: WebServer, settings, engine: Engine, fetcher, clock) -> None:
    web.pages["/a"] = rss("one")
    follow(engine, web.url("/a"), clock)

    assert poll_due(settings, engine, fetcher, READER, clock=clock, seconds=0) == Round(left=1)
    assert web.requests == []


def test_a_fault_of_ours_costs_one_feed_not_the_round(
    web: WebServer, settings, engine: Engine, fetcher, clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from atlas.sources import feeds as module

    web.pages["/a"] = rss("one")
    web.pages["/b"] = rss("two")
    broken = follow(engine, web.url("/a"), clock)
    follow(engine, web.url("/b"), clock)

    def fragile(*args, **kwargs) -> Polled | None:
        if args[4] == broken:
            raise ZeroDivisionError
        return poll(*args, **kwargs)

    monkeypatch.setattr(module, "poll", fragile)

    assert poll_due(settings, engine, fetcher, READER, clock=clock) == Round(read=1, failed=1, new_items=1)


def test_a_database_that_is_away_ends_the_round(
    web: WebServer, settings, engine: Engine, fetcher, clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from atlas.sources import feeds as module

    def away(*args, **kwargs) -> Polled | None:
        raise sa.exc.OperationalError("UPDATE", {}, Exception("gone"))

    follow(engine, web.url("/a"), clock)
    monkeypatch.setattr(module, "poll", away)

    with pytest.raises(sa.exc.OperationalError):
        poll_due(settings, engine, fetcher, READER, clock=clock)


def test_what_a_feed_has_shown_goes_with_it(web: WebServer, engine: Engine, ask, clock) -> None:
    web.pages["/feed"] = rss("one")
    feed_id = follow(engine, web.url("/feed"), clock)
    ask(feed_id)
    with engine.begin() as conn:
        conn.execute(feeds.delete().where(feeds.c.id == feed_id))
        assert conn.execute(sa.select(sa.func.count()).select_from(feed_entries)).scalar() == 0
        assert conn.execute(sa.select(items_table.c.feed_id)).scalars().all() == [None]
