"""Logging in at an OpenID Connect provider: authorization code, PKCE, state, nonce, signed identity tokens.

Everything a login needs to be recognised again derives from one random secret in the visitor's cookie, so
nothing is kept here in between, and only the browser that began a login can end it.
"""

import base64
import hashlib
import hmac
import json
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpcore2
import structlog
from sqlalchemy.engine import Connection

from atlas.accounts.users import User, add_user, find_user, link_user, user_of
from atlas.net.errors import FetchError
from atlas.net.guard import Deadline, GuardedBackend
from atlas.settings import Network, Settings

#: Signatures by a key of the provider's own. Neither "none", nor one made with a secret that we share.
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
#: How far the provider's clock may be from ours, in seconds.
LEEWAY = 60
#: Longest wait for the provider in one request, and its largest answer.
TIMEOUT_SECONDS = 10.0
MAX_BYTES = 500_000
#: How long the provider's description of itself is believed, in seconds.
DISCOVERY_SECONDS = 600.0

_EVERYWHERE: tuple[Network, ...] = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))
_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")

log = structlog.stdlib.get_logger(__name__)


class LoginRefused(Exception):  # noqa: N818
    """The provider, or what it says, does not let this visitor in; the message says so in plain words."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the provider says it is. `names` are what the settings may allow."""

    subject: str
    names: tuple[str, ...]


