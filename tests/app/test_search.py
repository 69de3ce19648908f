"""Searching: one language, the same answers from both engines, and nothing a person types is an error."""

import datetime as dt

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from atlas import items
from atlas import library as shelf
from atlas.database.engine import read
from atlas.database.tables import contents
from atlas.database.tables import items as items_table
from atlas.search import check, rebuild, search
from atlas.search.query import MAX_TERMS, Operator, Term, parse, words
from atlas.search.snippet import LENGTH, snippet

ANYTHING = st.text(st.sampled_from("ab é日'\"-*():^&|!<>\\%_{}\x00\ud800NEAR AND or NOT")) | st.text(
    st.characters()
)


# The language


def words_of(typed):
    """What a query without operators asks for, in one list."""
    query = parse(typed)
    assert not query.where
    return [*[group[0] if len(group) == 1 else group for group in query.wanted], *query.unwanted]


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
        ("AND NOT NEAR", [Term(("AND",)), Term(("NOT",)), Term(("NEAR",))]),
        ("whale OR ship", [(Term(("whale",)), Term(("ship",)))]),
        (
            "a whale OR ship OR sail b",
            [Term(("a",)), (Term(("whale",)), Term(("ship",)), Term(("sail",))), Term(("b",))],
        ),
        ("OR whale", [Term(("OR",)), Term(("whale",))]),
        ("whale OR", [Term(("whale",)), Term(("OR",))]),
        ("whale OR -ship", [Term(("whale",)), Term(("OR",)), Term(("ship",), negative=True)]),
        ("whale or ship", [Term(("whale",)), Term(("or",)), Term(("ship",))]),
        ('title:whale "open', [Term(("title", "whale")), Term(("open",))]),
        ('title:"white whale"', [Term(("title", "white", "whale"))]),
        ("is:wet before:soon site:", [Term(("is", "wet")), Term(("before", "soon")), Term(("site",))]),
        ("before:2026-13-01", [Term(("before", "2026", "13", "01"))]),
        ("12:30", [Term(("12", "30"))]),
        ("cafe\u0301", [Term(("café",))]),
        ("whale whale", [Term(("whale",))]),
        ("-whale", [Term(("whale",), negative=True)]),
        ('"" - * ...', []),
        ("  ", []),
    ],
)
def test_what_is_typed(typed, terms):
    assert words_of(typed) == terms


@pytest.mark.parametrize(
    ("typed", "where"),
    [
        ("tag:Space", [[("tag", "space")]]),
        ('TAG:"Deep  Space" -tag:ship', [[("tag", "deep space")], [("tag", "ship", True)]]),
        ("-is:read", [[("is", "read", True)]]),
        ('-feed:"the news"', [[("feed", "the news", True)]]),
        ("tag:a tag:b", [[("tag", "a")], [("tag", "b")]]),
        ("tag:a OR tag:b", [[("tag", "a"), ("tag", "b")]]),
        ("kind:note kind:mail", [[("kind", "note"), ("kind", "mail")]]),
        ("site:https://www.Example.com/a/b", [[("site", "example.com")]]),
        ("site:*.example.com", [[("site", "example.com")]]),
        ("lang:pt-BR source:feed", [[("lang", "pt-br")], [("source", "feed")]]),
    ],
)
def test_operators(typed, where):
    query = parse(typed)
    assert (query.wanted, query.unwanted) == ((), ())
    assert sorted(query.where, key=str) == sorted(
        (tuple(Operator(*one) for one in group) for group in where), key=str
    )


@pytest.mark.parametrize(
    ("typed", "moment"), [("2026", (2026, 1, 1)), ("2026-03", (2026, 3, 1)), ("2026-3-5", (2026, 3, 5))]
)
def test_dates(typed, moment):
    ((operator,),) = parse(f"after:{typed}").where
    assert operator.moment == dt.datetime(*moment, tzinfo=dt.UTC)


def test_operators_stand_among_words():
    query = parse('white tag:sea "big whale" -is:read -ship')
    assert query.wanted == ((Term(("white",)),), (Term(("big", "whale")),))
    assert query.unwanted == (Term(("ship",), negative=True),)
    assert query.where == ((Operator("tag", "sea"),), (Operator("is", "read", negative=True),))


