"""How long `atlas serve` takes from its start until it is ready, and what API and worker weigh then.

.venv/bin/python tests/bench/start.py [--rounds 5]
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "app"), str(ROOT / "tests" / "app")]

from processes import cpu_seconds, free_port, memory_mb, new_atlas, running, tree, wait_for_url  # noqa: E402
from search import databases  # noqa: E402


def main() -> None:
    """Measure on each engine; the first start, which compiles, does not count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with databases() as urls:
        for name, url in urls.items():
            with tempfile.TemporaryDirectory(prefix="atlas-bench-") as directory:
                port = free_port()
                atlas = new_atlas(Path(directory) / "data", url, api_port=port, log_level="warning")
                times, processor = [], []
                for _ in range(options.rounds + 1):
                    started = time.perf_counter()
                    api = atlas.start("serve", log=Path(directory) / "api.log")
                    with running(api):
                        wait_for_url(f"http://127.0.0.1:{port}/ready")
                        times.append(time.perf_counter() - started)
                        processor.append(cpu_seconds(api.pid))
                api = atlas.start("serve", log=Path(directory) / "api.log")
                worker = atlas.start("work", log=Path(directory) / "worker.log")
                with running(api, worker):
                    wait_for_url(f"http://127.0.0.1:{port}/ready")
                    time.sleep(2)
                    together = sum(memory_mb(pid)["Pss"] for one in (api, worker) for pid in tree(one.pid))
            ready, cost = statistics.median(times[1:]), statistics.median(processor[1:])
            print(f"{name:12}{ready:6.2f} s until ready ({cost:.2f} s of the processor)", end="")
            print(f", {together:.0f} MB together")


if __name__ == "__main__":
    main()
