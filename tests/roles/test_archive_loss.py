"""How much is lost with the database's files: measured, with what the role archives by."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
import yaml

ROLE = Path(__file__).parents[2] / "roles/postgresql"
PROGRAM = ROLE / "tree/usr/local/lib/atlas/pgbackrest"
DEFAULTS = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
ROUNDS = 20
MOST_SECONDS = 60
#: Long enough for two files of WAL that are closed for their age.
LIVES = (60, 180)
WRITE_EVERY = 0.2
USER = "nobody" if os.geteuid() == 0 else ""

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]


class Cluster:
    """A database with an archive, both below a directory of its own."""

    def __init__(self, home: Path, programs: Path, template: Path) -> None:
        self.home, self.programs, self.template = home, programs, template
        home.mkdir()
        if USER:
            shutil.chown(home, USER)
        self.killed = 0.0
        program = PROGRAM.read_text().replace("/etc/atlas/archive.json", f"{home}/archive.json")
        self.program = home / "pgbackrest"
        self.program.write_text(program.replace("/var/lib/pgbackrest", f"{home}/repository"))
        self.program.chmod(0o755)
        settings = {"data_directory": f"{home}/data", "reserve_bytes": 0, "queue_bytes": 10**9}
        (home / "archive.json").write_text(json.dumps(settings))
        common = (
            f"repo1-path={home}/repository\nlock-path={home}/lock\nlog-level-file=off\ncompress-type=zst\n"
        )
        for name in ("data", "back"):
            (home / f"{name}.conf").write_text(f"[global]\n{common}[atlas]\npg1-path={home}/{name}\n")
        (home / "repository").mkdir()
        if USER:
            shutil.chown(home / "repository", USER)

    def command(self, *words: str) -> list[str]:
        user = ["runuser", "-u", USER, "--"] if USER else []
        return [*user, "env", f"PGBACKREST_CONFIG={self.home}/data.conf", *words]

    def start(self, name: str, settings: dict[str, str]) -> subprocess.Popen[bytes]:
        """Start a server on a copy of the template."""
        base = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.home),
            "shared_buffers": "8MB",
            "max_connections": "10",
        }
        options = [word for key, value in (base | settings).items() for word in ("-c", f"{key}={value}")]
        with (self.home / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                self.command(str(self.programs / "postgres"), "-D", str(self.home / name), *options),
                stdout=log,
                stderr=log,
            )

    def connect(self, seconds: float = 60) -> psycopg.Connection:
        end = time.monotonic() + seconds
        while True:
            try:
                return psycopg.connect(
                    f"host={self.home} dbname=postgres user={USER or os.environ['USER']}", autocommit=True
                )
            except psycopg.OperationalError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)

    def live_and_die(self, seconds: float) -> None:
        """Write until everything is killed at once."""
        subprocess.run(["cp", "-a", str(self.template), str(self.home / "data")], check=True)
        create = self.command("/usr/bin/pgbackrest", "--stanza=atlas", "--no-online", "stanza-create")
        subprocess.run(create, check=True, capture_output=True)
        server = self.start(
            "data",
            {
                "archive_mode": "on",
                "archive_command": f'{self.program} push "%p"',
                "archive_timeout": f"{DEFAULTS['postgresql_archive_timeout_seconds']}s",
            },
        )
        connection = self.connect()
        connection.execute("select pg_reload_conf()")  # as its unit does after each start
        connection.execute("create table written (at timestamptz default clock_timestamp())")
        timer = threading.Timer(seconds, self.kill, [server.pid])
        timer.start()
        try:
            while True:
                connection.execute("insert into written default values")
                time.sleep(WRITE_EVERY)
        except psycopg.Error:
            timer.join()
            server.wait()
        assert self.killed, "it ended before it was killed"

    def kill(self, pid: int) -> None:
        """Kill the server and all it has started, archiving included."""
        everybody = descendants(pid)
        self.killed = time.time()
        kill_all(everybody)

    def lost(self) -> float:
        """Bring back what the archive has; return how many seconds before the kill it ends."""
        subprocess.run(["rm", "-r", str(self.home / "data")], check=True)
        subprocess.run(["cp", "-a", str(self.template), str(self.home / "back")], check=True)
        (self.home / "back/recovery.signal").touch()
        fetch = f'/usr/bin/pgbackrest --config={self.home}/back.conf --stanza=atlas archive-get %f "%p"'
        server = self.start("back", {"restore_command": fetch, "hot_standby": "off", "fsync": "off"})
        try:
            with self.connect() as connection:
                row = connection.execute("select extract(epoch from max(at)) from written").fetchone()
        finally:
            kill_all(descendants(server.pid))
            server.wait()
        return self.killed - float(row[0])


def descendants(pid: int) -> list[int]:
    """Return a process and all it has started, itself first."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], check=True, capture_output=True, text=True).stdout
    parents = [tuple(map(int, line.split())) for line in listed.splitlines()]
    found = [pid]
    for one in found:
        found += [child for child, parent in parents if parent == one]
    return found


def kill_all(processes: list[int]) -> None:
    for one in processes:
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.kill(one, signal.SIGKILL)


@pytest.fixture
def clusters():
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parts[-2]))
    if not programs or not shutil.which("pgbackrest"):
        pytest.skip("PostgreSQL or pgBackRest is not installed (apt-get install postgresql pgbackrest)")
    home = Path(tempfile.mkdtemp(prefix="atlas-loss-"))
    home.chmod(0o755)
    template = home / "template"
    template.mkdir()
    if USER:
        shutil.chown(template, USER)
    user = ["runuser", "-u", USER, "--"] if USER else []
    subprocess.run(
        [*user, str(programs[-1] / "initdb"), "--auth=trust", "--no-sync", "-D", str(template)],
        check=True,
        capture_output=True,
        cwd="/",
    )
    yield [Cluster(home / str(number), programs[-1], template) for number in range(ROUNDS)]
    shutil.rmtree(home)


def test_under_a_minute_is_lost_with_the_files(clusters):
    lives = [random.uniform(*LIVES) for _ in clusters]
    with ThreadPoolExecutor(len(clusters)) as pool:
        list(pool.map(Cluster.live_and_die, clusters, lives))
    with ThreadPoolExecutor(2) as pool:
        seconds = sorted(pool.map(Cluster.lost, clusters))
    print("seconds lost:", *(f"{one:.1f}" for one in seconds), file=sys.stderr)
    assert seconds[0] >= 0
    assert seconds[-1] <= MOST_SECONDS
