"""What a page says about itself, in the many ways that pages say it."""

from datetime import UTC, datetime

import pytest

from atlas.reading.metadata import Metadata, parse_date, read_metadata, same_words, web_address
from atlas.reading.tree import parse_html

URL = "https://www.harbour-gazette.example/news/1"


def metadata(head: str, body: str = "") -> Metadata:
    return read_metadata(parse_html(f"<html><head>{head}</head><body>{body}</body></html>"), URL)


def ld(json: str) -> str:
    return f'<script type="application/ld+json">{json}</script>'


@pytest.mark.parametrize(
    ("head", "body", "title"),
    [
        ("<title>Of swifts</title>", "", "Of swifts"),
        ("<title> Of\n  swifts </title>", "", "Of swifts"),
        ("<title>The town that counts swifts | Gazette</title>", "", "The town that counts swifts"),
        (
            "<title>Gazette » Nature » The town that counts swifts</title>",
            "",
            "Gazette » Nature » The town that counts swifts",
        ),
        (
            "<title>Gazette: the town that counts its own swifts</title>",
            "",
            "the town that counts its own swifts",
        ),
        (
            "<title>Home</title>",
            "<h1>The town that counts its own swifts</h1>",
            "The town that counts its own swifts",
        ),
        ("", "<h1>The town that counts</h1>", "The town that counts"),
        ("", "", ""),
        ('<title>x</title><meta property="og:title" content="Tom &amp;amp; Jerry">', "", "Tom & Jerry"),
        ('<meta name="DC.Title" content="Dublin"><meta property="og:title" content="Graph">', "", "Dublin"),
        ('<meta name="twitter:title" content="Bird">', "", "Bird"),
        ('<meta property="og:title" content="Site"><meta property="og:title" content="Page">', "", "Page"),
        (
            (
                '<meta property="og:title" content="Swifts - The Gazette">'
                '<meta property="og:site_name" content="The Gazette">'
            ),
            "",
            "Swifts",
        ),
        (
            "<title>How the harbour wall was built \u2013 Harbour Gazette</title>",
            "",
            "How the harbour wall was built",
        ),
        (
            (
                '<meta property="og:title" content="The Gazette">'
                '<meta property="og:site_name" content="The Gazette">'
            ),
            "",
            "The Gazette",
        ),
    ],
)
def test_a_title_is_found_without_the_site_s_name(head: str, body: str, title: str) -> None:
    assert metadata(head, body).title == title


def test_json_ld_comes_first() -> None:
    said = metadata(
        ld(
            '{"@context": "https://schema.org", "@type": ["NewsArticle"], "headline": "H",'
            '"author": [{"@type": "Person", "name": "Ada"}, {"name": "Bob"}, {"name": "Ada"}],'
            '"description": "D &amp; E", "publisher": {"name": "P"},'
            '"datePublished": "2026-01-02", "image": {"@type": "ImageObject", "url": "/i.jpg"}}'
        )
        + '<meta property="og:title" content="O"><meta name="author" content="A">'
    )
    assert (said.title, said.byline, said.site, said.excerpt) == ("H", "Ada, Bob", "P", "D & E")
    assert said.published_at == datetime(2026, 1, 2, tzinfo=UTC)
    assert said.image == "https://www.harbour-gazette.example/i.jpg"


@pytest.mark.parametrize(
    "json",
    [
        '{"@graph": [{"@type": "WebSite", "name": "S"}, {"@type": "BlogPosting", "headline": "H"}]}',
        '[{"@type": "BreadcrumbList"}, {"@type": "Article", "name": "H"}]',
        '{"@type": "WebPage", "name": "N", "mainEntity": {"@type": "TechArticle", "headline": "H"}}',
        '<![CDATA[{"@type": "http://schema.org/Article", "headline": "H"}]]>',
        '{"@type": "Article", "headline": "H\n\twith a break"};'.replace("\n\twith a break", ""),
        '{"@type": "Article", "name": "P", "headline": "H", "publisher": {"name": "P"}}',
    ],
)
def test_json_ld_is_found_in_all_its_shapes(json: str) -> None:
    assert metadata(ld(json)).title == "H"


@pytest.mark.parametrize(
    "json",
    [
        "{",
        "null",
        "7",
        '"x"',
        "[" * 5000,
        '{"@type": "Article", "headline": {"a": {"b": 1}}}',
        '{"@type": {"x": 1}}',
    ],
)
def test_json_ld_that_is_nonsense_is_passed_over(json: str) -> None:
    assert (
        metadata(ld(json) + "<title>Something else entirely here</title>").title
        == "Something else entirely here"
    )


def test_of_name_and_headline_the_one_counts_that_the_title_repeats() -> None:
    json = '{"@type": "Article", "name": "Gazette nature pages", "headline": "The town that counts swifts"}'
    assert (
        metadata(ld(json) + "<title>The town that counts swifts</title>").title
        == "The town that counts swifts"
    )


