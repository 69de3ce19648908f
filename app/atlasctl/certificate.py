"""When a certificate ends: the one in a file, and the one a server shows."""

import socket
import ssl
from datetime import datetime

from atlasctl.run import run
from atlasctl.trouble import Trouble


def from_file(path: str) -> datetime:
    """Return when the certificate in `path` (PEM) ends; raises Trouble when it cannot be read."""
    result = run(["openssl", "x509", "-noout", "-enddate", "-dateopt", "iso_8601", "-in", path], timeout=5)
    if result.code != 0:
        raise Trouble(f"{path}: no readable certificate ({result.words})")
    return _end(result.out)


def served(host: str, port: int, name: str, timeout: float) -> datetime:
    """Return when the certificate ends that host:port shows for the server name, whoever signed it."""
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
    pem = ssl.DER_cert_to_PEM_cert(shown)
    return _end(
        run(["openssl", "x509", "-noout", "-enddate", "-dateopt", "iso_8601"], timeout=5, stdin=pem).out
    )


def _end(said: str) -> datetime:
    """Read `notAfter=2027-11-22 05:03:00Z`."""
    return datetime.fromisoformat(said.strip().partition("=")[2])
