"""What the commands of `atlas` do: functions of options and settings that return the exit status."""

import argparse
import datetime as dt
import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from atlas.database.engine import make_engine
from atlas.patience import is_outage
from atlas.settings import Settings, SettingsError, load_settings, unknown_options
from atlas.telemetry import logs


class CommandError(Exception):
    """The command cannot be done; the message, one line, says why and what to do about it."""


def run(options: argparse.Namespace) -> int:
    """Run the command that was typed; return the exit status."""
    try:
        settings = load_settings()
    except SettingsError as error:
        return complain(*error.problems, *unknown_options(os.environ))
    if options.service:
        logs.configure(settings.log_level, settings.log_format)
    else:
        logs.configure("warning", "console", stream=sys.stderr)
    module, _, name = options.function.partition(":")
    command: Callable[[argparse.Namespace, Settings], int]
    command = getattr(importlib.import_module(f"atlas.commands.{module}"), name)
    try:
        return command(options, settings)
    except CommandError as error:
        return complain(str(error))
    except sa.exc.SQLAlchemyError as error:
        return complain(_database_trouble(error, settings))


def complain(*problems: str) -> int:
    """Print problems, one a line, for whoever typed the command; return the exit status."""
    for problem in problems:
        print(f"atlas: {problem}", file=sys.stderr)
    return 1


def show(options: argparse.Namespace, data: object, text: str) -> int:
    """Print a result: `data` as JSON when asked for, else `text`; return the exit status."""
    if options.json:
        print(json.dumps(data, ensure_ascii=False, indent=2, default=_plain))
    elif text:
        print(text)
    return 0


@contextmanager
def database(settings: Settings) -> Iterator[Engine]:
    """Open the database of `settings`, and close it after the block."""
    engine = make_engine(settings)
    try:
        yield engine
    finally:
        engine.dispose()


def now() -> dt.datetime:
    """Return the present moment."""
    return dt.datetime.now(dt.UTC)


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, dt.datetime) else str(value)


def _database_trouble(error: sa.exc.SQLAlchemyError, settings: Settings) -> str:
    lines = str(getattr(error, "orig", None) or error).strip().splitlines() or [type(error).__name__]
    where = settings.database().render_as_string(hide_password=True)
    if is_outage(error):
        return f"The database does not answer ({lines[0]}). It is {where}, by ATLAS_DATABASE_URL."
    return f"The database is not what this release needs ({lines[0]}). Run `atlas migrate`. It is {where}."