@pytest.mark.parametrize(
    ("head", "body", "byline"),
    [
        ('<meta name="author" content="By  Ada Kerrigan">', "", "Ada Kerrigan"),
        ('<meta property="article:author" content="https://social.example/ada">', "", None),
        ('<meta name="author" content="Ada (https://ada.example)">', "", "Ada"),
        (
            (
                '<meta name="citation_author" content="x"><meta name="DC.Creator" content="Vos, P.">'
                '<meta name="DC.Creator" content="Osei, M.">'
            ),
            "",
            "Vos, P.; Osei, M.",
        ),
        ("", '<p class="byline">Written by: Ada Kerrigan</p>', "Ada Kerrigan"),
        (
            "",
            (
                '<div class="author-box">Ada Kerrigan 12 Mar 2026 Share Share</div>'
                '<a rel="author">Ada Kerrigan</a>'
            ),
            "Ada Kerrigan",
        ),
        ("", '<span itemprop="author">Von Piet Vos</span>', "Piet Vos"),
        ("", '<p class="authorized">Sign in</p>', None),
        ("", f'<div class="author">{"long text " * 200}</div>', None),
    ],
)
def test_a_byline_is_a_name(head: str, body: str, byline: str | None) -> None:
    assert metadata(head, body).byline == byline


@pytest.mark.parametrize(
    ("markup", "language"),
    [
        ('<html lang="EN-gb">', "en-GB"),
        ('<html xml:lang="de">', "de"),
        ('<html><head><meta http-equiv="Content-Language" content="fr, en">', "fr"),
        ('<html lang=""><head><meta property="og:locale" content="pt_BR">', "pt-BR"),
        ('<html lang="zh-Hant-TW">', "zh-Hant-TW"),
        ('<html lang="{{ lang }}">', None),
        (f'<html lang="en{"-abcdefgh" * 100_000}">', None),
        ("<html>", None),
    ],
)
def test_a_language_is_a_tag(markup: str, language: str | None) -> None:
    assert read_metadata(parse_html(markup + "<body>x"), URL).language == language


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2026-06-14T07:30:00+01:00", datetime(2026, 6, 14, 6, 30, tzinfo=UTC)),
        ("2021-11-01T10:52:50+0100", datetime(2021, 11, 1, 9, 52, 50, tzinfo=UTC)),
        ("2026-06-14T07:30:00Z", datetime(2026, 6, 14, 7, 30, tzinfo=UTC)),
        ("2026-06-14 07:30", datetime(2026, 6, 14, 7, 30, tzinfo=UTC)),
        ("20260614", datetime(2026, 6, 14, tzinfo=UTC)),
        ("Sun, 14 Jun 2026 07:30:00 +0200", datetime(2026, 6, 14, 5, 30, tzinfo=UTC)),
        ("June 14, 2026", datetime(2026, 6, 14, tzinfo=UTC)),
        ("14 June 2026", datetime(2026, 6, 14, tzinfo=UTC)),
        ("14.06.2026", datetime(2026, 6, 14, tzinfo=UTC)),
        ("0001-01-01T00:00:00+14:00", None),
        ("9999-12-31", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_dates_are_read_in_utc(text: str, date: datetime | None) -> None:
    assert parse_date(text) == date


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ('<meta property="article:published_time" content="2026-06-14">', ""),
        ('<meta name="parsely-pub-date" content="2026-06-14">', ""),
        ('<meta name="date" content="no date"><meta name="pubdate" content="2026-06-14">', ""),
        ('<meta itemprop="datePublished" content="2026-06-14">', ""),
        ("", '<time class="entry-date published" datetime="2026-06-14">Sunday</time>'),
        ("", '<time datetime="2026-06-14" pubdate>Sunday</time>'),
        ("", '<span itemprop="datePublished" content="2026-06-14">Sunday</span>'),
    ],
)
def test_the_day_of_publication_is_found(head: str, body: str) -> None:
    assert metadata(head, body).published_at == datetime(2026, 6, 14, tzinfo=UTC)


def test_a_time_in_the_text_is_no_day_of_publication() -> None:
    assert metadata("", '<p>On <time datetime="1912-04-15">that night</time></p>').published_at is None


def test_the_direction_of_writing_is_found() -> None:
    assert read_metadata(parse_html('<html><body dir="RTL">x'), URL).direction == "rtl"
    assert read_metadata(parse_html("<html><body>x"), URL).direction is None


@pytest.mark.parametrize(
    ("address", "absolute"),
    [
        ("x.jpg", "https://a.example/b/x.jpg"),
        ("//c.example/x", "https://c.example/x"),
        (" /x ", "https://a.example/x"),
        ("javascript:alert(1)", None),
        ("data:image/png;base64,x", None),
        ("http://[broken", None),
        ("http:", None),
        ("file:///etc/passwd", None),
    ],
)
def test_only_addresses_of_the_web_are_addresses(address: str, absolute: str | None) -> None:
    assert web_address(address, "https://a.example/b/c") == absolute


def test_likeness_counts_the_words_that_are_new() -> None:
    assert same_words("The town that counts", "the town THAT counts!") == 1.0
    assert same_words("The town that counts", "Something else") == 0.0
    assert same_words("", "x") == 0.0


def test_what_a_page_says_at_great_length_is_cut() -> None:
    assert len(metadata(f"<title>{'|' * 1_000_000}x</title>").title) <= 2000
    assert len(metadata(f'<meta property="og:title" content="{"x " * 500_000}">').title) <= 2000
