"""Podcasts and videos by their feeds: readable at once, their transcripts found sooner or later."""

import datetime as dt
import io
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import requests
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from webserver import Page, WebServer

from atlas import items, pipeline, transcripts
from atlas.database.tables import feeds, transcript_searches
from atlas.database.tables import items as items_table
from atlas.net.client import Fetcher, Response
from atlas.patience import Patience
from atlas.resilience import breakers
from atlas.search import search
from atlas.settings import Settings
from atlas.sources import transcript_search, youtube
from atlas.sources.feeds import poll
from atlas.sources.reading import read_feed
from atlas.sources.subscriptions import subscribe
from atlas.sources.videos import feed_of, video_id
from atlas.stages import pool_child
from atlas.stages import video as video_stage
from atlas.stages.context import Context
from atlas.stages.table import Stage
from atlas.telemetry.tally import Tally

HOUR = 3600
JOBS = {**pool_child.JOBS, "feed": read_feed}


class Reader:
    """Does in this process what a child does elsewhere."""

    def ask(self, job: str, raw: bytes, **request: Any) -> dict[str, Any]:
        return JOBS[job](raw, **request)  # type: ignore[operator]


@pytest.fixture
def web() -> Iterator[WebServer]:
    with WebServer() as server:
        yield server


@pytest.fixture
def ctx(settings: Settings, engine: Engine, clock) -> Context:
    local = {"allowed_networks": ["127.0.0.0/8"], "fetch_timeout_seconds": 5, "host_delay_seconds": 0}
    settings = Settings.model_validate({**settings.model_dump(), **local})
    return Context(settings, engine, Fetcher(settings), Reader(), clock, Patience(threading.Event()))  # type: ignore[arg-type]


def episode(web: WebServer, name: str, more: str = "", *, link: bool = True) -> str:
    address = f"<link>{web.url(f'/{name}')}</link>" if link else ""
    return (
        f"<item><title>Episode {name}</title><guid isPermaLink='false'>{name}</guid>{address}"
        f"<description>&lt;p&gt;Notes of {name}.&lt;/p&gt;&lt;script&gt;alert(1)&lt;/script&gt;</description>"
        f"<pubDate>Sat, 21 Nov 2026 10:00:00 GMT</pubDate>"
        f"<enclosure url='{web.url(f'/{name}.mp3')}' type='audio/mpeg' length='1000'/>"
        f"<itunes:duration>1:02:03</itunes:duration>{more}</item>"
    )


def podcast(*episodes: str) -> Page:
    text = (
        "<rss version='2.0' xmlns:podcast='https://podcastindex.org/namespace/1.0' "
        "xmlns:itunes='http://www.itunes.com/dtds/podcast-1.0.dtd'><channel><title>The Show</title>"
        f"<itunes:image href='https://show.example/cover.jpg'/>{''.join(episodes)}</channel></rss>"
    )
    return Page(text, content_type="application/rss+xml")


def follow(ctx: Context, url: str) -> int:
    now = ctx.clock()
    with ctx.engine.begin() as conn:
        feed_id = subscribe(conn, url, now=now)["id"]
    polled = poll(ctx.settings, ctx.engine, ctx.fetcher, ctx.reader, feed_id, now=now)
    assert polled is not None
    assert polled.error is None
    return int(feed_id)


def only_item(engine: Engine) -> dict[str, Any]:
    with engine.connect() as conn:
        item = items.get(conn, conn.execute(sa.select(items_table.c.id)).scalar_one())
    assert item is not None
    return item


def searches(engine: Engine) -> list[sa.Row]:
    with engine.connect() as conn:
        return conn.execute(sa.select(transcript_searches)).all()


def test_an_episode_can_be_read_and_searched_right_after_the_poll(ctx: Context, web: WebServer) -> None:
    transcript = "<podcast:transcript url='/one.vtt' type='text/vtt' language='en'/>"
    web.pages["/feed"] = podcast(episode(web, "one", transcript))
    follow(ctx, web.url("/feed"))
    item = only_item(ctx.engine)
    assert (item["kind"], item["stage"], item["due_at"]) == ("podcast", Stage.COMPLETE, None)
    assert item["html"] == "<div><p>Notes of one.</p></div>"
    assert item["site"] == "The Show"
    assert item["media"] == {
        "audio": web.url("/one.mp3"),
        "type": "audio/mpeg",
        "bytes": 1000,
        "duration": 3723.0,
        "image": "https://show.example/cover.jpg",
        "transcripts": [{"url": web.url("/one.vtt"), "type": "text/vtt", "language": "en"}],
    }
    with ctx.engine.connect() as conn:
        assert [hit.id for hit in search(conn, "notes")[1]] == [item["id"]]
        assert conn.execute(sa.select(feeds.c.kind, feeds.c.image)).one() == (
            "podcast",
            "https://show.example/cover.jpg",
        )


