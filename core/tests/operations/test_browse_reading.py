"""Reading files at any place: the right bytes, few requests, bounded memory, damage that stays where it is."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limpet.contracts.backend import FileKind, Handle
from limpet.errors import BackendError, RepositoryError
from limpet.format.node import Node
from limpet.operations.browse.file_reader import FileReader
from limpet.operations.browse.plaintexts import Plaintexts
from limpet.progress import SilentReporter
from limpet.storage.memory import MemoryBackend
from limpet.storage.recording import Operation, RecordingBackend
from limpet.storage.wrapping import WrappingBackend
from limpet.testing.handmade import Handmade

if TYPE_CHECKING:
    from .conftest import Told

MIB = 1 << 20


@pytest.fixture
def backend() -> RecordingBackend:
    """Where the repository is."""
    return RecordingBackend(MemoryBackend())


@pytest.fixture
def handmade(backend: RecordingBackend) -> Handmade:
    """A repository in memory."""
    return Handmade(backend)


@pytest.fixture
def plaintexts(handmade: Handmade) -> Iterator[Plaintexts]:
    """Its plaintexts."""
    made = Plaintexts(handmade.repository)
    yield made
    made.close()


def blobs(count: int, size: int, seed: int = 1) -> list[bytes]:
    """Random blobs of about that size, no two of one length."""
    draw = random.Random(seed)
    return [draw.randbytes(size + number) for number in range(count)]


def pack_loads(backend: RecordingBackend) -> int:
    """Requests for parts of packs so far."""
    return sum(call.operation is Operation.LOAD and call.kind is FileKind.PACK for call in backend.calls)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), sizes=st.lists(st.integers(0, 60), max_size=8))
def test_every_range(data: st.DataObject, sizes: list[int]) -> None:
    """Whatever range is asked for, its bytes come, also across borders of blobs and the end of the file."""
    content = [random.Random(number).randbytes(size) for number, size in enumerate(sizes)]
    handmade, whole = Handmade(), b"".join(content)
    plaintexts = Plaintexts(handmade.repository)
    reader = FileReader(handmade.file(b"f", *content), plaintexts, SilentReporter())
    assert reader.size_bytes == len(whole)
    for _ in range(4):
        offset = data.draw(st.integers(0, len(whole) + 5))
        length = data.draw(st.integers(0, len(whole) + 5))
        assert reader.read(offset, length) == whole[offset : offset + length]
        assert reader.read_at_hand(offset, length) == whole[offset : offset + length]
    plaintexts.close()


def test_at_hand_loads_nothing(handmade: Handmade, backend: RecordingBackend, plaintexts: Plaintexts) -> None:
    """The thread that answers the kernel must never wait for the storage."""
    (one, two) = content = blobs(2, 300_000)
    reader = FileReader(handmade.file(b"f", *content), plaintexts, SilentReporter())
    assert reader.read_at_hand(0, 10) is None
    assert reader.blob_at_hand(0) is None
    assert pack_loads(backend) == 0
    reader.read(0, 10)
    assert reader.read_at_hand(len(one) - 4, 4) == one[-4:]
    assert reader.read_at_hand(len(one) - 4, 5) is None
    assert reader.blob_at_hand(5) == (0, one)
    assert reader.blob_at_hand(len(one) + len(two)) is None


def test_in_sequence(handmade: Handmade, backend: RecordingBackend, plaintexts: Plaintexts) -> None:
    """Over a slow line each request costs a round trip: a reader in sequence has neighbours loaded together, ahead."""
    content = blobs(64, 200_000)
    whole = b"".join(content)
    reader = FileReader(handmade.file(b"f", *content), plaintexts, SilentReporter())
    read = [reader.read(offset, 65536) for offset in range(0, len(whole), 65536)]
    assert b"".join(read) == whole
    assert pack_loads(backend) < 20
    assert reader.is_in_sequence


def test_small_files(handmade: Handmade, backend: RecordingBackend, plaintexts: Plaintexts) -> None:
    """Small files lie together in packs: one request brings many of them."""
    content = blobs(100, 1000)
    handmade.pack(*content)
    for blob in content:
        reader = FileReader(handmade.file(b"f", blob, stored=False), plaintexts, SilentReporter())
        assert reader.read(0, 2000) == blob
    assert pack_loads(backend) < 5


def test_memory_is_bounded(handmade: Handmade) -> None:
    """However much is read, what is kept stays below the limit."""
    plaintexts = Plaintexts(handmade.repository, cache_bytes=2 * MIB)
    content = blobs(20, 500_000)
    reader = FileReader(handmade.file(b"f", *content), plaintexts, SilentReporter())
    whole = b"".join(content)
    assert b"".join(reader.read(offset, MIB) for offset in range(0, len(whole), MIB)) == whole
    plaintexts.close()
    offset, kept = 0, 0
    for blob in content:
        kept += len(blob) if reader.blob_at_hand(offset) is not None else 0
        offset += len(blob)
    assert 0 < kept <= 2 * MIB


def test_many_readers_of_one_blob(handmade: Handmade, backend: RecordingBackend, plaintexts: Plaintexts) -> None:
    """Several readers want the same at once: it is loaded once."""
    (blob,) = blobs(1, 400_000)
    node = handmade.file(b"f", blob)
    start, found = threading.Barrier(8), []

    def read() -> None:
        reader = FileReader(node, plaintexts, SilentReporter())
        start.wait()
        found.append(reader.read(1000, 1000))

    with ExitStack() as stack:
        for _ in range(8):
            thread = threading.Thread(target=read)
            thread.start()
            stack.callback(thread.join)
    assert found == [blob[1000:2000]] * 8
    assert pack_loads(backend) == 1


@pytest.mark.parametrize("lost", [{1}, {0}, {4}, {1, 3}, {0, 1, 2, 3, 4}])
def test_lost_blobs(handmade: Handmade, plaintexts: Plaintexts, lost: set[int], told: Told) -> None:
    """What surrounds lost blobs is found from both ends of the file; between is an error, told once."""
    content = blobs(5, 1000)
    handmade.pack(*(blob for number, blob in enumerate(content) if number not in lost))
    reader = FileReader(handmade.file(b"f", *content, stored=False), plaintexts, told)
    offset = 0
    for number, blob in enumerate(content):
        if min(lost) <= number <= max(lost):
            for _ in range(2):
                with pytest.raises(RepositoryError, match=r"^f: "):
                    reader.read(offset, len(blob))
        else:
            assert reader.read(offset, len(blob)) == blob
        offset += len(blob)
    assert reader.size_bytes == offset
    assert len(told.warnings) == 1
    assert "f: bytes" in told.warnings[0]


@pytest.mark.parametrize("said", [0, 3000, 4005])
def test_lost_blobs_of_a_file_whose_size_is_wrong(handmade: Handmade, plaintexts: Plaintexts, said: int) -> None:
    """Where the size leaves no room for what is lost, nothing behind it can be placed: no byte is given out there."""
    content = blobs(5, 1000)
    handmade.pack(*content[:2], *content[3:])
    node = replace(handmade.file(b"f", *content, stored=False), size=said)
    reader = FileReader(node, plaintexts, SilentReporter())
    before = content[0] + content[1]
    assert reader.read(0, len(before)) == before
    with pytest.raises(RepositoryError, match="in no index"):
        reader.read(len(before), 10)
    assert reader.size_bytes > len(before)


def flipped(stored: bytes) -> bytes:
    """The pack with a bit in its first blob turned over."""
    return bytes([stored[0], stored[1], stored[2] ^ 1]) + stored[3:]


@pytest.mark.parametrize("size", [1000, 300_000])
@pytest.mark.parametrize("damage", [flipped, lambda stored: stored[:500], lambda _: None])
def test_damaged_packs(
    handmade: Handmade, plaintexts: Plaintexts, told: Told, damage: Callable[[bytes], bytes | None], size: int
) -> None:
    """Bytes that are not what was backed up are never given out, small or large, ahead or not; the others are."""
    first, second = blobs(2, size)
    pack_id, _ = handmade.pack(first), handmade.pack(second)
    handmade.replace_pack(pack_id, damage(handmade.repository.backend.load(handmade.handle(pack_id))))
    reader = FileReader(handmade.file(b"f", second, first, second, stored=False), plaintexts, told)
    assert reader.read(0, len(second)) == second
    with pytest.raises(RepositoryError):
        reader.read(len(second), 1)
    assert reader.read(len(second) + len(first), len(second)) == second
    assert len(told.warnings) == 1


def test_storage_fails_for_a_while(handmade: Handmade, backend: RecordingBackend, plaintexts: Plaintexts) -> None:
    """An error of the storage is not remembered: the next read tries again."""
    (blob,) = blobs(1, 300_000)
    reader = FileReader(handmade.file(b"f", blob), plaintexts, SilentReporter())
    backend.fail_after(0, times=2, operations={Operation.LOAD}, error=BackendError("away", permanent=True))
    with pytest.raises(RepositoryError, match="away"):
        reader.read(0, 10)
    assert reader.read(0, 10) == blob[:10]


def test_ends_with_its_threads(handmade: Handmade) -> None:
    """Nothing is left running when a browser was closed; what is asked for later is still answered."""
    plaintexts = Plaintexts(handmade.repository)
    content = blobs(30, 200_000)
    node: Node = handmade.file(b"f", *content)
    reader = FileReader(node, plaintexts, SilentReporter())
    reader.read(0, MIB)
    plaintexts.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "limpet-ahead"]
    whole = b"".join(content)
    assert reader.read(3 * MIB, MIB) == whole[3 * MIB : 4 * MIB]


def test_a_broken_thread_keeps_nobody_waiting(handmade: Handmade) -> None:
    """What nobody thought of goes wrong while blobs are loaded ahead: who reads them does not wait for ever."""
    node = handmade.file(b"f", *blobs(30, 200_000))
    backend = BrokenAhead(handmade.repository.backend)
    handmade.repository.backend = backend
    plaintexts = Plaintexts(handmade.repository)
    reader = FileReader(node, plaintexts, SilentReporter())
    read = bytearray()
    thread = threading.Thread(target=lambda: read.extend(reader.read(0, node.size)), daemon=True)
    reader.read(0, MIB)
    thread.start()
    thread.join(30)
    assert backend.broken
    assert len(read) == node.size
    plaintexts.close()


class BrokenAhead(WrappingBackend):
    """A backend with a fault that shows in threads that load ahead."""

    broken = 0

    def load(self, handle: Handle, offset_bytes: int = 0, length_bytes: int | None = None) -> bytes:
        if threading.current_thread().name == "limpet-ahead":
            self.broken += 1
            raise ZeroDivisionError
        return super().load(handle, offset_bytes, length_bytes)
