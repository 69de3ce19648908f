"""Searching: one language, the same answers from both engines, and nothing a person types is an error."""

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from atlas import items
from atlas.database.engine import read
from atlas.database.tables import contents
from atlas.database.tables import items as items_table
from atlas.search import rebuild, search
from atlas.search.query import MAX_TERMS, Term, parse
from atlas.search.snippet import LENGTH, snippet

ANYTHING = st.text(st.sampled_from("ab é日'\"-*():^&|!<>\\%_{}\x00\ud800NEAR AND or NOT")) | st.text(
    st.characters()
)


# The language


@pytest.mark.parametrize(
    ("typed", "terms"),
    [
        ("whale ship", [Term(("whale",)), Term(("ship",))]),
        ('"white whale" ship', [Term(("white", "whale")), Term(("ship",))]),
        ("\u201cwhite whale\u201d ship", [Term(("white", "whale")), Term(("ship",))]),
        ("whale -ship", [Term(("whale",)), Term(("ship",), negative=True)]),
        ('whale -"white ship"', [Term(("whale",)), Term(("white", "ship"), negative=True)]),
        ('a-"b"', [Term(("a",)), Term(("b",))]),
        ("whal*", [Term(("whal",), prefix=True)]),
        ("well-known", [Term(("well", "known"))]),
        ("o'brien", [Term(("o", "brien"))]),
        ("C++ .net", [Term(("C",)), Term(("net",))]),
        ("AND OR NOT NEAR", [Term(("AND",)), Term(("OR",)), Term(("NOT",)), Term(("NEAR",))]),
        ('title:whale "open', [Term(("title", "whale")), Term(("open",))]),
        ("cafe\u0301", [Term(("café",))]),
        ("whale whale", [Term(("whale",))]),
        ("-whale", []),
        ('"" - * ...', []),
        ("  ", []),
    ],
)
def test_what_is_typed(typed, terms):
    assert list(parse(typed)) == terms


@given(text=ANYTHING)
def test_words_never_hold_syntax(text):
    terms = parse(text)
    assert len(terms) <= MAX_TERMS
    for term in terms:
        assert term.words
        assert not set("".join(term.words)) & set("\"'-*():^&|!<>\\%_ \x00\ud800")


# The library


@pytest.fixture
def library(engine, clock):
    """Three whales and what is not one; returns a function from a query to the names of what it finds."""
    texts = {
        "moby": ("Moby Dick; or, The Whale", "Call me Ishmael. I thought I would sail about a little."),
        "science": (
            "On the anatomy of cetaceans",
            "The white whale is a mammal. Whaling has ended; ships remain.",
        ),
        "café": ("Crème brûlée à Zürich", "Un café noir, s’il vous plaît. Größe: 3.14 (naïve)."),  # noqa: RUF001
        "tech": (
            "Running C++ at example.com/path",
            "E-mail me@example.org. State-of-the-art and/or <b>bold</b>.",
        ),
        "play": ("Hamlet", "To be, or not to be, that is the question."),
    }
    names = {}
    with engine.begin() as conn:
        for name, (title, text) in texts.items():
            added = items.add(conn, f"https://{len(names)}.example/", now=clock(), correlation_id="test")
            items.write_content(conn, added.id, title=title, text=text, html=f"<p>{text}</p>")
            names[added.id] = name

    def found(q):
        with read(engine) as conn:
            total, hits = search(conn, q)
        assert total == len(hits)
        return [names[hit.id] for hit in hits]

    return found


FOUND = {
    "whale": {"moby", "science"},
    "WHALES": {"moby", "science"},
    "whale ship": {"science"},
    "whale -ishmael": {"science"},
    'whale -"white whale"': {"moby"},
    '"white whale"': {"science"},
    '"whale white"': set(),
    "sailing": {"moby"},
    "ceta*": {"science"},
    "ceta": set(),
    "cafe": {"café"},
    "creme BRULEE": {"café"},
    "zürich plait": {"café"},
    "3.14": {"café"},
    "14": {"café"},
    "run": {"tech"},
    "example": {"tech"},
    "path": {"tech"},
    "example.com": {"tech"},
    "me@example.org": {"tech"},
    "state-of-the-art": {"tech"},
    "art": {"tech"},
    "bold": {"tech"},
    '"to be or not to be"': {"play"},
    "the question": {"play"},
    "or -question": {"moby", "tech"},
    "unicorn": set(),
    "-whale": set(),
    "": set(),
}


def test_found(library):
    assert {q: set(library(q)) for q in FOUND} == FOUND


def test_a_word_in_the_title_counts_more(library):
    assert library("whale") == ["moby", "science"]


@given(q=ANYTHING)
@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_nothing_typed_is_an_error(engine, q):
    with read(engine) as conn:
        assert search(conn, q) == (0, [])
        assert items.list_items(conn, q=q) == ([], None)


def test_a_hit_tells_what_a_page_shows(engine, clock):
    with engine.begin() as conn:
        added = items.add(conn, "https://example.com/a", now=clock(), correlation_id="test")
        items.write_content(conn, added.id, title="A <title>", text="Fish & whales <script>", html="")
        conn.execute(items_table.update().values(site="Example"))
        (hit,) = search(conn, "whale")[1]
    assert (hit.id, hit.title, hit.url, hit.site) == (
        added.id,
        "A <title>",
        "https://example.com/a",
        "Example",
    )
    assert hit.snippet_html == "Fish &amp; <mark>whales</mark> &lt;script&gt;"
    assert hit.added_at == clock()


