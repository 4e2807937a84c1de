"""Saves that break off, and what is left after clean-up and deletion."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import time

import pytest

from limpet.contracts.backend import CONFIG_HANDLE, Backend, Content, FileKind, Handle
from limpet.errors import LimpetError, MissingFileError
from limpet.testing.backend.contents import LISTED_KINDS, MIB, content_of, handle_of, save_all, some_bytes
from limpet.testing.backend.store import StoreUnderTest


class Ended(StoreUnderTest):
    """Interruptions, and the end."""

    def test_content_that_fails(self, backend: Backend) -> None:
        """A save that breaks off in the middle leaves no file behind, be it under its name or in a listing."""
        data = some_bytes(MIB)
        handle = handle_of(data)
        view = memoryview(data)
        broken = Content(view, hashlib.sha256(data).digest())
        view.release()
        with pytest.raises((LimpetError, ValueError)):
            backend.save(handle, broken)
        assert list(backend.list(FileKind.PACK)) == []
        with pytest.raises(MissingFileError):
            backend.stat(handle)
        backend.save(handle, content_of(data))
        assert backend.load(handle) == data

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    def test_killed_while_saving(self, backend: Backend) -> None:
        """Power fails in mid-save: every file that is listed afterwards is whole, and saving goes on."""
        self._open_again(backend).close()
        fork = multiprocessing.get_context("fork")
        for round_number in range(6):
            child = fork.Process(target=self._save_for_ever, args=(backend, round_number), daemon=True)
            child.start()
            time.sleep(0.01 + 0.017 * round_number)
            assert child.pid is not None
            os.kill(child.pid, signal.SIGKILL)
            child.join()
        for info in backend.list(FileKind.PACK):
            handle = Handle(FileKind.PACK, info.name)
            assert hashlib.sha256(backend.load(handle)).hexdigest() == info.name
        data = some_bytes(2 * MIB, seed=0)
        if handle_of(data).name in {info.name for info in backend.list(FileKind.PACK)}:
            backend.remove(handle_of(data))
        backend.save(handle_of(data), content_of(data))
        assert backend.load(handle_of(data)) == data

    def test_sweep(self, backend: Backend) -> None:
        """What broken-off saves have left may go, and nothing that was stored."""
        backend.save(CONFIG_HANDLE, content_of(b"the config"))
        handles = [handle for kind in LISTED_KINDS for handle in save_all(backend, kind, [b"one", b"two"])]
        assert backend.sweep() >= 0
        assert backend.sweep() == 0
        assert all(backend.load(handle) in {b"one", b"two"} for handle in handles)
        assert backend.load(CONFIG_HANDLE) == b"the config"

    def test_delete(self, backend: Backend) -> None:
        """Nothing of the repository is left, and a new one can be made in its place."""
        backend.save(CONFIG_HANDLE, content_of(b"the config"))
        for kind in LISTED_KINDS:
            save_all(backend, kind, [b"one", b"two"])
        backend.delete()
        backend.create()
        for kind in LISTED_KINDS:
            assert list(backend.list(kind)) == []
        with pytest.raises(MissingFileError):
            backend.stat(CONFIG_HANDLE)
        (handle,) = save_all(backend, FileKind.KEY, [b"a new key"])
        assert backend.load(handle) == b"a new key"

    def _save_for_ever(self, backend: Backend, round_number: int) -> None:
        other = self._open_again(backend)
        for number in range(1_000_000):
            data = some_bytes(2 * MIB, seed=round_number * 1000 + number)
            other.save(handle_of(data), content_of(data))
