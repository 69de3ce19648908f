"""What the cloud holds: resources, their states, and lists of them.

A resource's body is what the API answers, in camelCase. A state that is passed through (PROVISIONING) ends
after a number of looks at it or after a time, whichever is first, as a client's polling would see it.
"""

import base64
import datetime as dt
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.oci_api.errors import invalid, not_found, stale_etag

GLOBAL = {"compartment", "dynamicgroup", "group", "policy", "user", "tenancy", "groupmembership", "quota"}
WORDS = {"TIMECREATED": "timeCreated", "DISPLAYNAME": "displayName", "NAME": "name"}


@dataclass
class Step:
    """A state to come: after `looks` looks at the resource, or at `due`. `then` is called when it does."""

    state: str
    looks: int
    due: dt.datetime
    then: Callable[[], None] | None = None


@dataclass
class Resource:
    """`facts` is what the fake keeps besides what it shows; `unseen` how many reads still miss it."""

    kind: str
    id: str
    body: dict[str, Any]
    state_field: str = "lifecycleState"
    facts: dict[str, Any] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    etag: str = field(default_factory=lambda: secrets.token_hex(8))
    unseen: int = 0

    @property
    def state(self) -> str:
        return str(self.body.get(self.state_field, ""))

    @property
    def is_gone(self) -> bool:
        """Terminated rows stay listed for a while; what is gone neither counts nor stands in the way."""
        return self.state in ("TERMINATED", "DELETED", "DETACHED")

    @property
    def is_going(self) -> bool:
        return self.state in ("TERMINATING", "DELETING", "DETACHING")

    def touch(self) -> None:
        self.etag = secrets.token_hex(8)

    def expect(self, etag: str | None) -> None:
        """Refuse a write that was meant for another version (`if-match`)."""
        if etag and etag not in ("*", self.etag):
            raise stale_etag()