def test_the_best_transcript_of_the_feed_is_taken(ctx: Context, web: WebServer) -> None:
    links = "".join(
        f"<podcast:transcript url='/one.{ending}' type='{kind}'/>"
        for ending, kind in (("txt", "text/plain"), ("html", "text/html"), ("vtt", "text/vtt"))
    )
    web.pages["/feed"] = podcast(episode(web, "one", links))
    web.pages["/one.vtt"] = Page("WEBVTT\n\n00:01.000 --> 00:02.000\n<v Ann>Zebras are always striped.\n")
    follow(ctx, web.url("/feed"))
    transcript_search.look(ctx)
    item = only_item(ctx.engine)
    assert item["text"] == "Notes of one.\n\nAnn: Zebras are always striped."
    assert web.paths == ["/feed", "/one.vtt"]
    assert searches(ctx.engine) == []
    with ctx.engine.connect() as conn:
        found = transcripts.get(conn, item["id"])
        assert found is not None
        assert (found["source"], found["segments"]) == (
            "feed",
            [[1.0, 2.0, "Ann", "Zebras are always striped."]],
        )
        assert search(conn, "zebras")[0] == 1


def test_a_transcript_is_found_on_the_episode_s_page(ctx: Context, web: WebServer) -> None:
    web.pages["/feed"] = podcast(episode(web, "one", "<podcast:transcript url='/gone.vtt' type='text/vtt'/>"))
    web.pages["/one"] = Page("<html><body><a href='/t.srt'>Transcript</a>")
    web.pages["/t.srt"] = Page("1\n00:00:01,000 --> 00:00:02,000\nAll of it was said.\n")
    follow(ctx, web.url("/feed"))
    transcript_search.look(ctx)
    item = only_item(ctx.engine)
    with ctx.engine.connect() as conn:
        found = transcripts.get(conn, item["id"])
    assert found is not None
    assert found["source"] == "page"
    assert web.paths == ["/feed", "/gone.vtt", "/one", "/t.srt"]


def test_a_transcript_that_appears_later_is_found(ctx: Context, web: WebServer, clock) -> None:
    web.pages["/feed"] = podcast(episode(web, "one", "<podcast:transcript url='/one.json'/>", link=False))
    follow(ctx, web.url("/feed"))
    transcript_search.look(ctx)
    (waiting,) = searches(ctx.engine)
    assert (waiting.tries, waiting.error["code"]) == (1, "missing")
    assert waiting.due_at == clock.now + dt.timedelta(hours=6)
    web.pages["/one.json"] = Page('{"segments": [{"body": "It was said at last."}]}')
    clock.advance(6 * HOUR)
    transcript_search.look(ctx)
    assert only_item(ctx.engine)["text"].endswith("It was said at last.")


def test_a_transcript_that_breaks_its_reading_holds_up_no_other(ctx: Context, web: WebServer, clock) -> None:
    class Breaks(Reader):
        def ask(self, job: str, raw: bytes, **request: Any) -> dict[str, Any]:
            if job == "transcript":
                raise RuntimeError("never met before")
            return super().ask(job, raw, **request)

    names = ("one", "two")
    made = [episode(web, name, f"<podcast:transcript url='/{name}.json'/>", link=False) for name in names]
    web.pages |= {"/feed": podcast(*made)} | {f"/{name}.json": Page("{}") for name in names}
    follow(ctx, web.url("/feed"))
    transcript_search.look(replace(ctx, reader=Breaks()))  # type: ignore[arg-type]
    assert [(row.tries, row.error["code"]) for row in searches(ctx.engine)] == [(1, "failed")] * 2
    assert all(row.due_at == clock.now + dt.timedelta(hours=6) for row in searches(ctx.engine))


def test_a_search_ends_after_a_week(ctx: Context, web: WebServer, clock) -> None:
    web.pages["/feed"] = podcast(episode(web, "one"))
    follow(ctx, web.url("/feed"))
    begun = clock.now
    while searches(ctx.engine):
        with ctx.engine.connect() as conn:
            clock.now = conn.execute(sa.select(transcript_searches.c.due_at)).scalar_one()
        transcript_search.look(ctx)
    assert web.paths == ["/feed"] + ["/one"] * 5
    assert dt.timedelta(days=7) < clock.now - begun < dt.timedelta(days=8)
    assert only_item(ctx.engine)["stage"] == Stage.COMPLETE


def test_an_old_episode_is_looked_for_once(ctx: Context, web: WebServer) -> None:
    old = episode(web, "one").replace("21 Nov 2026", "21 Nov 2020")
    web.pages["/feed"] = podcast(old)
    follow(ctx, web.url("/feed"))
    transcript_search.look(ctx)
    assert searches(ctx.engine) == []


