"""`atlas migrate` and `atlas check-config`."""

import argparse
import os
import sys

from atlas import accounts
from atlas.commands import CommandError, database, now, show
from atlas.database import migrate as migrations
from atlas.settings import Settings, unknown_options


def migrate(options: argparse.Namespace, settings: Settings) -> int:
    """Bring the database up to date; make sure the owner can log in with the configured password, if any."""
    owner_changed = False
    with database(settings) as engine:
        before = migrations.current(engine)
        try:
            migrations.upgrade(engine)
        except migrations.MigrationError as error:
            raise CommandError(str(error)) from None
        revision = migrations.current(engine)
        if settings.owner_password is not None:
            password = settings.owner_password.get_secret_value()
            with engine.begin() as conn:
                owner_changed = accounts.ensure_owner(conn, settings.owner_name, password, now())
    data = {"revision": revision, "migrated": revision != before, "owner_changed": owner_changed}
    done = f"migrated to revision {revision}" if data["migrated"] else f"up to date (revision {revision})"
    owner = f" The password of {settings.owner_name} was set." if owner_changed else ""
    return show(options, data, f"The database is {done}.{owner}")


def check_config(options: argparse.Namespace, settings: Settings) -> int:
    """Say that the settings, which were read to get here, are fine; name variables that mean nothing."""
    unknown = unknown_options(os.environ)
    for sentence in unknown:
        print(f"atlas: warning: {sentence}", file=sys.stderr)
    where = settings.database().render_as_string(hide_password=True)
    data = {"ok": True, "database": where, "unknown": unknown}
    return show(options, data, f"The settings are valid. The database is {where}.")
