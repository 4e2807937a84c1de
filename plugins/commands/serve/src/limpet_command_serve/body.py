"""The body of a request as it arrives: of a size that was said, or in chunks. Read in worker threads."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

from limpet_command_serve.channel import Channel

MOST_LINE_BYTES = 4096
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*|;[\t -~\x80-\xff]*)")
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*")


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
    """Chunks (RFC 9112, section 7.1). What they say beside their size, and the trailer behind them, means nothing here.

    Taken apart strictly: who reads a request before us must not see another end of it.
    """

    size_bytes: int | None = None

    def __init__(self, channel: Channel, first: bytes) -> None:
        self._channel = channel
        self.rest = first
        self.is_complete = False
        self._missing = 0
        """Of the chunk that has begun; where that is 0, a line is next."""
        self._take_line: Callable[[bytes], None] = self._begin_chunk
        self._trailer_bytes = 0

    def read(self, buffer: memoryview) -> memoryview:
        while not self._missing and not self.is_complete:
            self._take_line(self._next_line())
        if self.is_complete:
            return memoryview(b"")
        if self.rest:
            piece, self.rest = memoryview(self.rest[: self._missing]), self.rest[self._missing :]
        else:
            count = self._channel.receive(buffer[: min(len(buffer), self._missing)])
            if not count:
                raise BrokenBodyError("the body ended before its last chunk")
            piece = buffer[:count]
        self._missing -= len(piece)
        return piece

    def _next_line(self) -> bytes:
        while (end := self.rest.find(b"\r\n")) < 0:
            if len(self.rest) > MOST_LINE_BYTES or b"\n" in self.rest:
                raise BrokenBodyError("the body is broken: a line between its chunks does not end")
            received = self._channel.receive_bytes(MOST_LINE_BYTES)
            if not received:
                raise BrokenBodyError("the body ended before its last chunk")
            self.rest += received
        line, self.rest = self.rest[:end], self.rest[end + 2 :]
        return line

    def _begin_chunk(self, line: bytes) -> None:
        match = _CHUNK.fullmatch(line)
        if match is None:
            raise BrokenBodyError("the body is broken: a chunk does not begin with its size")
        self._missing = int(match[1], 16)
        self._take_line = self._end_chunk if self._missing else self._take_trailer

    def _end_chunk(self, line: bytes) -> None:
        if line:
            raise BrokenBodyError("the body is broken: a chunk is longer than its size")
        self._take_line = self._begin_chunk

    def _take_trailer(self, line: bytes) -> None:
        self._trailer_bytes += len(line)
        if line and (self._trailer_bytes > MOST_LINE_BYTES or not _TRAILER.fullmatch(line)):
            raise BrokenBodyError("the body is broken: what is behind its last chunk is no header, or too long")
        self.is_complete = not line
