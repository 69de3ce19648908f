"""The library: what filters find, in which order, page by page; and what its reader changes."""

import datetime as dt
from unittest import mock

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import event

from atlas import highlights, items, library, tags
from atlas.database.engine import read
from atlas.database.tables import feeds, item_tags
from atlas.database.tables import items as items_table
from atlas.library import Filter
from atlas.search import conditions, pick, search
from atlas.stages.table import Stage

DAY = dt.timedelta(days=1)


class Shelf:
    """A library under test: put items in, ask for them by name."""

    def __init__(self, engine, clock):
        self.engine, self.clock, self.names = engine, clock, {}

    def put(self, name, *, text=None, tagged=(), **columns):
        """Add an item; with `text` it can be read. Further columns are set as they are."""
        with self.engine.begin() as conn:
            url = columns.pop("url", f"https://{name}.test/")
            added = items.add(conn, url, now=self.clock(), correlation_id="test", tags=tuple(tagged))
            if text is not None:
                columns = {"stage": 590, "due_at": None, "title": name.title(), **columns}
                items.write_content(conn, added.id, title=columns["title"], text=text, html="")
            if columns:
                conn.execute(items_table.update().where(items_table.c.id == added.id).values(**columns))
        self.names[added.id] = name
        self.clock.advance(60)
        return added.id

    def list(self, order="newest", limit=50, **wanted):
        with read(self.engine) as conn:
            page = library.listing(conn, Filter(**wanted), order=order, limit=limit)
            assert library.count(conn, Filter(**wanted)) == len(page.rows) or page.next
        return [self.names[row["id"]] for row in page.rows]

    def search(self, q):
        with read(self.engine) as conn:
            return {self.names[hit.id] for hit in search(conn, q)[1]}

    def row(self, item_id):
        with read(self.engine) as conn:
            return library.rows(conn, [item_id])[0]

    def change(self, *ids, **values):
        with self.engine.begin() as conn:
            return library.change(conn, ids, values, now=self.clock())


@pytest.fixture
def shelf(engine, clock):
    return Shelf(engine, clock)


# Listing


