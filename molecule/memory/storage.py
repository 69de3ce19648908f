"""Storage that speaks S3 (moto), on the loopback address here, behind a proxy that misbehaves on demand."""

import http.client
import http.server
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import boto3
from tunnel import Reached, wait_until_listening

DOCUMENT = (Path(__file__).parents[2] / "docs/backup.md").read_text()
BUCKET = "atlas"
KEY = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
# What S3 counts as the one, moto asks for by the other name besides.
MOTO_ASKS = {"ListBucket": "HeadBucket", "GetObject": "HeadObject"}
# As the key for backups in Oracle Cloud (roles/oci_identity).
LOOK = ("ListBucket", "GetBucketLocation", "GetObject", *MOTO_ASKS.values())
MACHINE_MAY = [f"s3:{may}" for may in (*LOOK, "PutObject", "DeleteObject")]
FAULTS = {
    500: "InternalError",
    403: "AccessDenied",
    429: "TooManyRequests",
    507: "QuotaExceeded",
}


class Storage(Reached):
    """The server; the machine reaches it at a port of its own loopback address while the way is open."""

    def __init__(self, directory: Path, outside: int) -> None:
        super().__init__(directory, outside)
        #: Requests by method, since it was last cleared.
        self.asked: Counter[str] = Counter()
        #: Answer writes with this status; only so many, unless that is 0.
        self.fault: int | None = None
        self.refused = 0
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
        self.port = self.proxy.server_address[1]
        threading.Thread(target=self.proxy.serve_forever, daemon=True).start()
        wait_until_listening(self.inside, 30)
        #: Id and secret of the key that may do all, of the machine's, which may remove no version, and of one
        #: that may only add, by the policy in the document.
        self.owner = self._key("owner", [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}])
        self.machine = self._key("machine", [{"Effect": "Allow", "Action": MACHINE_MAY, "Resource": "*"}])
        self.adder = self._key("adder", _policy())
        client = self._client("s3", self.owner)
        client.create_bucket(Bucket=BUCKET)
        client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        # From now on moto minds who asks.
        http.client.HTTPConnection("127.0.0.1", self.inside).request("POST", "/moto-api/reset-auth", "0")
        self.client = self._client("s3", self.owner)

    @property
    def _address(self) -> str:
        return f"http://127.0.0.1:{self.inside}"

    def _client(self, service: str, key: tuple[str, str]) -> Any:
        names = {"aws_access_key_id": key[0], "aws_secret_access_key": key[1], "region_name": "us-east-1"}
        return boto3.client(service, endpoint_url=self._address, **names)

    def _key(self, user: str, may: list[dict[str, Any]]) -> tuple[str, str]:
        iam = self._client("iam", ("any", "any"))
        iam.create_user(UserName=user)
        allowed = {"Version": "2012-10-17", "Statement": may}
        iam.put_user_policy(UserName=user, PolicyName="may", PolicyDocument=json.dumps(allowed))
        made = iam.create_access_key(UserName=user)["AccessKey"]
        return made["AccessKeyId"], made["SecretAccessKey"]

    def give(self, machine: Any, key: tuple[str, str]) -> None:
        """Give a machine a key."""
        settings = "/etc/atlas-backup/settings.json"
        for name, value in zip(KEY, key, strict=True):
            machine.check_output(f'sed -i \'s|"{name}": "[^"]*"|"{name}": "{value}"|\' {settings}')

    def admit(self, machine: Any) -> None:
        """Give a machine its key, and the way here."""
        self.give(machine, self.machine)
        self.shut()
        self.open()
        machine.check_output(
            f"for i in $(seq 50); do ss -Hltn | grep -q :{self.outside} && exit; sleep 0.1; done; exit 1"
        )

    def stop(self) -> None:
        """End it."""
        self.shut()
        self.proxy.shutdown()
        self.server.terminate()
        self.server.wait()

    def forget_everything(self) -> None:
        """Delete all there is, as whoever has taken the machine's key would."""
        robber = self._client("s3", self.machine)
        for name in self.objects():
            robber.delete_object(Bucket=BUCKET, Key=name)

    def remove_as(self, key: tuple[str, str], name: str) -> None:
        """Delete an object with a key. Raises botocore's ClientError when that is not allowed."""
        self._client("s3", key).delete_object(Bucket=BUCKET, Key=name)

    def remove_a_version_as_machine(self) -> None:
        """Try to remove for good what was deleted. Raises botocore's ClientError when that is not allowed."""
        first = self.client.list_object_versions(Bucket=BUCKET)["Versions"][0]
        robber = self._client("s3", self.machine)
        robber.delete_object(Bucket=BUCKET, Key=first["Key"], VersionId=first["VersionId"])

    def bring_back(self) -> None:
        """Undo all deletions, as the owner: without the mark of its deletion an object is there again."""
        pages = self.client.get_paginator("list_object_versions").paginate(Bucket=BUCKET)
        for mark in [one for page in pages for one in page.get("DeleteMarkers", [])]:
            if mark["IsLatest"] and not mark["Key"].startswith("locks/"):
                self.client.delete_object(Bucket=BUCKET, Key=mark["Key"], VersionId=mark["VersionId"])

    def objects(self) -> dict[str, int]:
        """Return the names of what is stored, with its bytes."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return {one["Key"]: one["Size"] for page in pages for one in page.get("Contents", [])}


def _policy() -> list[dict[str, Any]]:
    """Return the statements of the policy in the document, for our bucket."""
    (text,) = re.findall(r'^    (\{"Version".*?)\n\n', DOCUMENT, re.MULTILINE | re.DOTALL)
    here = {"my-bucket/atlas/": "my-bucket/", "my-bucket": BUCKET}
    here |= {f'"s3:{may}"': f'"s3:{may}", "s3:{asks}"' for may, asks in MOTO_ASKS.items()}
    for theirs, ours in here.items():
        text = text.replace(theirs, ours)
    policy: dict[str, Any] = json.loads(text)
    return list(policy["Statement"])


def _proxy(storage: Storage) -> type[http.server.BaseHTTPRequestHandler]:
    class Proxy(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            storage.asked[self.command] += 1
            time.sleep(storage.delay)
            if storage.fault and self.command in {"PUT", "POST"}:
                self._refuse(storage.fault)
                if storage.refused:
                    storage.refused -= 1
                    storage.fault = storage.fault if storage.refused else None
                return
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
