"""Work that an interrupt must not cut: finished first, unless the storage hangs."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from limpet.errors import BackendError
from limpet.repository.shield import shielded


def test_shielded_work_is_finished() -> None:
    """The interrupt comes when the work is done, and is not forgotten; errors come through."""
    done = []

    def work() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)
        done.append(True)

    with pytest.raises(KeyboardInterrupt):
        shielded(work)
    assert done == [True]

    def fail() -> None:
        raise BackendError("the work's own")

    with pytest.raises(BackendError, match="the work's own"):
        shielded(fail)


def test_shielded_work_that_hangs() -> None:
    """A storage that does not answer must not hold the user for ever."""
    release = threading.Event()
    assert shielded(lambda: None)
    assert not shielded(release.wait, limit_s=0.1)

    def work() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        release.wait()

    with pytest.raises(KeyboardInterrupt):
        shielded(work, grace_s=0.1)
    release.set()
