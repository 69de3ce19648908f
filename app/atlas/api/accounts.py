"""Accounts: who one is, users, tokens, sessions, and the record of what was done with them.

A token needs the scope `admin` for all of it. What is somebody else's takes an owner.
"""

import datetime as dt
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from atlas import accounts
from atlas.accounts import LastOwnerError, TooManyAttempts
from atlas.api.auth import principal, require_owner, session_cookies
from atlas.api.errors import Problem, documented
from atlas.api.state import state
from atlas.database.dialect import MAX_ID
from atlas.database.engine import read

router = APIRouter(prefix="/api/accounts", tags=["accounts"])

Scope = Literal["read", "write", "admin"]
Role = Literal["owner", "member"]
_Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^\S(.*\S)?$")]
_Id = Annotated[int, Path(ge=1, le=MAX_ID)]


class Me(BaseModel):
    """Who asks."""

    id: int
    name: str
    role: Role
    how: Literal["token", "session"]
    scopes: list[Scope] = Field(description="What this token may do; a session may do everything.")


class NewPassword(BaseModel):
    """A password to replace one's own."""

    old: str = Field(max_length=1000)
    new: str = Field(min_length=1, max_length=1000)


class NewUser(BaseModel):
    """An account to make."""

    name: _Name
    password: str = Field(min_length=1, max_length=1000)
    role: Role = "member"


class UserChange(BaseModel):
    """What is to become of an account; what is left out stays."""

    role: Role | None = None
    password: str | None = Field(None, min_length=1, max_length=1000)


class User(BaseModel):
    """An account."""

    id: int
    name: str
    role: Role
    created_at: dt.datetime
    has_password: bool = Field(description="Whether a password opens it.")
    is_linked: bool = Field(description="Whether the OpenID provider opens it.")


class Users(BaseModel):
    """All accounts."""

    items: list[User]


class NewToken(BaseModel):
    """A token to make."""

    name: str = Field(min_length=1, max_length=100, description="The program it is for.")
    scopes: list[Scope] = Field(
        ["read", "write"], min_length=1, description="read: look; write: change the library; admin: accounts."
    )
    expires_in_days: int | None = Field(None, ge=1, le=3650, description="null: it never ends by itself.")


class Token(BaseModel):
    """What is known of a token."""

    id: int
    user_name: str
    name: str
    kind: Literal["token", "access", "refresh"] = Field(
        description="token: made by a person; the others belong to a client that logged in with a password."
    )
    scopes: list[Scope] | None = Field(description="null: everything.")
    created_at: dt.datetime
    used_at: dt.datetime | None
    expires_at: dt.datetime | None


class MadeToken(BaseModel):
    """A new token."""

    token: str = Field(description="Shown this once.")


class Tokens(BaseModel):
    """Tokens, newest first."""

    items: list[Token]


class Session(BaseModel):
    """A browser that is logged in."""

    id: str
    created_at: dt.datetime
    seen_at: dt.datetime
    address: str
    agent: str
    is_current: bool = Field(description="Whether it is the one that asks.")


class Sessions(BaseModel):
    """One's sessions, the one used last first."""

    items: list[Session]


class Ended(BaseModel):
    """How many sessions were ended."""

    ended: int


class AuditEntry(BaseModel):
    """Something that was done."""

    id: int
    at: dt.datetime
    actor: str = Field(description="A user's name, `anonymous`, `system`, or `command line`.")
    action: str = Field(examples=["login", "token.create"])
    detail: dict[str, Any] | None


class AuditPage(BaseModel):
    """What was done, newest first."""

    items: list[AuditEntry]
    next: int | None = Field(description="`before` of the next page; null on the last.")


@router.get("/me", response_model=Me, responses=documented(401, 403, 503))
def me(request: Request) -> dict[str, Any]:
    """Say who asks, and what the token may do."""
    who = principal(request)
    scopes = [scope for scope in accounts.SCOPES if scope in who.scopes]
    return {"id": who.user_id, "name": who.name, "role": who.role, "how": who.how, "scopes": scopes}


