"""What can go wrong when another machine is asked for something, in words its reader understands."""


class FetchError(Exception):
    """A fetch that brought nothing.

    `code` is for programs (`timeout`, `http_404`, ...), `message` for people, `retry` says whether trying
    again later can help, `retry_after` how many seconds the site asked us to wait (at most a day), `status`
    the HTTP status when the site answered at all.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        retry: bool = False,
        retry_after: float | None = None,
        status: int | None = None,
    ) -> None:
        # Parts of it come from outside: nothing in it may upset a terminal, a log or a database.
        message = "".join(character if character.isprintable() else "?" for character in message)
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry = retry
        self.retry_after = retry_after
        self.status = status
