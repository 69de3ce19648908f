"""Ways out, and back in: on both databases, judged by readers that are not ours where there are any."""

import datetime as dt
import io
import json
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import feedparser
import pytest
import sqlalchemy as sa
import visitor
from conftest import Clock, make_settings
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from lxml import etree
from sqlalchemy.engine import Engine
from starlette.testclient import TestClient
from test_cli import atlas, logging_as_before

from atlas import accounts, items, originals, tags
from atlas.database import migrate
from atlas.database.dialect import insert
from atlas.database.engine import make_engine, read
from atlas.database.tables import contents, feeds, highlights, sightings, transcripts
from atlas.database.tables import items as items_table
from atlas.export.epub import epub
from atlas.export.everything import everything
from atlas.export.netscape import netscape
from atlas.export.opml import opml
from atlas.export.xhtml import xhtml
from atlas.settings import Settings
from atlas.sources import imports, subscriptions
from atlas.sources.imports.formats import FORMATS
from atlas.sources.imports.record import Record
from atlas.sources.imports.work import work

__all__ = ["atlas", "logging_as_before"]  # fixtures

NOW = dt.datetime(2026, 11, 22, 8, 0, tzinfo=dt.UTC)


@pytest.fixture
def client(settings: Settings, clock: Clock) -> Iterator[TestClient]:
    with visitor.visiting(settings, clock) as client:
        visitor.use_token(client)
        yield client


def fill(engine: Engine, data_dir: Path) -> None:
    """Make a library with something of everything in it."""
    raw = b"<html><body><p>Some words about lighthouses.</p></body></html>"
    with engine.begin() as conn:
        feed = subscriptions.subscribe(
            conn, "https://f.example/feed", now=NOW, title="My name & its", folder="Ships & sea"
        )
        rule = [{"action": "tag", "field": "title", "pattern": "x", "tag": "y"}]
        options = {
            "rules": rule,
            "retention_days": 30,
            "full_text": "page",
            "interval_seconds": 7200,
            "paused": True,
        }
        subscriptions.update(conn, feed["id"], options, now=NOW)
        subscriptions.subscribe(conn, "https://g.example/feed", now=NOW)
        one = items.add(
            conn, "https://example.org/one?a=1&b=2", now=NOW, correlation_id="c", title="One <b>& only</b>",
            tags=("Ships", "of the line"), feed_id=feed["id"], source="feed",
            fields={
                "original_sha256": originals.put(data_dir, raw), "original_type": "text/html",
                "note": "A note,\nover two lines", "read_at": NOW, "byline": "A. Writer", "language": "en",
                "published_at": NOW - dt.timedelta(days=3), "final_url": "https://example.org/one/",
                "media": {"enclosures": [{"url": "https://example.org/a.mp3", "type": "audio/mpeg"}]},
            },
        ).id  # fmt: skip
        done = {
            "stage": 590,
            "due_at": None,
            "word_count": 4,
            "progress": 0.5,
            "summary": "Short",
            "site": "S",
        }
        done |= {"keywords": ["light", "house"], "excerpt": "Some words"}
        conn.execute(items_table.update().where(items_table.c.id == one).values(done))
        items.write_content(
            conn,
            one,
            title="One",
            text="Some words about lighthouses.",
            html="<div><p>Some words about lighthouses.</p></div>",
        )
        mark = {"item_id": one, "quote": "about", "prefix": "words ", "suffix": " light", "position": 11}
        mark |= {"note": "Why?", "color": "green", "created_at": NOW, "updated_at": NOW}
        conn.execute(highlights.insert().values(mark))
        conn.execute(
            insert(conn, transcripts).values(
                item_id=one, source="feed", language="en", segments=[[0.0, 1.5, "A", "Hello"]], at=NOW
            )
        )
        items.add(conn, "http://example.org/one?b=2&a=1", now=NOW, correlation_id="d", source="web")
        note = items.add(
            conn, "atlas:note/abc123", now=NOW, correlation_id="c", kind="note", title="A thought",
            internal=True, source="web", fields={"starred_at": NOW},
        ).id  # fmt: skip
        conn.execute(items_table.update().where(items_table.c.id == note).values(stage=590, due_at=None))
        items.write_content(
            conn, note, title="A thought", text="Ships are slow.", html="<div><p>Ships are slow.</p></div>"
        )
        items.add(conn, "https://example.org/waiting", now=NOW, correlation_id="c", title="Not read yet")


