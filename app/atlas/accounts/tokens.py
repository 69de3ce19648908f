"""API tokens: long-lived, one a program, shown once."""

import datetime as dt
import secrets
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class TokenRow:
    """What is known of a token after it was shown."""

    id: int
    user_name: str
    name: str
    created_at: dt.datetime
    used_at: dt.datetime | None


def create_token(conn: Connection, user: User, name: str, now: dt.datetime) -> str:
    """Make a token for a program called `name` and return it: it cannot be shown again."""
    plain = PREFIX + secrets.token_urlsafe(32)
    row = {"user_id": user.id, "name": name, "token_sha256": digest(plain), "created_at": now}
    conn.execute(tokens.insert().values(row))
    audit(conn, user.name, "token.create", {"name": name}, now)
    return plain


@dataclass(frozen=True, slots=True)
class TokenUse:
    """A good token: whose it is, and whether it is time to note that it is used (see `touch_token`)."""

    token_id: int
    user: User
    is_due: bool


def check_token(conn: Connection, plain: str, now: dt.datetime) -> TokenUse | None:
    """Return whose token this is, None when it is nobody's. Only reads."""
    if not plain.startswith(PREFIX):
        return None
    found = conn.execute(
        sa.select(tokens.c.id, tokens.c.used_at, tokens.c.user_id, users.c.name)
        .join_from(tokens, users)
        .where(tokens.c.token_sha256 == digest(plain))
    ).one_or_none()
    if found is None:
        return None
    is_due = found.used_at is None or now - found.used_at >= USED_AFTER
    return TokenUse(found.id, User(found.user_id, found.name), is_due)


def touch_token(conn: Connection, token_id: int, now: dt.datetime) -> None:
    """Note that a token is used."""
    conn.execute(tokens.update().where(tokens.c.id == token_id).values(used_at=now))


def list_tokens(conn: Connection) -> list[TokenRow]:
    """Return all tokens, newest first."""
    query = sa.select(
        tokens.c.id, users.c.name.label("user_name"), tokens.c.name, tokens.c.created_at, tokens.c.used_at
    )
    found = conn.execute(query.join_from(tokens, users).order_by(tokens.c.id.desc()))
    return [TokenRow(**row._mapping) for row in found]


def revoke_token(conn: Connection, token_id: int, now: dt.datetime, *, actor: str) -> bool:
    """Make a token worthless; return False when there is none of that id."""
    if not 0 < token_id <= MAX_ID:
        return False
    gone = tokens.delete().where(tokens.c.id == token_id).returning(tokens.c.name)
    name = conn.execute(gone).scalar()
    if name is None:
        return False
    audit(conn, actor, "token.revoke", {"name": name}, now)
    return True
