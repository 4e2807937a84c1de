"""The twin of `_native.Sha256` and `sha256_all`: one message after the other, by hashlib, on every processor."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from limpet.format import Buffer


class Sha256:
    """The SHA-256 of a message that comes in parts."""

    __slots__ = ("_hash",)

    def __init__(self) -> None:
        self._hash = sha256()

    def update(self, data: Buffer, /) -> None:
        """Append to the message."""
        self._hash.update(data)

    def update_beside(self, data: Buffer, messages: Sequence[Buffer], /) -> list[bytes]:
        """Append to the message; the digests of the other messages."""
        self._hash.update(data)
        return sha256_all(messages)

    def update_with(self, data: Buffer, other: Sha256, other_data: Buffer, /) -> None:
        """Append to the message, and the other data to the other message."""
        if type(other) is not Sha256 or other is self:
            raise TypeError("update_with() takes another Sha256")
        with memoryview(data), memoryview(other_data):  # both are buffers, or neither message changes
            self._hash.update(data)
            other._hash.update(other_data)

    def digest(self) -> bytes:
        """The digest of what was appended so far."""
        return self._hash.digest()


def sha256_all(messages: Sequence[Buffer], /) -> list[bytes]:
    """The digests of all the messages."""
    return [sha256(message).digest() for message in messages]
