"""Forms: read, and believed only when they come from a page of ours."""

import hmac
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from fastapi import Depends
from starlette.requests import Request

from atlas.api.errors import Problem
from atlas.web.render import form_token

MOST_FIELDS = 50


def checked_form(secret: str, body: bytes, content_type: str) -> Mapping[str, str]:
    """Return the fields of a form made for the holder of `secret` (a cookie). Raises Problem."""
    if content_type.partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise Problem(415, "not_a_form", "Only plain HTML forms are accepted here.")
    try:
        fields = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS))
    except ValueError:
        raise Problem(422, "invalid_form", "This form cannot be read.") from None
    given = fields.get("csrf", "")
    if not secret or not hmac.compare_digest(given.encode(), form_token(secret).encode()):
        raise Problem(403, "stale_form", "This form is out of date. Go back, reload the page and try again.")
    return fields


async def _form(request: Request) -> Mapping[str, str]:
    secret: str = request.scope["atlas.principal"].secret
    return checked_form(secret, await request.body(), request.headers.get("content-type", ""))


#: The fields of a form sent by whoever is logged in.
Form = Annotated[Mapping[str, str], Depends(_form)]


def local_path(target: str) -> str:
    """Return `target` when it is a path on this site, else "/": no login may end on somebody else's page."""
    if not target.startswith("/") or target[1:2] in ("/", "\\") or not target.isprintable():
        return "/"
    try:
        parts = urlsplit(target)
    except ValueError:
        return "/"
    return "/" if parts.scheme or parts.netloc else target
