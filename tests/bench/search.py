"""How long searching and listing take in a library of many items, on both engines.

.venv/bin/python tests/bench/search.py [--items 100000] [--words 330] [--rounds 20] [--only "list, tag"]
"""

import argparse
import datetime as dt
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Connection, Engine

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "app"), str(ROOT / "tests" / "app")]

from private_postgres import Postgres, find_binaries  # noqa: E402

from atlas import items, library  # noqa: E402
from atlas import tags as tag_functions  # noqa: E402
from atlas.database import migrate  # noqa: E402
from atlas.database.dialect import write_rows  # noqa: E402
from atlas.database.engine import make_engine, read  # noqa: E402
from atlas.database.tables import contents, feeds, highlights, item_tags, tags  # noqa: E402
from atlas.database.tables import items as items_table  # noqa: E402
from atlas.search import rebuild, search  # noqa: E402
from atlas.settings import Settings  # noqa: E402

NOW = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)
VOCABULARY = 40_000
BATCH = 500


def word(rank: int) -> str:
    """Name the word of that rank: the commonest is short, as in a language."""
    letters = ""
    number = rank + 20
    while number:
        number, digit = divmod(number, 20)
        letters += "bcdfghklmnprstvwzjqx"[digit] + "aeiou"[(number + digit) % 5]
    return letters


def documents(count: int, words: int) -> Iterator[tuple[str, str]]:
    """Make titles and texts whose words are as unevenly common as a language's (Zipf)."""
    chance = random.Random(1)
    vocabulary = [word(rank) for rank in range(VOCABULARY)]
    weights = list(accumulate(1 / (rank + 2.7) for rank in range(VOCABULARY)))
    for _ in range(count):
        length = max(20, int(chance.gauss(words, words / 3)))
        text = chance.choices(vocabulary, cum_weights=weights, k=length)
        title = chance.choices(vocabulary, cum_weights=weights, k=7)
        yield " ".join(title), ". ".join(" ".join(text[i : i + 14]) for i in range(0, length, 14))


TAGS = {"common": 2, "some": 100, "rare": 10_000}  # one item in so many carries it
KINDS = ("article", "article", "article", "article", "article", "article", "video", "podcast", "mail", "note")
SOURCES = ("feed", "feed", "feed", "import", "api")
FEEDS = 200


def fill(engine: Engine, count: int, words: int) -> None:
    """Put finished items in, as the worker would leave them, with what a reader does to some of them."""
    chance = random.Random(2)
    with engine.begin() as conn:
        conn.execute(feeds.insert(), [_feed(number) for number in range(1, FEEDS + 1)])
        conn.execute(tags.insert(), [{"id": n, "name": name, "key": name} for n, name in enumerate(TAGS, 1)])
    rows = (
        _item(number, count, title, text, chance)
        for number, (title, text) in enumerate(documents(count, words), start=1)
    )
    with _indexed_afterwards(engine):
        while batch := list(islice(rows, BATCH)):
            with engine.begin() as conn:
                write_rows(conn, items_table.insert(), [item for item, _ in batch])
                write_rows(conn, contents.insert(), [content for _, content in batch if content])
                pairs = [pair for item, _ in batch for pair in _tagged(item["id"])]
                write_rows(conn, item_tags.insert(), pairs)
                marked = [_highlight(item["id"]) for item, _ in batch if item["id"] % 1000 == 0]
                write_rows(conn, highlights.insert(), marked)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.exec_driver_sql("ANALYZE" if engine.dialect.name == "sqlite" else "VACUUM ANALYZE")


@contextmanager
def _indexed_afterwards(engine: Engine) -> Iterator[None]:
    """Take the triggers and indexes of the words away and bring them back: much faster for many rows."""
    sqlite = engine.dialect.name == "sqlite"
    with engine.begin() as conn:
        if sqlite:
            found = "SELECT 'DROP TRIGGER ' || name, sql FROM sqlite_master WHERE type = 'trigger'"
        else:
            found = """
                SELECT format('ALTER TABLE %%I DISABLE TRIGGER USER', name),
                    format('ALTER TABLE %%I ENABLE TRIGGER USER', name)
                FROM unnest(ARRAY['items', 'contents', 'item_tags', 'highlights']) AS name
                UNION ALL SELECT format('DROP INDEX %%I', indexname), indexdef FROM pg_indexes
                WHERE indexname IN ('ix_search_index_words', 'ix_cards_words')
            """
        pairs = [(away, back) for away, back in conn.exec_driver_sql(found)]
        for away, _ in pairs:
            conn.exec_driver_sql(away)
    yield
    with engine.begin() as conn:
        if sqlite:
            rebuild(conn)
        else:
            conn.exec_driver_sql("SET LOCAL statement_timeout = 0")
            conn.exec_driver_sql("SET LOCAL maintenance_work_mem = '512MB'")
            words = "SELECT item_id, atlas_words(title, text) FROM contents"
            conn.exec_driver_sql(f"INSERT INTO search_index {words}")
            conn.exec_driver_sql("INSERT INTO cards SELECT item_id, words FROM card_texts")
        for _, back in pairs:
            conn.exec_driver_sql(back)


