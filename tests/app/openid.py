"""A small OpenID Connect provider on loopback: real signatures, and every lie a test asks of it."""

import base64
import hashlib
import hmac
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, parse_qsl, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "atlas", "shared secret"


class OpenId:
    """Serves until its `with` block ends. `claims` and what begins with `lie_` change what it says."""

    def __init__(self, now: Any) -> None:
        self.now = now
        self.key = RSAKey.generate_key(2048, {"kid": "one"}, private=True)
        self.claims: dict[str, Any] = {}
        self.user: dict[str, Any] = {"sub": "42"}
        self.lie_key: Any = None
        self.lie_header: dict[str, str] = {}
        self.lie_token = ""
        self.lie_issuer = ""
        self.lie_endpoint = ""
        self.requests: list[str] = []
        self._codes: dict[str, dict[str, str]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.issuer = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def authorize(self, url: str) -> dict[str, str]:
        """Do what a visitor does at the provider: return the query he comes back with."""
        asked = dict(parse_qsl(urlsplit(url).query))
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT
        assert "openid" in asked["scope"].split()
        assert asked["code_challenge_method"] == "S256"
        code = f"code-{len(self._codes)}"
        self._codes[code] = asked
        return {"code": code, "state": asked["state"]}

    def discovery(self) -> dict[str, Any]:
        base = self.lie_endpoint or self.issuer
        return {
            "issuer": self.lie_issuer or self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{base}/token",
            "jwks_uri": f"{self.issuer}/keys",
        }

    def token(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        asked = self._codes.pop(form.get("code", ""), None)
        challenge = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        ok = (
            asked is not None
            and form.get("grant_type") == "authorization_code"
            and (form.get("client_id"), form.get("client_secret")) == (CLIENT, SECRET)
            and form.get("redirect_uri") == asked["redirect_uri"]
            and _base64(challenge) == asked["code_challenge"]
        )
        if not ok or asked is None:
            return 400, {"error": "invalid_grant"}
        now = int(self.now().timestamp())
        claims = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": asked["nonce"]}
        claims |= self.user | self.claims
        claims = {name: value for name, value in claims.items() if value is not None}
        return 200, {
            "access_token": "x",
            "token_type": "Bearer",
            "id_token": self.lie_token or self.sign(claims),
        }

    def sign(self, claims: dict[str, Any]) -> str:
        """Sign as it should be; with another `alg` in `lie_header` as an attacker would."""
        header = {"alg": "RS256", "kid": "one"} | self.lie_header
        if header["alg"] == "RS256":
            return jwt.encode(header, claims, self.lie_key or self.key)
        signed = f"{_base64(json.dumps(header).encode())}.{_base64(json.dumps(claims).encode())}"
        # The public key taken for a shared secret: what a verifier that believes the header would do.
        secret = self.key.as_pem(private=False) if header["alg"] == "HS256" else None
        return f"{signed}.{_base64(hmac.digest(secret, signed.encode(), 'sha256')) if secret else ''}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.requests.append(self.path)
                if self.path == "/.well-known/openid-configuration":
                    self.say(200, provider.discovery())
                elif self.path == "/keys":
                    self.say(200, {"keys": [provider.key.as_dict(private=False)]})
                else:
                    self.say(404, {})

            def do_POST(self) -> None:
                provider.requests.append(self.path)
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                self.say(*provider.token({name: value[0] for name, value in parse_qs(body).items()}))

            def say(self, status: int, body: dict[str, Any]) -> None:
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
