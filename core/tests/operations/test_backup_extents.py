"""Streams of which ranges are known: what is not read must end up in the snapshot as if it had been."""

from __future__ import annotations

import io
import random
import stat
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Self

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from limpet.contracts.source import Entry, Extent, MadeStat, Source, SourceRequest, Target
from limpet.errors import SourceError
from limpet.ids import BlobId
from limpet.testing.backups import BackupScene

MIB = 1 << 20
KIB = 1 << 10
Range = tuple[int, int]


class Counting(io.BytesIO):
    """Counts the bytes that are read."""

    read_bytes = 0

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """As the contract of streams says."""
        count = super().readinto(buffer)
        self.read_bytes += count
        return count


class Image(Source):
    """The file `/image`, with what is known of its ranges."""

    contract_version: ClassVar[int] = 1

    def __init__(self, content: bytes, extents: Sequence[Extent] | None = None) -> None:
        self.content = content
        self.stream = Counting(content)
        made = MadeStat(stat.S_IFREG | 0o600, 0, len(content))
        self._entry = Entry(b"image", made, stream=lambda: self.stream, extents=extents, made=True)

    @classmethod
    def open(cls, request: SourceRequest) -> Self:
        """Not by name."""
        raise NotImplementedError

    @property
    def snapshot_paths(self) -> Sequence[str]:
        return ["/image"]

    def targets(self) -> Sequence[Target]:
        return [Target(b"/image", self._entry)]

    def close(self) -> None:
        return


@pytest.fixture
def scene(tmp_path: Path) -> BackupScene:
    """An empty repository."""
    return BackupScene(tmp_path / "data")


def chunks(scene: BackupScene, image: Image) -> Sequence[BlobId]:
    """What the snapshot of the image holds, looked up in the repository."""
    result = scene.backup(image)
    (node,) = scene.open().load_tree(result.tree)
    is_same = scene.content(node) == image.content  # nobody wants to see how 40 MiB differ
    assert is_same
    return node.content or []


def noise(seed: int, size_bytes: int) -> bytes:
    """Bytes that do not compress."""
    return random.Random(seed).randbytes(size_bytes)


def test_holes_are_not_read(scene: BackupScene) -> None:
    """A virtual machine's disk of a terabyte with ten gibibytes in it would take hours instead of minutes."""
    holes = [(0, 3 * MIB), (4 * MIB, 30 * MIB), (35 * MIB, 7 * MIB + 11)]
    content = bytearray(noise(1, 42 * MIB + 11))
    for start, length in holes:
        content[start : start + length] = bytes(length)
    known = Image(bytes(content), [Extent(start, length, is_hole=True) for start, length in holes])
    assert chunks(scene, known) == chunks(scene, Image(bytes(content)))
    assert known.stream.read_bytes < 6 * MIB


def test_what_is_unchanged_is_not_read(scene: BackupScene) -> None:
    """Every night a volume would be read whole, though the kernel knows that a hundredth of it has changed."""
    content = bytearray(noise(2, 40 * MIB))
    chunks(scene, Image(bytes(content)))
    content[20 * MIB : 20 * MIB + 4 * KIB] = noise(3, 4 * KIB)
    extents = [
        Extent(0, 20 * MIB, is_unchanged=True),
        Extent(20 * MIB + 4 * KIB, 20 * MIB - 4 * KIB, is_unchanged=True),
    ]
    known = Image(bytes(content), extents)
    found = chunks(scene, known)
    assert known.stream.read_bytes < 16 * MIB
    assert found == chunks(scene, Image(bytes(content)))


@pytest.mark.parametrize("size_mib", [30, 50])
def test_an_image_of_another_size_keeps_what_it_has(scene: BackupScene, size_mib: int) -> None:
    """The last chunk ends with the content, not where it would be cut: taken over, the image would grow wrong."""
    old = noise(4, 40 * MIB + 5)
    chunks(scene, Image(old))
    new = (old + noise(5, 20 * MIB))[: size_mib * MIB]
    same = min(len(old), len(new))
    known = Image(new, [Extent(0, same, is_unchanged=True)])
    found = chunks(scene, known)
    assert found == chunks(scene, Image(new))
    assert known.stream.read_bytes < 25 * MIB


def test_without_a_parent_all_is_read(scene: BackupScene) -> None:
    """Unchanged since a snapshot that is not there is unknown: the file would be empty."""
    content = noise(6, 5 * MIB)
    assert chunks(scene, Image(content, [Extent(0, 5 * MIB, is_unchanged=True)]))


def cut(size_bytes: int, edges: Sequence[int]) -> Iterator[Range]:
    """Ranges between the edges, in order."""
    yield from pairwise(sorted({0, size_bytes, *(edge % size_bytes for edge in edges)}))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    old_size=st.integers(0, 9 * MIB),
    new_size=st.integers(1, 9 * MIB),
    edges=st.lists(st.integers(0, 9 * MIB), max_size=12),
    kinds=st.lists(st.sampled_from(["same", "hole", "new", "new zeros"]), min_size=1, max_size=13),
    seed=st.integers(0, 1000),
)
def test_any_ranges_give_what_reading_all_gives(
    tmp_path_factory: pytest.TempPathFactory,
    *,
    old_size: int,
    new_size: int,
    edges: Sequence[int],
    kinds: Sequence[str],
    seed: int,
) -> None:
    """One wrong byte in a volume is a broken file system, found on the day of the restore."""
    scene = BackupScene(tmp_path_factory.mktemp("scene") / "data")
    old = bytearray(noise(seed, old_size))
    old[old_size // 3 : old_size // 2] = bytes(old_size // 2 - old_size // 3)
    chunks(scene, Image(bytes(old)))
    new, extents = bytearray(noise(seed + 1, new_size)), []
    for number, (start, end) in enumerate(cut(new_size, edges)):
        kind = kinds[number % len(kinds)]
        if kind == "same" and end <= old_size:
            new[start:end] = old[start:end]
            extents.append(Extent(start, end - start, is_unchanged=True))
        elif kind in {"hole", "new zeros"}:
            new[start:end] = bytes(end - start)
            if kind == "hole":
                extents.append(Extent(start, end - start, is_hole=True))
    assert chunks(scene, Image(bytes(new), extents)) == chunks(scene, Image(bytes(new)))


@pytest.mark.parametrize("size_mib", [0, 3, 5, 7])
def test_a_stream_that_is_cut_is_refused(scene: BackupScene, size_mib: int) -> None:
    """The size says how much there is: what is missing behind a break would be missing in the snapshot."""
    content = noise(7, 5 * MIB) + bytes(3 * MIB)
    image = Image(content, [Extent(5 * MIB, 3 * MIB - 5, is_hole=True)])
    image.stream = Counting(content[: size_mib * MIB])
    with pytest.raises(SourceError, match="/image: ends at byte"):
        scene.backup(image)


@pytest.mark.parametrize("ranges", [[(0, 10), (5, 10)], [(10, 5), (0, 5)], [(0, 101)], [(-1, 5)], [(5, -1)]])
def test_ranges_that_make_no_sense_are_refused(scene: BackupScene, ranges: Sequence[Range]) -> None:
    """A plugin's mistake would be a snapshot of something else than the device."""
    with pytest.raises(SourceError, match="out of order or beyond its end"):
        scene.backup(Image(bytes(100), [Extent(*one, is_hole=True) for one in ranges]))
