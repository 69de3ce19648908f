"""`atlas feed` and `atlas poll`."""

import argparse
from dataclasses import asdict
from typing import Any

import structlog

from atlas.commands import CommandError, database, now, show
from atlas.database.engine import read
from atlas.net.client import Fetcher
from atlas.scheduler import poll_due
from atlas.settings import Settings
from atlas.sources.feeds import list_feeds, subscribe
from atlas.telemetry import tally
from atlas.urls import InvalidUrl

log = structlog.stdlib.get_logger(__name__)


def add(options: argparse.Namespace, settings: Settings) -> int:
    """Follow a feed; it is asked with the next `atlas poll`."""
    try:
        with database(settings) as engine, engine.begin() as conn:
            feed = subscribe(conn, options.url, now=now(), interval_seconds=settings.feed_interval_seconds)
    except InvalidUrl as error:
        raise CommandError(f"{options.url}: {error}") from None
    return show(options, feed, f"{feed['id']}  {feed['url']}")


def show_all(options: argparse.Namespace, settings: Settings) -> int:
    """Print the feeds, and what is wrong with those that are broken."""
    with database(settings) as engine, read(engine) as conn:
        feeds = list_feeds(conn)
    return show(options, feeds, "\n".join(map(_feed, feeds)) or "No feed is followed.")


def poll(_options: argparse.Namespace, settings: Settings) -> int:
    """Ask the feeds that are due. A feed that fails is no failure of the command."""
    with database(settings) as engine:
        done = poll_due(settings, engine, Fetcher(settings))
        tally.save(engine)
    log.info("feeds polled", **asdict(done))
    return 0


def _feed(feed: dict[str, Any]) -> str:
    trouble = f"\n    {feed['error']['message']} (failed {feed['failures']} times)" if feed["error"] else ""
    title = f"{feed['title']}  " if feed["title"] else ""
    return f"{feed['id']}  {title}{feed['url']}{trouble}"
