"""Backups one after the other, of which only what changed is read; and devices that cannot be read to their end."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from limpet.contracts.options import OptionValue
from limpet.contracts.source import SourceRequest
from limpet.errors import SourceError, UsageError
from limpet.operations.backup import BackupResult
from limpet.operations.walk import walk
from limpet.testing.backups import BackupScene
from limpet.testing.listening import Listening
from limpet.testing.restic import Restic
from limpet_source_device import DeviceSource

from tests.services.loop_device import MIB, LoopDevice
from tests.sources.runs import PASSWORD, Runs

KIB = 1024


class Scene:
    """A repository in memory, and backups of one image into it, each with the one before as its parent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.image = folder / "disk.img"
        self.scene = BackupScene(folder / "scene")
        self.reporter = Listening()

    def backup(self, place: Path | None = None, **options: OptionValue) -> tuple[BackupResult, int]:
        """What came of it, and how many bytes are known without reading them."""
        given = {"state": str(self.folder / "state"), **options}
        source = DeviceSource.open(SourceRequest([str(place or self.image)], given, reporter=self.reporter))
        try:
            result = self.scene.backup(source)
            (target,) = source.targets()
            return result, sum(one.length_bytes for one in target.entry.extents or () if one.is_unchanged)
        finally:
            source.close()

    def content(self, result: BackupResult) -> bytes:
        """Of the only file."""
        (node,) = (node for _, node in walk(self.scene.open(), result.tree) if node.content is not None)
        return self.scene.content(node)

    def changed(self, ranges: Sequence[tuple[int, int]], since: str = "") -> str:
        """A file with a list of ranges since the last backup."""
        parent = self.scene.parent
        file = self.folder / "list"
        lines = [
            f"since {since or (parent.id.hex() if parent else '')}",
            *(f"{offset} {size}" for offset, size in ranges),
        ]
        file.write_text("\n".join(lines))
        return str(file)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """An empty one."""
    return Scene(tmp_path)


CHANGE = st.tuples(st.integers(0, 12 * MIB), st.integers(1, 900 * KIB), st.sampled_from(["random", "zeros", "hole"]))


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.integers(1, 12 * MIB),
    runs=st.lists(st.tuples(st.lists(CHANGE, max_size=4), st.integers(-3 * MIB, 3 * MIB)), min_size=1, max_size=3),
    seed=st.integers(0, 2**32),
)
def test_any_changes_one_after_the_other(
    tmp_path_factory: pytest.TempPathFactory,
    size: int,
    runs: list[tuple[list[tuple[int, int, str]], int]],
    seed: int,
) -> None:
    """Chunks of the parent that do not fit to what was read beside them are damage; and it must be restic's content."""
    chance = random.Random(seed)
    scene = Scene(tmp_path_factory.mktemp("changes"))
    scene.image.write_bytes(chance.randbytes(size))
    scene.backup()
    for changes, growth in runs:
        ranges = []
        before = scene.image.stat().st_size
        size = max(before + growth, 1)
        os.truncate(scene.image, size)
        if size > before:
            ranges.append((before, size - before))
        with scene.image.open("r+b") as file:
            for offset, length, kind in changes:
                begin, end = min(offset, size), min(offset + length, size)
                file.seek(begin)
                file.write(chance.randbytes(end - begin) if kind == "random" else bytes(end - begin))
                ranges.append((begin, end - begin))
        result, known = scene.backup(changed=scene.changed(ranges))
        assert scene.content(result) == scene.image.read_bytes()
        assert known <= size


def test_what_is_not_listed_is_not_read(scene: Scene) -> None:
    """The list is given to save just that; known to be unchanged is all but the change."""
    content = bytearray(os.urandom(16 * MIB))
    scene.image.write_bytes(content)
    scene.backup()
    content[5 * MIB : 5 * MIB + 100] = bytes(100)
    scene.image.write_bytes(content)
    result, known = scene.backup(changed=scene.changed([(5 * MIB, 100)]))
    assert known == 16 * MIB - 100
    assert scene.content(result) == bytes(content)


