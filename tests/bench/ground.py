"""playbooks/provision.yml against the fake of Oracle's API: requests by what is asked for, and seconds.

.venv/bin/python tests/bench/ground.py [--rounds 3] [--tasks]
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.ground.ground import Ground, Run, answering_port  # noqa: E402

# A callback of Ansible's that notes how long each task took.
WATCH = '''
"""Note how long each task took."""

import json
import os
import time

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = "{name: watch, type: aggregate, short_description: Times, description: Times.}"


class CallbackModule(CallbackBase):
    CALLBACK_NAME = "watch"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        self.begun = [("start", time.monotonic())]

    def v2_playbook_on_task_start(self, task, is_conditional):
        self.begun.append((f"{task.get_name()} [{task.action}]", time.monotonic()))

    def v2_playbook_on_stats(self, stats):
        ends = [moment for _, moment in self.begun[1:]] + [time.monotonic()]
        with open(os.environ["WATCH_TO"], "w") as file:
            json.dump([(name, end - at) for (name, at), end in zip(self.begun, ends)], file)
'''


def main() -> None:
    """Measure a provision of nothing, and of what is there already."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tasks", action="store_true", help="show what each task takes, too")
    options = parser.parse_args()
    try:
        from tests.oci_api.server import FakeOci
    except ImportError as error:
        sys.exit(f"{error}: make setup-oci")
    with (
        tempfile.TemporaryDirectory(prefix="atlas-bench-") as directory,
        FakeOci(addresses=["127.0.0.1"]) as cloud,
        answering_port() as port,
    ):
        ground = Ground(cloud, Path(directory), port)
        watch = Path(directory) / "watch"
        watch.mkdir()
        (watch / "watch.py").write_text(WATCH)
        ground.environment = {
            "ANSIBLE_CALLBACK_PLUGINS": str(watch),
            "ANSIBLE_CALLBACKS_ENABLED": "watch",
            "WATCH_TO": str(watch / "times.json"),
        }
        show("a check of an empty account", [ground.play("provision", "--check", "--diff").expect()])
        show("everything made", [ground.play("provision").expect()])
        rounds = [ground.play("provision").expect() for _ in range(options.rounds)]
        show("nothing to do", rounds)
        if options.tasks:
            times = json.loads((watch / "times.json").read_text())
            for name, seconds in sorted(times, key=lambda row: -row[1]):
                print(f"  {seconds:6.2f}  {name}")
        show("a check of what is there", [ground.play("provision", "--check", "--diff").expect()])
        show("leftovers", [ground.play("leftovers").expect()])
        show("destroy", [ground.play("destroy", ground.extra(confirm="production", oci_keep=[])).expect()])


def show(what: str, runs: list[Run]) -> None:
    """Print the median of the runs, and the requests of the last."""
    seconds = statistics.median(run.seconds for run in runs)
    processor = statistics.median(run.processor for run in runs)
    verbs = Counter(method for method, *_ in runs[-1].calls)
    kinds = ", ".join(f"{count} {method}" for method, count in sorted(verbs.items()))
    total = len(runs[-1].calls)
    print(f"{what:30}{seconds:7.1f} s ({processor:.1f} s of the processor), {total} requests: {kinds}")


if __name__ == "__main__":
    main()
