"""How long searching and listing take in a library of many items, on both engines.

.venv/bin/python tests/bench/search.py [--items 20000] [--words 330] [--rounds 40]
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
from itertools import accumulate
from pathlib import Path

from sqlalchemy.engine import Connection, Engine

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "app"), str(ROOT / "tests" / "app")]

from private_postgres import Postgres, find_binaries  # noqa: E402

from atlas import items  # noqa: E402
from atlas.database import migrate  # noqa: E402
from atlas.database.engine import make_engine, read  # noqa: E402
from atlas.database.tables import contents  # noqa: E402
from atlas.database.tables import items as items_table  # noqa: E402
from atlas.search import search  # noqa: E402
from atlas.settings import Settings  # noqa: E402
from atlas.stages.table import DONE, Stage  # noqa: E402

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


def fill(engine: Engine, count: int, words: int) -> None:
    """Put finished items in, as the worker would leave them."""
    batch: list[tuple[dict[str, object], dict[str, object]]] = []
    for number, (title, text) in enumerate(documents(count, words), start=1):
        url = f"https://site{number % 300}.example/articles/{number}"
        item = {
            "kind": "article",
            "url": url,
            "url_key": url[8:],
            "host": f"site{number % 300}.example",
            "title": title,
        }
        item |= {
            "stage": 590,
            "lane": 1,
            "correlation_id": f"bench-{number}",
            "excerpt": text[:200],
            "id": number,
        }
        item |= {"added_at": NOW, "updated_at": NOW, "site": item["host"], "word_count": text.count(" ") + 1}
        batch.append((item, {"item_id": number, "title": title, "text": text, "html": f"<p>{text}</p>"}))
        if len(batch) == BATCH or number == count:
            with engine.begin() as conn:
                conn.execute(items_table.insert(), [row for row, _ in batch])
                conn.execute(contents.insert(), [row for _, row in batch])
            batch = []
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.exec_driver_sql("ANALYZE")


def queries() -> dict[str, Callable[[Connection], object]]:
    """Name what is measured."""
    texts = {
        "search, commonest word": word(0),
        "search, two common words": f"{word(1)} {word(3)}",
        "search, five common words": " ".join(word(rank) for rank in range(5)),
        "search, common phrase": f'"{word(0)} {word(1)}"',
        "search, common but not": f"{word(0)} -{word(2)}",
        "search, common and rare": f"{word(0)} {word(9000)}",
        "search, middling word": word(300),
        "search, rare word": word(20_000),
        "search, beginning": f"{word(300)[:4]}*",
        "search, nothing found": "xyzzy",
    }
    found: dict[str, Callable[[Connection], object]] = {
        name: lambda conn, text=text: search(conn, text) for name, text in texts.items()
    }
    found["list, first page"] = items.list_items
    found["list, middle page"] = lambda conn: items.list_items(conn, cursor=10_000)
    found["list, one stage"] = lambda conn: items.list_items(conn, stage=590)
    found["list, what is ready"] = lambda conn: items.list_items(conn, stage=DONE)
    found["list, what waits"] = lambda conn: items.list_items(conn, stage=frozenset(Stage) - DONE - {599})
    found["neighbours"] = lambda conn: items.neighbours(conn, 10_000)
    found["list, nothing at the stage"] = lambda conn: items.list_items(conn, stage=777)
    found["list, q common"] = lambda conn: items.list_items(conn, q=word(0))
    found["list, q rare"] = lambda conn: items.list_items(conn, q=word(20_000))
    found["counts"] = items.counts
    found["queue size"] = lambda conn: items.queue_size(conn, NOW)
    return found


def measure(engine: Engine, rounds: int) -> None:
    """Print a line a query."""
    print(f"{'':32}{'p50 ms':>9}{'p95 ms':>9}{'found':>9}")
    for name, run in queries().items():
        times = []
        for _ in range(rounds):
            start = time.perf_counter()
            with read(engine) as conn:
                result = run(conn)
            times.append((time.perf_counter() - start) * 1000)
        found = result[0] if isinstance(result, tuple) and isinstance(result[0], int) else ""
        p95 = statistics.quantiles(times, n=20)[-1]
        print(f"{name:32}{statistics.median(times):9.2f}{p95:9.2f}{found:>9}")


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
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--words", type=int, default=330, help="mean length of a text; 330 are about 2 KB")
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    with databases() as urls, tempfile.TemporaryDirectory(prefix="atlas-bench-") as directory:
        for name, url in urls.items():
            engine = make_engine(Settings(data_dir=Path(directory), database_url=url))
            migrate.upgrade(engine)
            start = time.perf_counter()
            fill(engine, options.items, options.words)
            print(f"\n{name}: {options.items} items indexed in {time.perf_counter() - start:.1f} s")
            measure(engine, options.rounds)
            engine.dispose()


if __name__ == "__main__":
    main()
