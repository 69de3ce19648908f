"""Questions about certificates and keys, answered by openssl."""

import ipaddress
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

# As people write them, and as openssl does.
CURVES = {"P-256": "prime256v1", "P-384": "secp384r1"}


def openssl(*arguments: str) -> str:
    """Run openssl and return what it prints; raises CalledProcessError with its words."""
    return subprocess.run(
        ["openssl", *arguments],
        check=True,
        capture_output=True,
        text=True,
        env={"PATH": os.defpath, "LC_ALL": "C"},
    ).stdout


def succeeds(*arguments: str) -> bool:
    """Say whether openssl ends well."""
    try:
        openssl(*arguments)
    except subprocess.CalledProcessError:
        return False
    return True


def readable(certificate: Path) -> bool:
    """Say whether there is a certificate in the file."""
    return certificate.exists() and succeeds("x509", "-noout", "-in", str(certificate))


def ends_within(certificate: Path, span: timedelta) -> bool:
    """Say whether the certificate ends before so much time has passed."""
    seconds = str(int(span.total_seconds()))
    return not succeeds("x509", "-noout", "-checkend", seconds, "-in", str(certificate))


def life(certificate: Path) -> tuple[datetime, datetime]:
    """Return from when to when the certificate is good."""
    said = openssl(
        "x509", "-noout", "-startdate", "-enddate", "-dateopt", "iso_8601", "-in", str(certificate)
    )
    begin, end = (datetime.fromisoformat(line.partition("=")[2]) for line in said.splitlines())
    return begin.astimezone(UTC), end.astimezone(UTC)


def belong_together(certificate: Path, key: Path) -> bool:
    """Say whether the key is the certificate's."""
    try:
        public = openssl("x509", "-noout", "-pubkey", "-in", str(certificate))
        return public == openssl("pkey", "-pubout", "-in", str(key))
    except subprocess.CalledProcessError:
        return False


def signed_by(certificate: Path, authority: Path) -> bool:
    """Say whether the authority has signed the certificate."""
    return succeeds("verify", "-CAfile", str(authority), str(certificate))


def curve(certificate: Path) -> str:
    """Name the curve of the certificate's key, such as P-256; another kind of key as openssl prints it."""
    said = openssl("x509", "-noout", "-text", "-in", str(certificate))
    lines = [line.strip() for line in said.splitlines()]
    named = [line.partition(": ")[2] for line in lines if line.startswith("NIST CURVE: ")]
    return named[0] if named else next(line for line in lines if line.startswith("Public Key Algorithm: "))


def names_in(certificate: Path) -> list[str]:
    """List the names the certificate is for, as `subject` writes them."""
    said = openssl("x509", "-noout", "-ext", "subjectAltName", "-in", str(certificate))
    names = said.partition("\n")[2].strip().split(", ")
    return [_normal(*name.split(":", 1)) for name in names if ":" in name]


def is_for(certificate: Path, names: list[str]) -> bool:
    """Say whether the certificate is for these names and no others."""
    return sorted(names_in(certificate)) == sorted(map(subject, names))


def subject(name: str) -> str:
    """Write a name as a certificate does."""
    try:
        return f"IP:{ipaddress.ip_address(name)}"
    except ValueError:
        return f"DNS:{name.lower()}"


def _normal(kind: str, name: str) -> str:
    """`IP Address:` is how openssl prints what it reads as `IP:`; addresses have several spellings."""
    return f"IP:{ipaddress.ip_address(name)}" if kind.startswith("IP") else f"DNS:{name.lower()}"


def new_key(path: Path, on: str) -> None:
    """Make a key on a curve."""
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{CURVES[on]}", "-out", str(path))
