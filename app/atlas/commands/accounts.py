"""`atlas user` and `atlas token`."""

import argparse
import getpass
import sys
from dataclasses import asdict

from atlas import accounts
from atlas.commands import CommandError, database, now, show
from atlas.database.engine import read
from atlas.settings import Settings

#: Who did what is done by this command, in the audit.
ACTOR = "command line"


def set_password(options: argparse.Namespace, settings: Settings) -> int:
    """Make an account, or give it a new password and end its sessions."""
    password = _password()
    try:
        with database(settings) as engine, engine.begin() as conn:
            accounts.set_password(conn, options.name, password, now(), actor=ACTOR)
    except ValueError as error:
        raise CommandError(f"{str(error).capitalize()}.") from None
    return show(options, {"user": options.name}, f"{options.name} can log in with the new password.")


def create_token(options: argparse.Namespace, settings: Settings) -> int:
    """Make a token and print nothing else: it can be used as `$(atlas token create NAME)`."""
    name = options.user or settings.owner_name
    with database(settings) as engine, engine.begin() as conn:
        user = accounts.find_user(conn, name)
        if user is None:
            raise CommandError(f"There is no account {name!r}. Make it with `atlas user set {name}`.")
        plain = accounts.create_token(conn, user, options.name, now())
    return show(options, {"name": options.name, "token": plain}, plain)


def list_tokens(options: argparse.Namespace, settings: Settings) -> int:
    """Print what is known of each token."""
    with database(settings) as engine, read(engine) as conn:
        rows = accounts.list_tokens(conn)
    lines = [
        f"{row.id}  {row.name}  ({row.user_name}, made {row.created_at:%Y-%m-%d}, "
        + (f"used {row.used_at:%Y-%m-%d})" if row.used_at else "never used)")
        for row in rows
    ]
    return show(options, [asdict(row) for row in rows], "\n".join(lines) or "There are no tokens.")


def revoke_token(options: argparse.Namespace, settings: Settings) -> int:
    """Make a token worthless."""
    with database(settings) as engine, engine.begin() as conn:
        if not accounts.revoke_token(conn, options.id, now(), actor=ACTOR):
            raise CommandError(f"There is no token {options.id}; see `atlas token list`.")
    return show(options, {"revoked": options.id}, f"Token {options.id} is worthless now.")


def _password() -> str:
    if sys.stdin.isatty():
        password = getpass.getpass("New password: ")
        if getpass.getpass("Once more: ") != password:
            raise CommandError("The two are not the same; nothing was changed.")
        return password
    return sys.stdin.readline().rstrip("\r\n")
