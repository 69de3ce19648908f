"""Switches for what goes wrong on a real cloud. Set them as attributes, or by `POST /_control`."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.oci_api import errors
from tests.oci_api.errors import Refused


@dataclass
class Trouble:
    """The next `times` requests with this method and path prefix meet it, once `after` of them passed."""

    kind: str
    times: int
    method: str = ""
    path: str = ""
    after: int = 0
    answer: Refused | None = None
    seconds: float = 0.0

    def meets(self, method: str, path: str) -> bool:
        if self.times <= 0 or (self.method and self.method != method) or not path.startswith(self.path):
            return False
        if self.after > 0:
            self.after -= 1
            return False
        self.times -= 1
        return True


@dataclass
class Misbehave:
    """What goes wrong now; nothing, by default.

    no_capacity: availability domains (by their end, `AD-1`, or `*`) that are out of hosts.
    no_shape: shapes that an availability domain does not have: `{"AD-2": ["VM.Standard.A1.Flex"]}`.
    slow_states: looks it takes until a state is reached (then no time does it); None is the store's own pace.
    stale: reads that miss a resource just created: lists are without it, and a GET is 404.
    expired: every request is 401, as with a key that was taken away.
    limits_exceeded: names of service limits that a launch or create runs into, whatever is used.
    propagation: requests of instance principals that are 404 before IAM knows them everywhere.
    clock_skew: seconds the server's clock is ahead.
    federation: what is wrong with tokens: `expired` or `garbage` or `refused`.
    token_seconds: how long a token is good for.
    metadata_down: the metadata service answers 404.
    """

    no_capacity: list[str] = field(default_factory=list)
    no_shape: dict[str, list[str]] = field(default_factory=dict)
    slow_states: int | None = None
    stale: int = 0
    expired: bool = False
    limits_exceeded: list[str] = field(default_factory=list)
    propagation: int = 0
    clock_skew: float = 0.0
    federation: str = ""
    token_seconds: float = 1200.0
    metadata_down: bool = False
    troubles: list[Trouble] = field(default_factory=list)

    def throttle(
        self,
        times: int,
        *,
        method: str = "",
        path: str = "",
        retry_after: float | None = None,
        after: int = 0,
    ) -> None:
        """429 for the next `times` requests, with Retry-After (seconds) if given."""
        self.troubles.append(Trouble("answer", times, method, path, after, errors.too_many(retry_after)))

    def fail(
        self,
        times: int,
        *,
        method: str = "",
        path: str = "",
        after: int = 0,
        status: int = 500,
        code: str = "InternalError",
        message: str = "Internal error.",
    ) -> None:
        """An error for the next `times` requests, before anything is done."""
        self.troubles.append(Trouble("answer", times, method, path, after, Refused(status, code, message)))

    def lose_answer(
        self, times: int = 1, *, method: str = "POST", path: str = "", after: int = 0, seconds: float = 0.0
    ) -> None:
        """The request is done, its answer never comes: the connection closes, after `seconds` of silence."""
        self.troubles.append(Trouble("lose", times, method, path, after, None, seconds))

    def slow_down(
        self, times: int, *, seconds: float, method: str = "", path: str = "", after: int = 0
    ) -> None:
        """The next `times` requests take this much longer."""
        self.troubles.append(Trouble("delay", times, method, path, after, None, seconds))

    def met(self, method: str, path: str) -> Iterator[Trouble]:
        """The troubles this request meets; each is used up by it."""
        for trouble in self.troubles:
            if trouble.meets(method, path):
                yield trouble
        self.troubles = [trouble for trouble in self.troubles if trouble.times > 0]

    def lacks_capacity(self, domain: str) -> bool:
        return any(end == "*" or domain.endswith(end) for end in self.no_capacity)

    def lacks_shape(self, domain: str, shape: str) -> bool:
        return any(
            shape in shapes for end, shapes in self.no_shape.items() if end == "*" or domain.endswith(end)
        )

    def reset(self) -> None:
        """All well again."""
        self.__dict__.update(Misbehave().__dict__)

    def set(self, wanted: dict[str, Any]) -> None:
        """From JSON: attributes by name, and the verbs with their arguments.

        Raises ValueError for an unknown word.
        """
        plain = {item.name for item in dataclasses.fields(self)} - {"troubles"}
        for word, value in wanted.items():
            if word in plain:
                setattr(self, word, value)
            elif word == "reset":
                self.reset()
            elif word in ("throttle", "fail", "lose_answer", "slow_down"):
                getattr(self, word)(**value)
            else:
                raise ValueError(
                    f"no switch {word}; there are {', '.join(sorted(plain))}, reset, throttle, fail, ..."
                )
