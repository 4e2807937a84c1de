"""Who it is: by password, by what a proxy says, or nobody in particular."""

from __future__ import annotations

import math
from collections.abc import Mapping

from limpet.contracts.guesses import TooManyAttempts

from limpet_command_serve.credentials import CHALLENGE, decode_basic
from limpet_command_serve.exchange import Exchange, Refusal
from limpet_command_serve.policy import Policy
from limpet_command_serve.users import Users


class PasswordPolicy(Policy):
    """Each request carries a user and his password."""

    def __init__(self, users: Users) -> None:
        self._users = users

    async def admit(self, exchange: Exchange) -> None:
        credentials = decode_basic(exchange.headers.get("authorization", ""))
        if credentials is None:
            raise unauthorized("user and password are wanted")
        try:
            is_right = await self._users.verify(credentials.user, credentials.password, exchange.origin)
        except TooManyAttempts as error:
            raise Refusal(429, str(error), retry_after(error.retry_after_s)) from error
        if not is_right:
            raise unauthorized("wrong user or password")
        exchange.user = credentials.user

    def reload(self) -> None:
        self._users.read_again()

    async def close(self) -> None:
        self._users.close()


class ProxyPolicy(Policy):
    """A proxy in front has asked for the password, and names the user in a header that clients cannot set."""

    def __init__(self, header: str) -> None:
        self._header = header.lower()

    async def admit(self, exchange: Exchange) -> None:
        user = _given(exchange.headers, self._header)
        if not user:
            raise Refusal(401, "the proxy names no user")
        exchange.user = user


def unauthorized(reason: str) -> Refusal:
    """401, with what a browser needs to ask for a password."""
    return Refusal(401, reason, (CHALLENGE,))


def retry_after(wait_s: float) -> tuple[tuple[str, str], ...]:
    """The header that says when to try again, in whole seconds."""
    return (("Retry-After", str(max(1, math.ceil(wait_s)))),)


def _given(headers: Mapping[str, str], name: str) -> str:
    """The header as the text it is in UTF-8; the parser took it for Latin-1."""
    return headers.get(name, "").strip().encode("latin-1").decode("utf-8", "surrogateescape")
