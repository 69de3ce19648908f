"""Signatures as Oracle Cloud wants them (draft-cavage, RSA with SHA-256), made by the `openssl` command.

Keys live in memory: openssl is handed a file that has no name on any disk.
"""

import base64
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from urllib.parse import urlsplit

from atlasctl.run import run
from atlasctl.trouble import Trouble

WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
SECONDS = 20


def signed_headers(
    method: str, url: str, body: bytes, *, key_id: str, key: str, now: float, with_host: bool = True
) -> dict[str, str]:
    """Return the headers of a request, its signature among them.

    `key` is PEM, `now` a time in seconds. The service for tokens wants the host left out of what is signed.
    """
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    covered = {
        "date": formatdate(now, usegmt=True),
        "(request-target)": f"{method.lower()} {target}",
    }
    if with_host:
        covered["host"] = parts.netloc
    if method in WITH_BODY:
        covered["content-length"] = str(len(body))
        covered["content-type"] = "application/json"
        covered["x-content-sha256"] = base64.b64encode(hashlib.sha256(body).digest()).decode()
    signature = sign(key, "\n".join(f"{name}: {value}" for name, value in covered.items()))
    named = " ".join(covered)
    sent = {name: value for name, value in covered.items() if name != "(request-target)"}
    return sent | {
        "authorization": f'Signature algorithm="rsa-sha256",headers="{named}",keyId="{key_id}",'
        f'signature="{signature}",version="1"'
    }


def sign(key: str, text: str) -> str:
    """Return the signature of a text in base64."""
    with _in_memory(key) as file:
        said = run(
            ["openssl", "dgst", "-sha256", "-hex", "-sign", f"/dev/fd/{file}"],
            timeout=SECONDS,
            stdin=text,
            keep=(file,),
        )
    _, found, digits = said.out.strip().rpartition("= ")
    if said.code != 0 or not found:
        raise Trouble(f"openssl cannot sign with the machine's key: {said.words}")
    return base64.b64encode(bytes.fromhex(digits)).decode()


def new_key() -> tuple[str, str]:
    """Return a new private key and its public half, both PEM."""
    private = _openssl(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"])
    return private, _openssl(["pkey", "-pubout"], private)


def fingerprint(certificate: str) -> str:
    """Return the SHA-1 of a certificate as AA:BB:..., which is what names it here."""
    return _openssl(["x509", "-noout", "-fingerprint", "-sha1"], certificate).strip().rpartition("=")[2]


def subject(certificate: str) -> list[str]:
    """Return the values of a certificate's subject, such as `opc-tenant:OCID`."""
    said = _openssl(["x509", "-noout", "-subject", "-nameopt", "multiline,utf8"], certificate)
    return [line.partition("=")[2].strip() for line in said.splitlines()[1:]]


def _openssl(arguments: list[str], stdin: str = "") -> str:
    said = run(["openssl", *arguments], timeout=SECONDS, stdin=stdin)
    if said.code != 0:
        raise Trouble(f"openssl {arguments[0]} failed: {said.words}")
    return said.out


@contextmanager
def _in_memory(text: str) -> Iterator[int]:
    file = os.memfd_create("key")
    try:
        os.write(file, text.encode())
        yield file
    finally:
        os.close(file)
