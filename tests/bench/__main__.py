"""Run the benchmarks one after another: `make bench`, or `make bench ARGS="pages search"` for some of them.

Nothing here passes or fails; the numbers go to docs/measurements.md by hand, with the machine's size.
"""

import os
import platform
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
#: In the order of an item's life: saved, read, taken in, found, served; and what all that costs.
BENCHES = {
    "throughput": "adding and leasing items",
    "feeds": "asking 200 feeds with 50 entries each",
    "pages": "reading pages, beside trafilatura",
    "ingest": "the whole pipeline, beside trafilatura",
    "imports": "taking in 100,000 bookmarks, and the same file once more",
    "search": "searching and listing among 100,000",
    "serving": "the API and the pages under load",
    "miniflux": "feeds of many entries, beside miniflux",
    "door": "nginx as the role sets it up, beside a stock one",
    "start": "from the start to ready",
    "backup": "backing up and bringing back 100,000 items, beside borgmatic",
    "memory": "memory after the saved pages went through",
    "ground": "provisioning Oracle Cloud, against the fake",
}


def main() -> int:
    """Run what was asked for; returns the first exit code that is not 0."""
    asked = sys.argv[1:] or list(BENCHES)
    unknown = [name for name in asked if name not in BENCHES]
    if unknown:
        print(f"There is no {', '.join(unknown)}; there are: {', '.join(BENCHES)}.", file=sys.stderr)
        return 2
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}")
    worst = 0
    for name in asked:
        print(f"\n== {name}: {BENCHES[name]}", flush=True)
        worst = worst or subprocess.run([sys.executable, HERE / f"{name}.py"], check=False).returncode
    return worst


if __name__ == "__main__":
    sys.exit(main())