def state_of(engine: Engine) -> dict[str, Any]:
    """Return all that a round trip must keep, without numbers that differ from Atlas to Atlas."""
    lost = {"id", "item_id", "import_id", "feed_id", "tag_id", "correlation_id", "lease", "due_at", "lane",
            "updated_at", "stage", "attempts", "revivals", "etag", "last_modified", "polled_at"}  # fmt: skip
    with read(engine) as conn:
        urls = dict(conn.execute(sa.select(items_table.c.id, items_table.c.url)).all())

        def table(source: sa.Table, query: sa.Select[Any]) -> list[dict[str, Any]]:
            found = []
            for row in conn.execute(query):
                values = {name: value for name, value in row._mapping.items() if name not in lost}
                if "item_id" in row._mapping:
                    values["item"] = urls[row.item_id]
                found.append(values)
            return sorted(found, key=repr)

        living = sa.select(items_table).where(items_table.c.stage != 599)
        found = {
            source.name: table(source, sa.select(source))
            for source in (contents, highlights, sightings, transcripts, feeds)
        }
        found["items"] = table(items_table, living)
        tagged = tags.of(conn, list(urls))
        found["tags"] = sorted((urls[one], names) for one, names in tagged.items())
        joined = sa.select(items_table.c.url, feeds.c.url).join(feeds, feeds.c.id == items_table.c.feed_id)
        found["fed"] = sorted(map(tuple, conn.execute(joined).all()))
        found["done"] = sorted(row.url for row in conn.execute(living) if row.stage in (590, 595))
    return found


def take_in(engine: Engine, settings: Settings, raw: bytes) -> dict[str, Any]:
    started = imports.start(engine, settings, io.BytesIO(raw), name="atlas.zip", now=NOW)
    while work(engine, settings, lambda: NOW):
        pass
    with read(engine) as conn:
        found = imports.get(conn, started["id"])
    assert found is not None
    return found


def test_everything_goes_out_and_comes_back(engine: Engine, settings: Settings, tmp_path: Path) -> None:
    fill(engine, settings.data_dir)
    before = state_of(engine)
    raw = b"".join(everything(engine, settings.data_dir, now=NOW))

    other = make_settings(tmp_path / "other")
    empty = make_engine(other)
    migrate.upgrade(empty)
    done = take_in(empty, other, raw)
    assert (done["format"], done["state"], done["error"]) == ("atlas", "done", None)
    assert {name: n for name, n in done["counts"].items() if n} == {"added": 3, "subscribed": 2}
    after = state_of(empty)
    for name, rows in before.items():
        assert after[name] == rows, name
    sha256 = before["items"][0]["original_sha256"] or before["items"][1]["original_sha256"]
    assert originals.get(other.data_dir, sha256) == originals.get(settings.data_dir, sha256)
    assert take_in(empty, other, raw)["counts"]["added"] == 0
    assert state_of(empty) == after
    empty.dispose()


def test_what_is_exported_needs_no_atlas(engine: Engine, settings: Settings) -> None:
    fill(engine, settings.data_dir)
    with zipfile.ZipFile(io.BytesIO(b"".join(everything(engine, settings.data_dir, now=NOW)))) as archive:
        assert archive.testzip() is None
        about = json.loads(archive.read("atlas.json"))
        assert (about["format"], about["version"]) == ("atlas-export", 1)
        found = [json.loads(line) for line in archive.read("items.jsonl").splitlines()]
        assert [one["url"] for one in found] == [
            "https://example.org/one?a=1&b=2", "atlas:note/abc123", "https://example.org/waiting",
        ]  # fmt: skip
        assert archive.read(found[0]["original"]["path"]).startswith(b"<html>")
        assert found[0]["content"]["text"] == "Some words about lighthouses."


