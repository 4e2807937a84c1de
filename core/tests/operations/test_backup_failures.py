"""What goes wrong during a backup: nothing false is stored, what is stored stays usable, the error says why."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import random
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest
from limpet.contracts.backend import CONFIG_HANDLE, FileKind
from limpet.contracts.source import Entry, MadeStat, Source, SourceRequest, Target
from limpet.errors import BackendError, IntegrityError, LimpetError, SourceError
from limpet.format import Buffer
from limpet.format.compression import Compressor
from limpet.format.indexfile import decode_index
from limpet.ids import StorageId
from limpet.repository import packing, sealing
from limpet.repository.repository import RepositorySettings
from limpet.storage.recording import Operation
from limpet.testing.backups import BackupScene

MIB = 1024 * 1024
SMALL_PACKS = RepositorySettings(pack_size_bytes=4 * MIB)


@pytest.fixture
def scene(tmp_path: Path) -> BackupScene:
    """An empty folder and an empty repository with small packs."""
    return BackupScene(tmp_path / "data", settings=SMALL_PACKS)


def some_bytes(size: int, seed: int = 0) -> bytes:
    """Bytes that do not compress, the same for the same seed."""
    return random.Random(seed).randbytes(size)


def fill(scene: BackupScene, mebibytes: int = 24) -> None:
    """Enough data for several packs."""
    for number in range(mebibytes // 4):
        (scene.folder / str(number)).write_bytes(some_bytes(4 * MIB, number))


class Stream(io.RawIOBase):
    """A MiB a read, `count` of them; before each, `reading(number)` is called."""

    def __init__(self, count: int, reading: Callable[[int], object]) -> None:
        super().__init__()
        self._numbers = iter(range(count))
        self._reading = reading
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """As the contract of streams says."""
        if not self._rest:
            number = next(self._numbers, None)
            if number is None:
                return 0
            self._reading(number)
            self._rest = memoryview(some_bytes(MIB, number))
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


class StreamSource(Source):
    """One stream as the file /stream."""

    contract_version: ClassVar[int] = 1
    has_parent: ClassVar[bool] = False

    def __init__(self, count: int, reading: Callable[[int], object] = lambda _: None, finish: str = "") -> None:
        self._stream = Stream(count, reading)
        self._finish = finish

    @classmethod
    def open(cls, request: SourceRequest) -> Self:
        """Not by name."""
        raise NotImplementedError

    @property
    def snapshot_paths(self) -> Sequence[str]:
        return ["/stream"]

    def targets(self) -> Sequence[Target]:
        """The stream."""
        made = MadeStat(stat.S_IFREG | 0o600, 0)
        entry = Entry(b"stream", made, stream=lambda: self._stream, made=True)  # type: ignore[arg-type, return-value]
        return [Target(b"/stream", entry)]

    def finish(self) -> None:
        if self._finish:
            raise SourceError(self._finish)

    def close(self) -> None:
        return


def saved(scene: BackupScene) -> list[tuple[FileKind, str]]:
    """What was saved, in order, without the config and the key."""
    return [
        (call.kind, call.name)
        for call in scene.backend.calls
        if call.operation is Operation.SAVE and call.kind in {FileKind.PACK, FileKind.INDEX, FileKind.SNAPSHOT}
    ]


def until(condition: Callable[[], bool]) -> None:
    """Wait for the condition."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class TestOrder:
    """Packs, then the index that names them, then the snapshot."""

    def test_nothing_is_named_before_it_is_stored(self, scene: BackupScene, monkeypatch: pytest.MonkeyPatch) -> None:
        """A crash between two saves would leave an index or a snapshot that promises what is not there."""
        monkeypatch.setattr(packing, "MAX_BLOBS", 2)
        fill(scene)
        scene.backup()
        repository = scene.open()
        packs: set[str] = set()
        order = saved(scene)
        for kind, name in order:
            if kind is FileKind.PACK:
                packs.add(name)
            elif kind is FileKind.INDEX:
                index = decode_index(repository.load_unpacked(FileKind.INDEX, StorageId(bytes.fromhex(name))))
                assert {pack_id.hex() for pack_id, _ in index.packs} <= packs
        assert order[-1][0] is FileKind.SNAPSHOT
        assert [kind for kind, _ in order].count(FileKind.SNAPSHOT) == 1
        assert {pack.hex() for pack in repository.index.pack_ids()} == packs

    def test_index_is_written_on_the_way(self, scene: BackupScene, monkeypatch: pytest.MonkeyPatch) -> None:
        """A backup of days that is cut off would have to start from nothing (restic issue 1589)."""
        monkeypatch.setattr(packing, "MAX_BLOBS", 2)
        fill(scene)
        scene.backup()
        kinds = [kind for kind, _ in saved(scene)]
        assert kinds.count(FileKind.INDEX) >= 3
        assert FileKind.INDEX in kinds[: len(kinds) // 2 + 1]
        assert scene.problems() == []


class FlippingCompressor(Compressor):
    """A compressor on a machine with bad memory: one bit of what it wrote is another."""

    def compress(self, data: Buffer) -> bytes:
        """The compressed data, damaged."""
        damaged = bytearray(super().compress(data))
        damaged[len(damaged) // 2] ^= 4
        return bytes(damaged)


class TestBadMemory:
    """Blobs are opened again before they are uploaded (restic issue 4529)."""

    @pytest.mark.parametrize("size", [1000, 3 * MIB], ids=["small", "large"])
    def test_damaged_blob_stops_the_backup(
        self, scene: BackupScene, size: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Damaged data would be noticed when it is needed: at the restore."""
        (scene.folder / "f").write_bytes(some_bytes(size))
        monkeypatch.setattr(sealing, "Compressor", FlippingCompressor)
        with pytest.raises(IntegrityError, match="damaged while it was compressed"):
            scene.backup()
        assert saved(scene) == []

    def test_without_the_verification(self, scene: BackupScene, monkeypatch: pytest.MonkeyPatch) -> None:
        """--no-extra-verify stores the damage: it is the verification that caught it, and check that finds it."""
        scene.settings = RepositorySettings(verify_before_upload=False)
        (scene.folder / "f").write_bytes(some_bytes(1000))
        monkeypatch.setattr(sealing, "Compressor", FlippingCompressor)
        scene.backup()
        assert scene.problems() != []


class TestStorage:
    """The storage refuses."""

    @pytest.mark.parametrize("passing", [0, 1, 3])
    def test_failing_save(self, scene: BackupScene, passing: int) -> None:
        """A snapshot that names what was not stored; or a repository that the failure left unusable."""
        fill(scene)
        scene.backend.fail_after(passing, operations={Operation.SAVE}, error=BackendError("no space", permanent=True))
        with pytest.raises(BackendError, match="no space"):
            scene.backup()
        scene.backend.heal()
        assert scene.snapshots() == []
        assert scene.problems() == []
        result = scene.backup()
        assert result.errors == 0
        assert scene.problems() == []

    def test_failing_snapshot(self, scene: BackupScene) -> None:
        """All data is stored, only the snapshot is not: the next run needs nothing but that."""
        fill(scene, 8)
        scene.backup(dry_run=False)
        (packs, indexes) = (len(scene.stored(FileKind.PACK)), len(scene.stored(FileKind.INDEX)))
        other = BackupScene(scene.folder, settings=SMALL_PACKS)
        other.backend.fail_after(
            packs + indexes, operations={Operation.SAVE}, error=BackendError("gone", permanent=True)
        )
        with pytest.raises(BackendError, match="gone"):
            other.backup()
        other.backend.heal()
        assert other.snapshots() == []
        again = other.backup()
        assert (again.stored.data_blobs, again.stored.tree_blobs) == (0, 0)

    def test_config_is_untouched(self, scene: BackupScene) -> None:
        """A backup never rewrites what opens the repository."""
        before = scene.backend.load(CONFIG_HANDLE)
        fill(scene, 4)
        scene.backup()
        assert scene.backend.load(CONFIG_HANDLE) == before
        assert len(scene.stored(FileKind.KEY)) == 1


class TestSources:
    """A source that cannot be trusted."""

    def test_failing_at_the_end(self, scene: BackupScene) -> None:
        """The dump of a database whose command failed must never become a snapshot."""
        with pytest.raises(SourceError, match="exit status 3"):
            scene.backup(StreamSource(6, finish="exit status 3"))
        assert scene.snapshots() == []
        assert scene.problems() == []

    def test_failing_on_the_way(self, scene: BackupScene) -> None:
        """Neither half of a stream."""

        def reading(number: int) -> None:
            if number == 5:
                raise SourceError("the connection is lost")

        with pytest.raises(SourceError, match="connection is lost"):
            scene.backup(StreamSource(9, reading))
        assert scene.snapshots() == []
        assert scene.problems() == []

    def test_stream_in_reads_of_any_size(self, scene: BackupScene) -> None:
        """Pipes give what they have, not what was asked for."""
        result = scene.backup(StreamSource(11))
        expected = b"".join(some_bytes(MIB, number) for number in range(11))
        repository = scene.open()
        (node,) = repository.load_tree(result.tree)
        assert node.size == len(expected)
        assert sha256(scene.content(node)).digest() == sha256(expected).digest()


class TestSignals:
    """Processes that end before they should."""

    def test_killed_worker(self, scene: BackupScene) -> None:
        """The system's hunt for memory must end the run with a clear error, not leave it waiting for ever."""

        def reading(number: int) -> None:
            if number == 12:
                child, *_ = multiprocessing.active_children()
                assert child.pid is not None
                os.kill(child.pid, signal.SIGKILL)

        with pytest.raises(LimpetError, match="worker process died"), scene.open().lock():
            scene.backup(StreamSource(200, reading))
        assert scene.stored(FileKind.LOCK) == []
        assert scene.snapshots() == []
        until(lambda: not multiprocessing.active_children())
        assert scene.problems() == []
        assert scene.backup(StreamSource(3)).errors == 0

    def test_interrupted(self, scene: BackupScene) -> None:
        """Hours of uploading would be lost if the packs stored before Ctrl-C were in no index."""

        def reading(number: int) -> None:
            if number == 30:
                until(lambda: sum(kind is FileKind.PACK for kind, _ in saved(scene)) >= 2)
                os.kill(os.getpid(), signal.SIGINT)

        with pytest.raises(KeyboardInterrupt), scene.open().lock():
            scene.backup(StreamSource(400, reading))
        assert scene.stored(FileKind.LOCK) == []
        assert scene.snapshots() == []
        assert scene.problems() == []
        stored = scene.stored(FileKind.PACK)
        assert len(stored) >= 2
        assert {pack.hex() for pack in scene.open().index.pack_ids()} == set(stored)
        kept = len(scene.open().index)
        result = scene.backup(StreamSource(30))
        repository = scene.open()
        (node,) = repository.load_tree(result.tree)
        assert result.stored.data_blobs < len(node.content or ()) - kept // 2
        assert scene.problems() == []


PROGRAM = """
import json, os, sys
from pathlib import Path
from limpet.format import chunker, native
from limpet.format.pack import BlobKind
from limpet.testing.backups import BackupScene

scene = BackupScene(Path(sys.argv[1]))
result = scene.backup(read_concurrency=2)
blobs = sorted([kind.word, blob_id.hex()] for kind, blob_id in scene.open().index.iterate())
again = scene.backup()
print(json.dumps({
    "tree": result.tree.hex(), "blobs": blobs, "problems": scene.problems(), "again": again.stored.tree_blobs,
    "table": native.IndexTable.__module__,
}))
"""


def test_same_blobs_everywhere(tmp_path: Path) -> None:
    """Where there are no processes, or no C compiler, nothing would be found again: other blobs would come out."""
    folder = tmp_path / "data"
    (folder / "sub").mkdir(parents=True)
    (folder / "large").write_bytes(some_bytes(3 * MIB))
    for number in range(40):
        (folder / "sub" / str(number)).write_bytes(some_bytes(number * 1000, number))
    own = {name: value for name, value in os.environ.items() if not name.startswith("LIMPET_")}
    answers: dict[str, dict[str, Any]] = {}
    for name, extra in {
        "processes": {},
        "threads": {"LIMPET_THREADS": "1"},
        "python": {"LIMPET_PURE": "1"},
        "both": {"LIMPET_THREADS": "1", "LIMPET_PURE": "1"},
    }.items():
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(folder)],
            env={**own, **extra},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, f"{name}: {done.stderr}"
        answers[name] = json.loads(done.stdout)
    tables = {name: answer.pop("table") for name, answer in answers.items()}
    assert tables["python"] == tables["both"] != tables["processes"] == tables["threads"]
    assert all(answer == answers["processes"] for answer in answers.values())
    assert answers["processes"]["problems"] == []
    assert answers["processes"]["again"] == 0
