"""Logging in by name and password, for those who do not try too often."""

import datetime as dt
import hashlib
import ipaddress
import math

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection, Engine

from atlas.accounts import passwords, sessions
from atlas.accounts.journal import audit
from atlas.accounts.tokens import PREFIX, check_token
from atlas.accounts.users import User
from atlas.database.dialect import is_sqlite
from atlas.database.engine import read
from atlas.database.tables import login_failures, users
from atlas.telemetry import tally

#: Failures are counted for this long.
WINDOW = dt.timedelta(minutes=15)
#: Failures after which a name is closed to an address, and after which all names are.
MAX_PER_NAME = 5
MAX_PER_ADDRESS = 20

log = structlog.stdlib.get_logger(__name__)


class TooManyAttempts(Exception):  # noqa: N818
    """Too many failed logins; `retry_after` says after how many seconds one more is allowed."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"Too many failed logins. Try again in {math.ceil(retry_after / 60)} minutes.")
        self.retry_after = retry_after


def login(
    engine: Engine,
    name: str,
    password: str,
    *,
    now: dt.datetime,
    days: float,
    address: str,
    agent: str = "",
    replaces: str | None = None,
) -> str | None:
    """Return the token of a new session of `days` days; None when name and password do not belong together.

    `replaces` is the token the visitor came with, if any: it is worthless afterwards, whoever planted it.
    Raises TooManyAttempts.
    """
    user = check_password(engine, name, password, now=now, address=address)
    if user is None:
        return None
    with engine.begin() as conn:
        return open_session(
            conn, user, now=now, days=days, address=address, agent=agent, replaces=replaces, how="password"
        )


def open_session(
    conn: Connection,
    user: User,
    *,
    now: dt.datetime,
    days: float,
    address: str,
    agent: str,
    replaces: str | None,
    how: str,
) -> str:
    """Begin a session for someone who has proven who he is; return its token, which is always a new one."""
    if replaces:
        sessions.discard(conn, replaces)
    audit(conn, user.name, "login", {"address": address, "how": how}, now)
    return sessions.start(conn, user.id, now=now, days=days, address=address, agent=agent)


def check_password(
    engine: Engine, name: str, password: str, *, now: dt.datetime, address: str
) -> User | None:
    """Return the user of that name if the password is right, and keep count of those that are not.

    The hash is computed outside any transaction. Raises TooManyAttempts.
    """
    per_name, per_address = _keys(name, address)
    with engine.begin() as conn:
        # Counted as failed until it has succeeded: many at once must not slip through before the first fails.
        attempt = _reserve_attempt(conn, per_name, per_address, now)
        user = conn.execute(sa.select(users).where(users.c.name == name)).one_or_none()
    if not passwords.verify(user.password_hash if user else None, password):
        tally.count("logins", "failed")
        known = user.name if user else None  # an unknown name may be a password in the wrong field
        log.warning("login failed", user=known, address=address)
        with engine.begin() as conn:
            audit(conn, "anonymous", "login.failed", {"user": known, "address": address}, now)
        return None
    assert user is not None  # noqa: S101 - nobody's password is never right
    tally.count("logins", "ok")
    with engine.begin() as conn:
        _forget_failures(conn, per_name, attempt)
        if passwords.is_outdated(user.password_hash):
            better = passwords.hash_password(password)
            conn.execute(users.update().where(users.c.id == user.id).values(password_hash=better))
    return User(user.id, user.name, user.role)


def check_client(
    engine: Engine, name: str, password: str, *, now: dt.datetime, address: str
) -> tuple[User, str | None] | None:
    """Return who a client logs in: with a token instead of the password (which comes back), or the password.

    None when neither is right. Raises TooManyAttempts.
    """
    if password.startswith(PREFIX):
        with read(engine) as conn:
            found = check_token(conn, password, now)
        if found is not None and found.user.name == name:
            return found.user, password
    user = check_password(engine, name, password, now=now, address=address)
    return None if user is None else (user, None)


def count_failure(engine: Engine, what: str, *, now: dt.datetime, address: str) -> None:
    """Note that something wrong was presented as `what` ("fever"). Raises TooManyAttempts after a few."""
    with engine.begin() as conn:
        _reserve_attempt(conn, *_keys(f"\0{what}", address), now)


def _keys(name: str, address: str) -> tuple[str, str]:
    """Name what is counted; hashed, as a name may be anything. IPv6: a /64 is one visitor."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        where = address
    else:
        where = str(ipaddress.ip_network((ip, 64), strict=False)) if ip.version == 6 else str(ip)
    return _hash("name", name, where), _hash("address", where)


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _reserve_attempt(conn: Connection, per_name: str, per_address: str, now: dt.datetime) -> list[int]:
    """Count one more attempt, unless there were too many already. Returns the ids of its rows."""
    if not is_sqlite(conn):  # where one writer at a time is not a matter of course
        conn.exec_driver_sql("LOCK TABLE login_failures IN SHARE ROW EXCLUSIVE MODE")
    since = now - WINDOW
    conn.execute(login_failures.delete().where(login_failures.c.at <= since))
    for key, limit in ((per_name, MAX_PER_NAME), (per_address, MAX_PER_ADDRESS)):
        query = sa.select(login_failures.c.at).where(login_failures.c.key == key)
        times = list(conn.execute(query.order_by(login_failures.c.at.desc()).limit(limit)).scalars())
        if len(times) == limit:
            tally.count("logins", "throttled")
            raise TooManyAttempts(max(1, math.ceil((times[-1] - since).total_seconds())))
    rows = [{"key": per_name, "at": now}, {"key": per_address, "at": now}]
    return list(conn.execute(login_failures.insert().returning(login_failures.c.id), rows).scalars())


def _forget_failures(conn: Connection, per_name: str, attempt: list[int]) -> None:
    """Forget this attempt and earlier typing errors; what the address did to other names stays."""
    is_mine = sa.or_(login_failures.c.id.in_(attempt), login_failures.c.key == per_name)
    conn.execute(login_failures.delete().where(is_mine))
