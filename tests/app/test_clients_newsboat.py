"""newsboat, as Debian packages it, reads and marks entries over the wire."""

import datetime as dt
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from atlas import accounts, items
from atlas.database.engine import make_engine
from atlas.database.tables import items as items_table
from atlas.settings import Settings
from atlas.sources import subscriptions

pytestmark = pytest.mark.slow
APP = Path(__file__).resolve().parents[2] / "app"


@pytest.mark.skipif(shutil.which("newsboat") is None, reason="newsboat is not installed")
def test_newsboat_reads_a_feed_and_marks_it(settings: Settings, tmp_path: Path) -> None:
    engine = make_engine(settings)
    now = dt.datetime.now(dt.UTC)
    with engine.begin() as conn:
        user = accounts.set_password(conn, "owner", "correct horse", now, actor="test")
        token = accounts.create_token(conn, user, "newsboat", now, scopes=["read", "write"])
        feed = subscriptions.subscribe(conn, "https://example.org/feed.xml", now=now, title="Lighthouses")
        found = []
        for number, read_at in enumerate((None, None, now)):
            added = items.add(
                conn, f"https://example.org/{number}", now=now, correlation_id="t", feed_id=feed["id"]
            )
            done = items_table.update().where(items_table.c.id == added.id)
            conn.execute(done.values(stage=590, due_at=None, title=f"Entry & {number}", read_at=read_at))
            items.write_content(conn, added.id, title="", text="Words", html="<p>Words</p>")
            found.append(added.id)
    port = _free_port()
    environment = {
        **os.environ,
        "PYTHONPATH": str(APP),
        "ATLAS_DATA_DIR": str(settings.data_dir),
        "ATLAS_DATABASE_URL": settings.database_url,
        "ATLAS_API_PORT": str(port),
        "ATLAS_PUBLIC_URL": f"http://127.0.0.1:{port}",
    }
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "atlas", "serve"], env=environment, stdout=log, cwd=tmp_path
        )
    try:
        _wait_for(port)
        newsboat = Newsboat(tmp_path, port, token)
        newsboat.run("reload")
        assert newsboat.run("print-unread") == "2 unread articles"
        newsboat.mark_first_feed_read()
        with engine.connect() as conn:
            query = sa.select(items_table.c.read_at.is_not(None)).where(items_table.c.id.in_(found))
            assert list(conn.execute(query).scalars()) == [True, True, True]
    finally:
        server.terminate()
        server.wait(20)
        engine.dispose()
    told = (tmp_path / "log").read_text()
    assert "/reader/atom/" in told
    assert token not in told


class Newsboat:
    def __init__(self, home: Path, port: int, token: str) -> None:
        self.home = home
        (home / "config").write_text(
            f"urls-source feedhq\nfeedhq-url http://127.0.0.1:{port}\n"
            f'feedhq-login owner\nfeedhq-password "{token}"\nfeedhq-show-special-feeds no\n'
        )
        self.command = [
            "newsboat", "-C", str(home / "config"), "-c", str(home / "cache.db"), "-u", str(home / "urls")
        ]  # fmt: skip
        self.environment = {**os.environ, "HOME": str(home), "TERM": "xterm", "LC_ALL": "C.UTF-8"}

    def run(self, action: str) -> str:
        done = subprocess.run(
            [*self.command, "-x", action],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout.strip()

    def mark_first_feed_read(self) -> None:
        """Press A in the list of feeds, on a terminal of its own."""
        main, other = os.openpty()
        process = subprocess.Popen(
            self.command, env=self.environment, stdin=other, stdout=other, stderr=other
        )
        try:
            time.sleep(2)
            os.write(main, b"A")
            time.sleep(2)
            os.write(main, b"q")
            process.wait(20)
        finally:
            process.kill()
            os.close(main)
            os.close(other)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("the server did not start")
