"""Content for destinations, as they may ask for it: more than once, in part, twice at a time."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Self

from limpet.contracts.destination import Destination, DestinationRequest, Piece, StoredFile
from limpet.operations.into import restore_into
from limpet.testing.backups import BackupScene

MIB = 1 << 20


class Twice(Destination):
    """Reads every file twice at the same time, after a look at its beginning."""

    def __init__(self) -> None:
        self.digests: list[bytes] = []

    @classmethod
    def open(cls, request: DestinationRequest) -> Self:
        """Not by name."""
        raise NotImplementedError

    def receive(self, file: StoredFile) -> None:
        look = file.pieces()
        next(look)
        first, second = hashlib.sha256(), hashlib.sha256()
        for one, other in zip_longest(blocks(file.pieces()), blocks(file.pieces()), fillvalue=b""):
            first.update(one)
            second.update(other)
        self.digests += [first.digest(), second.digest()]
        assert next(look).size_bytes

    def close(self) -> None:
        return


def blocks(pieces: Iterator[Piece]) -> Iterator[bytes]:
    """Copies: the next piece may take the place of the one before."""
    for piece in pieces:
        for block in piece.blocks():
            yield bytes(block)


def test_content_can_be_read_twice_at_a_time(tmp_path: Path) -> None:
    """A destination that compares while it writes would write pieces of one reading amid the other."""
    scene = BackupScene(tmp_path / "data")
    content = random.Random(5).randbytes(24 * MIB) + bytes(5 * MIB) + random.Random(6).randbytes(9 * MIB)
    (scene.folder / "large").write_bytes(content)
    result = scene.backup()
    destination = Twice()
    restore_into(scene.open(), result.tree, ["/"], destination)
    assert set(destination.digests) == {hashlib.sha256(content).digest()}
