"""The gateway's store over backends that count calls and fail where they are told to, and over real folders."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from limpet.contracts.backend import Backend, FileKind
from limpet.contracts.transport import Transport
from limpet.errors import BackendError, MissingFileError, StorageFullError, UsageError
from limpet.storage.memory import MemoryBackend
from limpet.storage.recording import Operation, RecordingBackend
from limpet.testing.backend import content_of, handle_of, some_bytes
from limpet_command_serve.gateway_backends import GatewayBackends, Place
from limpet_command_serve.gateway_store import RANGE_BYTES, GatewayStore
from limpet_command_serve.names import StoredFile
from limpet_command_serve.settings import Settings
from limpet_command_serve.spool import Spool
from limpet_command_serve.store import BehindError, NoSpaceError, Outcome, Removal

REPOSITORY = ("ann", "laptop")


class Behind:
    """What a gateway stores in: a backend in memory for each location, kept when it is closed."""

    def __init__(self) -> None:
        self.backends: dict[str, RecordingBackend] = {}
        self.closed: list[str] = []
        self.told: list[str] = []
        """In the server's log."""

    def open(self, location: str, _options: Mapping[str, str], _transport: Transport) -> Backend:
        behind = self.backends.setdefault(location, RecordingBackend(MemoryBackend()))
        behind.close = lambda: self.closed.append(location)  # type: ignore[method-assign]  # it is opened again
        return behind

    @property
    def only(self) -> RecordingBackend:
        """The backend of `REPOSITORY`."""
        return self.backends["/place/ann/laptop"]


@pytest.fixture
def behind() -> Behind:
    """Where the gateway stores."""
    return Behind()


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """Where uploads are spooled."""
    folder = tmp_path / "spool"
    folder.mkdir()
    return folder


@pytest.fixture
def store(behind: Behind, spool: Path) -> Iterator[GatewayStore]:
    """A gateway that does not wait long for what fails, with one repository."""
    backends = GatewayBackends(Place("/place"), open_inner=behind.open, retry_s=0)
    made = GatewayStore(backends, behind.told.append, str(spool))
    made.create(REPOSITORY)
    yield made
    made.close()


def file_of(data: bytes, kind: FileKind = FileKind.PACK) -> StoredFile:
    """The name of the data."""
    return StoredFile(REPOSITORY, kind, handle_of(data, kind).name)


def put(store: GatewayStore, file: StoredFile, data: bytes) -> Outcome:
    """Upload as the server does."""
    with store.begin(file, len(data)) as upload:
        for start in range(0, len(data), 100_000):
            upload.write(memoryview(data)[start : start + 100_000])
        return upload.commit()


def get(
    store: GatewayStore, file: StoredFile, offset: int = 0, length: int | None = None, piece: int = 70_000
) -> bytes:
    """Download as the server does."""
    with store.open(file) as reading:
        end = reading.size_bytes if length is None else offset + length
        reading.expect(offset, end - offset)
        found, buffer = bytearray(), memoryview(bytearray(piece))
        while offset < end:
            count = reading.read_into(offset, buffer[: end - offset])
            assert count
            found += buffer[:count]
            offset += count
        return bytes(found)


def test_what_goes_in_comes_out(store: GatewayStore, behind: Behind) -> None:
    """A gateway that stores anything but the bytes sent, or elsewhere than asked, loses backups."""
    for size in (0, 1, 3 * RANGE_BYTES + 17):
        data = some_bytes(size)
        assert put(store, file_of(data), data) is Outcome.STORED
        assert get(store, file_of(data)) == data
        assert store.stat(file_of(data)).size_bytes == size
        assert behind.only.load(handle_of(data)) == data
    listed = {info.name: info.size_bytes for info in store.list(REPOSITORY, FileKind.PACK)}
    assert sorted(listed.values()) == [0, 1, 3 * RANGE_BYTES + 17]
    assert store.remove(file_of(b"")) == Removal(0, 0)
    with pytest.raises(MissingFileError):
        store.stat(file_of(b""))


def test_repositories_are_apart(store: GatewayStore) -> None:
    """Whoever sees another's files through the gateway can also destroy them."""
    data = some_bytes(1000)
    put(store, file_of(data), data)
    for folders in ((), ("ann",), ("bob", "laptop")):
        assert list(store.list(folders, FileKind.PACK)) == []
        with pytest.raises(MissingFileError):
            store.open(StoredFile(folders, FileKind.PACK, file_of(data).name))


@pytest.mark.parametrize("name", ["..", "a/b", "a\\b", "a%2e", "a?x", "a#x", "a:b", ".a", "", "a b", "ü"])
def test_names_that_could_mean_more(store: GatewayStore, name: str) -> None:
    """In a location such a name may be more than one: another place, a parameter, a host."""
    with pytest.raises(MissingFileError, match="cannot be part"):
        store.create(("ann", name))


