"""`atlas error`."""

import argparse
from dataclasses import asdict
from typing import Any

from atlas.commands import CommandError, database, show
from atlas.database.engine import read
from atlas.settings import Settings
from atlas.stages.table import Stage
from atlas.telemetry.advice import advice
from atlas.telemetry.errors import KEPT_DAYS, Found, find

_UNKNOWN = (
    "Nothing is kept under {id!r}: what broke is kept for {days} days, what failed as long as it has "
    "not been tried again. The log carries the id too: `journalctl -u 'atlas-*' --grep {id}`."
)


def explain(options: argparse.Namespace, settings: Settings) -> int:
    """Print what is known about the id of an error or of a request."""
    wanted = options.id.strip()
    with database(settings) as engine, read(engine) as conn:
        found = find(conn, wanted)
    if not (found.errors or found.items):
        raise CommandError(_UNKNOWN.format(id=wanted, days=KEPT_DAYS))
    todo = _todo(found)
    return show(options, {**asdict(found), "todo": todo}, "\n".join(_lines(found, todo)))


def _lines(found: Found, todo: list[str]) -> list[str]:
    lines = [line for row in found.errors for line in _error(row)]
    lines += [line for row in found.items for line in _item(row, found.history)]
    lines += ["What to do", *(f"  {sentence}" for sentence in todo)]
    for row in found.errors:
        lines += ["", f"Traceback of {row['id']}", *str(row["traceback"] or "").splitlines()]
    return lines


def _error(row: dict[str, Any]) -> list[str]:
    said = row["message"].strip().splitlines() or [""]
    return [
        f"Error {row['id']}: {row['code']}" + (f": {said[0]}" if said[0] else ""),
        f"  when   {row['at']:%Y-%m-%d %H:%M:%S} UTC",
        f"  where  {row['place']}",
        f"  id     {row['correlation_id'] or '-'} (request or item, in the log)",
        "",
    ]


def _item(row: dict[str, Any], history: list[dict[str, Any]]) -> list[str]:
    lines = [f"Item {row['id']}: {row['title'] or row['url']}", f"  {row['kind']}, {row['url']}"]
    if row["error"]:
        failed = row["error"]
        lines.append(
            f"  error {failed.get('id', '-')} ({failed.get('code', 'unknown')}): {failed.get('message', '')}"
        )
    if row["due_at"] is not None:
        lines.append(
            f"  next try at {row['due_at']:%Y-%m-%d %H:%M:%S} UTC, after {row['attempts']} that failed"
        )
    mine = [step for step in history if step["item_id"] == row["id"]]
    lines += [f"    {step['at']:%Y-%m-%d %H:%M:%S}  {step['stage']:>3}  {step['reason']}" for step in mine]
    return [*lines, ""]


def _todo(found: Found) -> list[str]:
    sentences: dict[str, None] = {}
    if found.errors:
        sentences[
            "Atlas has a bug here or met something it does not expect: report it with the text below (read "
            "it first: it may tell what was being read)."
        ] = None
    for row in found.items:
        if row["error"]:
            said = advice(row["error"].get("code", ""))
            sentences[f"{said.reason}. {said.todo}"] = None
        elif row["stage"] in (Stage.COMPLETE, Stage.ARCHIVED_FINAL, Stage.DUPLICATE):
            sentences[f"Nothing for item {row['id']}: it is well by now."] = None
    return list(sentences) or ["Nothing: the item is on its way."]
