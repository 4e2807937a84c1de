"""Files of every size and kind, with holes, and changing while they are read."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from limpet.format.pack import BlobKind
from limpet.progress import ItemEvent, SilentReporter
from limpet.testing.backups import BackupScene

KIB, MIB = 1024, 1024 * 1024


@pytest.fixture
def scene(tmp_path: Path) -> BackupScene:
    """An empty folder and an empty repository."""
    return BackupScene(tmp_path / "data")


class Told(SilentReporter):
    """Keeps errors and items."""

    wants_items = True

    def __init__(self) -> None:
        self.errors: list[tuple[str, str]] = []
        self.items: dict[str, ItemEvent] = {}

    def error(self, error: Exception, *, during: str, item: str) -> None:
        self.errors.append((item, str(error)))

    def item(self, event: ItemEvent) -> None:
        self.items[event.path] = event


def some_bytes(size: int, seed: int = 0) -> bytes:
    """Bytes that do not compress, the same for the same seed."""
    return random.Random(seed).randbytes(size)


class TestKinds:
    """Files of every size and kind."""

    def test_empty_files(self, scene: BackupScene) -> None:
        """An empty file has no blob at all; one with an empty blob would differ from restic's."""
        (scene.folder / "empty").touch()
        result = scene.backup()
        node = scene.nodes(result)["empty"]
        assert (node.content, node.size) == ([], 0)
        assert result.stored.data_blobs == 0

    def test_around_the_limits(self, scene: BackupScene) -> None:
        """Files of one chunk and of more go different ways, which must give the same chunks."""
        sizes = [1, 512 * KIB - 1, 512 * KIB, 512 * KIB + 1, 8 * MIB, 8 * MIB + 1, 11 * MIB]
        for size in sizes:
            (scene.folder / str(size)).write_bytes(some_bytes(size, size))
        nodes = scene.nodes(scene.backup())
        for size in sizes:
            assert scene.content(nodes[str(size)]) == some_bytes(size, size)
        assert scene.problems() == []

    def test_same_content_twice(self, scene: BackupScene) -> None:
        """Two copies of a file, read by two workers at once, would be stored twice."""
        for number in range(600):
            (scene.folder / f"{number:03}").write_bytes(b"the same in all")
        (scene.folder / "large-1").write_bytes(some_bytes(3 * MIB))
        (scene.folder / "large-2").write_bytes(some_bytes(3 * MIB))
        result = scene.backup()
        nodes = scene.nodes(result)
        assert nodes["large-1"].content == nodes["large-2"].content
        large = len(set(nodes["large-1"].content or ()))
        assert result.stored.data_blobs == 1 + large

    def test_large_files_are_shuffled(self, scene: BackupScene) -> None:
        """The lengths of the chunks in a pack would tell which well-known file it holds (restic pull request 5295)."""
        (scene.folder / "large").write_bytes(some_bytes(40 * MIB))
        content = scene.nodes(scene.backup())["large"].content or []
        assert len(content) > 15
        repository = scene.open()
        places = {blob_id: repository.index.find(BlobKind.DATA, blob_id) for blob_id in content}
        in_packs = sorted(content, key=lambda found: (places[found].pack_id, places[found].offset_bytes))  # type: ignore[union-attr]
        neighbours = set(pairwise(content))
        kept = sum(pair in neighbours for pair in pairwise(in_packs))
        assert kept < len(content) // 2

    @pytest.mark.slow
    def test_huge_folder(self, scene: BackupScene) -> None:
        """100,000 entries are one tree and no reason to run out of anything."""
        for number in range(100_000):
            os.close(os.open(scene.folder / f"{number:06}", os.O_CREAT | os.O_WRONLY))
        first = scene.backup()
        assert (first.counts.files_new, first.errors) == (100_000, 0)
        again = scene.backup()
        assert (again.counts.files_unmodified, again.tree) == (100_000, first.tree)

    @pytest.mark.parametrize("count", [1, 4])
    def test_read_concurrency(self, scene: BackupScene, count: int) -> None:
        """Chunks of files that are read at once must not get mixed up."""
        for number in range(6):
            (scene.folder / str(number)).write_bytes(some_bytes(3 * MIB, number))
        nodes = scene.nodes(scene.backup(read_concurrency=count))
        assert all(scene.content(nodes[str(number)]) == some_bytes(3 * MIB, number) for number in range(6))


