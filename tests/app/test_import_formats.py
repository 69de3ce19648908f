"""Files of other services: what each reader makes of them, and of bytes that are none."""

import contextlib
import io
import json
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atlas.sources.imports import stream
from atlas.sources.imports.detect import detect
from atlas.sources.imports.formats import FORMATS
from atlas.sources.imports.record import Record, Refused, Unreadable, moment

DATA = Path(__file__).parent / "data" / "imports"


def entries_of(raw: bytes, form: str | None = None, name: str = "") -> list[Record | Refused]:
    file = io.BytesIO(raw)
    return list(FORMATS[form or detect(file)].read(file, name))


def load(name: str, form: str) -> list[Record | Refused]:
    raw = (DATA / name).read_bytes()
    assert detect(io.BytesIO(raw)) == form
    return entries_of(raw)


def by_url(entries: list[Record | Refused]) -> dict[str, Record]:
    return {entry.url: entry for entry in entries if isinstance(entry, Record)}


def reasons(entries: list[Record | Refused]) -> list[str]:
    return [entry.reason for entry in entries if isinstance(entry, Refused)]


def zipped(files: dict[str, bytes]) -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return raw.getvalue()


def test_opml_gives_feeds_in_their_nearest_folder() -> None:
    entries = load("feeds.opml", "opml")
    feeds = by_url(entries)
    assert {url: (feed.kind, feed.folder) for url, feed in feeds.items()} == {
        "https://a.example/feed.xml": ("feed", "Technik & Netz"),
        "feed://b.example/rss": ("feed", "Deep"),
        "https://c.example/atom": ("feed", "Technik & Netz"),
        "https://d.example/feed": ("feed", None),
        "file:///etc/passwd": ("feed", None),
    }
    assert feeds["https://a.example/feed.xml"].fields == {"site_url": "https://a.example/"}
    assert [(entry.where, entry.url) for entry in entries if isinstance(entry, Refused)] == [
        ("line 13", "No address")
    ]


def test_bookmarks_of_a_browser_badly_nested_and_cut_off() -> None:
    entries = load("firefox.html", "netscape")
    records = [entry for entry in entries if isinstance(entry, Record)]
    assert [(record.url, record.title, record.tags) for record in records] == [
        ("https://example.org/one?a=1&b=2", "One & only", ("ships", "sea")),
        ("https://example.org/two", "Zwei", ("Cooking",)),
        ("javascript:alert(1)", "A bookmarklet", ("Cooking",)),
        ("https://example.org/three", "Three", ("Cooking", "Soups")),
        ("place:sort=8", "Most visited", ()),
        ("https://example.org/one?a=1&b=2", "One again", ()),
        ("https://example.org/live.xml", "Live bookmark", ()),
        ("https://example.org/four", "Four, in a file cut off", ()),
    ]
    assert records[0].note == "A note about one,\nover two lines"
    assert records[0].where == "line 12"
    assert records[0].added_at == moment(1690000002)
    assert records[1].added_at == moment(1690000003)  # written in microseconds
    assert (records[1].read, records[3].read) == (False, True)
    assert records[6].kind == "feed"


def test_what_linkding_exports_as_html() -> None:
    found = by_url(load("linkding.html", "netscape"))
    one, two = found["https://example.org/ld1"], found["https://example.org/ld2"]
    assert (one.note, one.tags, one.read) == ("Its description\n\nAnd *notes*", ("tag1", "tag2"), False)
    assert (two.tags, two.read) == ((), True)


def test_pocket_in_its_two_forms() -> None:
    entries = load("pocket.csv", "pocket_csv")
    found = by_url(entries)
    one = found["https://example.org/p1"]
    assert (one.title, one.tags, one.read) == ("A title, with a comma", ("sea", "ships of the line"), False)
    assert one.added_at == moment(1500000000)
    assert (found["https://example.org/p2"].title, found["https://example.org/p2"].read) == (None, True)
    three = found["https://example.org/p3"]
    assert (three.title, three.read, three.added_at, three.where) == ("Over two lines", True, None, "line 6")
    old = by_url(load("pocket.html", "pocket_html"))
    assert [(record.title, record.tags, record.read) for record in old.values()] == [
        ("Ril one", ("sea", "ships"), False),
        (None, (), True),
    ]


