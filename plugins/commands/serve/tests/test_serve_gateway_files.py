"""What a gateway counts and verifies behind it, over backends in memory that fail where they are told to."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import pytest
from limpet.contracts.backend import Backend, FileKind
from limpet.contracts.transport import Transport
from limpet.errors import BackendError, UsageError
from limpet.storage.memory import MemoryBackend
from limpet.storage.recording import Operation, RecordingBackend
from limpet_command_serve.gateway_backends import GatewayBackends, Place
from limpet_command_serve.gateway_files import GatewayFiles, GatewayInventory, KnownRepositories
from limpet_command_serve.gateway_store import GatewayStore
from limpet_command_serve.names import StoredFile
from limpet_command_serve.quota import Usage
from limpet_command_serve.verify import Verifier

REPOSITORIES = [("ann",), ("ann", "laptop"), ("bob",)]


class Scene:
    """A gateway with some repositories, and what it remembers."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "known.json"
        self.told: list[str] = []
        self.behind: dict[str, RecordingBackend] = {}
        self.store = GatewayStore(
            GatewayBackends(Place("/place"), open_inner=self._open, retry_s=0), self.told.append, str(folder)
        )
        self.known = self.remembered()

    def _open(self, location: str, _options: Mapping[str, str], _transport: Transport) -> Backend:
        return self.behind.setdefault(location, RecordingBackend(MemoryBackend()))

    def remembered(self) -> KnownRepositories:
        """As after a restart."""
        return KnownRepositories(self.path, self.told.append)

    def put(self, folders: tuple[str, ...], kind: FileKind, data: bytes, name: str | None = None) -> StoredFile:
        """One file; of another name than its content has, if one is given."""
        file = StoredFile(folders, kind, hashlib.sha256(data).hexdigest() if name is None else name)
        with self.store.begin(file, len(data)) as upload:
            upload.write(memoryview(data))
            upload.commit()
        return file


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Three repositories, one inside another, with files of several kinds."""
    scene = Scene(tmp_path)
    for folders in REPOSITORIES:
        scene.put(folders, FileKind.CONFIG, b"config", "")
        for number in range(5):
            scene.put(folders, FileKind.PACK, bytes([number]) * 100)
        scene.put(folders, FileKind.SNAPSHOT, b"snapshot")
        scene.known.note(folders)
    return scene


def test_all_is_counted(scene: Scene) -> None:
    """After a restart the quota goes on where it was; what nobody has told of counts when it is used."""
    inventory, usage = GatewayInventory(scene.store, scene.remembered()), Usage()
    usage.count(inventory.all)
    assert usage.by_repository() == dict.fromkeys(REPOSITORIES, 514)
    scene.put(("eve",), FileKind.INDEX, b"index")
    assert inventory.is_new(("eve",))
    assert inventory.of_new(("eve",)) == (("eve",), 5)
    assert not inventory.is_new(("eve",))
    assert inventory.of_new(("nobody",)) == (("nobody",), 0)
    assert scene.remembered().all() == [*REPOSITORIES, ("eve",)]
    inventory.stored(("nobody",))
    assert scene.remembered().all() == [*REPOSITORIES, ("eve",), ("nobody",)]


def test_a_storage_that_is_away_is_not_empty(scene: Scene) -> None:
    """Quotas counted from half a listing would let everybody pass."""
    scene.behind["/place/bob"].fail_after(0, operations=[Operation.LIST])
    usage = Usage()
    with pytest.raises(BackendError):
        usage.count(GatewayInventory(scene.store, scene.known).all)
    assert usage.used_bytes() == 0
    scene.behind["/place/bob"].heal()
    usage.count(GatewayInventory(scene.store, scene.known).all)
    assert usage.used_bytes() == 3 * 514


def test_from_any_place_on(scene: Scene) -> None:
    """After a restart verify goes on where it was: no file is left out, none comes twice."""
    files = GatewayFiles(scene.store, scene.known)
    paths = list(files.after(()))
    assert len(paths) == len({*paths}) == 18
    for number, path in enumerate(paths):
        assert list(files.after(path)) == paths[number + 1 :]


def test_damage_is_found_and_an_outage_is_none(scene: Scene, tmp_path: Path) -> None:
    """A storage that does not answer for a while must not fill the report with damage that is none."""
    wrong = scene.put(("bob",), FileKind.INDEX, b"not what its name says", "f" * 64)
    report = tmp_path / "report.json"

    def verifier() -> Verifier:
        return Verifier(
            GatewayFiles(scene.store, scene.known), rate_bps=None, tell=scene.told.append, report_path=report
        )

    scene.behind["/place/ann/laptop"].fail_after(0, operations=[Operation.LOAD])
    first = verifier()
    with pytest.raises(BackendError):
        first.run_round()
    assert not first.report.damaged
    scene.behind["/place/ann/laptop"].heal()
    assert first.run_round()
    assert [damage.id for damage in first.report.damaged.values()] == [wrong.name]
    assert first.report.current.files == 19


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"version": 1, "repositories": 3}',
        '{"version": 1, "repositories": "ann"}',
        '{"version": 1, "repositories": [3]}',
        '{"version": 1, "repositories": ["ann", "a/b/c"]}',
        '{"version": 1, "repositories": ["../ann"]}',
        '{"version": 1, "repositories": ["ann/data"]}',
        '{"version": 1, "repositories": ["config"]}',
        '{"version": 1, "repositories": ["what no storage has"]}',
        '{"version": 2, "repositories": ["ann"]}',
    ],
)
def test_a_broken_memory_is_told(tmp_path: Path, text: str) -> None:
    """What cannot be read must not be taken for a gateway without repositories."""
    (tmp_path / "known.json").write_text(text)
    with pytest.raises(UsageError, match="no list of repositories"):
        KnownRepositories(tmp_path / "known.json", print)


def test_a_memory_that_cannot_be_kept(tmp_path: Path) -> None:
    """A folder that cannot be written stops no backup; somebody is told."""
    told: list[str] = []
    known = KnownRepositories(tmp_path / "not there" / "known.json", told.append)
    known.note(("ann",))
    assert known.all() == [("ann",)]
    assert "counts again when something is stored" in told[0]
