"""A real mail server with TLS and a login, on the loopback address here; the machine reaches it by a port."""

import socket
import ssl
import subprocess
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from tunnel import Reached

CURVE = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
CERTIFICATE = f"-x509 {CURVE} -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"


class MailServer(Reached):
    """What it took is in `mails`, as recipients and message; the way to it is opened and shut."""

    def __init__(self, directory: Path, port: int, user: str, password: str) -> None:
        super().__init__(directory, port)
        self.mails: list[tuple[list[str], bytes]] = []
        self.login = LoginPassword(user.encode(), password.encode())
        self.password = self.login.password
        self.refused: set[str] = set()
        self.key, self.pem = directory / "mail.key", directory / "mail.pem"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        subprocess.run(
            ["openssl", "req", *CERTIFICATE.split(), "-keyout", self.key, "-out", self.pem],
            check=True,
            capture_output=True,
        )
        context.load_cert_chain(self.pem, self.key)
        self.certificate = self.pem.read_text()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.controller = Controller(
            self,
            hostname="127.0.0.1",
            port=self.port,
            tls_context=context,
            require_starttls=True,
            auth_required=True,
            authenticator=self.authenticate,
        )
        self.controller.start()

    def authenticate(self, *said):
        """Say whether somebody may send."""
        right = said[-1].login == self.login.login and said[-1].password == self.password
        return AuthResult(success=right, handled=False)

    async def handle_RCPT(self, _server, _session, envelope, address, _options):  # noqa: N802  (aiosmtpd's)
        """Take a recipient, or refuse him."""
        if address in self.refused:
            return "550 no such user here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server, _session, envelope):  # noqa: N802
        """Keep a mail."""
        self.mails.append((envelope.rcpt_tos, envelope.content))
        return "250 OK"

    def stop(self) -> None:
        """End it."""
        self.shut()
        self.controller.stop()

    def got(self, text: str) -> list[tuple[list[str], bytes]]:
        """Return the mails in which something is said."""
        return [mail for mail in self.mails if text.encode() in mail[1]]
