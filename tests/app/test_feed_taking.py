"""What becomes of a feed's entries (kept whole or fetched, judged, met again, removed) and of feeds."""

import datetime as dt
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from reading_hand import Reader as Hand
from sqlalchemy.engine import Engine
from test_podcasts import Reader
from webserver import Page, WebServer

from atlas import items, library, originals, pipeline, tags
from atlas.care.reprocess import Wanted, reprocess
from atlas.database.tables import contents, feed_entries, feeds, highlights
from atlas.database.tables import items as items_table
from atlas.net.client import Fetcher, Response
from atlas.net.errors import FetchError
from atlas.patience import Patience
from atlas.search import search
from atlas.settings import Settings
from atlas.sources import bodies, describing, handed, retention, subscriptions
from atlas.sources.feeds import NOTICE_AFTER, Polled, poll
from atlas.stages.context import Context
from atlas.stages.page import PageError
from atlas.stages.table import Stage
from atlas.telemetry.tally import Tally

DAY = 86_400


def words(name: str, number: int) -> str:
    return " ".join(f"{name}{place}" for place in range(number)) + "."


WHOLE = words("whole", 200)


@pytest.fixture
def web() -> Iterator[WebServer]:
    with WebServer() as server:
        yield server


@pytest.fixture
def ctx(settings: Settings, engine: Engine, clock) -> Context:
    local = {"allowed_networks": ["127.0.0.0/8"], "fetch_timeout_seconds": 5, "host_delay_seconds": 0}
    settings = Settings.model_validate({**settings.model_dump(), **local})
    return Context(settings, engine, Fetcher(settings), Reader(), clock, Patience(threading.Event()))  # type: ignore[arg-type]


def entry(url: str | None, body: str = "", title: str = "A title", guid: str = "") -> str:
    link = f"<link>{url}</link>" if url else ""
    return (
        f"<item><title>{title}</title>{link}<guid isPermaLink='false'>{guid or url or title}</guid>"
        f"<author>Ada</author><description><![CDATA[{body}]]></description></item>"
    )


def rss(*entries: str, title: str = "News") -> Page:
    text = f"<rss version='2.0'><channel><title>{title}</title>{''.join(entries)}</channel></rss>"
    return Page(text, content_type="application/rss+xml")


def follow(ctx: Context, url: str, **options: Any) -> int:
    with ctx.engine.begin() as conn:
        feed_id: int = subscriptions.subscribe(conn, url, now=ctx.clock())["id"]
        if options:
            subscriptions.update(conn, feed_id, options, now=ctx.clock())
    return feed_id


def ask(ctx: Context, feed_id: int) -> Polled:
    with ctx.engine.begin() as conn:
        conn.execute(feeds.update().where(feeds.c.id == feed_id).values(due_at=ctx.clock()))
    polled = poll(ctx.settings, ctx.engine, ctx.fetcher, ctx.reader, feed_id, now=ctx.clock())
    assert polled is not None
    return polled


def all_items(ctx: Context) -> list[dict[str, Any]]:
    with ctx.engine.connect() as conn:
        ids = conn.execute(sa.select(items_table.c.id).order_by(items_table.c.id)).scalars().all()
        return [item for item_id in ids if (item := items.get(conn, item_id))]


def feed_row(ctx: Context, feed_id: int) -> sa.Row:
    with ctx.engine.connect() as conn:
        return conn.execute(sa.select(feeds).where(feeds.c.id == feed_id)).one()


def test_a_whole_entry_is_ready_right_after_the_poll_and_safe(ctx: Context, web: WebServer) -> None:
    body = f"<p onclick=x>{WHOLE}</p><script>alert(1)</script><a href='/rel'>more</a><img src=x onerror=a()>"
    web.pages["/feed"] = rss(entry("https://site.example/1", body))
    assert ask(ctx, follow(ctx, web.url("/feed"))).new_items == 1
    (item,) = all_items(ctx)
    assert (item["stage"], item["due_at"], item["word_count"]) == (Stage.COMPLETE, None, 201)
    assert (item["byline"], item["site"], item["source"]) == ("Ada", "News", "feed")
    assert 'href="https://site.example/rel"' in item["html"]
    for bad in ("alert", "script", "a()", "onclick", "onerror"):
        assert bad not in item["html"] + item["text"]
    with ctx.engine.connect() as conn:
        assert search(conn, "whole77")[0] == 1
        assert [step["stage"] for step in items.history(conn, item["id"])][-1] == Stage.COMPLETE


