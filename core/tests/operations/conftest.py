"""What the tests of operations share: a repository built by hand, and a reporter that keeps what it was told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
from limpet.format.node import Node
from limpet.ids import BlobId
from limpet.operations.restore import RestoreOptions, RestoreResult, restore
from limpet.progress import ItemEvent, SilentReporter
from limpet.testing.handmade import Handmade


class Told(SilentReporter):
    """Keeps errors, warnings and items."""

    wants_items = True

    def __init__(self) -> None:
        self.errors: list[tuple[str, str]] = []
        self.warnings: list[str] = []
        self.items: list[ItemEvent] = []

    def error(self, error: Exception, *, during: str, item: str) -> None:
        """Keep where and what."""
        assert during == "restore"
        self.errors.append((item, str(error)))

    def warning(self, text: str) -> None:
        """Keep it."""
        self.warnings.append(text)

    def item(self, event: ItemEvent) -> None:
        """Keep it."""
        self.items.append(event)

    @property
    def failed_items(self) -> list[str]:
        """Where errors were, in order of path."""
        return sorted(item for item, _ in self.errors)

    def actions(self) -> dict[str, str]:
        """What was done, by path."""
        return {event.path: event.action for event in self.items}


class RestoreNodes(Protocol):
    """Restores a snapshot of these nodes into a folder."""

    def __call__(self, target: Path, *nodes: Node, options: RestoreOptions = ...) -> RestoreResult: ...


@pytest.fixture
def handmade() -> Iterator[Handmade]:
    """An empty repository in memory."""
    made = Handmade()
    with made.repository:
        yield made


@pytest.fixture
def told() -> Told:
    """A reporter that remembers."""
    return Told()


@pytest.fixture
def restore_nodes(handmade: Handmade, told: Told) -> RestoreNodes:
    """Restores nodes of `handmade`, telling `told`."""

    def run(target: Path, *nodes: Node, options: RestoreOptions | None = None) -> RestoreResult:
        tree_id: BlobId = handmade.tree(*nodes)
        return restore(handmade.repository, tree_id, target, options or RestoreOptions(workers=2), told)

    return run