def test_filters(shelf, clock):
    with shelf.engine.begin() as conn:
        row = {"url": "https://f.test", "url_key": "f.test", "title": "Daily News", "folder": "News"}
        row |= {"interval_seconds": 60, "due_at": clock(), "added_at": clock()}
        feed = conn.execute(feeds.insert().values(**row).returning(feeds.c.id)).scalar_one()
    shelf.put("old", text="whale", tagged=["Sea", "deep sea"], kind="video", read_at=clock())
    noon = clock()
    shelf.put("fed", text="shark", tagged=["sea"], source="feed", feed_id=feed, url="https://blog.big.test/a")
    shelf.put("star", text="whale", starred_at=clock(), url="https://www.big.test/b", language="en-GB")
    shelf.put("waits", url="https://notbig.test/c")
    shelf.put("dead", stage=777, due_at=None, title="Dead whale")
    shelf.put("set aside", stage=777, due_at=None, ignored_at=clock(), url="https://aside.test/")
    twice = shelf.put("twice", url="https://blog.big.test/a")
    assert shelf.list() == ["set aside", "dead", "waits", "star", "fed", "old"]
    assert shelf.list(order="oldest") == shelf.list()[::-1]
    found = {
        "kind": shelf.list(kind="video"), "source": shelf.list(source="feed"),
        "tag": shelf.list(tags=("SEA",)),
        "tags": shelf.list(tags=("sea", " Deep  sea")), "no tag": shelf.list(tags=("sky",)),
        "ready": shelf.list(state="ready"), "waiting": shelf.list(state="waiting"),
        "failed": shelf.list(state="failed"), "ignored": shelf.list(state="ignored"),
        "duplicate": shelf.list(state="duplicate"), "stage": shelf.list(stage=777),
        "feed": shelf.list(feed_id=feed), "folder": shelf.list(folder="news"),
        "site": shelf.list(site="big.test"),
        "read": shelf.list(read=True), "unread": shelf.list(read=False), "starred": shelf.list(starred=True),
        "not starred": shelf.list(starred=False, state="ready"), "before": shelf.list(before=noon),
        "after": shelf.list(after=noon, state="ready"), "q": shelf.list(q="whale", starred=True),
        "waiting q": shelf.list(q="whale", state="failed"), "operators": shelf.list(q="whale -is:starred"),
        "between": shelf.list(after=noon - dt.timedelta(days=1), before=noon),
        "up to the end": shelf.list(after=noon, before=noon + dt.timedelta(days=1), state="ready"),
        "no time": shelf.list(after=noon, before=noon),
        "nonsense": shelf.list(q="?!"), "both": shelf.list(tags=("sea",), read=False),
    }  # fmt: skip
    assert found == {
        "kind": ["old"], "source": ["fed"], "tag": ["fed", "old"], "tags": ["old"], "no tag": [],
        "ready": ["star", "fed", "old"], "waiting": ["waits"], "failed": ["dead"], "ignored": ["set aside"],
        "duplicate": ["twice"], "stage": ["set aside", "dead"], "feed": ["fed"], "folder": ["fed"],
        "site": ["star", "fed"], "read": ["old"], "unread": ["star", "fed"], "starred": ["star"],
        "not starred": ["fed", "old"], "before": ["old"], "after": ["star", "fed"], "q": ["star"],
        "waiting q": ["dead"], "operators": ["dead", "old"], "nonsense": [], "both": ["fed"],
        "between": ["old"], "up to the end": ["star", "fed"], "no time": [],
    }  # fmt: skip
    searches = {
        "feed:daily": {"fed"}, f"feed:{feed}": {"fed"}, "folder:News": {"fed"}, "lang:en": {"star"},
        "-lang:en is:ready": {"old", "fed"}, "site:big.test": {"star", "fed"},
        "-site:big.test whale": {"old", "dead"},
        "tag:sea -tag:\"deep sea\"": {"fed"}, "kind:video OR is:starred": {"old", "star"},
        "source:feed source:api shark OR dead": {"fed", "dead"}, "is:duplicate": {"twice"},
        "is:archived": {"old"}, "is:tagged -is:read": {"fed"}, "before:2026-11-22": set(),
        "after:2026-11-22 -is:ready": {"waits", "dead", "set aside"},
    }  # fmt: skip
    assert {q: shelf.search(q) for q in searches} == searches
    with read(shelf.engine) as conn:
        assert library.tally(conn) == {
            "waiting": 1, "failed": 1, "ignored": 1, "duplicate": 1, "unread": 2, "starred": 1,
            "highlighted": 0,
        }  # fmt: skip
        assert library.rows(conn, [twice])[0]["duplicate_of"] is not None


def test_what_several_feeds_showed_is_in_each(shelf, clock):
    with shelf.engine.begin() as conn:
        ids = []
        for name in "ab":
            row = {"url": f"https://{name}.test", "url_key": f"{name}.test", "interval_seconds": 60}
            row |= {"due_at": clock(), "added_at": clock()}
            ids += conn.execute(feeds.insert().values(**row).returning(feeds.c.id)).scalars()
    shelf.put("one", text="x", feed_id=ids[0])
    with shelf.engine.begin() as conn:
        items.add(conn, "https://one.test/", now=clock(), correlation_id="t", source="feed", feed_id=ids[1])
    assert shelf.list(feed_id=ids[0]) == shelf.list(feed_id=ids[1]) == ["one"]


