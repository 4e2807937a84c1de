"""Listings are complete, also while files come and go."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from limpet.contracts.backend import Backend, FileKind, Handle
from limpet.testing.backend.contents import content_of, handle_of, save_all, some_bytes
from limpet.testing.backend.store import StoreUnderTest


class Listed(StoreUnderTest):
    """Listing."""

    def test_list_all(self, backend: Backend) -> None:
        """A listing that stops after its first page loses snapshots, and prune then removes their data."""
        contents = [b"%d" % number for number in range(self.listed_files)]
        with ThreadPoolExecutor(backend.properties.connections) as pool:
            list(pool.map(lambda data: backend.save(handle_of(data), content_of(data)), contents))
        listed = [(info.name, info.size_bytes) for info in backend.list(FileKind.PACK)]
        assert sorted(listed) == sorted((handle_of(data).name, len(data)) for data in contents)

    def test_list_can_be_left_early(self, backend: Backend) -> None:
        """Looking for one snapshot stops at the first match; the backend must go on working."""
        handles = save_all(backend, FileKind.SNAPSHOT, [b"one", b"two", b"three"])
        for info in backend.list(FileKind.SNAPSHOT):
            assert info.name in {handle.name for handle in handles}
            break
        assert len(list(backend.list(FileKind.SNAPSHOT))) == 3

    def test_remove_while_listing(self, backend: Backend) -> None:
        """`unlock` removes each lock as it is listed."""
        save_all(backend, FileKind.LOCK, [b"%d" % number for number in range(20)])
        for info in backend.list(FileKind.LOCK):
            backend.remove(Handle(FileKind.LOCK, info.name))
        assert list(backend.list(FileKind.LOCK)) == []

    def test_list_while_others_write(self, backend: Backend) -> None:
        """Other machines back up meanwhile: their files may show, ours must, each once, none half-written."""
        stable = {handle.name: 4 for handle in save_all(backend, FileKind.PACK, [b"%04d" % n for n in range(30)])}
        coming = {handle_of(data).name: data for data in (some_bytes(100_000, seed=n) for n in range(30))}
        other = self.open_again(backend) or backend
        done = threading.Event()

        def write() -> None:
            try:
                for data in coming.values():
                    other.save(handle_of(data), content_of(data))
                for name in list(coming)[::2]:
                    other.remove(Handle(FileKind.PACK, name))
            finally:
                done.set()
                if other is not backend:
                    other.close()

        with ThreadPoolExecutor(1) as pool:
            writer = pool.submit(write)
            while True:
                was_done = done.is_set()
                listed = [(info.name, info.size_bytes) for info in backend.list(FileKind.PACK)]
                sizes = dict(listed)
                assert len(sizes) == len(listed)
                assert stable.items() <= sizes.items()
                assert all(size == 100_000 for name, size in listed if name not in stable)
                if was_done:
                    break
            writer.result()
        assert set(sizes) == set(stable) | set(list(coming)[1::2])
