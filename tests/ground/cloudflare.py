"""A stand-in for version 4 of Cloudflare's API: zones, and the DNS records in them, for one token.

It refuses what Cloudflare refuses, in its words and codes, and also what Cloudflare may let pass: a query
or a field it does not document.
"""

import ipaddress
import json
import re
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl

PREFIX = "/client/v4"
FIELDS = {"type", "name", "content", "ttl", "proxied", "comment", "tags", "settings", "data", "priority"}
ASKED = {
    "zones": {"name", "status", "page", "per_page", "order", "direction", "match", "account.id"},
    "dns_records": {"name.exact", "type", "content.exact", "page", "per_page", "order", "direction", "match"},
}
ADDRESSES = {"A": ipaddress.IPv4Address, "AAAA": ipaddress.IPv6Address}


class RefusedError(Exception):
    def __init__(self, status: int, code: int, message: str, *chain: tuple[int, str]) -> None:
        super().__init__(message)
        self.status = status
        self.error: dict[str, Any] = {"code": code, "message": message}
        if chain:
            self.error["error_chain"] = [{"code": code, "message": message} for code, message in chain]


class Cloudflare:
    """The API on a free port of the loopback, with `with`."""

    def __init__(self) -> None:
        self.token = secrets.token_urlsafe(30)
        self.reader = secrets.token_urlsafe(30)  # may look, not change
        self.zones: dict[str, dict[str, Any]] = {}
        self.records: dict[str, list[dict[str, Any]]] = {}
        self.calls: list[tuple[str, str]] = []
        self.busy: list[int] = []  # statuses of the next answers
        self.page = 100  # the longest page
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True

    def __enter__(self) -> Self:
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}{PREFIX}"

    def zone(self, name: str, status: str = "active") -> str:
        identity = secrets.token_hex(16)
        servers = ["ada.ns.cloudflare.example", "bob.ns.cloudflare.example"]
        self.zones[identity] = {"id": identity, "name": name, "status": status, "name_servers": servers}
        self.records[identity] = []
        return identity

    def add(self, zone: str, **record: Any) -> dict[str, Any]:
        row = {"id": secrets.token_hex(16), "ttl": 300, "proxied": False, "comment": None, **record}
        if row["proxied"]:
            row["ttl"] = 1
        self.records[zone].append(row)
        return row

    def held(self, zone: str) -> list[tuple[Any, ...]]:
        """What is in a zone, without what is made up."""
        keys = ("type", "name", "content", "ttl", "proxied")
        return sorted(tuple(row[key] for key in keys) for row in self.records[zone])

    def changes(self) -> list[str]:
        return [method for method, _ in self.calls if method != "GET"]

    def answer(self, method: str, target: str, authorization: str | None, raw: bytes) -> tuple[int, Any]:
        path, _, query = target.partition("?")
        self.calls.append((method, path))
        try:
            self._hurry()
            self._authorize(method, authorization)
            asked = dict(parse_qsl(query, strict_parsing=bool(query)))
            body = json.loads(raw) if raw else None
            return 200, self._route(method, path, asked, body)
        except RefusedError as refusal:
            return refusal.status, {
                "success": False,
                "errors": [refusal.error],
                "messages": [],
                "result": None,
            }

    def _hurry(self) -> None:
        if self.busy:
            status = self.busy.pop(0)
            raise RefusedError(status, 971, "Please wait and consider throttling your request speed")

    def _authorize(self, method: str, authorization: str | None) -> None:
        if authorization is None:
            raise RefusedError(400, 9106, "Missing X-Auth-Key, X-Auth-Email or Authorization headers")
        token = re.fullmatch(r"Bearer ([A-Za-z0-9_-]{40})", authorization)
        if not token:
            chain = (6111, "Invalid format for Authorization header")
            raise RefusedError(400, 6003, "Invalid request headers", chain)
        if token[1] not in {self.token, self.reader}:
            raise RefusedError(403, 9109, "Invalid access token")
        if token[1] == self.reader and method != "GET":
            raise RefusedError(403, 10000, "Authentication error")

    def _route(self, method: str, path: str, asked: dict[str, str], body: Any) -> dict[str, Any]:
        parts = path.removeprefix(f"{PREFIX}/").split("/")
        if not path.startswith(f"{PREFIX}/zones") or len(parts) not in {1, 3, 4}:
            raise RefusedError(
                400, 7003, f"Could not route to {path}, perhaps your object identifier is invalid?"
            )
        unknown = asked.keys() - (ASKED[parts[-1]] if method == "GET" and parts[-1] in ASKED else set())
        if unknown:
            raise RefusedError(400, 1004, f"No such query: {', '.join(unknown)}")
        if len(parts) == 1:
            rows = [row for row in self.zones.values() if row["name"] == asked.get("name", row["name"])]
            return self._page(rows, asked)
        if parts[1] not in self.zones:
            raise RefusedError(404, 7003, "Could not route, perhaps your object identifier is invalid?")
        return self._zone(method, parts[1], "".join(parts[3:]), asked, body)

    def _zone(
        self, method: str, zone: str, identity: str, asked: dict[str, str], body: Any
    ) -> dict[str, Any]:
        rows = self.records[zone]
        if method == "GET" and not identity:
            where = {"name": asked.get("name.exact"), "type": asked.get("type")}
            found = [row for row in rows if all(row[k] == v for k, v in where.items() if v)]
            return self._page(found, asked)
        if method == "POST" and not identity:
            missing = {"type", "name", "content", "ttl"} - body.keys()
            if missing:
                raise RefusedError(
                    400, 1004, "DNS Validation Error", (9000, f"{', '.join(missing)} is required")
                )
            self._check(zone, body, None)
            return _whole(self.add(zone, **body))
        row = next((row for row in rows if row["id"] == identity), None)
        if row is None:
            raise RefusedError(404, 81044, "Record does not exist.")
        if method == "PATCH":
            self._check(zone, {**row, **body}, row, body)
            row |= body
            if row["proxied"]:
                row["ttl"] = 1
            return _whole(row)
        if method == "DELETE":
            rows.remove(row)
            return _whole({"id": identity})
        raise RefusedError(405, 10405, "Method not allowed for this authentication scheme")

    def _check(self, zone: str, record: Any, itself: Any, sent: Any = None) -> None:
        sent = record if sent is None else sent
        wrong = []
        if sent.keys() - FIELDS:
            wrong.append((9207, f"unknown fields {', '.join(sent.keys() - FIELDS)}"))
        if record["ttl"] != 1 and not 60 <= record["ttl"] <= 86400:
            wrong.append((9021, "Invalid TTL. Must be between 60 and 86,400 seconds, or 1 for Automatic."))
        try:
            ADDRESSES[record["type"]](record["content"])
        except (KeyError, ValueError):
            wrong.append((9005, f"Content for {record['type']} record must be a valid address."))
        if not isinstance(record["proxied"], bool):
            wrong.append((9003, "proxied must be a boolean"))
        if wrong:
            raise RefusedError(400, 1004, "DNS Validation Error", *wrong)
        name = self.zones[zone]["name"]
        if record["name"] != name and not record["name"].endswith(f".{name}"):
            raise RefusedError(400, 1004, "DNS Validation Error", (9000, "the name is not in the zone"))
        others = [row for row in self.records[zone] if row is not itself and row["name"] == record["name"]]
        if any(row["type"] == "CNAME" for row in others):
            raise RefusedError(400, 81053, "An A, AAAA, or CNAME record with that host already exists.")
        if any((row["type"], row["content"]) == (record["type"], record["content"]) for row in others):
            raise RefusedError(400, 81058, "An identical record already exists.")

    def _page(self, rows: list[dict[str, Any]], asked: dict[str, str]) -> dict[str, Any]:
        number, size = int(asked.get("page", 1)), min(int(asked.get("per_page", 100)), self.page)
        shown = rows[(number - 1) * size : number * size]
        pages = -(-len(rows) // size)
        counts = {"page": number, "per_page": size, "count": len(shown)}
        return _whole(shown) | {"result_info": {**counts, "total_count": len(rows), "total_pages": pages}}


def _whole(result: Any) -> dict[str, Any]:
    return {"success": True, "errors": [], "messages": [], "result": result}


def _handler(api: Cloudflare) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length") or 0))
            status, answer = api.answer(self.command, self.path, self.headers.get("authorization"), raw)
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _serve  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing: `calls` has it."""

    return Handler
