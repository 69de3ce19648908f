"""How long to wait before the next try: one table, an operation a row.

What is on the other side decides the shape. A site in trouble wants ever more room (exponential). A database
that restarts is back in seconds, and an even wait finds it soon (linear). What nobody waits for grows gently,
so that an afternoon's outage does not cost a day (fibonacci). Every wait is spread by chance, so that what
failed together does not come back together.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

#: The longest wait of all, in seconds.
DAY = 86_400.0

Strategy = Callable[[int], float]
Chance = Callable[[float, float], float]


def exponential(failures: int) -> float:
    """1, 2, 4, 8, ..."""
    return 2.0 ** min(failures, 60)


def linear(failures: int) -> float:
    """1, 2, 3, 4, ..."""
    return failures + 1.0


def fibonacci(failures: int) -> float:
    """1, 2, 3, 5, 8, ..."""
    before, now = 1.0, 1.0
    for _ in range(min(failures, 80)):
        before, now = now, before + now
    return now


@dataclass(frozen=True, slots=True)
class Plan:
    """How waits grow, from `base_seconds` to `most_seconds`, each spread by up to `jitter` of itself."""

    strategy: Strategy
    base_seconds: float
    most_seconds: float
    jitter: float = 0.25


#: What is tried again, and how.
OPERATIONS: dict[str, Plan] = {
    "article": Plan(exponential, 60, DAY),
    "database": Plan(linear, 0.5, 10),
    "llm": Plan(exponential, 30, 3600),
    "api": Plan(exponential, 5, 900),
    "background": Plan(fibonacci, 300, DAY),
    "search": Plan(linear, 60, 3600),
}


def wait_seconds(
    operation: str, failures: int, *, base_seconds: float | None = None, chance: Chance = random.uniform
) -> float:
    """Return how long to wait after `failures` earlier ones (0: this was the first).

    `base_seconds` replaces the table's. Raises KeyError for an operation that is not in the table.
    """
    plan = OPERATIONS[operation]
    base = plan.base_seconds if base_seconds is None else base_seconds
    wait = min(base * plan.strategy(max(failures, 0)), plan.most_seconds)
    return min(wait * chance(1 - plan.jitter, 1 + plan.jitter), plan.most_seconds)