def test_episodes_with_the_same_notes_are_told_apart(ctx: Context, web: WebServer) -> None:
    notes = "Find us, rate us and write to us wherever you listen. " * 10
    same = [episode(web, name).replace(f"Notes of {name}.", notes) for name in ("one", "two")]
    web.pages["/feed"] = podcast(*same)
    follow(ctx, web.url("/feed"))
    with ctx.engine.connect() as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(items_table)).scalar() == 2


def test_episodes_that_share_the_show_s_address_are_told_apart(ctx: Context, web: WebServer) -> None:
    both = [episode(web, name).replace(web.url(f"/{name}</"), web.url("/show</")) for name in ("one", "two")]
    web.pages["/feed"] = podcast(*both)
    follow(ctx, web.url("/feed"))
    with ctx.engine.connect() as conn:
        urls = set(conn.execute(sa.select(items_table.c.url)).scalars())
    assert urls == {web.url("/one.mp3"), web.url("/two.mp3")}


# Videos

VIDEO = "dQw4w9WgXcQ"
CHANNEL = (
    "<feed xmlns='http://www.w3.org/2005/Atom' xmlns:yt='http://www.youtube.com/xml/schemas/2015' "
    f"xmlns:media='http://search.yahoo.com/mrss/'><title>A channel</title><entry><id>yt:video:{VIDEO}</id>"
    f"<yt:videoId>{VIDEO}</yt:videoId><title>A video</title>"
    f"<link rel='alternate' href='https://www.youtube.com/watch?v={VIDEO}'/><author><name>Ann</name></author>"
    "<published>2026-11-20T10:00:00+00:00</published><media:group>"
    f"<media:content url='https://www.youtube.com/v/{VIDEO}?version=3' type='application/x-shockwave-flash'/>"
    f"<media:thumbnail url='https://i.ytimg.com/vi/{VIDEO}/hq.jpg'/>"
    "<media:description>What it is about.\n\nAt length &lt;b&gt;.</media:description></media:group>"
    "</entry></feed>"
)


@pytest.mark.parametrize(
    ("url", "found"),
    [
        (f"https://www.youtube.com/watch?v={VIDEO}&t=3", VIDEO),
        (f"https://youtu.be/{VIDEO}?si=x", VIDEO),
        (f"https://m.youtube.com/shorts/{VIDEO}", VIDEO),
        (f"https://www.youtube.com/live/{VIDEO}", VIDEO),
        ("https://www.youtube.com/watch?v=short", None),
        ("https://www.youtube.com/@name", None),
        (f"https://youtube.com.evil.example/watch?v={VIDEO}", None),
        ("https://[broken", None),
    ],
)
def test_addresses_of_videos(url: str, found: str | None) -> None:
    assert video_id(url) == found


def test_channels_and_playlists_have_feeds() -> None:
    channel, playlist = "UC" + "x" * 22, "PL" + "y" * 30
    base = "https://www.youtube.com/feeds/videos.xml"
    assert feed_of(f"https://www.youtube.com/channel/{channel}/videos") == f"{base}?channel_id={channel}"
    assert feed_of(f"https://youtube.com/playlist?list={playlist}") == f"{base}?playlist_id={playlist}"
    assert feed_of("https://www.youtube.com/@name") is None  # its page names the feed
    assert feed_of("https://elsewhere.example/channel/" + channel) is None


def test_a_channel_s_videos_are_complete_without_being_fetched(ctx: Context, web: WebServer) -> None:
    web.pages["/feed"] = Page(CHANNEL, content_type="text/xml")
    follow(ctx, web.url("/feed"))
    item = only_item(ctx.engine)
    assert (item["kind"], item["stage"], item["byline"]) == ("video", Stage.COMPLETE, "Ann")
    assert item["html"] == "<div><p>What it is about.</p><p>At length &lt;b&gt;.</p></div>"
    assert item["media"] == {"video_id": VIDEO, "image": f"https://i.ytimg.com/vi/{VIDEO}/hq.jpg"}


