"""A request on its way, and the handlers of operations.

Plain kinds (create, get, list, update, delete of one noun) are a `Kind`: what is special about one is in
its hooks. What is no plain kind is a function with
`@handles("core.add_network_security_group_security_rules")`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.oci_api import errors
from tests.oci_api.signing import Principal
from tests.oci_api.store import Resource, ordered, page
from tests.oci_api.tables import Field, Operation, models, operations

if TYPE_CHECKING:
    from tests.oci_api.server import FakeOci

SORTS = {"limit", "page", "sortBy", "sortOrder"}


@dataclass
class Call:
    """A request that is known, allowed and well-formed.

    `body` is parsed JSON, or the raw bytes of an upload.
    """

    cloud: "FakeOci"
    operation: Operation
    principal: Principal
    path: dict[str, str]
    query: dict[str, Any]
    headers: dict[str, str]
    body: Any

    def header(self, name: str) -> str | None:
        return self.headers.get(name.lower())


@dataclass
class Answer:
    """`body` None is no body (204, unless a status is given)."""

    body: Any = None
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)


Handler = Callable[[Call], Answer]
HANDLERS: dict[str, Handler] = {}


def handles(*names: str) -> Callable[[Handler], Handler]:
    """This function answers these operations. Raises KeyError for one that is not in the tables."""

    def note(function: Handler) -> Handler:
        for name in names:
            operations()[name]
            HANDLERS[name] = function
        return function

    return note


def one(row: Resource, status: int = 200, **headers: str) -> Answer:
    """An answer that is this resource."""
    return Answer(
        row.body,
        status,
        {"etag": row.etag, **{key.replace("_", "-"): value for key, value in headers.items()}},
    )


def many(rows: list[Any], query: dict[str, Any]) -> Answer:
    """A page of these."""
    shown, following = page(rows, query)
    return Answer(shown, 200, {"opc-next-page": following} if following else {})


Hook = Callable[[Call, Resource], None]


@dataclass
class Kind:
    """A noun of the API whose operations are the usual ones.

    name: the word in its OCIDs. noun, plural: as in the operations. states: on the way, ready, going, gone.
    unique: the field whose value no two may share (within the compartment). home: writes go to the home
    region only.
    before: checks and completes the body of a create. after: does what comes with it. changing: checks (and
    may take fields out of) the body of an update. going: refuses a delete or prepares it. ended: what a
    finished delete takes along.
    """

    service: str
    name: str
    noun: str
    plural: str = ""
    states: tuple[str, ...] = ("PROVISIONING", "AVAILABLE", "TERMINATING", "TERMINATED")
    state_field: str = "lifecycleState"
    unique: str = ""
    home: bool = False
    default_name: bool = True
    before: Callable[[Call, dict[str, Any]], None] | None = None
    after: Hook | None = None
    changing: Callable[[Call, Resource, dict[str, Any]], None] | None = None
    changed: Hook | None = None
    going: Hook | None = None
    ended: Hook | None = None
    gone_seconds: float | None = None
    delete_status: int = 204

    def __post_init__(self) -> None:
        self.plural = self.plural or f"{self.noun}s"
        verbs = {
            "create": self.create,
            "get": self.get,
            "list": self.list,
            "update": self.update,
            "delete": self.delete,
        }
        for verb, function in verbs.items():
            operation = f"{self.service}.{verb}_{self.plural if verb == 'list' else self.noun}"
            if operation in operations():
                HANDLERS[operation] = function
        KINDS[self.name] = self

    def row(self, call: Call) -> Resource:
        """The resource in the path, seen by the client. The last path parameter is its OCID."""
        return seen(call, call.cloud.store.get(list(call.path.values())[-1], self.name))

    # The five verbs

    def create(self, call: Call) -> Answer:
        cloud, body = call.cloud, dict(call.body)
        if self.home:
            cloud.at_home()
        if known := replayed(call):
            return one(known)
        compartment(call, body.get("compartmentId"))
        self.refuse_twin(call, body)
        answer = models()[call.operation.answer].fields
        check_enums(body, answer)
        if self.before:
            self.before(call, body)
        if "displayName" in answer and self.default_name and not body.get("displayName"):
            body["displayName"] = (
                f"{self.noun.replace('_', '')}{cloud.store.stamp()[:19].replace('-', '').replace(':', '')}"
            )
        tag(call, body, answer)
        row = cloud.store.add(self.name, body)
        row.state_field = self.state_field
        if self.gone_seconds is not None:
            row.facts["gone_seconds"] = self.gone_seconds
        self.ready(call, row)
        if self.after:
            self.after(call, row)
        remember(call, row)
        return one(row)

    def ready(self, call: Call, row: Resource) -> None:
        call.cloud.store.go(row, *dict.fromkeys(self.states[:2]), looks=call.cloud.misbehave.slow_states)
        slow(call, row)

    def get(self, call: Call) -> Answer:
        return one(self.row(call))

    def list(self, call: Call) -> Answer:
        compartment(call, call.query.get("compartmentId"))
        return many([row.body for row in self.matching(call)], call.query)

    def matching(self, call: Call) -> "list[Resource]":
        """All that the query's filters leave, in order.

        Filters are parameters named as a field of the answer.
        """
        known = models()[call.operation.answer.removeprefix("list[").removesuffix("]")].fields
        wanted = {key: value for key, value in call.query.items() if key in known and key not in SORTS}
        rows = [
            row
            for row in call.cloud.store.listed(self.name)
            if all(same(row.body.get(k), v) for k, v in wanted.items())
        ]
        found = []
        for row in ordered(rows, call.query):
            call.cloud.store.look(row)
            if row.unseen > 0:
                row.unseen -= 1
            else:
                found.append(row)
        return found

    def update(self, call: Call) -> Answer:
        if self.home:
            call.cloud.at_home()
        row = self.row(call)
        row.expect(call.header("if-match"))
        if row.is_gone:
            raise errors.not_found()
        if row.is_going or row.state == self.states[0] != self.states[1]:
            raise errors.wrong_state(f"The {words(self.noun)} {row.id} is in the state {row.state}.")
        body = {key: value for key, value in call.body.items() if value is not None}
        check_enums(body, models()[call.operation.answer].fields)
        if self.changing:
            self.changing(call, row, body)
        if self.unique and body.get(self.unique, row.body.get(self.unique)) != row.body.get(self.unique):
            self.refuse_twin(call, row.body | body)
        row.body.update(body)
        row.touch()
        if self.changed:
            self.changed(call, row)
        return one(row)

    def delete(self, call: Call) -> Answer:
        if self.home:
            call.cloud.at_home()
        row = self.row(call)
        if row.is_gone:
            raise errors.not_found()
        row.expect(call.header("if-match"))
        if row.is_going:
            return Answer()
        if self.going:
            self.going(call, row)
        self.end(call, row)
        return Answer(status=self.delete_status)

    def end(self, call: Call, row: Resource) -> None:
        """Pass to the end; a kind with no state on the way to it is gone at once."""
        forget(call, row)
        ended = self.ended

        def last() -> None:
            if ended:
                ended(call, row)

        if len(self.states) < 4:
            last()
            call.cloud.store.remove(row)
        else:
            call.cloud.store.end(row, *self.states[2:], then=last)
            slow(call, row)

    def refuse_twin(self, call: Call, body: dict[str, Any]) -> None:
        if not self.unique:
            return
        for row in call.cloud.store.of(self.name, compartmentId=body.get("compartmentId")):
            if str(row.body.get(self.unique)).lower() == str(body.get(self.unique)).lower():
                raise errors.taken(
                    f"{words(self.noun).capitalize()} with {self.unique} {body.get(self.unique)} already "
                    "exists, or you are not authorized to see it."
                )


KINDS: dict[str, Kind] = {}


def check_enums(body: dict[str, Any], answer: dict[str, Field]) -> None:
    """Some enums the SDK knows of answers only; OCI refuses others in requests as well."""
    for key, value in body.items():
        want = answer.get(key)
        if want and want.enum and isinstance(value, str) and value not in want.enum:
            raise errors.invalid(f"{key}: {value} is none of {', '.join(want.enum)}.")


def words(noun: str) -> str:
    return noun.replace("_", " ")


def same(value: object, wanted: object) -> bool:
    if isinstance(wanted, bool) or isinstance(value, bool):
        return bool(value) == wanted
    if isinstance(wanted, str) and isinstance(value, str) and re.fullmatch(r"[A-Z_]+", value):
        return value == wanted.upper()  # states are taken in any case
    if isinstance(wanted, list):
        return value in wanted
    return value == wanted


def seen(call: Call, row: Resource) -> Resource:
    """What a GET finds: 404 while the resource is too fresh, then its state. A look nears the next."""
    if row.unseen > 0:
        row.unseen -= 1
        raise errors.not_found()
    call.cloud.store.look(row)
    return row


def slow(call: Call, row: Resource) -> None:
    """With the switch `slow_states`, states pass after that many looks, and by no time."""
    looks = call.cloud.misbehave.slow_states
    if looks is not None:
        for step in row.steps:
            step.looks = looks
            step.due = call.cloud.now().replace(year=9000)


def compartment(call: Call, ocid: object) -> None:
    """Refuse a compartment that is not there (or gone): one sees no other."""
    if ocid is None or ocid == call.cloud.tenancy:
        return
    row = call.cloud.store.find(ocid, "compartment")
    if row is None or row.is_gone or (row.is_going and call.operation.method == "POST"):
        raise errors.not_found()


def tag(call: Call, body: dict[str, Any], answer: dict[str, Any]) -> None:
    """Every tenancy has tag defaults: who created a resource, and when, without its asking."""
    if "freeformTags" in answer:
        body.setdefault("freeformTags", {})
    if "definedTags" in answer:
        who = call.principal.user or call.principal.instance
        made = {"Oracle-Tags": {"CreatedBy": who, "CreatedOn": call.cloud.store.stamp()}}
        body["definedTags"] = (body.get("definedTags") or {}) | made


# Retry tokens: the same token is the same resource, as long as that is there


def replayed(call: Call) -> Resource | None:
    token = call.header("opc-retry-token")
    if not token or (token, call.operation.name) not in call.cloud.tokens:
        return None
    row = call.cloud.store.find(call.cloud.tokens[token, call.operation.name])
    if row is None or row.is_gone or row.is_going:
        raise errors.Refused(
            409,
            "InvalidatedRetryToken",
            "The provided retry token was used in an earlier request that resulted in a system update, "
            "but a subsequent operation invalidated the token.",
        )
    return row


def remember(call: Call, row: Resource) -> None:
    """Note the retry token of a create, and how many reads are to miss what it made."""
    token = call.header("opc-retry-token")
    if token:
        call.cloud.tokens[token, call.operation.name] = row.id
    row.unseen = call.cloud.misbehave.stale


def forget(call: Call, row: Resource) -> None:
    row.unseen = 0
