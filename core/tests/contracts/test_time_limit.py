"""Calls that are given up."""

from __future__ import annotations

import signal
import threading
import time

import pytest
from limpet.contracts.time_limit import within


def test_results_and_errors_pass() -> None:
    """None is a result too; an error is that of the call, with its place in it."""
    assert within(30, lambda: 5) == 5
    assert within(30, lambda: None) is None
    with pytest.raises(ZeroDivisionError):
        within(30, lambda: 1 // 0)


def test_given_up() -> None:
    """A server that never answers must not hold the backup, nor keep the process from ending."""
    over = threading.Event()
    begin = time.monotonic()
    with pytest.raises(TimeoutError, match=r"no answer within 0\.1 s"):
        within(0.1, over.wait)
    assert time.monotonic() - begin < 20
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "limpet-within")
    over.set()


def test_interrupted() -> None:
    """Ctrl-C is for the whole run, whatever hangs."""
    over = threading.Event()
    timer = threading.Timer(0.2, lambda: signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT))
    timer.start()
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        within(60, over.wait)
    assert time.monotonic() - begin < 20
    over.set()
