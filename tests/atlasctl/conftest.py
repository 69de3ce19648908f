"""A machine to look after: a directory that stands for /, and small programs that stand for systemd's."""

import http.server
import json
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from atlasctl.paths import Paths

FAKES = Path(__file__).parent / "fakes"
UNIT = {
    "LoadState": "loaded",
    "UnitFileState": "enabled",
    "ActiveState": "active",
    "SubState": "running",
    "Result": "success",
    "NRestarts": "0",
}


class Machine:
    """A root directory, units with states, and a log of the programs that were called."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.paths = Paths(root)
        self.units_file = root / "units.json"
        self.calls_file = root / "calls.log"
        self.units_file.write_text("{}")

    def unit(self, name: str, **state: str) -> None:
        """Set a unit's state; what is not given is that of a unit that runs."""
        units = self.units()
        units[name] = UNIT | state
        self.units_file.write_text(json.dumps(units))

    def units(self) -> dict[str, dict[str, str]]:
        """Return the units' states as systemd has them now."""
        found: dict[str, dict[str, str]] = json.loads(self.units_file.read_text())
        return found

    def calls(self, word: str = "") -> list[str]:
        """Return the commands that were run, in order, that contain a word."""
        lines = self.calls_file.read_text().splitlines() if self.calls_file.exists() else []
        return [line for line in lines if word in line]

    def file(self, name: str, content: str | dict[str, Any], mode: int = 0o644) -> Path:
        """Put a file below the root."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        path.chmod(mode)
        return path

    def check(self, name: str, **definition: Any) -> None:
        """Drop a health check."""
        self.file(f"etc/atlas/health.d/{name}.json", definition)

    def program(self, name: str, script: str) -> None:
        """Put a program first on the PATH."""
        path = self.file(f"fakes/{name}", f'#!/bin/sh\necho {name} "$@" >>{self.calls_file}\n{script}\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Return a machine on which no unit exists yet."""
    made = Machine(tmp_path)
    monkeypatch.setenv("ATLASCTL_ROOT", str(tmp_path))
    monkeypatch.setenv("ATLASCTL_FAKE", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path / 'fakes'}:{FAKES}:{os.environ['PATH']}")
    return made


class Site:
    """A small web server whose answers a test sets by path."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, str]] = {}
        self.seen: list[tuple[str, str | None]] = []
        self.before: Callable[[], None] = lambda: None
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # noqa: N802
                site.seen.append((self.path, self.headers["Host"]))
                site.before()
                status, body = site.answers.get(self.path, (404, "no such page"))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]

    def url(self, path: str = "/") -> str:
        """Return the URL of a path."""
        return f"http://127.0.0.1:{self.port}{path}"


@pytest.fixture
def site() -> Iterator[Site]:
    """Return a running web server on a free port."""
    made = Site()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()
