"""What all pages behind the login share: rendering for who is there, redirects, numbers from addresses."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from atlas import accounts
from atlas.api.auth import principal
from atlas.api.errors import Problem
from atlas.api.rows import row_number
from atlas.api.state import state
from atlas.database.engine import read
from atlas.web.forms import local_path
from atlas.web.look import look


def page(
    request: Request, template: str, *, here: str = "", status: int = 200, **context: object
) -> Response:
    """Render a page for whoever is logged in, the way they like it (asks the database)."""
    parts = state(request)
    who = principal(request)
    with read(parts.engine) as conn:
        liked = look(accounts.preferences(conn, who.user_id))
    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return parts.pages.answer(
        template,
        now=parts.clock(),
        secret=who.secret,
        here=here,
        status=status,
        user=who.name,
        role=who.role,
        look=liked,
        path=path,
        **context,
    )


def see(path: str) -> Response:
    """Send the browser on after a form."""
    return RedirectResponse(path, 303)


def back(form: Mapping[str, str], default: str) -> Response:
    """Send the browser where the form says it came from: a page of ours, or `default`."""
    return see(local_path(form.get("next", "") or default))


def number(request: Request, name: str) -> int | None:
    """Return a number from the query; None when there is none, or none that could be an id."""
    return row_number(request.query_params.get(name, ""))


def numbers(text: str) -> list[int]:
    """Return the numbers in a field of a form that holds several."""
    return [one for part in text.split()[:500] if (one := row_number(part)) is not None]


def found(row: dict[str, Any] | None) -> dict[str, Any]:
    """Return what was looked up; raises Problem 404 when that is nothing."""
    if row is None:
        raise Problem(404, "not_found", "There is nothing with this number.")
    return row


def keep(request: Request, answer: Response, title: str) -> Response:
    """Let the reader's own browser keep a page to be read without a network (`static/sw.js`)."""
    answer.headers["X-Atlas-Keep"] = str(principal(request).user_id)
    answer.headers["X-Atlas-Title"] = quote(title[:200])
    return answer