#: What makes a small library be searched as large ones are: by no condition, by those few or many items meet.
SIZES = [
    {"MANY": 10_000},
    {"FEW": 0, "MANY": 0},
    {"FEW": 1, "MANY": 10_000, "SOME": 0},
    {"SOME": 0},
    {"FEW": 2, "MANY": 0, "NEAR": 2},
]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("order", ["newest", "oldest", "published"])
def test_pages_join_without_gap_though_items_come_in(shelf, monkeypatch, order, sizes):
    for name, size in sizes.items():
        monkeypatch.setattr(pick, name, size)
    days = [3, None, 1, 1, None, 2, 1]
    for number, day in enumerate(days):
        date = day and shelf.clock() - day * DAY
        shelf.put(f"n{number}", text="word", tagged=["t"], published_at=date)
    whole = shelf.list(order=order, q="word", tags=("t",))
    if order == "published":
        dated = [f"n{n}" for n, day in enumerate(days) if day]
        assert set(whole[:5]) == set(dated)
        assert whole[5:] == ["n4", "n1"]
    seen, cursor = [], None
    with shelf.engine.connect() as conn:
        for number in range(9):
            page = library.listing(conn, Filter(q="word", tags=("t",)), order=order, limit=2, cursor=cursor)
            found, following = library.ids(conn, Filter(tags=("t",)), order=order, limit=2, cursor=cursor)
            assert (found, following) == ([row["id"] for row in page.rows], page.next)
            seen += [shelf.names[row["id"]] for row in page.rows]
            cursor = page.next
            if cursor is None:
                break
            if order == "newest":
                conn.rollback()
                shelf.put(f"new{number}", text="word", tagged=["t"])
    assert [name for name in seen if name in whole] == whole
    assert order != "newest" or seen == whole


@pytest.mark.parametrize("order", ["newest", "oldest", "published"])
def test_what_has_the_words_is_found_behind_many_duplicates(shelf, order):
    ids = [shelf.put(f"n{number}", text="whale") for number in range(12)]
    with shelf.engine.begin() as conn:
        twins = items_table.c.id.in_(ids[1:11])
        conn.execute(items_table.update().where(twins).values(stage=599, duplicate_of=ids[0]))
    whole = ["n0", "n11"] if order == "oldest" else ["n11", "n0"]
    assert shelf.list(order=order, q="whale", limit=2) == whole
    assert shelf.list(order=order, q="whale", limit=1) == whole[:1]


@pytest.mark.parametrize("passed", [0, 500])
@pytest.mark.parametrize("order", ["newest", "oldest", "published"])
def test_dates_hold_though_ids_do_not_follow_them(shelf, monkeypatch, order, passed):
    monkeypatch.setattr(conditions, "_PASSED", passed)
    days = [5, 9, 3, 7, 1, 8]
    dates = {f"n{day}": shelf.clock() - day * DAY for day in days}
    for name, date in dates.items():
        shelf.put(name, text="word", added_at=date, published_at=date)
    for end in range(11):
        before, after = shelf.clock() - end * DAY, shelf.clock() - (end + 3) * DAY
        for q in ("", "word", "is:unread"):
            wanted = {name for name, date in dates.items() if date < before}
            assert set(shelf.list(order=order, q=q, before=before)) == wanted
            later = {name for name, date in dates.items() if date >= after}
            assert set(shelf.list(order=order, q=q, after=after)) == later
            assert set(shelf.list(order=order, q=q, before=before, after=after)) == wanted & later


def test_a_site_is_its_host_and_what_is_below_it(shelf):
    hosts = ("a.test", "b.a.test", "c.b.a.test", "xa.test", "a.test.example", "a_test", "b.a_test")
    for host in hosts:
        shelf.put(host, text="x", url=f"https://{host}/")
    assert set(shelf.list(site="a.test")) == {"a.test", "b.a.test", "c.b.a.test"}
    assert set(shelf.list(site="b.a.test")) == {"b.a.test", "c.b.a.test"}
    assert set(shelf.list(site="a_test")) == {"a_test", "b.a_test"}
    assert shelf.list(site="test.a") == []


@pytest.mark.parametrize("cursor", ["", "x", "~", "-1", "~3", "yesterday~3", "2026~x"])
def test_a_cursor_that_was_never_given(shelf, cursor):
    order = "published" if "~" in cursor else "newest"
    with read(shelf.engine) as conn, pytest.raises(library.BadCursor):
        library.listing(conn, Filter(), order=order, cursor=cursor or "~")


