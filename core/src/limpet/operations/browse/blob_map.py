"""Where each blob of a file begins: offsets from the index, also around blobs that are lost."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence

from limpet.format.native import IndexTable
from limpet.format.pack import BlobKind
from limpet.ids import BlobId
from limpet.repository.blob_index import data_length


class BlobMap:
    """The blobs of a file and their offsets. 40 bytes a blob.

    Lost blobs, which no index knows, leave a gap: what comes before is found from the beginning of the file, what
    comes after from its end, as the node's size tells it. Where that size cannot be, all from the first one on is lost.
    """

    def __init__(self, content: Sequence[BlobId], node_size_bytes: int, table: IndexTable) -> None:
        kind = BlobKind.DATA.value
        lengths = array("Q")
        first_lost = last_lost = -1
        for number, blob_id in enumerate(content):
            place = table.find(kind, blob_id)
            if place is None:
                last_lost = number
                first_lost = number if first_lost < 0 else first_lost
            lengths.append(0 if place is None else data_length(place))
        if first_lost >= 0:  # one blob stands for all that cannot be placed
            before = sum(lengths[:first_lost])
            gap = node_size_bytes - before - sum(lengths[last_lost + 1 :])
            if gap <= 0:
                last_lost = len(lengths) - 1
                gap = max(1, node_size_bytes - before)
            lengths[first_lost : last_lost + 1] = array("Q", [gap])
            content = (*content[: first_lost + 1], *content[last_lost + 1 :])
        self._ids = b"".join(content)
        self._begins = array("Q", bytes(8))
        end = 0
        for length in lengths:
            end += length
            self._begins.append(end)
        self.size_bytes = end

    def __len__(self) -> int:
        return len(self._begins) - 1

    def at(self, offset_bytes: int) -> int:
        """The number of the blob that holds the byte, which must be in the file."""
        return bisect_right(self._begins, offset_bytes) - 1

    def blob_id(self, number: int) -> BlobId:
        """The blob of that number."""
        return BlobId(self._ids[number * 32 : number * 32 + 32])

    def begin(self, number: int) -> int:
        """Offset in the file of the first byte of the blob; of the end of the file for the number after the last."""
        return self._begins[number]
