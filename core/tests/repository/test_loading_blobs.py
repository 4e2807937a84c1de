"""Reading blobs and indexes from a storage that errs now and then."""

from __future__ import annotations

import pytest
from limpet.contracts.backend import FileKind, Handle
from limpet.errors import BackendError, IntegrityError
from limpet.format.kdf import KdfParameters
from limpet.format.pack import BlobKind
from limpet.ids import BlobId, StorageId
from limpet.repository.repository import Repository
from limpet.repository.saver import BlobSaver
from limpet.storage.memory import MemoryBackend
from limpet.storage.recording import Operation, RecordingBackend

TREE = b'{"nodes":[]}\n'


class FlippingBackend(MemoryBackend):
    """Flips a bit in the next `flips` ranges that are read."""

    def __init__(self) -> None:
        super().__init__()
        self.flips = 0

    def load(self, handle: Handle, offset_bytes: int = 0, length_bytes: int | None = None) -> bytes:
        data = bytearray(super().load(handle, offset_bytes, length_bytes))
        if self.flips and length_bytes is not None:
            self.flips -= 1
            data[len(data) // 2] ^= 1
        return bytes(data)


@pytest.fixture
def backend() -> FlippingBackend:
    """Holds a repository with one tree."""
    backend = FlippingBackend()
    saver = BlobSaver(Repository.create(backend, "secret", kdf=KdfParameters(n=2, r=1, p=1, salt=bytes(64))))
    saver.save_tree(TREE)
    saver.flush()
    saver.close()
    return backend


def only_blob(repository: Repository) -> BlobId:
    """The tree's id."""
    ((_, blob_id),) = repository.index.iterate()
    return blob_id


def test_a_transfer_that_went_wrong_once_is_repeated(backend: FlippingBackend) -> None:
    """A flipped bit on a bad line is no damage of the repository: a restore must not give the file up for it."""
    repository = Repository.open(backend, "secret")
    repository.load_index()
    backend.flips = 1
    assert repository.load_blob(BlobKind.TREE, only_blob(repository)) == TREE
    backend.flips = 2
    with pytest.raises(IntegrityError, match="cannot be read"):
        repository.load_blob(BlobKind.TREE, only_blob(repository))


def test_an_index_that_could_not_be_listed_is_not_taken_as_loaded(backend: FlippingBackend) -> None:
    """A program that catches the error and asks again must not get an empty repository."""
    recording = RecordingBackend(backend)
    repository = Repository.open(recording, "secret")
    recording.fail_after(0, times=1, operations=[Operation.LIST])
    with pytest.raises(BackendError):
        repository.load_index()
    repository.load_index()
    assert len(repository.index) == 1


def test_a_pack_that_no_index_names_has_no_blobs(backend: FlippingBackend) -> None:
    """Packs that another process has just stored are in no index yet; asking for them must not end in a KeyError."""
    repository = Repository.open(backend, "secret")
    repository.load_index()
    assert repository.index.pack_blobs(StorageId(bytes(32))) == []
    (pack,) = repository.list_files(FileKind.PACK)
    assert [blob.id for blob in repository.index.pack_blobs(StorageId(bytes.fromhex(pack.name)))] == [
        only_blob(repository)
    ]
