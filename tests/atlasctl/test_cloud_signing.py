"""Signatures: made by openssl, judged by the cryptography package, by Oracle's rules (draft-cavage)."""

import base64
import hashlib
import re
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from atlasctl.cloud.signing import fingerprint, new_key, sign, signed_headers, subject
from atlasctl.trouble import Trouble

NOW = 1795000000.0  # 2026-11-18T11:06:40Z
URL = "http://cloud.example:8080/20160918/volumes?compartmentId=ocid1.x&name=a%20b"


@pytest.fixture(scope="module")
def key() -> tuple[str, str]:
    return new_key()


def verify(public: str, text: str, signature: str) -> None:
    loaded = serialization.load_pem_public_key(public.encode())
    loaded.verify(base64.b64decode(signature), text.encode(), padding.PKCS1v15(), hashes.SHA256())


def judge(public: str, headers: dict[str, str], method: str, target: str) -> list[str]:
    """Check a request as the service does, from what is on the wire; return the names that are signed."""
    given = dict(re.findall(r'(\w+)="([^"]*)"', headers["authorization"]))
    assert headers["authorization"].startswith("Signature ")
    assert given["algorithm"] == "rsa-sha256"
    assert given["version"] == "1"
    names = given["headers"].split()
    wire = headers | {"(request-target)": f"{method} {target}"}
    verify(public, "\n".join(f"{name}: {wire[name]}" for name in names), given["signature"])
    return names


def test_a_question_signs_date_target_and_host(key):
    private, public = key
    headers = signed_headers("GET", URL, b"", key_id="ST$token", key=private, now=NOW)
    names = judge(public, headers, "get", "/20160918/volumes?compartmentId=ocid1.x&name=a%20b")
    assert names == ["date", "(request-target)", "host"]
    assert headers["host"] == "cloud.example:8080"
    assert headers["date"] == "Wed, 18 Nov 2026 11:06:40 GMT"
    assert 'keyId="ST$token"' in headers["authorization"]


def test_a_body_is_signed_with_its_length_type_and_hash(key):
    private, public = key
    body = b'{"query": "CpuUtilization[5m].mean()"}'
    headers = signed_headers("POST", URL, body, key_id="k", key=private, now=NOW)
    names = judge(public, headers, "post", "/20160918/volumes?compartmentId=ocid1.x&name=a%20b")
    assert names[3:] == ["content-length", "content-type", "x-content-sha256"]
    assert headers["content-length"] == str(len(body))
    assert base64.b64decode(headers["x-content-sha256"]) == hashlib.sha256(body).digest()


def test_the_service_for_tokens_wants_no_host(key):
    private, public = key
    headers = signed_headers("POST", URL, b"{}", key_id="k", key=private, now=NOW, with_host=False)
    names = judge(public, headers, "post", "/20160918/volumes?compartmentId=ocid1.x&name=a%20b")
    assert "host" not in names


def test_another_path_or_another_key_does_not_fit(key):
    private, public = key
    headers = signed_headers("GET", URL, b"", key_id="k", key=private, now=NOW)
    with pytest.raises(InvalidSignature):
        judge(public, headers, "get", "/20160918/volumes")
    with pytest.raises(InvalidSignature):
        judge(new_key()[1], headers, "get", "/20160918/volumes?compartmentId=ocid1.x&name=a%20b")


def test_a_key_that_is_none_is_told_in_words():
    with pytest.raises(Trouble, match="cannot sign with the machine's key"):
        sign("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "text")


def test_the_key_is_nowhere_on_a_disk(key, tmp_path, monkeypatch):
    """Whoever reads the command line or the disk finds the name of an open file of ours."""
    seen = tmp_path / "seen"
    fake = tmp_path / "openssl"
    fake.write_text(f'#!/bin/sh\necho "$@" >{seen}\ncat >/dev/null\necho "SHA2-256(stdin)= 00ff"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert sign(key[0], "text") == base64.b64encode(b"\x00\xff").decode()
    assert re.search(r"-sign /dev/fd/\d+$", seen.read_text().strip())


@pytest.fixture(scope="module")
def certificate() -> x509.Certificate:
    private = rsa.generate_private_key(65537, 2048)
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, "ocid1.instance.oc1.x"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "opc-certtype:instance"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "opc-tenant:ocid1.tenancy.oc1..abc"),
        ]
    )
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, private.public_key(), 1, now, now + timedelta(hours=2))
    return builder.sign(private, hashes.SHA256())


def test_a_certificate_says_whose_it_is(certificate):
    pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
    assert "opc-tenant:ocid1.tenancy.oc1..abc" in subject(pem)
    expected = ":".join(f"{byte:02X}" for byte in certificate.fingerprint(hashes.SHA1()))
    assert fingerprint(pem) == expected


def test_a_certificate_that_is_none_is_told_in_words():
    with pytest.raises(Trouble, match="openssl x509 failed"):
        fingerprint("not a certificate")
