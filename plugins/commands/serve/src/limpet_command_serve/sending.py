"""What goes out: the head of an answer and its body, from memory or from a file, in as few calls as it takes."""

from __future__ import annotations

from limpet_command_serve.channel import Channel
from limpet_command_serve.exchange import Exchange
from limpet_command_serve.ranges import ByteRange
from limpet_command_serve.store import Reading

PIECE_BYTES = 64 * 1024
"""From readings without a descriptor, and over TLS: what is kept of it until the client takes it."""
FILE_PIECE_BYTES = 1 << 20
SMALL_BYTES = 16 * 1024
"""Up to so many go out together with the head, in one call."""
PIECES_A_STEP = 16
"""Then others have their turn."""


class Sending:
    """One answer on its way, with bytes in memory and, behind them, a range of a reading."""

    def __init__(
        self,
        channel: Channel,
        exchange: Exchange,
        head: bytes,
        body: bytes = b"",
        *,
        reading: Reading | None = None,
        wanted: ByteRange | None = None,
    ) -> None:
        self._channel = channel
        self._exchange = exchange
        self._head_bytes = len(head)
        self._pending = memoryview(head + body if len(body) < PIECE_BYTES else head)
        self._body = memoryview(body if len(body) >= PIECE_BYTES else b"")
        self.has_begun = False
        """Whether the client may have seen anything of it."""
        self._reading = reading
        self._offset = wanted.start if wanted else 0
        self._end = wanted.end if wanted else (reading.size_bytes if reading else 0)

    @property
    def is_complete(self) -> bool:
        """Whether all has been handed to the system."""
        return not self._pending and not self._body and self._offset >= self._end

    @property
    def missing_bytes(self) -> int:
        """Of the body."""
        return len(self._body) + self._end - self._offset

    def fill(self, buffer: memoryview) -> bool:
        """Take all of the file into the buffer, behind the head; False where that takes a wait, or more room."""
        head_bytes, size_bytes = len(self._pending), self._end - self._offset
        whole = buffer[: head_bytes + size_bytes]
        if len(whole) < head_bytes + size_bytes:
            return False
        if size_bytes and not (self._reading and self._reading.read_cached(self._offset, whole[head_bytes:])):
            return False
        whole[:head_bytes] = self._pending
        self._offset = self._end
        self._pending = whole
        return True

    def send_filled(self) -> None:
        """Send what the buffer has now; the rest stays with us, for the buffer is wanted by others. See `step`."""
        try:
            self._flush()
        finally:
            if self._pending:
                self._pending = memoryview(bytes(self._pending))

    def step(self, buffer: memoryview, until_bytes: int | None = None) -> None:
        """Send what goes at once, until so many bytes of the body are sent. WouldBlock where nothing goes any more."""
        until = self._exchange.sent_bytes + PIECES_A_STEP * FILE_PIECE_BYTES
        if until_bytes is not None:
            until = min(until, until_bytes)
        if (
            self._reading is not None
            and self._head_bytes == len(self._pending)
            and self.missing_bytes <= min(SMALL_BYTES, until - self._exchange.sent_bytes)
        ):
            self._join_small(self._reading, buffer)
        while not self.is_complete and self._exchange.sent_bytes < until:
            if self._pending:
                self._flush()
            elif self._body:
                self._pending, self._body = self._body, self._body[:0]
            else:
                self._next_piece(buffer, until - self._exchange.sent_bytes)

    def _join_small(self, reading: Reading, buffer: memoryview) -> None:
        while self._offset < self._end:
            piece = buffer[: self._end - self._offset]
            count = reading.read_into(self._offset, piece)
            self._moved(count)
            self._pending = memoryview(bytes(self._pending) + piece[:count])

    def _flush(self) -> None:
        more = self._offset < self._end or bool(self._body)
        count = self._channel.send(self._pending, more=more)
        self.has_begun = True
        self._pending = self._pending[count:]
        self._count(count)

    def _next_piece(self, buffer: memoryview, limit: int) -> None:
        reading = self._reading
        if reading is None:
            raise EOFError("there is nothing more to send")
        wanted = min(self._end - self._offset, limit)
        if reading.descriptor is not None:
            count = self._channel.send_file(reading.descriptor, self._offset, min(wanted, FILE_PIECE_BYTES))
            if count is not None:
                self._moved(count)
                self._count(count)
                return
        piece = buffer[: min(wanted, PIECE_BYTES)]
        count = reading.read_into(self._offset, piece)
        self._moved(count)
        # What the channel does not take at once must stay: the buffer is the thread's.
        self._pending = memoryview(bytes(piece[:count]))

    def _moved(self, count: int) -> None:
        if not count:
            raise EOFError("a file became shorter while it was sent")
        self._offset += count

    def _count(self, count: int) -> None:
        of_head = min(count, self._head_bytes)
        self._head_bytes -= of_head
        self._exchange.sent_bytes += count - of_head