WORDS = st.sampled_from(["whale", "ship", "sea"])
OPERATORS = st.sampled_from(
    ["tag:sea", "tag:ship", "kind:note", "is:unread", "is:starred", "is:failed", "is:annotated",
     "site:a.test",      "source:feed", "before:2026-11-22", "is:tagged", "lang:en"]
)  # fmt: skip
SIGNED = st.builds(lambda minus, one: minus + one, st.sampled_from(["", "-"]), WORDS | OPERATORS)
QUERIES = st.lists(SIGNED, min_size=1, max_size=4).map(" ".join)


def _model(shelf):
    """The same search in plain Python, over what the fixture below puts in."""
    tests = {
        "tag:sea": lambda i: "sea" in i["tags"], "tag:ship": lambda i: "ship" in i["tags"],
        "kind:note": lambda i: i["kind"] == "note",
        "is:unread": lambda i: i["stage"] == 590 and not i["read_at"],
        "is:starred": lambda i: bool(i["starred_at"]), "is:failed": lambda i: i["stage"] == 777,
        "is:annotated": lambda i: bool(i["note"]), "site:a.test": lambda i: i["host"].endswith("a.test"),
        "source:feed": lambda i: i["source"] == "feed", "before:2026-11-22": lambda i: False,
        "is:tagged": lambda i: bool(i["tags"]), "lang:en": lambda i: i["language"] == "en",
    }  # fmt: skip
    with read(shelf.engine) as conn:
        rows = library.rows(conn, list(shelf.names))
        texts = {row["id"]: (items.get(conn, row["id"])["text"] or "").split() for row in rows}

    def found(q):
        parts = q.split()
        words = [part for part in parts if part.lstrip("-") not in tests]
        names = set()
        for row in rows:
            card = [*row["tags"], *(row["note"] or "").split(), *(row["title"] or "").lower().split()]
            text = texts[row["id"]]
            wanted = [word for word in words if word[0] != "-"]
            unwanted = [word[1:] for word in words if word[0] == "-"]
            fits = all(w in text for w in wanted) or all(w in card for w in wanted)
            fits &= not any(w in text or w in card for w in unwanted)
            for part in parts:
                if part.lstrip("-") in tests:
                    fits &= tests[part.lstrip("-")](row) != part.startswith("-")
            if fits:
                names.add(shelf.names[row["id"]])
        return names

    return found


@pytest.fixture
def mixed(shelf, clock):
    shelf.put("aa", text="whale ship", tagged=["sea"], url="https://a.test/")
    shelf.put("bb", text="whale sea", note="ship", language="en", read_at=clock(), url="https://b.a.test/")
    shelf.put("cc", text="ship", tagged=["ship", "sea"], starred_at=clock(), kind="note")
    shelf.put("dd", text="land", note="whale", tagged=["ship"], source="feed", language="en")
    shelf.put("ee", title="Whale ship", stage=777, due_at=None, url="https://ee.test/")
    shelf.put("ff", tagged=["whale"], kind="note")
    shelf.put("gg", text="nothing of it", language="de", read_at=clock(), starred_at=clock())
    return shelf


def agree(mixed, q, sizes):
    model = mixed.model = getattr(mixed, "model", None) or _model(mixed)
    with mock.patch.multiple(pick, **sizes):
        assert mixed.search(q) == model(q)
        for order in ("newest", "oldest", "published"):
            assert set(mixed.list(q=q, order=order)) == model(q)


def tried(times):
    return hypothesis_settings(
        max_examples=times, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )


@pytest.mark.slow
@given(q=QUERIES)
@tried(150)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_both_engines_agree_with_plain_python(mixed, q, sizes):
    agree(mixed, q, sizes)


@pytest.mark.long
@pytest.mark.timeout(600)
@given(q=QUERIES)
@tried(500)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_both_engines_agree_with_plain_python_for_long(mixed, q, sizes):
    agree(mixed, q, sizes)


