"""Who is calling: verifies request signatures as OCI does (draft-cavage HTTP signatures, RSA-SHA256).

Keys known are users' API keys and the session keys of tokens this server issued to instances.
"""

import base64
import datetime as dt
import hashlib
import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from tests.oci_api.errors import not_authenticated

CLOCK_SKEW = dt.timedelta(minutes=5)
ALWAYS = ("date", "(request-target)", "host")
WITH_BODY = ("content-length", "content-type", "x-content-sha256")
WRONG = "The required information to complete authentication was not provided or was incorrect."


@dataclass(frozen=True)
class Principal:
    """Who a request is from. An instance has no user, and what it may is for the policies to say."""

    tenancy: str
    user: str = ""
    instance: str = ""


@dataclass(frozen=True)
class Session:
    """A token issued to an instance, and the public key its requests are signed with."""

    principal: Principal
    key: rsa.RSAPublicKey
    expires: dt.datetime


def new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def private_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_pem(key: rsa.RSAPublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def fingerprint(key: rsa.RSAPublicKey) -> str:
    """As the console shows it: MD5 of the DER public key, in pairs."""
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    digest = hashlib.md5(der, usedforsecurity=False).hexdigest()
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))


class Keys:
    """The API keys and sessions the server knows."""

    def __init__(self, now: Callable[[], dt.datetime], clock: Callable[[], dt.datetime]) -> None:
        self.now = now
        self.clock = clock  # what dates of requests are held against
        self.users: dict[str, tuple[Principal, rsa.RSAPublicKey]] = {}  # keyId: tenancy/user/fingerprint
        self.sessions: dict[str, Session] = {}

    def add_user(self, tenancy: str, user: str, key: rsa.RSAPublicKey) -> str:
        print_ = fingerprint(key)
        self.users[f"{tenancy}/{user}/{print_}"] = (Principal(tenancy, user), key)
        return print_

    def issue(self, principal: Principal, key: rsa.RSAPublicKey, lifetime: dt.timedelta) -> str:
        """A token for requests signed with `key`.

        The SDK reads its `exp`; we look it up, so its signature is for show.
        """
        expires = self.now() + lifetime
        claims = {
            "sub": principal.instance,
            "tenant": principal.tenancy,
            "ptype": "instance",
            "iat": int(self.now().timestamp()),
            "exp": int(expires.timestamp()),
            "jti": secrets.token_hex(8),
        }
        parts = [{"alg": "RS256", "kid": "asw", "typ": "JWT"}, claims]
        token = ".".join(
            base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts
        )
        token += "." + base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
        self.sessions[token] = Session(principal, key, expires)
        return token

    def find(self, key_id: str) -> tuple[Principal, rsa.RSAPublicKey]:
        if key_id.startswith("ST$"):
            session = self.sessions.get(key_id[3:])
            if session is None or session.expires <= self.now():
                raise not_authenticated(f"{WRONG} The token is not known or expired.")
            return session.principal, session.key
        if key_id not in self.users:
            raise not_authenticated(f"{WRONG} The key {key_id.rsplit('/', 1)[-1]} is not known.")
        return self.users[key_id]


def parse(authorization: str) -> dict[str, str]:
    """The parts of an Authorization header of the scheme Signature."""
    if not authorization.lower().startswith("signature "):
        raise not_authenticated(WRONG)
    return dict(re.findall(r'(\w+)="([^"]*)"', authorization))


def verify(
    keys: Keys, method: str, target: str, headers: Mapping[str, str], body: bytes | None, *, content: bool
) -> Principal:
    """The principal whose key signed the request. `target` is path and query as on the wire.

    `content` is false for the uploads of Object Storage, whose bodies are not hashed. Raises 401 for
    anything wrong.
    """
    parts = parse(headers.get("Authorization") or "")
    principal, key = keys.find(parts.get("keyId", ""))
    needed = set(ALWAYS)
    if content and method in ("POST", "PUT", "PATCH"):
        needed |= set(WITH_BODY)
    check(keys.clock(), parts, key, method, target, headers, body, needed)
    return principal


def check(
    now: dt.datetime,
    parts: Mapping[str, str],
    key: rsa.RSAPublicKey,
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: bytes | None,
    needed: set[str],
) -> None:
    """Refuse a signature that is not this key's over these headers, or that leaves out a `needed` one."""
    names = parts.get("headers", "").lower().split()
    if parts.get("version") != "1" or parts.get("algorithm") != "rsa-sha256":
        raise not_authenticated(f"{WRONG} Only version 1 with rsa-sha256 is taken.")
    if lacking := sorted(needed - set(names)):
        raise not_authenticated(f"{WRONG} Not signed: {', '.join(lacking)}.")
    lines = []
    for name in names:
        value = f"{method.lower()} {target}" if name == "(request-target)" else headers.get(name)
        if value is None:
            raise not_authenticated(f"{WRONG} The signed header {name} is not there.")
        lines.append(f"{name}: {value}")
    if "x-content-sha256" in names:
        digest = base64.b64encode(hashlib.sha256(body or b"").digest()).decode()
        if headers.get("x-content-sha256") != digest:
            raise not_authenticated(f"{WRONG} The body is not the one that was signed.")
    try:
        sent = parsedate_to_datetime(headers.get("date") or "")
    except ValueError:
        raise not_authenticated(f"{WRONG} The date is none.") from None
    if abs(now - sent) > CLOCK_SKEW:
        raise not_authenticated(
            f"{WRONG} Date {headers.get('date')} is not within 5 minutes of the server's clock."
        )
    try:
        key.verify(
            base64.b64decode(parts.get("signature", "")),
            "\n".join(lines).encode(),
            padding.PKCS1v15(),
            hashes.SHA256(),
        )
    except (InvalidSignature, ValueError):
        raise not_authenticated(f"{WRONG} The signature does not verify.") from None


def write_key(path: Path, key: rsa.RSAPrivateKey) -> None:
    path.touch(mode=0o600)
    path.write_bytes(private_pem(key))
