"""How many pages a second a worker takes in, fetched, read, kept and indexed, beside a bare trafilatura loop.

.venv/bin/python tests/bench/ingest.py [--rounds 3]

Needs the corpus of saved pages beside the repository (see `tests/app/reading_corpus.py`). Both are counted
per second of processor time, so that the web server and whoever else is on the machine do not matter.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import trafilatura
from sqlalchemy.engine import Engine

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "app"), str(ROOT / "tests" / "app")]

from processes import cpu_seconds, new_atlas, running  # noqa: E402
from reading_corpus import CORPUS  # noqa: E402
from search import databases  # noqa: E402
from webserver import ARTICLE, Page, WebServer  # noqa: E402

from atlas import items  # noqa: E402
from atlas.database.engine import make_engine, read  # noqa: E402
from atlas.settings import Settings  # noqa: E402
from atlas.stages.table import TERMINAL  # noqa: E402

NAMES = sorted(path.name for path in CORPUS.iterdir()) if CORPUS.is_dir() else []


def bare_loop() -> float:
    """Extract every page with trafilatura alone; return pages per second of processor time."""
    pages = [(CORPUS / name / "source.html").read_bytes() for name in NAMES]
    trafilatura.extract(pages[0])
    started = time.process_time()
    for page in pages:
        trafilatura.extract(page.decode("utf-8", "replace"))
    return len(pages) / (time.process_time() - started)


def ingest(directory: Path, database_url: str) -> tuple[float, float]:
    """Have a worker take in the corpus; return pages per second of processor time, and of time."""
    data = directory / "data"
    atlas = new_atlas(data, database_url, log_level="warning")
    engine = make_engine(Settings(_env_file=None, data_dir=data, database_url=database_url))
    with WebServer(CORPUS) as web:
        web.pages["/warm"] = Page(ARTICLE)
        worker = atlas.start("work", log=directory / "worker.log")
        with running(worker):
            atlas.run("add", web.url("/warm"))
            wait_until_done(engine)
            cpu, started = cpu_seconds(worker.pid), time.perf_counter()
            atlas.run("add", "-", stdin="\n".join(web.url(f"/{name}") for name in NAMES))
            wait_until_done(engine)
            seconds = time.perf_counter() - started
            cpu = cpu_seconds(worker.pid) - cpu
    engine.dispose()
    return len(NAMES) / cpu, len(NAMES) / seconds


def wait_until_done(engine: Engine) -> None:
    """Wait until every item is at an end."""
    while True:
        with read(engine) as conn:
            if all(stage in TERMINAL for stage in items.counts(conn)):
                return
        time.sleep(0.05)


def main() -> None:
    """Measure both by turns, on each engine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if not NAMES:
        sys.exit(f"the corpus of saved pages is not at {CORPUS}")
    rates: dict[str, list[tuple[float, float]]] = {}
    bare = []
    for _ in range(options.rounds):
        bare.append(bare_loop())
        with databases() as urls:
            for name, url in urls.items():
                with tempfile.TemporaryDirectory(prefix="atlas-bench-") as directory:
                    rates.setdefault(name, []).append(ingest(Path(directory), url))
    loop = statistics.median(bare)
    print(f"{'trafilatura alone':20}{loop:8.1f} pages/s per core")
    for name, found in rates.items():
        per_core = statistics.median(rate for rate, _ in found)
        per_second = statistics.median(rate for _, rate in found)
        print(f"{name:20}{per_core:8.1f} pages/s per core ({per_core / loop:.0%}), {per_second:.1f} pages/s")


if __name__ == "__main__":
    main()
