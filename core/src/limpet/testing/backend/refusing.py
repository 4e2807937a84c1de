"""A store that refuses, and one that is not there."""

from __future__ import annotations

from collections.abc import Callable

from limpet.contracts.backend import CONFIG_HANDLE, Backend, FileKind
from limpet.errors import MissingFileError
from limpet.testing.backend.contents import content_of, handle_of
from limpet.testing.backend.store import StoreUnderTest, or_skip, outcome


class Refused(StoreUnderTest):
    """Each kind of refusal is told as what it is."""

    def test_wrong_credentials(self, backend: Backend) -> None:
        """A mistyped password is told at once and as what it is: retried it locks the account, taken for a missing
        repository it makes people run `init`.
        """
        (handle,) = self._saved_with_config(backend)
        other = or_skip(self.open_with_wrong_credentials(backend), "there are no credentials")
        calls: list[Callable[[], object]] = [
            lambda: other.stat(CONFIG_HANDLE),
            lambda: other.load(handle),
            lambda: list(other.list(FileKind.SNAPSHOT)),
            lambda: other.save(handle_of(b"another"), content_of(b"another")),
            lambda: other.remove(handle),
        ]
        try:
            for call in calls:
                error = self._refusal(call)
                assert error.permanent, error
                assert not isinstance(error, MissingFileError), error
        finally:
            other.close()
        assert backend.load(handle) == b"a snapshot"

    def test_missing_store(self, backend: Backend) -> None:
        """A mistyped bucket is no empty repository that is waited for."""
        self._saved_with_config(backend)
        other = or_skip(self.open_missing_store(backend), "a store is always there")
        try:
            for call in (lambda: other.stat(CONFIG_HANDLE), lambda: other.load(CONFIG_HANDLE)):
                assert self._refusal(call).permanent
            failure, listed = outcome(lambda: list(other.list(FileKind.SNAPSHOT)))
            assert not listed
            assert failure is None or failure.permanent, failure
        finally:
            other.close()

    def test_nothing_listens(self, backend: Backend) -> None:
        """A server that restarts is waited for, by its name; it is no missing repository."""
        other = or_skip(self.open_where_nothing_listens(backend), "there is no network")
        handle = handle_of(b"a pack")
        calls: list[Callable[[], object]] = [
            lambda: other.stat(CONFIG_HANDLE),
            lambda: other.load(handle, 0, 1),
            lambda: list(other.list(FileKind.SNAPSHOT)),
            lambda: other.save(handle, content_of(b"a pack")),
        ]
        try:
            for call in calls:
                error = self._refusal(call)
                assert not error.permanent, error
                assert "127.0.0.1" in str(error) or "localhost" in str(error), error
        finally:
            other.close()

    def test_read_only(self, backend: Backend) -> None:
        """A key that may only read restores and checks; what it may not is told at once, and leaves everything."""
        (handle,) = self._saved_with_config(backend)
        other = or_skip(self.open_read_only(backend), "who may read may write")
        try:
            assert other.load(handle) == b"a snapshot"
            assert other.load(handle, 2, 4) == b"snap"
            assert other.stat(CONFIG_HANDLE).size_bytes == len(b"the config")
            assert [info.name for info in other.list(FileKind.SNAPSHOT)] == [handle.name]
            for call in (
                lambda: other.save(handle_of(b"another"), content_of(b"another")),
                lambda: other.remove(handle),
            ):
                error = self._refusal(call)
                assert error.permanent, error
                assert not isinstance(error, MissingFileError), error
        finally:
            other.close()
        assert backend.load(handle) == b"a snapshot"
        assert list(backend.list(FileKind.PACK)) == []