PIECES = st.sampled_from(
    [
        "whale",
        '"',
        "-",
        ":",
        " ",
        " OR ",
        "tag:",
        "is:unread",
        "site:",
        "before:2026",
        "*",
        "é",
        "日",
        "after:99999",
    ]
)


@given(text=ANYTHING | st.lists(PIECES).map("".join))
def test_words_never_hold_syntax(text):
    query = parse(text)
    assert len(query.wanted) + len(query.unwanted) + len(query.where) <= MAX_TERMS
    for term in (*query.terms, *query.unwanted):
        assert term.words
        assert not set("".join(term.words)) & set("\"'-*():^&|!<>\\%_ \x00\ud800")
    for group in query.where:
        assert all(operator.value for operator in group)


@given(text=st.text(st.sampled_from("ab é日'-.")))
def test_quoting_makes_one_phrase_of_anything(text):
    found = words(text)
    query = parse(f'"{text}"')
    assert query.wanted == (((Term(found),),) if found else ())


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
            added = items.add(conn, f"https://{len(names)}.test/", now=clock(), correlation_id="test")
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
    "whale OR hamlet": {"moby", "science", "play"},
    "whale OR hamlet question OR anatomy": {"science", "play"},
    "-whale": {"café", "tech", "play"},
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
        assert shelf.listing(conn, shelf.Filter(q=q)).rows == []


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
    assert total == 3  # more than are ordered
    assert [hit.url[-1] for hit in hits] == ["3", "4"]


def test_what_is_unwanted_is_not_all_that_is_asked(engine, clock):
    with engine.begin() as conn:
        added = items.add(conn, "https://example.com/", now=clock(), correlation_id="test")
        items.write_content(conn, added.id, title="", text="a ship", html="")
    with read(engine) as conn:
        assert search(conn, "① -whale") == (0, [])  # for PostgreSQL the first is no word
        assert search(conn, "ship -whale")[0] == 1
        assert search(conn, "ship -①")[0] == 1
        assert search(conn, "-whale")[0] == 1


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
    with engine.begin() as conn:
        assert check(conn) == {"texts": 0, "cards": 0}
    table = "contents_fts" if engine.dialect.name == "sqlite" else "search_index"
    with engine.begin() as conn:
        if table == "contents_fts":
            conn.exec_driver_sql("INSERT INTO contents_fts (contents_fts) VALUES ('delete-all')")
        else:
            conn.exec_driver_sql("DELETE FROM search_index")
        conn.exec_driver_sql("DELETE FROM cards")
    assert library("whale") == []
    with engine.begin() as conn:
        off = check(conn)
        assert off["texts"] == (1 if table == "contents_fts" else 5)
        assert off["cards"] == 5
    with engine.begin() as conn:
        rebuild(conn)
    assert library("whale") == ["moby", "science"]
    with engine.begin() as conn:
        assert check(conn) == {"texts": 0, "cards": 0}


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
        ("whale and <b>", "is:unread", "whale and &lt;b&gt;"),
        ("<b>whale</b>", "whale", "&lt;b&gt;<mark>whale</mark>&lt;/b&gt;"),
        ("", "whale", ""),
    ],
)
def test_snippet(text, q, html):
    assert snippet(text, parse(q).terms) == html


def test_the_snippet_is_cut_where_the_words_stand_together():
    text = "whale " + "filler " * 200 + "the white whale swam " + "filler " * 200
    html = snippet(text, parse("white whale").terms)
    assert "the <mark>white</mark> <mark>whale</mark> swam" in html
    assert html.startswith("…filler")
    assert html.endswith("filler…")
    assert len(html) < LENGTH + 50


@given(text=st.text(st.sampled_from("ab é<>&\"' \nİ")), q=st.text(st.sampled_from("ab é"), min_size=1))
def test_a_snippet_is_always_safe(text, q):
    terms = parse(q).terms
    bare = snippet(text, terms).replace("<mark>", "").replace("</mark>", "")
    assert not set("<>\"'") & set(bare)
    assert bare.count("&") == sum(bare.count(name) for name in ("&lt;", "&gt;", "&amp;", "&quot;", "&#x27;"))
