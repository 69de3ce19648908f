"""The saved pages that Mozilla's Readability is tested with, read as its readers expect."""

from statistics import mean

import pytest
from reading_corpus import CORPUS, Saved, plain_title, saved_pages, token_f1
from test_sanitise import assert_harmless

from atlas.stages.page import Page, PageError
from atlas.stages.read import read_page

pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason=f"the corpus of saved pages is not at {CORPUS}")

Reading = tuple[Saved, Page | PageError]


@pytest.fixture(scope="module")
def readings() -> list[Reading]:
    def read(saved: Saved) -> Page | PageError:
        try:
            return read_page(saved.raw, "text/html", "https://pages.example/a/page.html")
        except PageError as error:
            return error

    return [(saved, read(saved)) for saved in saved_pages()]


@pytest.fixture(scope="module")
def pages(readings: list[Reading]) -> list[tuple[Saved, Page]]:
    return [(saved, page) for saved, page in readings if isinstance(page, Page)]


def test_only_what_is_not_readerable_is_refused(readings: list[Reading]) -> None:
    refused = {saved.name: error.code for saved, error in readings if isinstance(error, PageError)}
    unreadable = {saved.name for saved, _ in readings if not saved.expected["readerable"]}
    assert set(refused) <= unreadable
    assert set(refused.values()) <= {"not_an_article"}


def test_titles_are_those_that_readability_finds(pages: list[tuple[Saved, Page]]) -> None:
    wrong = {
        saved.name: (page.title, saved.expected["title"])
        for saved, page in pages
        if plain_title(page.title, page.site, saved.expected["siteName"])
        != plain_title(saved.expected["title"], page.site, saved.expected["siteName"])
    }
    assert len(wrong) <= 1, wrong


def test_texts_are_those_that_readability_finds(pages: list[tuple[Saved, Page]]) -> None:
    scores = {saved.name: token_f1(page.text, saved.expected_text) for saved, page in pages}
    assert mean(scores.values()) > 0.99
    assert min(scores.values()) > 0.9, sorted(scores.items(), key=lambda item: item[1])[:5]


def test_languages_are_those_of_the_pages(pages: list[tuple[Saved, Page]]) -> None:
    for saved, page in pages:
        if said := saved.expected.get("lang"):
            assert page.language is not None
            assert page.language.lower() == said.lower()


@pytest.mark.parametrize("field", ["byline", "site", "published_at", "excerpt"])
def test_what_readability_knows_of_a_page_is_known(field: str, pages: list[tuple[Saved, Page]]) -> None:
    names = {"byline": "byline", "site": "siteName", "published_at": "publishedTime", "excerpt": "excerpt"}
    known = [(saved.name, getattr(page, field)) for saved, page in pages if saved.expected.get(names[field])]
    missing = [name for name, value in known if not value]
    assert len(missing) <= len(known) * 0.05, missing


def test_the_html_is_harmless_and_as_rich_as_the_page(pages: list[tuple[Saved, Page]]) -> None:
    for saved, page in pages:
        assert_harmless(page.html)
        assert token_f1(page.html, page.text) > 0, saved.name
    everything = "".join(page.html for _, page in pages)
    for tag, least in (
        ("img", 500),
        ("figure", 150),
        ("pre", 100),
        ("table", 10),
        ("h2", 150),
        ("li", 900),
        ("blockquote", 70),
    ):
        assert everything.count(f"<{tag}") >= least, tag
