"""Who waits for a view does not keep a mount that was taken away."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import trio
import trio.testing
from limpet.operations.browse import Browser
from limpet.progress import SilentReporter
from limpet.testing.handmade import Handmade
from limpet_command_mount.filesystem import REFRESH_LIMIT_S, STILL_MOUNTED_S, Filesystem
from limpet_command_mount.mountpoint import is_mounted_on
from pyfuse3 import ROOT_INODE

NOBODY: Any = None
"""Who asks; nothing depends on it."""


class StuckBrowser(Browser):
    """Its storage does not answer to a look for new snapshots."""

    def __init__(self) -> None:
        super().__init__(Handmade().repository)
        self.answer = threading.Event()

    @property
    def is_due(self) -> bool:
        """Always."""
        return True

    def refresh(self) -> bool:
        """Waits for the answer."""
        return self.answer.wait()


@pytest.fixture
def stuck() -> Iterator[StuckBrowser]:
    """It gets its answer at the end."""
    browser = StuckBrowser()
    yield browser
    browser.answer.set()
    browser.close()


@pytest.mark.parametrize("unmounted_s", [None, 0.0, 1.0])
def test_how_long_a_view_is_waited_for(stuck: StuckBrowser, unmounted_s: float | None) -> None:
    """Waiting would be added to the three seconds that an end after `umount --lazy` may take."""

    async def waited() -> float:
        begun_s = trio.current_time()

        def is_mounted() -> bool:
            return unmounted_s is None or trio.current_time() - begun_s < unmounted_s

        filesystem = Filesystem(stuck, SilentReporter(), is_mounted=is_mounted)
        assert (await filesystem.getattr(ROOT_INODE, NOBODY)).st_ino == ROOT_INODE
        taken_s = trio.current_time() - begun_s
        assert (await filesystem.getattr(ROOT_INODE, NOBODY)).st_ino == ROOT_INODE
        assert trio.current_time() - begun_s == taken_s  # while one waits nobody else does
        return taken_s

    taken_s = trio.run(waited, clock=trio.testing.MockClock(autojump_threshold=0.01))
    expected_s = REFRESH_LIMIT_S if unmounted_s is None else unmounted_s
    assert expected_s <= taken_s <= expected_s + 1.001 * STILL_MOUNTED_S


def test_the_end_answers_who_waits(stuck: StuckBrowser) -> None:
    """Ctrl-C meanwhile: he sees the view as it was."""
    filesystem = Filesystem(stuck, SilentReporter())

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(filesystem.getattr, ROOT_INODE, NOBODY)
            await trio.testing.wait_all_tasks_blocked()
            filesystem.threads.abandon()
        assert trio.current_time() == begun_s

    clock = trio.testing.MockClock()
    begun_s = clock.current_time()
    trio.run(main, clock=clock)


def test_what_is_mounted(tmp_path: object) -> None:
    """The kernel's table is read as it is written, also with odd names."""
    assert is_mounted_on("/")
    assert is_mounted_on("/proc")
    assert not is_mounted_on(f"{tmp_path} \\ ")
