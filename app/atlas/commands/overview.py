"""`atlas status`."""

import argparse
import datetime as dt
from dataclasses import asdict
from typing import Any

from sqlalchemy.engine import Connection

from atlas import __version__, items
from atlas import status as states
from atlas.commands import database, now, show
from atlas.database.engine import read
from atlas.settings import Settings
from atlas.stages.table import DONE, Stage


def status(options: argparse.Namespace, settings: Settings) -> int:
    """Print how everything does."""
    with database(settings) as engine, read(engine) as conn:
        data = _overview(conn, now())
    return show(options, data, "\n".join(_lines(data)))


def _overview(conn: Connection, moment: dt.datetime) -> dict[str, Any]:
    stages = items.counts(conn)
    workers = states.workers_seen(conn, moment)
    return {
        "version": __version__,
        "worker_alive": any(worker.silent_seconds <= states.ALIVE.total_seconds() for worker in workers),
        "workers": [asdict(worker) for worker in workers],
        "queue": [
            {"lane": found.lane.name.lower(), "length": found.length, "oldest_seconds": found.oldest_seconds}
            for found in states.waiting(conn, moment)
        ],
        "readable": sum(stages.get(stage, 0) for stage in DONE),
        "duplicates": stages.get(Stage.DUPLICATE, 0),
        "to_be_retried": stages.get(Stage.RATE_LIMITED, 0) + stages.get(Stage.SYSTEM_ERROR, 0),
        "dead_letters": stages.get(Stage.PERMANENT_ERROR, 0),
        "stages": {str(int(stage)): count for stage, count in sorted(stages.items())},
        "failed_by_reason": states.failed(conn),
        "feeds": states.feed_states(conn),
        "last_errors": states.last_errors(conn),
    }


def _lines(data: dict[str, Any]) -> list[str]:
    lanes = ", ".join(
        f"{lane['length']:,} {lane['lane']} (the oldest for {_span(lane['oldest_seconds'])})"
        for lane in data["queue"]
        if lane["length"]
    )
    lines = [
        f"Worker        {_workers(data)}",
        f"Waiting       {lanes or 'nothing'}",
        f"Readable      {data['readable']:,} items, and {data['duplicates']:,} duplicates",
        f"Retried later {data['to_be_retried']:,}",
        f"Dead letters  {data['dead_letters']:,}",
        f"Feeds         {data['feeds']['healthy']:,} healthy, {data['feeds']['broken']:,} broken",
    ]
    if data["last_errors"]:
        lines += ["", "Last errors"]
        lines += [_error(row) for row in data["last_errors"]]
    return lines


def _workers(data: dict[str, Any]) -> str:
    if not data["workers"]:
        return "none runs: start one with `atlas work`"
    first = data["workers"][0]
    if not data["worker_alive"]:
        return f"DEAD: {first['name']} was last heard of {_span(first['silent_seconds'])} ago"
    alive = [w for w in data["workers"] if w["silent_seconds"] <= states.ALIVE.total_seconds()]
    return "; ".join(f"{w['name']}, up {_span(w['uptime_seconds'])}, {w['processed']:,} items" for w in alive)


def _error(row: dict[str, Any]) -> str:
    error = row["error"] or {}
    later = "" if row["due_at"] is None else f" Next try at {row['due_at']:%Y-%m-%d %H:%M} UTC."
    return f"  {row['id']}  {error.get('message', 'unknown')}{later}\n      {row['url']}"


def _span(seconds: float) -> str:
    """Say how long, in the largest fitting unit."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
