"""The content of one file at any offset."""

from __future__ import annotations

from limpet.errors import IntegrityError, LimpetError, RepositoryError
from limpet.format.node import Node
from limpet.operations.browse.blob_map import BlobMap
from limpet.operations.browse.plaintexts import Plaintexts
from limpet.progress import Reporter


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

    def read(self, offset_bytes: int, length_bytes: int) -> bytes:
        """The bytes of the range, fewer at the end of the file; waits for the storage.

        LimpetError where a blob in the range is lost or damaged, or the storage fails; a warning tells it once a blob.
        """
        end = min(offset_bytes + length_bytes, self.size_bytes)
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
        end = min(offset_bytes + length_bytes, self.size_bytes)
        parts: list[bytes] = []
        while offset_bytes < end:
            number = self.blobs.at(offset_bytes)
            plaintext = self._plaintexts.kept(self.blobs.blob_id(number))
            if plaintext is None:
                return None
            begin = self.blobs.begin(number)
            parts.append(plaintext[offset_bytes - begin : end - begin])
            offset_bytes = self.blobs.begin(number + 1)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Nothing is read ahead for this file any more. Idempotent."""

    def _blob(self, number: int) -> bytes:
        try:
            plaintext = self._plaintexts.load(self.blobs.blob_id(number))
            length = self.blobs.begin(number + 1) - self.blobs.begin(number)
            if len(plaintext) != length:
                raise IntegrityError(f"a blob has {len(plaintext)} bytes where the index says {length}")
        except LimpetError as error:
            if number not in self._told:
                self._told.add(number)
                begin, end = self.blobs.begin(number), self.blobs.begin(number + 1)
                self._reporter.warning(f"{self._name}: bytes {begin} to {end} cannot be read: {error}")
            raise RepositoryError(f"{self._name}: {error}") from error
        return plaintext