@pytest.mark.parametrize("since", ["ffffffff", "f" * 64])
def test_a_list_since_another_snapshot(scene: Scene, since: str) -> None:
    """It says nothing of this parent: what changed between the two would be lost."""
    scene.image.write_bytes(os.urandom(3 * MIB))
    scene.backup()
    scene.image.write_bytes(changed := os.urandom(3 * MIB))
    result, known = scene.backup(changed=scene.changed([], since))
    assert known == 0
    assert scene.content(result) == changed
    assert any("the list of changes is since ffffffff" in text for text in scene.reporter.warnings)


def test_a_list_without_any_parent(scene: Scene) -> None:
    """The first backup of a new repository, with the options of all the others."""
    scene.image.write_bytes(content := os.urandom(3 * MIB))
    result, known = scene.backup(changed=scene.changed([], "12345678"))
    assert (known, scene.content(result)) == (0, content)


def test_a_list_that_is_not_complete(scene: Scene) -> None:
    """Samples of the parent show it: better no backup than an old block in a new one."""
    content = bytearray(os.urandom(3 * MIB))
    scene.image.write_bytes(content)
    scene.backup()
    content[:4096] = os.urandom(4096)
    scene.image.write_bytes(content)
    with pytest.raises(SourceError, match=r"byte 0 is not as it was .* the list given with device.changed is not"):
        scene.backup(changed=scene.changed([(MIB, 100)]))
    assert len(scene.scene.snapshots()) == 1


def test_a_list_is_of_one_device(tmp_path: Path) -> None:
    """For which of them?"""
    options = {"changed": str(tmp_path / "list")}
    with pytest.raises(UsageError, match="several"):
        DeviceSource.open(SourceRequest([str(tmp_path / "a"), str(tmp_path / "b")], options))


@pytest.mark.parametrize("size", [0, 1, 511, 513, 4095, 512 * KIB, 512 * KIB + 1, 5 * MIB + 12345])
@pytest.mark.parametrize("with_holes", [True, False])
def test_odd_sizes(scene: Scene, size: int, with_holes: bool) -> None:
    """The last chunk, the last hole, no chunk at all."""
    with scene.image.open("wb") as file:
        file.write(b"x" * min(size, 100))
        file.truncate(size)
    if not with_holes:
        scene.image.write_bytes(scene.image.read_bytes())
    result, _ = scene.backup()
    assert scene.content(result) == scene.image.read_bytes()


def test_holes_are_not_read(scene: Scene) -> None:
    """Of an image of 1 GiB with 21 MiB in it little more than those are read."""
    with scene.image.open("wb") as file:
        for place in (0, 300 * MIB, 1000 * MIB):
            file.seek(place)
            file.write(os.urandom(7 * MIB))
        file.truncate(1024 * MIB)
    before = characters_read()
    result, _ = scene.backup()
    assert characters_read() - before < 40 * MIB
    assert result.counts.bytes_processed == 1024 * MIB


def characters_read() -> int:
    """What this process asked the system to read; its workers do not read the image."""
    words = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(words["rchar"])


def test_restic_restores_and_checks_it(tmp_path: Path, restic_any: Restic) -> None:
    """In an emergency there may be nothing but restic."""
    runs = Runs(tmp_path / "runs", {"XDG_STATE_HOME": str(tmp_path / "state")})
    image = tmp_path / "disk.img"
    with image.open("wb") as file:
        file.write(os.urandom(3 * MIB))
        file.seek(20 * MIB)
        file.write(os.urandom(MIB))
        file.truncate(30 * MIB + 7)
    image.chmod(0o640)
    os.utime(image, ns=(1, 1_600_000_000_123_456_789))
    runs.run("backup", f"device:{image}")
    restic_any.run("check", "--read-data", repo=runs.repository, password=PASSWORD)
    restic_any.run("restore", "latest", "--target", tmp_path / "out", repo=runs.repository, password=PASSWORD)
    restored = tmp_path / f"out/device{image}"
    assert restored.read_bytes() == image.read_bytes()
    assert restored.stat().st_mode == image.stat().st_mode
    assert restored.stat().st_mtime_ns == image.stat().st_mtime_ns
    said = runs.run("restore", "latest", "--into", f"device:{tmp_path}/copy.img", "-o", "device.verify=true", "-v")
    assert (tmp_path / "copy.img").read_bytes() == image.read_bytes()
    assert (tmp_path / "copy.img").stat().st_blocks * 512 < 6 * MIB
    assert "Restored 1 files" in said


