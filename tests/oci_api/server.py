"""The fake: an HTTP server that answers as Oracle Cloud's API does, to the unmodified SDK among others.

    with FakeOci() as cloud:
        account = cloud.account(directory)      # what modules take as `account`
        cloud.misbehave.no_capacity = ["AD-1"]
        cloud.calls                             # [(method, path, status), ...]

Every request is signed by a key the server knows, or it is refused. What may be asked for and how is in
`tables.json`; an answer that is not of the SDK's model is a fault of the fake and fails the request with
code FakeIsWrong.

Where a message or code of OCI's is known (from its documentation, or from errors people have posted) it is
used; the others are ours: those of retention rules, of DNS records, of what a DELETE of something default or
in use is told. Not here at all: the S3-compatible endpoint, requests by pre-authenticated links, quotas on
compartments (they are read, not enforced), volumes attached by a launch (refused, 501).
"""

import datetime as dt
import ipaddress
import json
import secrets
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Mapping
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from tests.oci_api import (
    blocks,
    buckets,
    catalogue,
    compute,
    control,
    errors,
    identity,
    limits,
    money,
    monitoring,
    network,
    objects,
    retention,
    signing,
    tables,
    vnics,
    work,
    zones,
)
from tests.oci_api.calls import HANDLERS, Answer, Call
from tests.oci_api.errors import Refused
from tests.oci_api.iam import Iam
from tests.oci_api.metadata import Metadata
from tests.oci_api.misbehave import Misbehave, Trouble
from tests.oci_api.store import Resource, Store

SUBJECTS = (
    blocks,
    buckets,
    compute,
    identity,
    money,
    monitoring,
    network,
    objects,
    retention,
    vnics,
    work,
    zones,
)  # imported for the handlers they register


