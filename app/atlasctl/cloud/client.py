"""Signed requests to Oracle Cloud, as the machine itself (instance principal): token, retries, pages."""

import base64
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from atlasctl.cloud.configuration import Configuration
from atlasctl.cloud.metadata import Machine, read_certificates
from atlasctl.cloud.signing import fingerprint, new_key, signed_headers, subject
from atlasctl.cloud.wire import Answer, exchange
from atlasctl.trouble import Trouble
from atlasctl.web import NoAnswerError

#: Host names by service. The Usage API answers in the home region only, which is where free machines are.
HOSTS = {
    "identity": "identity.{region}.oci.{domain}",
    "compute": "iaas.{region}.{domain}",
    "monitoring": "telemetry.{region}.{domain}",
    "object_storage": "objectstorage.{region}.{domain}",
    "usage": "usageapi.{region}.oci.{domain}",
}
ANSWER_SECONDS = 30
#: All requests of one run together; a run of all sources takes some seconds.
RUN_SECONDS = 300
ATTEMPTS = 5
LONGEST_PAUSE = 30
TRANSIENT = frozenset({429, 500, 502, 503, 504})
#: A token is renewed so many seconds before it ends.
EARLY_SECONDS = 60
MOST_PAGES = 200
POLICY = (
    "A new dynamic group or policy may need some minutes; otherwise run the provision playbook, which writes "
    "them (docs/free-tier.md lists the statements)."
)


