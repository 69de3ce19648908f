"""API tokens: one a program, with what it may do and for how long, shown once.

Three kinds: `token` is made by a person; `access` and, to get a new one, `refresh` are given to a client that
logged in with a name and a password.
"""

import datetime as dt
import hashlib
import itertools
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from atlas.accounts.journal import audit
from atlas.accounts.sessions import digest
from atlas.accounts.users import User
from atlas.database.dialect import MAX_ID
from atlas.database.tables import tokens, users

#: Lets people and secret scanners see what it is.
PREFIX = "atl_"

#: How exact `used_at` is: a busy program does not write each time it asks.
USED_AFTER = dt.timedelta(minutes=5)


#: What a token may be allowed: to look, to change the library, to manage accounts.
SCOPES = ("read", "write", "admin")

#: Tokens of logged-in clients that are kept for a user; the oldest go. Some clients log in at every start.
MAX_LOGINS = 40


@dataclass(frozen=True, slots=True)
class TokenRow:
    """What is known of a token after it was shown. `scopes` None: everything."""

    id: int
    user_id: int
    user_name: str
    name: str
    kind: str
    scopes: list[str] | None
    created_at: dt.datetime
    used_at: dt.datetime | None
    expires_at: dt.datetime | None


def create_token(
    conn: Connection,
    user: User,
    name: str,
    now: dt.datetime,
    *,
    scopes: Collection[str] | None = None,
    expires_at: dt.datetime | None = None,
    actor: str | None = None,
) -> str:
    """Make a token for a program called `name` and return it: it cannot be shown again.

    `scopes` None: everything. Raises ValueError for a scope there is not, or none at all.
    """
    plain = _add(conn, user, name, now, kind="token", scopes=scopes, expires_at=expires_at)
    audit(conn, actor or user.name, "token.create", {"name": name, "user": user.name}, now)
    return plain


def create_login(
    conn: Connection,
    user: User,
    name: str,
    now: dt.datetime,
    *,
    seconds: float,
    refresh_seconds: float | None = None,
    scopes: Collection[str] = ("read", "write"),
) -> tuple[str, str]:
    """Give a client that logged in an access token, and one to refresh it ("" when none is asked for).

    Another device with the same app gets a name of its own, by which it is ended alone.
    """
    conn.execute(tokens.delete().where(tokens.c.expires_at <= now, tokens.c.kind != "token"))
    mine = sa.select(tokens.c.id).where(tokens.c.user_id == user.id, tokens.c.kind != "token")
    oldest = list(conn.execute(mine.order_by(tokens.c.id.desc()).offset(MAX_LOGINS - 2)).scalars())
    conn.execute(tokens.delete().where(tokens.c.id.in_(oldest)))
    name = _free_name(conn, user.id, name)
    access = _add(
        conn, user, name, now, kind="access", scopes=scopes, expires_at=now + dt.timedelta(seconds=seconds)
    )
    if refresh_seconds is None:
        return access, ""
    until = now + dt.timedelta(seconds=refresh_seconds)
    return access, _add(conn, user, name, now, kind="refresh", scopes=scopes, expires_at=until)


def use_refresh(conn: Connection, plain: str, now: dt.datetime) -> tuple[User, str, list[str]] | None:
    """Use up a refresh token: whose it was, its name and scopes; None when it is good for nothing.

    The access token it came with ends as well.
    """
    query = _JOINED.where(tokens.c.token_sha256 == digest(plain), tokens.c.kind == "refresh")
    found = conn.execute(query.where(tokens.c.expires_at > now)).one_or_none()
    if found is None or not _end_login(conn, found.user_id, found.name):
        return None
    return User(found.user_id, found.user_name, found.role), found.name, found.scopes or []


def _add(
    conn: Connection,
    user: User,
    name: str,
    now: dt.datetime,
    *,
    kind: str,
    scopes: Collection[str] | None,
    expires_at: dt.datetime | None,
) -> str:
    if scopes is not None and not (scopes and set(scopes) <= set(SCOPES)):
        raise ValueError(f"scopes are {', '.join(SCOPES)}")
    plain = PREFIX + secrets.token_urlsafe(32)
    row = {
        "user_id": user.id,
        "name": name,
        "token_sha256": digest(plain),
        "created_at": now,
        "kind": kind,
        "scopes": None if scopes is None else [scope for scope in SCOPES if scope in scopes],
        "expires_at": expires_at,
        "fever_key": _fever_digest(fever_key(user.name, plain)) if kind == "token" else None,
    }
    conn.execute(tokens.insert().values(row))
    return plain