def test_pockets_zip_with_highlights() -> None:
    marks = [
        {
            "url": "https://example.org/p1",
            "title": "T",
            "highlights": [{"quote": "Q", "created_at": 1500000009}],
        }
    ]
    raw = zipped(
        {
            "part_000000.csv": (DATA / "pocket.csv").read_bytes(),
            "annotations/part_000000.json": json.dumps(marks).encode(),
        }
    )
    entries = entries_of(raw)
    assert len(entries) == 5
    assert entries[0].where == "part_000000.csv, line 2"
    assert [mark.quote for mark in entries[-1].highlights] == ["Q"]


def test_columns_are_known_by_name_not_by_place() -> None:
    raw = b"status,extra,url,tags,title,time_added\r\narchive,?,https://example.org/x,a|b,T,1500000000\r\n"
    (one,) = entries_of(raw)
    assert (one.url, one.title, one.tags, one.read) == ("https://example.org/x", "T", ("a", "b"), True)


def test_instapaper_folders_are_states_or_tags() -> None:
    found = [one for one in load("instapaper.csv", "instapaper") if isinstance(one, Record)]
    assert [(one.read, one.starred, one.folder) for one in found] == [
        (False, False, None),
        (True, False, None),
        (False, True, None),
        (False, False, "My Recipes"),
    ]
    assert (found[0].note, found[0].tags) == ("What was selected", ("sea", "a, b"))


def test_readwise_reader() -> None:
    found = [one for one in load("readwise.csv", "readwise") if isinstance(one, Record)]
    assert found[0].tags == ("sea", "captain's log")
    assert found[0].added_at == moment("2024-01-02T03:04:05Z")
    assert [(one.read, one.starred) for one in found] == [
        (False, False),
        (True, False),
        (True, False),
        (False, True),
    ]


def test_wallabag_brings_articles_and_annotations() -> None:
    one, two = load("wallabag.json", "wallabag")
    assert isinstance(one, Record)
    assert isinstance(two, Record)
    assert (one.url, one.tags, one.read, one.starred) == (
        "https://example.org/wb1",
        ("sea", "ships"),
        True,
        False,
    )
    assert one.content is not None
    assert b"dark and stormy" in one.content
    assert b"Bulwer-Lytton" in one.content
    assert [(mark.quote, mark.note) for mark in one.highlights] == [("a dark and stormy night", "Famous")]
    assert (two.starred, two.content) == (True, None)


def test_linkdings_api() -> None:
    one, two = load("linkding.json", "linkding")
    assert isinstance(one, Record)
    assert isinstance(two, Record)
    assert (one.title, one.note, one.tags, one.read) == (
        "Its own title",
        "Described\n\nNoted",
        ("sea", "ships"),
        False,
    )
    assert (two.title, two.read) == ("Mine", True)


def test_karakeep_has_links_texts_and_files() -> None:
    link, text, picture = load("karakeep.json", "karakeep")
    assert isinstance(link, Record)
    assert isinstance(text, Record)
    assert (link.url, link.tags, link.note) == ("https://example.org/k1", ("sea", "Reading list"), "Mine")
    assert (text.kind, text.content, text.read) == ("note", b"Ships are *slow*.", True)
    assert isinstance(picture, Refused)


def test_youtubes_history() -> None:
    entries = load("watch-history.json", "takeout")
    assert [isinstance(entry, Refused) and entry.skipped for entry in entries] == [False, True, True, False]
    first = entries[0]
    assert isinstance(first, Record)
    assert (first.kind, first.title, first.read) == ("video", "How ships are built", True)
    assert (first.url, first.fields) == (
        "https://www.youtube.com/watch?v=dQw4w9WgXcQ",
        {"byline": "Shipyard"},
    )
    (channel,) = load("subscriptions.csv", "takeout_channels")
    assert isinstance(channel, Record)
    assert (channel.kind, channel.title) == ("feed", "Shipyard")
    assert channel.url.endswith("?channel_id=UCaaaaaaaaaaaaaaaaaaaaaa")


def test_the_html_of_a_takeout_is_refused_with_what_to_do() -> None:
    page = b'<html><body><p class="mdl-typography--title">x</p><div class="outer-cell mdl-cell">Watched</div>'
    with pytest.raises(Unreadable, match="JSON"):
        detect(io.BytesIO(page))


def test_lists_of_links() -> None:
    entries = load("links.txt", "links")
    assert [(one.url, one.title) for one in entries if isinstance(one, Record)] == [
        ("https://example.org/l1", None),
        ("https://example.org/l2_(disambiguation)", "Second"),
        ("https://example.org/l3", None),
    ]
    assert [(one.where, one.url) for one in entries if isinstance(one, Refused)] == [
        ("line 5", "nothing here")
    ]


