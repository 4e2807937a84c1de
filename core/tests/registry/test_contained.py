"""The fences around plugins: nothing of the contract is lost on the way through."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import pytest
from limpet.contracts.destination import Destination
from limpet.contracts.source import Source
from limpet.errors import SourceError
from limpet.registry.contained_destination import ContainedDestination
from limpet.registry.contained_source import ContainedSource
from limpet.registry.plugin_calls import PluginCalls

OF_THE_CLASS = {"contract_version", "options", "reads_frozen", "destination"}
"""Asked of a source's class, before there is anything to be contained."""


@pytest.mark.parametrize(("contract", "fence"), [(Source, ContainedSource), (Destination, ContainedDestination)])
def test_all_that_a_plugin_says_passes_its_fence(contract: type[Any], fence: type[Any]) -> None:
    """What is forgotten falls back to the default: hard links in frozen copies looked new in every snapshot."""
    public = {name for name in vars(contract) if not name.startswith("_")} - OF_THE_CLASS
    assert public - vars(fence).keys() == set()


def test_a_fork_while_another_thread_makes_a_call() -> None:
    """A worker forked at the wrong moment would wait for ever for a lock that nobody in it holds."""
    calls = PluginCalls()
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with calls._lock:
            held.set()
            let_go.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(10)  # Ends it.
        with calls.during("a plugin", "work", SourceError):
            os._exit(0)
    let_go.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
