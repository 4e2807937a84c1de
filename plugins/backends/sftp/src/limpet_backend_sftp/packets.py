"""`PacketReader`: whole packets out of a stream, the data of reads straight into their buffers."""

from __future__ import annotations

from limpet_backend_sftp.protocol import HEADER, LENGTH, ProtocolError
from limpet_backend_sftp.stream import Stream

STAGED_BYTES = 128 * 1024
LONGEST_PACKET_BYTES = 8 * 1024 * 1024
"""Far above what servers send, and below what a login script's text makes when it is taken for a length."""


class PacketReader:
    """Reads ahead what is there: a small packet costs no call of its own."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._staged = memoryview(bytearray(STAGED_BYTES))
        self._start = 0
        self._end = 0

    def header(self) -> tuple[int, int, int] | None:
        """Bytes that follow, kind and number of the next packet; None at the end of the stream."""
        if not self._stage(HEADER.size):
            return None
        length, kind, number = HEADER.unpack_from(self._staged, self._start)
        if not HEADER.size - LENGTH.size <= length <= LONGEST_PACKET_BYTES:
            said = bytes(self._staged[self._start : self._end]).decode("utf-8", "replace").strip()
            raise ProtocolError(f"it sends what is no SFTP: {said[:200]!r}")
        self._start += HEADER.size
        return length - (HEADER.size - LENGTH.size), kind, number

    def number(self) -> int | None:
        """The next 32-bit number; None at the end of the stream."""
        if not self._stage(LENGTH.size):
            return None
        (value,) = LENGTH.unpack_from(self._staged, self._start)
        self._start += LENGTH.size
        return int(value)

    def fill(self, buffer: memoryview) -> bool:
        """The next bytes of the stream, as many as the buffer takes; False if it ended before."""
        count = min(buffer.nbytes, self._end - self._start)
        buffer[:count] = self._staged[self._start : self._start + count]
        self._start += count
        return count == buffer.nbytes or self._stream.receive_all(buffer[count:])

    def _stage(self, wanted: int) -> bool:
        if self._start + wanted > STAGED_BYTES:
            left = self._end - self._start
            self._staged[:left] = bytes(self._staged[self._start : self._end])
            self._start, self._end = 0, left
        while self._end - self._start < wanted:
            if self._start == self._end:
                self._start = self._end = 0
            count = self._stream.receive_some(self._staged[self._end :])
            if not count:
                return False
            self._end += count
        return True
