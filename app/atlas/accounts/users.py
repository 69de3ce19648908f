"""Users and their passwords."""

import datetime as dt
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from atlas.accounts import passwords
from atlas.accounts.journal import audit
from atlas.accounts.sessions import end_logins, end_sessions
from atlas.database.tables import users

#: What a user may be: owners manage users and everybody's tokens, members only what is their own.
ROLES = ("owner", "member")


@dataclass(frozen=True, slots=True)
class User:
    """Someone with an account."""

    id: int
    name: str
    role: str = "member"


@dataclass(frozen=True, slots=True)
class UserRow:
    """What owners are shown of an account."""

    id: int
    name: str
    role: str
    created_at: dt.datetime
    has_password: bool
    #: Whether the OpenID provider opens it.
    is_linked: bool


class LastOwnerError(ValueError):
    """The only owner can neither be removed nor become a member: nobody could manage accounts any more."""

    def __init__(self) -> None:
        super().__init__("this is the only owner; make somebody else an owner first")


def find_user(conn: Connection, name: str) -> User | None:
    """Return the user of that name."""
    found = conn.execute(_USER.where(users.c.name == name)).one_or_none()
    return User(**found._mapping) if found else None


_USER = sa.select(users.c.id, users.c.name, users.c.role)


def user_of(conn: Connection, subject: str) -> User | None:
    """Return the user an OpenID provider knows as `subject` (issuer, space, subject)."""
    found = conn.execute(_USER.where(users.c.subject == subject)).one_or_none()
    return User(**found._mapping) if found else None


def list_users(conn: Connection) -> list[UserRow]:
    """Return all accounts, by name."""
    query = sa.select(
        users.c.id,
        users.c.name,
        users.c.role,
        users.c.created_at,
        (users.c.password_hash != "").label("has_password"),
        users.c.subject.is_not(None).label("is_linked"),
    )
    return [UserRow(**row._mapping) for row in conn.execute(query.order_by(users.c.name))]


def has_users(conn: Connection) -> bool:
    """Say whether anyone could log in."""
    return conn.execute(sa.select(users.c.id).limit(1)).first() is not None


def ensure_owner(conn: Connection, name: str, password: str, now: dt.datetime) -> bool:
    """Make sure `name` is an owner who can log in with `password`; return whether it changed anything."""
    query = sa.select(users.c.password_hash, users.c.role).where(users.c.name == name)
    found = conn.execute(query).one_or_none()
    if found is not None and found.role == "owner" and _opens(found.password_hash, password):
        return False
    set_password(conn, name, password, now, actor="system", role="owner")
    return True


def _opens(stored: str, password: str) -> bool:
    return passwords.verify(stored, password) and not passwords.is_outdated(stored)


def set_password(
    conn: Connection, name: str, password: str, now: dt.datetime, *, actor: str, role: str | None = None
) -> User:
    """Give `name` this password, making the account if there is none: the first one is an owner's.

    Ends the user's sessions and what clients were given for the old password, but not the tokens that were
    made by hand. Raises ValueError for an empty or an endless password, and LastOwnerError.
    """
    hashed = passwords.hash_password(password)
    user = find_user(conn, name)
    if user is None:
        return add_user(conn, name, now, actor=actor, role=role, password_hash=hashed)
    conn.execute(users.update().where(users.c.id == user.id).values(password_hash=hashed))
    ended = end_sessions(conn, user.id)
    end_logins(conn, user.id)
    audit(conn, actor, "user.password", {"user": name, "sessions_ended": ended}, now)
    return user if role is None else set_role(conn, user, role, now, actor=actor)


def add_user(
    conn: Connection,
    name: str,
    now: dt.datetime,
    *,
    actor: str,
    role: str | None = None,
    password_hash: str = "",
    subject: str | None = None,
) -> User:
    """Make an account. Without a hash no password opens it. The caller knows that the name is free."""
    role = role or ("member" if has_users(conn) else "owner")
    row = {"name": name, "password_hash": password_hash, "created_at": now, "role": role, "subject": subject}
    user_id: int = conn.execute(users.insert().values(row).returning(users.c.id)).scalar_one()
    audit(conn, actor, "user.create", {"user": name, "role": role}, now)
    return User(user_id, name, role)


def set_role(conn: Connection, user: User, role: str, now: dt.datetime, *, actor: str) -> User:
    """Make a user an owner or a member. Raises LastOwnerError, and ValueError for what is no role."""
    if role not in ROLES:
        raise ValueError(f"{role!r} is no role; there are {' and '.join(ROLES)}")
    if role == user.role:
        return user
    if role != "owner":
        _keep_an_owner(conn, user)
    conn.execute(users.update().where(users.c.id == user.id).values(role=role))
    audit(conn, actor, "user.role", {"user": user.name, "role": role}, now)
    return User(user.id, user.name, role)


def link_user(conn: Connection, user: User, subject: str, now: dt.datetime) -> bool:
    """Let an OpenID provider's subject open an account from now on; False if another one does already."""
    free = (users.c.id == user.id) & users.c.subject.is_(None)
    if conn.execute(users.update().where(free).values(subject=subject)).rowcount == 0:
        return False
    audit(conn, user.name, "user.link", {"user": user.name}, now)
    return True


def remove_user(conn: Connection, user: User, now: dt.datetime, *, actor: str) -> None:
    """Remove an account with its sessions and tokens; what is in the library stays. Raises LastOwnerError."""
    if user.role == "owner":
        _keep_an_owner(conn, user)
    conn.execute(users.delete().where(users.c.id == user.id))
    audit(conn, actor, "user.remove", {"user": user.name}, now)


def _keep_an_owner(conn: Connection, user: User) -> None:
    """Raise LastOwnerError when `user` is the only owner. Two at once cannot both go: rows are locked."""
    owners = sa.select(users.c.id).where(users.c.role == "owner").order_by(users.c.id).with_for_update()
    if list(conn.execute(owners).scalars()) == [user.id]:
        raise LastOwnerError