def test_what_came_with_a_feed_can_be_read_again_from_what_was_kept(ctx: Context, web: WebServer) -> None:
    body = f"<p>{WHOLE}</p><a href='/rel'>more</a>"
    sound = "<enclosure url='https://site.example/1.mp3' type='audio/mpeg'/></item>"
    whole, own = entry("https://site.example/1", body), entry(None, f"<p>{words('own', 60)}</p>", guid="own")
    episode = entry("https://site.example/e", words("notes", 60), title="Episode").replace("</item>", sound)
    fetched = entry("https://site.example/2", "<p>Only the beginning</p>")
    web.pages["/feed"] = rss(whole, own, episode, fetched)
    ask(ctx, follow(ctx, web.url("/feed")))
    describing.describe_some(ctx)
    before = {item["url"]: item for item in all_items(ctx)}
    assert before["https://site.example/2"]["original_sha256"] is None  # its page will be
    kept = {item["original_sha256"] for item in before.values()} - {None}
    assert kept == set(originals.kept(ctx.settings.data_dir))
    assert len(kept) == 1  # a flush to the disk for all of them

    def again() -> dict[str, int]:
        return reprocess(ctx.settings, ctx.engine, Hand(), Wanted(), clock=ctx.clock).counts

    assert again() == {"read": 3, "unchanged": 3}
    with ctx.engine.begin() as conn:
        conn.execute(contents.update().values(text="Badly read", html="<p>Badly read</p>"))
        conn.execute(items_table.update().values(byline=None, word_count=1))
    assert again() == {"read": 3, "changed": 3}
    names = ("text", "html", "byline", "site", "excerpt", "word_count", "title", "text_sha256", "language")
    for item in all_items(ctx):
        if item["original_sha256"]:
            assert [item[name] for name in names] == [before[item["url"]][name] for name in names]


def test_no_site_can_say_that_its_page_came_with_a_feed(ctx: Context) -> None:
    kind = bodies.type_of("0" * 64)
    assert bodies.ENTRY not in (handed.from_outside(kind) or "").partition("; handed=")[2]
    with pytest.raises(PageError):
        Hand().read(b"{}", kind, "https://site.example/1")


@pytest.mark.parametrize(
    ("full_text", "body", "stage"),
    [
        ("auto", WHOLE, Stage.COMPLETE),
        ("auto", words("short", 40), Stage.CONTENT_QUEUED),
        ("auto", f"{WHOLE[:-1]} [&hellip;]", Stage.CONTENT_QUEUED),
        ("auto", f"<p>{WHOLE}</p><p><a href='/1'>Continue reading →</a></p>", Stage.CONTENT_QUEUED),
        (
            "auto",
            f"<p>{WHOLE}</p><p>The post <a>A title</a> appeared first on <a>News</a>.</p>",
            Stage.COMPLETE,
        ),
        ("auto", "", Stage.CONTENT_QUEUED),
        ("feed", words("short", 3), Stage.COMPLETE),
        ("feed", "", Stage.CONTENT_QUEUED),
        ("page", WHOLE, Stage.CONTENT_QUEUED),
    ],
)
def test_what_is_fetched_is_its_owner_s_choice(
    ctx: Context, web: WebServer, full_text: str, body: str, stage: Stage
) -> None:
    web.pages["/feed"] = rss(entry("https://site.example/1", body))
    ask(ctx, follow(ctx, web.url("/feed"), full_text=full_text))
    (item,) = all_items(ctx)
    assert item["stage"] == stage


