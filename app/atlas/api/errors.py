"""What goes wrong, as an answer: `{"error": {"code", "message", "id"}}` to programs, a page to people."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Scope

from atlas.patience import is_outage
from atlas.urls import InvalidUrl

#: Seconds after which asking a database that is away once more is worth it.
DATABASE_RETRY_SECONDS = 5


class ErrorBody(BaseModel):
    """What went wrong."""

    code: str = Field(description="A word for programs, which does not change.", examples=["invalid_url"])
    message: str = Field(description="A sentence for people.")
    id: str = Field(description="The request's id, under which the log tells more.")


class ErrorAnswer(BaseModel):
    """The answer to a request that failed."""

    error: ErrorBody


class Problem(Exception):  # noqa: N818 - most are not errors of ours
    """A request that ends here, with a status, a code for programs and a sentence for people."""

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})


def problem_of(error: Exception) -> Problem:
    """Say what an exception means to the one who asked; what nobody expected is a 500 without its details."""
    match error:
        case Problem():
            return error
        case InvalidUrl():
            return Problem(422, "invalid_url", str(error))
        case RequestValidationError():
            return Problem(422, "invalid_request", " ".join(map(_sentence, error.errors())))
        case HTTPException():
            return _of_http(error)
        case _ if is_outage(error):
            return Problem(
                503,
                "database_unavailable",
                "The database does not answer right now. Try again in a few seconds.",
                {"Retry-After": str(DATABASE_RETRY_SECONDS)},
            )
        case _:
            return Problem(
                500, "internal_error", "Something broke inside Atlas. The log has the details under this id."
            )


def json_answer(problem: Problem, error_id: str) -> Response:
    """Return the answer a program gets."""
    body = {"error": {"code": problem.code, "message": problem.message, "id": error_id}}
    return JSONResponse(body, problem.status, problem.headers)


def client_answer(client: str, problem: Problem, error_id: str) -> Response:
    """Return the answer a program written for another system gets: in the form that system would use."""
    if client == "wallabag":
        body: dict[str, Any] = {"error": problem.code, "error_description": problem.message}
        return JSONResponse(body, problem.status, problem.headers)
    if client == "fever":
        body = {"api_version": 3, "auth": int(problem.status != 401), "error": problem.message}
        return JSONResponse(body, problem.status, problem.headers)
    name = "BadAuthentication" if problem.status == 401 else problem.code
    headers = {**problem.headers, **({"Google-Bad-Token": "true"} if problem.status == 401 else {})}
    text = f"Error={name}\n{problem.message} ({error_id})\n"
    return PlainTextResponse(text, problem.status, headers)


def wants_page(scope: Scope) -> bool:
    """Tell whether a person is looking: a browser asks for HTML, and not below /api/."""
    if scope["path"].startswith("/api/"):
        return False
    accept = next((value for name, value in scope["headers"] if name == b"accept"), b"")
    return b"text/html" in accept


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the `responses=` of a route that may answer with these error statuses."""
    return {status: {"model": ErrorAnswer, "description": _PHRASES[status]} for status in statuses}


_PHRASES = {
    401: "No token or session, or one that is no longer valid.",
    403: "The token may not do this, or the request came from another site.",
    404: "There is nothing by that id.",
    409: "It is there already.",
    413: "The body is too large.",
    422: "Something in the request is missing or wrong; the message says what.",
    429: "Too much is waiting; `Retry-After` says when to come back.",
    503: "The database is away; `Retry-After` says when to come back.",
    507: "The disk is full.",
}

_HTTP_CODES = {
    404: ("not_found", "There is nothing at this address."),
    405: ("method_not_allowed", "This address does not answer that method."),
    413: ("too_large", "The request is too large."),
}


_SHOULD = re.compile(r"^\w+ should ")  # pydantic's "Input should be ...", "String should have ..."


def _of_http(error: HTTPException) -> Problem:
    code, message = _HTTP_CODES.get(error.status_code, ("", ""))
    if not code:
        phrase = HTTPStatus(error.status_code).phrase
        code, message = phrase.lower().replace(" ", "_"), str(error.detail or phrase)
    return Problem(error.status_code, code, message, error.headers)


def _sentence(problem: Mapping[str, Any]) -> str:
    """Turn one of pydantic's findings into a sentence that names the field as the caller wrote it."""
    where = [str(part) for part in problem["loc"] if part not in ("body", "query", "path")]
    name = f"“{'.'.join(where)}”" if where else "The body"
    kind = problem["type"]
    if kind == "json_invalid":
        return "The body is not valid JSON."
    if kind == "missing":
        return f"{name} is missing." if where else "The body is missing; send JSON."
    if kind in ("model_attributes_type", "dict_type"):
        return f"{name} must be a JSON object (Content-Type: application/json)."
    if kind == "extra_forbidden":
        return f"{name} is not known here."
    must = _SHOULD.sub("must ", str(problem["msg"]).removeprefix("Value error, "))
    return f"{name} {must}." if must.startswith("must ") else f"{name} is wrong: {must}."
