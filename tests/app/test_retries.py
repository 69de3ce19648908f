"""Waits: their shapes, their limits, and that chance spreads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.resilience.retries import DAY, OPERATIONS, exponential, fibonacci, linear, wait_seconds


def test_the_three_shapes():
    assert [exponential(n) for n in range(5)] == [1, 2, 4, 8, 16]
    assert [linear(n) for n in range(5)] == [1, 2, 3, 4, 5]
    assert [fibonacci(n) for n in range(6)] == [1, 2, 3, 5, 8, 13]


def test_every_operation_of_the_house_has_its_plan():
    assert set(OPERATIONS) == {"article", "database", "llm", "api", "background", "search"}
    assert {plan.strategy for plan in OPERATIONS.values()} == {exponential, linear, fibonacci}
    with pytest.raises(KeyError):
        wait_seconds("nonsense", 0)


@given(st.sampled_from(sorted(OPERATIONS)), st.integers(0, 10_000))
def test_waits_stay_within_their_limits(operation, failures):
    plan = OPERATIONS[operation]
    waits = [
        wait_seconds(operation, failures, chance=lambda low, high, s=s: low + s * (high - low))
        for s in (0, 1)
    ]
    assert plan.base_seconds * (1 - plan.jitter) <= waits[0] < waits[1] or waits[1] == plan.most_seconds
    assert waits[1] <= plan.most_seconds <= DAY


@given(st.sampled_from(sorted(OPERATIONS)), st.integers(0, 500))
def test_waits_never_shrink(operation, failures):
    middle = [wait_seconds(operation, n, chance=lambda *_: 1.0) for n in (failures, failures + 1)]
    assert middle[0] <= middle[1]


def test_chance_spreads_them():
    waits = {wait_seconds("article", 3) for _ in range(50)}
    assert len(waits) > 40
    assert 8 * 60 * 0.75 <= min(waits) < max(waits) <= 8 * 60 * 1.25
