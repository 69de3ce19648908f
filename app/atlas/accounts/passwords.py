"""Password hashes: argon2id, dear to guess and bearable on a machine with 1 GB of memory."""

import secrets
import threading
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

#: Above OWASP's minimum (19 MiB, two passes): about 40 ms of one core.
_HASHER = PasswordHasher(time_cost=3, memory_cost=19 * 1024, parallelism=1)

#: Hashes made at the same time: bounds memory (19 MiB each) and processor time, whoever knocks.
_SLOTS = threading.BoundedSemaphore(2)

#: Passwords longer than this are refused rather than hashed (characters).
MAX_LENGTH = 1000


def hash_password(password: str) -> str:
    """Return a hash to store. Raises ValueError for an empty password or one beyond MAX_LENGTH."""
    if not password:
        raise ValueError("the password is empty")
    if len(password) > MAX_LENGTH:
        raise ValueError(f"the password is longer than {MAX_LENGTH} characters")
    with _SLOTS:
        return _HASHER.hash(password.encode("utf-8", "surrogatepass"))


def verify(stored: str | None, password: str) -> bool:
    """Say whether `password` made the hash `stored`; None or "" (nobody's) takes as long, and is False."""
    decoy = _decoy()
    if len(password) > MAX_LENGTH:
        return False
    with _SLOTS:
        try:
            _HASHER.verify(stored or decoy, password.encode("utf-8", "surrogatepass"))
        except (VerificationError, InvalidHashError):
            return False
    return bool(stored)


def is_outdated(stored: str) -> bool:
    """Say whether a hash was made with other parameters than new ones are."""
    return _HASHER.check_needs_rehash(stored)


@cache
def _decoy() -> str:
    return hash_password(secrets.token_urlsafe())
