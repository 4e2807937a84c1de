"""Each wrapper around the reference backend is itself a backend that conforms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from limpet.contracts.backend import Backend, Handle
from limpet.errors import UsageError
from limpet.storage.cache import Cache, CacheBackend
from limpet.storage.freeze import FreezeBackend
from limpet.storage.limit import LimitBackend
from limpet.storage.memory import MemoryBackend
from limpet.storage.recording import RecordingBackend
from limpet.storage.retry import RetryBackend
from limpet.storage.watchdog import WatchdogBackend
from limpet.storage.wrapping import WrappingBackend
from limpet.testing.backend import BackendConformance

Wrap = Callable[[Backend, Path], Backend]


def nested(inner: Backend, folder: Path) -> Backend:
    """All wrappers at once, as in a run."""
    frozen = FreezeBackend(RecordingBackend(LimitBackend(inner, 1 << 40, 1 << 40)))
    return CacheBackend(RetryBackend(frozen), Cache(folder, "a" * 64))


WRAPPERS: dict[str, Wrap] = {
    "retry": lambda inner, folder: RetryBackend(inner),
    "limit": lambda inner, folder: LimitBackend(inner, 2e4, 2e4, sleep=lambda _: None),
    "cache": lambda inner, folder: CacheBackend(inner, Cache(folder, "a" * 64)),
    "no cache": lambda inner, folder: CacheBackend(inner, Cache(Path("/dev/null/cache"), "a" * 64)),
    "freeze": lambda inner, folder: FreezeBackend(inner),
    "recording": lambda inner, folder: RecordingBackend(inner),
    "watchdog": lambda inner, folder: WatchdogBackend(inner, timeout_s=60.0),
    "nested": nested,
}


class TestWrappers(BackendConformance):
    """A wrapper that changes the contract breaks every layer above it."""

    largest_size_bytes = 24 << 20
    """Sizes are the inner backend's business: 24 MiB are paced, watched and recorded as 128 are."""

    @pytest.fixture(params=WRAPPERS)
    def backend(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
        backend = WRAPPERS[request.param](MemoryBackend(), tmp_path / "cache")
        backend.create()
        yield backend
        backend.close()

    def store(self, backend: Backend) -> MemoryBackend:
        """The memory at the bottom."""
        while isinstance(backend, WrappingBackend):
            backend = backend.inner
        assert isinstance(backend, MemoryBackend)
        return backend

    def back_door_read(self, backend: Backend, handle: Handle) -> bytes | None:
        return self.store(backend).files.get(handle)

    def back_door_write(self, backend: Backend, handle: Handle, data: bytes) -> None:
        self.store(backend).files[handle] = data


@pytest.mark.parametrize(
    "wrapper", [WrappingBackend, RetryBackend, LimitBackend, CacheBackend, FreezeBackend, WatchdogBackend]
)
def test_wrapper_cannot_be_opened(wrapper: type[WrappingBackend]) -> None:
    """Registered by mistake as a plugin, a wrapper must say what is wrong."""
    with pytest.raises(UsageError, match="wraps another backend"):
        wrapper.open("somewhere", {})