def test_an_original_that_is_gone_is_said(engine: Engine, settings: Settings) -> None:
    fill(engine, settings.data_dir)
    for path in settings.data_dir.rglob("*.zst"):
        path.unlink()
    with zipfile.ZipFile(io.BytesIO(b"".join(everything(engine, settings.data_dir, now=NOW)))) as archive:
        assert b"item 1" in archive.read("missing.txt")


def test_a_tampered_export_brings_nothing_harmful(engine: Engine, settings: Settings) -> None:
    evil = {
        "url": "https://example.org/evil", "kind": "script", "stage": 590, "title": "<script>", "tags": ["a"],
        "image": "javascript:alert(1)", "final_url": "data:text/html,x", "source": "<b>",
        "content": {"title": "T", "text": "t", "html": "<p onclick=x>Hi<script>alert(1)</script></p>"},
        "media": {"enclosures": [{"url": "javascript:alert(1)"}]},
        "original": {"path": "../../../../etc/passwd", "sha256": "x", "type": "text/html"},
    }  # fmt: skip
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as archive:
        archive.writestr("atlas.json", json.dumps({"format": "atlas-export", "version": 1}))
        archive.writestr("items.jsonl", json.dumps(evil) + "\nnot json\n")
        archive.writestr("feeds.jsonl", json.dumps({"url": "https://f.example/", "rules": [{"action": "?"}]}))
    done = take_in(engine, settings, raw.getvalue())
    assert {name: n for name, n in done["counts"].items() if n} == {"added": 1, "subscribed": 1, "refused": 1}
    with read(engine) as conn:
        (row,) = conn.execute(sa.select(items_table, contents.c.html).join(contents)).all()
    assert (row.kind, row.image, row.source, row.original_sha256) == ("article", None, "import", None)
    assert row.final_url is None
    assert "javascript" not in json.dumps(row.media)
    assert "Hi" in row.html
    assert "script" not in row.html
    assert "onclick" not in row.html


def test_a_newer_export_is_refused(engine: Engine, settings: Settings) -> None:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as archive:
        archive.writestr("atlas.json", json.dumps({"format": "atlas-export", "version": 99}))
    assert "newer Atlas" in take_in(engine, settings, raw.getvalue())["error"]["message"]


# Bookmarks and feeds


TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc", "Co", "Cn")), max_size=30).map(
    lambda text: " ".join(text.split())
)
NAMES = st.lists(TEXTS.map(lambda text: text.replace(",", "").strip()).filter(bool), max_size=3, unique=True)


@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "title": TEXTS.filter(bool),
                "note": TEXTS,
                "tags": NAMES,
                "read_at": st.none() | st.just(NOW),
                "starred_at": st.none() | st.just(NOW),
                "added_at": st.integers(10**9, 4 * 10**9).map(
                    lambda at: dt.datetime.fromtimestamp(at, dt.UTC)
                ),
            }
        ),
        max_size=4,
    )
)
def test_bookmarks_survive_the_way_out_and_back(rows: list[dict[str, Any]]) -> None:
    for number, row in enumerate(rows):
        row["url"] = f"https://example.org/{number}?a=1&b=%22"
    raw = b"".join(netscape(rows))
    found = list(FORMATS["netscape"].read(io.BytesIO(raw)))
    assert len(found) == len(rows)
    for row, record in zip(rows, found, strict=True):
        assert isinstance(record, Record)
        assert (record.url, record.title, record.tags) == (row["url"], row["title"], tuple(row["tags"]))
        assert (record.note or "", record.added_at) == (row["note"], row["added_at"])
        assert (record.read, record.starred) == (row["read_at"] is not None, row["starred_at"] is not None)


@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=5))
def test_feeds_survive_the_way_out_and_back(names: list[tuple[str, str]]) -> None:
    rows = [
        {
            "url": f"https://example.org/{n}.xml?a=1&b",
            "title": title or None,
            "folder": folder or None,
            "site_url": None,
        }
        for n, (title, folder) in enumerate(names)
    ]
    raw = opml(rows, now=NOW)
    etree.fromstring(raw)
    found = {one.url: one for one in FORMATS["opml"].read(io.BytesIO(raw)) if isinstance(one, Record)}
    assert len(found) == len(rows)
    for row in rows:
        record = found[row["url"]]
        assert (record.title, record.folder, record.kind) == (row["title"], row["folder"], "feed")


