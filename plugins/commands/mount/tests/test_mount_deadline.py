"""The end of a mount has one limit, whatever its stages take."""

from __future__ import annotations

import pytest
from limpet_command_mount.ending import END_LIMIT_S, RELEASE_S, Ending

PROMISED_S = 3.0
"""README: `How it ends`."""


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.mark.parametrize("late_s", [0.0, 0.3, 100.0])
def test_stages_that_take_all_they_may(late_s: float) -> None:
    """Each waits to its limit: together they take that of the end, and the lock's removal has what is kept for it."""
    clock = Clock()
    ending = Ending(clock)
    stages = [
        ending.grace_s,  # answers under way
        ending.stage_s,  # pages for the kernel's cache
        ending.stage_s,  # answers to the kernel
        ending.stage_s,  # the file system's threads
        ending.stage_s,  # the browser's threads
        ending.left_s,  # the lock
    ]
    taken = []
    for stage in stages:
        taken.append(stage())
        clock.now_s += taken[-1]
    assert sum(taken) == pytest.approx(END_LIMIT_S)
    assert taken[-1] == pytest.approx(RELEASE_S)
    assert END_LIMIT_S < PROMISED_S
    clock.now_s += late_s
    assert [stage() for stage in stages] == pytest.approx([0.0] * len(stages))


def test_time_that_others_took() -> None:
    """Work that nobody limits, such as unmounting, is taken from what is left, and never from the lock's part."""
    clock = Clock()
    ending = Ending(clock)
    assert ending.left_s() == pytest.approx(END_LIMIT_S)
    clock.now_s += 0.75
    assert ending.left_s() == pytest.approx(END_LIMIT_S - 0.75)
    assert ending.stage_s() == pytest.approx(END_LIMIT_S - 0.75 - RELEASE_S)
