"""What stands for a machine in these tests: a directory for /, programs for systemd's, a web server."""

import http.server
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from atlasctl.paths import Paths

RUNS = {
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
        (root / "units").mkdir()

    def unit(
        self, name: str, *, on_restart: dict[str, str] | None = None, exit_code: int = 0, **state: str
    ) -> None:
        """Set a unit's state; what is not given is that of a unit that runs."""
        self._lines(f"units/{name}", RUNS | state)
        self._lines(f"units/{name}.restart", on_restart or {})
        (self.root / f"units/{name}.exit").unlink(missing_ok=True)
        if exit_code:
            self.file(f"units/{name}.exit", f"{exit_code}\n")

    def _lines(self, name: str, state: dict[str, str]) -> None:
        self.file(name, "".join(f"{key}={value}\n" for key, value in state.items()))

    def state(self, name: str) -> dict[str, str]:
        """Return a unit's state as systemd has it now."""
        lines = (self.root / "units" / name).read_text().splitlines()
        return dict(line.partition("=")[::2] for line in lines)  # type: ignore[misc]

    def calls(self, word: str = "") -> list[str]:
        """Return the commands that were run, in order, that contain a word."""
        log = self.root / "calls.log"
        return [line for line in log.read_text().splitlines() if word in line] if log.exists() else []

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
        log = self.root / "calls.log"
        self.file(f"programs/{name}", f'#!/bin/sh\necho {name} "$@" >>{log}\n{script}\n', mode=0o755)


class Site:
    """A small web server whose answers a test sets by path."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, str]] = {}
        self.seen: list[tuple[str, str | None]] = []
        self.before: Callable[[], object] = lambda: None
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.seen.append((self.path, self.headers["Host"]))
                site.before()
                status, body = site.answers.get(self.path.partition("?")[0], (404, "no such page"))
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
