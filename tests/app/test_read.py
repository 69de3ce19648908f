"""Whole pages of our own making, as sites of many kinds serve them, through everything that reading does."""

import json
import pickle
from datetime import datetime
from pathlib import Path

import pytest

from atlas.stages.page import Page, PageError
from atlas.stages.read import read_page
from atlas.stages.table import Stage

PAGES = Path(__file__).parent / "data" / "pages"
EXPECTED = json.loads((PAGES / "expected.json").read_text(encoding="utf-8"))
URL = "https://pages.example/nature/page.html"
PROSE = "The tide came in while nobody looked, and took the picnic with it. "


def refusal(raw: bytes, content_type: str | None = "text/html") -> PageError:
    with pytest.raises(PageError) as caught:
        read_page(raw, content_type, URL)
    return caught.value


@pytest.mark.parametrize("name", EXPECTED)
def test_a_page_becomes_what_a_reader_expects(name: str) -> None:
    expected = EXPECTED[name]
    page = read_page((PAGES / name).read_bytes(), expected.get("content_type", "text/html"), URL)
    for field in ("title", "byline", "site", "language", "excerpt", "image"):
        if field in expected:
            assert getattr(page, field) == expected[field]
    if "published_at" in expected:
        assert page.published_at == datetime.fromisoformat(expected["published_at"])
    for phrase in expected["text_has"]:
        assert phrase in page.text
    for phrase in expected.get("text_lacks", ()):
        assert phrase not in page.text
        assert phrase not in page.html
    for phrase in expected.get("html_has", ()):
        assert phrase in page.html
    for phrase in expected.get("html_lacks", ()):
        assert phrase not in page.html


@pytest.mark.parametrize("path", sorted((PAGES / "refused").iterdir()), ids=lambda path: path.stem)
def test_a_page_that_is_none_is_refused_by_name(path: Path) -> None:
    error = refusal(path.read_bytes())
    assert error.code == path.name.partition("-")[0]
    assert str(error).endswith(".")


def test_a_reason_belongs_to_a_stage_and_travels_between_processes() -> None:
    error = pickle.loads(pickle.dumps(PageError("soft_404", "Gone.")))
    assert (error.code, error.message, error.stage, str(error)) == (
        "soft_404",
        "Gone.",
        Stage.AUTHENTICITY_VERIFY,
        "Gone.",
    )


def test_a_page_can_be_written_as_json() -> None:
    page = read_page((PAGES / "news.html").read_bytes(), "text/html", URL)
    assert Page.from_json(json.loads(json.dumps(page.to_json()))) == page
    undated = read_page((PAGES / "forum.html").read_bytes(), "text/html", URL)
    assert Page.from_json(json.loads(json.dumps(undated.to_json()))) == undated


def test_text_from_right_to_left_stays_so() -> None:
    page = read_page(
        f'<html dir="rtl"><body><p>{"שלום לכולם וברוכים הבאים. " * 20}'.encode(), "text/html", URL
    )
    assert page.html.startswith('<div dir="rtl">')


def test_relative_addresses_start_from_the_base_that_a_page_names() -> None:
    links = '<a href="x.html">x</a> <a href="#y">y</a>'
    markup = f'<head><base href="/other/"></head><body><p>{PROSE * 10}{links}</p>'
    html = read_page(markup.encode(), "text/html", URL).html
    assert 'href="https://pages.example/other/x.html"' in html
    assert 'href="https://pages.example/other/#y"' in html


def test_an_excerpt_is_cut_between_words() -> None:
    page = read_page(f"<body><p>{PROSE * 10}".encode(), "text/html", URL)
    assert page.excerpt is not None
    assert len(page.excerpt) <= 302
    assert page.excerpt.endswith(" …")
    assert PROSE.startswith(page.excerpt[:40])


def test_letters_that_no_database_takes_are_left_out() -> None:
    markup = (
        '<head><script type="application/ld+json">'
        '{"@type": "Article", "headline": "A \\ud83d\\u0000 title"}</script>'
        f"</head><body><p>\0{PROSE * 10}&#1;&#x0B;\ufffe&#65535;</p>"
    )
    page = read_page(markup.encode(), "text/html", URL)
    assert page.title == "A title"
    assert page.text.isprintable()


def test_words_are_counted_in_languages_without_spaces_too() -> None:
    assert (
        read_page(
            "<p>倉庫の奥から自転車が出てきた。それは古いものだった。".encode(), "text/html", URL
        ).word_count
        == 24
    )


# --- plain text


def test_plain_text_is_a_page_too() -> None:
    text = f"# A walk\r\n\r\n{PROSE * 3}\n{PROSE}\n\n    dig <here>\n        and here\n"
    page = read_page(text.encode(), "text/plain; charset=utf-8", URL)
    assert page.title == "A walk"
    assert page.html.startswith("<div><p>The tide came in")
    assert "<pre>    dig &lt;here&gt;\n        and here</pre>" in page.html
    assert page.text.startswith("# A walk\n\nThe tide")
    assert page.excerpt is not None
    assert page.excerpt.startswith("The tide came in")


def test_plain_text_without_a_title_is_called_by_its_file() -> None:
    page = read_page((PROSE * 5).encode(), "text/plain", "https://pages.example/notes/tide.txt")
    assert page.title == "tide.txt"
    assert page.word_count == 65


