"""Rates by client: what one does costs the others nothing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limpet.contracts.buckets import Buckets
from limpet.errors import UsageError


class Clock:
    """Time that passes when it is told to."""

    now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 5), st.integers(1, 20)), max_size=60),
    st.integers(1, 50),
    st.integers(1, 100),
)
def test_never_more_than_the_rate_and_the_burst(calls: list[tuple[str, float, int]], per_s: int, burst: int) -> None:
    """The definition of the limit, for any order of requests: what passed is at most burst + rate * time."""
    clock = Clock()
    buckets = Buckets[str](per_s, burst, now=clock)
    passed = {"a": 0, "b": 0}
    began = clock.now_s
    for key, pause_s, amount in calls:
        clock.now_s += pause_s
        if buckets.try_take(key, amount) == 0:
            passed[key] += amount
        assert passed[key] <= burst + per_s * (clock.now_s - began) + 1e-6


def test_the_wait_is_as_long_as_it_says() -> None:
    """Retry-After must be true: a client that waits so long passes, one that comes earlier does not."""
    clock = Clock()
    buckets = Buckets[str](2, 4, now=clock)
    assert [buckets.try_take("x") for _ in range(4)] == [0, 0, 0, 0]
    wait_s = buckets.try_take("x")
    assert wait_s == pytest.approx(0.5)
    clock.now_s += wait_s / 2
    assert buckets.try_take("x") > 0
    clock.now_s += wait_s / 2
    assert buckets.try_take("x") == 0
    assert buckets.try_take("y") == 0


def test_memory_is_bounded_whoever_comes() -> None:
    """An attacker with a million addresses must not fill the memory; full buckets are not kept at all."""
    clock = Clock()
    buckets = Buckets[int](1, 10, now=clock, most=100)
    for client in range(1000):
        buckets.try_take(client, 5)
    assert len(buckets) == 100
    clock.now_s += 60
    buckets.try_take(7)
    assert len(buckets) == 1


def test_bytes_are_paid_in_turn() -> None:
    """Parallel connections of one client share its rate; another client has its own."""
    clock = Clock()
    buckets = Buckets[str](100, 100, now=clock)
    assert [buckets.take("x", 100) for _ in range(3)] == [0, 1, 2]
    assert buckets.take("y", 100) == 0


def test_nothing_is_free() -> None:
    """An empty piece, or one too small for a float, must not end the transfer it is part of."""
    buckets = Buckets[str](1e9, 1e9, now=lambda: 1e9)
    assert [buckets.take("x", amount) for amount in (0, 1)] == [0, 0]


def test_a_rate_of_nothing_is_no_rate() -> None:
    """A server that lets nothing pass would look broken."""
    with pytest.raises(UsageError, match="above 0"):
        Buckets[str](0, 1)
