"""The header of a stored pack: what the pack itself says it holds."""

from __future__ import annotations

from limpet.contracts.backend import FileKind, Handle
from limpet.format.pack import EAGER_TAIL_SIZE, PackedBlob, decode_header, sealed_header, tail_size_needed
from limpet.ids import StorageId
from limpet.repository.repository import Repository


def load_pack_header(repository: Repository, pack_id: StorageId, size_bytes: int) -> list[PackedBlob]:
    """The blobs of a stored pack of this size; IntegrityError if its header is damaged, BackendError if unreadable."""
    handle = Handle(FileKind.PACK, pack_id.hex())
    tail_size = min(EAGER_TAIL_SIZE, size_bytes)
    tail = repository.backend.load(handle, size_bytes - tail_size, tail_size)
    needed = tail_size_needed(tail, size_bytes)
    if needed > tail_size:
        tail = repository.backend.load(handle, size_bytes - needed, needed)
    return decode_header(repository.opener().box.open(sealed_header(tail, size_bytes)), size_bytes)
