"""What a client sends: query and body together, whichever of three ways the body is written in."""

import json
from collections.abc import Sequence
from email.parser import BytesParser
from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import Depends
from starlette.requests import Request

from atlas.api.errors import Problem
from atlas.api.rows import row_number

#: A client marks thousands of items in one request.
MOST_FIELDS = 20_000


class Params:
    """Names and their values, in order; a name may stand there more than once."""

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            self._values.setdefault(name, []).append(value)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def all(self, name: str) -> list[str]:
        """Return every value of a name."""
        return self._values.get(name, [])

    def get(self, name: str, default: str = "") -> str:
        """Return the last value of a name, as PHP does, for which these clients were written."""
        return self._values[name][-1] if name in self._values else default

    def number(self, name: str, default: int, *, most: int) -> int:
        """Return a whole number between 0 and `most`; the default for what is none."""
        found = row_number(self.get(name))
        return default if found is None else min(found, most)

    def flag(self, name: str) -> bool | None:
        """Return 0 and 1, false and true; None for what is neither."""
        return {"1": True, "true": True, "0": False, "false": False}.get(self.get(name).lower())


def parse(query: str, body: bytes, content_type: str) -> Params:
    """Read query and body. Raises Problem when the body is not what it says it is."""
    kind = content_type.partition(";")[0].strip().lower()
    try:
        pairs = _form(query)
        if not body:
            return Params(pairs)
        if kind == "application/json":
            return Params(pairs + _json(body))
        if kind == "multipart/form-data":
            return Params(pairs + _multipart(body, content_type))
        return Params(pairs + _form(body.decode()))
    except (ValueError, RecursionError):
        raise Problem(400, "invalid_request", "The body of this request cannot be read.") from None


def _form(text: str) -> list[tuple[str, str]]:
    return parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS)


def _json(body: bytes) -> list[tuple[str, str]]:
    """Read a JSON object as if it had been a form."""
    found = json.loads(body)
    if not isinstance(found, dict):
        raise ValueError("no object")  # noqa: TRY004 - as for all that cannot be read
    return [
        (str(name), _text(one))
        for name, value in found.items()
        for one in (value if isinstance(value, list) else [value])
        if one is not None
    ]


def _text(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, bool):
        return str(int(value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _multipart(body: bytes, content_type: str) -> list[tuple[str, str]]:
    message = BytesParser().parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    found = []
    for part in message.walk():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes):
            found.append((name, content.decode()))
    return found


async def _read(request: Request) -> Params:
    return parse(request.url.query, await request.body(), request.headers.get("content-type", ""))


#: What came with a request.
Given = Annotated[Params, Depends(_read)]
