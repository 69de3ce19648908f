"""A mailbox that is watched: mails by themselves, and with a real IMAP server (Dovecot) on this machine."""

import dataclasses
import getpass
import grp
import imaplib
import os
import pwd
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from conftest import Clock
from documents import pdf
from pydantic import SecretStr
from reading_hand import Offline, Reader, read_all
from sqlalchemy.engine import Engine

from atlas import items
from atlas.database.engine import read
from atlas.database.tables import breakers, marks, sightings
from atlas.database.tables import items as items_table
from atlas.patience import Patience
from atlas.settings import Settings
from atlas.sources import mailbox
from atlas.stages.context import Context

PASSWORD = "a secret phrase"
RAW = b"The tide came in while nobody looked, and took the picnic with it."
PROSE = "The tide came in while nobody looked, and took the picnic with it. " * 5
DOVECOT = shutil.which("dovecot", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
needs_dovecot = pytest.mark.skipif(
    DOVECOT is None or not Path("/usr/lib/dovecot/imap").exists(),
    reason="Dovecot, a real IMAP server, is not installed (Debian: dovecot-imapd)",
)


def letter(
    subject: str = "News of the sea",
    text: str = PROSE,
    *,
    html: str = "",
    sender: str = "Ann Post <ann@sea.example>",
    files: dict[str, bytes] | None = None,
    **headers: str,
) -> bytes:
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = subject, sender, "me@example.org"
    message["Date"] = "Sat, 21 Nov 2026 10:00:00 +0100"
    message["Message-ID"] = headers.pop("message_id", f"<{subject.replace(' ', '.')}@sea.example>")
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    message.set_content(text)
    if html:
        message.add_alternative(html, subtype="html")
    for name, raw in (files or {}).items():
        message.add_attachment(raw, maintype="application", subtype="pdf", filename=name)
    return message.as_bytes()


@pytest.fixture
def context(settings: Settings, engine: Engine, clock: Clock) -> Context:
    return Context(settings, engine, Offline(), Reader(), clock, Patience(threading.Event()))


def all_items(engine: Engine) -> list[dict[str, Any]]:
    with read(engine) as conn:
        rows = conn.execute(sa.select(items_table).order_by(items_table.c.id))
        return [dict(row._mapping) for row in rows]


# Mails by themselves


def test_a_newsletter_becomes_a_mail_to_read(context: Context, engine: Engine, clock: Clock) -> None:
    html = (
        "<html><head><style>p {color: red}</style></head><body><div style='display:none'>Preheader</div>"
        f"<table><tr><td><table><tr><td><p>{PROSE}</p></td></tr></table></td></tr></table>"
        "<table><tr><th>Port</th><td>High</td></tr></table><img src='https://t.example/p.gif' width=1>"
        "<img src='cid:logo'><a href='https://sea.example/more' onclick='x()'>more</a><script>alert(1)"
        "</script>"
        "<a href='javascript:alert(1)'>x</a></body></html>"
    )
    raw = letter(html=html, List_Id="The Sea <sea.lists.example>")
    (number,) = mailbox.keep(context, raw)
    assert read_all(context.settings, engine, clock) == ["complete"]
    with read(engine) as conn:
        kept = items.get(conn, number)
    assert kept is not None
    assert (kept["kind"], kept["source"], kept["title"]) == ("mail", "mail", "News of the sea")
    assert (kept["byline"], kept["site"]) == ("Ann Post", "sea.lists.example")
    assert kept["media"]["mail"]["from"] == "ann@sea.example"
    assert kept["published_at"].isoformat() == "2026-11-21T09:00:00+00:00"
    for poison in ("script", "onclick", "alert", "Preheader", "t.example", "cid:", "color"):
        assert poison not in kept["html"]
    assert kept["html"].count("<table") == 1  # the one with something in it
    assert 'href="https://sea.example/more"' in kept["html"]
    assert mailbox.keep(context, raw) == []  # known by its Message-ID


@pytest.mark.parametrize(
    ("text", "html"),
    [
        (
            "https://example.org/1\nhttps://example.org/2?a=b.\n-- \nSent from my very long phone signature, "
            + "x " * 30,
            "",
        ),
        (
            "",
            "<p>Look:</p><a href='https://example.org/1'>one</a> <a href='https://example.org/2?a=b'>two</a>",
        ),
    ],
)
def test_a_mail_of_links_brings_the_links(context: Context, engine: Engine, text: str, html: str) -> None:
    raw = letter("Fwd", text, html=html)
    assert len(mailbox.keep(context, raw)) == 2
    assert mailbox.keep(context, raw) == []
    rows = all_items(engine)
    assert [(row["kind"], row["source"], row["stage"]) for row in rows] == [("article", "mail", 110)] * 2
    assert [row["url"] for row in rows] == ["https://example.org/1", "https://example.org/2?a=b"]
    with read(engine) as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(sightings)).scalar() == 2