@pytest.mark.parametrize("before", ["", "<!doctype html>", "<html><head>", "<meta charset=utf-8>"])
@pytest.mark.parametrize("text", [f"<article><p>{PROSE * 9}</article>", f"{PROSE * 9}<main>More.</main>"])
def test_a_page_may_leave_out_its_body(before: str, text: str) -> None:
    page = read_page(f"{before}<title>Tides</title>{text}".encode(), "text/html", URL)
    assert page.title == "Tides"
    assert page.text.startswith("The tide came in")


def test_a_text_of_a_few_words_is_refused() -> None:
    assert refusal(b"ok\n", "text/plain").code == "not_an_article"


# --- kinds


@pytest.mark.parametrize(
    ("raw", "content_type", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n....", "text/html", "picture"),
        (b"PK\x03\x04....", "application/octet-stream", "archive"),
        (b"\x7fELF....", None, "program"),
        (b"hello", "image/png", "image/png"),
        (b'{"a": 1}', "application/json", "application/json"),
        (b"body {}", "text/css", "text/css"),
        (b"<sitemap/>", "application/xml", "application/xml"),
        (b"<?xml version='1.0'?>\n<rss version='2.0'><channel/></rss>", "text/xml", "feed"),
        (b"<feed xmlns='http://www.w3.org/2005/Atom'/>", "text/html", "feed"),
        (bytes(range(256)) * 40, "text/html", "no text"),
    ],
)
def test_what_is_no_page_is_refused_with_what_it_is(raw: bytes, content_type: str | None, kind: str) -> None:
    error = refusal(raw, content_type)
    assert error.code == "not_html"
    assert kind in str(error)


@pytest.mark.parametrize(
    "content_type", ["text/html", "application/xhtml+xml", "text/xml", None, "", "application/octet-stream"]
)
def test_a_page_is_known_by_its_markup_whatever_it_is_called(content_type: str | None) -> None:
    raw = f"<?xml version='1.0' encoding='utf-8'?><html><body><p>{PROSE * 5}</p></body></html>".encode()
    assert read_page(raw, content_type, URL).word_count == 65


@pytest.mark.parametrize("raw", [b"", b" \n\t"])
def test_nothing_is_an_empty_page(raw: bytes) -> None:
    assert refusal(raw).code == "empty_page"


@pytest.mark.parametrize(
    "markup",
    [
        "<!-- nothing -->",
        "\0\0",
        "<!doctype html>",
        "<html><frameset><frame src=x></frameset></html>",
        "<br>",
        "<",
    ],
)
def test_a_page_without_a_body_is_no_trouble(markup: str) -> None:
    assert refusal(markup.encode()).code in {"empty_page", "not_an_article", "not_html"}


# --- bounds


@pytest.mark.parametrize(
    "markup",
    ["<div>" * 50_000 + PROSE * 9, "</b><p>" * 5000 + "<div>" * 50_000, "<i>x</i>" * 620_000],
    ids=["deep", "broken and deep", "wide"],
)
def test_pages_without_measure_are_refused(markup: str) -> None:
    assert refusal(markup.encode()).code == "too_complex"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("raw", "content_type"),
    [
        (f"<p>{PROSE * 100}</p>" * 800, "text/html"),
        (f"{PROSE * 100}\n\n" * 800, "text/plain"),
        (f'<p><a href="https://e.example/{"x" * 1900}">x</a> {PROSE * 2}</p>' * 8300, "text/html"),
    ],
    ids=["page", "plain text", "markup"],
)
def test_a_text_too_long_to_keep_is_refused(raw: str, content_type: str) -> None:
    error = refusal(raw.encode(), content_type)
    assert (error.code, "too long" in error.message) == ("too_complex", True)


def test_fonts_that_are_never_closed_do_not_hide_the_text() -> None:
    markup = "<body>" + "".join(f"<p><font size=2><b><i>{PROSE}" for _ in range(900))
    assert read_page(markup.encode(), "text/html", URL).word_count == 900 * 13


@pytest.mark.slow
@pytest.mark.parametrize("opening", ["<div>", "<a>", "<ul><li>", "<table><tr><td>", "<h1>", "<b>"])
def test_what_nests_as_deep_as_the_parser_goes_is_read_or_refused(opening: str) -> None:
    markup = opening * (1900 // opening.count("<")) + f"<p>{PROSE * 20}"
    try:
        outcome = read_page(markup.encode(), "text/html", URL).text
    except PageError as error:
        outcome = error.code
    assert "picnic" in outcome or outcome in {"too_complex", "not_an_article"}


@pytest.mark.slow
@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "markup",
    [
        '<img src="https://i.example/a.png"> ' * 20_000,
        "<div>" + "x<span> </span>" * 20_000,
        "<br>" * 50_000,
        "x<br><br>" * 20_000,
        "<div class=author>" * 1500 + f"<p>{PROSE}" * 2000,
        '<a href="#x" id="x">x</a> ' * 20_000,
        "<img src=a><noscript><img src=b></noscript>" * 10_000,
        f'<img srcset="{"a,,,," * 50_000}">',
        f'<img src="{"-pixel" * 50_000}-/">',
        f'<p class="{"comment " * 100_000}">x',
        "enable " * 100_000,
        f"<title>{'|' * 500_000}x</title>",
        '<script type="application/ld+json">' + '{"@graph":[' * 5000 + "</script>",
    ],
    ids=lambda markup: markup[:30],
)
def test_pages_made_to_be_slow_are_not(markup: str) -> None:
    page = read_page(f"<html><body>{f'<p>{PROSE}</p>' * 50}{markup}".encode(), "text/html", URL)
    assert "picnic" in page.text
