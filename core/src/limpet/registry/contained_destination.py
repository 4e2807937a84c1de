"""A destination inside a fence: its errors name it, and while it is fed it is not taken to hang."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Self, TypeVar

from limpet.contracts.destination import Destination, DestinationRequest, Piece, StoredFile
from limpet.errors import DestinationError
from limpet.progress import Reporter
from limpet.registry.plugin_calls import plugin_calls

T = TypeVar("T")


class ContainedDestination(Destination):
    """Does what `inner` does; DestinationError for what it raises beyond its contract. `name` is its source's."""

    def __init__(self, name: str, inner: Destination, reporter: Reporter | None) -> None:
        self.inner = inner
        self._name = f"the source plugin {name!r}"
        self._reporter = reporter

    @classmethod
    def open(cls, request: DestinationRequest) -> Self:
        """Never: it is put around an open destination."""
        raise NotImplementedError

    @property
    def takes_trees(self) -> bool:  # type: ignore[override]
        return self.inner.takes_trees

    def wanted(self, paths: Sequence[str]) -> Sequence[str]:
        return self._ask("wanted", lambda: list(self.inner.wanted(paths)))

    def receive(self, file: StoredFile) -> None:
        alive = replace(file, pieces=lambda: _alive(file))
        self._ask(f"receive {file.path}", lambda: self.inner.receive(alive))

    def finish(self) -> None:
        self._ask("finish", self.inner.finish)

    def close(self) -> None:
        self._ask("close", self.inner.close)

    def _ask(self, what: str, call: Callable[[], T]) -> T:
        with plugin_calls.during(self._name, what, DestinationError, self._reporter):
            return call()


def _alive(file: StoredFile) -> Iterator[Piece]:
    for piece in file.pieces():
        plugin_calls.show_life()
        yield piece
