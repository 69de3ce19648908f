"""Who asks: a program with a token, or a person with a session. Nothing is public unless it is listed here.

`Gate` stands before all routes, so a route added later is closed until someone opens it. A token opens the
API as far as its scopes go: `read` to look (GET), `write` to change, `admin` for accounts. A session opens
everything; what it changes must come from our own pages. The APIs of other systems, which existing clients
speak (see `clients`), take tokens only, never the session's cookie.
"""

import hashlib
import hmac
import ipaddress
import time
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from atlas import accounts
from atlas.accounts import passes
from atlas.api.errors import Problem, wants_page
from atlas.database.engine import read
from atlas.settings import Settings

if TYPE_CHECKING:
    from atlas.api.state import State

PUBLIC = frozenset(
    {
        "/login", "/login/oidc", "/login/oidc/callback", "/health", "/ready", "/manifest.webmanifest",
        "/favicon.ico", "/robots.txt", "/sw.js", "/offline", "/enter", "/logged-out",
    }
)  # fmt: skip
PUBLIC_TREE = "/static/"
METRICS = "/metrics"
ACCOUNTS = "/api/accounts"
#: Below these, besides by logging in and out, sessions end.
ENDING = (f"{ACCOUNTS}/", "/settings/")
#: Where a token may stand in the address, as feed readers can send it no other way.
FEED = "/api/export/feed"

#: The cookie by which the nginx before us knows a browser that is logged in (the role's `atlas.conf`).
DOOR = "atlas-door"
#: What that nginx says ("yes") when a name it passes on is one whose password it has seen itself.
DOOR_NAMED = "door-named"

#: How long a good token is believed without asking again: the longest a revoked one works (seconds).
TOKEN_SECONDS = 2.0

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. `secret` is the session's cookie, from which the tokens in forms derive."""

    user_id: int
    name: str
    how: Literal["token", "session"]
    secret: str = ""
    role: str = "member"
    scopes: frozenset[str] = frozenset(accounts.SCOPES)

    @property
    def user(self) -> accounts.User:
        """Whose account it is."""
        return accounts.User(self.user_id, self.name, self.role)

    @property
    def reach(self) -> int | None:
        """Whose tokens this one may see and end: its own; None, an owner's reach, is everybody's."""
        return None if self.role == "owner" else self.user_id


def principal(request: Request) -> Principal:
    """Return who asks; only for routes behind the gate."""
    found: Principal = request.scope["atlas.principal"]
    return found


class Tokens:
    """Checks tokens and remembers good ones for TOKEN_SECONDS: a busy program costs few look-ups."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: dict[bytes, tuple[float, Principal]] = {}

    async def check(self, plain: str, now: datetime) -> Principal | None:
        """Return whose token this is; None when it is nobody's, or revoked."""
        digest = hashlib.sha256(plain.encode("utf-8", "surrogateescape")).digest()
        until, known = self._known.get(digest, (0.0, None))
        if known is not None and time.monotonic() < until:
            return known
        found = await run_in_threadpool(self._look_up, plain, now)
        self._known = {key: entry for key, entry in self._known.items() if entry[0] > time.monotonic()}
        if found is not None:
            self._known[digest] = (time.monotonic() + TOKEN_SECONDS, found)
        return found

    def forget(self) -> None:
        """Believe nothing any more: a token was revoked."""
        self._known = {}

    def _look_up(self, plain: str, now: datetime) -> Principal | None:
        # Anybody may ask whether a token is good, so asking takes no write lock.
        with read(self._engine) as conn:
            found = accounts.check_token(conn, plain, now)
        return None if found is None else token_principal(self._engine, found, now)


def token_principal(engine: Engine, found: accounts.TokenUse, now: datetime) -> Principal:
    """Return who sent a good token, and note that it is used."""
    if found.is_due:
        with engine.begin() as conn:
            accounts.touch_token(conn, found.token_id, now)
    user = found.user
    return Principal(user.id, user.name, "token", role=user.role, scopes=found.scopes)