def _item(
    number: int, count: int, title: str, text: str, chance: random.Random
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Make the rows of one item: one in 50 waits or failed, half are read, one site in 300 is rare."""
    host = "rare.example" if number % 10_000 == 17 else f"site{number % 300}.example"
    url = f"https://{host}/articles/{number}"
    stage = {7: 110, 8: 777}.get(number % 100, 590)
    added = NOW - dt.timedelta(minutes=10 * (count - number))
    item: dict[str, Any] = {
        "id": number, "kind": KINDS[number % 10], "url": url, "url_key": url[8:], "host": host, "site": host,
        "title": title, "stage": stage, "lane": 1, "correlation_id": f"bench-{number}", "excerpt": text[:200],
        "source": SOURCES[number % 5], "feed_id": number % FEEDS + 1 if number % 5 < 3 else None,
        "word_count": text.count(" ") + 1, "language": "en" if number % 50 else "fr", "added_at": added,
        "updated_at": added, "published_at": added if number % 4 else None,
        "read_at": added if chance.random() < 0.5 or number % 10_000 == 17 else None,
        "starred_at": added if number % 500 == 0 else None, "note": "noted" if number % 2000 == 0 else None,
    }  # fmt: skip
    content = {"item_id": number, "title": title, "text": text, "html": f"<p>{text}</p>"}
    return item, content if stage == 590 else None


def _tagged(number: int) -> list[dict[str, int]]:
    return [
        {"item_id": number, "tag_id": tag}
        for tag, every in enumerate(TAGS.values(), 1)
        if number % every == 0
    ]


def _highlight(number: int) -> dict[str, Any]:
    return {"item_id": number, "quote": "words", "created_at": NOW, "updated_at": NOW}


def _feed(number: int) -> dict[str, Any]:
    row = {
        "id": number,
        "url": f"https://f{number}.example/",
        "url_key": f"f{number}",
        "title": f"Feed {number}",
    }
    return row | {"interval_seconds": 900, "due_at": NOW, "added_at": NOW, "folder": f"Folder {number % 10}"}


def searches() -> dict[str, str]:
    """Name what is searched."""
    return {
        "commonest word": word(0),
        "two common words": f"{word(1)} {word(3)}",
        "five common words": " ".join(word(rank) for rank in range(5)),
        "common phrase": f'"{word(0)} {word(1)}"',
        "common but not": f"{word(0)} -{word(2)}",
        "common or rare": f"{word(0)} OR {word(9000)}",
        "common and rare": f"{word(0)} {word(9000)}",
        "middling word": word(300),
        "two middling words": f"{word(100)} {word(101)}",
        "rare word": word(20_000),
        "beginning": f"{word(300)[:4]}*",
        "nothing found": "xyzzy",
        "common is:unread": f"{word(0)} is:unread",
        "common, rare tag": f"{word(0)} tag:rare",
        "common, some tag": f"{word(0)} tag:some",
        "common, common tag, kind": f"{word(0)} tag:common kind:note",
        "common, rare site": f"{word(0)} site:rare.example",
        "common, old": f"{word(0)} before:2025-03",
        "rare, common tag": f"{word(20_000)} tag:common is:unread",
        "middling, not tag, unread": f"{word(300)} -tag:common is:unread kind:article",
        "no words: is:starred": "is:starred",
        "no words: lang:fr kind:note": "lang:fr kind:note",
    }


def lists() -> dict[str, dict[str, Any]]:
    """Name what is listed: arguments of a filter, and `order` and `cursor`."""
    old = NOW - dt.timedelta(days=600)
    found: dict[str, dict[str, Any]] = {
        "first page": {},
        "middle page": {"cursor": "50000"},
        "oldest": {"order": "oldest"},
        "published": {"order": "published"},
        "published, unread, kind": {"order": "published", "read": False, "kind": "note"},
        "ready": {"state": "ready"},
        "waiting": {"state": "waiting"},
        "failed": {"state": "failed"},
        "duplicate": {"state": "duplicate"},
        "kind": {"kind": "note"},
        "kind and source": {"kind": "podcast", "source": "api"},
        "kind and source that never meet": {"kind": "article", "source": "nowhere"},
        "unread": {"read": False},
        "read": {"read": True},
        "unread, starred": {"read": False, "starred": True},
        "starred": {"starred": True},
        "highlighted": {"highlighted": True},
        "tag, common": {"tags": ("common",)},
        "tag, rare, unread": {"tags": ("rare",), "read": False},
        "tag, some, unread, kind": {"tags": ("some",), "read": False, "kind": "article"},
        "two tags": {"tags": ("common", "some")},
        "tag that meets no kind": {"tags": ("common",), "kind": "podcast"},
        "feed, unread": {"feed_id": 3, "read": False},
        "folder, unread": {"folder": "Folder 3", "read": False},
        "site": {"site": "site17.example"},
        "site, rare, unread": {"site": "rare.example", "read": False},
        "old": {"before": old},
        "old, unread, tag": {"before": old, "read": False, "tags": ("common",)},
        "old, published": {"before": old, "order": "published"},
        "between": {"before": old, "after": old - dt.timedelta(days=1)},
        "import": {"import_id": 3},
        "q common": {"q": word(0)},
        "q rare": {"q": word(20_000)},
        "q, tag, unread, published": {
            "q": word(300),
            "tags": ("common",),
            "read": False,
            "order": "published",
        },
    }
    for kind in ("note", "article"):  # whatever a page may combine
        for state in ("ready", "failed"):
            for tag in ("common", "rare"):
                wanted = {"kind": kind, "state": state, "tags": (tag,), "source": "import"}
                found[f"{kind}, {state}, {tag}, import"] = wanted
    return found


def queries() -> dict[str, Callable[[Connection], object]]:
    """Name what is measured."""
    found: dict[str, Callable[[Connection], object]] = {
        f"search, {name}": lambda conn, text=text: search(conn, text) for name, text in searches().items()
    }
    found |= {
        f"list, {name}": lambda conn, wanted=wanted: _list(conn, **wanted) for name, wanted in lists().items()
    }
    found["neighbours"] = lambda conn: items.neighbours(conn, 10_000)
    found["counts beside the filters"] = library.tally
    found["tags in use"] = tag_functions.counts
    found["items at each stage"] = items.counts
    found["queue size"] = lambda conn: items.queue_size(conn, NOW)
    return found


def _list(conn: Connection, order: library.Order = "newest", cursor: str | None = None, **wanted: Any) -> int:
    page = library.listing(conn, library.Filter(**wanted), order=order, cursor=cursor)
    return len(page.rows)


def measure(engine: Engine, rounds: int, only: str) -> None:
    """Print a line a query; those over the aim (50 ms to search, 20 ms to list) are marked."""
    print(f"{'':40}{'p50 ms':>9}{'p95 ms':>9}{'found':>9}")
    for name, run in queries().items():
        if only not in name:
            continue
        times = []
        for _ in range(rounds):
            start = time.perf_counter()
            with read(engine) as conn:
                result = run(conn)
            times.append((time.perf_counter() - start) * 1000)
        result = result[0] if isinstance(result, tuple) else result
        found = result if isinstance(result, int) else ""
        p95 = statistics.quantiles(times, n=20)[-1]
        mark = " <--" if p95 > (50 if name.startswith("search") else 20) else ""
        print(f"{name:40}{statistics.median(times):9.2f}{p95:9.2f}{found:>9}{mark}", flush=True)


@contextmanager
def databases() -> Iterator[dict[str, str]]:
    """Offer an empty database on each engine."""
    binaries = find_binaries()
    if binaries is None:
        print("PostgreSQL is not installed: SQLite only")
        yield {"sqlite": ""}
        return
    with Postgres(binaries, durable=True) as server:
        yield {"sqlite": "", "postgresql": server.url(server.create(template="template0"))}


def main() -> None:
    """Fill each engine and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--words", type=int, default=330, help="mean length of a text; 330 are about 2 KB")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--only", default="", help="what has this in its name")
    options = parser.parse_args()
    with databases() as urls, tempfile.TemporaryDirectory(prefix="atlas-bench-") as directory:
        for name, url in urls.items():
            engine = make_engine(Settings(data_dir=Path(directory), database_url=url))
            migrate.upgrade(engine)
            start = time.perf_counter()
            fill(engine, options.items, options.words)
            print(f"\n{name}: {options.items:,} items indexed in {time.perf_counter() - start:.1f} s")
            measure(engine, options.rounds, options.only)
            engine.dispose()


if __name__ == "__main__":
    main()