def test_a_page_costs_the_same_few_statements(shelf):
    for number in range(30):
        shelf.put(f"n{number}", text="word", tagged=["a", f"t{number}"])
    seen = []
    event.listen(shelf.engine, "before_cursor_execute", lambda *args: seen.append(args[2]))
    counts = []
    for limit in (1, 30):
        seen.clear()
        assert len(shelf.list(tags=("a",), limit=limit)) == limit
        counts.append(len(seen))
    assert counts[0] == counts[1] <= 10


# What waits, what was noted


def test_the_search_finds_what_is_written_about_an_item(shelf):
    one = shelf.put("one", text="words")
    waits = shelf.put("waits", url="https://example.test/some-slug")
    assert shelf.search("slug") == {"waits"}
    assert shelf.change(one, note="remember the lighthouse") == 1
    assert shelf.search("lighthouse") == {"one"}
    shelf.change(one, waits, add_tags=["Rotterdam"])
    assert shelf.search("rotterdam") == {"one", "waits"}
    with shelf.engine.begin() as conn:
        made = highlights.create(conn, one, "words", now=shelf.clock(), note="quotable")
    assert shelf.search("quotable") == shelf.search("is:highlighted") == {"one"}
    assert shelf.search("is:annotated") == {"one"}
    with shelf.engine.begin() as conn:
        highlights.update(conn, made["id"], {"note": "memorable"}, now=shelf.clock())
        (tag,) = [tag for tag in tags.counts(conn) if tag["name"] == "Rotterdam"]
        tags.rename(conn, tag["id"], "Antwerp")
    assert [shelf.search(q) for q in ("quotable", "rotterdam", "memorable")] == [set(), set(), {"one"}]
    assert shelf.search("antwerp") == {"one", "waits"}
    shelf.change(one, note=None, tags=[])
    with shelf.engine.begin() as conn:
        highlights.delete(conn, made["id"])
        conn.execute(items_table.delete().where(items_table.c.id == waits))
    assert [shelf.search(q) for q in ("lighthouse", "antwerp", "memorable", "slug")] == [set()] * 4


# Changes


def test_read_starred_progress_note(shelf, clock):
    one, two = shelf.put("one", text="a"), shelf.put("two", text="b")
    with shelf.engine.begin() as conn:
        assert library.set_read(conn, [one, two, 99, 2**70, -1], now=clock()) == 2
        first = clock()
        clock.advance(5)
        assert library.set_read(conn, [one], now=clock()) == 0
        assert library.set_starred(conn, [two], now=clock()) == 1
    assert shelf.row(one)["read_at"] == first
    assert shelf.change(one, read=False, progress=1.5, note="  mine ") == 1
    row = shelf.row(one)
    assert (row["read_at"], row["progress"], row["note"]) == (None, 1.0, "mine")
    assert shelf.change(two, starred=False, note="") == 1
    assert (shelf.row(two)["starred_at"], shelf.row(two)["note"]) == (None, None)
    assert shelf.change(12345, read=True) == 0


def test_all_of_a_filter_up_to_a_moment(shelf, clock):
    shelf.put("a", text="x", kind="video")
    shelf.put("b", text="x")
    seen_at = clock()
    clock.advance(1)
    shelf.put("late", text="x")
    with shelf.engine.begin() as conn:
        assert library.mark_all_read(conn, Filter(kind="article"), now=clock(), until=seen_at) == 1
        assert library.mark_all_read(conn, Filter(q="?"), now=clock(), until=clock()) == 0
    assert shelf.list(read=False) == ["late", "a"]


def test_a_title_given_by_hand(shelf, clock):
    one = shelf.put("one", text="x")
    shelf.change(one, title="  Better   title ")
    assert shelf.row(one)["title"] == "Better title"
    assert shelf.search("better") == {"one"}
    with read(shelf.engine) as conn:
        assert conn.execute(sa.select(items_table.c.titled_at)).scalar_one() == clock()
    shelf.change(one, title="")
    assert shelf.row(one)["title"] == "Better title"  # until it is read anew
    with read(shelf.engine) as conn:
        assert conn.execute(sa.select(items_table.c.titled_at)).scalar_one() is None


