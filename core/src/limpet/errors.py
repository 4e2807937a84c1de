"""The errors that cross package borders, each with the exit code a command ends with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self, TypeVar

_E = TypeVar("_E", bound="LimpetError")


class LimpetError(Exception):
    """Base of every documented error; `str(error)` is the one line a user sees."""

    exit_code: ClassVar[int] = 1
    is_fatal: ClassVar[bool] = True
    """Whether the line begins with `Fatal:`. It does where restic's does: wrappers look for the word."""

    def saying(self, message: str) -> Self:
        """The same error with another message: its kind and all that it knows stay, whatever made it."""
        return _made_again(type(self), message, vars(self))

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors come back whole from worker processes, those of plugins with parameters of their own too."""
        return _made_again, (type(self), str(self), vars(self))


def _made_again(kind: type[_E], message: str, known: dict[str, Any]) -> _E:
    error = kind.__new__(kind, message)
    error.__dict__.update(known)
    return error


class UsageError(LimpetError):
    """The caller asked for something that cannot be: wrong option, unknown name, bad pattern."""


class BackendError(LimpetError):
    """The storage failed. `permanent` tells the retry wrapper that trying again is pointless.

    `retry_after_s` is how long the server asked to be left alone (Retry-After of an answer 429 or 503), if it did.
    """

    def __init__(self, message: str, *, permanent: bool = False, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.retry_after_s = retry_after_s


class MissingFileError(BackendError):
    """The file asked for is not in the storage; always permanent."""

    def __init__(self, message: str) -> None:
        super().__init__(message, permanent=True)


class StorageFullError(BackendError):
    """The storage has no room left, or grants us none; always permanent."""

    def __init__(self, message: str) -> None:
        super().__init__(message, permanent=True)


class IntegrityError(LimpetError):
    """Stored bytes are not what was written: wrong hash, MAC, length or encoding."""


class RepositoryError(LimpetError):
    """The repository cannot do what was asked: version, missing blob, damaged structure."""


class NotFoundError(RepositoryError):
    """What somebody names is not in the repository: an id, a snapshot, a folder of one."""

    is_fatal = False


class NoRepositoryError(RepositoryError):
    """There is no repository at the location."""

    exit_code = 10


class LockedError(RepositoryError):
    """Another process holds a lock that excludes ours, or our own lock was lost."""

    exit_code = 11
    is_fatal = False


class WrongPasswordError(RepositoryError):
    """No key of the repository opens with the password."""

    exit_code = 12


class SourceError(LimpetError):
    """A source could not deliver what it promised; what it promised must not become part of a snapshot.

    `targets` are the paths in the snapshot that are lost, each with the target that it is in or those that are in it;
    none given means all of the source.
    """

    def __init__(self, message: str, *, targets: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.targets = tuple(targets)


class DestinationError(LimpetError):
    """What a file of a snapshot was restored into did not take it: the tool that loads it failed, say."""


class PluginError(LimpetError):
    """A plugin is missing, broken or built for another contract version."""


class HookError(LimpetError):
    """A hook failed, and its option `on_error` says that the run fails with it."""
