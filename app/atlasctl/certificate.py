"""What a certificate says of itself: the one in a file, and the one a server shows."""

import socket
import ssl
from datetime import datetime
from typing import NamedTuple

from atlasctl.run import run
from atlasctl.trouble import Trouble


class Certificate(NamedTuple):
    """From when to when it is good, which one it is, and whether it is for the name that was asked for."""

    begin: datetime
    end: datetime
    fingerprint: str
    fits: bool = True


def from_file(path: str) -> Certificate:
    """Return the (first) certificate in `path` (PEM); raises Trouble when it cannot be read."""
    result = run([*COMMAND, "-in", path], timeout=5)
    if result.code != 0:
        raise Trouble(f"{path}: no readable certificate ({result.words})")
    return _read(result.out)


def served(host: str, port: int, name: str, timeout: float) -> Certificate:
    """Return the certificate that host:port shows for the server name, whoever signed it."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host, port), timeout=timeout) as plain,
            context.wrap_socket(plain, server_hostname=name) as connection,
        ):
            shown = connection.getpeercert(binary_form=True) or b""
    except OSError as error:
        raise Trouble(f"{host}:{port} shows no certificate for {name}: {error.strerror or error}") from error
    kind = "-checkip" if name.replace(".", "").isdigit() or ":" in name else "-checkhost"
    result = run([*COMMAND, kind, name], timeout=5, stdin=ssl.DER_cert_to_PEM_cert(shown))
    if result.code != 0 and "notAfter=" not in result.out:
        raise Trouble(f"{host}:{port} shows a certificate that cannot be read: {result.words}")
    return _read(result.out)


COMMAND = ["openssl", "x509", "-noout", "-startdate", "-enddate", "-fingerprint", "-sha256"]
COMMAND += ["-dateopt", "iso_8601"]


def _read(said: str) -> Certificate:
    """Read `notAfter=2027-11-22 05:03:00Z` and its like, and `Hostname x does NOT match certificate`."""
    found = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    return Certificate(
        datetime.fromisoformat(found["notBefore"]),
        datetime.fromisoformat(found["notAfter"]),
        found["sha256 Fingerprint"],
        "does NOT match" not in said,
    )
