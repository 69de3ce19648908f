"""Write the dashboards' JSON into the role grafana; with --check, say whether it is as it should be.

`make dashboards` runs it. Grafana itself is not asked: the builder knows what it reads.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

# The builder would rather have the format of Grafana 12 and later; every version reads this one from files.
warnings.filterwarnings("ignore", "Prefer using dashboardv2", DeprecationWarning)

import content  # noqa: E402
import overview  # noqa: E402
import system  # noqa: E402
from grafana_foundation_sdk.cog.encoder import JSONEncoder  # noqa: E402

PLACE = Path(__file__).resolve().parents[2] / "roles/grafana/tree/etc/grafana/dashboards.d"


def main() -> int:
    """Write or check the files; return the exit code."""
    parser = argparse.ArgumentParser(prog="dashboards", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing, say whether the files are current"
    )
    arguments = parser.parse_args()
    made = {
        PLACE / f"{module.__name__}.json": JSONEncoder(sort_keys=True, indent=1).encode(module.build()) + "\n"
        for module in (overview, system, content)
    }
    stale = [path for path, text in made.items() if not path.exists() or path.read_text() != text]
    stale += sorted(set(PLACE.glob("*")) - set(made))
    if arguments.check:
        for path in stale:
            print(f"{path.name} is not what the builder makes: make dashboards", file=sys.stderr)
        return 1 if stale else 0
    PLACE.mkdir(parents=True, exist_ok=True)
    for path in stale:
        if path in made:
            path.write_text(made[path])
        else:
            path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