class Gate:
    """Lets a request through to the routes once it is known who asks (pure ASGI)."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, send to the login page, or raise Problem."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        parts: State = request.app.state.parts
        scope["atlas.client"] = client_of(request.url.path)
        if not _is_public(request):
            who, renewed = await _who(request, parts)
            if who is None:
                await _turn_away(request)(scope, receive, send)
                return
            scope["atlas.principal"] = who
            require(who, _needed(request))
            if renewed:
                send = _also_setting(send, renewed)
        _refuse_foreign_write(request, parts.settings)
        await self.app(scope, receive, _telling_the_door(send, request, parts))


#: Where the APIs of other systems stand. Their clients know parts of these paths by heart.
CLIENTS = {
    "/api/greader/": "greader",
    "/api/greader.php/": "greader",
    "/accounts/": "greader",
    "/reader/": "greader",
    "/fever/": "fever",
    "/wallabag/": "wallabag",
}
#: What clients send name and password to, and what tells them whom they talk to. Whole paths: streams are
#: named in paths, and may be called anything.
CLIENT_LOGINS = frozenset(
    {
        "/accounts/ClientLogin", "/api/greader/accounts/ClientLogin", "/api/greader.php/accounts/ClientLogin",
        "/fever", "/fever/", "/wallabag/oauth/v2/token", "/wallabag/api/version",
        "/wallabag/api/version.json", "/wallabag/api/info", "/wallabag/api/info.json",
    }
)  # fmt: skip
#: Below it clients only ask, also by POST, as the list of ids would be too long for an address.
READING_POSTS = "/reader/api/0/stream/"


def client_of(path: str) -> str | None:
    """Return whose API a path belongs to; None: our own."""
    return next((name for tree, name in CLIENTS.items() if f"{path}/".startswith(tree)), None)


def cookie_name(settings: Settings, name: str = "atlas") -> str:
    """Return a cookie's name; by TLS with the prefix that no other host and no plain HTTP can set."""
    return f"__Host-{name}" if settings.secure_cookies else name


def session_cookies(settings: Settings, token: str, now: datetime) -> tuple[str, ...]:
    """Return the Set-Cookie values that keep a session in the browser as long as it lasts here."""
    values = {"atlas": token}
    lasts = settings.session_days * 86_400
    if settings.door_key is not None and settings.door_directory is not None:
        name = passes.name_of(accounts.digest(token))
        values[DOOR] = _door_pass(int(now.timestamp()) + lasts, name, settings.door_key.get_secret_value())
    response = Response()
    for name, value in values.items():
        response.set_cookie(
            cookie_name(settings, name),
            value,
            max_age=lasts,
            secure=settings.secure_cookies,
            httponly=True,
            samesite="lax",
        )
    return tuple(response.headers.getlist("set-cookie"))


def _door_pass(until: int, name: str, key: str) -> str:
    """Return what nginx lets through until a time (Unix seconds), while the session `name` is of lasts.

    `secure_link` knows no better hash. The key stands last, so nothing can be added to what was signed; who
    guesses must guess the key.
    """
    digest = hashlib.md5(f"{until} {name} {key}".encode(), usedforsecurity=False).digest()
    return f"{until}.{name}.{urlsafe_b64encode(digest).decode().rstrip('=')}"


def _lacks_pass(request: Request, settings: Settings, cookie: str) -> bool:
    """Tell whether a browser with this session should have a pass of nginx's, and has none, or another's."""
    if settings.door_key is None or settings.door_directory is None:
        return False
    name = passes.name_of(accounts.digest(cookie))
    return f".{name}." not in request.cookies.get(cookie_name(settings, DOOR), "")


def require(who: Principal, scope: str) -> None:
    """Raise Problem when a token may not do this."""
    if scope not in who.scopes:
        allowed = ", ".join(one for one in accounts.SCOPES if one in who.scopes)
        raise Problem(
            403, "scope_missing", f"This needs a token with the scope “{scope}”; this one has {allowed}."
        )


def require_owner(request: Request) -> Principal:
    """Return who asks; raise Problem when it is not an owner."""
    who = principal(request)
    if who.role != "owner":
        raise Problem(403, "owner_only", "Only an owner of this Atlas may do that.")
    return who