class Client:
    """Oracle Cloud, as seen by this machine. `calls` counts the requests sent, by service."""

    def __init__(
        self, configuration: Configuration, machine: Machine, *, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self.calls: Counter[str] = Counter()
        self._configuration = configuration
        self._machine = machine
        self._pause = pause
        self._deadline = time.monotonic() + RUN_SECONDS
        self._token = ""
        self._key = ""
        self._ends = 0.0

    def get(self, service: str, path: str, what: str, **query: str) -> Any:  # noqa: ANN401  (JSON)
        """GET one thing; `what` is what the operator reads when it fails: "the volumes"."""
        return _json(self._ask(service, "GET", path + _query(query), b"", what), what)

    def post(self, service: str, path: str, what: str, body: dict[str, Any], **query: str) -> Any:  # noqa: ANN401
        """POST a question, such as a query of metrics."""
        return _json(self._ask(service, "POST", path + _query(query), json.dumps(body).encode(), what), what)

    def listed(self, service: str, path: str, what: str, **query: str) -> list[dict[str, Any]]:
        """GET all pages of a list."""
        return self._pages(service, "GET", path, what, query=query)

    def items(self, service: str, path: str, what: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        """POST a question and return all pages of its answer's `items`."""
        return self._pages(service, "POST", path, what, body=json.dumps(body).encode())

    def _pages(
        self,
        service: str,
        method: str,
        path: str,
        what: str,
        *,
        body: bytes = b"",
        query: dict[str, str] | None = None,
    ) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        page = query or {}
        for _ in range(MOST_PAGES):
            answer = self._ask(service, method, path + _query(page), body, what)
            said = _json(answer, what)
            items = said.get("items") if isinstance(said, dict) else said
            if not isinstance(items, list):
                raise Trouble(f"Oracle Cloud answers something else than a list for {what}.")
            found += [one for one in items if isinstance(one, dict)]
            if not answer.headers.get("opc-next-page"):
                return found
            page = page | {"page": answer.headers["opc-next-page"]}
        raise Trouble(f"Oracle Cloud lists {what} without an end.")

    def _ask(self, service: str, method: str, path: str, body: bytes, what: str) -> Answer:
        """Send a request; once more with a new token when that one is not accepted."""
        url = self._endpoint(service) + path
        for renewed in (False, True):
            if renewed or time.time() > self._ends - EARLY_SECONDS:
                self._renew()
            answer = self._send(service, method, url, body, what)
            if answer.status != 401:
                break
        if answer.status >= 300:
            raise Trouble(_refusal(answer, what))
        return answer

    def _send(self, service: str, method: str, url: str, body: bytes, what: str) -> Answer:
        """Send a request until it gets an answer that is not "not now"; signed anew each time."""

        def once() -> Answer:
            self.calls[service] += 1
            headers = signed_headers(
                method, url, body, key_id=f"ST${self._token}", key=self._key, now=time.time()
            )
            return self._exchange(method, url, headers, body)

        return self._persist(once, what)

    def _persist(self, once: Callable[[], Answer], what: str) -> Answer:
        for attempt in range(1, ATTEMPTS + 1):
            last: Answer | None = None
            try:
                last = once()
                reason = f"{last.status} {_said(last)[1]}"
            except NoAnswerError as error:
                reason = str(error)
            if last is not None and last.status not in TRANSIENT:
                return last
            seconds = _pause(attempt, last)
            if attempt == ATTEMPTS or time.monotonic() + seconds > self._deadline:
                raise Trouble(
                    f"Oracle Cloud does not say {what} (asked {attempt} times, last: {reason.strip()})."
                )
            self._pause(seconds)
        raise AssertionError  # the last attempt returns or raises

    def _exchange(self, method: str, url: str, headers: dict[str, str], body: bytes) -> Answer:
        left = max(1.0, self._deadline - time.monotonic())
        return exchange(
            method,
            url,
            headers=headers | {"accept": "application/json", "user-agent": "atlasctl"},
            body=body,
            timeout=min(ANSWER_SECONDS, left),
            ca_file=self._configuration.ca_file,
        )

    def _renew(self) -> None:
        """Have a new session key signed for: the token is the proof, kept in memory until it ends."""
        certificates = read_certificates(self._configuration.metadata)
        key, public = new_key()
        tenancy = _tenancy(certificates.leaf) or self._machine.tenancy
        url = self._configuration.federation or (
            f"https://auth.{self._machine.region}.{self._machine.domain}/v1/x509"
        )
        key_id = f"{tenancy}/fed-x509/{fingerprint(certificates.leaf)}"
        body = json.dumps(
            {
                "certificate": _bare(certificates.leaf),
                "publicKey": _bare(public),
                "intermediateCertificates": [_bare(certificates.intermediate)],
            }
        ).encode()

        def once() -> Answer:
            self.calls["federation"] += 1
            headers = signed_headers(
                "POST", url, body, key_id=key_id, key=certificates.key, now=time.time(), with_host=False
            )
            return self._exchange("POST", url, headers, body)

        answer = self._persist(once, "who this machine is")
        if answer.status >= 300:
            code, message = _said(answer)
            raise Trouble(
                f"Oracle Cloud gives this machine no token ({answer.status} {code}: {message}). "
                "Is its clock right? timedatectl"
            )
        self._token = str(_json(answer, "the token").get("token", ""))
        self._key = key
        self._ends = _end(self._token)

    def _endpoint(self, service: str) -> str:
        given = self._configuration.endpoints.get(service) or self._configuration.endpoint
        host = HOSTS[service].format(region=self._machine.region, domain=self._machine.domain)
        return (given or f"https://{host}").rstrip("/")


def _query(query: dict[str, str]) -> str:
    pairs = "&".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in query.items())
    return f"?{pairs}" if pairs else ""


def _pause(attempt: int, answer: Answer | None) -> float:
    """Return the seconds to wait: what the service asks for, else doubling with a little chance in it."""
    asked = answer.headers.get("retry-after", "") if answer else ""
    if asked.isdigit():
        return float(min(int(asked), LONGEST_PAUSE))
    return float(min(2 ** (attempt - 1) * random.uniform(0.75, 1.25), LONGEST_PAUSE))  # noqa: S311  (no secret)


def _refusal(answer: Answer, what: str) -> str:
    code, message = _said(answer)
    if answer.status in (403, 404):
        return f"This machine may not read {what}, or it is not there ({answer.status} {code}). {POLICY}"
    if answer.status == 401:
        return (
            f"Oracle Cloud does not accept this machine's signature for {what} ({code}). "
            "Is its clock right? timedatectl"
        )
    return f"Oracle Cloud refuses to say {what}: {answer.status} {code}: {message}"


def _said(answer: Answer) -> tuple[str, str]:
    """Return the code and the message of an error."""
    try:
        value = json.loads(answer.body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        return "", answer.body.decode("utf-8", "replace")[:200]
    return str(value.get("code", "")), str(value.get("message", ""))[:300]


def _json(answer: Answer, what: str) -> Any:  # noqa: ANN401
    try:
        return json.loads(answer.body)
    except ValueError:
        raise Trouble(f"Oracle Cloud answers something that is not JSON for {what}.") from None


def _tenancy(certificate: str) -> str:
    """Return the tenancy a certificate speaks for."""
    for value in subject(certificate):
        for prefix in ("opc-tenant:", "opc-identity:"):
            if value.startswith(prefix):
                return value.removeprefix(prefix)
    return ""


def _bare(pem: str) -> str:
    """Return what is between the lines of dashes, on one line."""
    return "".join(line for line in pem.split("\n") if not line.startswith("-----")).strip()


def _end(token: str) -> float:
    """Return when a token ends, in seconds; its signature is for others to check."""
    middle = token.split(".")[1:2]
    try:
        padded = middle[0] + "=" * (-len(middle[0]) % 4)
        return float(json.loads(base64.urlsafe_b64decode(padded))["exp"])
    except (IndexError, ValueError, KeyError, TypeError):
        raise Trouble("Oracle Cloud handed out something that is no token.") from None
