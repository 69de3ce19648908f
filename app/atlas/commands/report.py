"""`atlas report`."""

import argparse
import datetime as dt
from dataclasses import asdict

from atlas.commands import CommandError, database, now, show
from atlas.report.post import WEEK, SendError, compose, send
from atlas.settings import Settings


def report(options: argparse.Namespace, settings: Settings) -> int:
    """Print the weekly letter, or send it."""
    moment = now()
    since = moment - WEEK if options.since is None else _day(options.since)
    if since >= moment:
        raise CommandError("--since must lie in the past.")
    if options.send and not settings.report_to:
        raise CommandError("Nobody is named in ATLAS_REPORT_TO, so there is no one to send it to.")
    with database(settings) as engine:
        letter = compose(engine, settings, until=moment, since=since)
    if options.send:
        try:
            send(letter, settings, moment)
        except SendError as error:
            raise CommandError(f"The letter was not sent: {error}") from None
        return show(options, {"sent_to": settings.report_to}, f"Sent to {settings.report_to}.")
    return show(options, asdict(letter), letter.html if options.html else letter.text)


def _day(text: str) -> dt.datetime:
    try:
        return dt.datetime.combine(dt.date.fromisoformat(text), dt.time(), dt.UTC)
    except ValueError:
        raise CommandError(f"--since must be a date such as 2026-11-22, not {text!r}.") from None