def test_attached_pdf_files_are_kept(context: Context, engine: Engine, clock: Clock) -> None:
    files = {"walk.pdf": pdf([[PROSE[:90]] * 3]), "picture.pdf": b"\x89PNG"}
    assert len(mailbox.keep(context, letter(files=files))) == 2
    assert (
        len(mailbox.keep(context, letter("Only a file", "", files={"other.pdf": pdf([["One two three."]])})))
        == 1
    )
    assert read_all(context.settings, engine, clock) == ["complete"] * 3
    assert [row["kind"] for row in all_items(engine)] == ["mail", "file", "file"]
    without = dataclasses.replace(
        context, settings=context.settings.model_copy(update={"imap_attachments": False})
    )
    assert len(mailbox.keep(without, letter("More", files={"more.pdf": pdf([["More."]])}))) == 1


@pytest.mark.parametrize(
    "raw",
    [
        letter(html="<p>" * 5000 + PROSE),
        b"From: x\r\nSubject: =?utf-8?b?broken\r\nContent-Type: text/plain; charset=nothing-known\r\n\r\n"
        + PROSE.encode(),
        b"From: \xff\xfe\r\nSubject: \xe4\xf6\r\nDate: yesterday\r\n\r\n" + PROSE.encode("utf-16"),
        b"Subject: no type\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\n" + PROSE.encode(),
        b"Subject: nested\r\n"
        + b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n" * 200
        + PROSE.encode(),
    ],
    ids=["deep", "charset", "bytes", "parts", "nested"],
)
def test_a_broken_mail_is_kept_or_refused_but_breaks_nothing(
    context: Context, engine: Engine, clock: Clock, raw: bytes
) -> None:
    mailbox.keep(context, raw)
    assert set(read_all(context.settings, engine, clock)) <= {"complete", "failed"}


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("INBOX", '"INBOX"'),
        ('a "b"', '"a \\"b\\""'),
        ("Entwürfe & mehr", '"Entw&APw-rfe &- mehr"'),
        ("台北", '"&U,BTFw-"'),
    ],
)
def test_folders_are_named_as_the_protocol_wants_it(name: str, written: str) -> None:
    assert mailbox._folder(name) == written


# With a server


class Server:
    """A private Dovecot: one user, one mailbox."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.as_user = ["runuser", "-u", "nobody", "--"] if os.geteuid() == 0 else []
        self.port, self.tls_port = _free_port(), _free_port()
        self.mail = directory / "mail"
        account = pwd.getpwnam("nobody" if self.as_user else getpass.getuser())
        run = directory / "run"
        for path in (run, self.mail):
            path.mkdir(parents=True)
        certificate, key = _certificate(directory)
        self.certificate = certificate
        (directory / "users").write_text(f"me:{{PLAIN}}{PASSWORD}::::::\n")
        (directory / "dovecot.conf").write_text(
            f"""