# -- what cannot be read ----------------------------------------------------------------------------------------------


def open_stream(source: DeviceSource) -> Iterator[bytes]:
    """The content, a piece at a time, as the core reads it."""
    (target,) = source.targets()
    assert target.entry.stream is not None
    with target.entry.stream() as stream:
        while piece := stream.read(MIB):
            yield piece


def test_an_image_that_is_cut_while_it_is_read(tmp_path: Path) -> None:
    """The rest would be missing, or be zeros."""
    image = tmp_path / "disk.img"
    image.write_bytes(os.urandom(3 * MIB))
    source = DeviceSource.open(SourceRequest([str(image)], {"state": str(tmp_path / "state")}))
    content = open_stream(source)
    next(content)
    os.truncate(image, MIB + 100)
    with pytest.raises(SourceError, match=f"ends at byte {MIB + 100}, though it had {3 * MIB} bytes before") as caught:
        list(content)
    assert caught.value.targets == (f"/device{image}",)
    source.close()


def test_an_image_that_is_written_to_while_it_is_read(tmp_path: Path) -> None:
    """It is torn, and nobody would notice before it is needed."""
    image = tmp_path / "disk.img"
    image.write_bytes(os.urandom(3 * MIB))
    for allow, torn in ((False, True), (True, False)):
        reporter = Listening()
        options: dict[str, OptionValue] = {"state": str(tmp_path / "state"), "allow_mounted": allow}
        source = DeviceSource.open(SourceRequest([str(image)], options, reporter=reporter))
        content = open_stream(source)
        next(content)
        with image.open("r+b") as file:
            file.write(os.urandom(100))
        list(content)
        if torn:
            with pytest.raises(SourceError, match="was written to while it was read"):
                source.finish()
        else:
            source.finish()
            assert any("may be torn" in text for text in reporter.warnings)
        source.close()


def test_an_image_that_somebody_has_open_for_writing(tmp_path: Path) -> None:
    """A virtual machine that runs on it."""
    image = tmp_path / "vm.img"
    image.write_bytes(b"x" * MIB)
    with image.open("r+b"), pytest.raises(UsageError, match="open for writing by another program"):
        DeviceSource.open(SourceRequest([str(image)]))
    DeviceSource.open(SourceRequest([str(image)])).close()


def test_a_device_that_cannot_be_read_to_its_end(tmp_path: Path) -> None:
    """A dying disk: an error and no snapshot, instead of a copy with a gap."""
    runs = Runs(tmp_path / "runs", {"XDG_STATE_HOME": str(tmp_path / "state")})
    with LoopDevice(tmp_path / "device.img", 20 * MIB) as loop:
        os.truncate(loop.image, 7 * MIB)
        said = runs.refused(f"device://{loop.path}")
        assert f"{loop.path}: cannot be read" in said
    assert "Input/output error" in said


def test_what_is_lost_is_left_out_when_asked(tmp_path: Path) -> None:
    """One dying disk of several must not keep the others from being backed up, where that is wanted."""
    runs = Runs(tmp_path / "runs", {"XDG_STATE_HOME": str(tmp_path / "state")})
    good = tmp_path / "good.img"
    good.write_bytes(content := os.urandom(MIB))
    with LoopDevice(tmp_path / "device.img", 20 * MIB) as loop:
        os.truncate(loop.image, 7 * MIB)
        said = runs.run("backup", "--allow-partial", f"device://{loop.path}", f"device:{good}", exit_code=3)
        assert f"left out of the snapshot: /device{loop.path}" in said
    assert runs.restored(f"/device{good}") == content
    assert str(loop.image) not in runs.run("ls", "latest")
