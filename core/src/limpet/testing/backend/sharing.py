"""One instance serves many threads, and two serve one store."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from limpet.contracts.backend import Backend, FileKind
from limpet.errors import BackendError, MissingFileError
from limpet.testing.backend.contents import content_of, handle_of, save_all, some_bytes
from limpet.testing.backend.store import StoreUnderTest, outcome


class Shared(StoreUnderTest):
    """Many at once."""

    def test_concurrent_use(self, backend: Backend) -> None:
        """One instance serves all threads; a shared connection or buffer mixes up bodies."""
        contents = [some_bytes(1_000 + 997 * number, seed=number) for number in range(40)]

        def work(number: int) -> None:
            data = contents[number]
            handle = handle_of(data)
            backend.save(handle, content_of(data))
            for _ in range(3):
                assert backend.load(handle) == data
                assert backend.load(handle, number, 500) == data[number : number + 500]
                assert backend.stat(handle).size_bytes == len(data)
            if number % 2:
                backend.remove(handle)
                with pytest.raises(MissingFileError):
                    backend.load(handle)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(len(contents))))
        assert {info.name for info in backend.list(FileKind.PACK)} == {handle_of(data).name for data in contents[::2]}

    def test_same_file_saved_at_once(self, backend: Backend) -> None:
        """Two threads may save one index; the file is whole, whoever wins."""
        data = some_bytes(300_000)
        handle = handle_of(data)
        start = threading.Barrier(6)

        def save() -> BackendError | None:
            start.wait()
            return outcome(lambda: backend.save(handle, content_of(data)))[0]

        with ThreadPoolExecutor(6) as pool:
            results = [future.result() for future in [pool.submit(save) for _ in range(6)]]
        assert None in results
        if backend.properties.atomic_replace:
            assert results == [None] * 6
        assert backend.load(handle) == data
        assert [info.name for info in backend.list(FileKind.PACK)] == [handle.name]

    def test_second_instance(self, backend: Backend) -> None:
        """What one process saved another one sees at once: locks depend on that."""
        other = self._open_again(backend)
        try:
            (handle,) = save_all(backend, FileKind.LOCK, [b"a lock"])
            assert [info.name for info in other.list(FileKind.LOCK)] == [handle.name]
            assert other.load(handle) == b"a lock"
            other.remove(handle)
            assert list(backend.list(FileKind.LOCK)) == []
        finally:
            other.close()
