"""The content of one file at any offset; what a reader in sequence will want next is loaded ahead."""

from __future__ import annotations

from limpet.errors import IntegrityError, LimpetError, RepositoryError
from limpet.format.node import Node
from limpet.operations.browse.blob_map import BlobMap
from limpet.operations.browse.plaintexts import Plaintexts
from limpet.progress import Reporter

SEQUENCE_BYTES = 256 * 1024
"""Who has read so much in sequence will go on."""
SLACK_BYTES = 1024 * 1024
"""Reads so near to each other are in sequence: a kernel asks for pages ahead, and not always in order."""
FIRST_WINDOW_BYTES = 2 * 1024 * 1024
LARGEST_WINDOW_BYTES = 16 * 1024 * 1024


class FileReader:
    """Reads ranges of one file, verified bytes alone. Thread-safe."""

    def __init__(self, node: Node, plaintexts: Plaintexts, reporter: Reporter) -> None:
        self._name = node.name.decode(errors="backslashreplace")
        self._plaintexts = plaintexts
        self._reporter = reporter
        self._told: set[int] = set()
        self.blobs = BlobMap(node.content or (), node.size, plaintexts.table)
        self.size_bytes = self.blobs.size_bytes
        """Size of the content: what the blobs hold, whatever the node says."""
        self._position = 0
        self._in_sequence_bytes = 0
        self._window_bytes = FIRST_WINDOW_BYTES
        self._ahead_number = 0
        self._is_closed = False

    @property
    def is_in_sequence(self) -> bool:
        """Whether the last reads followed one another."""
        return self._in_sequence_bytes >= SEQUENCE_BYTES

    def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        """The bytes of the range, fewer at the end of the file; waits for the storage.

        LimpetError where a blob in the range is lost or damaged, or the storage fails; a warning tells it once a blob.
        """
        end = min(offset_bytes + length_bytes, self.size_bytes)
        self._follow(offset_bytes, end)
        parts: list[bytes] = []
        while offset_bytes < end:
            number = self.blobs.at(offset_bytes)
            begin = self.blobs.begin(number)
            plaintext = self._blob(number)
            parts.append(plaintext[offset_bytes - begin : end - begin])
            offset_bytes = self.blobs.begin(number + 1)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read_at_hand(self, offset_bytes: int, length_bytes: int) -> bytes | None:
        """As `read`, if that can be said at once: nothing is loaded, None if something had to be."""
        begin_bytes = offset_bytes
        end = min(offset_bytes + length_bytes, self.size_bytes)
        parts: list[bytes] = []
        while offset_bytes < end:
            number = self.blobs.at(offset_bytes)
            plaintext = self._plaintexts.at_hand(self.blobs.blob_id(number))
            begin, next_begin = self.blobs.begin(number), self.blobs.begin(number + 1)
            if plaintext is None or len(plaintext) != next_begin - begin:
                return None
            parts.append(plaintext[offset_bytes - begin : end - begin])
            offset_bytes = next_begin
        self._follow(begin_bytes, end)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def blob_at_hand(self, offset_bytes: int) -> tuple[int, bytes] | None:
        """The whole blob that holds the byte, and its offset, if it is at hand."""
        if not 0 <= offset_bytes < self.size_bytes:
            return None
        number = self.blobs.at(offset_bytes)
        begin = self.blobs.begin(number)
        plaintext = self._plaintexts.kept(self.blobs.blob_id(number))
        if plaintext is None or len(plaintext) != self.blobs.begin(number + 1) - begin:
            return None
        return begin, plaintext

    def close(self) -> None:
        """Nothing is read ahead for this file any more. Idempotent."""
        self._is_closed = True

    def _follow(self, begin: int, end: int) -> None:
        """Learn where the reader is, and load ahead of one who reads in sequence.

        Several threads may do so at once: what they get wrong costs a request and no more.
        """
        if abs(begin - self._position) > SLACK_BYTES:
            self._in_sequence_bytes = 0
            self._window_bytes = FIRST_WINDOW_BYTES
            self._ahead_number = 0
        self._in_sequence_bytes += end - begin
        self._position = max(end, self._position) if self._in_sequence_bytes > end - begin else end
        if not self.is_in_sequence or self._is_closed or end >= self.size_bytes:
            return
        number = max(self._ahead_number, self.blobs.at(self._position) + 1)
        if number >= len(self.blobs) or self.blobs.begin(number) - self._position > self._window_bytes // 2:
            return  # far enough ahead: what is asked for together can be loaded together
        first, wanted = number, self._position + self._window_bytes
        while number < len(self.blobs) and self.blobs.begin(number) < wanted:
            number += 1
        self._ahead_number = number
        largest = min(LARGEST_WINDOW_BYTES, self._plaintexts.cache_bytes // 4)
        self._window_bytes = min(self._window_bytes * 2, largest)
        self._plaintexts.load_ahead([self.blobs.blob_id(one) for one in range(first, number)])

    def _blob(self, number: int) -> bytes:
        begin, end = self.blobs.begin(number), self.blobs.begin(number + 1)
        try:
            plaintext = self._plaintexts.load(self.blobs.blob_id(number))
            if len(plaintext) != end - begin:
                raise IntegrityError(f"a blob has {len(plaintext)} bytes where the index says {end - begin}")
        except LimpetError as error:
            if number not in self._told:
                self._told.add(number)
                self._reporter.warning(f"{self._name}: bytes {begin} to {end} cannot be read: {error}")
            raise RepositoryError(f"{self._name}: {error}") from error
        return plaintext
