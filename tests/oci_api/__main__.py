"""The fake as a process: `python -m tests.oci_api --directory D`.

It writes D/account.json and D/key.pem when it listens.
"""

import argparse
import json
import signal
import threading
from pathlib import Path

from tests.oci_api.server import FakeOci


def main() -> None:
    parser = argparse.ArgumentParser(description="A fake of Oracle Cloud's API.")
    parser.add_argument("--directory", type=Path, required=True, help="where account.json and key.pem go")
    parser.add_argument("--address", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--region", default="eu-frankfurt-1")
    parser.add_argument("--domains", type=int, default=3, help="how many availability domains the region has")
    parser.add_argument(
        "--public-address", action="append", default=[], help="an address to hand out to machines"
    )
    given = parser.parse_args()
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    cloud = FakeOci(
        address=given.address,
        port=given.port,
        region=given.region,
        domains=given.domains,
        addresses=given.public_address,
    )
    with cloud:
        given.directory.mkdir(parents=True, exist_ok=True)
        account = cloud.account(given.directory)
        waiting = given.directory / "account.json.new"
        waiting.write_text(json.dumps(account, indent=2) + "\n")
        waiting.rename(given.directory / "account.json")  # whoever waits for it finds it whole
        print(cloud.endpoint, flush=True)
        stopped.wait()


if __name__ == "__main__":
    main()