@pytest.mark.parametrize("status", [404, 200])
def test_a_page_that_cannot_be_had_is_replaced_by_the_feed_s_own_text(
    ctx: Context, web: WebServer, clock, status: int
) -> None:
    web.pages["/feed"] = rss(entry(web.url("/1"), "A summary of zebras."), entry(web.url("/2"), "", guid="2"))
    web.pages["/1"] = web.pages["/2"] = Page("", status)
    ask(ctx, follow(ctx, web.url("/feed")))
    reader = _Refusing()
    ctx = Context(ctx.settings, ctx.engine, ctx.fetcher, reader, clock, ctx.patience)  # type: ignore[arg-type]
    outcomes = []
    while leased := items.lease(
        ctx.engine, worker="w", now=clock.now, lease_seconds=30, host_delay_seconds=0
    ):
        outcomes.append(pipeline.process(ctx, leased, tally=Tally(), stopping=lambda: False).name)
    assert sorted(outcomes) == ["complete", "failed"]
    by_stage = {item["stage"]: item for item in all_items(ctx)}
    assert set(by_stage) == {Stage.COMPLETE, Stage.PERMANENT_ERROR}
    assert "zebras" in by_stage[Stage.COMPLETE]["html"]


class _Refusing:
    def read(self, *_: object) -> None:
        from atlas.stages.page import PageError

        raise PageError("empty_page", "There is nothing on this page.")

    def ask(self, *_: object, **__: object) -> None:
        raise AssertionError("what this reader refuses was not asked this way")


def test_an_entry_without_an_address_is_kept_as_it_is(ctx: Context, web: WebServer) -> None:
    web.pages["/feed"] = rss(entry(None, "Only these words.", guid="x"), entry(None, "", guid="nothing"))
    feed_id = follow(ctx, web.url("/feed"))
    assert [ask(ctx, feed_id).new_items for _ in range(2)] == [1, 0]
    (item,) = all_items(ctx)
    assert (item["url"].startswith("atlas:entry/"), item["stage"]) == (True, Stage.COMPLETE)


def test_titles_and_guids_that_change_add_nothing(ctx: Context, web: WebServer) -> None:
    feed_id = follow(ctx, web.url("/feed"))
    for number in range(3):
        web.pages["/feed"] = rss(
            entry("https://site.example/1", WHOLE, title=f"Version {number}", guid=str(number))
        )
        ask(ctx, feed_id)
    assert len(all_items(ctx)) == 1


def test_what_another_feed_brought_is_seen_in_this_one_too(ctx: Context, web: WebServer) -> None:
    web.pages["/a"] = rss(entry("https://site.example/1", WHOLE), title="First")
    web.pages["/b"] = rss(
        entry("https://SITE.example/1?utm_source=b", WHOLE),
        entry("https://copy.example/1", f"<div>{WHOLE}</div>", guid="copy"),
        title="Second",
    )
    ask(ctx, follow(ctx, web.url("/a")))
    second = follow(ctx, web.url("/b"))
    assert ask(ctx, second).new_items == 0
    assert ask(ctx, second).new_items == 0
    (item,) = all_items(ctx)
    with ctx.engine.connect() as conn:
        (seen,) = items.sightings_of(conn, item["id"])
        assert (seen["source"], seen["feed_title"]) == ("feed", "Second")
        assert conn.execute(sa.select(sa.func.count()).select_from(feed_entries)).scalar() == 3


def test_rules_keep_drop_and_tag_what_comes(ctx: Context, web: WebServer) -> None:
    web.pages["/feed"] = rss(
        entry("https://site.example/1", WHOLE, title="On cats"),
        entry("https://site.example/2", f"Sponsored. {WHOLE}", title="On cats too"),
        entry("https://site.example/3", WHOLE, title="On dogs"),
    )
    rules = [
        {"action": "keep", "field": "title", "pattern": "cats"},
        {"action": "drop", "field": "content", "pattern": "^sponsored"},
        {"action": "tag", "field": "any", "pattern": r"\bcats\b", "tag": "Animals"},
    ]
    ask(ctx, follow(ctx, web.url("/feed"), rules=rules))
    (item,) = all_items(ctx)
    assert item["title"] == "On cats"
    with ctx.engine.connect() as conn:
        assert tags.of(conn, [item["id"]]) == {item["id"]: ["Animals"]}