@router.put("/me/password", response_model=Ended, responses=documented(401, 403, 413, 422, 429, 503))
def change_password(request: Request, new: NewPassword, response: Response) -> dict[str, int]:
    """Change one's own password, with the old one.

    All sessions end, and clients that logged in with it are logged out; the session that asks is made anew.
    """
    return {"ended": change_own_password(request, new.old, new.new, response)}


def change_own_password(request: Request, old: str, new: str, response: Response) -> int:
    """Do so, and return how many sessions were ended; the new session's cookie goes with `response`.

    Raises Problem.
    """
    parts, who = state(request), principal(request)
    address, agent = _visitor(request)
    try:
        user = accounts.check_password(parts.engine, who.name, old, now=parts.clock(), address=address)
    except TooManyAttempts as error:
        raise Problem(429, "too_many_attempts", str(error), {"Retry-After": str(error.retry_after)}) from None
    if user is None:
        raise Problem(403, "wrong_password", "The old password is wrong; nothing was changed.")
    with parts.engine.begin() as conn:
        before = len(accounts.list_sessions(conn, user.id, parts.clock()))
        try:
            accounts.set_password(conn, user.name, new, parts.clock(), actor=user.name)
        except ValueError as error:
            raise Problem(422, "invalid_password", f"{str(error).capitalize()}.") from None
        if who.how == "session":
            token = accounts.open_session(
                conn,
                user,
                now=parts.clock(),
                days=parts.settings.session_days,
                address=address,
                agent=agent,
                replaces=None,
                how="new password",
            )
            for cookie in session_cookies(parts.settings, token, parts.clock()):
                response.headers.append("Set-Cookie", cookie)
    parts.tokens.forget()
    return before


@router.get("/users", response_model=Users, responses=documented(401, 403, 503))
def list_users(request: Request) -> dict[str, Any]:
    """List the accounts (owners only)."""
    require_owner(request)
    with read(state(request).engine) as conn:
        return {"items": accounts.list_users(conn)}


@router.post(
    "/users", status_code=201, response_model=User, responses=documented(401, 403, 409, 413, 422, 503)
)
def add_user(request: Request, new: NewUser) -> accounts.UserRow:
    """Make an account (owners only)."""
    who, parts = require_owner(request), state(request)
    with parts.engine.begin() as conn:
        if accounts.find_user(conn, new.name) is not None:
            raise Problem(409, "user_exists", f"There is an account called {new.name} already.")
        user = accounts.set_password(
            conn, new.name, new.password, parts.clock(), actor=who.name, role=new.role
        )
        return _user_row(conn, user.id)


@router.patch(
    "/users/{user_id}", response_model=User, responses=documented(401, 403, 404, 409, 413, 422, 503)
)
def change_user(request: Request, user_id: _Id, change: UserChange) -> accounts.UserRow:
    """Give an account another role or password (owners only). A new password ends its sessions."""
    who, parts = require_owner(request), state(request)
    with parts.engine.begin() as conn:
        user = _as_user(_user_row(conn, user_id))
        try:
            if change.role is not None:
                accounts.set_role(conn, user, change.role, parts.clock(), actor=who.name)
            if change.password is not None:
                accounts.set_password(conn, user.name, change.password, parts.clock(), actor=who.name)
        except LastOwnerError as error:
            raise _last_owner(error) from None
        parts.tokens.forget()
        return _user_row(conn, user_id)


@router.delete("/users/{user_id}", status_code=204, responses=documented(401, 403, 404, 409, 422, 503))
def remove_user(request: Request, user_id: _Id) -> None:
    """Remove an account with its sessions and tokens (owners only); the library stays as it is."""
    who, parts = require_owner(request), state(request)
    with parts.engine.begin() as conn:
        try:
            accounts.remove_user(conn, _as_user(_user_row(conn, user_id)), parts.clock(), actor=who.name)
        except LastOwnerError as error:
            raise _last_owner(error) from None
    parts.tokens.forget()


@router.get("/tokens", response_model=Tokens, responses=documented(401, 403, 503))
def list_tokens(request: Request) -> dict[str, Any]:
    """List tokens: an owner sees all, others their own."""
    who = principal(request)
    with read(state(request).engine) as conn:
        return {"items": accounts.list_tokens(conn, who.reach)}