def _needed(request: Request) -> str:
    path = request.url.path
    if path == ACCOUNTS or path.startswith(f"{ACCOUNTS}/"):
        return "admin"
    is_looking = request.method in _SAFE_METHODS or (
        request.scope["atlas.client"] == "greader" and READING_POSTS in path
    )
    return "read" if is_looking else "write"


def _is_public(request: Request) -> bool:
    path = request.url.path
    if request.scope["atlas.client"] is not None:
        return path in CLIENT_LOGINS
    return path in PUBLIC or path.startswith(PUBLIC_TREE) or (path == METRICS and _from_this_machine(request))


def _from_this_machine(request: Request) -> bool:
    """Tell whether the request came from here and not through a proxy, so that Prometheus needs no token."""
    return (
        request.client is not None
        and "x-forwarded-for" not in request.headers
        and _is_here(request.client.host)
    )


async def _who(request: Request, parts: "State") -> tuple[Principal | None, Sequence[str]]:
    """Return who asks, and the Set-Cookie values if a session was prolonged."""
    path, client = request.url.path, request.scope["atlas.client"]
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "googlelogin" and client == "greader":
        return await parts.tokens.check(given.strip().removeprefix("auth="), parts.clock()), ()
    # Tokens are for programs: they open no page. Other schemes (Basic) are the business of a proxy before us.
    if scheme.lower() == "bearer" and (client is not None or path.startswith(("/api/", METRICS))):
        return await parts.tokens.check(given.strip(), parts.clock()), ()
    if client is not None:
        return None, ()
    if path == FEED and "token" in request.query_params:
        return await _who_reads_feed(request.query_params["token"], parts), ()
    return await _who_by_session(request, parts)


async def _who_by_session(request: Request, parts: "State") -> tuple[Principal | None, Sequence[str]]:
    cookie = request.cookies.get(cookie_name(parts.settings), "")
    who, renewed = await run_in_threadpool(_session, parts, cookie) if cookie else (None, ())
    if who is not None and not renewed and _lacks_pass(request, parts.settings, cookie):
        renewed = session_cookies(parts.settings, cookie, parts.clock())
    named = named_by_proxy(request, parts.settings)
    if named and (who is None or who.name != named):
        if request.method != "GET" or not wants_page(request.scope):
            return None, ()
        return await run_in_threadpool(_proxy_session, request, parts, named, cookie)
    return who, renewed


def named_by_proxy(request: Request, settings: Settings) -> str:
    """Return who a trusted proxy says it is; "" when there is none, and from anywhere it may not say so.

    Trusted is who connects, or whom our own web server before us saw connect. With a key of the door, of this
    machine only that web server where it has asked itself: other programs here may connect, too.
    """
    if not settings.proxy_login_header:
        return ""
    places = [place for place in (request.client, request.scope.get("atlas.peer")) if place]
    is_ours = comes_from_our_door(request.headers, settings) and request.headers.get(DOOR_NAMED) == "yes"
    if settings.door_key is not None and not is_ours:
        places = [place for place in places if not _is_here(place[0])]
    said = request.headers.getlist(settings.proxy_login_header)
    if len(said) != 1 or not any(_in_networks(place[0], settings) for place in places):
        return ""
    return said[0].encode("latin-1").decode("utf-8", "replace").strip()


def comes_from_our_door(headers: Headers, settings: Settings) -> bool:
    """Tell whether a request brings the key of the door; without a key nobody can."""
    if settings.door_key is None:
        return False
    given = headers.getlist("door-key")
    key = settings.door_key.get_secret_value().encode()
    return len(given) == 1 and hmac.compare_digest(given[0].encode("latin-1"), key)


