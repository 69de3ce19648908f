"""How many items a second can be added and leased, each durably in a transaction of its own, on both engines.

.venv/bin/python tests/bench/throughput.py [--items 3000] [--threads 16]
"""

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy.engine import Engine

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "app"), str(ROOT / "tests" / "app")]

from search import NOW, databases  # noqa: E402

from atlas import items  # noqa: E402
from atlas.database import migrate  # noqa: E402
from atlas.database.engine import make_engine  # noqa: E402
from atlas.settings import Settings  # noqa: E402


def rate(work: Callable[[int], object], count: int, threads: int) -> float:
    """Call `work` with 0 to `count` - 1, spread over threads; return calls a second."""

    def run(first: int) -> None:
        for number in range(first, count, threads):
            work(number)

    workers = [threading.Thread(target=run, args=(first,)) for first in range(threads)]
    start = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return count / (time.perf_counter() - start)


def measure(engine: Engine, count: int, threads: int) -> None:
    """Print a line for adding, adding again, and leasing with the step that follows."""

    def add(number: int) -> None:
        with engine.begin() as conn:
            items.add(conn, f"https://h{number % 977}.example/{number}", now=NOW, correlation_id="bench")

    def lease(_number: int) -> None:
        leased = items.lease(engine, worker="bench", now=NOW, lease_seconds=30, host_delay_seconds=0)
        assert leased is not None
        with engine.begin() as conn:
            items.advance(conn, leased, [items.Step(590, "Done")], now=NOW, due=None)

    print(f"{'add, one thread':32}{rate(add, count // 4, 1):9.0f}/s")
    print(f"{f'add, {threads} threads':32}{rate(lambda n: add(n + count), count, threads):9.0f}/s")
    print(f"{f'add again, {threads} threads':32}{rate(lambda n: add(n + count), count, threads):9.0f}/s")
    print(f"{'lease and advance, one thread':32}{rate(lease, count // 4, 1):9.0f}/s")
    print(f"{'lease and advance, 8 threads':32}{rate(lease, count // 2, 8):9.0f}/s")


def main() -> None:
    """Measure each engine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=3000)
    parser.add_argument("--threads", type=int, default=16)
    options = parser.parse_args()
    with databases() as urls, tempfile.TemporaryDirectory(prefix="atlas-bench-") as directory:
        for name, url in urls.items():
            engine = make_engine(Settings(data_dir=Path(directory), database_url=url))
            migrate.upgrade(engine)
            print(f"\n{name}")
            measure(engine, options.items, options.threads)
            engine.dispose()


if __name__ == "__main__":
    main()
