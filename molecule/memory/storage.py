"""Storage that speaks S3 (moto), on the loopback address here, behind a proxy that misbehaves on demand."""

import http.client
import http.server
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import boto3

BUCKET = "atlas"
FAULTS = {
    500: "InternalError",
    403: "AccessDenied",
    429: "TooManyRequests",
    507: "QuotaExceeded",
}


class Storage:
    """The server; the machine reaches it at a port of its own loopback address while the way is open."""

    def __init__(self, directory: Path, outside: int) -> None:
        self.ssh = ["ssh", "-F", str(directory / "ssh/config"), "-o", "ExitOnForwardFailure=yes", "-N"]
        self.outside = outside
        self.way: subprocess.Popen | None = None
        #: Requests by method, since it was last cleared.
        self.asked: Counter[str] = Counter()
        #: Answer writes with this status, after so many that were taken.
        self.fault: int | None = None
        self.after = 0
        #: Seconds each answer takes.
        self.delay = 0.0
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.inside = free.getsockname()[1]
        self.server = subprocess.Popen(
            [Path(sys.executable).with_name("moto_server"), "-H", "127.0.0.1", "-p", str(self.inside)],
            stdout=subprocess.DEVNULL,
            stderr=(directory / "storage.log").open("w"),
        )
        self.proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _proxy(self))
        threading.Thread(target=self.proxy.serve_forever, daemon=True).start()
        self._wait()
        self.client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{self.inside}",
            aws_access_key_id="owner",
            aws_secret_access_key="owner",
            region_name="us-east-1",
        )
        self.client.create_bucket(Bucket=BUCKET)
        self.client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})

    def _wait(self) -> None:
        end = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.inside), timeout=1).close()
            except OSError:
                assert time.monotonic() < end, "moto does not start"
                time.sleep(0.1)
            else:
                return

    def open(self) -> None:
        """Let the machine reach it."""
        way = f"127.0.0.1:{self.outside}:127.0.0.1:{self.proxy.server_address[1]}"
        self.way = subprocess.Popen([*self.ssh, "-R", way, "machine"])

    def shut(self) -> None:
        """Let the machine reach it no more."""
        if self.way:
            self.way.terminate()
            self.way.wait()
            self.way = None

    def stop(self) -> None:
        """End it."""
        self.shut()
        self.proxy.shutdown()
        self.server.terminate()
        self.server.wait()

    def objects(self) -> dict[str, int]:
        """Return the names of what is stored, with its bytes."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return {one["Key"]: one["Size"] for page in pages for one in page.get("Contents", [])}


def _proxy(storage: Storage) -> type[http.server.BaseHTTPRequestHandler]:
    class Proxy(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            storage.asked[self.command] += 1
            time.sleep(storage.delay)
            if storage.fault and self.command in {"PUT", "POST"}:
                if storage.after <= 0:
                    self._refuse(storage.fault)
                    return
                storage.after -= 1
            onward = http.client.HTTPConnection("127.0.0.1", storage.inside, timeout=60)
            onward.request(self.command, self.path, body, dict(self.headers))
            answer = onward.getresponse()
            content = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in {
                    "content-length",
                    "transfer-encoding",
                    "connection",
                    "date",
                    "server",
                }:
                    self.send_header(name, value)
            length = answer.getheader("Content-Length") if self.command == "HEAD" else len(content)
            self.send_header("Content-Length", str(length or 0))
            self.end_headers()
            self.wfile.write(content)
            onward.close()

        def _refuse(self, status: int) -> None:
            code = FAULTS[status]
            said = (
                f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
            )
            self.send_response(status)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Proxy
