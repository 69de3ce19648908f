"""How much memory Atlas takes: API, worker and reader, after all saved pages went through them.

.venv/bin/python tests/bench/memory.py [--idle]

Needs the corpus of saved pages beside the repository (see `tests/app/reading_corpus.py`).
"""

import argparse
import json
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "app"), str(ROOT / "tests" / "app")]

from processes import command_of, free_port, memory_mb, new_atlas, running, tree, wait_for_url  # noqa: E402
from reading_corpus import CORPUS  # noqa: E402
from search import databases  # noqa: E402
from webserver import WebServer  # noqa: E402

#: Seconds after which a reader that has nothing to do is gone.
IDLE_SECONDS = 75


def ask(port: int, token: str, path: str, body: object = None) -> bytes:
    """Ask the API."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: bytes = answer.read()
        return found


def take_in_everything(port: int, token: str) -> None:
    """Add each page, wait until all are done, then look at lists, items, searches and metrics."""
    with WebServer(CORPUS) as web:
        ids = [
            json.loads(ask(port, token, "/api/items", {"url": web.url(f"/{path.name}")}))["id"]
            for path in sorted(CORPUS.iterdir())
        ]
        while b'"items":[]' not in ask(port, token, "/api/items?stage=110&limit=1").replace(b" ", b""):
            time.sleep(0.2)
        time.sleep(5)  # the last ones
    for item in ids:
        ask(port, token, f"/api/items/{item}")
    for word in ("the", "people", "government", "atlas"):
        ask(port, token, f"/api/search?q={word}")
        ask(port, token, f"/api/items?q={word}")
    for _ in range(20):
        ask(port, token, "/api/items?limit=50")
    ask(port, token, "/metrics")


def report(title: str, pids: list[int]) -> None:
    """Print a line a process, and the sum."""
    print(f"{title}\n{'':44}{'RSS':>8}{'PSS':>8}{'peak':>8}  MB")
    total = dict.fromkeys(("Rss", "Pss", "Peak"), 0.0)
    for parent in pids:
        for pid in tree(parent):
            found = memory_mb(pid)
            total = {name: total[name] + found[name] for name in total}
            print(f"  {command_of(pid):42}{found['Rss']:8.1f}{found['Pss']:8.1f}{found['Peak']:8.1f}")
    print(f"  {'together':42}{total['Rss']:8.1f}{total['Pss']:8.1f}{total['Peak']:8.1f}")


def main() -> None:
    """Measure on each engine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--idle", action="store_true", help="look again when the reader has ended for want of work"
    )
    options = parser.parse_args()
    if not CORPUS.is_dir():
        sys.exit(f"the corpus of saved pages is not at {CORPUS}")
    with databases() as urls:
        for name, url in urls.items():
            with tempfile.TemporaryDirectory(prefix="atlas-bench-") as directory:
                port = free_port()
                atlas = new_atlas(Path(directory) / "data", url, api_port=port, log_level="warning")
                token = atlas.run("token", "create", "bench").strip()
                api = atlas.start("serve", log=Path(directory) / "api.log")
                worker = atlas.start("work", log=Path(directory) / "worker.log")
                with running(api, worker):
                    wait_for_url(f"http://127.0.0.1:{port}/ready")
                    report(f"{name}, at the start", [api.pid, worker.pid])
                    take_in_everything(port, token)
                    report(f"{name}, after the corpus", [api.pid, worker.pid])
                    if options.idle:
                        time.sleep(IDLE_SECONDS)
                        report(f"{name}, at rest", [api.pid, worker.pid])


if __name__ == "__main__":
    main()
