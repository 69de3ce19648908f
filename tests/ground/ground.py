"""An account at a fake cloud, an inventory for it, and the playbooks as an operator runs them."""

import json
import os
import re
import resource
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
# What changes something at Oracle; the rest only asks.
READS = {"GET", "HEAD"}
QUESTIONS = ("/20200107/usage", "/_control")


class Ssh(socketserver.BaseRequestHandler):
    """What answers where the machine would."""

    def handle(self) -> None:
        self.request.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


@dataclass
class Run:
    """How a playbook ended: its exit code, what was on the screen, and what reached the API meanwhile."""

    code: int
    screen: str
    calls: list[tuple[str, str, int]]
    seconds: float
    processor: float

    @property
    def words(self) -> str:
        """The screen as one line: sentences are wrapped on it."""
        return " ".join(self.screen.split())

    @property
    def writes(self) -> list[str]:
        return [
            f"{method} {path}"
            for method, path, _ in self.calls
            if method not in READS and not path.startswith(QUESTIONS)
        ]

    @property
    def changed(self) -> int:
        """How many tasks changed something, by the recap."""
        found = re.search(r"changed=(\d+)", self.screen)
        assert found is not None, self.screen
        return int(found[1])

    def expect(self, code: int = 0) -> "Run":
        assert self.code == code, self.screen
        assert "Traceback" not in self.screen, self.screen
        return self


def spent() -> float:
    """Seconds of the processor that ended children took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Ground:
    """A fake cloud and an operator's computer: `play` runs a playbook there."""

    def __init__(self, cloud: Any, home: Path, port: int) -> None:
        self.cloud = cloud
        self.home = home
        self.inventory = home / "production"
        self.environment: dict[str, str] = {}
        self.variables: dict[str, Any] = {
            "ansible_port": port,
            "oci_account": {**cloud.account(home), "poll_seconds": 0.05},
            "oci_compute_capacity_minutes": 0,
            "oci_enabled": True,
            "oci_guard_email": "owner@example.org",
            "oci_guard_quota": True,
            "ssh_allowed_cidrs": ["198.51.100.7/32"],
        }

    def write(self, **more: Any) -> None:
        """Write the inventory, with other values of some variables."""
        hosts = {"all": {"hosts": {"machine": {**self.variables, **more}}}}
        self.inventory.mkdir(exist_ok=True)
        (self.inventory / "hosts.yml").write_text(yaml.safe_dump(hosts))

    def play(self, name: str, *arguments: str, limit: float = 120, **more: Any) -> Run:
        """Run a playbook; `more` are variables of the inventory."""
        self.write(**more)
        start, before, cpu = len(self.cloud.calls), time.monotonic(), spent()
        environment = {
            **os.environ,
            "ANSIBLE_HOME": str(self.home / "ansible"),
            "ANSIBLE_NOCOLOR": "1",
            "COLUMNS": "200",
            **self.environment,
            "HOME": str(self.home),
        }
        done = subprocess.run(
            [
                Path(sys.executable).with_name("ansible-playbook"),
                f"--inventory={self.inventory}",
                *arguments,
                f"playbooks/{name}.yml",
            ],
            cwd=ROOT,
            env=environment,
            check=False,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=limit,
        )
        seconds, screen = time.monotonic() - before, done.stdout + done.stderr
        return Run(done.returncode, screen, self.cloud.calls[start:], seconds, spent() - cpu)

    def variables_of(self, *names: str) -> list[Any]:
        """What variables of the machine are, to a playbook that reads the inventory as it is now."""
        self.write()
        done = subprocess.run(
            [
                Path(sys.executable).with_name("ansible"),
                f"--inventory={self.inventory}",
                "--playbook-dir=playbooks",
                "--connection=local",
                "--module-name=debug",
                f"--args=msg={{{{ [{', '.join(names)}] | to_json }}}}",
                "machine",
            ],
            cwd=ROOT,
            env={
                **os.environ,
                "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
                "ANSIBLE_HOME": str(self.home / "ansible"),
                "ANSIBLE_NOCOLOR": "1",
            },
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        found: list[Any] = json.loads(json.loads(done.stdout.partition("=>")[2])["msg"])
        return found

    def left(self) -> list[str]:
        """What there is in the cloud, by kind and name, but for what every account has."""
        always = {"image", "tenancy", "workrequest"}
        return sorted(
            f"{row.kind} {row.body.get('displayName') or row.body.get('name') or ''}".strip()
            for row in list(self.cloud.store.rows.values())
            if row.kind not in always
            and not row.is_gone
            and not row.facts.get("oracles")
            and row.id != self.cloud.user
        )

    def extra(self, **variables: Any) -> str:
        return f"--extra-vars={json.dumps(variables)}"


@contextmanager
def answering_port() -> Iterator[int]:
    """A port that answers as a machine's SSH does."""
    with Server(("127.0.0.1", 0), Ssh) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()