class Provider:
    """The provider of the settings. Safe to share between threads."""

    def __init__(self, settings: Settings, *, tls: ssl.SSLContext | None = None) -> None:
        self._settings = settings
        self._tls = tls
        self._known: tuple[float, Mapping[str, Any]] | None = None

    def login_url(self, secret: str) -> str:
        """Return where a visitor with this secret in his cookie is sent. Raises LoginRefused."""
        challenge = hashlib.sha256(derived(secret, "verifier").encode()).digest()
        query = {
            "response_type": "code",
            "client_id": self._settings.oidc_client_id,
            "redirect_uri": self._redirect_uri(),
            "scope": "openid email profile",
            "state": derived(secret, "state"),
            "nonce": derived(secret, "nonce"),
            "code_challenge": base64.urlsafe_b64encode(challenge).decode().rstrip("="),
            "code_challenge_method": "S256",
        }
        where = str(self._discover()["authorization_endpoint"])
        return f"{where}{'&' if urlsplit(where).query else '?'}{urlencode(query)}"

    def identity(self, secret: str, *, code: str, state: str, now: datetime) -> Identity:
        """Return who came back with this code. Raises LoginRefused."""
        if not secret or not hmac.compare_digest(derived(secret, "state").encode(), state.encode()):
            raise LoginRefused("This login was not begun in this browser, or too long ago. Try again.")
        if not code:
            raise LoginRefused("The login provider did not let you in.")
        answer = self._ask(
            str(self._discover()["token_endpoint"]),
            {
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": self._redirect_uri(),
                "code_verifier": derived(secret, "verifier"),
            },
        )
        return self._checked(answer.get("id_token"), derived(secret, "nonce"), now)

    def _checked(self, token: Any, nonce: str, now: datetime) -> Identity:  # noqa: ANN401
        # Half a second at the first login by this way, and nothing for those who do not use it.
        from joserfc import jwt  # noqa: PLC0415
        from joserfc.errors import JoseError  # noqa: PLC0415
        from joserfc.jwk import KeySet  # noqa: PLC0415

        settings = self._settings
        registry = jwt.JWTClaimsRegistry(
            now=int(now.timestamp()),
            leeway=LEEWAY,
            iss={"essential": True, "value": settings.oidc_issuer},
            aud={"essential": True, "value": settings.oidc_client_id},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        try:
            keys = KeySet.import_key_set(self._ask(str(self._discover()["jwks_uri"])))  # type: ignore[arg-type]
            claims = jwt.decode(str(token or ""), keys, algorithms=ALGORITHMS).claims
            registry.validate(claims)
        except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
            log.warning("identity refused", reason=f"{type(error).__name__}: {error}"[:200])
            raise LoginRefused("What the login provider says about you cannot be trusted.") from error
        subject, audience = claims["sub"], claims["aud"]
        several = isinstance(audience, list) and len(audience) > 1
        if (
            not isinstance(subject, str)
            or not subject
            or (several and claims.get("azp") != settings.oidc_client_id)
        ):
            raise LoginRefused("What the login provider says about you cannot be trusted.")
        return Identity(f"{settings.oidc_issuer} {subject}", tuple(_names(claims)))

    def _redirect_uri(self) -> str:
        return f"{self._settings.public_url}/login/oidc/callback"

    def _discover(self) -> Mapping[str, Any]:
        if self._known is not None and time.monotonic() < self._known[0]:
            return self._known[1]
        issuer = self._settings.oidc_issuer
        found = self._ask(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if found.get("issuer") != issuer:
            raise LoginRefused("The login provider calls itself something else than ATLAS_OIDC_ISSUER.")
        for name in _ENDPOINTS:
            if urlsplit(str(found.get(name))).scheme != urlsplit(issuer).scheme:
                raise LoginRefused(f"The login provider does not say properly where its {name} is.")
        self._known = (time.monotonic() + DISCOVERY_SECONDS, found)
        return found

    def _ask(self, url: str, form: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Get JSON from the provider, or post it a form with our secret. Follows no redirects.

        The provider may stand on a private network: its own host is asked wherever it is, any other host it
        names only where a page may be fetched from, too.
        """
        parts = urlsplit(url)
        own = parts.hostname == urlsplit(self._settings.oidc_issuer).hostname
        backend = GuardedBackend(
            allowed=_EVERYWHERE if own else self._settings.allowed_networks,
            deadline=Deadline(TIMEOUT_SECONDS),
            connect_timeout=TIMEOUT_SECONDS,
        )
        headers = [("Host", parts.netloc), ("Accept", "application/json"), ("User-Agent", "Atlas")]
        body = b""
        if form is not None:
            body, more = self._signed(form)
            headers += [*more, ("Content-Length", str(len(body)))]
        try:
            tls = self._tls or ssl.create_default_context()
            with (
                httpcore2.ConnectionPool(ssl_context=tls, network_backend=backend) as pool,
                pool.stream("POST" if form else "GET", url, headers=headers, content=body) as answer,
            ):
                if answer.status != 200:
                    log.warning("login provider refused", url=url, status=answer.status)
                    raise LoginRefused("The login provider did not accept this login. Try again.")
                content = bytearray()
                for chunk in answer.iter_stream():
                    content += chunk
                    if len(content) > MAX_BYTES:
                        raise LoginRefused("The login provider's answer is too large.")
                found = json.loads(bytes(content))
        except (
            FetchError,
            httpcore2.NetworkError,
            httpcore2.TimeoutException,
            httpcore2.ProtocolError,
        ) as error:
            log.warning("login provider does not answer", url=url, reason=str(error)[:200])
            raise LoginRefused("The login provider does not answer. Try again in a while.") from error
        except (ValueError, RecursionError) as error:
            raise LoginRefused("The login provider's answer makes no sense.") from error
        if not isinstance(found, dict):
            raise LoginRefused("The login provider's answer makes no sense.")
        return found

    def _signed(self, form: Mapping[str, str]) -> tuple[bytes, Sequence[tuple[str, str]]]:
        """Return a form with who we are: by our secret if we have one."""
        fields = {**form, "client_id": self._settings.oidc_client_id}
        secret = self._settings.oidc_client_secret
        if secret is not None:
            fields["client_secret"] = secret.get_secret_value()
        return urlencode(fields).encode(), [("Content-Type", "application/x-www-form-urlencoded")]


def derived(secret: str, purpose: str) -> str:
    """Return what one login uses for a purpose: nobody who sees one can tell another, or the secret."""
    made = hmac.new(secret.encode(), f"atlas oidc {purpose}".encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(made).decode().rstrip("=")


def _names(claims: Mapping[str, Any]) -> list[str]:
    """Return what the provider calls someone; an address only when it says that it has verified it.

    At some providers people choose what they are called: no name may pass for an address.
    """
    chosen = claims.get("preferred_username")
    found: list[Any] = [chosen] if isinstance(chosen, str) and "@" not in chosen else []
    if claims.get("email_verified") is True:
        found.insert(0, claims.get("email"))
    return [name for name in found if isinstance(name, str) and name]


def account_of(conn: Connection, who: Identity, settings: Settings, now: datetime) -> User:
    """Return whose account it is: linked already, or by what the settings allow at the first login.

    An entry of ATLAS_OIDC_USERS "anna@example.org" makes a member of that name; "anna@example.org=owner"
    opens the account called owner. An account that is there is opened only when the entry names it, and only
    once: no one else can take it over afterwards. Raises LoginRefused.
    """
    known = user_of(conn, who.subject)
    if known is not None:
        return known
    for name in who.names:
        account = settings.oidc_accounts().get(name.casefold())
        if account is None:
            continue
        named, is_mapped = account
        found = find_user(conn, named)
        if found is None:
            return add_user(conn, named, now, actor=named, role="member", subject=who.subject)
        if is_mapped and link_user(conn, found, who.subject, now):
            return found
        raise LoginRefused(
            f"There is an account called {named} already. To open it by this login, its owner lists "
            f"{name}={named} in ATLAS_OIDC_USERS."
        )
    log.warning("identity not allowed", names=len(who.names))
    raise LoginRefused("The login provider knows you, but this Atlas has no account for you.")
