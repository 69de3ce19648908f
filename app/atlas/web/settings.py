"""The settings a person has: ways in, tokens, sessions, and how pages look."""

import json
import re

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from atlas import __version__, accounts
from atlas.api.auth import principal
from atlas.api.errors import Problem
from atlas.api.state import state
from atlas.database.engine import read
from atlas.web.forms import Form
from atlas.web.look import chosen
from atlas.web.page import back, page, see

router = APIRouter(include_in_schema=False)

_SHA256 = re.compile("[0-9a-f]{64}")


@router.get("/settings")
def settings(request: Request) -> Response:
    """Show the ways in, the tokens and the sessions."""
    return _settings(request)


@router.post("/settings/tokens")
def create_token(request: Request, form: Form) -> Response:
    """Make a token and show it, this once."""
    name = form.get("name", "").strip()[:100] or "unnamed"
    parts, who = state(request), principal(request)
    with parts.engine.begin() as conn:
        plain = accounts.create_token(conn, who.user, name, parts.clock())
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


def _settings(request: Request, *, new_token: str = "", new_token_name: str = "") -> Response:
    parts, who = state(request), principal(request)
    with read(parts.engine) as conn:
        tokens = accounts.list_tokens(conn, who.reach)
        sessions = accounts.list_sessions(conn, who.user_id, parts.clock())
    return page(
        request,
        "settings.html",
        here="settings",
        version=__version__,
        public_url=parts.settings.public_url,
        bookmarklet=_bookmarklet(parts.settings.public_url),
        tokens=tokens,
        sessions=sessions,
        current=accounts.digest(who.secret),
        new_token=new_token,
        new_token_name=new_token_name,
    )


def _bookmarklet(public_url: str) -> str:
    """Return a link that opens our form with the page it is clicked on; saving is one more Enter."""
    target = json.dumps(f"{public_url}/add?url=")
    return (
        f"javascript:(()=>{{const e=encodeURIComponent;open({target}+e(location.href)"
        "+'&title='+e(document.title),'_blank','width=560,height=520')})()"
    )
