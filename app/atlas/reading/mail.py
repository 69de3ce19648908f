"""Mails: their HTML or text, without what only mails have: hidden lines, counting pixels, boxes of tables."""

import datetime as dt
import email
import email.policy
import re
from email.message import EmailMessage, Message
from email.utils import parseaddr, parsedate_to_datetime

from lxml import etree

from atlas.reading.decode import decode
from atlas.reading.tree import drop, line
from atlas.reading.whole import body_from, whole_page
from atlas.stages.page import Page, PageError

_HIDDEN = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|mso-hide\s*:\s*all|font-size\s*:\s*0(?![.\d])", re.IGNORECASE
)
_BOXES = ("table", "tbody", "thead", "tfoot", "tr", "td", "th", "center")
_LIST_ID = re.compile(r"<([^<>\s]{1,200})>\s*$")


def read_mail(raw: bytes, url: str) -> Page:
    """Read a mail (message/rfc822). Raises PageError(empty_page, damaged or too_complex)."""
    message = parse(raw)
    markup, is_html = text_of_mail(message)
    body = body_from(markup) if is_html else body_from(_as_html(markup))
    if is_html:
        _unwrap(body)
    name, address = parseaddr(header(message, "from"))
    return whole_page(
        body,
        url,
        title=header(message, "subject"),
        byline=line(name) or address or None,
        site=list_of(message) or address.rpartition("@")[2].lower() or None,
        language=header(message, "content-language").partition(",")[0].strip() or None,
        published_at=date_of(message),
    )


def parse(raw: bytes) -> EmailMessage:
    """Parse a mail. Raises PageError(damaged) for what is none."""
    try:
        message = email.message_from_bytes(raw, policy=email.policy.default)
    except Exception as error:
        raise PageError("damaged", "The mail is damaged: it cannot be read.") from error
    if not message.keys():
        raise PageError("damaged", "The mail has no head: it cannot be read.")
    return message


def header(message: Message, name: str) -> str:
    """Return a header on one line, decoded; "" when it is missing or broken."""
    try:
        return line(str(message.get(name, "")))
    except Exception:  # noqa: BLE001 - headers come broken in every way
        return ""


def list_of(message: Message) -> str | None:
    """Return the name of the list that a mail came by (List-Id)."""
    found = _LIST_ID.search(header(message, "list-id"))
    return found[1].lower() if found else None


def date_of(message: Message) -> dt.datetime | None:
    """Return when a mail says that it was sent."""
    try:
        moment = parsedate_to_datetime(header(message, "date"))
        return moment.replace(tzinfo=moment.tzinfo or dt.UTC).astimezone(dt.UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def text_of_mail(message: EmailMessage) -> tuple[str, bool]:
    """Return what a mail says, and whether that is HTML: its longest HTML, else its longest text."""
    found: dict[str, str] = {}
    for part in message.walk():
        kind = part.get_content_type()
        if kind in {"text/html", "text/plain"} and part.get_content_disposition() != "attachment":
            text = _decoded(part, kind)
            if len(text) > len(found.get(kind, "")):
                found[kind] = text
    if found.get("text/html", "").strip():
        return found["text/html"], True
    return found.get("text/plain", ""), False


def _decoded(part: Message, kind: str) -> str:
    try:
        raw = part.get_payload(decode=True)
        charset = part.get_content_charset()
    except Exception:  # noqa: BLE001 - a part that cannot be unpacked says nothing
        return ""
    if not isinstance(raw, bytes):
        return ""
    return decode(raw, f"{kind}; charset={charset}" if charset else kind)


def _as_html(text: str) -> str:
    paragraphs = re.split(r"\n[ \t]*\n", text.replace("\r\n", "\n").replace("\r", "\n"))
    root = etree.Element("div")
    for paragraph in paragraphs:
        if paragraph.strip():
            etree.SubElement(root, "p").text = _LINKLESS.sub("", paragraph)
    return etree.tostring(root, encoding="unicode", method="html")


_LINKLESS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")


def _unwrap(body: etree._Element) -> None:
    """Take away what nobody sees, and the tables that only place things."""
    for element in list(body.iterdescendants()):
        if element.getparent() is None:
            continue
        pixel = element.tag == "img" and "1" in {element.get("width"), element.get("height")}
        if pixel or _HIDDEN.search(element.get("style", "")):
            drop(element)
    for table in list(body.iter("table")):
        if next(table.iter("th", "caption"), None) is None or table.get("role") == "presentation":
            for box in [table, *table.iter(*_BOXES)]:
                box.tag = "div"