def test_a_rule_that_takes_too_long_holds_nothing_up(ctx: Context, web: WebServer) -> None:
    web.pages["/feed"] = rss(entry("https://site.example/1", WHOLE, title="a" * 60 + "!"))
    evil = [{"action": "drop", "field": "title", "pattern": "(a+)+$"}]
    assert ask(ctx, follow(ctx, web.url("/feed"), rules=evil)).new_items == 1


def test_a_title_its_owner_gave_stays(ctx: Context, web: WebServer) -> None:
    web.pages["/feed"] = rss(entry("https://site.example/1", WHOLE))
    feed_id = follow(ctx, web.url("/feed"), title="Mine")
    ask(ctx, feed_id)
    assert feed_row(ctx, feed_id).title == "Mine"
    with ctx.engine.begin() as conn:
        subscriptions.update(conn, feed_id, {"title": None}, now=ctx.clock())
    ask(ctx, feed_id)
    assert feed_row(ctx, feed_id).title == "News"


def test_what_a_feed_brought_is_described_a_little_later(ctx: Context, web: WebServer) -> None:
    sentence = (
        "The lighthouse keeper of Skagen has written about lighthouses and their lamps for thirty years. "
    )
    web.pages["/feed"] = rss(*(entry(f"https://site.example/{n}", f"{n} {sentence * 12}") for n in range(3)))
    ask(ctx, follow(ctx, web.url("/feed")))
    with ctx.engine.connect() as conn:
        assert describing.is_any_left(conn, ctx.clock())
    describing.describe_some(ctx)
    described = all_items(ctx)
    for item in described:
        assert item["language"] == "en"
        assert "lighthouse" in " ".join(item["keywords"]).casefold()
    with ctx.engine.connect() as conn:
        assert not describing.is_any_left(conn, ctx.clock())
        assert library.related(conn, described[0]["id"])


# The feeds themselves


def test_a_feed_that_moved_for_good_is_asked_where_it_is(ctx: Context, web: WebServer) -> None:
    web.pages["/old"] = Page("", 301, {"Location": web.url("/middle")})
    web.pages["/middle"] = Page("", 308, {"Location": web.url("/new")})
    web.pages["/new"] = rss(entry("https://site.example/1", WHOLE))
    web.pages["/for-now"] = Page("", 302, {"Location": web.url("/new")})
    moved, borrowed = follow(ctx, web.url("/old")), follow(ctx, web.url("/for-now"))
    ask(ctx, moved)
    ask(ctx, borrowed)
    assert feed_row(ctx, moved).url == web.url("/new")
    assert feed_row(ctx, borrowed).url == web.url("/for-now")
    again = follow(ctx, web.url("/old"))
    assert ask(ctx, again).error is None  # it moved to one that is followed already: it stays where it is
    assert feed_row(ctx, again).url == web.url("/old")


def test_a_feed_that_is_gone_is_asked_no_more(ctx: Context, web: WebServer, clock) -> None:
    web.pages["/feed"] = Page("", 410)
    feed_id = follow(ctx, web.url("/feed"))
    assert ask(ctx, feed_id).error == "http_410"
    row = feed_row(ctx, feed_id)
    assert (row.paused_at, row.notified_at) == (clock.now, clock.now)
    clock.advance(30 * DAY)
    assert poll(ctx.settings, ctx.engine, ctx.fetcher, ctx.reader, feed_id, now=clock.now) is None
    with ctx.engine.begin() as conn:
        assert [feed["id"] for feed in subscriptions.broken(conn)] == [feed_id]
        subscriptions.refresh(conn, feed_id, now=clock.now)
    web.pages["/feed"] = rss(entry("https://site.example/1", WHOLE))
    assert ask(ctx, feed_id).new_items == 1
    assert feed_row(ctx, feed_id).notified_at is None


