"""Sessions: rows on our side, a random token in the visitor's cookie. Deleted here is logged out there."""

import datetime as dt
import hashlib
import secrets
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from atlas.accounts.journal import audit
from atlas.database.tables import sessions, tokens, users

#: A session in use is prolonged when it was not for this long, so that not every request writes.
TOUCH_AFTER = dt.timedelta(hours=1)

#: What is kept of the browser's own description (characters).
AGENT_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Session:
    """A valid session. When `is_due` the caller prolongs it with `touch`, in a transaction that may write."""

    user_id: int
    user_name: str
    user_role: str
    token_sha256: str
    created_at: dt.datetime
    expires_at: dt.datetime
    is_due: bool


@dataclass(frozen=True, slots=True)
class SessionRow:
    """What its owner is shown of a session."""

    token_sha256: str
    created_at: dt.datetime
    seen_at: dt.datetime
    address: str
    agent: str


def digest(token: str) -> str:
    """Return what is stored of a random token: a plain hash will do, as nobody can guess 256 bits."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def start(conn: Connection, user_id: int, *, now: dt.datetime, days: float, address: str, agent: str) -> str:
    """Begin a session and return its token; clear away those that ran out."""
    conn.execute(sessions.delete().where(sessions.c.expires_at <= now))
    token = secrets.token_urlsafe(32)
    row = {
        "token_sha256": digest(token),
        "user_id": user_id,
        "created_at": now,
        "seen_at": now,
        "expires_at": now + dt.timedelta(days=days),
        "address": address[:AGENT_LENGTH],
        "agent": agent[:AGENT_LENGTH],
    }
    conn.execute(sessions.insert().values(row))
    return token


def session(conn: Connection, token: str, now: dt.datetime) -> Session | None:
    """Return the session of a cookie, None when it is nobody's or ran out. Writes nothing."""
    found = conn.execute(
        sa.select(sessions, users.c.name, users.c.role)
        .join_from(sessions, users)
        .where(sessions.c.token_sha256 == digest(token), sessions.c.expires_at > now)
    ).one_or_none()
    if found is None:
        return None
    return Session(
        user_id=found.user_id,
        user_name=found.name,
        user_role=found.role,
        token_sha256=found.token_sha256,
        created_at=found.created_at,
        expires_at=found.expires_at,
        is_due=now - found.seen_at >= TOUCH_AFTER,
    )


def touch(conn: Connection, found: Session, *, now: dt.datetime, days: float) -> None:
    """Let a session last `days` from now."""
    conn.execute(
        sessions.update()
        .where(sessions.c.token_sha256 == found.token_sha256)
        .values(seen_at=now, expires_at=now + dt.timedelta(days=days))
    )


def logout(conn: Connection, token: str, now: dt.datetime) -> None:
    """End the session of a cookie; no matter if there is none."""
    found = session(conn, token, now)
    if found is not None:
        discard(conn, token)
        audit(conn, found.user_name, "logout", None, now)


def discard(conn: Connection, token: str) -> None:
    """Forget a session without a word about it."""
    conn.execute(sessions.delete().where(sessions.c.token_sha256 == digest(token)))


def list_sessions(conn: Connection, user_id: int, now: dt.datetime) -> list[SessionRow]:
    """Return a user's valid sessions, the one used last first."""
    query = sa.select(
        sessions.c.token_sha256,
        sessions.c.created_at,
        sessions.c.seen_at,
        sessions.c.address,
        sessions.c.agent,
    ).where(sessions.c.user_id == user_id, sessions.c.expires_at > now)
    found = conn.execute(query.order_by(sessions.c.seen_at.desc(), sessions.c.token_sha256))
    return [SessionRow(**row._mapping) for row in found]


def end_session(conn: Connection, user_id: int, token_sha256: str, now: dt.datetime, *, actor: str) -> bool:
    """End one of a user's sessions from afar; return False when there is none of that hash."""
    mine = (sessions.c.user_id == user_id) & (sessions.c.token_sha256 == token_sha256)
    if conn.execute(sessions.delete().where(mine)).rowcount == 0:
        return False
    audit(conn, actor, "session.end", None, now)
    return True


def end_sessions(conn: Connection, user_id: int, *, but: str = "") -> int:
    """Log a user out everywhere (`but` one, by the hash of its token); return from how many sessions."""
    mine = (sessions.c.user_id == user_id) & (sessions.c.token_sha256 != but)
    return conn.execute(sessions.delete().where(mine)).rowcount


def end_logins(conn: Connection, user_id: int) -> int:
    """Log out a user's clients: end what they were given for the password; return how many tokens."""
    given = (tokens.c.user_id == user_id) & (tokens.c.kind != "token")
    return conn.execute(tokens.delete().where(given)).rowcount
