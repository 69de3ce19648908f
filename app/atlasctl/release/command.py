"""`atlasctl release`: deploy, list, rollback, prune."""

import json
import signal
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from atlasctl.files import locked
from atlasctl.paths import Paths
from atlasctl.release import store
from atlasctl.settings import api_port, read_settings
from atlasctl.words import ago, parse, stamp, utc_now


def release(paths: Paths, asked: Namespace) -> int:
    """Do what was asked; JSON on standard output, words on standard error."""
    root: Path = asked.root or paths.app_root
    if asked.verb == "list":
        return _list(root, as_json=asked.json)
    with locked(store.lock_file(root), f"atlasctl release {asked.verb}", stamp(utc_now())):
        if asked.verb == "prune":
            gone = store.prune(root, asked.count)
            _print({"changed": bool(gone), "deleted": gone})
            return 0
        return _change(paths, root, asked)


def _change(paths: Paths, root: Path, asked: Namespace) -> int:
    from atlasctl.release.deploy import DeployError, Plan, deploy, rollback

    for stop in (signal.SIGTERM, signal.SIGHUP):  # like Ctrl-C: a half-done switch is taken back
        signal.signal(stop, signal.default_int_handler)
    plan = Plan(
        paths=paths,
        root=root,
        user=asked.user,
        units=asked.units.split(","),
        ready_url=asked.ready_url
        or f"http://127.0.0.1:{api_port(read_settings(paths.settings))}/ready?queue=any",
        ready_seconds=asked.ready_seconds,
        settle_seconds=asked.settle_seconds,
        keep=asked.count,
    )
    try:
        report = (
            deploy(plan, asked.source, asked.python) if asked.verb == "deploy" else rollback(plan, asked.id)
        )
    except DeployError as error:
        _print(error.report)
        print(error, file=sys.stderr)
        return 1
    _print(report)
    if report.get("note"):
        print(report["note"], file=sys.stderr)
    return 0


def _list(root: Path, *, as_json: bool) -> int:
    current = store.current_id(root)
    rows = [
        {
            "id": one.id,
            "current": one.id == current,
            "finished_at": one.finished_at or None,
            "served_at": one.served_at or None,
        }
        for one in store.releases(root)
    ]
    if as_json:
        _print(rows)
        return 0
    for row in rows:
        print(f"{'* ' if row['current'] else '  '}{row['id']}  {_words(row)}")
    if not rows:
        print("No release yet. site.yml deploys one, or: atlasctl release deploy")
    return 0


def _words(row: dict[str, Any]) -> str:
    if not row["finished_at"]:
        return "unfinished"
    served = f"became ready {_when(row['served_at'])}" if row["served_at"] else "never served"
    return f"built {_when(row['finished_at'])}, {served}"


def _when(text: str) -> str:
    """Say it as `--at` of a restore takes it, and in words."""
    moment = parse(text)
    if moment is None:
        return "at an unknown time"
    return f"{stamp(moment)} ({ago((utc_now() - moment).total_seconds())} ago)"


def _print(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False))
