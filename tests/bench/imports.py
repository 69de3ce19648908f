"""How long an import of bookmarks takes, and how much memory, on both engines; then the same file once more.

.venv/bin/python tests/bench/imports.py [--records 100000]
"""

import argparse
import datetime as dt
import io
import resource
import sys
import tempfile
import time
from pathlib import Path

from sqlalchemy.engine import Engine

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "app"), str(ROOT / "tests" / "app")]

from search import databases  # noqa: E402

from atlas.database import migrate  # noqa: E402
from atlas.database.engine import make_engine, read  # noqa: E402
from atlas.settings import Settings  # noqa: E402
from atlas.sources import imports  # noqa: E402
from atlas.sources.imports.work import work  # noqa: E402

NOW = dt.datetime(2026, 11, 22, 8, 0, tzinfo=dt.UTC)


def bookmarks(count: int) -> bytes:
    """Return a browser's bookmarks, a hundred to a folder."""
    lines = ["<!DOCTYPE NETSCAPE-Bookmark-file-1>", "<H1>Bookmarks</H1>", "<DL><p>"]
    for number in range(count):
        if number % 100 == 0:
            lines += ["</DL><p>"] * bool(number)
            lines += [f'<DT><H3 ADD_DATE="1690000000">Folder {number // 100}</H3>', "<DL><p>"]
        url = f"https://host{number % 9973}.example/articles/{number}?ref=bookmark&amp;id={number}"
        tags = f"topic{number % 50},year{number % 20}"
        lines.append(f'<DT><A HREF="{url}" ADD_DATE="{1500000000 + number}" TAGS="{tags}">Title {number}</A>')
        if number % 10 == 0:
            lines.append(f"<DD>A note about bookmark {number}")
    return "\n".join([*lines, "</DL><p>", "</DL><p>"]).encode()


def take_in(engine: Engine, settings: Settings, raw: bytes) -> tuple[float, dict[str, int]]:
    """Import a file; return the seconds it took, and what became of its records."""
    started = time.perf_counter()
    found = imports.start(engine, settings, io.BytesIO(raw), name="bench", now=NOW)
    while work(engine, settings, lambda: NOW):
        pass
    with read(engine) as conn:
        done = imports.get(conn, found["id"])
    assert done is not None
    assert done["state"] == "done"
    return time.perf_counter() - started, {name: n for name, n in done["counts"].items() if n}


def main() -> None:
    """Measure each engine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    options = parser.parse_args()
    raw = bookmarks(options.records)
    print(f"{options.records} bookmarks, {len(raw) / 1e6:.1f} MB")
    with databases() as urls:
        for name, url in urls.items():
            with tempfile.TemporaryDirectory(prefix="atlas-bench-") as directory:
                settings = Settings(_env_file=None, data_dir=Path(directory), database_url=url)
                engine = make_engine(settings)
                migrate.upgrade(engine)
                for what in ("the first time", "once more"):
                    cpu = time.process_time()
                    seconds, counts = take_in(engine, settings, raw)
                    cpu = time.process_time() - cpu
                    print(
                        f"{name:12}{what:16}{seconds:6.1f} s ({cpu:.1f} of this process)  {counts}",
                        flush=True,
                    )
                engine.dispose()
    print(f"most memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
