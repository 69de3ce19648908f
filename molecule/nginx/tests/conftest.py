"""What the tests of the door share: names and passwords, raw requests, and strangers at other addresses."""

import hashlib
import json
import os
import shlex
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

CACHE = Path(__file__).resolve().parents[3] / ".cache" / "judges"
JUDGES = Path(__file__).resolve().parents[1] / "judges"

#: Addresses for examples (RFC 5737, RFC 3849), given to the machine: they are "elsewhere".
STRANGERS = ("198.51.100.7", "198.51.100.8", "2001:db8:1::7", "2001:db8:1::8", "2001:db8:2::7")


@pytest.fixture(scope="session")
def password(scenario_directory):
    return Path(scenario_directory, "secrets", "owner_password").read_text().strip()


@pytest.fixture
def login(password):
    """What nginx asks for."""
    return ("owner", password)


@pytest.fixture(scope="module")
def token(host):
    return {
        "Authorization": f"Bearer {host.check_output('atlas token create door --scope read --scope write')}"
    }


@pytest.fixture
def authority(host):
    return ssl.create_default_context(cadata=host.file("/etc/atlas/certificate/ca.pem").content_string)


@pytest.fixture
def raw(port, authority) -> Callable[[bytes], bytes]:
    """Send bytes over TLS, and return what comes back until the other side hangs up or is silent for 3 s."""

    def send(request: bytes) -> bytes:
        with (
            socket.create_connection(("127.0.0.1", port(443)), timeout=3) as plain,
            authority.wrap_socket(plain, server_hostname="machine") as connection,
        ):
            connection.sendall(request)
            said = b""
            try:
                while piece := connection.recv(65_536):
                    said += piece
            except (TimeoutError, ConnectionResetError):
                pass
            return said

    return send


@pytest.fixture(scope="module")
def elsewhere(host) -> Iterator[Callable[..., list[dict]]]:
    """Ask from one of STRANGERS: its address, a path, and what else `stranger.py` takes."""
    for address in STRANGERS:
        host.check_output(f"ip address replace {address}/{128 if ':' in address else 32} dev lo nodad")
    here = json.loads(host.check_output("ip -json -4 address show dev eth0"))[0]["addr_info"][0]["local"]
    program = (Path(__file__).parent.parent / "stranger.py").read_text()

    def ask(address: str, path: str, **more: object) -> list[dict]:
        wanted = {"from": address, "to": "::1" if ":" in address else here, "path": path, **more}
        return json.loads(
            host.check_output(f"python3 -c {shlex.quote(program)} {shlex.quote(json.dumps(wanted))}")
        )

    yield ask
    for address in STRANGERS:
        host.check_output(f"ip address delete {address}/{128 if ':' in address else 32} dev lo")


@pytest.fixture(scope="module")
def authority_file(host, tmp_path_factory):
    """The authority's certificate as a file: the judges trust it, as the owner's browsers do."""
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    path.write_text(host.file("/etc/atlas/certificate/ca.pem").content_string)
    return path


@pytest.fixture(scope="session")
def observatory():
    """Where the HTTP Observatory is installed."""
    if not (shutil.which("npm") and shutil.which("node")):
        pytest.skip("no npm is installed")
    home, stamp = CACHE / "npm", CACHE / "npm.sha256"
    wanted = hashlib.sha256((JUDGES / "package-lock.json").read_bytes()).hexdigest()
    shutil.copytree(JUDGES, home, dirs_exist_ok=True)
    if not stamp.exists() or stamp.read_text() != wanted:
        command = ["npm", "ci", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund", "--silent"]
        subprocess.run(command, cwd=home, check=True)
        # Its installation would download the list of names that browsers ship; ours is not in it.
        (home / "node_modules/@mdn/mdn-http-observatory/conf/hsts-preload.json").write_text("{}")
        stamp.write_text(wanted)
    return home


@pytest.fixture
def observed(observatory, authority_file, port) -> Callable[[], dict]:
    """What the HTTP Observatory says of the machine."""

    def scan() -> dict:
        said = subprocess.run(
            ["node", "observatory.mjs", "machine", str(port(80)), str(port(443))],
            cwd=observatory,
            env={**os.environ, "NODE_EXTRA_CA_CERTS": str(authority_file)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert said.returncode == 0, said.stderr
        return json.loads(said.stdout)

    return scan


class Crowd:
    """Visitors from outside, in a process of their own (`crowd.py`)."""

    def __init__(self, port: int, authority: Path) -> None:
        self._wanted = {"port": port, "ca": str(authority)}
        self._process: subprocess.Popen[str] | None = None

    @contextmanager
    def __call__(self, verb: str, **wanted: object) -> Iterator[dict]:
        """Have them do something meanwhile; in the end `result` is what became of it."""
        program = Path(__file__).resolve().parents[1] / "crowd.py"
        command = [sys.executable, str(program), verb, json.dumps({**self._wanted, **wanted})]
        ended: dict = {}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as self._process:
            try:
                yield ended
                ended["result"] = json.loads(self._process.communicate(timeout=120)[0])
            finally:
                self._process.kill()

    def running(self) -> bool:
        """Say whether they are still at it."""
        return self._process is not None and self._process.poll() is None

    def wait(self, seconds: float) -> None:
        """Let them begin."""
        time.sleep(seconds)


@pytest.fixture
def crowd(port, authority_file) -> Crowd:
    return Crowd(port(443), authority_file)
