"""`atlas feed` and `atlas poll`."""

import argparse
import json
from dataclasses import asdict
from typing import Any

import structlog

from atlas.commands import CommandError, database, now, show
from atlas.database.engine import read
from atlas.net.client import Fetcher
from atlas.scheduler import poll_due
from atlas.settings import Settings
from atlas.sources import subscriptions
from atlas.sources.subscriptions import OptionError, RuleError
from atlas.stages.pool import ReaderPool
from atlas.telemetry import tally
from atlas.urls import InvalidUrl

log = structlog.stdlib.get_logger(__name__)


def add(options: argparse.Namespace, settings: Settings) -> int:
    """Follow a feed; it is asked within a minute."""
    interval = settings.feed_interval_seconds
    try:
        with database(settings) as engine, engine.begin() as conn:
            feed = subscriptions.subscribe(
                conn,
                options.url,
                now=now(),
                interval_seconds=interval,
                title=options.title,
                folder=options.folder,
            )
    except (InvalidUrl, OptionError) as error:
        raise CommandError(f"{options.url}: {error}") from None
    return show(options, feed, f"{feed['id']}  {feed['url']}")


def show_all(options: argparse.Namespace, settings: Settings) -> int:
    """Print the feeds, and what is wrong with those that are broken."""
    with database(settings) as engine, read(engine) as conn:
        feeds = subscriptions.list_feeds(conn)
    return show(options, feeds, "\n".join(map(_feed, feeds)) or "No feed is followed.")


def change(options: argparse.Namespace, settings: Settings) -> int:
    """Change options of a feed."""
    changes = _changes(options)
    if not changes:
        raise CommandError("Say what to change: `atlas feed set --help` lists the options.")
    try:
        with database(settings) as engine, engine.begin() as conn:
            feed = subscriptions.update(conn, options.id, changes, now=now())
    except (OptionError, RuleError) as error:
        raise CommandError(str(error)) from None
    if feed is None:
        raise _unknown(options.id)
    return show(options, feed, _feed(feed))


def _changes(options: argparse.Namespace) -> dict[str, Any]:
    given = {
        "title": options.title,
        "folder": options.folder,
        "interval_seconds": options.interval,
        "full_text": options.full_text,
        "paused": options.paused,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    if options.retention is not None:
        if options.retention and not options.retention.isdecimal():
            raise CommandError(f"{options.retention!r} is no number of days.")
        changes["retention_days"] = int(options.retention) if options.retention else None
    if options.rules is not None:
        try:
            changes["rules"] = json.loads(options.rules or "[]")
        except ValueError as error:
            raise CommandError(f"The rules are no JSON: {error}.") from None
    return changes


def remove(options: argparse.Namespace, settings: Settings) -> int:
    """Follow a feed no more."""
    with database(settings) as engine, engine.begin() as conn:
        if not subscriptions.unsubscribe(conn, options.id):
            raise _unknown(options.id)
    return show(options, {"id": options.id}, "Followed no more. What it brought stays.")


def refresh(options: argparse.Namespace, settings: Settings) -> int:
    """Have a feed asked with the next look at what is due."""
    with database(settings) as engine, engine.begin() as conn:
        if not subscriptions.refresh(conn, options.id, now=now()):
            raise _unknown(options.id)
    return show(options, {"id": options.id}, "It is asked within a minute.")


def poll(_options: argparse.Namespace, settings: Settings) -> int:
    """Ask the feeds that are due. A feed that fails is no failure of the command."""
    pool = ReaderPool(1, settings.reader_timeout_seconds, settings.reader_memory_mb)
    with database(settings) as engine, pool as reader:
        done = poll_due(settings, engine, Fetcher(settings), reader)
        tally.save(engine)
    log.info("feeds polled", **asdict(done))
    return 0


def _feed(feed: dict[str, Any]) -> str:
    title = f"{feed['title']}  " if feed["title"] else ""
    notes = [f"{feed['unread']} unread"] if feed["unread"] else []
    notes += [f"in {feed['folder']}"] if feed["folder"] else []
    notes += ["paused"] if feed["paused_at"] else []
    note = f"  ({', '.join(notes)})" if notes else ""
    trouble = f"\n    {feed['error']['message']} (failed {feed['failures']} times)" if feed["error"] else ""
    return f"{feed['id']}  {title}{feed['url']}{note}{trouble}"


def _unknown(feed_id: int) -> CommandError:
    return CommandError(f"There is no feed {feed_id}. `atlas feed list` shows them.")
