"""Forms: read, and believed only when they come from a page of ours."""

import hmac
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from fastapi import Depends
from starlette.datastructures import UploadFile
from starlette.requests import Request

from atlas.api.errors import Problem
from atlas.api.state import state
from atlas.web.render import form_token

MOST_FIELDS = 500
MOST_FILES = 50


def checked_form(secret: str, body: bytes, content_type: str) -> Mapping[str, str]:
    """Return the fields of a form made for the holder of `secret` (a cookie). Raises Problem."""
    if content_type.partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise Problem(415, "not_a_form", "Only plain HTML forms are accepted here.")
    try:
        fields = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS))
    except ValueError:
        raise Problem(422, "invalid_form", "This form cannot be read.") from None
    _check(secret, fields.get("csrf", ""))
    return fields


def _check(secret: str, given: str) -> None:
    if not secret or not hmac.compare_digest(given.encode(), form_token(secret).encode()):
        raise Problem(403, "stale_form", "This form is out of date. Go back, reload the page and try again.")


async def _form(request: Request) -> Mapping[str, str]:
    secret: str = request.scope["atlas.principal"].secret
    return checked_form(secret, await request.body(), request.headers.get("content-type", ""))


#: The fields of a form sent by whoever is logged in.
Form = Annotated[Mapping[str, str], Depends(_form)]


@dataclass(frozen=True, slots=True)
class Sent:
    """A form with files: its fields, and the files that were chosen, which may lie on the disk."""

    fields: Mapping[str, str]
    files: Sequence[UploadFile]


async def _sent(request: Request) -> AsyncIterator[Sent]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        yield Sent(await _form(request), ())
        return
    most = state(request).settings.upload_max_bytes
    async with request.form(max_files=MOST_FILES, max_fields=MOST_FIELDS, max_part_size=most) as form:
        fields = {name: value for name, value in form.multi_items() if isinstance(value, str)}
        _check(request.scope["atlas.principal"].secret, fields.get("csrf", ""))
        files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        yield Sent(fields, [file for file in files if file.filename])


#: A form with files sent by whoever is logged in.
SentForm = Annotated[Sent, Depends(_sent)]


def local_path(target: str) -> str:
    """Return `target` when it is a path on this site, else "/": no login may end on somebody else's page."""
    if not target.startswith("/") or target[1:2] in ("/", "\\") or not target.isprintable():
        return "/"
    try:
        parts = urlsplit(target)
    except ValueError:
        return "/"
    return "/" if parts.scheme or parts.netloc else target
