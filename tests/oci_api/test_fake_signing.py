"""Who may ask: signatures as OCI verifies them."""

import base64
import datetime as dt
import hashlib
import http.client
import json
from email.utils import format_datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from tests.oci_api import signing
from tests.oci_api.clients import Clients, refused


class Signed:
    """A request signed by hand, so that any part of it can be made wrong."""

    def __init__(self, account: dict[str, str]) -> None:
        self.account = account
        self.key = serialization.load_pem_private_key(Path(account["key_file"]).read_bytes(), None)
        self.names: list[str] | None = None
        self.changed: dict[str, str] = {}  # after signing
        self.parts = {"version": "1", "algorithm": "rsa-sha256"}
        self.date = dt.datetime.now(dt.UTC)
        self.body_sent: bytes | None = None
        self.path_sent = ""

    def send(self, method: str, path: str, body: bytes = b"") -> tuple[int, str]:
        host = self.account["endpoint"].removeprefix("http://")
        headers = {"date": format_datetime(self.date, usegmt=True), "host": host}
        names = ["date", "(request-target)", "host"]
        if method in ("POST", "PUT"):
            digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
            headers |= {
                "content-length": str(len(body)),
                "content-type": "application/json",
                "x-content-sha256": digest,
            }
            names += ["content-length", "content-type", "x-content-sha256"]
        names = self.names or names
        lines = [
            f"{name}: {method.lower()} {path}" if name == "(request-target)" else f"{name}: {headers[name]}"
            for name in names
        ]
        signature = self.key.sign("\n".join(lines).encode(), padding.PKCS1v15(), hashes.SHA256())
        parts = {
            "keyId": "/".join(self.account[key] for key in ("tenancy", "user", "fingerprint")),
            "headers": " ".join(names),
            "signature": base64.b64encode(signature).decode(),
        } | self.parts
        headers["authorization"] = "Signature " + ",".join(f'{key}="{value}"' for key, value in parts.items())
        headers |= self.changed
        connection = http.client.HTTPConnection(host, timeout=5)
        connection.request(method, self.path_sent or path, self.body_sent or body or None, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text


@pytest.fixture
def signed(cloud, tmp_path) -> Signed:
    return Signed(cloud.account(tmp_path))


def vcn(compartment: str) -> bytes:
    return json.dumps({"compartmentId": compartment, "cidrBlock": "10.0.0.0/16"}).encode()


def test_a_request_signed_by_hand_is_taken(signed, compartment):
    assert signed.send("GET", f"/20160918/vcns?compartmentId={compartment}") == (200, "[]")
    assert signed.send("POST", "/20160918/vcns", vcn(compartment))[0] == 200


def test_a_body_changed_on_the_way_is_refused(signed, compartment, cloud):
    signed.body_sent = vcn(compartment).replace(b"10.0", b"10.1")
    status, text = signed.send("POST", "/20160918/vcns", vcn(compartment))
    assert (status, "not the one that was signed" in text) == (401, True)
    assert list(cloud.store.of("vcn")) == []


def test_a_query_or_header_changed_on_the_way_is_refused(signed, compartment):
    signed.names = ["date", "host", "(request-target)"]
    path = f"/20160918/vcns?compartmentId={compartment}"
    assert signed.send("GET", path)[0] == 200
    signed.path_sent = f"{path}&displayName=other"
    assert "does not verify" in signed.send("GET", path)[1]
    signed.path_sent = ""
    signed.changed = {"date": format_datetime(dt.datetime.now(dt.UTC) - dt.timedelta(seconds=5), usegmt=True)}
    assert "does not verify" in signed.send("GET", path)[1]


def test_all_that_must_be_signed_is(signed, compartment):
    signed.names = ["date", "(request-target)"]
    assert "Not signed: host" in signed.send("GET", f"/20160918/vcns?compartmentId={compartment}")[1]
    signed.names = ["date", "(request-target)", "host", "content-length", "content-type"]
    assert "Not signed: x-content-sha256" in signed.send("POST", "/20160918/vcns", vcn(compartment))[1]


def test_an_old_date_is_refused(signed, compartment):
    signed.date -= dt.timedelta(minutes=6)
    status, text = signed.send("GET", f"/20160918/vcns?compartmentId={compartment}")
    assert (status, json.loads(text)["code"], "5 minutes" in text) == (401, "NotAuthenticated", True)


def test_other_schemes_are_refused(signed, compartment):
    path = f"/20160918/vcns?compartmentId={compartment}"
    signed.parts = {"version": "1", "algorithm": "hmac-sha256"}
    assert "rsa-sha256" in signed.send("GET", path)[1]
    signed.changed = {"authorization": "Basic eDp5"}
    assert signed.send("GET", path)[0] == 401
    signed.changed = {"authorization": ""}
    assert signed.send("GET", path)[0] == 401


def test_a_wrong_key_and_an_unknown_one_are_refused(cloud, compartment, tmp_path):
    account = cloud.account(tmp_path)
    (tmp_path / "key.pem").write_bytes(signing.private_pem(signing.new_key()))
    assert "does not verify" in refused(401, Clients(cloud, account).network.list_vcns, compartment).message
    account["fingerprint"] = ":".join(["00"] * 16)
    error = refused(401, Clients(cloud, account).network.list_vcns, compartment)
    assert (error.code, "is not known" in error.message) == ("NotAuthenticated", True)


def test_a_user_of_no_group_may_nothing(oci, cloud, compartment, tmp_path):
    made = oci.identity.create_user(
        {"compartmentId": cloud.tenancy, "name": "backup", "description": "x"}
    ).data
    (tmp_path / "other").mkdir()
    theirs = Clients(cloud, cloud.account(tmp_path / "other", made.id))
    refused(404, theirs.network.list_vcns, compartment)
    group = oci.identity.create_group(
        {"compartmentId": cloud.tenancy, "name": "readers", "description": "x"}
    ).data
    oci.identity.add_user_to_group({"userId": made.id, "groupId": group.id})
    statement = "Allow group readers to inspect virtual-network-family in compartment atlas"
    oci.identity.create_policy(
        {"compartmentId": cloud.tenancy, "name": "p", "description": "x", "statements": [statement]}
    )
    assert theirs.network.list_vcns(compartment).data == []
    refused(404, theirs.network.create_vcn, json.loads(vcn(compartment)))