def test_any_table_with_addresses() -> None:
    (one,) = load("table.csv", "table")
    assert isinstance(one, Record)
    assert (one.title, one.tags, one.folder, one.starred) == ("Rain", ("a", "b"), "Box", True)
    assert one.added_at == moment("2024-05-06T07:08:09Z")


def omnivore() -> bytes:
    article = "<p>" + "It was a dark and stormy night; the rain fell in torrents. " * 12 + "</p>"
    return zipped(
        {
            "metadata_0_to_1.json": (DATA / "metadata_0_to_1.json").read_bytes(),
            "content/a-dark-night-18a.html": article.encode(),
            "highlights/a-dark-night-18a.md": b"> It was a dark\n> and stormy night\n\nFamous\n\n> the rain",
        }
    )


def test_omnivore_brings_articles_and_highlights() -> None:
    raw = omnivore()
    assert detect(io.BytesIO(raw)) == "omnivore"
    one, two = entries_of(raw)
    assert isinstance(one, Record)
    assert isinstance(two, Record)
    assert (one.url, one.tags, one.read, one.fields["byline"]) == (
        "https://example.org/o1",
        ("sea",),
        True,
        "E. B.",
    )
    assert one.content is not None
    assert b"stormy" in one.content
    assert [(mark.quote, mark.note) for mark in one.highlights] == [
        ("It was a dark\nand stormy night", "Famous"),
        ("the rain", None),
    ]
    assert (two.content, two.read) == (None, False)


def test_a_messy_folder() -> None:
    raw = zipped(
        {
            "../../etc/passwd": b"https://example.org/escaped\n",
            "Takeout/YouTube/watch-history.json": (DATA / "watch-history.json").read_bytes(),
            "old/bookmarks": (DATA / "firefox.html").read_bytes(),
            "page.htm": (DATA / "saved.html").read_bytes(),
            "book.pdf": b"%PDF-1.7 ...",
            "notes.md": b"# A heading\n\nSome thoughts.\n",
            "picture.png": b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
            "inner.zip": zipped({"a": b"b"}),
            "empty.txt": b"",
            ".DS_Store": b"litter",
            "deep/omnivore/metadata_0_to_1.json": (DATA / "metadata_0_to_1.json").read_bytes(),
            "deep/omnivore/content/plain.html": b"<p>Belongs to the list beside it</p>",
        }
    )
    entries = entries_of(raw)
    found = {entry.where.partition(",")[0]: entry for entry in entries}
    assert found["etc/passwd"].url == "https://example.org/escaped"
    assert found["page.htm"].url == "https://example.org/saved-page"
    assert found["page.htm"].content == (DATA / "saved.html").read_bytes()
    assert (found["book.pdf"].kind, found["book.pdf"].content_type) == ("file", "application/pdf")
    assert (found["notes.md"].title, found["notes.md"].content_type) == (
        "notes",
        "text/markdown; charset=utf-8",
    )
    assert {
        "Takeout/YouTube/watch-history.json",
        "old/bookmarks",
        "deep/omnivore/metadata_0_to_1.json",
    } <= set(found)
    assert all(isinstance(found[name], Refused) for name in ("picture.png", "inner.zip", "empty.txt"))
    assert not any(".DS_Store" in where or "plain.html" in where for where in found)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "empty"),
        (b"\x00\x01\x02\x03" * 50, "neither text"),
        (b"PK\x03\x04 and then nothing of the kind", "damaged"),
        (b'{"a": 1}', "JSON of a kind"),
        (b"<rss version='2.0'></rss>", "Subscribe"),
        (b"<unheard/>", "does not know"),
    ],
)
def test_what_is_no_import_is_refused_with_a_sentence(raw: bytes, says: str) -> None:
    with pytest.raises(Unreadable, match=says):
        detect(io.BytesIO(raw))


def test_json_that_breaks_off_gives_what_stood_before() -> None:
    raw = (DATA / "wallabag.json").read_bytes()
    cut = entries_of(raw[: raw.index(b"A starred one")])
    assert [type(entry) for entry in cut] == [Record, Refused]
    assert "not valid JSON" in reasons(cut)[0]


