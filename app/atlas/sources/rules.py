"""Rules of a feed: what of it is kept, dropped and tagged, by regular expressions.

A rule is `{"action": "keep" | "drop" | "tag", "field": "title" | "url" | "author" | "content" | "any",
"pattern": ..., "tag": ...}`. Case makes no difference. An entry that matches a `drop` does not come in; where
there are rules to `keep`, only what matches one of them does; each `tag` that matches is given to the item.
"""

import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

ACTIONS = ("keep", "drop", "tag")
FIELDS = ("title", "url", "author", "content", "any")
MAX_RULES = 100
MAX_PATTERN_CHARS = 500
#: How long all rules of a feed may take for one of its entries, in seconds of processor time.
MAX_SECONDS = 0.1
#: Of a very long text, so much is looked through (in characters).
MAX_TEXT_CHARS = 100_000


class RuleError(ValueError):
    """Rules that cannot be used; the message says which and why, to the person who wrote them."""


class RulesTooSlowError(Exception):
    """The rules took too long to apply."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the rules say of an entry."""

    keep: bool
    tags: tuple[str, ...] = ()


def checked(rules: object) -> list[dict[str, str]]:
    """Return rules as they are stored. Raises RuleError with a sentence about the first that is wrong."""
    if not isinstance(rules, Sequence) or isinstance(rules, str | bytes):
        raise RuleError("Rules are a list.")
    if len(rules) > MAX_RULES:
        raise RuleError(f"A feed has at most {MAX_RULES} rules.")
    return [_checked(rule, number) for number, rule in enumerate(rules, 1)]


def _checked(rule: object, number: int) -> dict[str, str]:
    if not isinstance(rule, Mapping):
        raise RuleError(f"Rule {number} is not a rule.")
    action, field, pattern, tag = (_word(rule, name) for name in ("action", "field", "pattern", "tag"))
    field = field or "any"
    if action not in ACTIONS:
        raise RuleError(f"Rule {number} must keep, drop or tag.")
    if field not in FIELDS:
        raise RuleError(f"Rule {number} looks at no field called {field[:40]!r}: {', '.join(FIELDS)}.")
    if not pattern:
        raise RuleError(f"Rule {number} has no pattern.")
    if len(pattern) > MAX_PATTERN_CHARS:
        raise RuleError(f"The pattern of rule {number} is longer than {MAX_PATTERN_CHARS} characters.")
    if action == "tag" and not tag:
        raise RuleError(f"Rule {number} says no tag to give.")
    try:
        re.compile(pattern, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as error:
        raise RuleError(f"The pattern of rule {number} is no regular expression: {error}.") from None
    found = {"action": action, "field": field, "pattern": pattern}
    return found | ({"tag": tag} if action == "tag" else {})


def _word(rule: Mapping[Any, object], name: str) -> str:
    value = rule.get(name)
    if value is not None and not isinstance(value, str):
        raise RuleError(f"In a rule, {name} is text.")
    return (value or "").strip() if name != "pattern" else value or ""


def judge(rules: Sequence[Mapping[str, str]], entry: Mapping[str, str]) -> Verdict:
    """Apply rules to an entry: its `title`, `url`, `author` and `content`, plain.

    No pattern can take longer than MAX_SECONDS: then RulesTooSlowError is raised. For that the main thread of
    a process is needed.
    """
    if not rules:
        return Verdict(keep=True)
    with _time_limit(MAX_SECONDS):
        matching = [rule for rule in rules if _matches(rule, entry)]
    actions = {rule["action"] for rule in matching}
    wants_keep = any(rule["action"] == "keep" for rule in rules)
    tags = tuple(rule["tag"] for rule in matching if rule["action"] == "tag")
    return Verdict("drop" not in actions and (not wants_keep or "keep" in actions), tags)


def _matches(rule: Mapping[str, str], entry: Mapping[str, str]) -> bool:
    pattern = re.compile(rule["pattern"], re.IGNORECASE)
    names = FIELDS[:-1] if rule["field"] == "any" else (rule["field"],)
    return any(pattern.search((entry.get(name) or "")[:MAX_TEXT_CHARS]) for name in names)


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Break off what takes longer: regular expressions look for signals while they search."""

    def too_slow(*_: object) -> None:
        raise RulesTooSlowError

    before = signal.signal(signal.SIGVTALRM, too_slow)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
