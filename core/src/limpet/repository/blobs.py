"""Sealed blobs to verified plaintext."""

from __future__ import annotations

from hashlib import sha256

from limpet.errors import IntegrityError
from limpet.format import Buffer
from limpet.format.compression import Decompressor
from limpet.format.crypto import Box, MasterKey
from limpet.ids import BlobId, short


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

    def verified(self, content: bytes, blob_id: BlobId, plain_length_bytes: int) -> bytes:
        """The plaintext of a blob that is out of its seal; errors as `open`."""
        data = self.plaintext(content, plain_length_bytes)
        if sha256(data).digest() != blob_id:
            raise IntegrityError(f"blob {short(blob_id)} does not have the content that its id names")
        return data

    def plaintext(self, content: bytes, plain_length_bytes: int) -> bytes:
        """The content decompressed, if it is compressed; IntegrityError for a damaged frame."""
        return self._decompressor.decompress(content, plain_length_bytes) if plain_length_bytes else content
