"""The body of a request as it arrives: of a size that was said, or in chunks. Read in worker threads."""

from __future__ import annotations

from typing import Protocol

import h11

from limpet_command_serve.channel import Channel

MOST_CHUNKED_PIECE = 64 * 1024


class BrokenBodyError(Exception):
    """The body is shorter than was said, or not framed as HTTP has it."""


class Body(Protocol):
    """One body. `rest` is, at its end, what has come of the next request."""

    size_bytes: int | None
    """As the client says it."""
    rest: bytes

    @property
    def is_complete(self) -> bool:
        """Whether its end has come."""

    def read(self, buffer: memoryview) -> memoryview:
        """The next bytes, in the buffer or elsewhere; empty at the end. WouldBlock, BrokenBodyError or OSError."""


class SizedBody:
    """So many bytes, the first of which came with the head."""

    def __init__(self, channel: Channel, size_bytes: int, first: bytes) -> None:
        self._channel = channel
        self.size_bytes: int | None = size_bytes
        self._first = first[:size_bytes]
        self.rest = first[size_bytes:]
        self._missing = size_bytes

    @property
    def is_complete(self) -> bool:
        return not self._missing

    def read(self, buffer: memoryview) -> memoryview:
        if self._first:
            piece, self._first = memoryview(self._first), b""
        elif self._missing:
            count = self._channel.receive(buffer[: min(len(buffer), self._missing)])
            if not count:
                raise BrokenBodyError(f"the body ended {self._missing} bytes before its end")
            piece = buffer[:count]
        else:
            piece = memoryview(b"")
        self._missing -= len(piece)
        return piece


class ChunkedBody:
    """Chunks, taken apart by h11."""

    size_bytes: int | None = None

    def __init__(self, channel: Channel, connection: h11.Connection) -> None:
        self._channel = channel
        self._connection = connection
        self.rest = b""
        self.is_complete = False

    def read(self, buffer: memoryview) -> memoryview:
        while not self.is_complete:
            try:
                event = self._connection.next_event()
                if event is h11.NEED_DATA:
                    count = self._channel.receive(buffer[:MOST_CHUNKED_PIECE])
                    self._connection.receive_data(bytes(buffer[:count]))
                    continue
            except h11.RemoteProtocolError as error:
                raise BrokenBodyError(f"the body is broken: {error}") from error
            if isinstance(event, h11.Data):
                return memoryview(event.data)
            if not isinstance(event, h11.EndOfMessage):
                raise BrokenBodyError("the body ended before its last chunk")
            self.is_complete = True
            self.rest = self._connection.trailing_data[0]
        return memoryview(b"")
