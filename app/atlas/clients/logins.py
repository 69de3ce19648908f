"""Name and password of a client, checked through the same throttle as the login page."""

from starlette.requests import Request

from atlas import accounts
from atlas.accounts import TooManyAttempts, User
from atlas.api.errors import Problem
from atlas.api.state import state


def who_logs_in(request: Request, name: str, password: str) -> tuple[User, str | None] | None:
    """Return whose name and password these are, and the token if it stands in for the password.

    None when they do not belong together. Raises Problem.
    """
    parts = state(request)
    try:
        return accounts.check_client(
            parts.engine, name.strip(), password, now=parts.clock(), address=address_of(request)
        )
    except TooManyAttempts as error:
        raise too_many(error) from None


def count_failure(request: Request, what: str) -> None:
    """Note that a client sent something wrong; raise Problem when it does so too often."""
    parts = state(request)
    try:
        accounts.count_failure(parts.engine, what, now=parts.clock(), address=address_of(request))
    except TooManyAttempts as error:
        raise too_many(error) from None


def address_of(request: Request) -> str:
    """Return where a request comes from."""
    return request.client.host if request.client else ""


def agent_of(request: Request) -> str:
    """Return what a client calls itself: what stands in the list of tokens for it."""
    return " ".join(request.headers.get("user-agent", "").split())[:80] or "unknown"


def too_many(error: TooManyAttempts) -> Problem:
    """Say that there were too many attempts."""
    return Problem(429, "too_many_attempts", str(error), {"Retry-After": str(error.retry_after)})