def test_its_owner_is_told_once_that_a_feed_is_broken_until_it_recovers(
    ctx: Context, web: WebServer, clock
) -> None:
    web.pages["/feed"] = Page("", 500)
    feed_id = follow(ctx, web.url("/feed"))
    told = []
    for _ in range(NOTICE_AFTER + 2):
        clock.advance(DAY)
        ask(ctx, feed_id)
        told.append(feed_row(ctx, feed_id).notified_at)
    assert told[NOTICE_AFTER - 2] is None
    assert len(set(told[NOTICE_AFTER - 1 :])) == 1
    web.pages["/feed"] = rss()
    ask(ctx, feed_id)
    assert feed_row(ctx, feed_id).notified_at is None


def test_a_password_is_sent_to_the_feed_s_own_site(ctx: Context, clock) -> None:
    asked: list[dict[str, str]] = []

    class Site:
        def get(self, url: str, *, headers: dict[str, str]) -> Response:
            assert "pass" not in url
            asked.append(headers)
            if len(asked) == 2:
                raise FetchError("http_401", "The site asks for a login.", status=401)
            body = f"<rss><channel>{entry('https://site.example/1', WHOLE)}</channel></rss>".encode()
            moved = "https://elsewhere.example/feed" if len(asked) == 1 else None
            return Response(url, 200, {}, "text/xml", body, moved_to=moved)

    feed_id = follow(ctx, "https://me:pass@site.example/feed")
    ctx = Context(ctx.settings, ctx.engine, Site(), ctx.reader, clock, ctx.patience)  # type: ignore[arg-type]
    ask(ctx, feed_id)
    assert asked[0]["Authorization"] == "Basic bWU6cGFzcw=="
    assert feed_row(ctx, feed_id).login is None  # it moved to another site, which gets no password
    assert ask(ctx, feed_id).error == "http_401"
    assert "Authorization" not in asked[1]


def test_old_entries_go_unless_somebody_marked_them(ctx: Context, web: WebServer, clock) -> None:
    names = ("read", "unread", "starred", "tagged", "noted", "highlighted", "saved", "twin", "fresh")
    rules = [{"action": "tag", "pattern": ".", "tag": "by rule"}]
    page = rss(*(entry(f"https://site.example/{name}", words(name, 200), title=name) for name in names))
    web.pages["/feed"] = page
    feed_id = follow(ctx, web.url("/feed"), retention_days=3, rules=rules)
    ask(ctx, feed_id)
    ids = {item["title"]: item["id"] for item in all_items(ctx)}
    with ctx.engine.begin() as conn:
        for name in names:
            if name not in ("unread", "fresh"):
                items.mark_read(conn, ids[name], now=clock.now)
        marked = items_table.update()
        conn.execute(marked.where(items_table.c.id == ids["starred"]).values(starred_at=clock.now))
        conn.execute(marked.where(items_table.c.id == ids["noted"]).values(note="Mine"))
        tags.attach(conn, {ids["tagged"]: ["by hand"]})
        at = {"created_at": clock.now, "updated_at": clock.now}
        conn.execute(highlights.insert().values(item_id=ids["highlighted"], quote="x", **at))
        items.add(conn, "https://site.example/saved", now=clock.now, correlation_id="c")
        other = items.add(conn, "https://other.example/", now=clock.now, correlation_id="c").id
        aside = items_table.update().where(items_table.c.id == other)
        conn.execute(aside.values(stage=Stage.DUPLICATE, duplicate_of=ids["twin"], due_at=None))
    clock.advance(3 * DAY + 1)
    with ctx.engine.begin() as conn:
        items.mark_read(conn, ids["fresh"], now=clock.now)
    retention.remove_old(ctx)
    left = {item["title"] for item in all_items(ctx)} - {None}
    assert left == set(names) - {"read"}
    assert ask(ctx, feed_id).new_items == 0
    clock.now += dt.timedelta(days=400)
    with ctx.engine.begin() as conn:
        subscriptions.update(conn, feed_id, {"retention_days": None}, now=clock.now)
    retention.remove_old(ctx)
    assert {item["title"] for item in all_items(ctx)} - {None} == left
