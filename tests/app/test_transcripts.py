"""Transcripts in every form, kept with times and speakers and searched; by functions and by the API."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import visitor
from sqlalchemy.engine import Engine
from starlette.testclient import TestClient

from atlas import items, transcripts
from atlas.search import search
from atlas.sources.episodes import read_episode, read_transcript
from atlas.sources.transcripts import TranscriptError, form_of, parse, text_of

CORPUS = Path(__file__).resolve().parents[2] / "../shared/corpus/transcripts"
URL = "https://show.example/1"

VTT = """WEBVTT - a title

NOTE nobody says
this

STYLE
::cue { color: red }

intro
00:01.000 --> 00:04.500 align:left
<v.loud Ann Lee>Hello &amp; <i>welcome</i> to the
show.</v>

00:00:04.500 --> 00:00:06.000
<v Bob>Hi.</v> <v Ann Lee>Good to see you.
"""


def test_webvtt_keeps_times_and_speakers() -> None:
    assert parse(VTT) == [
        [1.0, 4.5, "Ann Lee", "Hello & welcome to the show."],
        [4.5, 6.0, "Bob", "Hi."],
        [4.5, 6.0, "Ann Lee", "Good to see you."],
    ]
    assert text_of(parse(VTT)) == (
        "Ann Lee: Hello & welcome to the show.\n\nBob: Hi.\n\nAnn Lee: Good to see you."
    )


@pytest.mark.parametrize(
    ("text", "form", "segments"),
    [
        (
            (
                "1\r\n00:00:00,179 --> 00:00:02,399\r\nTravis: When you first\r\nget started\r\n\r\n"
                "2\r\n00:00:02,400 --> 00:00:04,799\r\nyou make mistakes.\r\n\r\n"
                "3\r\n00:00:05,000 --> 00:00:06,000\r\nAll of us.\r\n"
            ),
            "srt",
            [
                [0.18, 4.8, "Travis", "When you first get started you make mistakes."],
                [5.0, 6.0, "Travis", "All of us."],
            ],
        ),
        (
            (
                '{"version": "1.0.0", "segments": ['
                '{"speaker": "Ann", "startTime": 1, "endTime": 2, "body": "One two"},'
                '{"speaker": "Ann", "startTime": 2, "endTime": 3.5, "body": "three four."},'
                '{"speaker": "Bob", "startTime": 9, "endTime": 10, "body": "Five."}, 7, {"body": 3}]}'
            ),
            "json",
            [[1.0, 3.5, "Ann", "One two three four."], [9.0, 10.0, "Bob", "Five."]],
        ),
        (
            '[{"start": 0.5, "end": 2, "text": " As Whisper writes it."}]',
            "json",
            [[0.5, 2.0, None, "As Whisper writes it."]],
        ),
        (
            (
                "Ann Lee: Hello and welcome.\n\nIt is a day like any other.\n\n"
                "[00:01:05] Bob: Note: this counts.\n\n"
                "Carol  1:02:03\nShe said that."
            ),
            "text",
            [
                [None, None, "Ann Lee", "Hello and welcome."],
                [None, None, "Ann Lee", "It is a day like any other."],
                [65.0, None, "Bob", "Note: this counts."],
                [3723.0, None, "Carol", "She said that."],
            ],
        ),
        ("Just one line of words", "text", [[None, None, None, "Just one line of words"]]),
    ],
)
def test_other_forms(text: str, form: str, segments: list[object]) -> None:
    assert form_of(text) == form
    assert parse(text) == segments


def test_html_as_the_podcast_namespace_has_it() -> None:
    page = (
        "<cite>Kevin:</cite><time>0:00</time><p>We have an update planned.</p>"
        "<cite>Alban:</cite><time>1:05</time><p>You say <b>so</b>.</p><script>alert(1)</script>"
    )
    assert read_transcript(page.encode(), content_type="text/vtt", url=URL)["segments"] == [
        [0.0, None, "Kevin", "We have an update planned."],
        [65.0, None, "Alban", "You say so."],
    ]


@pytest.mark.parametrize(
    "text", ["", "WEBVTT", "{}", '{"segments": 3}', "[]", "\x00\x01", "one", "<html><p>a b c d e", "00:01"]
)
def test_what_is_no_transcript_is_refused(text: str) -> None:
    with pytest.raises(TranscriptError):
        parse(text)


@pytest.mark.parametrize(
    "text", ["00:00:00.000 --> " * 50_000, "a: " * 100_000, "<v " * 100_000, "[" * 100_000, "1:" * 100_000]
)
def test_hostile_transcripts_cost_little(text: str) -> None:
    answer = read_transcript(text.encode(), content_type=None, url=URL)
    assert "segments" in answer or answer["code"] == "no_transcript"


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of transcripts is not beside the repository")
@pytest.mark.parametrize(
    ("name", "speakers", "first"),
    [
        ("example.vtt", {"Sarah", "Gillian"}, "In today's episode"),
        ("example.srt", {"Travis"}, "When you first get started"),
        ("example.json", {"Darth Vader", "Luke"}, "I am your father."),
    ],
)
def test_real_transcripts(name: str, speakers: set[str], first: str) -> None:
    raw = (CORPUS / name).read_bytes()
    segments = read_transcript(raw, content_type="application/octet-stream", url=URL)["segments"]
    assert segments[0][3].startswith(first)
    assert speakers <= {segment[2] for segment in segments}
    assert all(segment[0] <= segment[1] for segment in segments)


WORDS = " ".join(["word"] * 400)


@pytest.mark.parametrize(
    ("page", "links"),
    [
        ("<a href='/about'>About</a><a href='t/1'>Read the transcript</a>", ["https://show.example/t/1"]),
        (
            "<a href='/1.txt'>x</a><a href='/transcript/1.vtt'>here</a>",
            ["https://show.example/transcript/1.vtt"],
        ),
        ("<track kind=captions src=/c.vtt>", ["https://show.example/c.vtt"]),
        ("<a href='#transcript'>Transcript</a><a href='javascript:x'>Transcript</a>", []),
        ("<p>Nothing.</p>", []),
    ],
)
def test_links_on_an_episode_s_page(page: str, links: list[str]) -> None:
    assert read_episode(f"<html><body>{page}".encode(), content_type="text/html", url=URL) == {"links": links}


@pytest.mark.parametrize(
    "page",
    [
        f"<div class='episode-transcript'><p>Ann: Hello there.</p><p>{WORDS}</p></div>",
        f"<h2>Episode transcript</h2><p>Ann: Hello there.</p><p>{WORDS}</p><h2>Comments</h2><p>No</p>",
    ],
)
def test_a_transcript_in_an_episode_s_page(page: str) -> None:
    found = read_episode(f"<html><body><p>Notes</p>{page}".encode(), content_type="text/html", url=URL)
    assert [segment[2:] for segment in found["segments"]] == [["Ann", "Hello there."], ["Ann", WORDS]]


# Kept and searched


def episode(engine: Engine, clock, text: str = "The notes.") -> int:
    with engine.begin() as conn:
        item_id = items.add(conn, URL, now=clock.now, correlation_id="x", kind="podcast").id
        items.write_content(conn, item_id, title="An episode", text=text, html=f"<p>{text}</p>")
    return item_id


def test_a_transcript_is_searched_with_the_notes_and_can_be_replaced(engine: Engine, clock) -> None:
    item_id = episode(engine, clock)
    for words in ("zebras are discussed here", "giraffes are discussed here"):
        with engine.begin() as conn:
            segments = [[None, None, "Ann", words]]
            assert transcripts.save(conn, item_id, segments, source="feed", language="en", now=clock.now)
    with engine.begin() as conn:
        item = items.get(conn, item_id)
        assert item is not None
        assert item["text"] == "The notes.\n\nAnn: giraffes are discussed here"
        assert [search(conn, word)[0] for word in ("giraffes", "notes", "zebras")] == [1, 1, 0]
        found = transcripts.get(conn, item_id)
        assert found is not None
        assert found["segments"] == [[None, None, "Ann", "giraffes are discussed here"]]
        assert transcripts.remove(conn, item_id)
        assert not transcripts.remove(conn, item_id)
        assert search(conn, "giraffes")[0] == 0
        assert search(conn, "notes")[0] == 1


def test_nothing_is_written_where_nothing_can_be_read(engine: Engine, clock) -> None:
    with engine.begin() as conn:
        item_id = items.add(conn, URL, now=clock.now, correlation_id="x").id
        for wanted in (item_id, item_id + 1, 0, 2**70):
            assert not transcripts.save(
                conn, wanted, [[0, 1, None, "x"]], source="feed", language=None, now=clock.now
            )


@pytest.fixture
def client(settings, clock) -> Iterator[TestClient]:
    with visitor.visiting(settings, clock) as client:
        visitor.use_token(client)
        yield client


def test_a_transcript_is_handed_in_by_the_api(client: TestClient, clock) -> None:
    engine = visitor.engine_of(client)
    item_id = episode(engine, clock)
    address = f"/api/items/{item_id}/transcript"
    assert "looked for any more" in client.get(address).json()["error"]["message"]
    with engine.begin() as conn:
        transcripts.look_for(conn, item_id, now=clock.now)
    assert "still looked for" in client.get(address).json()["error"]["message"]
    put = client.put(
        address, content=VTT.encode(), headers={"Content-Type": "text/vtt"}, params={"language": "en"}
    )
    assert put.status_code == 200
    assert put.json() == client.get(address).json()
    assert put.json()["segments"][0] == {
        "start": 1.0, "end": 4.5, "speaker": "Ann Lee", "text": "Hello & welcome to the show.",
    }  # fmt: skip
    assert (put.json()["source"], put.json()["language"]) == ("pushed", "en")
    with engine.connect() as conn:
        assert transcripts.search_of(conn, item_id) is None
    assert client.delete(address).status_code == 204
    assert client.delete(address).status_code == 404


def test_the_api_refuses_what_is_no_transcript(client: TestClient, clock) -> None:
    engine = visitor.engine_of(client)
    item_id = episode(engine, clock)
    with engine.begin() as conn:
        waiting = items.add(conn, "https://a.example/", now=clock.now, correlation_id="x").id
    for wanted, content, status in (
        (item_id, b"", 422),
        (item_id, b"<html><body>", 422),
        (waiting, VTT.encode(), 409),
        (10_000, VTT.encode(), 404),
    ):
        answer = client.put(f"/api/items/{wanted}/transcript", content=content)
        assert answer.status_code == status, answer.text
