"""Sealed blobs to verified plaintext."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256

from limpet.errors import IntegrityError
from limpet.format import Buffer
from limpet.format.compression import Decompressor
from limpet.format.crypto import Box, MasterKey
from limpet.format.native import Sha256, sha256_all
from limpet.ids import BlobId, short

TOGETHER_BYTES = 4 * 1024 * 1024
"""Blobs of about this much plaintext are hashed together: several keep the processor busier than one, and what was
just decrypted is still in its cache."""

SealedBlob = tuple[Buffer, BlobId, int]
"""Sealed bytes, id, and plain length, which is 0 for a blob that is stored uncompressed."""
Opened = bytes | IntegrityError
"""A blob's plaintext, or why there is none."""


class BlobOpener:
    """Opens sealed blobs: MAC, decompression and hash, all checked. Holds contexts: one a thread."""

    def __init__(self, key: MasterKey) -> None:
        self.box = Box(key)
        self._decompressor = Decompressor()

    def open(self, sealed: Buffer, blob_id: BlobId, plain_length_bytes: int) -> bytes:
        """The blob's plaintext; a plain length of 0 means that it is stored uncompressed.

        IntegrityError unless it is exactly what was stored.
        """
        return self.verified(self.box.open(sealed), blob_id, plain_length_bytes)

    def open_all(self, blobs: Iterable[SealedBlob]) -> Iterator[Opened]:
        """Each blob's plaintext, or the IntegrityError of `open`, in their order; quicker than one by one."""
        together: list[SealedBlob] = []
        size_bytes = 0
        for blob in blobs:
            together.append(blob)
            size_bytes += blob[2] or len(blob[0])
            if size_bytes >= TOGETHER_BYTES:
                yield from self.open_beside(together, None, b"")
                together, size_bytes = [], 0
        yield from self.open_beside(together, None, b"")

    def open_beside(self, blobs: Iterable[SealedBlob], stream: Sha256 | None, data: Buffer) -> list[Opened]:
        """As `open_all`, with all plaintexts in memory at once; appends the data to the stream at the same time."""
        blobs = list(blobs)
        found = [self._content(sealed, plain_length) for sealed, _, plain_length in blobs]
        sound = [content for content in found if not isinstance(content, IntegrityError)]
        digests = iter(sha256_all(sound) if stream is None else stream.update_beside(data, sound))
        for number, (_, blob_id, _) in enumerate(blobs):
            if not isinstance(found[number], IntegrityError) and next(digests) != blob_id:
                found[number] = _other_content(blob_id)
        return found

    def verified(self, content: bytes, blob_id: BlobId, plain_length_bytes: int) -> bytes:
        """The plaintext of a blob that is out of its seal; errors as `open`."""
        data = self.plaintext(content, plain_length_bytes)
        if sha256(data).digest() != blob_id:
            raise _other_content(blob_id)
        return data

    def plaintext(self, content: bytes, plain_length_bytes: int) -> bytes:
        """The content decompressed, if it is compressed; IntegrityError for a damaged frame."""
        return self._decompressor.decompress(content, plain_length_bytes) if plain_length_bytes else content

    def _content(self, sealed: Buffer, plain_length_bytes: int) -> Opened:
        """What the seal and the frame hold, whether or not it is what the id names."""
        try:
            return self.plaintext(self.box.open(sealed), plain_length_bytes)
        except IntegrityError as error:
            return error


def _other_content(blob_id: BlobId) -> IntegrityError:
    return IntegrityError(f"blob {short(blob_id)} does not have the content that its id names")