base_dir = {run}
state_dir = {directory}/state
log_path = {directory}/log
protocols = imap
listen = 127.0.0.1
ssl = yes
ssl_cert = <{certificate}
ssl_key = <{key}
disable_plaintext_auth = no
default_internal_user = {account.pw_name}
default_internal_group = {grp.getgrgid(account.pw_gid).gr_name}
default_login_user = {account.pw_name}
mail_location = maildir:{self.mail}
first_valid_uid = 0
mail_uid = {account.pw_uid}
mail_gid = {account.pw_gid}
passdb {{
  driver = passwd-file
  args = {directory}/users
}}
userdb {{
  driver = static
  args = uid={account.pw_uid} gid={account.pw_gid} home={directory}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {self.port}
  }}
  inet_listener imaps {{
    port = {self.tls_port}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
"""
        )
        if self.as_user:
            subprocess.run(["chown", "-R", f"{account.pw_uid}:{account.pw_gid}", str(directory)], check=True)
        self.start()

    def start(self) -> None:
        command = [*self.as_user, str(DOVECOT), "-F", "-c", str(self.directory / "dovecot.conf")]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        ends = time.monotonic() + 20
        while time.monotonic() < ends:
            try:
                with imaplib.IMAP4("127.0.0.1", self.port, timeout=2):
                    return
            except (OSError, imaplib.IMAP4.error):
                assert self._process.poll() is None, (self.directory / "log").read_text()
                time.sleep(0.1)
        raise AssertionError((self.directory / "log").read_text())

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)

    def deliver(self, *mails: bytes, folder: str = "INBOX") -> None:
        with imaplib.IMAP4("127.0.0.1", self.port, timeout=5) as box:
            box.login("me", PASSWORD)
            if folder != "INBOX":
                box.create(folder)
            for raw in mails:
                status, said = box.append(folder, "", None, raw)
                assert status == "OK", said

    def unseen(self) -> int:
        with imaplib.IMAP4("127.0.0.1", self.port, timeout=5) as box:
            box.login("me", PASSWORD)
            box.select("INBOX", readonly=True)
            return len((box.search(None, "UNSEEN")[1][0] or b"").split())

    def number_anew(self) -> None:
        """Let the server forget how it had numbered its mails."""
        self.stop()
        for path in self.mail.glob("dovecot*"):
            path.unlink() if path.is_file() else None
        self.start()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _certificate(directory: Path) -> tuple[Path, Path]:
    certificate, key = directory / "cert.pem", directory / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


@pytest.fixture(scope="module")
def one_server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="atlas-imap-") as directory:
        server = Server(Path(directory))
        yield server
        server.stop()


@pytest.fixture
def server(one_server: Server) -> Server:
    """The server with an empty mailbox."""
    with imaplib.IMAP4("127.0.0.1", one_server.port, timeout=5) as box:
        box.login("me", PASSWORD)
        if int(box.select("INBOX")[1][0] or 0):
            box.store("1:*", "+FLAGS", "\\Deleted")
            box.expunge()
    return one_server


@pytest.fixture
def watching(context: Context, server: Server) -> Callable[..., Context]:
    def make(**changes: Any) -> Context:
        options = {
            "imap_host": "127.0.0.1",
            "imap_port": server.port,
            "imap_user": "me",
            "imap_password": SecretStr(PASSWORD),
            "imap_tls": "none",
        }
        return dataclasses.replace(
            context, settings=context.settings.model_copy(update={**options, **changes})
        )

    return make


@needs_dovecot
@pytest.mark.slow
def test_each_mail_is_taken_once_and_left_as_it_was(
    watching: Callable[..., Context], server: Server, engine: Engine
) -> None:
    ctx = watching()
    server.deliver(letter("One"), b"no mail at all\r\n", letter("Two"))
    mailbox.watch(ctx)
    assert [row["title"] for row in all_items(engine)] == ["One", "Two"]
    assert server.unseen() == 3
    mailbox.watch(ctx)
    server.deliver(letter("Three"))
    mailbox.watch(ctx)
    assert [row["title"] for row in all_items(engine)] == ["One", "Two", "Three"]
    server.number_anew()
    mailbox.watch(ctx)
    assert [row["title"] for row in all_items(engine)] == ["One", "Two", "Three"]


@needs_dovecot
@pytest.mark.slow
def test_a_mail_too_large_is_passed_over(
    watching: Callable[..., Context], server: Server, engine: Engine
) -> None:
    server.deliver(letter("Large", "x " * 600_000), letter("Small"))
    mailbox.watch(watching(upload_max_bytes=1_000_000))
    assert [row["title"] for row in all_items(engine)] == ["Small"]


@needs_dovecot
@pytest.mark.slow
def test_folders_and_tls(
    watching: Callable[..., Context], server: Server, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = mailbox._folder("Lesen & mehr für mich")
    server.deliver(letter("Filed"), folder=folder)
    changes = {"imap_host": "localhost", "imap_folder": "Lesen & mehr für mich"}
    with pytest.raises(ssl.SSLError):  # nobody vouches for this certificate
        mailbox.watch(watching(**changes, imap_port=server.tls_port, imap_tls="tls"))
    with pytest.raises(ssl.SSLError):
        mailbox.watch(watching(**changes, imap_tls="starttls"))
    monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate))
    mailbox.watch(watching(**changes, imap_port=server.tls_port, imap_tls="tls"))
    mailbox.watch(watching(**changes, imap_tls="starttls"))
    assert [row["title"] for row in all_items(engine)] == ["Filed"]


@needs_dovecot
@pytest.mark.slow
def test_a_server_that_refuses_is_left_alone(
    watching: Callable[..., Context], server: Server, engine: Engine, clock: Clock
) -> None:
    server.deliver(letter("One"))
    wrong = watching(imap_password=SecretStr("wrong"))
    for _ in range(3):
        with pytest.raises(imaplib.IMAP4.error):
            mailbox.watch(wrong)
    mailbox.watch(watching())  # not even asked
    assert all_items(engine) == []
    with read(engine) as conn:
        reason = conn.execute(sa.select(breakers.c.reason)).scalar_one()
        assert conn.execute(sa.select(marks)).all() == []
    assert "wrong" not in reason
    clock.advance(3600)
    mailbox.watch(watching())
    assert len(all_items(engine)) == 1


def test_without_a_server_nothing_happens(context: Context, engine: Engine) -> None:
    mailbox.watch(context)
    away = context.settings.model_copy(update={"imap_host": "127.0.0.1", "imap_port": 1, "imap_tls": "none"})
    with pytest.raises(OSError, match="refused"):
        mailbox.watch(dataclasses.replace(context, settings=away))
    assert all_items(engine) == []
