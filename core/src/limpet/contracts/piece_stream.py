"""A stream over pieces: what a source makes of a command's output while it is read, for `Dump.filtered`."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO

BUFFER_SIZE = 1 << 20


class _Pieces(io.RawIOBase):
    def __init__(self, pieces: Iterator[bytes], origin: BinaryIO) -> None:
        super().__init__()
        self._pieces = pieces
        self._origin = origin
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._origin.close()


def piece_stream(pieces: Iterator[bytes], origin: BinaryIO) -> BinaryIO:
    """The pieces one after the other; what their iterator raises, reading raises. Closing closes `origin` too."""
    return io.BufferedReader(_Pieces(pieces, origin), BUFFER_SIZE)