def test_ranges_are_loaded_as_asked_for(store: GatewayStore, behind: Behind) -> None:
    """Object stores bill bytes and requests: a header of 500 bytes must not load a pack of 16 MiB."""
    data = some_bytes(3 * RANGE_BYTES)
    put(store, file_of(data), data)
    behind.only.calls.clear()
    assert get(store, file_of(data), 100, 500) == data[100:600]
    assert get(store, file_of(data), 1000, RANGE_BYTES + 10) == data[1000 : RANGE_BYTES + 1010]
    loads = [(call.offset_bytes, call.length_bytes) for call in behind.only.calls if call.operation is Operation.LOAD]
    assert loads == [(100, 500), (1000, RANGE_BYTES), (1000 + RANGE_BYTES, 10)]
    assert behind.only.count(Operation.STAT) == 1  # the size is known the second time


def test_reading_anywhere(store: GatewayStore) -> None:
    """A reader that turns back, or was not told what is wanted, must still get the right bytes."""
    data = some_bytes(2 * RANGE_BYTES + 5)
    put(store, file_of(data), data)
    with store.open(file_of(data)) as reading:
        buffer = memoryview(bytearray(1000))
        for offset in (2 * RANGE_BYTES - 3, 5, RANGE_BYTES + 1, 0, 2 * RANGE_BYTES + 4):
            count = reading.read_into(offset, buffer)
            assert count
            assert bytes(buffer[:count]) == data[offset : offset + count]
        assert reading.read_into(len(data), buffer) == 0


def test_upload_again(store: GatewayStore, behind: Behind) -> None:
    """A client whose answer got lost sends again, and must be told from one that would replace a file."""
    data = some_bytes(RANGE_BYTES + 1)
    for handle_data in (data, b"config"):
        kind = FileKind.PACK if handle_data is data else FileKind.CONFIG
        file = file_of(data) if kind is FileKind.PACK else StoredFile(REPOSITORY, kind)
        assert put(store, file, handle_data) is Outcome.STORED
        saves = behind.only.saved()
        assert put(store, file, handle_data) is Outcome.SAME
        assert put(store, file, handle_data[:-1]) is Outcome.OTHER
        assert put(store, file, handle_data[:-1] + b"!") is Outcome.OTHER
        assert behind.only.saved() == saves
        assert get(store, file) == handle_data


def test_uploads_of_one_name_at_once(store: GatewayStore, behind: Behind) -> None:
    """Two who both find that there is no config would make one repository of two."""
    barrier = threading.Barrier(6)

    def work(number: int) -> Outcome:
        barrier.wait()
        return put(store, StoredFile(REPOSITORY, FileKind.CONFIG), b"config %d" % number)

    with ThreadPoolExecutor(6) as threads:
        outcomes = list(threads.map(work, range(6)))
    assert sorted(outcome.value for outcome in outcomes) == ["other"] * 5 + ["stored"]
    assert behind.only.saved() == 1


def test_broken_off_upload_leaves_nothing(store: GatewayStore, behind: Behind, spool: Path) -> None:
    """What a client did not finish must neither be stored nor fill the gateway's disk."""
    data = some_bytes(300_000)
    with store.begin(file_of(data), len(data)) as upload:
        upload.write(memoryview(data)[:100_000])
        assert list(spool.iterdir()) == []  # without a name: gone with the process, and nobody's to read
    assert behind.only.saved() == 0
    assert _open_below(spool) == []


def _open_below(folder: Path) -> list[str]:
    """The descriptors of this process for files that are or were in the folder."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}").startswith(f"{folder}/"):
                found.append(name)
    return found


def test_spool_is_private(spool: Path) -> None:
    """What other users of the machine can open they can keep, though it is encrypted."""
    with Spool(str(spool)) as made:
        made.write(b"x")
        modes = {os.stat(f"/proc/self/fd/{name}").st_mode & 0o777 for name in _open_below(spool)}
    assert modes == {0o600}
    assert _open_below(spool) == []


@pytest.mark.parametrize("operation", [Operation.SAVE, Operation.STAT])
def test_save_fails_in_the_middle(store: GatewayStore, behind: Behind, spool: Path, operation: Operation) -> None:
    """A client that is told of success while the storage failed believes in a backup that is not there."""
    data = some_bytes(300_000)
    behind.only.fail_after(0, operations=[operation])
    with pytest.raises(BehindError, match="does not answer for now") as caught:
        put(store, file_of(data), data)
    assert "failed on purpose" in behind.told[-1]
    assert not caught.value.permanent
    behind.only.heal()
    with pytest.raises(MissingFileError):
        store.stat(file_of(data))
    assert list(spool.iterdir()) == []
    assert put(store, file_of(data), data) is Outcome.STORED


def test_lost_answer_is_no_failure(store: GatewayStore, behind: Behind) -> None:
    """The storage has the file though its answer got lost: the retry must find it, not refuse it."""
    data = some_bytes(1000)
    behind.only.lose_answer_after(0, operations=[Operation.SAVE])
    assert put(store, file_of(data), data) is Outcome.STORED
    assert get(store, file_of(data)) == data


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (StorageFullError("cannot save: the disk is full"), NoSpaceError),
        (BackendError("the user may not look at the quota of ann", permanent=True), BehindError),
        (BackendError("the credentials are wrong", permanent=True), BehindError),
    ],
)
def test_refusals_keep_their_reason(
    store: GatewayStore, behind: Behind, error: BackendError, kind: type[BackendError]
) -> None:
    """507 ends a backup at once, 502 too, 503 is tried again; where the storage is, is for the server's log alone."""
    behind.only.fail_after(0, operations=[Operation.SAVE], error=error)
    with pytest.raises(kind, match="the storage behind the gateway") as caught:
        put(store, file_of(b"x"), b"x")
    assert str(error) not in str(caught.value)
    assert behind.told == [str(error)]
    assert type(caught.value) is kind
    assert caught.value.permanent


