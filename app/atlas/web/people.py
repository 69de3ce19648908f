"""Accounts and the record of what was done with them: pages for owners."""

from fastapi import APIRouter
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from atlas import accounts
from atlas.api import accounts as api
from atlas.api.auth import require_owner
from atlas.api.errors import Problem
from atlas.api.state import state
from atlas.database.engine import read
from atlas.web.forms import Form
from atlas.web.page import number, page, see

router = APIRouter(include_in_schema=False)

LOG_LIMIT = 100


@router.get("/settings/users")
def users(request: Request) -> Response:
    """Show who has an account."""
    return _users(request)


@router.post("/settings/users")
def add_user(request: Request, form: Form) -> Response:
    """Make an account."""
    try:
        new = api.NewUser.model_validate({name: form.get(name, "") for name in ("name", "password", "role")})
        api.add_user(request, new)
    except ValidationError:
        return _users(request, error="An account needs a name and a password.", status=422)
    except Problem as error:
        if error.status == 403:
            raise
        return _users(request, error=error.message, status=error.status)
    return see("/settings/users")


@router.post("/settings/users/{user_id:row}/role")
def change_role(request: Request, user_id: int, form: Form) -> Response:
    """Make a user an owner or a member."""
    role = "owner" if form.get("role") == "owner" else "member"
    try:
        api.change_user(request, user_id, api.UserChange.model_validate({"role": role}))
    except Problem as error:
        if error.status != 409:
            raise
        return _users(request, error=error.message, status=error.status)
    return see("/settings/users")


@router.post("/settings/users/{user_id:row}/remove")
def remove_user(request: Request, user_id: int, form: Form) -> Response:  # noqa: ARG001
    """Remove an account; the library stays as it is."""
    try:
        api.remove_user(request, user_id)
    except Problem as error:
        if error.status != 409:
            raise
        return _users(request, error=error.message, status=error.status)
    return see("/settings/users")


@router.get("/settings/log")
def log(request: Request) -> Response:
    """Show what was done with accounts, newest first."""
    require_owner(request)
    with read(state(request).engine) as conn:
        rows = accounts.read_audit(conn, limit=LOG_LIMIT, before=number(request, "before"))
    return page(
        request,
        "log.html",
        here="settings",
        rows=rows,
        older=rows[-1].id if len(rows) == LOG_LIMIT else None,
    )


def _users(request: Request, *, error: str = "", status: int = 200) -> Response:
    who = require_owner(request)
    with read(state(request).engine) as conn:
        rows = accounts.list_users(conn)
    return page(
        request, "users.html", here="settings", users=rows, me=who.user_id, error=error, status=status
    )
