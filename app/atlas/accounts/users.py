"""Users and their passwords."""

import datetime as dt
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from atlas.accounts import passwords
from atlas.accounts.journal import audit
from atlas.accounts.sessions import end_sessions
from atlas.database.tables import users


@dataclass(frozen=True, slots=True)
class User:
    """Someone with an account."""

    id: int
    name: str


def find_user(conn: Connection, name: str) -> User | None:
    """Return the user of that name."""
    found = conn.execute(sa.select(users.c.id, users.c.name).where(users.c.name == name)).one_or_none()
    return User(found.id, found.name) if found else None


def has_users(conn: Connection) -> bool:
    """Say whether anyone could log in."""
    return conn.execute(sa.select(users.c.id).limit(1)).first() is not None


def ensure_owner(conn: Connection, name: str, password: str, now: dt.datetime) -> bool:
    """Make sure that `name` can log in with `password`; return whether anything had to be changed."""
    stored = conn.execute(sa.select(users.c.password_hash).where(users.c.name == name)).scalar()
    if stored is not None and passwords.verify(stored, password) and not passwords.is_outdated(stored):
        return False
    set_password(conn, name, password, now, actor="system")
    return True


def set_password(conn: Connection, name: str, password: str, now: dt.datetime, *, actor: str) -> User:
    """Give `name` this password, making the account if there is none.

    Ends the user's sessions, but not the tokens. Raises ValueError for an empty or an endless password.
    """
    hashed = passwords.hash_password(password)
    user = find_user(conn, name)
    if user is None:
        row = {"name": name, "password_hash": hashed, "created_at": now}
        user = User(conn.execute(users.insert().values(row).returning(users.c.id)).scalar_one(), name)
        audit(conn, actor, "user.create", {"user": name}, now)
    else:
        conn.execute(users.update().where(users.c.id == user.id).values(password_hash=hashed))
        ended = end_sessions(conn, user.id)
        audit(conn, actor, "user.password", {"user": name, "sessions_ended": ended}, now)
    return user
