"""The settings a person has: ways in, tokens, sessions, password, and how pages look."""

import datetime as dt
import re
from collections.abc import Mapping

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from atlas import __version__, accounts
from atlas.api.accounts import change_own_password, log_out_everywhere
from atlas.api.auth import principal
from atlas.api.errors import Problem
from atlas.api.state import state
from atlas.database.engine import read
from atlas.web.adding import bookmarklets
from atlas.web.forms import Form
from atlas.web.look import chosen
from atlas.web.page import back, page, see

router = APIRouter(include_in_schema=False)

#: What a token may do, as the form offers it; the first is what most programs need.
SCOPES: Mapping[str, str] = {
    "read write": "Read and add",
    "read": "Only read",
    "write": "Only add",
    "read write admin": "Everything, accounts too",
}
#: After how many days a token ends.
LIFETIMES: Mapping[str, str] = {
    "": "Never",
    "30": "After 30 days",
    "90": "After 90 days",
    "365": "After a year",
}

_SHA256 = re.compile("[0-9a-f]{64}")


@router.get("/settings")
def settings(request: Request) -> Response:
    """Show the ways in, the tokens and the sessions."""
    return _settings(request)


@router.post("/settings/tokens")
def create_token(request: Request, form: Form) -> Response:
    """Make a token and show it, this once."""
    name = form.get("name", "").strip()[:100] or "unnamed"
    scopes = form.get("scopes", "")
    days = form.get("days", "")
    parts, who = state(request), principal(request)
    now = parts.clock()
    with parts.engine.begin() as conn:
        plain = accounts.create_token(
            conn,
            who.user,
            name,
            now,
            scopes=(scopes if scopes in SCOPES else next(iter(SCOPES))).split(),
            expires_at=now + dt.timedelta(days=int(days)) if days and days in LIFETIMES else None,
        )
    return _settings(request, new_token=plain, new_token_name=name)


@router.post("/settings/tokens/{token_id:row}/revoke")
def revoke_token(request: Request, token_id: int, form: Form) -> Response:  # noqa: ARG001
    """Make a token worthless, at once."""
    parts, who = state(request), principal(request)
    with parts.engine.begin() as conn:
        accounts.revoke_token(conn, token_id, parts.clock(), actor=who.name, user_id=who.reach)
    parts.tokens.forget()
    return see("/settings#tokens")


@router.post("/settings/sessions/{key}/revoke")
def end_session(request: Request, key: str, form: Form) -> Response:  # noqa: ARG001
    """Log a browser out from afar."""
    parts, who = state(request), principal(request)
    if not _SHA256.fullmatch(key):
        raise Problem(404, "not_found", "There is no such session.")
    with parts.engine.begin() as conn:
        accounts.end_session(conn, who.user_id, key, parts.clock(), actor=who.name)
    return see("/settings#sessions")


@router.post("/settings/sessions/revoke")
def end_other_sessions(request: Request, form: Form) -> Response:  # noqa: ARG001
    """Log out everywhere but here."""
    log_out_everywhere(request, keep_current=True)
    return see("/settings#sessions")


@router.post("/settings/password")
def change_password(request: Request, form: Form) -> Response:
    """Change one's own password; all other browsers are logged out."""
    if form.get("new", "") != form.get("again", ""):
        return _settings(request, trouble="The two new passwords differ.", status=422)
    answer = see("/settings#sessions")
    try:
        change_own_password(request, form.get("old", ""), form.get("new", ""), answer)
    except Problem as error:
        return _settings(request, trouble=error.message, status=error.status)
    return answer


@router.get("/settings/appearance")
def appearance(request: Request) -> Response:
    """Show how pages can look."""
    return page(request, "appearance.html", here="settings")


@router.post("/settings/appearance")
def change_appearance(request: Request, form: Form) -> Response:
    """Keep how pages shall look, on every device."""
    with state(request).engine.begin() as conn:
        accounts.prefer(conn, principal(request).user_id, chosen(form))
    return back(form, "/settings/appearance")


@router.get("/exports")
def exports(request: Request) -> Response:
    """Show the ways out."""
    return page(request, "exports.html", here="settings")


def _settings(
    request: Request,
    *,
    new_token: str = "",
    new_token_name: str = "",
    trouble: str = "",
    status: int = 200,
) -> Response:
    parts, who = state(request), principal(request)
    with read(parts.engine) as conn:
        tokens = accounts.list_tokens(conn, who.reach)
        sessions = accounts.list_sessions(conn, who.user_id, parts.clock())
    return page(
        request,
        "settings.html",
        here="settings",
        status=status,
        version=__version__,
        public_url=parts.settings.public_url,
        bookmarklets=bookmarklets(parts.settings.public_url),
        tokens=tokens,
        scopes=SCOPES,
        lifetimes=LIFETIMES,
        sessions=sessions,
        current=accounts.digest(who.secret),
        new_token=new_token,
        new_token_name=new_token_name,
        trouble=trouble,
    )