HOLES: dict[str, list[tuple[int, int]]] = {
    "nothing but a hole": [],
    "data first": [(0, 100 * KIB)],
    "data last": [(7 * MIB + 3, 5)],
    "data in the middle": [(3 * MIB, 2 * MIB)],
    "a hole smaller than a chunk": [(0, MIB), (MIB + 256 * KIB, MIB)],
    "many": [(number * 900 * KIB, 70 * KIB) for number in range(9)],
    "at the borders of windows": [(0, 4096), (8 * MIB - 4096, 8192), (10 * MIB - 4096, 4096)],
    "longer than a chunk": [(0, 20 * MIB), (30 * MIB, MIB)],
}


@pytest.mark.parametrize("data", HOLES.values(), ids=HOLES.keys())
def test_sparse_file_is_chunked_like_a_dense_one(scene: BackupScene, data: list[tuple[int, int]]) -> None:
    """Holes that are not read must give the very chunks that restic finds, or nothing is found again."""
    size = max([offset + length for offset, length in data] + [0]) + 3 * MIB + 17
    sparse, dense = scene.folder / "sparse", scene.folder / "dense"
    with sparse.open("wb") as file:
        for offset, length in data:
            file.seek(offset)
            file.write(some_bytes(length, offset))
        file.truncate(size)
    dense.write_bytes(sparse.read_bytes())
    assert sparse.stat().st_blocks * 512 < size
    assert dense.stat().st_blocks * 512 >= size
    nodes = scene.nodes(scene.backup())
    assert nodes["sparse"].content == nodes["dense"].content
    assert nodes["sparse"].size == size
    assert scene.problems() == []


class TestMoving:
    """Files that change between being listed and being read."""

    def meddled(
        self, scene: BackupScene, before: int, after: Callable[[Path], object]
    ) -> tuple[bytes | None, list[str]]:
        """The content of a file of `before` bytes, changed by `after`; None if it was left out. And the errors."""
        file = scene.folder / "f"
        file.write_bytes(some_bytes(before))
        (scene.folder / "other").write_text("other")
        told = Told()
        result = scene.backup(before=lambda path: path == scene.folder and after(file), reporter=told)
        nodes = scene.nodes(result)
        assert scene.content(nodes["other"]) == b"other"
        assert scene.problems() == []
        assert result.errors == len(told.errors)
        node = nodes.get("f")
        if node is not None:
            assert node.size == len(scene.content(node))
        return None if node is None else scene.content(node), [text for _, text in told.errors]

    @pytest.mark.parametrize("before", [10, 600 * KIB], ids=["small", "large"])
    @pytest.mark.parametrize("after", [0, 9, 11, 511 * KIB, 700 * KIB, 3 * MIB])
    def test_grown_or_shrunk(self, scene: BackupScene, before: int, after: int) -> None:
        """A log file that is written to all the time must be saved as it is when it is read, with its true size."""
        content = some_bytes(after, 1)
        assert self.meddled(scene, before, lambda file: file.write_bytes(content)) == (content, [])

    @pytest.mark.parametrize("before", [10, 600 * KIB], ids=["small", "large"])
    @pytest.mark.parametrize("kind", ["gone", "symlink", "folder", "fifo"])
    def test_of_another_kind(self, scene: BackupScene, before: int, kind: str) -> None:
        """Following a planted symlink would save what was not asked for; opening a fifo would wait for ever."""

        def change(file: Path) -> None:
            file.unlink()
            if kind == "symlink":
                file.symlink_to("/etc/passwd")
            elif kind == "folder":
                file.mkdir()
            elif kind == "fifo":
                os.mkfifo(file)

        content, errors = self.meddled(scene, before, change)
        assert content is None
        assert len(errors) == 1
        assert str(scene.folder / "f") in errors[0]