def test_what_is_exported_through_the_api(client: TestClient, settings: Settings) -> None:
    fill(visitor.engine_of(client), settings.data_dir)
    page = client.get("/api/export/netscape").text
    assert 'HREF="https://example.org/one?a=1&amp;b=2"' in page
    assert "atlas:note" not in page
    feeds_file = client.get("/api/export/opml")
    assert 'text="Ships &amp; sea"' in feeds_file.text
    assert "attachment" in feeds_file.headers["content-disposition"]
    marked = client.get("/api/export/highlights").text
    assert "## [One \\<b\\>& only\\</b\\>](<https://example.org/one?a=1&b=2>)" in marked
    assert "> about\n\nWhy?" in marked
    with zipfile.ZipFile(io.BytesIO(client.get("/api/export/json?originals=false").content)) as archive:
        assert set(archive.namelist()) == {"atlas.json", "feeds.jsonl", "items.jsonl"}
    assert client.get("/api/export/epub?ids=x").status_code == 422
    assert client.get("/api/export/feed?format=x").status_code == 422


@pytest.mark.parametrize("form", ["atom", "rss"])
def test_a_search_is_a_feed(client: TestClient, settings: Settings, form: str) -> None:
    fill(visitor.engine_of(client), settings.data_dir)
    visitor.put_article(client, "https://example.org/other", title="Nothing of it", text="Quite other words")
    with visitor.engine_of(client).begin() as conn:
        owner = accounts.set_password(conn, visitor.NAME, visitor.PASSWORD, NOW, actor="system")
        token = accounts.create_token(conn, owner, "reader", NOW, scopes=["read"])
    del client.headers["Authorization"]
    assert client.get("/api/export/feed?token=wrong").status_code == 401
    answer = client.get(f"/api/export/feed?q=lighthouses&format={form}&token={token}")
    assert token not in answer.text
    visitor.use_token(client)
    etree.fromstring(answer.content)
    found = feedparser.parse(answer.content)
    assert not found.bozo
    assert found.feed.title == "Atlas lighthouses"
    (entry,) = found.entries
    assert (entry.link, entry.author) == ("https://example.org/one?a=1&b=2", "A. Writer")
    assert entry.title in {"One <b>& only</b>", "One & only"}
    assert entry.content[0].value == "<div><p>Some words about lighthouses.</p></div>"
    assert {tag.term for tag in entry.tags} == {"Ships", "of the line"}
    assert len(feedparser.parse(client.get(f"/api/export/feed?format={form}").content).entries) == 3
    assert feedparser.parse(client.get(f"/api/export/feed?format={form}&q=nowhere").content).entries == []


# Books

NASTY = """
<p>One &amp; two <b>bold <p>inside</p></b> <a href="#ref-x">there</a> <a href="#ref-gone">gone</a>
<a href="https://example.org/a b|c?d=1&amp;e=2#f g">odd</a> <a href="http://">no</a>
<img src="https://x.example/p.png" alt="A ship"></p><li>stray</li>
<ul><p>no item</p><li>item<ul><li>deep</li></ul></li>words</ul><ul></ul>
<ol start="3" type="a"><li value="2">x</li></ol>
<dl><dd>first</dd><dt>late</dt></dl><dl><dt>term</dt><dd>what <p>it is</p></dd></dl>
<table><caption>c</caption><tr><td colspan="0">1<td rowspan="2">2</table><table><tr></tr></table>
<td>stray cell</td><figure><figcaption>cap</figcaption><img src="x"><p>y</p></figure>
<figcaption>lost</figcaption><h2 id="ref-x">Head <div>block</div></h2><h2 id="ref-x">twice</h2>
<details><summary>s</summary>d</details><pre>code  <code class="language-py">x &lt; y</code></pre>
<ruby>漢<rp>(</rp><rt>kan</rt></ruby><bdo>b</bdo><hr><p>a<br>b<wbr>c</p>
<blockquote dir="auto" lang="not a language">q</blockquote><time datetime="soon">t</time>
<a href="https://a.example/"><a href="https://b.example/">nested</a></a>
<span lang="de">Grüße\x0b</span><sup>1</sup>
"""