def fever_key(user_name: str, plain: str) -> str:
    """Return what a Fever client makes of name and password: its protocol knows nothing better than MD5."""
    return hashlib.md5(f"{user_name}:{plain}".encode(), usedforsecurity=False).hexdigest()


def _fever_digest(key: str) -> str:
    """Return what is stored of a Fever key, which would open the door itself."""
    return digest(key.lower())[:32]


@dataclass(frozen=True, slots=True)
class TokenUse:
    """A good token: whose it is, what it may do, and whether it is time to note its use (`touch_token`)."""

    token_id: int
    user: User
    is_due: bool
    scopes: frozenset[str] = frozenset(SCOPES)


_JOINED = sa.select(
    tokens.c.id,
    tokens.c.name,
    tokens.c.used_at,
    tokens.c.scopes,
    tokens.c.user_id,
    users.c.name.label("user_name"),
    users.c.role,
).join_from(tokens, users)


def check_token(conn: Connection, plain: str, now: dt.datetime) -> TokenUse | None:
    """Return whose token this is, None when it is nobody's or ran out. Only reads."""
    if not plain.startswith(PREFIX):
        return None
    return _use(conn, (tokens.c.token_sha256 == digest(plain)) & (tokens.c.kind != "refresh"), now)


def check_fever_key(conn: Connection, key: str, now: dt.datetime) -> TokenUse | None:
    """Return whose Fever key this is, None when it is nobody's or ran out. Only reads."""
    return _use(conn, tokens.c.fever_key == _fever_digest(key), now)


def _use(conn: Connection, which: sa.ColumnElement[bool], now: dt.datetime) -> TokenUse | None:
    valid = sa.or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > now)
    found = conn.execute(_JOINED.where(which, valid)).one_or_none()
    if found is None:
        return None
    is_due = found.used_at is None or now - found.used_at >= USED_AFTER
    scopes = frozenset(SCOPES if found.scopes is None else found.scopes)
    return TokenUse(found.id, User(found.user_id, found.user_name, found.role), is_due, scopes)


def touch_token(conn: Connection, token_id: int, now: dt.datetime) -> None:
    """Note that a token is used."""
    conn.execute(tokens.update().where(tokens.c.id == token_id).values(used_at=now))


def list_tokens(conn: Connection, user_id: int | None = None) -> list[TokenRow]:
    """Return the tokens of a user (None: of all), newest first; a logged-in client stands there once."""
    query = sa.select(
        tokens.c.id,
        tokens.c.user_id,
        users.c.name.label("user_name"),
        tokens.c.name,
        tokens.c.kind,
        tokens.c.scopes,
        tokens.c.created_at,
        tokens.c.used_at,
        tokens.c.expires_at,
    ).join_from(tokens, users)
    if user_id is not None:
        query = query.where(tokens.c.user_id == user_id)
    found = [TokenRow(**row._mapping) for row in conn.execute(query.order_by(tokens.c.id.desc()))]
    refreshed = {(row.user_id, row.name) for row in found if row.kind == "refresh"}
    return [row for row in found if row.kind != "access" or (row.user_id, row.name) not in refreshed]


def revoke_token(
    conn: Connection, token_id: int, now: dt.datetime, *, actor: str, user_id: int | None = None
) -> bool:
    """Make a token worthless; False when there is none of that id (among those of `user_id`, if given).

    A client that logged in loses what it has, whichever of its two tokens is named.
    """
    if not 0 < token_id <= MAX_ID:
        return False
    which = tokens.c.id == token_id
    if user_id is not None:
        which &= tokens.c.user_id == user_id
    gone = tokens.delete().where(which).returning(tokens.c.name, tokens.c.kind, tokens.c.user_id)
    found: Any = conn.execute(gone).one_or_none()
    if found is None:
        return False
    if found.kind != "token":
        _end_login(conn, found.user_id, found.name)
    audit(conn, actor, "token.revoke", {"name": found.name}, now)
    return True


def _free_name(conn: Connection, user_id: int, name: str) -> str:
    mine = (tokens.c.user_id == user_id) & (tokens.c.kind != "token")
    taken = set(conn.execute(sa.select(tokens.c.name).where(mine)).scalars())
    names = (name if number == 1 else f"{name} ({number})" for number in itertools.count(1))
    return next(one for one in names if one not in taken)


def _end_login(conn: Connection, user_id: int, name: str) -> bool:
    mine = (tokens.c.user_id == user_id) & (tokens.c.name == name) & (tokens.c.kind != "token")
    return conn.execute(tokens.delete().where(mine)).rowcount > 0
