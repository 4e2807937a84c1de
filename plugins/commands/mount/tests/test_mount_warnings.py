"""What cannot be read is told once, and a mount stays for months."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from limpet.errors import LimpetError
from limpet.operations.browse import Browser
from limpet.progress import SilentReporter
from limpet.testing.handmade import Handmade
from limpet_command_mount.filesystem import MOST_TOLD, Filesystem


class Told(SilentReporter):
    """Keeps the warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warning(self, text: str) -> None:
        """One more."""
        self.warnings.append(text)


@pytest.fixture
def told() -> Told:
    """What was told."""
    return Told()


@pytest.fixture
def filesystem(told: Told) -> Iterator[Filesystem]:
    """That of an empty repository."""
    browser = Browser(Handmade().repository)
    yield Filesystem(browser, told)
    browser.close()


def test_each_thing_once(filesystem: Filesystem, told: Told) -> None:
    """A program that tries again and again must not fill the terminal."""
    for _ in range(3):
        filesystem.tell(LimpetError("damaged"))
    assert told.warnings == ["damaged"]


def test_what_was_told_is_forgotten_some_time(filesystem: Filesystem, told: Told) -> None:
    """A repository with a million damaged files takes no memory for each: in the end they are told again."""
    for number in range(2 * MOST_TOLD):
        filesystem.tell(LimpetError(f"damaged: {number}"))
    filesystem.tell(LimpetError("damaged: 0"))
    assert told.warnings.count("damaged: 0") == 2
    assert told.warnings.count("damaged: 1") == 1
