"""What is saved comes back byte for byte, also where two save under one name."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from limpet.contracts.backend import CONFIG_HANDLE, Backend, Content, FileKind, Handle
from limpet.errors import BackendError, MissingFileError
from limpet.storage.retry import RetryBackend
from limpet.testing.backend.contents import (
    LISTED_KINDS,
    MIB,
    content_of,
    handle_of,
    large_content,
    save_all,
    some_bytes,
)
from limpet.testing.backend.store import StoreUnderTest, outcome

TRIES_OF_A_SAVE = 5


class Saved(StoreUnderTest):
    """Saving and loading whole files."""

    @pytest.mark.parametrize("kind", LISTED_KINDS)
    def test_round_trip(self, backend: Backend, kind: FileKind) -> None:
        """Every kind of file comes back byte for byte, and is stored as it is."""
        data = some_bytes(5000)
        (handle,) = save_all(backend, kind, [data])
        assert backend.load(handle) == data
        assert self.back_door_read(backend, handle) == data
        info = backend.stat(handle)
        assert (info.name, info.size_bytes) == (handle.name, len(data))
        backend.remove(handle)
        assert self.back_door_read(backend, handle) is None

    def test_config(self, backend: Backend) -> None:
        """The config has no name and its own place; without it there is no repository."""
        with pytest.raises(MissingFileError):
            backend.stat(CONFIG_HANDLE)
        backend.save(CONFIG_HANDLE, content_of(b"the config"))
        assert backend.load(CONFIG_HANDLE) == b"the config"
        assert backend.stat(CONFIG_HANDLE).size_bytes == len(b"the config")
        assert self.back_door_read(backend, CONFIG_HANDLE) == b"the config"
        backend.remove(CONFIG_HANDLE)
        with pytest.raises(MissingFileError):
            backend.load(CONFIG_HANDLE)

    @pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 65536, MIB, MIB + 1])
    def test_sizes(self, backend: Backend, size: int) -> None:
        """Sizes about a page, a buffer and nothing at all are where writes get cut."""
        data = some_bytes(size)
        (handle,) = save_all(backend, FileKind.PACK, [data])
        assert backend.load(handle) == data
        assert backend.stat(handle).size_bytes == size
        assert self.back_door_read(backend, handle) == data

    def test_large_file(self, backend: Backend) -> None:
        """Packs are 16 MiB and more: multi-part uploads, direct writes and timeouts start here."""
        data = some_bytes(self.large_size_bytes)
        (handle,) = save_all(backend, FileKind.PACK, [data])
        assert hashlib.sha256(backend.load(handle)).hexdigest() == handle.name
        assert backend.load(handle, len(data) - 99) == data[-99:]

    def test_largest_file(self, backend: Backend) -> None:
        """Packs may have up to 128 MiB: limits of a single upload, of parts and of 32-bit sizes show with these."""
        data, handle = large_content(self.largest_size_bytes)
        backend.save(handle, Content(memoryview(data), bytes.fromhex(handle.name)))
        end = bytes(data[-4321:])
        del data
        assert backend.stat(handle).size_bytes == self.largest_size_bytes
        assert hashlib.sha256(backend.load(handle)).hexdigest() == handle.name
        assert backend.load(handle, self.largest_size_bytes - len(end), len(end)) == end

    def test_content_can_be_any_view(self, backend: Backend) -> None:
        """Packs are saved out of a slice of a reused buffer, which must stay free to be reused afterwards."""
        buffer = bytearray(some_bytes(3 * MIB))
        data = bytes(buffer[4096 : 4096 + 2 * MIB])
        with memoryview(buffer)[4096 : 4096 + 2 * MIB] as view:
            backend.save(handle_of(data), Content(view, hashlib.sha256(data).digest()))
        buffer[:] = bytes(len(buffer))
        buffer.extend(b"a view still held would make this fail")
        assert backend.load(handle_of(data)) == data

    def test_same_name_in_each_kind(self, backend: Backend) -> None:
        """Kinds are apart: an index and a pack may have one name."""
        data = b"the same name"
        for kind in LISTED_KINDS:
            backend.save(Handle(kind, handle_of(data).name), content_of(data))
        backend.remove(Handle(FileKind.INDEX, handle_of(data).name))
        left = [kind for kind in LISTED_KINDS if [info.name for info in backend.list(kind)] == [handle_of(data).name]]
        assert left == [kind for kind in LISTED_KINDS if kind is not FileKind.INDEX]

    def test_save_over_existing(self, backend: Backend) -> None:
        """Replacing is one step or refused: never a moment, or a rest, of the old file."""
        handle = self._handle_to_overwrite()
        old, new = some_bytes(70_000, seed=1), some_bytes(3_000, seed=2)
        backend.save(handle, content_of(old))
        if backend.properties.atomic_replace:
            backend.save(handle, content_of(new))
            assert backend.load(handle) == new
            assert backend.stat(handle).size_bytes == len(new)
        else:
            with pytest.raises(BackendError) as caught:
                backend.save(handle, content_of(new))
            assert caught.value.permanent
            assert backend.load(handle) == old

    def test_replace_is_seen_whole(self, backend: Backend) -> None:
        """A reader beside a replacing writer sees one version or the other, never a mixture or nothing.

        A server may say that it is too busy for that: then both ask again, as they do in a backup.
        """
        if not backend.properties.atomic_replace:
            pytest.skip("does not replace")
        backend = RetryBackend(backend)
        handle = self._handle_to_overwrite()
        versions = [some_bytes(200_000, seed=1), some_bytes(150_000, seed=2)]
        backend.save(handle, content_of(versions[0]))
        done = threading.Event()

        def write() -> None:
            try:
                for round_number in range(20):
                    backend.save(handle, content_of(versions[round_number % 2]))
            finally:
                done.set()

        with ThreadPoolExecutor(1) as pool:
            writer = pool.submit(write)
            while not done.is_set():
                assert backend.load(handle) in versions
            writer.result()

    def test_two_writers_of_one_name(self, backend: Backend) -> None:
        """Two that overwrite each other leave one of both files, whole: what a save that succeeded promised is there.

        Where files are not replaced, exactly one of the two is told that it succeeded.
        """
        handle = self._handle_to_overwrite()
        other = self.open_again(backend) or backend
        try:
            for round_number in range(8):
                contents = [some_bytes(90_000 + 40_000 * n, seed=2 * round_number + n) for n in range(2)]
                errors = _save_at_once([backend, other], handle, contents)
                stored = backend.load(handle)
                assert stored in [data for data, error in zip(contents, errors, strict=True) if error is None]
                assert backend.stat(handle).size_bytes == len(stored)
                assert other.load(handle) == stored
                if backend.properties.atomic_replace:
                    assert errors == [None, None]
                else:
                    assert errors.count(None) == 1
                    backend.remove(handle)
        finally:
            if other is not backend:
                other.close()


def _save_at_once(backends: Sequence[Backend], handle: Handle, contents: Sequence[bytes]) -> list[BackendError | None]:
    """Each backend saves its content under the one handle, all in the same moment; the errors, all permanent.

    A server that is in its own way for a moment says so: that save is tried again, as the core does.
    """
    start = threading.Barrier(len(backends))

    def save(backend: Backend, data: bytes) -> BackendError | None:
        start.wait()
        for _ in range(TRIES_OF_A_SAVE):
            error, _nothing = outcome(lambda: backend.save(handle, content_of(data)))
            if error is None or error.permanent:
                return error
        raise AssertionError(error)

    with ThreadPoolExecutor(len(backends)) as pool:
        return list(pool.map(save, backends, contents))
