"""Every setting of Atlas, from one validated source: environment (`ATLAS_*`), `.env`, a directory of secrets.

Secrets are files named like the option (`database_password`) in `$CREDENTIALS_DIRECTORY` (what systemd hands
to a unit) or else in `$ATLAS_SECRETS_DIR`. The environment wins over `.env`, and that over the secrets.
"""

import difflib
import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import sqlalchemy as sa
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings import SettingsError as SourceError

from atlas import __version__

PREFIX = "ATLAS_"
SECRETS_DIR = "ATLAS_SECRETS_DIR"

#: Without line breaks and spaces: nothing may come into a header by it.
_MAIL_ADDRESS = re.compile(r"[^\s@<>,;\"]+@[\w.-]+")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class SettingsError(Exception):
    """Atlas cannot start with these settings. `problems` has a sentence for each wrong option."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Settings(BaseSettings):
    """What Atlas is told from outside. Use `load_settings` to read it; build it directly only in tests."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        allow_inf_nan=False,
    )

    data_dir: Path = Field(
        default=Path("var"), description="Directory of the SQLite database and the kept originals."
    )
    database_url: str = Field(
        default="",
        description="Database, as an SQLAlchemy URL (postgresql+psycopg://atlas@127.0.0.1/atlas). Empty: "
        "SQLite, in atlas.db below the data directory.",
    )
    database_password: SecretStr | None = Field(
        default=None, description="Password for the database, kept out of the URL. PostgreSQL only."
    )
    public_url: str = Field(
        default="http://127.0.0.1:7444",
        description="Where people reach Atlas. With https:// the session cookie is sent over TLS only.",
    )
    api_host: str = Field(default="127.0.0.1", min_length=1, description="Address the API listens on.")
    api_port: int = Field(default=7444, ge=1, le=65535, description="Port the API listens on.")
    owner_name: str = Field(
        default="owner", min_length=1, max_length=100, description="Login name of the owner."
    )
    owner_password: SecretStr | None = Field(
        default=None,
        description="Password `atlas migrate` gives the owner's account. Empty: the account is left alone.",
    )
    session_days: int = Field(default=7, ge=1, le=365, description="Days a login lasts without being used.")
    oidc_client_id: str = Field(default="", description="What the provider calls this Atlas.")
    oidc_issuer: str = Field(
        default="",
        description="Address of an OpenID Connect provider people may log in at. Empty: none. The provider "
        "must know the address PUBLIC_URL/login/oidc/callback.",
    )
    oidc_client_secret: SecretStr | None = Field(
        default=None,
        description="Secret this Atlas shares with the provider. Empty: the provider wants none.",
    )
    oidc_users: str = Field(
        default="",
        description="Who may log in by the provider, comma separated: anna@example.org (becomes a member of "
        "that name at the first login) or anna@example.org=owner (opens the account called owner).",
    )
    proxy_login_networks: Annotated[list[Network], NoDecode] = Field(
        default=[],
        description="Networks of that proxy, comma separated. The header means nothing from anywhere else.",
    )
    proxy_login_header: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9-]*$",
        description="Header by which a proxy that logs people in says who it is (Remote-User). Empty: none.",
    )
    door_key: SecretStr | None = Field(
        default=None,
        min_length=32,
        description="Key shared with the nginx before Atlas. With one, what a request says of where it comes "
        "from (X-Forwarded-For, X-Forwarded-Proto) counts only if it brings the key, too (Door-Key).",
    )
    door_directory: Path | None = Field(
        default=None,
        description="Directory in which that nginx looks up which browsers are logged in, and does not ask "
        "those for its own password. Such a browser is given a cookie made with the key. Empty: none is.",
    )
    allowed_networks: Annotated[list[Network], NoDecode] = Field(
        default=[],
        description="Private networks Atlas may fetch from, comma separated (192.168.1.0/24). All others are "
        "refused, so that no page can make Atlas ask machines only it can reach.",
    )
    user_agent: str = Field(
        default=f"Atlas/{__version__} (+private reader)",
        min_length=1,
        description="How Atlas names itself to websites.",
    )
    fetch_max_bytes: int = Field(
        default=20_000_000, ge=10_000, description="Largest body fetched, in bytes, unpacked."
    )
    import_max_bytes: int = Field(
        default=2_000_000_000, ge=1_000_000, description="Largest file taken for an import, in bytes."
    )
    fetch_timeout_seconds: float = Field(
        default=30, gt=0, le=600, description="Longest whole fetch, redirects included."
    )
    fetch_connect_timeout_seconds: float = Field(
        default=10, gt=0, le=600, description="Longest wait for a connection."
    )
    fetch_max_redirects: int = Field(default=5, ge=0, le=20, description="Redirects followed in one fetch.")
    host_delay_seconds: float = Field(
        default=1, ge=0, le=3600, description="Pause between two fetches from one host."
    )
    max_attempts: int = Field(
        default=5, ge=1, le=100, description="Tries before an item goes to the dead letters."
    )
    retry_base_seconds: float = Field(
        default=60, gt=0, description="Wait before the second try; it grows with each further."
    )
    wayback_enabled: bool = Field(
        default=True,
        description="Whether the Wayback Machine is asked for a copy of a page that is gone or closed.",
    )
    wayback_url: str = Field(
        default="https://archive.org/wayback/available",
        description="Where the Wayback Machine says whether it has a copy.",
    )
    search_provider: Literal["", "searxng", "brave", "google"] = Field(
        default="",
        description="Search engine asked for the same article elsewhere when its own site does not give it. "
        "Empty: none. Google only for those who have a key already.",
    )
    search_url: str = Field(
        default="",
        validate_default=True,
        description="Where the search engine answers; SearXNG needs it (https://searx.example/search). "
        "Empty: the provider's own.",
    )
    search_key: SecretStr | None = Field(
        default=None, validate_default=True, description="Key for the search engine."
    )
    search_engine_id: str = Field(default="", description="Google only: the search engine's id (cx).")
    search_daily_quota: int = Field(
        default=100, ge=0, description="Questions put to the search engine in a day (UTC) at most."
    )
    dead_letter_days: int = Field(
        default=7,
        ge=0,
        le=365,
        description="Days on which a failed item is tried again by itself, once a day; 0: never.",
    )
    worker_threads: int = Field(default=4, ge=1, le=64, description="Items a worker handles at once.")
    reader_processes: int = Field(
        default=1, ge=1, le=64, description="Processes that read pages (one core each)."
    )
    reader_timeout_seconds: float = Field(
        default=20, gt=0, le=600, description="Longest reading of one page."
    )
    reader_memory_mb: int = Field(
        default=1024, ge=256, description="Most memory a reading process may take, in MiB."
    )
    lease_seconds: float = Field(
        default=30,
        ge=3,
        le=3600,
        description="How long an item stays with a worker that went silent before another takes it.",
    )
    imap_host: str = Field(
        default="", max_length=253, description="Mail server (IMAP) whose folder is watched. Empty: none."
    )
    imap_port: int = Field(default=993, ge=1, le=65535, description="Its port.")
    imap_tls: Literal["tls", "starttls", "none"] = Field(
        default="tls",
        description="How it is spoken to: tls (port 993), starttls (143), none (this machine only).",
    )
    imap_user: str = Field(default="", description="Login name at the mail server.")
    imap_password: SecretStr | None = Field(default=None, description="Password at the mail server.")
    imap_folder: str = Field(default="INBOX", min_length=1, description="Folder that is watched.")
    imap_attachments: bool = Field(default=True, description="Whether PDF files in mails are kept as well.")
    llm_url: str = Field(
        default="",
        description="Language model that writes summaries: the base of an API as OpenAI's (https://host/v1). "
        "Empty: none. It gets the texts of articles.",
    )
    llm_model: str = Field(default="", description="Name of the model.")
    llm_api_key: SecretStr | None = Field(default=None, description="Key for the model's API.")
    llm_timeout_seconds: float = Field(default=60, gt=0, le=600, description="Longest wait for a summary.")
    llm_daily_quota: int = Field(default=100, ge=0, description="Most summaries asked for in a day (UTC).")
    llm_monthly_quota: int = Field(
        default=1000, ge=0, description="Most summaries asked for in a month (UTC)."
    )
    upload_max_bytes: int = Field(
        default=20_000_000, ge=1_000_000, description="Largest file or page handed in, in bytes."
    )
    max_queue_size: int = Field(
        default=1000, ge=1, description="Waiting items beyond which new ones are refused for a while."
    )
    feed_interval_seconds: int = Field(
        default=3600, ge=60, description="How often a feed is asked, in seconds."
    )
    smtp_host: str = Field(
        default="", description="Mail server that takes the weekly report. Empty: none is sent."
    )
    smtp_port: int = Field(default=587, ge=1, le=65535, description="Port of the mail server.")
    smtp_security: Literal["starttls", "tls", "none"] = Field(
        default="starttls",
        description="How the mail server is spoken to: TLS after a plain beginning (starttls, port 587), "
        "from the first byte (tls, port 465), or not at all (none: for a server on this machine).",
    )
    smtp_user: str = Field(default="", description="Login name at the mail server. Empty: without a login.")
    smtp_password: SecretStr | None = Field(default=None, description="Password at the mail server.")
    report_from: str = Field(
        default="", description="Sender of the weekly report. Empty: atlas@ the host of the public URL."
    )
    report_to: str = Field(default="", description="Who gets the weekly report. Empty: nobody.")
    report_weekday: Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"] = (
        Field(default="monday", description="Day of the week the report is sent.")
    )
    report_hour: int = Field(default=6, ge=0, le=23, description="Hour the report is sent, in UTC.")
    youtube_proxy: SecretStr | None = Field(
        default=None,
        description="Proxy by which YouTube is asked for subtitles (http://name:password@host:port), as it "
        "refuses most addresses of data centres. Nothing else goes through it.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe message logged."
    )
    log_format: Literal["json", "console"] = Field(
        default="json", description="Log lines for machines (json) or for people (console)."
    )

    @classmethod
    def settings_customise_sources(  # noqa: D102
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        directory = _secrets_directory(os.environ)
        secrets = (
            [SecretsSettingsSource(settings_cls, secrets_dir=directory, env_prefix="")] if directory else []
        )
        return (init_settings, env_settings, dotenv_settings, *secrets)

    @field_validator("allowed_networks", "proxy_login_networks", mode="before")
    @classmethod
    def _split_networks(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return [_network(part.strip()) for part in value.split(",") if part.strip()]

    @field_validator("llm_url")
    @classmethod
    def _check_llm_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in {"http", "https"} or not parts.hostname):
            raise ValueError("must start with http:// or https:// and name a host")
        return value.rstrip("/")

    @field_validator("imap_tls")
    @classmethod
    def _check_imap_tls(cls, value: str, info: ValidationInfo) -> str:
        if value == "none" and info.data.get("imap_host", "") not in {"", "localhost", "127.0.0.1", "::1"}:
            raise ValueError("must be tls or starttls for a server on another machine")
        return value

    @field_validator("public_url")
    @classmethod
    def _check_public_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("must start with http:// or https:// and name a host")
        return value.rstrip("/")

    @field_validator("oidc_issuer")
    @classmethod
    def _check_issuer(cls, value: str, info: ValidationInfo) -> str:
        parts = urlsplit(value)
        is_here = parts.hostname in {"localhost", "127.0.0.1", "::1"}
        if value and not (
            parts.hostname and (parts.scheme == "https" or (parts.scheme == "http" and is_here))
        ):
            raise ValueError("must start with https://, or its keys could be anybody's")
        if value and not info.data.get("oidc_client_id"):
            raise ValueError("needs ATLAS_OIDC_CLIENT_ID as well")
        return value

    @field_validator("oidc_users")
    @classmethod
    def _check_oidc_users(cls, value: str) -> str:
        if any(
            not part.strip() for entry in value.split(",") if entry.strip() for part in entry.split("=", 1)
        ):
            raise ValueError("must list names, or name=account")
        return value

    @field_validator("proxy_login_header")
    @classmethod
    def _check_proxy_login(cls, value: str, info: ValidationInfo) -> str:
        if value and not info.data.get("proxy_login_networks"):
            raise ValueError("needs ATLAS_PROXY_LOGIN_NETWORKS to say where that proxy is")
        return value

    @field_validator("wayback_url", "search_url")
    @classmethod
    def _check_endpoint(cls, value: str, info: ValidationInfo) -> str:
        if value and (urlsplit(value).scheme not in {"http", "https"} or not urlsplit(value).hostname):
            raise ValueError("must start with http:// or https:// and name a host")
        if info.field_name == "search_url" and info.data.get("search_provider") == "searxng" and not value:
            raise ValueError("must name your SearXNG when the search provider is searxng")
        return value

    @field_validator("search_key")
    @classmethod
    def _check_search_key(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        provider = info.data.get("search_provider")
        if provider in {"brave", "google"} and value is None:
            raise ValueError(f"is needed when the search provider is {provider}")
        return value

    @field_validator("database_url")
    @classmethod
    def _check_database_url(cls, value: str) -> str:
        if not value:
            return value
        try:
            url = sa.make_url(value)
        except sa.exc.ArgumentError:
            raise ValueError("is not a database URL") from None
        if url.drivername not in {"sqlite", "postgresql+psycopg"}:
            raise ValueError(f"must start with sqlite:/// or postgresql+psycopg://, not {url.drivername}://")
        if not url.database or url.database == ":memory:":
            raise ValueError("must name a database; one in memory would be another for every connection")
        return value

    @field_validator("report_from", "report_to")
    @classmethod
    def _check_address(cls, value: str, info: ValidationInfo) -> str:
        if value and (not _MAIL_ADDRESS.fullmatch(value)):
            raise ValueError("must be one mail address, such as me@example.org")
        if value and info.field_name == "report_to" and not info.data.get("smtp_host"):
            raise ValueError(f"needs a mail server that takes it: set {PREFIX}SMTP_HOST")
        return value

    @property
    def secure_cookies(self) -> bool:
        """Whether people reach Atlas by TLS, so that cookies must not travel without it."""
        return self.public_url.startswith("https://")

    def oidc_accounts(self) -> dict[str, tuple[str, bool]]:
        """Return who may log in by the provider: by name, the account and whether it was named as well."""
        found = {}
        for entry in self.oidc_users.split(","):
            name, is_mapped, account = (part.strip() for part in entry.partition("="))
            if name:
                found[name.casefold()] = (account or name, bool(is_mapped))
        return found

    def database(self) -> sa.URL:
        """Return the URL of the database with the password in it. SQLAlchemy masks it when printed."""
        if not self.database_url:
            return sa.URL.create("sqlite", database=str(self.data_dir.absolute() / "atlas.db"))
        url = sa.make_url(self.database_url)
        if self.database_password is not None and url.get_backend_name() == "postgresql":
            url = url.set(password=self.database_password.get_secret_value())
        return url


def load_settings() -> Settings:
    """Read the settings of this process; raise SettingsError naming each option that is wrong."""
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError([_sentence(problem) for problem in error.errors(include_url=False)]) from None
    except (SourceError, OSError) as error:
        raise SettingsError([f"The settings cannot be read: {error}."]) from None


def unknown_options(environ: Mapping[str, str]) -> list[str]:
    """Return one sentence for each `ATLAS_*` variable, also of .env, that is no option, with the nearest.

    They are no error: after a rollback the environment still has the options of the newer release.
    """
    given = {*environ, *(name.upper() for name in DotEnvSettingsSource(Settings).env_vars)}
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    sentences = []
    for name in sorted(given):
        if name.upper().startswith(PREFIX) and name.upper() not in {*known, SECRETS_DIR}:
            near = difflib.get_close_matches(name.upper(), known, n=1)
            sentences.append(f"{name} is not an option" + (f"; did you mean {near[0]}?" if near else "."))
    return sentences


def _secrets_directory(environ: Mapping[str, str]) -> str | None:
    directory = environ.get("CREDENTIALS_DIRECTORY") or environ.get(SECRETS_DIR)
    if directory and not Path(directory).is_dir():
        raise SettingsError([f"{SECRETS_DIR} must name a directory, but is {directory!r}."])
    return directory or None


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise ValueError(f"must list networks such as 192.168.1.0/24; {text!r} is none") from None


#: Secrets, and what the reason tells already.
_NOT_REPEATED = frozenset(
    {
        "search_key",
        "database_password",
        "door_key",
        "owner_password",
        "smtp_password",
        "database_url",
        "allowed_networks",
        "oidc_client_secret",
        "proxy_login_networks",
        "youtube_proxy",
    }
)


def _sentence(problem: ErrorDetails) -> str:
    """Say which option is wrong and why, without repeating what may be secret."""
    name = str(problem["loc"][0])
    reason = problem["msg"].removeprefix("Value error, ").removeprefix("Input ").partition(", unable")[0]
    reason = reason.replace("should", "must", 1).replace("String must", "must", 1)
    given = "" if name in _NOT_REPEATED else f", but is {str(problem['input'])[:80]!r}"
    return f"{PREFIX}{name.upper()} {reason}{given}."
