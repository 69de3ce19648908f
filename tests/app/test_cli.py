"""The command `atlas`, as a person at a shell and a script meet it."""

import contextlib
import datetime as dt
import io
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog
from sqlalchemy.engine import Engine

from atlas import accounts, items
from atlas.cli import main
from atlas.database.engine import read
from atlas.database.tables import feeds, workers
from atlas.items import ItemError
from atlas.stages.table import Stage
from atlas.worker import utc_now

APP = Path(__file__).resolve().parents[2] / "app"


@dataclass
class Done:
    status: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def logging_as_before():
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


@pytest.fixture
def atlas(settings, monkeypatch, logging_as_before, tmp_path):
    """Run a command in this process, against the test's database."""
    monkeypatch.setenv("ATLAS_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("ATLAS_DATABASE_URL", settings.database_url)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, stdin: str = "") -> Done:
        out, err = io.StringIO(), io.StringIO()
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = main(list(arguments))
            except SystemExit as end:
                status = end.code
        return Done(status, out.getvalue(), err.getvalue())

    return run


def test_urls_are_added(atlas, engine: Engine) -> None:
    done = atlas("add", "https://example.org/1", "https://example.org/2")
    assert done.status == 0
    assert re.fullmatch(r"1 +https://example.org/1\n2 +https://example.org/2\n", done.out)
    assert done.err == ""
    with read(engine) as conn:
        assert items.counts(conn) == {110: 2}


def test_a_known_url_is_said_to_be_known(atlas) -> None:
    atlas("add", "https://example.org/1")
    done = atlas("add", "https://example.org/1?utm_source=x", "--json")
    (added,) = done.json
    assert (added["stage"], added["duplicate_of"]) == (599, 1)
    assert "item 1 already" in atlas("add", "https://example.org/1").out


def test_a_bad_url_is_named_and_the_others_are_added(atlas, engine) -> None:
    done = atlas("add", "ftp://example.org/", "https://example.org/")
    assert done.status == 1
    assert done.err.startswith("atlas: ftp://example.org/: ")
    assert done.err.count("\n") == 1
    with read(engine) as conn:
        assert items.counts(conn) == {110: 1}


def test_urls_come_from_standard_input(atlas) -> None:
    done = atlas("add", "-", "--json", stdin="https://example.org/1\n\n  https://example.org/2  \n")
    assert [item["url"] for item in done.json] == ["https://example.org/1", "https://example.org/2"]


def finished(engine: Engine, title: str, text: str) -> None:
    with engine.begin() as conn:
        added = items.add(conn, f"https://example.org/{title}", now=utc_now(), correlation_id="t")
    leased = items.lease(engine, worker="w", now=utc_now(), lease_seconds=30, host_delay_seconds=0)
    with engine.begin() as conn:
        steps = [items.Step(Stage.COMPLETE, "Ready")]
        items.advance(conn, leased, steps, now=utc_now(), due=None, fields={"title": title})
        items.write_content(conn, added.id, title=title, text=text, html="")


def test_search(atlas, engine) -> None:
    finished(engine, "Tea", "Water & leaves, <hot>.")
    done = atlas("search", "leaves", "hot")
    assert done.status == 0
    assert "1 found" in done.out
    assert "1  Tea\n    https://example.org/Tea\n" in done.out
    assert "Water & *leaves*, <*hot*>." in done.out
    found = atlas("search", "--json", "--limit", "1", "--", "water", "-coffee").json
    assert found["total"] == 1
    assert found["items"][0]["title"] == "Tea"
    assert atlas("search", "coffee").out == "0 found\n"


def test_status_of_an_empty_library(atlas) -> None:
    done = atlas("status")
    assert done.status == 0
    assert re.search(r"Worker +none runs: start one with `atlas work`", done.out)
    assert re.search(r"Waiting +nothing", done.out)
    assert "Last errors" not in done.out


def test_status_tells_what_waits_works_and_failed(atlas, engine) -> None:
    finished(engine, "Tea", "Water.")
    with engine.begin() as conn:
        now = utc_now()
        items.add(conn, "https://example.org/gone", now=now, correlation_id="t")
        items.add(conn, "https://example.org/busy", now=now, correlation_id="t")
    for fail in (True, False):
        leased = items.lease(engine, worker="w", now=utc_now(), lease_seconds=30, host_delay_seconds=0)
        error = ItemError(
            "http_404" if fail else "timeout", "It is gone." if fail else "No answer.", Stage(120)
        )
        with engine.begin() as conn:
            if fail:
                items.fail(conn, leased, error, now=now)
            else:
                items.retry_later(conn, leased, error, now=now, at=now + dt.timedelta(hours=1))
    with engine.begin() as conn:
        long_ago = now - dt.timedelta(minutes=3)
        items.add(conn, "https://example.org/waits", now=long_ago, correlation_id="t")
        conn.execute(workers.insert().values(name="host:7", started_at=long_ago, seen_at=now, processed=1234))
        row = {
            "url": "u",
            "url_key": "u",
            "interval_seconds": 60,
            "due_at": now,
            "added_at": now,
            "failures": 2,
        }
        conn.execute(feeds.insert().values(row))

    done = atlas("status")
    assert done.status == 0
    for line in (
        r"Worker +host:7, up 3 min, 1,234 items",
        r"Waiting +1 normal \(the oldest for 3 min\)",
        r"Readable +1 items",
        r"Retried later +1",
        r"Dead letters +1",
        r"Feeds +0 healthy, 1 broken",
        r"  2  It is gone\.\n      https://example.org/gone",
        r"  3  No answer\. Next try at [-\d]+ [:\d]+ UTC\.",
    ):
        assert re.search(line, done.out), line
    data = atlas("status", "--json").json
    assert (data["worker_alive"], data["dead_letters"], data["to_be_retried"]) == (True, 1, 1)
    assert data["stages"] == {"110": 1, "590": 1, "777": 1, "888": 1}
    assert data["failed_by_reason"] == {"http_404": 1, "timeout": 1}

    with engine.begin() as conn:
        conn.execute(workers.update().values(seen_at=now - dt.timedelta(minutes=2)))
    assert "DEAD: host:7 was last heard of 2 min ago" in atlas("status").out


def test_migrate_makes_the_owner(atlas, engine, monkeypatch) -> None:
    monkeypatch.setenv("ATLAS_OWNER_PASSWORD", "s3cret")
    first = atlas("migrate", "--json")
    assert first.status == 0
    assert first.json["owner_changed"] is True
    assert first.json["migrated"] is False
    again = atlas("migrate")
    assert "up to date" in again.out
    assert "password" not in again.out
    assert accounts.login(engine, "owner", "s3cret", now=utc_now(), days=1, address="x")
    assert "s3cret" not in first.out + first.err + again.out + again.err


def test_migrate_a_new_database(empty_settings, monkeypatch, logging_as_before, capsys) -> None:
    monkeypatch.setenv("ATLAS_DATA_DIR", str(empty_settings.data_dir))
    monkeypatch.setenv("ATLAS_DATABASE_URL", empty_settings.database_url)
    assert main(["add", "https://example.org/"]) == 1
    assert "Run `atlas migrate`" in capsys.readouterr().err
    assert main(["migrate", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["migrated"] is True
    assert main(["add", "https://example.org/"]) == 0


def test_users_and_tokens(atlas, engine) -> None:
    assert "atlas user set owner" in atlas("token", "create", "phone").err
    done = atlas("user", "set", "owner", stdin="s3cret\n")
    assert done.status == 0
    assert "s3cret" not in done.out
    assert accounts.login(engine, "owner", "s3cret", now=utc_now(), days=1, address="x")

    plain = atlas("token", "create", "phone").out.strip()
    assert plain.startswith("atl_")
    with engine.begin() as conn:
        accounts.touch_token(conn, accounts.check_token(conn, plain, utc_now()).token_id, utc_now())
    assert re.match(
        r"1  phone  \(owner, read\+write, made [-\d]+, used [-\d]+\)\n", atlas("token", "list").out
    )
    assert plain not in atlas("token", "list", "--json").out
    assert atlas("token", "revoke", "1").status == 0
    assert "no token 1" in atlas("token", "revoke", "1").err
    assert atlas("token", "list").out == "There are no tokens.\n"
    assert atlas("user", "set", "owner", stdin="").err == "atlas: The password is empty.\n"


def test_tokens_with_scopes_and_an_end(atlas, engine) -> None:
    atlas("user", "set", "owner", stdin="s3cret\n")
    plain = atlas("token", "create", "reader", "--scope", "read", "--expires", "7").out.strip()
    with engine.connect() as conn:
        assert accounts.check_token(conn, plain, utc_now()).scopes == {"read"}
        assert accounts.check_token(conn, plain, utc_now() + dt.timedelta(days=8)) is None
    (row,) = json.loads(atlas("token", "list", "--json").out)
    assert row["scopes"] == ["read"]
    assert "until" in atlas("token", "list").out
    assert atlas("token", "create", "x", "--scope", "all").status == 2


def test_accounts_are_made_listed_and_removed(atlas, engine) -> None:
    assert "(owner)" in atlas("user", "set", "anna", stdin="one\n").out, "the first account is an owner's"
    assert "(member)" in atlas("user", "set", "bert", stdin="two\n").out
    assert atlas("user", "list").out == "anna  (owner, password)\nbert  (member, password)\n"
    assert "only owner" in atlas("user", "remove", "anna").err
    assert "(owner)" in atlas("user", "set", "bert", "--role", "owner", stdin="two\n").out
    assert atlas("user", "remove", "anna").status == 0
    assert "no account" in atlas("user", "remove", "anna").err
    told = atlas("audit-log").out.splitlines()
    assert told[-1].endswith('command line  user.remove  {"user": "anna"}')
    assert [row["action"] for row in json.loads(atlas("audit-log", "--limit", "2", "--json").out)] == [
        "user.role",
        "user.remove",
    ]


def test_feeds(atlas) -> None:
    done = atlas("feed", "add", "https://example.org/feed.xml")
    assert (done.status, done.out) == (0, "1  https://example.org/feed.xml\n")
    assert "https://example.org/feed.xml" in atlas("feed", "list").out
    assert atlas("feed", "list", "--json").json[0]["failures"] == 0
    assert atlas("feed", "add", "mailto:me").status == 1


def test_poll_with_nothing_due(atlas) -> None:
    done = atlas("poll")
    assert done.status == 0
    assert json.loads(done.out.splitlines()[-1])["event"] == "feeds polled"


def test_settings_are_checked(atlas, monkeypatch) -> None:
    assert atlas("check-config").out.startswith("The settings are valid.")
    monkeypatch.setenv("ATLAS_WORKER_THREDS", "2")
    done = atlas("check-config")
    assert done.status == 0
    assert "ATLAS_WORKER_THREDS" in done.err
    assert "ATLAS_WORKER_THREADS" in done.err
    monkeypatch.setenv("ATLAS_API_PORT", "many")
    monkeypatch.setenv("ATLAS_MAX_ATTEMPTS", "0")
    done = atlas("check-config")
    assert done.status == 1
    assert sorted(line.split()[1] for line in done.err.splitlines()) == [
        "ATLAS_API_PORT",
        "ATLAS_MAX_ATTEMPTS",
        "ATLAS_WORKER_THREDS",
    ]
    assert atlas("work").status == 1


def test_a_database_that_is_away_is_one_line_without_its_password(atlas, monkeypatch) -> None:
    monkeypatch.setenv("ATLAS_DATABASE_URL", "postgresql+psycopg://atlas:s3cret@127.0.0.1:1/atlas")
    done = atlas("status")
    assert done.status == 1
    assert done.err.count("\n") == 1
    assert done.err.startswith("atlas: The database does not answer")
    assert "ATLAS_DATABASE_URL" in done.err
    assert "s3cret" not in done.err


@pytest.mark.parametrize(
    "wrong", [[], ["nonsense"], ["add"], ["search", "--limit", "0", "x"], ["token"], ["token", "revoke", "x"]]
)
def test_what_is_not_understood_is_status_2(wrong, capsys) -> None:
    with pytest.raises(SystemExit) as end:
        main(wrong)
    assert end.value.code == 2
    assert "usage: atlas" in capsys.readouterr().err


def python(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=APP, capture_output=True, check=True, text=True).stdout


def test_help_does_not_load_what_it_does_not_need() -> None:
    loaded = python(
        "import sys\nfrom atlas.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print(*sys.modules)"
    )
    assert "usage: atlas" in loaded
    assert not {"sqlalchemy", "pydantic", "fastapi", "structlog"} & set(loaded.split())


def test_the_worker_does_not_carry_what_it_does_not_need() -> None:
    loaded = python("import sys\nimport atlas.commands.work\nprint(*sys.modules)").split()
    assert not {"fastapi", "starlette", "uvicorn", "trafilatura", "lxml", "jinja2", "alembic"} & set(loaded)


def test_a_closed_pipe_is_no_traceback(settings, engine, tmp_path) -> None:
    finished(engine, "Tea", "Water.")
    environment = {
        **os.environ,
        "ATLAS_DATA_DIR": str(settings.data_dir),
        "ATLAS_DATABASE_URL": settings.database_url,
    }
    command = f"{sys.executable} -m atlas search water | true"
    done = subprocess.run(
        ["bash", "-c", command], cwd=APP, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""


@pytest.fixture
def served(settings, tmp_path):
    """The API in a process of its own, as systemd would start it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(tmp_path / "notify"))
    listener.settimeout(20)
    environment = {
        **os.environ,
        "ATLAS_DATA_DIR": str(settings.data_dir),
        "ATLAS_DATABASE_URL": settings.database_url,
        "ATLAS_API_PORT": str(port),
        "NOTIFY_SOCKET": str(tmp_path / "notify"),
        "WATCHDOG_USEC": "200000",
    }
    log = (tmp_path / "log").open("w+")
    process = subprocess.Popen(
        [sys.executable, "-m", "atlas", "serve"], cwd=APP, env=environment, stdout=log, stderr=log
    )
    yield process, port, listener, tmp_path / "log"
    process.kill()
    process.wait()
    listener.close()
    log.close()


def left_with_systemd(listener: socket.socket) -> int:
    """What systemd keeps for the next run: the listening socket."""
    said, fds, *_ = socket.recv_fds(listener, 100, 1)
    assert said == b"FDSTORE=1\nFDNAME=api"
    with socket.socket(fileno=os.dup(fds[0])) as kept:
        assert kept.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN), "systemd drops what does not listen"
    return fds[0]


def test_serve_tells_systemd_how_it_is(served, engine) -> None:
    process, port, listener, log = served
    os.close(left_with_systemd(listener))
    assert listener.recv(100) == b"READY=1", log.read_text()
    assert listener.recv(100) == b"WATCHDOG=1"
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=10) as answer:
        assert answer.status == 200
        assert "server" not in answer.headers
    process.send_signal(signal.SIGTERM)
    heard = b""
    end = time.monotonic() + 10
    while heard != b"STOPPING=1" and time.monotonic() < end:
        heard = listener.recv(100)
    assert heard == b"STOPPING=1"
    assert process.wait(20) in (0, -signal.SIGTERM)
    lines = log.read_text().splitlines()
    assert lines
    assert all(json.loads(line)["ts"] for line in lines)


def test_who_comes_between_two_runs_waits_and_is_answered(served, settings, engine, tmp_path) -> None:
    process, port, listener, log = served
    kept = left_with_systemd(listener)
    assert listener.recv(100) == b"READY=1", log.read_text()
    process.send_signal(signal.SIGTERM)
    process.wait(20)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as early:
        early.sendall(b"GET /ready HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        environment = {
            **os.environ,
            "ATLAS_DATA_DIR": str(settings.data_dir),
            "ATLAS_DATABASE_URL": settings.database_url,
            "ATLAS_API_PORT": str(port),
            "LISTEN_FDS": "1",
            "LISTEN_FDNAMES": "api",
        }
        start = f"export LISTEN_PID=$$; exec {sys.executable} -m atlas serve 3<&{kept}"
        with (tmp_path / "second log").open("w") as output:
            second = subprocess.Popen(
                ["bash", "-c", start], cwd=APP, env=environment, pass_fds=[kept], stdout=output, stderr=output
            )
        try:
            assert early.recv(100).startswith(b"HTTP/1.1 200 "), (tmp_path / "second log").read_text()
        finally:
            second.terminate()
            second.wait(20)
            os.close(kept)


def test_serve_fails_when_the_port_is_taken(served, settings, engine) -> None:
    _, port, listener, log = served
    os.close(left_with_systemd(listener))
    assert listener.recv(100) == b"READY=1", log.read_text()
    environment = {**os.environ, "ATLAS_DATA_DIR": str(settings.data_dir), "ATLAS_API_PORT": str(port)}
    environment["ATLAS_DATABASE_URL"] = settings.database_url
    done = subprocess.run(
        [sys.executable, "-m", "atlas", "serve"],
        cwd=APP,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "address already in use" in done.stdout.lower()


def test_an_interrupt_is_no_traceback(atlas, monkeypatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("atlas.commands.library.find", interrupt)
    assert atlas("search", "x").status == 130


def test_cookies_are_kept_listed_without_their_values_and_forgotten(atlas) -> None:
    assert atlas("cookies", "list").out == "No site has cookies.\n"
    kept = atlas("cookies", "set", "https://Example.org/x", stdin="session=secret\n")
    assert (kept.status, kept.out) == (0, "Cookies are sent to example.org from now on.\n")
    listed = atlas("cookies", "list", "--json")
    assert [site["host"] for site in listed.json] == ["example.org"]
    assert "secret" not in kept.out + listed.out
    assert atlas("cookies", "remove", "example.org").out == "The cookies of example.org are forgotten.\n"
    again = atlas("cookies", "remove", "example.org")
    assert (again.status, again.err) == (
        1,
        "atlas: There are no cookies of example.org. See `atlas cookies list`.\n",
    )


def test_what_is_no_cookie_is_refused(atlas) -> None:
    for verb, host, given in (("set", "example.org", "hello"), ("set", "org", "a=1"), ("remove", "a b", "")):
        done = atlas("cookies", verb, host, stdin=given)
        assert done.status == 1, (verb, host)
        assert done.err.startswith("atlas: ")
        assert done.err.count("\n") == 1
    assert atlas("cookies", "list").out == "No site has cookies.\n"
