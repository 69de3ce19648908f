"""Cookies that open a site for its subscriber: kept by host, sent to that site alone, never shown again.

A host covers those below it. They go out over TLS only, or to a machine that is named by its address.
"""

import datetime as dt
import ipaddress
import re
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from atlas.database.dialect import insert
from atlas.database.tables import site_cookies
from atlas.urls import InvalidUrl, normalise

MAX_LENGTH = 8000

#: As a browser shows it: name=value; name=value
_PAIR = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+=[\x21\x23-\x2b\x2d-\x3a\x3c-\x7e \"]*")


class BadCookies(ValueError):  # noqa: N818
    """What was given are no cookies, or no host; the message says why and repeats nothing."""


def keep(conn: Connection, host: str, cookies: str, *, now: dt.datetime) -> str:
    """Keep the cookies of a host, in place of earlier ones; return the host as it is kept.

    `cookies` is what a browser sends: "name=value; name=value". Raises BadCookies.
    """
    clean = host_of(host)
    pairs = [part.strip() for part in cookies.removeprefix("Cookie:").strip().split(";") if part.strip()]
    if not pairs or not all(_PAIR.fullmatch(pair) for pair in pairs):
        raise BadCookies("Cookies look like this: name=value; name=value.")
    header = "; ".join(pairs)
    if len(header) > MAX_LENGTH:
        raise BadCookies(f"These cookies are longer than {MAX_LENGTH} characters.")
    values = {"cookies": header, "updated_at": now}
    new = insert(conn, site_cookies).values(host=clean, **values)
    conn.execute(new.on_conflict_do_update(index_elements=["host"], set_=values))
    return clean


def hosts(conn: Connection) -> list[dict[str, Any]]:
    """Return which hosts have cookies, and since when: `host`, `updated_at`. Never the cookies."""
    query = sa.select(site_cookies.c.host, site_cookies.c.updated_at).order_by(site_cookies.c.host)
    return [dict(row._mapping) for row in conn.execute(query)]


def remove(conn: Connection, host: str) -> bool:
    """Forget the cookies of a host; False when there are none. Raises BadCookies for what is no host."""
    return conn.execute(site_cookies.delete().where(site_cookies.c.host == host_of(host))).rowcount > 0


def header_for(conn: Connection, url: str) -> str | None:
    """Return what to send as Cookie to `url`, of the nearest host that has some; None: nothing."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "https" and not _is_address(host):
        return None
    labels = host.split(".")
    names = [host] if _is_address(host) else [".".join(labels[i:]) for i in range(len(labels) - 1)]
    query = sa.select(site_cookies.c.host, site_cookies.c.cookies).where(site_cookies.c.host.in_(names))
    found = {row.host: row.cookies for row in conn.execute(query)}
    return next((found[name] for name in names if name in found), None)


def host_of(text: str) -> str:
    """Return a host as it is kept. Raises BadCookies."""
    try:
        host = normalise(text if "//" in text else f"https://{text.strip()}")[2]
    except InvalidUrl as error:
        raise BadCookies(str(error)) from None
    if "." not in host and not _is_address(host):
        raise BadCookies("Name the whole host, such as example.org.")
    return host


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
