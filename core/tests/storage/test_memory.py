"""The in-memory backend against the conformance suite, replacing and not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from limpet.contracts.backend import Backend, Content, Handle
from limpet.errors import BackendError
from limpet.storage.memory import MemoryBackend
from limpet.testing.backend import BackendConformance, handle_of


class TestMemoryBackend(BackendConformance):
    """The reference implementation of the contract."""

    @pytest.fixture(params=[True, False], ids=["replacing", "refusing"])
    def backend(self, request: pytest.FixtureRequest) -> Iterator[Backend]:
        backend = MemoryBackend(atomic_replace=request.param)
        backend.create()
        yield backend
        backend.close()

    def back_door_read(self, backend: Backend, handle: Handle) -> bytes | None:
        assert isinstance(backend, MemoryBackend)
        return backend.files.get(handle)

    def back_door_write(self, backend: Backend, handle: Handle, data: bytes) -> None:
        assert isinstance(backend, MemoryBackend)
        backend.files[handle] = data


def test_wrong_hash_is_refused() -> None:
    """The reference catches a caller that hands over bytes other than those it hashed."""
    with pytest.raises(BackendError, match="SHA-256"):
        MemoryBackend().save(handle_of(b"one"), Content(memoryview(b"two"), bytes.fromhex(handle_of(b"one").name)))
