"""Logging in at an OpenID Connect provider, when the settings name one."""

from secrets import token_urlsafe
from urllib.parse import quote, unquote

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from atlas import accounts
from atlas.accounts.oidc import LoginRefused, account_of
from atlas.api.auth import cookie_name, session_cookies
from atlas.api.errors import Problem
from atlas.api.state import State, state
from atlas.web.forms import local_path

router = APIRouter(include_in_schema=False)

#: How long somebody may take at the provider, in seconds.
LOGIN_SECONDS = 900


@router.get("/login/oidc")
def begin(request: Request) -> Response:
    """Send the visitor to the provider."""
    parts = state(request)
    if parts.provider is None:
        raise Problem(404, "not_found", "There is no other way to log in here.")
    secret = token_urlsafe(32)
    target = local_path(request.query_params.get("next", "/"))[:1000]
    try:
        response = RedirectResponse(parts.provider.login_url(secret), 303)
    except LoginRefused as error:
        raise Problem(502, "login_provider", str(error)) from None
    response.set_cookie(
        _cookie(parts),
        f"{secret}.{quote(target, safe='')}",
        max_age=LOGIN_SECONDS,
        secure=parts.settings.secure_cookies,
        httponly=True,
        samesite="lax",  # it must come back with the visitor from the provider
    )
    return response


@router.get("/login/oidc/callback")
def finish(request: Request) -> Response:
    """Begin a session for whoever comes back from the provider."""
    parts = state(request)
    if parts.provider is None:
        raise Problem(404, "not_found", "There is no other way to log in here.")
    secret, _, target = request.cookies.get(_cookie(parts), "").partition(".")
    given, now = request.query_params, parts.clock()
    try:
        code, came = given.get("code", ""), given.get("state", "")
        who = parts.provider.identity(secret, code=code, state=came, now=now)
        with parts.engine.begin() as conn:
            user = account_of(conn, who, parts.settings, now)
            token = accounts.open_session(
                conn,
                user,
                now=now,
                days=parts.settings.session_days,
                address=request.client.host if request.client else "",
                agent=request.headers.get("user-agent", ""),
                replaces=request.cookies.get(cookie_name(parts.settings)),
                how="openid",
            )
    except LoginRefused as error:
        raise Problem(403, "login_refused", str(error)) from None
    response = RedirectResponse(local_path(unquote(target)), 303)
    for cookie in session_cookies(parts.settings, token, now):
        response.headers.append("Set-Cookie", cookie)
    response.delete_cookie(
        _cookie(parts), secure=parts.settings.secure_cookies, httponly=True, samesite="lax"
    )
    return response


def _cookie(parts: State) -> str:
    return cookie_name(parts.settings, "atlas-oidc")