def test_pages_of_results(engine, clock):
    ids = []
    with engine.begin() as conn:
        for number in range(7):
            added = items.add(conn, f"https://example.com/{number}", now=clock(), correlation_id="test")
            items.write_content(conn, added.id, title="", text="whale " * 3, html="")
            ids.append(added.id)
    with read(engine) as conn:
        pages = [search(conn, "whale", limit=3, offset=offset) for offset in (0, 3, 6, 9)]
    assert [total for total, _ in pages] == [7] * 4
    assert [hit.id for _, hits in pages for hit in hits] == ids[::-1]


def test_of_very_many_the_newest_are_ordered(engine, clock, monkeypatch):
    monkeypatch.setattr("atlas.search.results.RANKED", 2)
    with engine.begin() as conn:
        for number in range(5):
            added = items.add(conn, f"https://example.com/{number}", now=clock(), correlation_id="test")
            text = "whale" + " ship" * (20 if number == 4 else 1)
            items.write_content(conn, added.id, title="", text=text, html="")
        total, hits = search(conn, "whale")
    assert total == 5
    assert [hit.url[-1] for hit in hits] == ["3", "4"]


# The index


def test_the_index_follows_its_rows(engine, clock):
    with engine.begin() as conn:
        added = items.add(conn, "https://example.com/", now=clock(), correlation_id="test")
        items.write_content(conn, added.id, title="Fish", text="about sharks", html="")
        assert search(conn, "shark")[0] == 1
        items.write_content(conn, added.id, title="Mammals", text="about whales", html="")
        assert [search(conn, q)[0] for q in ("shark", "fish", "whale", "mammal")] == [0, 0, 1, 1]
    with engine.begin() as conn:
        conn.execute(items_table.delete().where(items_table.c.id == added.id))
        assert search(conn, "whale")[0] == 0


def test_a_change_that_is_taken_back_is_not_found(engine, clock):
    with engine.connect() as conn, conn.begin() as transaction:
        added = items.add(conn, "https://example.com/", now=clock(), correlation_id="test")
        items.write_content(conn, added.id, title="", text="whale", html="")
        transaction.rollback()
    with read(engine) as conn:
        assert search(conn, "whale") == (0, [])


def test_rebuilding_changes_nothing(engine, library):
    before = [library(q) for q in ("whale", "cafe", "or")]
    with engine.begin() as conn:
        rebuild(conn)
    assert [library(q) for q in ("whale", "cafe", "or")] == before


def test_rebuilding_mends(engine, library):
    table = "contents_fts" if engine.dialect.name == "sqlite" else "search_index"
    with engine.begin() as conn:
        if table == "contents_fts":
            conn.exec_driver_sql("INSERT INTO contents_fts (contents_fts) VALUES ('delete-all')")
        else:
            conn.exec_driver_sql("DELETE FROM search_index")
    assert library("whale") == []
    with engine.begin() as conn:
        rebuild(conn)
    assert library("whale") == ["moby", "science"]


def test_a_text_with_more_words_than_postgresql_indexes(engine, clock):
    text = "beginning " + " ".join(f"word{number}x{number * 7}" for number in range(120_000))
    with engine.begin() as conn:
        added = items.add(conn, "https://example.com/", now=clock(), correlation_id="test")
        items.write_content(conn, added.id, title="t" * 5000, text=text, html="")
        assert search(conn, "beginning")[0] == 1
        assert conn.execute(contents.select()).one().text == text


# The snippet


@pytest.mark.parametrize(
    ("text", "q", "html"),
    [
        ("Two whales", "whale", "Two <mark>whales</mark>"),
        ("Whaling", "whales", "<mark>Whaling</mark>"),
        ("He was running", "run", "He was <mark>running</mark>"),
        ("The cities", "city", "The <mark>cities</mark>"),
        ("a wholesale", "whale", "a wholesale"),
        ("Un Café", "cafe", "Un <mark>Café</mark>"),
        ("İstanbul and more", "more", "İstanbul and <mark>more</mark>"),
        ("cetaceans", "ceta*", "<mark>cetaceans</mark>"),
        ("a white  \n whale", '"white whale"', "a <mark>white</mark> <mark>whale</mark>"),
        ("whale and ship", "whale -ship", "<mark>whale</mark> and ship"),
        ("<b>whale</b>", "whale", "&lt;b&gt;<mark>whale</mark>&lt;/b&gt;"),
        ("", "whale", ""),
    ],
)
def test_snippet(text, q, html):
    assert snippet(text, parse(q)) == html


def test_the_snippet_is_cut_where_the_words_stand_together():
    text = "whale " + "filler " * 200 + "the white whale swam " + "filler " * 200
    html = snippet(text, parse("white whale"))
    assert "the <mark>white</mark> <mark>whale</mark> swam" in html
    assert html.startswith("…filler")
    assert html.endswith("filler…")
    assert len(html) < LENGTH + 50


@given(text=st.text(st.sampled_from("ab é<>&\"' \nİ")), q=st.text(st.sampled_from("ab é"), min_size=1))
def test_a_snippet_is_always_safe(text, q):
    terms = parse(q)
    if not terms:
        return
    bare = snippet(text, terms).replace("<mark>", "").replace("</mark>", "")
    assert not set("<>\"'") & set(bare)
    assert bare.count("&") == sum(bare.count(name) for name in ("&lt;", "&gt;", "&amp;", "&quot;", "&#x27;"))
