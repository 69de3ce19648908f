"""`atlas dead`: what failed, and the ways out."""

import argparse
import secrets
from typing import Any

from atlas import dead_letters
from atlas.commands import CommandError, database, now, show
from atlas.database.engine import read
from atlas.settings import Settings


def list_dead(options: argparse.Namespace, settings: Settings) -> int:
    """Print the dead letters, newest first, and how many there are by reason."""
    with database(settings) as engine, read(engine) as conn:
        rows, _ = dead_letters.list_dead(
            conn, code=options.code, ignored=options.ignored, limit=options.limit
        )
        counts = dead_letters.reasons(conn, ignored=options.ignored)
    lines = [f"{number:,} {code}" for code, number in counts.items()]
    text = "\n".join([", ".join(lines) or "Nothing failed.", *map(_row, rows)])
    return show(options, {"reasons": counts, "items": rows}, text)


def retry(options: argparse.Namespace, settings: Settings) -> int:
    """Try items again: those named, or all of one reason."""
    done, trouble = 0, []
    with database(settings) as engine:
        correlation_id = secrets.token_hex(8)
        for item_id in options.ids:
            with engine.begin() as conn:
                was = dead_letters.retry(conn, item_id, now=now(), correlation_id=correlation_id)
            done += was
            trouble += [] if was else [item_id]
        if options.code is not None:
            done += dead_letters.retry_all(
                engine, code=options.code, now=now(), correlation_id=correlation_id
            )
    return _told(options, done, "tried again", trouble)


def ignore(options: argparse.Namespace, settings: Settings) -> int:
    """Set items aside, or bring them back."""
    done, trouble = 0, []
    with database(settings) as engine:
        for item_id in options.ids:
            with engine.begin() as conn:
                was = dead_letters.ignore(conn, item_id, now=now(), ignored=not options.undo)
            done += was
            trouble += [] if was else [item_id]
    return _told(options, done, "brought back" if options.undo else "set aside", trouble)


def _told(options: argparse.Namespace, done: int, what: str, trouble: list[int]) -> int:
    show(options, {"done": done, "no_dead_letter": trouble}, f"{done:,} {what}.")
    if trouble:
        raise CommandError(f"No dead letter: {', '.join(map(str, trouble))}. See `atlas dead list`.")
    return 0


def _row(row: dict[str, Any]) -> str:
    error = row["error"] or {"code": "unknown", "message": "Nobody knows why."}
    title = f"{row['title']}  " if row["title"] else ""
    return f"{row['id']}  {title}{row['url']}\n    {error['message']} [{error['code']}]"