def test_download_fails_in_the_middle(store: GatewayStore, behind: Behind) -> None:
    """An answer that goes on with nothing, or with another file's bytes, would be taken for data."""
    data = some_bytes(3 * RANGE_BYTES)
    put(store, file_of(data), data)
    behind.only.fail_after(1, operations=[Operation.LOAD])
    with pytest.raises(BehindError):
        get(store, file_of(data))
    behind.only.heal()
    assert get(store, file_of(data)) == data


def test_removed_behind_its_back(store: GatewayStore, behind: Behind) -> None:
    """A file that somebody else removed must be missing, not be served by what the gateway remembers."""
    data = some_bytes(1000)
    put(store, file_of(data), data)
    get(store, file_of(data))
    behind.only.remove(handle_of(data))
    with pytest.raises(MissingFileError):
        get(store, file_of(data))
    with pytest.raises(MissingFileError):
        store.open(file_of(data))


def test_few_backends_stay_open(behind: Behind) -> None:
    """A gateway for a thousand repositories must not hold five thousand connections."""
    backends = GatewayBackends(Place("/place"), open_inner=behind.open, most_open=2)
    with backends.use(["a"]) as first:
        for name in "bcdef":
            with backends.use([name]) as other:
                other.create()
        assert "/place/a" not in behind.closed  # in use
        first.create()
    assert len(behind.closed) == 4
    backends.close()
    assert sorted(behind.closed) == [f"/place/{name}" for name in "abcdef"]
    with pytest.raises(BackendError, match="being closed"), backends.use(["a"]):
        pass


def test_rate_is_that_of_all(behind: Behind) -> None:
    """Ten repositories that each get the whole rate take the line from everybody."""
    backends = GatewayBackends(Place("/place", upload_bps=1000), open_inner=behind.open)
    ended: list[str] = []

    def work() -> None:
        with backends.use(["b"]) as other:
            try:
                save(other)
            except BackendError as error:
                ended.append(str(error))

    def save(backend: Backend) -> None:
        data = os.urandom(900)
        backend.save(handle_of(data), content_of(data))

    with backends.use(["a"]) as first:
        save(first)
        save(first)
    thread = threading.Thread(target=work)
    thread.start()
    backends.close()  # ends the pause, too
    thread.join(20)
    assert len(ended) == 1
    assert "interrupted" in ended[0]


def test_folder_as_place(tmp_path: Path) -> None:
    """`--backend` takes any location, a plain folder too; what is there can be used without the gateway."""
    store = GatewayStore.of(Settings(path="", backend=str(tmp_path / "place")), lambda _: None)
    data = some_bytes(1000)
    store.create(REPOSITORY)
    assert put(store, file_of(data), data) is Outcome.STORED
    name = file_of(data).name
    assert (tmp_path / "place/ann/laptop/data" / name[:2] / name).read_bytes() == data
    store.close()


@pytest.mark.parametrize(
    ("location", "options", "told"),
    [("nope:x", {}, "no backend is called 'nope'"), ("s3:", {}, "s3"), ("/x", {"local.foo": "1"}, "foo")],
)
def test_senseless_place(location: str, options: Mapping[str, str], told: str) -> None:
    """A typing mistake must be told when the server starts, not to the first client."""
    with pytest.raises(UsageError, match=told):
        GatewayStore.of(Settings(path="", backend=location, backend_options=dict(options)), lambda _: None)


def test_secrets_stay_hidden() -> None:
    """Options hold the keys of the whole storage."""
    place = Place("rest:http://ann:geheim@127.0.0.1/", {"s3.secret": "geheim"})
    assert "geheim" not in repr(place).replace(place.location, "")
    assert "geheim" not in place.shown()
