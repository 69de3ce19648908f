"""`atlas export`."""

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from sqlalchemy.engine import Engine

from atlas.commands import CommandError, database, now
from atlas.database.engine import read
from atlas.export import epub as books
from atlas.export import feed as feeds
from atlas.export.everything import everything
from atlas.export.highlights import markdown
from atlas.export.netscape import netscape
from atlas.export.opml import opml
from atlas.export.selection import Selection, rows
from atlas.library import Filter
from atlas.settings import Settings
from atlas.sources import subscriptions

_BINARY = frozenset({"json", "epub"})


def export(options: argparse.Namespace, settings: Settings) -> int:
    """Write what is here to a file, or to standard output."""
    if options.output is None and options.form in _BINARY and sys.stdout.isatty():
        raise CommandError("This is no text for a terminal: name a file with --output, or pipe it somewhere.")
    with database(settings) as engine:
        pieces = _FORMS[options.form](options, settings, engine)
        try:
            if options.output is None:
                for piece in pieces:
                    sys.stdout.buffer.write(piece)
                sys.stdout.buffer.flush()
            else:
                _write(Path(options.output), pieces)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise CommandError(f"{options.output or 'standard output'}: {error.strerror}") from None
    return 0


def _write(path: Path, pieces: Iterator[bytes]) -> None:
    """Write a file that is whole, or not there; only its owner may read it, as it may hold everything."""
    part = path.with_name(f".{path.name}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _everything(options: argparse.Namespace, settings: Settings, engine: Engine) -> Iterator[bytes]:
    with_originals = not options.without_originals
    return everything(engine, settings.data_dir, now=now(), with_originals=with_originals)


def _netscape(options: argparse.Namespace, _settings: Settings, engine: Engine) -> Iterator[bytes]:
    return netscape(rows(engine, Selection(wanted=Filter(q=options.query), limit=options.limit)))


def _opml(_options: argparse.Namespace, _settings: Settings, engine: Engine) -> Iterator[bytes]:
    with read(engine) as conn:
        found = subscriptions.list_feeds(conn)
    yield opml(found, now=now())


def _epub(options: argparse.Namespace, _settings: Settings, engine: Engine) -> Iterator[bytes]:
    limit = min(options.limit or 100, books.MOST)
    selection = Selection(wanted=Filter(q=options.query, state="ready"), limit=limit)
    title = options.title or " ".join(["Atlas", *options.query.split()])
    return books.epub(rows(engine, selection, content=True), title=title, now=now())


def _feed(options: argparse.Namespace, settings: Settings, engine: Engine) -> Iterator[bytes]:
    selection = Selection(wanted=Filter(q=options.query, state="ready"), limit=options.limit or 50)
    home = settings.public_url
    title = options.title or " ".join(["Atlas", *options.query.split()])
    channel = feeds.Channel(title, f"{home}/api/export/feed", home, now())
    write = feeds.rss if options.form == "rss" else feeds.atom
    return write(channel, rows(engine, selection, content=True))


def _highlights(_options: argparse.Namespace, _settings: Settings, engine: Engine) -> Iterator[bytes]:
    return markdown(engine)


_FORMS: dict[str, Callable[[argparse.Namespace, Settings, Engine], Iterator[bytes]]] = {
    "json": _everything,
    "netscape": _netscape,
    "opml": _opml,
    "epub": _epub,
    "rss": _feed,
    "atom": _feed,
    "highlights": _highlights,
}
