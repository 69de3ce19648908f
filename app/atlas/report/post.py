"""Sends the weekly letter: by hand, and by itself once a week. A mail server that is down stops nothing."""

import datetime as dt
import smtplib
import ssl
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from urllib.parse import urlsplit

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Engine

from atlas.database.dialect import insert
from atlas.database.engine import read
from atlas.database.tables import marks
from atlas.report.letter import Letter, write
from atlas.report.week import gather
from atlas.settings import Settings
from atlas.stages.context import Context
from atlas.telemetry import tally

WEEK = dt.timedelta(days=7)

#: Longest wait for the mail server, in seconds.
TIMEOUT = 20

_MARK = "weekly report"
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

log = structlog.stdlib.get_logger(__name__)


class SendError(Exception):
    """The letter could not be sent; the message says why, without the password."""


def compose(engine: Engine, settings: Settings, *, until: dt.datetime, since: dt.datetime) -> Letter:
    """Write the letter about the time from `since` to `until`."""
    with read(engine) as conn:
        week = gather(conn, settings, until=until, since=since)
    return write(week, settings.public_url)


def send_if_due(ctx: Context) -> None:
    """Send this week's letter if its hour has come and it was not sent yet: a chore."""
    settings, now = ctx.settings, ctx.clock()
    if not settings.report_to:
        return
    due = last_due(settings, now)
    with read(ctx.engine) as conn:
        sent = conn.execute(sa.select(marks.c.value).where(marks.c.name == _MARK)).scalar()
    if sent is None:
        _note(ctx.engine, due, now)  # it begins with the next one, which has a whole week to tell of
        return
    if dt.datetime.fromisoformat(sent["due"]) >= due:
        return
    letter = compose(ctx.engine, settings, until=now, since=now - WEEK)
    try:
        send(letter, settings, now)
    except SendError as error:
        tally.count("reports", "failed")
        log.warning("weekly report not sent", reason=str(error))
        return
    _note(ctx.engine, due, now)
    tally.count("reports", "sent")
    log.info("weekly report sent", to=settings.report_to)


def last_due(settings: Settings, now: dt.datetime) -> dt.datetime:
    """Return when a letter was due last: at the hour (UTC) of the weekday that were chosen."""
    today = now.replace(hour=settings.report_hour, minute=0, second=0, microsecond=0)
    due = today - dt.timedelta(days=(now.weekday() - _DAYS.index(settings.report_weekday)) % 7)
    return due if due <= now else due - WEEK


def send(letter: Letter, settings: Settings, now: dt.datetime) -> None:
    """Hand the letter to the mail server. Raises SendError."""
    message = _message(letter, settings, now)
    try:
        with connect(settings) as server:
            server.send_message(message)
    except (OSError, smtplib.SMTPException, ValueError) as error:
        raise SendError(f"{settings.smtp_host}:{settings.smtp_port}: {reason(error)}") from None


def connect(settings: Settings) -> smtplib.SMTP:
    """Return a connection to the mail server, logged in. Raises OSError and smtplib.SMTPException."""
    context = ssl.create_default_context()
    host, port = settings.smtp_host, settings.smtp_port
    server: smtplib.SMTP
    if settings.smtp_security == "tls":
        server = smtplib.SMTP_SSL(host, port, timeout=TIMEOUT, context=context)
    else:
        server = smtplib.SMTP(host, port, timeout=TIMEOUT)
    try:
        if settings.smtp_security == "starttls":
            server.starttls(context=context)
        if settings.smtp_user and settings.smtp_password is not None:
            server.login(settings.smtp_user, settings.smtp_password.get_secret_value())
    except BaseException:
        server.close()
        raise
    return server


def _message(letter: Letter, settings: Settings, now: dt.datetime) -> EmailMessage:
    message = EmailMessage()
    sender = settings.report_from or f"atlas@{urlsplit(settings.public_url).hostname or 'localhost'}"
    message["Subject"] = letter.subject
    message["From"] = sender
    message["To"] = settings.report_to
    message["Date"] = format_datetime(now)
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2].strip("> ") or "localhost")
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(letter.text, cte="quoted-printable")
    message.add_alternative(letter.html, subtype="html", cte="quoted-printable")
    return message


def reason(error: Exception) -> str:
    """Return what a mail server said, or why there is none, in one line."""
    if isinstance(error, smtplib.SMTPResponseException):
        said = error.smtp_error
        text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        return f"{error.smtp_code} {' '.join(text.split())}"[:200]
    return " ".join((str(error) or type(error).__name__).split())[:200]


def _note(engine: Engine, due: dt.datetime, now: dt.datetime) -> None:
    new = {"value": {"due": due.isoformat()}, "updated_at": now}
    with engine.begin() as conn:
        change = insert(conn, marks).values(name=_MARK, **new)
        conn.execute(change.on_conflict_do_update(index_elements=["name"], set_=new))