class Store:
    """All resources, by OCID (or another unique name, as a bucket's). Callers hold the server's lock."""

    def __init__(self, region: str, now: Callable[[], dt.datetime]) -> None:
        self.region = region
        self.now = now
        self.rows: dict[str, Resource] = {}
        self.looks = 1
        self.seconds = 1.0
        self.gone_seconds = 30.0
        self._made = 0

    # Names and times

    def ocid(self, kind: str) -> str:
        unique = base64.b32encode(secrets.token_bytes(37)).decode().lower().rstrip("=")
        return f"ocid1.{kind}.oc1.{'' if kind in GLOBAL else self.region}.{'a' * 4}{unique[:56]}"

    def stamp(self) -> str:
        """Each resource a microsecond after the one before, so that sorting by time is their order."""
        self._made += 1
        return (self.now() + dt.timedelta(microseconds=self._made)).isoformat(timespec="microseconds")[
            :-6
        ] + "Z"

    # Reading

    def find(self, ocid: object, *kinds: str) -> Resource | None:
        """The resource if it is there, in its state of now; None as well when it is of another kind."""
        row = self.rows.get(str(ocid))
        if row is None or (kinds and row.kind not in kinds):
            return None
        self.settle(row)
        return row if row.id in self.rows else None

    def get(self, ocid: object, *kinds: str) -> Resource:
        row = self.find(ocid, *kinds)
        if row is None:
            raise not_found()
        return row

    def named(self, ocid: object, *kinds: str) -> Resource:
        """What a body refers to: it must be there and not be gone."""
        row = self.get(ocid, *kinds)
        if row.is_gone or row.is_going:
            raise not_found()
        return row

    def of(self, kind: str, **equal: object) -> Iterator[Resource]:
        """Resources of a kind that are not gone, whose body has these values."""
        for row in [row for row in self.rows.values() if row.kind == kind]:
            self.settle(row)
            if (
                row.id in self.rows
                and not row.is_gone
                and all(row.body.get(key) == value for key, value in equal.items())
            ):
                yield row

    def listed(self, kind: str) -> Iterator[Resource]:
        """Resources of a kind, those gone but still shown among them."""
        for row in [row for row in self.rows.values() if row.kind == kind]:
            self.settle(row)
            if row.id in self.rows:
                yield row

    # Writing

    def add(self, kind: str, body: dict[str, Any], *, ocid: str = "", **facts: object) -> Resource:
        row = Resource(kind, ocid or self.ocid(kind), body, facts=dict(facts))
        body.setdefault("id", row.id)
        body.setdefault("timeCreated", self.stamp())
        self.rows[row.id] = row
        return row

    def remove(self, row: Resource) -> None:
        self.rows.pop(row.id, None)

    def go(
        self, row: Resource, *states: str, then: Callable[[], None] | None = None, looks: int | None = None
    ) -> None:
        """Show the first state now and pass to the next ones by and by; `then` when the last is reached."""
        row.body[row.state_field] = states[0]
        row.touch()
        count = self.looks if looks is None else looks
        row.steps = []
        for number, state in enumerate(states[1:], 1):
            due = self.now() + dt.timedelta(seconds=self.seconds * number)
            row.steps.append(Step(state, count, due, then if number == len(states) - 1 else None))
        if len(states) == 1 and then:
            then()

    def end(self, row: Resource, *states: str, then: Callable[[], None] | None = None) -> None:
        """Pass to the last state, stay listed in it for `gone_seconds`, then vanish."""

        def gone() -> None:
            if then:
                then()
            keep = row.facts.get("gone_seconds", self.gone_seconds)
            row.steps = [Step("", 1 << 30, self.now() + dt.timedelta(seconds=keep))]

        self.go(row, *states, then=gone)

    def settle(self, row: Resource) -> None:
        """Pass to the states whose time has come."""
        now = self.now()
        while row.steps and (row.steps[0].looks <= 0 or row.steps[0].due <= now):
            step = row.steps.pop(0)
            if not step.state:
                self.remove(row)
                return
            row.body[row.state_field] = step.state
            row.touch()
            if step.then:
                step.then()

    def look(self, row: Resource) -> None:
        """A client has seen the resource in its state."""
        if row.steps:
            row.steps[0].looks -= 1

    def hurry(self) -> None:
        """Let all that is under way be done, for tests that do not care how."""
        for row in list(self.rows.values()):
            self.finish(row)

    def finish(self, row: Resource) -> None:
        """Let what is under way with this resource be done."""
        while row.steps and row.steps[0].state:
            row.steps[0].looks = 0
            self.settle(row)


def ordered(rows: list[Resource], query: dict[str, Any]) -> list[Resource]:
    """As `sortBy` and `sortOrder` say: by time, the newest first, unless they say otherwise."""
    word = str(query.get("sortBy", "TIMECREATED")).upper()
    key = WORDS.get(word, WORDS["TIMECREATED"] if word in ("", "TIMECREATED") else str(query.get("sortBy")))
    falling = "DESC" if key == "timeCreated" else "ASC"
    order = str(query.get("sortOrder", falling)).upper()
    return sorted(rows, key=lambda row: str(row.body.get(key, "")), reverse=order == "DESC")


def page(rows: list[Any], query: dict[str, Any], *, most: int = 1000) -> tuple[list[Any], str]:
    """One page and the token of the next one, empty at the end.

    A token not ours is refused, as OCI's are opaque.
    """
    limit = int(query.get("limit", 100))
    if not 1 <= limit <= most:
        raise invalid(f"Invalid query parameter limit: {limit} is not within 1 and {most}.")
    start = 0
    if token := query.get("page"):
        try:
            word, number = base64.urlsafe_b64decode(str(token).encode()).decode().split(":")
            start = int(number)
        except ValueError:
            word = ""
        if word != "page":
            raise invalid(f"Invalid query parameter page: {token} is no page of this list.")
    more = start + limit < len(rows)
    return rows[start : start + limit], base64.urlsafe_b64encode(
        f"page:{start + limit}".encode()
    ).decode() if more else ""
