"""Who may ask: the one user with his password, and who guesses has to wait."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from limpet.contracts.guesses import Guesses, network_of

REMEMBERED_S = 60.0
"""How long whoever was right is not kept waiting, prolonged by every use: others may guess behind the same address."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """The one user who may read."""

    user: str
    password: str = field(repr=False)

    def match(self, header: str) -> bool:
        """Whether an `Authorization` header gives them; takes as long for any wrong ones. Source: RFC 7617."""
        scheme, _, encoded = header.partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            given = base64.b64decode(encoded.strip(), validate=True)
        except (binascii.Error, ValueError):
            return False
        expected = f"{self.user}:{self.password}".encode("utf-8", "surrogateescape")
        # Digests, for of two lengths the comparison would tell that they differ.
        return hmac.compare_digest(hashlib.sha256(given).digest(), hashlib.sha256(expected).digest())


class SignIn:
    """Lets the user in, from any thread."""

    def __init__(self, credentials: Credentials, *, now: Callable[[], float] = time.monotonic) -> None:
        self._credentials = credentials
        self._now = now
        self._guesses = Guesses(now=now)
        self._remembered: dict[str, float] = {}

    def is_right(self, header: str, client: str) -> bool:
        """Whether the header gives user and password. TooManyAttempts where the client has guessed too often."""
        # There is one user: whichever name comes with it, it is his password that is guessed.
        user, network = self._credentials.user, network_of(client)
        is_right = self._credentials.match(header)
        if not (is_right and self._remembered.get(network, 0.0) > self._now()):
            self._guesses.begin(client, user)
            if is_right:
                self._guesses.forget(client, user)
        if is_right:
            self._remembered[network] = self._now() + REMEMBERED_S
        return is_right
