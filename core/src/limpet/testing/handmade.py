"""A repository built blob by blob, also such a one as no backup would ever write."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256

from limpet.contracts.backend import Backend, Content, FileKind, Handle
from limpet.format.compression import Compressor, Level
from limpet.format.crypto import SEAL_OVERHEAD
from limpet.format.filemode import GO_DIR, NodeType
from limpet.format.kdf import KdfParameters
from limpet.format.node import Node, encode_node
from limpet.format.pack import BlobKind, PackedBlob, encode_header, encode_trailer
from limpet.format.timestamps import Time
from limpet.format.tree import encode_tree
from limpet.ids import BlobId, StorageId
from limpet.repository.repository import Repository
from limpet.storage.memory import MemoryBackend

PASSWORD = "handmade"
A_TIME = Time(1_600_000_000_123_456_789, 0)


class Handmade:
    """Builds packs and trees of a repository; `repository.index` knows them at once, no index file is written."""

    def __init__(self, backend: Backend | None = None, *, version: int = 2) -> None:
        cheap = KdfParameters(n=2, r=1, p=1, salt=bytes(64))
        self.repository = Repository.create(backend or MemoryBackend(), PASSWORD, version=version, kdf=cheap)

    def pack(self, *blobs: bytes, kind: BlobKind = BlobKind.DATA, compressed: bool = False) -> StorageId:
        """Store the blobs as one pack, in this order."""
        return self.pack_as([(BlobId(sha256(blob).digest()), blob) for blob in blobs], kind, compressed=compressed)

    def pack_as(
        self, blobs: Iterable[tuple[BlobId, bytes]], kind: BlobKind = BlobKind.DATA, *, compressed: bool = False
    ) -> StorageId:
        """Store the blobs as one pack under the ids given, which need not be theirs."""
        return self._pack([(kind, blob_id, data) for blob_id, data in blobs], compressed=compressed)

    def pack_of(self, blobs: Iterable[tuple[BlobKind, bytes]]) -> StorageId:
        """Store blobs of any kinds as one pack: version 1 of the format has such packs."""
        return self._pack([(kind, BlobId(sha256(data).digest()), data) for kind, data in blobs], compressed=False)

    def _pack(self, blobs: Iterable[tuple[BlobKind, BlobId, bytes]], *, compressed: bool) -> StorageId:
        box = self.repository.opener().box
        compressor = Compressor(Level.AUTO)
        stored, packed = bytearray(), []
        for kind, blob_id, data in blobs:
            plain = compressor.compress(data) if compressed else data
            plain_length = len(data) if compressed else 0
            packed.append(PackedBlob(kind, blob_id, len(stored), len(plain) + SEAL_OVERHEAD, plain_length))
            stored += box.seal(plain)
        header = box.seal(encode_header(packed))
        stored += header + encode_trailer(len(header))
        pack_id = StorageId(sha256(stored).digest())
        self.repository.backend.save(self.handle(pack_id), Content(memoryview(stored), pack_id))
        self.repository.index.add_pack(pack_id, packed)
        return pack_id

    def tree(self, *nodes: Node) -> BlobId:
        """Store a tree of the nodes in the order given, sound or not."""
        data = encode_tree(map(encode_node, nodes))
        self.pack(data, kind=BlobKind.TREE, compressed=self.repository.config.version > 1)
        return BlobId(sha256(data).digest())

    def folder(self, name: bytes, *nodes: Node, mode: int = 0o755) -> Node:
        """A folder with these nodes in it."""
        return Node(name, NodeType.DIR, GO_DIR | mode, A_TIME, A_TIME, A_TIME, subtree=self.tree(*nodes))

    def file(self, name: bytes, *blobs: bytes, stored: bool = True, mode: int = 0o644, mtime: Time = A_TIME) -> Node:
        """A regular file of these blobs, stored in a pack of its own unless they are already."""
        if blobs and stored:
            self.pack(*blobs)
        content = [BlobId(sha256(blob).digest()) for blob in blobs]
        size = sum(map(len, blobs))
        return Node(name, NodeType.FILE, mode, mtime, mtime, mtime, size=size, links=1, content=content)

    def handle(self, pack_id: StorageId) -> Handle:
        """Where the pack is stored."""
        return Handle(FileKind.PACK, pack_id.hex())

    def replace_pack(self, pack_id: StorageId, stored: bytes | None) -> None:
        """Put other bytes in the place of a pack; None for nothing at all."""
        backend = self.repository.backend
        backend.remove(self.handle(pack_id))
        if stored is not None:
            backend.save(self.handle(pack_id), Content(memoryview(stored), sha256(stored).digest()))


def chain(handmade: Handmade, names: Sequence[bytes], *innermost: Node) -> Node:
    """Folders one in the other; the innermost holds the nodes."""
    node = handmade.folder(names[-1], *innermost)
    for name in reversed(names[:-1]):
        node = handmade.folder(name, node)
    return node
