"""`atlas import`."""

import argparse
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from sqlalchemy.engine import Engine

from atlas.commands import CommandError, complain, database, now, show
from atlas.database.engine import read
from atlas.settings import Settings
from atlas.sources import imports
from atlas.sources.imports.work import work

#: How long the import is gone on with between two lines of progress, in seconds.
TURN_SECONDS = 2.0
_PAGE = 1000


def take(options: argparse.Namespace, settings: Settings) -> int:
    """Start imports, or look at those there were."""
    with database(settings) as engine:
        if options.list:
            return _list(options, engine)
        if options.report is not None:
            return _report(options, engine)
        if options.cancel is not None:
            return _cancel(options, engine)
        if not options.files:
            raise CommandError("Name a file to import; `atlas import --list` shows the imports there were.")
        return _start(options, settings, engine)


def _start(options: argparse.Namespace, settings: Settings, engine: Engine) -> int:
    done: list[dict[str, Any]] = []
    problems: list[str] = []
    for name in options.files:
        try:
            with _opened(name) as file:
                shown = "standard input" if name == "-" else Path(name).resolve().name
                started = imports.start(
                    engine,
                    settings,
                    file,
                    name=shown,
                    now=now(),
                    form=options.format,
                    dry_run=options.dry_run,
                )
        except (imports.Unreadable, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            problems.append(f"{name}: {reason}")
            continue
        if options.wait:
            started = _wait(engine, settings, started["id"], progress=not options.json)
            if started["state"] != "done":
                reason = (started["error"] or {}).get("message") or "It was cancelled."
                problems.append(f"{name}: {reason}")
        done.append(started)
    show(options, done, "\n".join(map(_line, done)))
    return complain(*problems) if problems else 0


def _wait(engine: Engine, settings: Settings, import_id: int, *, progress: bool) -> dict[str, Any]:
    """Do the import, or look on while a worker does it; return how it ended."""
    while True:
        worked = work(engine, settings, now, seconds=TURN_SECONDS, import_id=import_id)
        found = _existing(engine, import_id)
        if found["state"] in imports.ENDED:
            return found
        if progress and sys.stderr.isatty():
            print(f"\r{found['position']:,} of {found['total'] or '?'}", end="\r", file=sys.stderr)
        if not worked:
            time.sleep(0.5)


@contextmanager
def _opened(name: str) -> Iterator[IO[bytes]]:
    """Open what is to be imported; a folder becomes a ZIP file. Raises OSError."""
    if name == "-":
        with tempfile.TemporaryFile() as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
            yield file
    elif Path(name).is_dir():
        with tempfile.TemporaryFile() as file:
            _zip(Path(name), file)
            yield file
    else:
        with Path(name).open("rb") as file:
            yield file


def _zip(folder: Path, file: IO[bytes]) -> None:
    """Put the files of a folder into a ZIP file, those that links lead to apart; the same each time."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                member = zipfile.ZipInfo(path.relative_to(folder).as_posix())
                with path.open("rb") as source, archive.open(member, "w", force_zip64=True) as target:
                    shutil.copyfileobj(source, target)


def _list(options: argparse.Namespace, engine: Engine) -> int:
    with read(engine) as conn:
        found, _ = imports.list_imports(conn, limit=200)
    return show(options, found, "\n".join(map(_line, found)) or "Nothing was imported yet.")


def _report(options: argparse.Namespace, engine: Engine) -> int:
    _existing(engine, options.report)
    rows: list[dict[str, Any]] = []
    after = 0
    while True:
        with read(engine) as conn:
            page = imports.report(conn, options.report, after=after, limit=_PAGE)
        if not page:
            return show(options, rows, "")
        after = page[-1]["position"]
        if options.json:
            rows += page
        else:
            for row in page:
                print(_row(row))


def _row(row: dict[str, Any]) -> str:
    item = f" (item {row['item_id']})" if row["item_id"] else ""
    return f"{row['position']}  {row['outcome']}  {row['url']}{item}  {row['message'] or ''}".rstrip()


def _cancel(options: argparse.Namespace, engine: Engine) -> int:
    found = _existing(engine, options.cancel)
    with engine.begin() as conn:
        if not imports.cancel(conn, options.cancel, now=now()):
            raise CommandError(f"Import {options.cancel} has ended already: it is {found['state']}.")
    found = _existing(engine, options.cancel)
    return show(options, found, _line(found))


def _existing(engine: Engine, import_id: int) -> dict[str, Any]:
    with read(engine) as conn:
        found = imports.get(conn, import_id)
    if found is None:
        raise CommandError(f"There is no import {import_id}; `atlas import --list` shows those there are.")
    return found


def _line(one: dict[str, Any]) -> str:
    counts = ", ".join(f"{number:,} {name}" for name, number in one["counts"].items() if number)
    form = imports.FORMATS[one["format"]].label
    dry = ", dry run" if one["dry_run"] else ""
    error = f"\n    {one['error']['message']}" if one["error"] else ""
    return f"{one['id']}  {one['state']}{dry}  {one['name']} ({form})  {counts}".rstrip() + error
