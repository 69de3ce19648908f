"""Wait until a name leads to the addresses it should, and say meanwhile what it leads to.

Asked are the servers of the zone themselves, all of them: they know a change at once, where a resolver may
remember what was true before; and those who give out certificates ask them too. A module could say nothing
before it ends, so this is done here, on the operator's screen. It changes nothing; in check mode it looks
once.

Options: `name`; `addresses`, all the name shall lead to; `any_address`, true where whichever will do;
`records`, what is to be set, as lines for people; `seconds`, `pause_seconds`; `resolvers`, addresses of those
to be asked which servers the zone has (this computer's by default); `port` of all of them.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

try:
    import dns.exception
    import dns.flags
    import dns.message
    import dns.name
    import dns.query
    import dns.rcode
    import dns.rdatatype
    import dns.resolver

    HAS_DNS = True
except ImportError:  # said when it is used
    HAS_DNS = False

# Seconds one server has to answer.
PATIENCE = 3.0
# Seconds after which it is said again that nothing has changed.
SILENCE = 60.0
TYPES = ("A", "AAAA")
OWN = "this computer's resolver"


@dataclass(frozen=True)
class Answer:
    """What one server says of the name."""

    server: str
    addresses: frozenset[str] = frozenset()
    # Seconds others may remember it.
    ttl: int = 0
    # Why it says nothing of use.
    problem: str = ""

    def __str__(self) -> str:
        """Say it in a sentence without an end."""
        if self.problem:
            return f"{self.server} {self.problem}"
        if not self.addresses:
            held = f" (others may remember that for {self.ttl} s)" if self.ttl else ""
            return f"{self.server} knows no address{held}"
        return f"{self.server} says {_listed(self.addresses)} (for {self.ttl} s)"


@dataclass(frozen=True)
class Seen:
    """What the servers of a zone say of the name."""

    zone: str
    answers: list[Answer] = field(default_factory=list)

    @property
    def addresses(self) -> frozenset[str]:
        """Return all that any of them says."""
        return frozenset[str]().union(*(answer.addresses for answer in self.answers))

    def __str__(self) -> str:
        """Say it in sentences without an end."""
        return "; ".join(str(answer) for answer in self.answers) or f"nobody answers for {self.zone or 'it'}"


@dataclass(frozen=True)
class Goal:
    """What the name is to lead to."""

    name: str
    addresses: frozenset[str]
    # Whichever addresses will do: somebody else's proxy stands before the machine.
    any_address: bool = False
    # What is to be set, as lines for people.
    records: tuple[str, ...] = ()

    def is_met(self, seen: Seen) -> bool:
        """Say whether all servers that answer agree on it, and one at least does answer."""
        told = [answer.addresses for answer in seen.answers if not answer.problem]
        if self.any_address:
            return bool(told) and all(told)
        return bool(told) and all(one == self.addresses for one in told)

    def explain(self, seen: Seen, seconds: float) -> str:
        """Say what is to be set, what there is now, and how long that may hold."""
        late = f" after {seconds:.0f} s" if seconds else ""
        if all(answer.problem for answer in seen.answers):
            return (
                f"Nobody could say where {self.name} leads{late}: {seen}. Does this network let DNS out? "
                "dns_resolvers names other resolvers; dns_wait_seconds=0 does not look."
            )
        words = [f"{self.name} does not lead to {_listed(self.addresses)}{late}. Now: {seen}."]
        extra = seen.addresses - self.addresses
        if extra and self.addresses <= seen.addresses:
            words.append(f"Remove what leads elsewhere ({_listed(extra)}): some would be sent there.")
        elif self.records:
            words.append(f"Set: {'; '.join(self.records)}.")
        if seen.zone and "." not in seen.zone.strip("."):
            words.append("The domain is not registered, or its registrar names no servers for it.")
        longest = max((answer.ttl for answer in seen.answers if not answer.problem), default=0)
        if longest:
            words.append(f"After a change, others may hold on to what is there now for {longest} s.")
        words.append("Run it again then; a certificate can be had only when it is so.")
        return " ".join(words)


class ActionModule(ActionBase):  # type: ignore[misc]
    """The action plugin Ansible loads by this name."""

    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the task."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        options = self._task.args
        if not HAS_DNS:
            return result | {
                "failed": True,
                "msg": "The Python package `dnspython` is not installed where Ansible runs: make setup",
            }
        goal = Goal(
            str(options["name"]).rstrip(".").lower(),
            frozenset(str(ipaddress.ip_address(one)) for one in options["addresses"]),
            any_address=bool(options.get("any_address")),
            records=tuple(options.get("records") or ()),
        )
        try:
            look = Look(list(options.get("resolvers") or []), int(options.get("port") or 53))
        except dns.resolver.NoResolverConfiguration as error:
            return result | {
                "failed": True,
                "msg": f"This computer has no resolver ({error}): dns_resolvers can name one.",
            }
        seconds = 0.0 if self._task.check_mode else float(options.get("seconds") or 0)
        seen = _wait(look, goal, seconds, float(options.get("pause_seconds") or 10))
        shown = {answer.server: answer.problem or sorted(answer.addresses) for answer in seen.answers}
        result |= {"changed": False, "zone": seen.zone, "answers": shown}
        if goal.is_met(seen):
            there, own = seen.addresses, look.own(goal.name)
            late = "" if own.problem or own.addresses == there else f" Only {own} still."
            msg = f"{goal.name} leads to {_listed(there)}.{late}"
            _say(msg, color="green")
            return result | {"msg": msg}
        msg = goal.explain(seen, seconds)
        if self._task.check_mode:
            _say(msg)
        return result | {"failed": not self._task.check_mode, "msg": msg}


class Look:
    """Who is asked, and how."""

    def __init__(self, resolvers: list[str], port: int) -> None:
        """Take resolvers; this computer's when there are none.

        Raises dns.resolver.NoResolverConfiguration when it has none either.
        """
        self._resolver = dns.resolver.Resolver(configure=not resolvers)
        if resolvers:
            self._resolver.nameservers = resolvers
        self._resolver.port = self._port = port
        self._resolver.lifetime = 3 * PATIENCE

    def zone(self, name: str) -> Seen:
        """Ask all servers of the zone that holds a name; where none answers, this computer's resolver."""
        try:
            zone = dns.resolver.zone_for_name(name, resolver=self._resolver)
            servers = sorted(str(row.target) for row in self._resolver.resolve(zone, "NS"))
        except dns.exception.DNSException:
            return Seen("", [self.own(name)])
        answers = [self._ask_by_name(server, name) for server in servers]
        if all(answer.problem for answer in answers):
            answers.append(self.own(name))
        return Seen(zone.to_text(omit_final_dot=True), answers)

    def own(self, name: str) -> Answer:
        """Ask this computer's resolver: what it answers it may have remembered."""
        addresses: set[str] = set()
        ttl = 0
        for kind in TYPES:
            try:
                found = self._resolver.resolve(name, kind, raise_on_no_answer=False)
            except dns.resolver.NXDOMAIN:
                continue
            except dns.exception.DNSException as error:
                return Answer(OWN, problem=f"does not answer ({type(error).__name__})")
            addresses |= {str(row) for row in found.rrset or ()}
            ttl = max(ttl, found.rrset.ttl if found.rrset else 0)
        return Answer(OWN, frozenset(addresses), ttl)

    def _ask_by_name(self, server: str, name: str) -> Answer:
        shown = server.rstrip(".")
        problem = "has no address"
        for address in self._addresses(server):
            answer = self._ask(shown, address, name)
            if not answer.problem:
                return answer
            problem = answer.problem
        return Answer(shown, problem=problem)

    def _addresses(self, server: str) -> Iterator[str]:
        for kind in TYPES:
            try:
                yield from (str(row) for row in self._resolver.resolve(server, kind))
            except dns.exception.DNSException:
                continue

    def _ask(self, shown: str, address: str, name: str) -> Answer:
        addresses: set[str] = set()
        held, missed = 0, 0
        for kind in TYPES:
            query = dns.message.make_query(name, kind, flags=0)
            try:
                reply, _ = dns.query.udp_with_fallback(query, address, timeout=PATIENCE, port=self._port)
                chain = cast("dns.message.QueryMessage", reply).resolve_chaining()
            except (dns.exception.DNSException, OSError) as error:
                return Answer(shown, problem=f"does not answer ({type(error).__name__})")
            if reply.rcode() not in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}:
                return Answer(shown, problem=f"refuses to answer ({dns.rcode.to_text(reply.rcode())})")
            if not reply.flags & dns.flags.AA:
                return Answer(shown, problem="does not have the zone, though it should")
            if chain.answer is not None:
                addresses |= {str(row) for row in chain.answer}
                held = max(held, chain.minimum_ttl)
            elif chain.cnames:
                # An alias into a zone that is somebody else's.
                addresses |= self.own(str(chain.canonical_name)).addresses
                held = max(held, chain.minimum_ttl)
            else:
                missed = max(missed, chain.minimum_ttl)
        return Answer(shown, frozenset(addresses), held if addresses else missed)


def _wait(look: Look, goal: Goal, seconds: float, pause: float) -> Seen:
    end = time.monotonic() + seconds
    said, said_at = "", 0.0
    while True:
        seen = look.zone(goal.name)
        left = end - time.monotonic()
        if goal.is_met(seen) or left <= 0:
            return seen
        if str(seen) != said or time.monotonic() - said_at > SILENCE:
            said, said_at = str(seen), time.monotonic()
            to = _listed(goal.addresses)
            _say(f"{goal.name} is to lead to {to}. Now: {said}. Looking again, for {left:.0f} s more.")
        time.sleep(min(pause, left))


def _listed(addresses: frozenset[str]) -> str:
    return " and ".join(sorted(addresses, key=lambda one: (":" in one, one)))


def _say(words: str, color: str = "yellow") -> None:
    Display().display(words, color=color)
