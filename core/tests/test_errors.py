"""Errors keep what they know when they are told in other words, or come from another process."""

from __future__ import annotations

import pickle

import pytest
from limpet.errors import BackendError, LimpetError, MissingFileError


class RefusedError(BackendError):
    """One of a plugin, with a parameter of its own."""

    def __init__(self, message: str, status: int, *, permanent: bool) -> None:
        super().__init__(message, permanent=permanent, retry_after_s=7.0)
        self.status = status


ERRORS = [RefusedError("refused", 403, permanent=True), MissingFileError("refused"), BackendError("refused")]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_other_words(error: BackendError) -> None:
    """`init` says which repository it is about: a refusal of the storage must not become a TypeError by that."""
    other = error.saying(f"create repository failed: {error}")
    assert str(other) == "create repository failed: refused"
    assert str(error) == "refused"
    _assert_same_knowledge(other, error)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_another_process(error: BackendError) -> None:
    """An error that cannot come back from a worker hangs or hides it: the pool dies of what it cannot read."""
    other = pickle.loads(pickle.dumps(error))
    assert str(other) == "refused"
    _assert_same_knowledge(other, error)


def _assert_same_knowledge(other: LimpetError, error: LimpetError) -> None:
    assert type(other) is type(error)
    assert vars(other) == vars(error)
