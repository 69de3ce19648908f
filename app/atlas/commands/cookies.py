"""`atlas cookies`: what opens sites for their subscriber."""

import argparse
import sys

from atlas import site_cookies
from atlas.commands import CommandError, database, now, show
from atlas.database.engine import read
from atlas.settings import Settings
from atlas.site_cookies import BadCookies


def keep(options: argparse.Namespace, settings: Settings) -> int:
    """Keep a site's cookies, read from standard input so that no process list shows them."""
    try:
        with database(settings) as engine, engine.begin() as conn:
            host = site_cookies.keep(conn, options.host, sys.stdin.read().strip(), now=now())
    except BadCookies as error:
        raise CommandError(str(error)) from None
    return show(options, {"host": host}, f"Cookies are sent to {host} from now on.")


def list_sites(options: argparse.Namespace, settings: Settings) -> int:
    """Print the sites that have cookies."""
    with database(settings) as engine, read(engine) as conn:
        found = site_cookies.hosts(conn)
    lines = [f"{row['host']}  since {row['updated_at']:%Y-%m-%d}" for row in found]
    return show(options, found, "\n".join(lines) or "No site has cookies.")


def remove(options: argparse.Namespace, settings: Settings) -> int:
    """Forget a site's cookies."""
    try:
        with database(settings) as engine, engine.begin() as conn:
            done = site_cookies.remove(conn, options.host)
    except BadCookies as error:
        raise CommandError(str(error)) from None
    if not done:
        raise CommandError(f"There are no cookies of {options.host}. See `atlas cookies list`.")
    return show(options, {"removed": options.host}, f"The cookies of {options.host} are forgotten.")
