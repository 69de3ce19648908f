"""Which browsers the nginx before us is to know: an empty file for each session, called as its pass is.

nginx looks for the file when a browser brings its pass (the role's `atlas.conf`), so it needs nobody to ask,
and a pass ends with its session, whoever has a copy. What is in the directory follows from the database.
"""

import datetime as dt
import fcntl
import hashlib
import os
from pathlib import Path

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Engine

from atlas.database.engine import read
from atlas.database.tables import sessions

#: Length of a name, in hexadecimal digits: nobody guesses it, and nobody makes the session's token of it.
LENGTH = 32

log = structlog.stdlib.get_logger(__name__)


def name_of(token_sha256: str) -> str:
    """Return what the pass of a session is called."""
    return hashlib.sha256(f"door {token_sha256}".encode()).hexdigest()[:LENGTH]


def follow(engine: Engine, directory: Path | None, now: dt.datetime) -> None:
    """Let there be a file for each session, and no other. Raises SQLAlchemyError; nothing has changed then.

    Where the files cannot be written, nginx asks for its password; that is no reason not to log in, or out.
    """
    if directory is None:
        return
    try:
        held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        log.warning("nginx cannot be told who is logged in", reason=str(error))
        return
    try:
        # Asked for while nobody else writes, so that what is older never comes later.
        fcntl.flock(held, fcntl.LOCK_EX)
        with read(engine) as conn:
            query = sa.select(sessions.c.token_sha256).where(sessions.c.expires_at > now)
            wanted = {name_of(token) for token in conn.execute(query).scalars()}
        found = {path.name for path in directory.iterdir()}
        for name in found - wanted:
            os.unlink(name, dir_fd=held)
        for name in wanted - found:
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644, dir_fd=held))
    except OSError as error:
        log.warning("nginx cannot be told who is logged in", reason=str(error))
    finally:
        os.close(held)
