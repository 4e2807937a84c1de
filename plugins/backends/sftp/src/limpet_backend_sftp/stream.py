"""`Stream`: the two-way stream of bytes to an SFTP server, whoever carries it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from limpet.errors import BackendError

Bytes = bytes | memoryview


class StreamEndedError(Exception):
    """Nothing can be sent any more."""


class StreamStuckError(Exception):
    """No byte has moved for the time limit."""


class Stream(Protocol):
    """One thread receives, any one at a time sends. `moved_at` is the monotonic second of the last byte."""

    moved_at: float

    def send(self, pieces: Sequence[Bytes], timeout_s: float | None) -> None:
        """Send all of them; StreamEndedError, StreamStuckError."""

    def receive_some(self, buffer: memoryview) -> int:
        """Wait for bytes and put them in; how many, 0 at the end."""

    def receive_all(self, buffer: memoryview) -> bool:
        """Fill the buffer; False if the stream ended before."""

    def greeted(self) -> None:
        """The server has answered: nothing that is said from now on is about how to get there."""

    def abort(self) -> None:
        """End it at once: whoever waits in it comes back."""

    def close(self) -> None:
        """End it in good order. Idempotent."""

    def release(self) -> None:
        """Let go of what it holds, once nobody receives any more. Idempotent."""

    def ending(self) -> BackendError:
        """Why it ended by itself, as an error for people."""
