"""Logging in and out."""

from collections.abc import Mapping
from secrets import token_urlsafe
from urllib.parse import urlsplit

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from atlas import accounts
from atlas.accounts import TooManyAttempts
from atlas.api.auth import DOOR, cookie_name, named_by_proxy, principal, session_cookies
from atlas.api.state import State, state
from atlas.database.engine import read
from atlas.web.forms import Form, checked_form, local_path
from atlas.web.words import wait_words

router = APIRouter(include_in_schema=False)

#: How long the cookie of the login form lasts, in seconds.
FORM_SECONDS = 3600


@router.get("/login")
def login_form(request: Request) -> Response:
    """Ask for name and password; who is logged in already, here or by a proxy, goes on."""
    parts = state(request)
    target = local_path(request.query_params.get("next", "/"))
    if named_by_proxy(request, parts.settings):
        return RedirectResponse(target, 303)
    cookie = request.cookies.get(cookie_name(parts.settings), "")
    if cookie:
        with read(parts.engine) as conn:
            if accounts.session(conn, cookie, parts.clock()):
                return RedirectResponse(target, 303)
    return _form(request, target=target)


@router.post("/login")
async def log_in(request: Request) -> Response:
    """Begin a session. It is always a new one, so that nobody can plant a session he knows."""
    secret = request.cookies.get(_form_cookie(state(request)), "")
    form = checked_form(secret, await request.body(), request.headers.get("content-type", ""))
    return await run_in_threadpool(_log_in, request, form)


@router.post("/logout")
def log_out(request: Request, form: Form) -> Response:  # noqa: ARG001 - the form is its proof
    """End the session, here and on the server."""
    parts = state(request)
    with parts.engine.begin() as conn:
        accounts.logout(conn, principal(request).secret, parts.clock())
    # Where something before us asks, too, the login page might log in again at once.
    guarded = parts.settings.door_directory is not None or parts.settings.proxy_login_header
    response = RedirectResponse("/logged-out" if guarded else "/login", 303)
    for name in ("atlas", DOOR):
        _delete_cookie(response, parts, cookie_name(parts.settings, name))
    # What the browser kept to be read without a network goes too.
    response.headers["Clear-Site-Data"] = '"storage"'
    return response


@router.get("/logged-out")
def logged_out(request: Request) -> Response:
    """Say goodbye. nginx refuses whoever still brings its password, so that the browser forgets that."""
    parts = state(request)
    return parts.pages.answer("logged_out.html", now=parts.clock())


@router.get("/enter")
def enter(request: Request) -> Response:
    """Send a browser on that nginx has asked for its password: here, where no service worker answers."""
    return RedirectResponse(local_path(request.query_params.get("next", "/")), 303)


def _log_in(request: Request, form: Mapping[str, str]) -> Response:
    parts = state(request)
    name, target = form.get("name", "").strip(), local_path(form.get("next", "/"))
    try:
        token = accounts.login(
            parts.engine,
            name,
            form.get("password", ""),
            now=parts.clock(),
            days=parts.settings.session_days,
            address=request.client.host if request.client else "",
            agent=request.headers.get("user-agent", ""),
            replaces=request.cookies.get(cookie_name(parts.settings)),
        )
    except TooManyAttempts as error:
        wait = f"Too many failed logins. Try again in {wait_words(error.retry_after)}."
        response = _form(request, target=target, name=name, error=wait, status=429)
        response.headers["Retry-After"] = str(error.retry_after)
        return response
    if token is None:
        return _form(request, target=target, name=name, error="Name or password is wrong.", status=401)
    response = RedirectResponse(target, 303)
    for cookie in session_cookies(parts.settings, token, parts.clock()):
        response.headers.append("Set-Cookie", cookie)
    _delete_cookie(response, parts, _form_cookie(parts))
    return response


def _form(request: Request, *, target: str, name: str = "", error: str = "", status: int = 200) -> Response:
    """Render the form, tied to this browser by a cookie of its own: there is no session yet to tie it to."""
    parts = state(request)
    secret = request.cookies.get(_form_cookie(parts)) or token_urlsafe(32)
    with read(parts.engine) as conn:
        first = not accounts.has_users(conn)
    page = parts.pages.answer(
        "login.html",
        now=parts.clock(),
        secret=secret,
        status=status,
        next=target,
        name=name,
        error=error,
        owner=parts.settings.owner_name if first else "",
        provider=urlsplit(parts.settings.oidc_issuer).hostname or "",
    )
    page.set_cookie(
        _form_cookie(parts),
        secret,
        max_age=FORM_SECONDS,
        secure=parts.settings.secure_cookies,
        httponly=True,
        samesite="lax",
    )
    return page


def _form_cookie(parts: State) -> str:
    return cookie_name(parts.settings, "atlas-login")


def _delete_cookie(response: Response, parts: State, name: str) -> None:
    response.delete_cookie(name, secure=parts.settings.secure_cookies, httponly=True, samesite="lax")