def test_an_endless_line_and_an_endless_field_are_left_out() -> None:
    long = b"x" * (stream.LONGEST_LINE + 10)
    entries = entries_of(b"https://example.org/a\n" + long + b"\nhttps://example.org/b\n", "links")
    assert [entry.url for entry in entries if isinstance(entry, Record)] == [
        "https://example.org/a",
        "https://example.org/b",
    ]
    assert reasons(entries) == ["This line is longer than 200,000 characters."]
    unclosed = (
        b'title,url,time_added,status\n"never closed,https://x.example\n'
        + b"a,https://example.org/y,1,read\n" * 9000
    )
    found = entries_of(unclosed)
    assert len(reasons(found)) >= 1
    assert any(entry.url == "https://example.org/y" for entry in found)


def test_markup_without_an_end_is_given_up() -> None:
    with pytest.raises(Unreadable, match="larger than"):
        entries_of(b"<!DOCTYPE NETSCAPE-Bookmark-file-1><DL><DT><A HREF='" + b"x" * 5_000_000, "netscape")


def test_a_zip_bomb_costs_no_more_than_it_says() -> None:
    bomb = zipped({"links.txt": b"https://example.org/a\n" + b"x" * 60_000_000})
    assert len(bomb) < 100_000
    entries = entries_of(bomb)
    assert isinstance(entries[0], Record)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings(encoding: str) -> None:
    text = (
        "Title,URL,Selection,Folder,Timestamp\n"
        + "Grüße aus Køln,https://example.org/e,Überall größer,Unread,1\n" * 3
    )
    found = entries_of(text.encode(encoding))
    assert {entry.title for entry in found} == {"Grüße aus Køln"}


@pytest.mark.parametrize(
    ("value", "year"),
    [(1500000000, 2017), ("1500000000", 2017), (1500000000000, 2017), ("1500000000000000", 2017),
     ("13344473600000000", 2023), ("2024-01-02T03:04:05+0200", 2024), ("2024-01-02 03:04:05 UTC", 2024)],
)  # fmt: skip
def test_moments(value: object, year: int) -> None:
    found = moment(value)
    assert found is not None
    assert found.year == year
    assert found.tzinfo is not None


@pytest.mark.parametrize(
    "value", [None, "", "soon", 0, -5, 1e40, "9" * 30, True, [], "0001-01-01T00:00:00+14:00"]
)
def test_what_is_no_moment(value: object) -> None:
    assert moment(value) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
WORDS = """
url title tags content created_at annotations labels slug savedAt state details titleUrl subtitles time
createdAt lists note tag_names highlights language published_by is_archived text type quote transcript
segments sightings media original path keywords kind stage interval_seconds rules read_at
"""
KEYS = st.sampled_from(WORDS.split())
OBJECTS = st.dictionaries(KEYS, JSON | st.dictionaries(KEYS, JSON, max_size=4), max_size=8)


def consume(form: str, raw: bytes) -> None:
    """Read all there is; what a reader may raise is Unreadable alone."""
    with contextlib.suppress(Unreadable):
        for entry in FORMATS[form].read(io.BytesIO(raw), "name"):
            assert isinstance(entry, Record | Refused)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from([*FORMATS]), st.binary(max_size=400))
def test_any_bytes_are_survived(form: str, raw: bytes) -> None:
    consume(form, raw)
    with contextlib.suppress(Unreadable):
        consume(detect(io.BytesIO(raw)), raw)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from([*FORMATS]), st.lists(OBJECTS, max_size=4))
def test_any_json_is_survived(form: str, objects: list[object]) -> None:
    raw = json.dumps(objects).encode()
    consume(form, raw)
    consume(form, json.dumps({"bookmarks": objects, "lists": objects, "results": objects}).encode())
    lines = b"\n".join(json.dumps(one).encode() for one in objects)
    about = json.dumps({"format": "atlas-export", "version": 1}).encode()
    consume("atlas", zipped({"atlas.json": about, "items.jsonl": lines, "feeds.jsonl": lines}))
    consume("omnivore", zipped({"metadata_0_to_9.json": raw}))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(sorted(path.name for path in DATA.iterdir() if path.is_file())),
    st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=6)), max_size=4),
)
def test_damaged_files_are_survived(name: str, damages: list[tuple[float, bytes]]) -> None:
    raw = (DATA / name).read_bytes()
    form = detect(io.BytesIO(raw))
    for place, damage in damages:
        at = int(place * len(raw))
        raw = raw[:at] + damage + raw[at + len(damage) :]
    consume(form, raw)
