"""Tries what the settings name: the database, the mail server, and whatever else Atlas was told to ask."""

import imaplib
import smtplib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import sqlalchemy as sa

from atlas.database import migrate
from atlas.database.engine import make_engine
from atlas.enhancing.llm import LlmError, ask
from atlas.report import post
from atlas.settings import Settings
from atlas.sources.mailbox import mailbox


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of trying a connection; `message` never has a secret in it."""

    name: str
    ok: bool
    message: str


def try_all(settings: Settings) -> list[Tried]:
    """Try every connection that is configured."""
    return [_try(name, connect, settings) for name, connect in CONNECTIONS.items() if _WANTED[name](settings)]


def _try(name: str, connect: Callable[[Settings], str], settings: Settings) -> Tried:
    try:
        return Tried(name, ok=True, message=connect(settings))
    except (
        sa.exc.SQLAlchemyError, smtplib.SMTPException, imaplib.IMAP4.error, LlmError, OSError, ValueError
    ) as error:  # fmt: skip
        lines = str(getattr(error, "orig", None) or post.reason(error)).strip().splitlines()
        said = lines[0] if lines else type(error).__name__
        return Tried(name, ok=False, message=_without_secrets(settings, said))


def _without_secrets(settings: Settings, message: str) -> str:
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        plain = value.get_secret_value() if hasattr(value, "get_secret_value") else ""
        if plain:
            message = message.replace(plain, "[secret]")
    return message


def _database(settings: Settings) -> str:
    engine = make_engine(settings)
    try:
        revision = migrate.current(engine)
    finally:
        engine.dispose()
    if revision is None:
        return "answers, and has not been migrated yet: run `atlas migrate`"
    if revision in migrate.older():
        return f"answers, and is behind this release (revision {revision}): run `atlas migrate`"
    return f"answers, at revision {revision}"


def _mail_server(settings: Settings) -> str:
    with post.connect(settings) as server:
        server.noop()
    login = " and lets us in" if settings.smtp_user else ""
    return f"answers{login} ({settings.smtp_host}:{settings.smtp_port}, {settings.smtp_security})"


def _mailbox(settings: Settings) -> str:
    with mailbox(settings):
        return f"lets us in, and the folder {settings.imap_folder} is there"


def _model(settings: Settings) -> str:
    ask(settings, "You are asked whether you are there. Answer with one word.", "Are you there?")
    return f"{settings.llm_model} answers"


CONNECTIONS: Mapping[str, Callable[[Settings], str]] = MappingProxyType(
    {"database": _database, "mail server": _mail_server, "mailbox": _mailbox, "language model": _model}
)
_WANTED: Mapping[str, Callable[[Settings], bool]] = MappingProxyType(
    {
        "database": lambda _: True,
        "mail server": lambda settings: bool(settings.smtp_host),
        "mailbox": lambda settings: bool(settings.imap_host),
        "language model": lambda settings: bool(settings.llm_url and settings.llm_model),
    }
)