def test_tags(shelf):
    one, two = shelf.put("one", text="x", tagged=["A", "b"]), shelf.put("two", text="x", tagged=["b"])
    shelf.change(one, two, add_tags=["C"], remove_tags=["B", "never"])
    assert (shelf.row(one)["tags"], shelf.row(two)["tags"]) == (["A", "C"], ["C"])
    shelf.change(one, tags=["c", "d"])
    assert shelf.row(one)["tags"] == ["C", "d"]
    with shelf.engine.begin() as conn:
        ids = {tag["name"]: tag["id"] for tag in tags.counts(conn)}
        assert tags.rename(conn, ids["d"], " #C ") == ids["C"]  # they become one
        assert tags.rename(conn, ids["C"], "c") == ids["C"]
        assert tags.rename(conn, ids["C"], " , ") is None
        assert tags.rename(conn, 999, "x") is None
        assert [(tag["name"], tag["items"]) for tag in tags.counts(conn)] == [("c", 2)]
        assert tags.delete(conn, ids["C"])
        assert not tags.delete(conn, ids["C"])
        assert conn.execute(sa.select(sa.func.count()).select_from(item_tags)).scalar_one() == 0


# Highlights

TEXT = "The whale swam. The white whale\nswam on; the whale dived."


@pytest.mark.parametrize(
    ("quote", "around", "found"),
    [
        ("white  whale swam", {}, "white whale\nswam"),
        ("whale", {"prefix": "the "}, "whale dived"),
        ("whale", {"prefix": "white ", "suffix": "\n swam"}, "whale\nswam"),
        ("whale", {"position": 24}, "whale\nswam"),
        ("whale", {}, "whale swam."),
        ("shark", {}, None),
        ("  ", {}, None),
    ],
)
def test_a_passage_is_found_again(quote, around, found):
    span = highlights.locate(TEXT, quote, **around)
    assert (span and TEXT[span[0] :][: len(found)]) == found


@given(text=st.text(st.sampled_from("ab \n"), min_size=1), data=st.data())
def test_what_was_marked_is_found_where_it_was(text, data):
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    quote = text[start:end]
    span = highlights.locate(text, quote, text[:start], text[end:], start)
    if quote.split():
        assert span is not None
        assert text[slice(*span)].split() == quote.split()


def test_highlights_outlive_another_reading(shelf, clock):
    one = shelf.put("one", text=TEXT)
    with shelf.engine.begin() as conn:
        dived = highlights.create(conn, one, "the whale dived", now=clock(), color="green")
        swam = highlights.create(conn, one, "whale swam", now=clock(), position=20)
        again = highlights.create(conn, one, " the  whale dived", now=clock(), note="x")
        gone = highlights.create(conn, one, "what the page never said", now=clock())
        assert highlights.create(conn, 999, "x", now=clock()) is None
        assert (again["id"], again["note"]) == (dived["id"], "x")
        assert (swam["quote"], swam["start"], gone["start"]) == ("whale\nswam", 26, None)
        items.write_content(conn, one, title="", text="Once more: " + TEXT, html="")
        found = highlights.of_item(conn, one)
        assert [(row["id"], row["start"]) for row in found] == [
            (swam["id"], 37),
            (dived["id"], dived["start"] + 11),
            (gone["id"], None),
        ]
        pages = [highlights.everywhere(conn, limit=2)]
        pages.append(highlights.everywhere(conn, limit=2, below=pages[0][1]))
        assert [row["id"] for rows, _ in pages for row in rows] == [gone["id"], swam["id"], dived["id"]]
        assert pages[1][1] is None
        assert pages[0][0][0]["url"] == "https://one.test/"
        conn.execute(items_table.delete().where(items_table.c.id == one))
        assert highlights.everywhere(conn)[0] == []


def test_states_cover_every_stage():
    from atlas.search.conditions import WAITING
    from atlas.stages.table import DONE

    assert WAITING | DONE | {Stage.DUPLICATE, Stage.PERMANENT_ERROR} == set(Stage)