@router.post(
    "/tokens", status_code=201, response_model=MadeToken, responses=documented(401, 403, 413, 422, 503)
)
def create_token(request: Request, new: NewToken) -> dict[str, str]:
    """Make a token for oneself."""
    who, parts = principal(request), state(request)
    now = parts.clock()
    expires_at = None if new.expires_in_days is None else now + dt.timedelta(days=new.expires_in_days)
    with parts.engine.begin() as conn:
        plain = accounts.create_token(conn, who.user, new.name, now, scopes=new.scopes, expires_at=expires_at)
    return {"token": plain}


@router.delete("/tokens/{token_id}", status_code=204, responses=documented(401, 403, 404, 422, 503))
def revoke_token(request: Request, token_id: _Id) -> None:
    """Make a token worthless, at once: one's own, or as an owner anybody's."""
    who, parts = principal(request), state(request)
    with parts.engine.begin() as conn:
        found = accounts.revoke_token(conn, token_id, parts.clock(), actor=who.name, user_id=who.reach)
    if not found:
        raise Problem(404, "not_found", f"There is no token {token_id}.")
    parts.tokens.forget()


@router.get("/sessions", response_model=Sessions, responses=documented(401, 403, 503))
def list_sessions(request: Request) -> dict[str, Any]:
    """List the browsers in which one is logged in."""
    who, parts = principal(request), state(request)
    with read(parts.engine) as conn:
        found = accounts.list_sessions(conn, who.user_id, parts.clock())
    current = accounts.digest(who.secret)
    rows = [
        {
            "id": row.token_sha256,
            "created_at": row.created_at,
            "seen_at": row.seen_at,
            "address": row.address,
            "agent": row.agent,
            "is_current": row.token_sha256 == current,
        }
        for row in found
    ]
    return {"items": rows}


@router.delete("/sessions", response_model=Ended, responses=documented(401, 403, 422, 503))
def end_sessions(
    request: Request,
    keep_current: Annotated[bool, Query(description="Stay logged in here.")] = False,  # noqa: FBT002
) -> dict[str, int]:
    """Log out everywhere."""
    return {"ended": log_out_everywhere(request, keep_current=keep_current)}


def log_out_everywhere(request: Request, *, keep_current: bool) -> int:
    """End all sessions of whoever asks; return how many."""
    who, parts = principal(request), state(request)
    kept = accounts.digest(who.secret) if keep_current and who.secret else ""
    with parts.engine.begin() as conn:
        ended = accounts.end_sessions(conn, who.user_id, but=kept)
        accounts.audit(conn, who.name, "session.end_all", {"ended": ended}, parts.clock())
    return ended


@router.delete("/sessions/{session_id}", status_code=204, responses=documented(401, 403, 404, 422, 503))
def end_session(request: Request, session_id: Annotated[str, Path(pattern="^[0-9a-f]{64}$")]) -> None:
    """Log a browser out from afar."""
    who, parts = principal(request), state(request)
    with parts.engine.begin() as conn:
        found = accounts.end_session(conn, who.user_id, session_id, parts.clock(), actor=who.name)
    if not found:
        raise Problem(404, "not_found", "There is no such session.")


@router.get("/audit", response_model=AuditPage, responses=documented(401, 403, 422, 503))
def audit(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: Annotated[int | None, Query(ge=1, le=MAX_ID, description="`next` of the page before.")] = None,
) -> dict[str, Any]:
    """Tell what was done with accounts, and by whom (owners only)."""
    require_owner(request)
    with read(state(request).engine) as conn:
        rows = accounts.read_audit(conn, limit=limit + 1, before=before)
    return {"items": rows[:limit], "next": rows[limit - 1].id if len(rows) > limit else None}


def _visitor(request: Request) -> tuple[str, str]:
    return (request.client.host if request.client else ""), request.headers.get("user-agent", "")


def _user_row(conn: Connection, user_id: int) -> accounts.UserRow:
    found = next((row for row in accounts.list_users(conn) if row.id == user_id), None)
    if found is None:
        raise Problem(404, "not_found", f"There is no user {user_id}.")
    return found


def _as_user(row: accounts.UserRow) -> accounts.User:
    return accounts.User(row.id, row.name, row.role)


def _last_owner(error: LastOwnerError) -> Problem:
    return Problem(409, "last_owner", f"{str(error).capitalize()}.")
