"""A folder of a mailbox that is watched: newsletters become items, mails that are only links bring those.

The mailbox is read and never changed. How far it was read stands in `marks`; a mail is known by its
Message-ID, so that nothing comes twice when the server numbers its mails anew. A mail that cannot be taken is
passed over, and a server that is away costs nobody else anything.
"""

import base64
import contextlib
import hashlib
import html.parser
import imaplib
import re
import secrets
import ssl
from collections.abc import Iterator
from email.message import EmailMessage
from email.utils import parseaddr
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection

from atlas import items, originals
from atlas.database.dialect import insert
from atlas.database.engine import read
from atlas.database.tables import items as items_table
from atlas.database.tables import marks
from atlas.items import INTERNAL, InvalidUrl, New
from atlas.patience import is_outage
from atlas.reading import mail
from atlas.resilience import breakers
from atlas.settings import Settings
from atlas.sources import handed
from atlas.stages.context import Context

PROVIDER = "provider:imap"
#: Mails taken in one round, and links taken from one mail.
MOST_MAILS, MOST_LINKS = 50, 50
#: A mail of links has no more words than this beside them, and two a link.
MOST_WORDS = 12

_MOST_TEXT = 200_000
_TIMEOUT = 20.0
_URL = re.compile(r"https?://[^\s<>\"'\u00a0]+", re.IGNORECASE)
_SIZE = re.compile(rb"RFC822\.SIZE (\d+)")
#: Links that stand in mails and lead to nothing to read.
_DULL_LINK = re.compile(r"unsubscribe|abmelden|d[eé]sabonn|list-manage|mailto:|/preferences", re.IGNORECASE)

log = structlog.stdlib.get_logger(__name__)


def watch(ctx: Context) -> None:
    """Take what has come in since the last time. Raises what the server's trouble is, for the log."""
    settings = ctx.settings
    if not settings.imap_host:
        return
    with (
        contextlib.suppress(breakers.BreakerOpen),
        breakers.guard(ctx.engine, PROVIDER, ctx.clock, blames=(imaplib.IMAP4.error, OSError)),
        mailbox(settings) as box,
    ):
        take_new(ctx, box)


@contextlib.contextmanager
def mailbox(settings: Settings) -> Iterator[imaplib.IMAP4]:
    """Log in to the mailbox, and open its folder for reading. Raises imaplib.IMAP4.error and OSError."""
    box = _connected(settings)
    try:
        password = settings.imap_password.get_secret_value() if settings.imap_password else ""
        box.login(settings.imap_user, password)
        status, said = box.select(_folder(settings.imap_folder), readonly=True)
        if status != "OK":
            raise imaplib.IMAP4.error(f"the folder {settings.imap_folder} cannot be opened: {said!r}")
        yield box
    finally:
        with contextlib.suppress(imaplib.IMAP4.error, OSError):
            box.logout()


def _connected(settings: Settings) -> imaplib.IMAP4:
    if settings.imap_tls == "tls":
        tls = ssl.create_default_context()
        return imaplib.IMAP4_SSL(settings.imap_host, settings.imap_port, ssl_context=tls, timeout=_TIMEOUT)
    box = imaplib.IMAP4(settings.imap_host, settings.imap_port, timeout=_TIMEOUT)
    if settings.imap_tls == "starttls":
        try:
            box.starttls(ssl.create_default_context())
        except BaseException:
            with contextlib.suppress(OSError):
                box.shutdown()
            raise
    return box


def take_new(ctx: Context, box: imaplib.IMAP4) -> int:
    """Take the mails that came since the last time; return how many were looked at."""
    name = f"mail:{ctx.settings.imap_user}@{ctx.settings.imap_host}/{ctx.settings.imap_folder}"
    validity = _validity(box)
    with read(ctx.engine) as conn:
        mark: Any = conn.execute(sa.select(marks.c.value).where(marks.c.name == name)).scalar() or {}
    last = mark.get("uid", 0) if mark.get("uidvalidity") == validity else 0
    new = [uid for uid in _uids(box, last + 1) if uid > last][:MOST_MAILS]  # "9:*" gives the last one always
    for uid in new:
        if ctx.patience.stopping:
            return 0
        _take(ctx, box, uid)
        with ctx.engine.begin() as conn:
            value = {"value": {"uidvalidity": validity, "uid": uid}, "updated_at": ctx.clock()}
            statement = insert(conn, marks).values(name=name, **value)
            conn.execute(statement.on_conflict_do_update(index_elements=["name"], set_=value))
    return len(new)


def _take(ctx: Context, box: imaplib.IMAP4, uid: int) -> None:
    """Take one mail; whatever is wrong with it is logged."""
    try:
        raw = _fetched(box, uid, ctx.settings.upload_max_bytes)
        if raw is not None:
            keep(ctx, raw)
    except (imaplib.IMAP4.error, OSError):
        raise
    except Exception as error:
        if is_outage(error):
            raise
        log.exception("mail not taken", uid=uid)


def keep(ctx: Context, raw: bytes) -> list[int]:
    """Keep what a mail brings; return the items. Raises PageError for what is no mail."""
    message = mail.parse(raw)
    text, links = _said(message)
    correlation_id = secrets.token_hex(8)
    files = list(_files(ctx, message, correlation_id)) if ctx.settings.imap_attachments else []
    if links and _words_beside(text) <= MOST_WORDS + 2 * len(links):
        news = [New(url, correlation_id, source="mail", title=None) for url in links[:MOST_LINKS]]
    elif text.strip() or not files:
        news = [_mail(ctx, raw, message, correlation_id)]
    else:
        news = []
    with ctx.engine.begin() as conn:
        return _add_new(ctx, conn, [*news, *files])


