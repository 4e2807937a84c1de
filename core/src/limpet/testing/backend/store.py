"""`StoreUnderTest`: what a backend gives so that it can be tested, and what its tests share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import pytest

from limpet.contracts.backend import CONFIG_HANDLE, Backend, FileKind, Handle
from limpet.errors import BackendError
from limpet.testing.backend.contents import MIB, content_of, handle_of, save_all

T = TypeVar("T")


class StoreUnderTest:
    """The fixture `backend`, the back door, and ways to open the store otherwise.

    The back door reaches the stored files without a method of the backend, so that a backend cannot agree
    with itself about something wrong.
    """

    secrets: Sequence[str] = ()
    """Passwords and tokens the backend was opened with: they must show up nowhere."""
    large_size_bytes = 17 * MIB + 4321
    """Larger than a usual pack and than most chunk sizes, and no multiple of anything."""
    largest_size_bytes = 128 * MIB
    """The largest pack that a repository may be set to; one file of this size is saved, once."""
    listed_files = 3001
    """How many files a listing is tried with; take more than one page of your service."""
    names_are_checked = False
    """Whether the store itself refuses a file whose SHA-256 is not its name: overwriting is tried with the config then,
    which has no such name."""

    @pytest.fixture
    def backend(self) -> Iterator[Backend]:
        """A created, empty store; yours replaces this one."""
        raise NotImplementedError("define the fixture `backend` in your subclass")

    @abstractmethod
    def back_door_read(self, backend: Backend, handle: Handle) -> bytes | None:
        """The stored bytes, None if there is no such file; uses no method of the backend."""

    @abstractmethod
    def back_door_write(self, backend: Backend, handle: Handle, data: bytes) -> None:
        """Put these bytes in the place of the file, also under a name that is no id; uses no method of the backend."""

    def open_again(self, backend: Backend) -> Backend | None:
        """A second, independent instance on the same store; None where the store lives in the instance itself."""
        return None

    def open_with_wrong_credentials(self, backend: Backend) -> Backend | None:
        """The same store with a password or key that is none of its own; None where there are no credentials."""
        return None

    def open_missing_store(self, backend: Backend) -> Backend | None:
        """A bucket, container or folder that is not there, on the same server; None where there is no such thing."""
        return None

    def open_where_nothing_listens(self, backend: Backend) -> Backend | None:
        """The same store on a port of 127.0.0.1 or localhost that nobody listens on; None without a network."""
        return None

    def open_read_only(self, backend: Backend) -> Backend | None:
        """A way into the store of `backend` that may read and not write; None where there is no such thing."""
        return None

    def _open_again(self, backend: Backend) -> Backend:
        return or_skip(self.open_again(backend), "the store lives in this instance alone")

    def _handle_to_overwrite(self) -> Handle:
        return CONFIG_HANDLE if self.names_are_checked else handle_of(b"the name of both")

    def _saved_with_config(self, backend: Backend) -> list[Handle]:
        """The handle of a snapshot that was saved beside a config."""
        backend.save(CONFIG_HANDLE, content_of(b"the config"))
        return save_all(backend, FileKind.SNAPSHOT, [b"a snapshot"])

    def _refusal(self, call: Callable[[], object]) -> BackendError:
        """The error of the call, which is one plain line without a secret."""
        with pytest.raises(BackendError) as caught:
            call()
        message = str(caught.value)
        assert message.strip()
        assert "\n" not in message
        assert not [secret for secret in self.secrets if secret in message]
        return caught.value


def or_skip(other: Backend | None, reason: str) -> Backend:
    """The other way into the store; the test is skipped where there is none, for this reason."""
    if other is None:
        pytest.skip(reason)
    return other


def outcome(call: Callable[[], T]) -> tuple[BackendError | None, T | None]:
    """The error of the call, or else its result."""
    try:
        return None, call()
    except BackendError as error:
        return error, None