def _is_here(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _in_networks(address: str, settings: Settings) -> bool:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(ip in network for network in settings.proxy_login_networks)


def _proxy_session(
    request: Request, parts: "State", name: str, cookie: str
) -> tuple[Principal, Sequence[str]]:
    """Begin a session for whom the proxy logged in. Raises Problem when there is no such account."""
    now = parts.clock()
    with parts.engine.begin() as conn:
        user = accounts.find_user(conn, name)
        if user is None:
            raise Problem(403, "no_account", f"The proxy says you are {name}; there is no such account here.")
        token = accounts.open_session(
            conn,
            user,
            now=now,
            days=parts.settings.session_days,
            address=request.client.host if request.client else "",
            agent=request.headers.get("user-agent", ""),
            replaces=cookie or None,
            how="proxy",
        )
    who = Principal(user.id, user.name, "session", token, role=user.role)
    return who, session_cookies(parts.settings, token, now)


async def _who_reads_feed(plain: str, parts: "State") -> Principal | None:
    """Return whose token stands in an address; raise Problem when it could do more harm than be read."""
    who = await parts.tokens.check(plain, parts.clock())
    if who is not None and who.scopes != {"read"}:
        message = "An address is no place for this token: make one with the scope “read” alone."
        raise Problem(403, "token_too_strong", message)
    return who


def _session(parts: "State", cookie: str) -> tuple[Principal | None, Sequence[str]]:
    now = parts.clock()
    with read(parts.engine) as conn:
        found = accounts.session(conn, cookie, now)
    if found is None:
        return None, ()
    renewed: Sequence[str] = ()
    if found.is_due:
        with parts.engine.begin() as conn:
            accounts.touch(conn, found, now=now, days=parts.settings.session_days)
        renewed = session_cookies(parts.settings, cookie, now)
    return Principal(found.user_id, found.user_name, "session", cookie, role=found.user_role), renewed


def _also_setting(send: Send, cookies: Sequence[str]) -> Send:
    async def sender(message: Message) -> None:
        if message["type"] == "http.response.start":
            for cookie in cookies:
                MutableHeaders(scope=message).append("Set-Cookie", cookie)
        await send(message)

    return sender


def _telling_the_door(send: Send, request: Request, parts: "State") -> Send:
    """Have nginx know which sessions there are before the answer that says one began or ended is sent."""
    if parts.settings.door_directory is None:
        return send
    ours = f"{cookie_name(parts.settings)}="
    may_end = request.method not in _SAFE_METHODS and request.url.path.startswith(ENDING)

    async def sender(message: Message) -> None:
        if message["type"] == "http.response.start" and (
            may_end or any(one.startswith(ours) for one in Headers(scope=message).getlist("set-cookie"))
        ):
            await run_in_threadpool(tell_door, parts)
        await send(message)

    return sender


def tell_door(parts: "State") -> None:
    """Have nginx know which sessions there are; if the database is away just now, a little later."""
    with suppress(SQLAlchemyError):
        passes.follow(parts.engine, parts.settings.door_directory, parts.clock())


def _turn_away(request: Request) -> Response:
    """Send a person to the login page and back afterwards; raise Problem for a program."""
    if request.scope["atlas.client"] is not None or not wants_page(request.scope):
        raise Problem(
            401,
            "not_logged_in",
            "This needs a token: send “Authorization: Bearer …”. `atlas token create` makes one.",
            {"WWW-Authenticate": 'Bearer realm="Atlas"'},
        )
    target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    back = request.method == "GET" and target != "/"
    return RedirectResponse("/login" + (f"?next={quote(target, safe='/')}" if back else ""), 303)


def _refuse_foreign_write(request: Request, settings: Settings) -> None:
    """Raise Problem when a browser was made to write by a page that is not ours.

    A form proves itself besides by the token in it (see `atlas.web.forms`), so here it is enough that nothing
    speaks against it. A script that uses the API with a session has none: something must speak for it.
    """
    who: Principal | None = request.scope.get("atlas.principal")
    if request.method in _SAFE_METHODS or (who is not None and who.how == "token"):
        return
    if request.scope["atlas.client"] is not None:
        return  # what a client logs in with stands in its request, nothing comes along by itself
    ours = _from_our_page(request, settings)
    if ours is False or (ours is None and request.url.path.startswith("/api/")):
        raise Problem(403, "cross_site", "This request does not come from a page of this Atlas.")


def _from_our_page(request: Request, settings: Settings) -> bool | None:
    """Return what the browser says about where the request comes from; None when it does not say."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    if origin is None:
        return None
    return origin == settings.public_url or origin.partition("://")[2] == request.headers.get("host")
