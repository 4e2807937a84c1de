"""An upload of a file that is there already: nothing is written, its bytes are compared as they come.

A client whose answer got lost sends again, and has to be told that all is well; nobody replaces what is stored.
"""

from __future__ import annotations

from collections.abc import Callable

from limpet_command_serve.store import Outcome, Reading, Upload

PIECE_BYTES = 256 * 1024


class Comparison(Upload):
    """Compares what comes with what is stored. `settle` makes sure that this is durable, before it is called the same.

    Takes over the reading.
    """

    takes_room = False

    def __init__(self, stored: Reading, settle: Callable[[], None]) -> None:
        self._stored = stored
        self._settle = settle
        self._offset_bytes = 0
        self._is_same = True

    def write(self, data: memoryview) -> None:
        if self._is_same:
            self._is_same = _is_at(self._stored, self._offset_bytes, data)
            self._offset_bytes += len(data)

    def commit(self) -> Outcome:
        if not self._is_same or self._offset_bytes != self._stored.size_bytes:
            return Outcome.OTHER
        self._settle()
        return Outcome.SAME

    def close(self) -> None:
        self._stored.close()


def same_content(one: Reading, other: Reading) -> bool:
    """Whether two files hold the same bytes."""
    if one.size_bytes != other.size_bytes:
        return False
    piece = memoryview(bytearray(min(PIECE_BYTES, max(1, one.size_bytes))))
    offset_bytes = 0
    while offset_bytes < one.size_bytes:
        count = one.read_into(offset_bytes, piece)
        if not count or not _is_at(other, offset_bytes, piece[:count]):
            return False
        offset_bytes += count
    return True


def _is_at(stored: Reading, offset_bytes: int, data: memoryview) -> bool:
    piece = memoryview(bytearray(len(data)))
    position = 0
    while position < len(data):
        count = stored.read_into(offset_bytes + position, piece[position:])
        if not count:
            return False
        position += count
    return piece == data
