"""Backing up a library of many items and bringing it back, beside pg_dump with zstd and beside borgmatic.

.venv/bin/python tests/bench/backup.py [--items 100000] [--words 330]

As root, as atlasctl is. What borgmatic takes is measured where it is installed (Debian's package). All have
the same set: a database on PostgreSQL, and originals as files. Nothing is sent over a network.
"""

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "app"), str(ROOT / "tests" / "app")]

from private_postgres import Postgres, find_binaries  # noqa: E402
from processes import free_port, new_atlas, running, wait_for_url  # noqa: E402
from search import fill  # noqa: E402

from atlas.database.engine import make_engine  # noqa: E402
from atlas.settings import Settings  # noqa: E402
from atlasctl.backup import make, restore  # noqa: E402
from atlasctl.backup.parts import Part  # noqa: E402
from atlasctl.backup.restic import Restic  # noqa: E402
from atlasctl.backup.settings import BackupSettings, Repository  # noqa: E402

TOOL = ROOT / "roles/postgresql/tree/usr/local/lib/atlas-backup/postgresql"
#: One original in so many items is kept, of so many bytes that nothing makes smaller: they are compressed.
ORIGINAL_EVERY, ORIGINAL_BYTES = 4, 12_000
CHANGED = "UPDATE contents SET text = text || ' changed' WHERE item_id %% 100 = 7"
BORGMATIC = """\
location:
    source_directories: [{originals}]
    repositories: [{repository}]
storage:
    encryption_passphrase: benchmark-of-backups
    compression: auto,zstd
retention:
    keep_daily: 30
hooks:
    postgresql_databases:
        - {{name: atlas, username: postgres}}
"""


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--words", type=int, default=330)
    options = parser.parse_args()
    binaries = find_binaries()
    if os.geteuid() != 0 or binaries is None or not shutil.which("restic"):
        sys.exit("This takes root, PostgreSQL's server and restic.")
    with (
        tempfile.TemporaryDirectory(prefix="atlas-bench-") as made,
        Postgres(binaries, durable=True) as server,
    ):
        directory = Path(made)
        directory.chmod(0o755)
        server.directory.chmod(0o711)
        server.execute("CREATE ROLE postgres SUPERUSER LOGIN")
        server.execute("CREATE ROLE atlas LOGIN")
        server.execute("CREATE DATABASE atlas TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8'")
        os.environ["PGHOST"] = str(server.directory)
        url = server.url("atlas")
        atlas = new_atlas(directory / "data", url, api_port=free_port())
        engine = make_engine(Settings(database_url=url, data_dir=directory, _env_file=None))
        fill(engine, options.items, options.words)
        originals = _originals(directory / "originals", options.items)
        with engine.connect() as conn:
            size = conn.exec_driver_sql("SELECT pg_database_size('atlas')").scalar_one()
        print(f"{options.items:,} items; the database takes {_mb(size)}, originals {_mb(_size(originals))}")
        settings, parts = _settings(directory, originals)
        _table(engine, settings, parts, directory, server)
        _beside(atlas, settings, parts, directory)


def _table(engine, settings, parts, directory, server) -> None:
    print(f"{'':28} {'first':>8} {'size':>9} {'1 % later':>10} {'grew by':>9} {'back':>8} {'memory':>9}")
    tools = [_Ours(settings, parts), _Plain(directory, server)]
    tools += [_Borgmatic(directory, parts[1].paths[0])] if shutil.which("borgmatic") else []
    rows = []
    for tool in tools:
        first, memory = _measured(tool.backup)
        rows.append((tool, first, memory, tool.size()))
    with engine.begin() as conn:
        conn.exec_driver_sql(CHANGED)
    _originals(parts[1].paths[0], 1000, seed=2)
    for tool, first, memory, size in rows:
        again, _ = _measured(tool.backup)
        grew = tool.size() - (size if tool.keeps else 0)
        back, _ = _measured(tool.restore)
        times = f"{first:7.1f}s {_mb(size):>9} {again:9.1f}s {_mb(grew):>9} {back:7.1f}s"
        print(f"{tool.name:28} {times} {_mb(memory):>9}")


class _Ours:
    """`atlasctl backup`: dump, read back, encrypt, deduplicate; restore compares every row."""

    name, keeps = "atlasctl backup", True

    def __init__(self, settings: BackupSettings, parts: list[Part]) -> None:
        self.settings, self.parts = settings, parts

    def backup(self) -> None:
        done = make.make(self.settings, self.parts, "full", self.settings.repositories, anew=None)
        assert done["ok"], done

    def size(self) -> int:
        return _size(Path(self.settings.repositories[0].url))

    def restore(self) -> None:
        restic = Restic(self.settings, self.settings.repositories[0])
        copy = restore.fetch(self.settings, restic, restic.snapshots()[-1], self.parts, "drill")
        restore.load(copy, "atlas_drill")
        restore.discard(self.settings, self.parts, "atlas_drill", "drill")


class _Plain:
    """`pg_dump | zstd`, and no originals: no encryption, no history, nothing read back."""

    name, keeps = "pg_dump | zstd, database only", False

    def __init__(self, directory: Path, server: Postgres) -> None:
        self.file = directory / "plain.zst"
        self.socket = server.directory

    def backup(self) -> None:
        _shell(f"pg_dump -h {self.socket} -U postgres -Fc -Z0 atlas | zstd -q -f -o {self.file}")

    def size(self) -> int:
        return self.file.stat().st_size

    def restore(self) -> None:
        _shell(f"createdb -h {self.socket} -U postgres -T template0 atlas_plain")
        _shell(f"zstd -q -dc {self.file} | pg_restore -h {self.socket} -U postgres -d atlas_plain")
        _shell(f"dropdb -h {self.socket} -U postgres atlas_plain")