class FakeOci:
    """A cloud with one tenancy, empty but for its operator.

    Starts with `with` or `start()`, on a free port of `address`.
    """

    def __init__(
        self,
        *,
        address: str = "127.0.0.1",
        port: int = 0,
        region: str = "eu-frankfurt-1",
        home_region: str = "",
        domains: int = 3,
        addresses: Iterable[str] = (),
    ) -> None:
        self.ahead = 0.0  # seconds by which a test let time pass
        self.misbehave = Misbehave()
        self.region = region
        self.home_region = home_region or region
        self.domains = [f"Uocm:{region.upper()}-AD-{number}" for number in range(1, domains + 1)]
        self.addresses = list(addresses)  # public ones to hand out first
        self.limits = dict(limits.ALWAYS_FREE)
        self.namespace = "axexample"
        self.lock = threading.RLock()
        self.store = Store(region, self.now)
        self.keys = signing.Keys(self.now, self.clock)
        self.iam = Iam(self)
        self.metadata = Metadata(self)
        self.tenancy = self.store.ocid("tenancy")
        self.user = self.store.ocid("user")
        self.tokens: dict[tuple[str, str], str] = {}
        self.calls: list[tuple[str, str, int]] = []
        self.counts: Counter[tuple[str, str]] = Counter()  # by method and path template
        self.usage: list[dict[str, Any]] = []  # what was spent, for the usage report
        self.metrics: list[dict[str, Any]] = []  # measured series
        self._handed = 0
        self._blocks = 0
        self._server = _Server((address, port), _Handler)
        self._server.cloud = self
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        catalogue.seed(self)
        identity.seed(self)
        blocks.seed(self)

    # Life

    @property
    def endpoint(self) -> str:
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def start(self) -> Self:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def now(self) -> dt.datetime:
        """The time here, by which states pass and tokens expire."""
        return dt.datetime.now(dt.UTC) + dt.timedelta(seconds=self.ahead)

    def clock(self) -> dt.datetime:
        """The time that dates of requests are held against: the world's, but for the switch `clock_skew`."""
        return dt.datetime.now(dt.UTC) + dt.timedelta(seconds=self.misbehave.clock_skew)

    # Accounts

    def account(
        self, directory: Path | str, user: str = "", key: RSAPrivateKey | None = None
    ) -> dict[str, str]:
        """What modules take as an account: a new API key of the user (or operator), kept in `directory`."""
        key = key or signing.new_key()
        path = Path(directory) / "key.pem"
        signing.write_key(path, key)
        user = user or self.user
        return {
            "auth_type": "api_key",
            "tenancy": self.tenancy,
            "user": user,
            "fingerprint": self.keys.add_user(self.tenancy, user, key.public_key()),
            "key_file": str(path),
            "region": self.region,
            "endpoint": self.endpoint,
        }

    # What subjects ask of the cloud

    def at_home(self) -> None:
        if self.region != self.home_region:
            raise errors.not_home()

    def domain(self, name: str) -> str:
        """The availability domain of this name, or it is refused."""
        if name not in self.domains:
            raise errors.invalid(f"availabilityDomain: {name} is none of {', '.join(self.domains)}.")
        return name

    def charge(self, service: str, wanted: dict[str, float], domain: str = "") -> None:
        limits.charge(self, service, wanted, domain)

    def quota(self, service: str, name: str) -> float | None:
        """What the quotas leave of a limit; None without one."""
        return money.quota(self, service, name)

    def public_address(self) -> str:
        """The next of the addresses given, then such as documentation has."""
        self._handed += 1
        if self._handed <= len(self.addresses):
            return self.addresses[self._handed - 1]
        return str(ipaddress.ip_address("203.0.113.0") + (self._handed - len(self.addresses)))

    def ipv6_block(self) -> str:
        self._blocks += 1
        return f"2001:db8:0:{self._blocks:x}00::/56"

    def work_request(self, operation: str, row: Resource) -> Resource:
        return work.begin(self, operation, row)

    # Requests

    def answer(
        self, method: str, target: str, headers: Message, body: bytes
    ) -> tuple[Answer, Trouble | None]:
        """The answer to a request, and the trouble it is lost by on its way, if any."""
        path, _, query = target.partition("?")
        special = control.special(self, method, path, headers, body)
        if special is not None:
            return special, None
        lost = None
        with self.lock:
            troubles = list(self.misbehave.met(method, path))
        for trouble in troubles:
            if trouble.kind == "answer" and trouble.answer:
                self.note(method, path, path, trouble.answer.status)
                return refused(trouble.answer), None
            if trouble.kind == "delay":
                time.sleep(trouble.seconds)
            if trouble.kind == "lose":
                lost = trouble
        operation = None
        try:
            found = tables.find(method, path)
            if found is None:
                answer = refused(errors.not_found(f"No operation {method} {path}."))
            else:
                operation = found[0]
                with self.lock:
                    answer = self._handle(*found, query, target, headers, body)
        except Refused as refusal:
            answer = refused(refusal)
        except Exception as error:  # noqa: BLE001
            traceback.print_exc()
            answer = refused(Refused(500, "FakeIsWrong", f"{type(error).__name__}: {error}"))
        self.note(method, path, operation.path if operation else path, answer.status)
        return answer, lost

    def note(self, method: str, path: str, template: str, status: int = 200) -> None:
        """Count a request, by its path and by the template of it."""
        with self.lock:
            self.calls.append((method, path, status))
            self.counts[method, template] += 1

    def _handle(
        self,
        operation: tables.Operation,
        named: dict[str, str],
        query: str,
        target: str,
        headers: Message,
        body: bytes,
    ) -> Answer:
        if self.misbehave.expired:
            raise errors.not_authenticated(signing.WRONG)
        known = {name.lower(): value for name, value in headers.items()}
        principal = signing.verify(
            self.keys, operation.method, target, _Headers(known), body, content=not operation.is_stream
        )
        asked = tables.check_query(operation, parse_qs(query, keep_blank_values=True))
        parsed: Any = body
        if operation.body and not operation.is_stream:
            parsed = tables.read_json(body) if body else None
            if parsed is None and operation.body.required:
                raise errors.missing("body", "request")
            if parsed is not None:
                tables.check(parsed, operation.body.kind, "")
        call = Call(self, operation, principal, named, asked, known, parsed)
        self.iam.allow(call)
        answer = HANDLERS[operation.name](call)
        if answer.body is not None and operation.answer not in ("", "stream"):
            answer.body = json.loads(json.dumps(tables.shown(answer.body, operation.answer)))
        if not answer.status:
            answer.status = 204 if answer.body is None else 200
        return answer


def refused(refusal: Refused) -> Answer:
    return Answer({"code": refusal.code, "message": refusal.message}, refusal.status, dict(refusal.headers))


class _Headers(dict[str, str]):
    """Headers whose names are asked for in any case."""

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name.lower(), default)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    cloud: FakeOci


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 65536  # headers and body in one packet: 3 ms a request rather than 46
    server: _Server

    def _serve(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length) if length else b""
        answer, lost = self.server.cloud.answer(self.command, self.path, self.headers, body)
        if lost:
            time.sleep(lost.seconds)
            self.close_connection = True
            return
        self._send(answer)

    def _send(self, answer: Answer) -> None:
        raw = answer.body if isinstance(answer.body, bytes) else b""
        kind = "application/octet-stream"
        if answer.body is not None and not isinstance(answer.body, bytes):
            raw, kind = json.dumps(answer.body).encode(), "application/json"
        headers: Mapping[str, str] = {
            "opc-request-id": self.headers.get("opc-request-id") or secrets.token_hex(16).upper(),
            "content-type": kind,
            **answer.headers,
        }
        self.send_response(answer.status)
        for name, value in headers.items():
            self.send_header(name, value)
        if answer.status != 204 and "content-length" not in headers:
            self.send_header("content-length", str(len(raw)))
        self.end_headers()
        if self.command != "HEAD" and answer.status != 204:
            self.wfile.write(raw)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = _serve  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing: `cloud.calls` has it."""
