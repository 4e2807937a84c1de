"""What a stored pack says of itself."""

from __future__ import annotations

from limpet.contracts.backend import FileKind, Handle
from limpet.errors import IntegrityError
from limpet.format.pack import EAGER_TAIL_SIZE, PackedBlob, decode_header, sealed_header, tail_size_needed
from limpet.ids import StorageId
from limpet.repository.repository import Repository


def load_pack_header(repository: Repository, pack_id: StorageId, size_bytes: int) -> list[PackedBlob]:
    """The blobs of a pack of this size by its own header, by offset; read a second time if the first fails.

    IntegrityError for a pack that is cut or damaged at its end, BackendError if it cannot be read.
    """
    try:
        return _load(repository, pack_id, size_bytes)
    except IntegrityError:
        return _load(repository, pack_id, size_bytes)  # the transfer may have gone wrong


def _load(repository: Repository, pack_id: StorageId, size_bytes: int) -> list[PackedBlob]:
    handle = Handle(FileKind.PACK, pack_id.hex())
    tail_bytes = min(EAGER_TAIL_SIZE, size_bytes)
    tail = repository.backend.load(handle, size_bytes - tail_bytes, tail_bytes)
    needed_bytes = tail_size_needed(tail, size_bytes)
    if needed_bytes > tail_bytes:
        tail = repository.backend.load(handle, size_bytes - needed_bytes, needed_bytes)
    return decode_header(repository.opener().box.open(sealed_header(tail, size_bytes)), size_bytes)
