"""`atlas user`, `atlas token` and `atlas audit-log`."""

import argparse
import datetime as dt
import getpass
import json
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
            user = accounts.set_password(conn, options.name, password, now(), actor=ACTOR, role=options.role)
    except ValueError as error:
        raise CommandError(f"{str(error).capitalize()}.") from None
    text = f"{user.name} ({user.role}) can log in with the new password."
    return show(options, {"user": user.name, "role": user.role}, text)


def list_users(options: argparse.Namespace, settings: Settings) -> int:
    """Print the accounts."""
    with database(settings) as engine, read(engine) as conn:
        rows = accounts.list_users(conn)
    ways = {(True, False): "password", (True, True): "password and OpenID", (False, True): "OpenID"}
    lines = [
        f"{row.name}  ({row.role}, {ways.get((row.has_password, row.is_linked), 'no way in')})"
        for row in rows
    ]
    return show(options, [asdict(row) for row in rows], "\n".join(lines) or "There are no accounts.")


def remove_user(options: argparse.Namespace, settings: Settings) -> int:
    """Remove an account, its sessions and its tokens."""
    with database(settings) as engine, engine.begin() as conn:
        user = accounts.find_user(conn, options.name)
        if user is None:
            raise CommandError(f"There is no account {options.name!r}; see `atlas user list`.")
        try:
            accounts.remove_user(conn, user, now(), actor=ACTOR)
        except accounts.LastOwnerError as error:
            raise CommandError(f"{str(error).capitalize()}.") from None
    return show(options, {"removed": user.name}, f"{user.name} is gone; what is in the library stays.")


def create_token(options: argparse.Namespace, settings: Settings) -> int:
    """Make a token and print nothing else: it can be used as `$(atlas token create NAME)`."""
    name = options.user or settings.owner_name
    with database(settings) as engine, engine.begin() as conn:
        user = accounts.find_user(conn, name)
        if user is None:
            raise CommandError(f"There is no account {name!r}. Make it with `atlas user set {name}`.")
        until = None if options.expires is None else now() + dt.timedelta(days=options.expires)
        scopes = options.scope or ["read", "write"]
        plain = accounts.create_token(
            conn, user, options.name, now(), scopes=scopes, expires_at=until, actor=ACTOR
        )
    return show(options, {"name": options.name, "token": plain, "scopes": scopes}, plain)


def list_tokens(options: argparse.Namespace, settings: Settings) -> int:
    """Print what is known of each token."""
    with database(settings) as engine, read(engine) as conn:
        rows = accounts.list_tokens(conn)
    lines = [
        f"{row.id}  {row.name}  ({row.user_name}, {'+'.join(row.scopes or ['everything'])}, "
        f"made {row.created_at:%Y-%m-%d}, "
        + (f"used {row.used_at:%Y-%m-%d}" if row.used_at else "never used")
        + (f", until {row.expires_at:%Y-%m-%d})" if row.expires_at else ")")
        for row in rows
    ]
    return show(options, [asdict(row) for row in rows], "\n".join(lines) or "There are no tokens.")


def revoke_token(options: argparse.Namespace, settings: Settings) -> int:
    """Make a token worthless."""
    with database(settings) as engine, engine.begin() as conn:
        if not accounts.revoke_token(conn, options.id, now(), actor=ACTOR):
            raise CommandError(f"There is no token {options.id}; see `atlas token list`.")
    return show(options, {"revoked": options.id}, f"Token {options.id} is worthless now.")


def audit_log(options: argparse.Namespace, settings: Settings) -> int:
    """Print what was done with accounts, the newest last."""
    with database(settings) as engine, read(engine) as conn:
        rows = accounts.read_audit(conn, limit=options.limit)[::-1]
    lines = [
        f"{row.at:%Y-%m-%d %H:%M:%S}  {row.actor}  {row.action}"
        + (f"  {json.dumps(row.detail, ensure_ascii=False)}" if row.detail else "")
        for row in rows
    ]
    return show(options, [asdict(row) for row in rows], "\n".join(lines) or "Nothing was done yet.")


def _password() -> str:
    if sys.stdin.isatty():
        password = getpass.getpass("New password: ")
        if getpass.getpass("Once more: ") != password:
            raise CommandError("The two are not the same; nothing was changed.")
        return password
    return sys.stdin.readline().rstrip("\r\n")
