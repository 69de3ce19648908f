"""An outsider in a container of his own, and the owner meanwhile, who comes from this machine."""

import json
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import engine
import httpx2
import pytest

MOLECULE = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(MOLECULE / "nginx" / "tests"), str(MOLECULE / "front_door")]

from outsider import SCAN, SCAN_UDP  # noqa: E402
from visiting import log_in  # noqa: E402
from world import NAME, OUTSIDER  # noqa: E402


class Outsider:
    """Runs Python programs over there."""

    def __init__(self, authority: str) -> None:
        self.engine = engine.require()
        script = "mkdir -p /etc/atlas/certificate && cat > /etc/atlas/certificate/ca.pem"
        self.engine.execute(OUTSIDER, script, stdin=authority)

    def address(self, version: int = 4, container: str = NAME) -> str:
        """Return where one of the two is on the network; a restart may have moved it."""
        command = ["ip", "-json", f"-{version}", "address", "show", "dev", "eth0", "scope", "global"]
        found = json.loads(self.engine.run("exec", container, *command))
        return next((one["local"] for link in found for one in link.get("addr_info", [])), "")

    def start(self, program: str, *arguments: str) -> subprocess.Popen[str]:
        """Start a program over there."""
        inside = f"ulimit -n 8192; exec python3 - {shlex.join(arguments)}"
        process = subprocess.Popen(
            [self.engine.name, "exec", "-i", OUTSIDER, "sh", "-c", inside],
            env=self.engine.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        process.stdin.write(program)
        process.stdin.close()
        process.stdin = None
        return process

    def run(self, program: str, *arguments: str) -> str:
        """Run a program over there to its end and return what it printed."""
        process = self.start(program, *arguments)
        said, _ = process.communicate(timeout=240)
        assert process.returncode == 0, said
        return said

    def scan(self, address: str, program: str = SCAN, *arguments: str) -> dict[int, str]:
        """Say which TCP ports answer, all 65,535 of them, and how."""
        lines = self.run(program, address, *(arguments or ("1", "65535"))).splitlines()
        return {int(port): answer for port, answer in map(str.split, lines)}

    def scan_udp(self, address: str, ports: list[int]) -> dict[int, str]:
        """Say which UDP ports answer, and how."""
        return self.scan(address, SCAN_UDP, *map(str, ports))

    def ask(self, path: str, **more: object) -> list[dict]:
        """Ask the web server, as `stranger.py` does."""
        wanted = {"from": "0.0.0.0", "to": self.address(), "path": path, **more}
        return json.loads(self.run((MOLECULE / "nginx/stranger.py").read_text(), json.dumps(wanted)))

    @contextmanager
    def crowd(self, verb: str, **more: object) -> Iterator[dict]:
        """Have a crowd do something meanwhile (`crowd.py`); in the end `result` is what became of it."""
        ca = "/etc/atlas/certificate/ca.pem"
        wanted = {"to": self.address(), "port": 443, "ca": ca, **more}
        ended: dict = {}
        with self.start((MOLECULE / "nginx/crowd.py").read_text(), verb, json.dumps(wanted)) as process:
            ended["running"] = lambda: process.poll() is None
            try:
                yield ended
                ended["result"] = json.loads(process.communicate(timeout=240)[0])
            finally:
                process.kill()


@pytest.fixture(scope="session")
def login(scenario_directory):
    """The owner's name and password, for both doors."""
    return ("owner", Path(scenario_directory, "secrets", "owner_password").read_text().strip())


@pytest.fixture
def outsider(host):
    return Outsider(host.file("/etc/atlas/certificate/ca.pem").content_string)


class Owner:
    """Looks at his library all the time, and keeps how long that took."""

    def __init__(self, web: httpx2.Client, login: tuple[str, str]) -> None:
        self.web, self.login = web, login
        log_in(web, login)
        self.statuses: list[int] = []
        self.seconds: list[float] = []
        self._over = threading.Event()

    def __enter__(self) -> "Owner":
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.1):
            began = time.monotonic()
            answer = self.web.get("/", headers={"Accept": "text/html"})
            self.seconds.append(time.monotonic() - began)
            self.statuses.append(answer.status_code)

    def waited(self) -> float:
        """Return the longest wait but one of twenty: client, attacker and machine share the cores."""
        assert len(self.seconds) >= 5, "looked too rarely to say anything"
        assert set(self.statuses) == {200}
        print(f"owner: {len(self.seconds)} pages, slowest {max(self.seconds):.2f} s")
        return sorted(self.seconds)[-1 - len(self.seconds) // 20]


@pytest.fixture
def owner(web, login):
    """The owner, logged in; `with owner:` he looks at his library."""
    return Owner(web, login)