def book(rows: list[dict[str, Any]], title: str = "A book & <more>") -> bytes:
    return b"".join(epub(rows, title=title, now=NOW))


def row(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": number, "url": f"https://example.org/{number}?a=1&b=2", "host": "example.org",
        "title": f"Chapter {number}", "byline": None, "site": None, "language": "en", "published_at": None,
        "added_at": NOW, "text": "Words", "html": "<p>Words</p>", **changes,
    }  # fmt: skip


BOOKS = {
    "one of all": [
        row(1, html=NASTY, byline="A & B", title="Nasty <b>things</b>"),
        row(2, language="he", html='<div dir="rtl"><p>שלום</p></div>', title="שלום"),
        row(3, language="x y", html=None, text=None, title=None, url="atlas:note/1"),
        row(4, html="<p>Same</p>", title="\x00  "),
    ],
    "right to left": [row(1, language="ar", html="<p>كتاب</p>", title="كتاب")],
    "empty": [],
}


@pytest.mark.parametrize("name", BOOKS)
def test_books_are_well_formed(name: str) -> None:
    with zipfile.ZipFile(io.BytesIO(book(BOOKS[name]))) as archive:
        first = archive.infolist()[0]
        assert (first.filename, first.compress_type) == ("mimetype", zipfile.ZIP_STORED)
        for member in archive.namelist():
            if member.endswith((".xhtml", ".opf", ".ncx", ".xml", ".svg")):
                etree.fromstring(archive.read(member))
        package = archive.read("OEBPS/book.opf").decode()
        assert ('page-progression-direction="rtl"' in package) == (name == "right to left")


@pytest.mark.slow
@pytest.mark.parametrize("name", BOOKS)
def test_epubcheck_finds_nothing(name: str, tmp_path: Path) -> None:
    if shutil.which("epubcheck") is None:
        pytest.skip("epubcheck is not installed (Debian packages it by that name)")
    (tmp_path / "book.epub").write_bytes(book(BOOKS[name]))
    done = subprocess.run(
        ["java", "-jar", shutil.which("epubcheck") or "", tmp_path / "book.epub"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout + done.stderr, done.stdout + done.stderr


PIECES = """<p> </p> <b> </b> <ul> </ul> <li> <table> <tr> <td> </table> <dl> <dt> <dd> </dl> <a·href='#x'>
</a> <h1> </h1> <figure> <figcaption> </figure> <img> <pre> <ruby> <rt> text &amp; <i·id='x'> <blockquote>
<hr> <br>"""


@hypothesis_settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from([one.replace("·", " ") for one in PIECES.split()]), max_size=25))
def test_any_markup_becomes_well_formed(pieces: list[str]) -> None:
    etree.fromstring(f"<body>{xhtml(''.join(pieces), 'text')}</body>")


def test_deep_nesting_becomes_its_text() -> None:
    assert xhtml("<div>" * 1500 + "x", "First\n\nSecond").endswith("</p>")


# The command


def test_exporting_at_the_shell(atlas: Any, engine: Engine, settings: Settings, tmp_path: Path) -> None:
    fill(engine, settings.data_dir)
    target = tmp_path / "out.zip"
    assert atlas("export", "json", "-o", str(target)).status == 0
    assert target.stat().st_mode & 0o777 == 0o600
    assert zipfile.is_zipfile(target)
    for form in ("netscape", "opml", "epub", "rss", "atom", "highlights"):
        done = atlas("export", form, "--output", str(tmp_path / form), "--query", "lighthouses")
        assert (done.status, done.err) == (0, "")
        assert (tmp_path / form).stat().st_size > 100
    assert "waiting" not in (tmp_path / "netscape").read_text()
    missing = atlas("export", "opml", "-o", str(tmp_path / "none" / "x"))
    assert missing.status == 1
    assert "No such file" in missing.err
    again = atlas("import", str(target), "--wait", "--json").json
    assert again[0]["counts"]["added"] == 0
