"""`atlas migrate` and `atlas check-config`."""

import argparse
import os
import sys
from dataclasses import asdict

from atlas import accounts
from atlas.commands import CommandError, database, now, show
from atlas.connections import try_all
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
    """Say that the settings, which were read to get here, are fine; name variables that mean nothing.

    With `--connect`, try what they name; the exit status says whether all of it answered.
    """
    unknown = unknown_options(os.environ)
    for sentence in unknown:
        print(f"atlas: warning: {sentence}", file=sys.stderr)
    where = settings.database().render_as_string(hide_password=True)
    tried = try_all(settings) if options.connect else []
    ok = all(one.ok for one in tried)
    lines = [f"The settings are valid. The database is {where}."]
    lines += [f"{'ok    ' if one.ok else 'FAILED'}  {one.name}: {one.message}" for one in tried]
    data = {"ok": ok, "database": where, "unknown": unknown, "connections": [asdict(one) for one in tried]}
    show(options, data, "\n".join(lines))
    return 0 if ok else 1
