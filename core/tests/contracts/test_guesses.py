"""The brake on guessing passwords."""

from __future__ import annotations

import pytest
from limpet.contracts.guesses import FREE_GUESSES, PAUSE_S, Guesses, TooManyAttempts, network_of


def test_an_ipv6_client_is_his_network() -> None:
    """Who has 2^64 addresses must not have as many times ten guesses."""
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff")
    assert network_of("::ffff:192.0.2.7") == "192.0.2.7"
    assert network_of("unix") == "unix"


def test_only_guesses_count() -> None:
    """A client that signs in a thousand times an hour must never be told to wait; who guesses must be."""
    now_s = [50.0]
    guesses = Guesses(now=lambda: now_s[0])
    for _ in range(10 * FREE_GUESSES):
        guesses.begin("192.0.2.1", "ann")
        guesses.forget("192.0.2.1", "ann")
    for _ in range(FREE_GUESSES):
        guesses.begin("192.0.2.1", "ann")
    with pytest.raises(TooManyAttempts, match="wrong passwords") as refused:
        guesses.begin("192.0.2.1", "ann")
    assert refused.value.retry_after_s == pytest.approx(PAUSE_S)
    guesses.begin("192.0.2.2", "ann")
    guesses.begin("192.0.2.1", "bob")
    now_s[0] += PAUSE_S
    guesses.begin("192.0.2.1", "ann")