class _Borgmatic:
    """borgmatic, with its hook for PostgreSQL."""

    name, keeps = "borgmatic", True

    def __init__(self, directory: Path, originals: Path) -> None:
        self.repository, self.file = directory / "borg", directory / "borgmatic.yaml"
        self.file.write_text(BORGMATIC.format(originals=originals, repository=self.repository))
        self.file.chmod(0o600)
        self.home = directory / "home"
        self._run("init --encryption repokey-blake2")

    def _run(self, words: str) -> None:
        _shell(f"HOME={self.home} borgmatic --config {self.file} {words} >/dev/null")

    def backup(self) -> None:
        self._run("create")

    def size(self) -> int:
        return _size(self.repository)

    def restore(self) -> None:
        place = self.file.parent / "borg-restored"
        place.mkdir()
        self._run(f"extract --archive latest --destination {place}")
        dump = next(path for path in place.rglob("atlas") if path.is_file())
        _shell(f"createdb -h {os.environ['PGHOST']} -U postgres -T template0 atlas_borg")
        _shell(f"pg_restore -h {os.environ['PGHOST']} -U postgres -d atlas_borg {dump}")
        _shell(f"dropdb -h {os.environ['PGHOST']} -U postgres atlas_borg; rm -r {place}")


def _beside(atlas, settings, parts, directory) -> None:
    """Print how long a list of items takes to answer while a backup runs, and while none does."""
    port = atlas.environment["ATLAS_API_PORT"]
    token = atlas.run("token", "create", "bench").strip().splitlines()[-1]
    with running(atlas.start("serve", log=directory / "serve.log")):
        wait_for_url(f"http://127.0.0.1:{port}/ready?queue=any")
        idle = _latencies(port, token, lambda: time.sleep(20))
        busy = _latencies(port, token, lambda: _nice(settings, parts))
    for name, times in (("without a backup", idle), ("while backing up", busy)):
        cuts = statistics.quantiles(times, n=20)
        print(f"GET /api/items {name}: p50 {cuts[9]:.1f} ms, p95 {cuts[18]:.1f} ms ({len(times)} requests)")


def _nice(settings: BackupSettings, parts: list[Part]) -> None:
    """Back up as the unit does: after everybody else."""
    if (child := os.fork()) == 0:
        os.nice(15)
        subprocess.run(["ionice", "-c3", "-p", str(os.getpid())], check=False)
        done = make.make(settings, parts, "full", settings.repositories, anew=None)
        os._exit(0 if done["ok"] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _latencies(port: str, token: str, work) -> list[float]:
    """Ask ten times a second while `work` runs; return milliseconds."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/items?limit=20", headers={"Authorization": f"Bearer {token}"}
    )
    ended, times = threading.Event(), []

    def ask() -> None:
        while not ended.is_set():
            began = time.perf_counter()
            with urllib.request.urlopen(request, timeout=60) as answer:
                answer.read()
            times.append((time.perf_counter() - began) * 1000)
            time.sleep(0.1)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        work()
    finally:
        ended.set()
        thread.join()
    return times


def _originals(place: Path, items: int, seed: int = 1) -> Path:
    """Write originals as the app keeps them, compressed: bytes of which nothing more can be saved."""
    chance = random.Random(seed)
    for number in range(items // ORIGINAL_EVERY):
        raw = chance.randbytes(ORIGINAL_BYTES)
        path = place / f"{number % 256:02x}" / f"{seed}-{number}.zst"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)
    return place


def _settings(directory: Path, originals: Path) -> tuple[BackupSettings, list[Part]]:
    password = directory / "password"
    password.write_text("benchmark-of-backups")
    place = directory / "backups"
    place.mkdir()
    place.chmod(0o755)
    settings = BackupSettings(
        repositories=(Repository("local", str(directory / "restic"), {}, prune=True, budget=0),),
        password_file=password,
        directory=place,
        parts_directory=directory,
        textfile_directory=directory,
        keep={"daily": 30},
        upload_kib=0,
        warn_hours=26,
        drill_days=8,
        read_in=8,
        patience=120,
        undo_days=14,
        mail=(),
    )
    database = Part("database", "Database", "database", (), (), str(TOOL), (), (), ())
    return settings, [database, Part("atlas", "Originals", "originals", (originals,), (), None, (), (), ())]


def _measured(work) -> tuple[float, float]:
    """Return the seconds `work` takes, and the most memory one of its programs took, in bytes."""
    began = time.perf_counter()
    if (child := os.fork()) == 0:
        work()
        os._exit(0)
    _, status, used = os.wait4(child, 0)
    assert status == 0
    return time.perf_counter() - began, used.ru_maxrss * 1024.0


def _shell(command: str) -> None:
    subprocess.run(["bash", "-o", "pipefail", "-c", command], check=True)


def _size(place: Path) -> int:
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file())


def _mb(size: float) -> str:
    return f"{size / 1e6:,.0f} MB"


if __name__ == "__main__":
    main()
