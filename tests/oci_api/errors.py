"""How OCI says no: a status, a code and a message. The messages are OCI's where they are known to us."""


class Refused(Exception):  # noqa: N818
    """An answer that is an error, no fault of the fake. `headers` come with it (Retry-After)."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}


def invalid(message: str) -> Refused:
    return Refused(400, "InvalidParameter", message)


def missing(name: str, where: str) -> Refused:
    return Refused(400, "MissingParameter", f"The required {where} {name} is missing.")


def unparsable(message: str) -> Refused:
    return Refused(400, "CannotParseRequest", message)


def over_limit(*names: str) -> Refused:
    return Refused(
        400,
        "LimitExceeded",
        f"The following service limits were exceeded: {', '.join(names)}. "
        "Request a service limit increase from the service limits page in the console.",
    )


def over_quota(*names: str) -> Refused:
    return Refused(400, "QuotaExceeded", f"The following quotas were exceeded: {', '.join(names)}.")


def not_authenticated(message: str) -> Refused:
    return Refused(401, "NotAuthenticated", message)


def not_home() -> Refused:
    return Refused(
        403, "NotAllowed", "Please go to your home region to execute CREATE, UPDATE and DELETE operations."
    )


def not_found(what: str = "") -> Refused:
    """OCI does not tell what is not there from what one may not see."""
    return Refused(
        404,
        "NotAuthorizedOrNotFound",
        f"Authorization failed or requested resource not found. {what}".strip(),
    )


def conflict(message: str) -> Refused:
    return Refused(409, "Conflict", message)


def wrong_state(message: str) -> Refused:
    return Refused(409, "IncorrectState", message)


def taken(message: str) -> Refused:
    return Refused(409, "NotAuthorizedOrResourceAlreadyExists", message)


def stale_etag() -> Refused:
    return Refused(412, "NoEtagMatch", "The If-Match header does not match the etag of the resource.")


def too_many(retry_after: float | None = None) -> Refused:
    headers = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}
    return Refused(429, "TooManyRequests", "Too many requests for the tenant.", headers)


def broken(message: str = "Internal error.") -> Refused:
    return Refused(500, "InternalError", message)


def no_capacity() -> Refused:
    return broken("Out of host capacity.")