def answer(url: str, body: str, status: int = 200) -> requests.Response:
    response = requests.Response()
    response.status_code, response.url = status, url
    response.raw = io.BytesIO(body.encode())
    response.encoding = "utf-8"
    return response


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What YouTube answers, by the beginning of the path; the library itself is the real one."""
    pages: dict[str, str] = {}

    def send(_self: object, request: requests.PreparedRequest, **_options: object) -> requests.Response:
        path = (request.url or "").removeprefix("https://www.youtube.com")
        body = next(body for start, body in pages.items() if path.startswith(start))
        return answer(request.url or "", body)

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", send)
    track = {"baseUrl": "https://www.youtube.com/api/timedtext?v=1", "name": {"runs": [{"text": "English"}]}}
    track |= {"languageCode": "en", "kind": "asr", "isTranslatable": False}
    captions = {"playerCaptionsTracklistRenderer": {"captionTracks": [track], "translationLanguages": []}}
    pages["/watch"] = '"INNERTUBE_API_KEY": "key"'
    pages["/youtubei"] = json.dumps({"playabilityStatus": {"status": "OK"}, "captions": captions})
    pages["/api/timedtext"] = (
        '<transcript><text start="0.5" dur="2">Never gonna</text>'
        '<text start="2.6" dur="2">give you up.</text></transcript>'
    )
    return pages


def test_a_video_s_transcript_comes_from_youtube(ctx: Context, web: WebServer, site: dict[str, str]) -> None:
    web.pages["/feed"] = Page(CHANNEL, content_type="text/xml")
    follow(ctx, web.url("/feed"))
    transcript_search.look(ctx)
    item = only_item(ctx.engine)
    with ctx.engine.connect() as conn:
        found = transcripts.get(conn, item["id"])
    assert found is not None
    assert (found["source"], found["language"]) == ("youtube", "en")
    assert found["segments"] == [[0.5, 4.6, None, "Never gonna give you up."]]


def test_being_blocked_is_the_provider_s_state_and_not_the_video_s_failure(
    ctx: Context, web: WebServer, site: dict[str, str], clock
) -> None:
    works = site["/watch"]
    site["/watch"] = '<div class="g-recaptcha">'
    web.pages["/feed"] = Page(CHANNEL, content_type="text/xml")
    follow(ctx, web.url("/feed"))
    transcript_search.look(ctx)
    (waiting,) = searches(ctx.engine)
    with ctx.engine.connect() as conn:
        (breaker,) = breakers.not_closed(conn)
    assert (breaker["name"], breaker["state"]) == ("provider:youtube", "open")
    assert (waiting.tries, waiting.due_at) == (0, breaker["retry_at"])
    assert only_item(ctx.engine)["stage"] == Stage.COMPLETE
    site["/watch"] = works
    clock.now = waiting.due_at
    transcript_search.look(ctx)
    assert searches(ctx.engine) == []
    with ctx.engine.connect() as conn:
        assert breakers.not_closed(conn) == []


@pytest.mark.parametrize(
    ("player", "remains"),
    [
        ({"playabilityStatus": {"status": "OK"}}, True),
        ({"playabilityStatus": {"status": "ERROR", "reason": "This video is unavailable"}}, False),
    ],
)
def test_a_video_without_subtitles(
    ctx: Context, web: WebServer, site: dict[str, str], player: object, remains: bool
) -> None:
    site["/youtubei"] = json.dumps(player)
    web.pages["/feed"] = Page(CHANNEL, content_type="text/xml")
    follow(ctx, web.url("/feed"))
    transcript_search.look(ctx)
    assert bool(searches(ctx.engine)) is remains
    with ctx.engine.connect() as conn:
        assert breakers.not_closed(conn) == []


@pytest.mark.parametrize(
    "url", ["https://elsewhere.example/", "http://www.youtube.com/", "https://www.youtube.com.x/"]
)
def test_the_client_for_youtube_asks_youtube_alone(url: str) -> None:
    with pytest.raises((requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema)):
        youtube.session().get(url)


@pytest.mark.parametrize("named", [None, "My name for it"])
def test_a_video_saved_by_hand_becomes_one(ctx: Context, clock, named: str | None) -> None:
    class Oembed:
        def get(self, url: str, **_: object) -> Response:
            assert url.startswith(
                f"{video_stage.OEMBED}?url=https%3A%2F%2Fwww.youtube.com%2Fwatch%3Fv%3D{VIDEO}"
            )
            body = {"title": "A  video", "author_name": "Ann", "thumbnail_url": "https://i.ytimg.com/t.jpg"}
            return Response(url, 200, {}, "application/json", json.dumps(body).encode())

    ctx = Context(ctx.settings, ctx.engine, Oembed(), ctx.reader, clock, ctx.patience)
    given = {"titled_at": clock.now} if named else {}
    with ctx.engine.begin() as conn:
        items.add(
            conn, f"https://youtu.be/{VIDEO}", now=clock.now, correlation_id="x", title=named, fields=given
        )
    leased = items.lease(ctx.engine, worker="w", now=clock.now, lease_seconds=30, host_delay_seconds=0)
    assert leased is not None
    outcome = pipeline.process(ctx, leased, tally=Tally(), stopping=lambda: False)
    assert outcome.name == "complete"
    item = only_item(ctx.engine)
    assert (item["kind"], item["title"], item["byline"]) == ("video", named or "A video", "Ann")
    assert item["media"] == {"video_id": VIDEO, "image": "https://i.ytimg.com/t.jpg"}
    assert len(searches(ctx.engine)) == 1