def _mail(ctx: Context, raw: bytes, message: EmailMessage, correlation_id: str) -> New:
    said = mail.header(message, "message-id")
    key = hashlib.sha256(said.encode("utf-8", "replace") if said else raw).hexdigest()[:32]
    name, address = parseaddr(mail.header(message, "from"))
    list_id = mail.list_of(message)
    told = {"from": address, "list_id": list_id, "message_id": said}
    return New(
        f"{INTERNAL}mail/{key}",
        correlation_id,
        kind="mail",
        title=mail.header(message, "subject") or None,
        source="mail",
        fields={
            "original_sha256": originals.put(ctx.settings.data_dir, raw),
            "original_type": "message/rfc822" + handed.HANDED,
            "byline": name or address or None,
            "site": list_id or address.rpartition("@")[2].lower() or None,
            "media": {"mail": told},
        },
        internal=True,
    )


def _files(ctx: Context, message: EmailMessage, correlation_id: str) -> Iterator[New]:
    """Yield the PDF files that are attached to a mail."""
    for part in message.walk():
        name = str(part.get_filename() or "")
        if part.get_content_type() != "application/pdf" and not name.lower().endswith(".pdf"):
            continue
        raw = part.get_payload(decode=True)
        if not isinstance(raw, bytes):
            continue
        try:
            yield handed.file(
                ctx.settings.data_dir,
                name or "attachment.pdf",
                raw,
                now=ctx.clock(),
                correlation_id=correlation_id,
                source="mail",
            )
        except handed.Refused as error:
            log.info("attachment not taken", reason=str(error))


def _add_new(ctx: Context, conn: Connection, news: list[New]) -> list[int]:
    """Add what is not here yet; what is learns that it was seen in a mail too."""
    added = []
    for new in news:
        known = _known(conn, new)
        if known is None:
            try:
                added.append(items.add_many(conn, [new], now=ctx.clock())[0])
            except InvalidUrl:
                continue
        elif not new.internal:
            items.note_sighting(conn, known, {"source": "mail", "url": new.url}, now=ctx.clock())
    return [one.id for one in added if not isinstance(one, InvalidUrl)]


def _known(conn: Connection, new: New) -> int | None:
    if new.internal:
        return conn.execute(
            sa.select(items_table.c.id).where(items_table.c.url_key == new.url).limit(1)
        ).scalar()
    with contextlib.suppress(InvalidUrl):
        return items.find(conn, new.url)
    return None


# What a mail says


class _Links(html.parser.HTMLParser):
    """Collects the text and the links of HTML."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.links: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden += tag in {"style", "script", "head", "title"}
        if tag == "a" and (address := (dict(attrs).get("href") or "").strip()):
            self.links.append(address)

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in {"style", "script", "head", "title"} and self._hidden > 0

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.text.append(data)


def _said(message: EmailMessage) -> tuple[str, list[str]]:
    """Return a mail's text and its links, each once."""
    text, is_html = mail.text_of_mail(message)
    text = text[:_MOST_TEXT]
    links: list[str] = []
    if is_html:
        parser = _Links()
        with contextlib.suppress(AssertionError, ValueError):  # what it says of hopeless markup
            parser.feed(text)
        text, links = " ".join(parser.text), parser.links
    text = re.split(r"\n-- ?\n", text.replace("\r\n", "\n"))[0]
    links = [*links, *(link.rstrip(".,;:!?)]}>") for link in _URL.findall(text))]
    return text, [link for link in dict.fromkeys(links) if _URL.match(link) and not _DULL_LINK.search(link)]


def _words_beside(text: str) -> int:
    return len(_URL.sub(" ", text).split())


# The server's words


def _folder(name: str) -> str:
    """Write a folder's name as IMAP wants it: quoted, other letters in its own UTF-7 (RFC 3501, 5.1.3)."""
    out = ""
    for part in re.findall(r"[\x20-\x7e]+|[^\x20-\x7e]+", name):
        if part.isascii() and part.isprintable():
            out += part.replace("&", "&-")
        else:
            coded = base64.b64encode(part.encode("utf-16-be")).decode().rstrip("=").replace("/", ",")
            out += f"&{coded}-"
    quoted = out.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}"'


def _validity(box: imaplib.IMAP4) -> int:
    _, found = box.response("UIDVALIDITY")
    return int(found[0]) if found and found[0] else 0


def _uids(box: imaplib.IMAP4, first: int) -> list[int]:
    status, found = box.uid("SEARCH", f"UID {first}:*")
    if status != "OK":
        raise imaplib.IMAP4.error(f"the server does not search: {found!r}")
    return sorted(int(number) for number in (found[0] or b"").split())


def _fetched(box: imaplib.IMAP4, uid: int, most: int) -> bytes | None:
    """Return a mail as it is, unread as it was; None when it is gone or too large."""
    status, found = box.uid("FETCH", str(uid), "(RFC822.SIZE)")
    line = found[0] if status == "OK" and found else None
    size = _SIZE.search(line) if isinstance(line, bytes) else None
    if size is None:
        return None
    if int(size[1]) > most:
        log.warning("mail too large", uid=uid, bytes=int(size[1]))
        return None
    _, parts = box.uid("FETCH", str(uid), "(BODY.PEEK[])")
    return next((part[1] for part in parts if isinstance(part, tuple)), None)
