"""The retry wrapper against a backend that fails on purpose, on a clock that is set by hand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from limpet.contracts.backend import CONFIG_HANDLE, Backend, Content, FileInfo, FileKind, Handle
from limpet.errors import BackendError, MissingFileError
from limpet.storage.memory import MemoryBackend
from limpet.storage.recording import Operation, RecordingBackend
from limpet.storage.retry import RetryBackend
from limpet.storage.wrapping import WrappingBackend
from limpet.testing.backend import content_of, handle_of, save_all
from limpet.testing.listening import Listening


class Clock:
    """A clock that pauses move on."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.pauses: list[float] = []

    def now(self) -> float:
        return self.now_s

    def pause(self, pause_s: float) -> None:
        self.pauses.append(pause_s)
        self.now_s += pause_s


class Setup:
    """A retry wrapper, what it wraps, its clock and what it told."""

    def __init__(self, *, atomic_replace: bool = True) -> None:
        self.clock = Clock()
        self.told = Listening()
        self.memory = MemoryBackend(atomic_replace=atomic_replace)
        self.recording = RecordingBackend(self.memory)
        self.backend = self.wrap(self.recording)

    def wrap(self, inner: RecordingBackend | WrappingBackend) -> RetryBackend:
        """A retry wrapper around this one, on this clock."""
        return RetryBackend(inner, reporter=self.told, now=self.clock.now, pause=self.clock.pause)


@pytest.fixture
def setup() -> Setup:
    """Around a backend that replaces."""
    return Setup()


def test_transient_error_is_tried_again(setup: Setup) -> None:
    """A dropped connection must not end a backup of ten hours."""
    setup.recording.fail_after(0, times=3)
    (handle,) = save_all(setup.backend, FileKind.PACK, [b"a pack"])
    assert setup.memory.files[handle] == b"a pack"
    assert setup.recording.saved() == 4
    for pause, expected in zip(setup.clock.pauses, [1, 2, 4], strict=True):
        assert expected * 0.5 <= pause <= expected * 1.5
    assert len(setup.told.texts) == 4
    assert all(str(handle) in text for text in setup.told.texts)


@pytest.mark.parametrize("operation", ["load", "load_into", "stat", "remove", "save", "create", "delete", "list"])
def test_every_call_is_tried_again(setup: Setup, operation: str) -> None:
    """One call without the wrapper's care is where the run will end."""
    (handle,) = save_all(setup.backend, FileKind.PACK, [b"a pack"])
    setup.recording.fail_after(0, times=1)
    calls: dict[str, tuple[Callable[[], object], object]] = {
        "load": (lambda: setup.backend.load(handle, 2, 4), b"pack"),
        "load_into": (lambda: setup.backend.load_into(handle, 0, memoryview(bytearray(6))), None),
        "stat": (lambda: setup.backend.stat(handle), FileInfo(handle.name, 6)),
        "remove": (lambda: setup.backend.remove(handle), None),
        "save": (lambda: setup.backend.save(handle, content_of(b"a pack")), None),
        "create": (setup.backend.create, None),
        "delete": (setup.backend.delete, None),
        "list": (lambda: list(setup.backend.list(FileKind.PACK)), [FileInfo(handle.name, 6)]),
    }
    call, expected = calls[operation]
    assert call() == expected
    assert len(setup.clock.pauses) == 1


def test_permanent_error_comes_at_once(setup: Setup) -> None:
    """A wrong password of the storage must not take 15 minutes to show."""
    error = BackendError("access denied", permanent=True)
    setup.recording.fail_after(0, error=error)
    with pytest.raises(BackendError) as caught:
        setup.backend.load(handle_of(b"any"))
    assert caught.value is error
    setup.recording.heal()
    with pytest.raises(MissingFileError):
        setup.backend.stat(handle_of(b"any"))
    with pytest.raises(MissingFileError):
        setup.backend.remove(handle_of(b"any"))
    assert setup.clock.pauses == []


def test_gives_up_in_the_end(setup: Setup) -> None:
    """An unreachable storage ends the run with its own error after 15 minutes, not never."""
    setup.recording.fail_after(0)
    with pytest.raises(BackendError, match="failed on purpose"):
        setup.backend.stat(CONFIG_HANDLE)
    assert 13 * 60 < sum(setup.clock.pauses) <= 15 * 60
    assert max(setup.clock.pauses) <= 90


def test_a_slow_failure_gets_a_second_try(setup: Setup) -> None:
    """A request that only timed out after an hour deserves one more."""

    class Slow(WrappingBackend):
        def stat(self, handle: Handle) -> FileInfo:
            setup.clock.now_s += 3600
            return super().stat(handle)

    setup.memory.files[CONFIG_HANDLE] = b"config"
    setup.recording.fail_after(0, times=1)
    assert setup.wrap(Slow(setup.recording)).stat(CONFIG_HANDLE).size_bytes == 6


@pytest.mark.parametrize(
    ("retry_after_s", "least_s", "most_s"),
    [(None, 0.5, 1.5), (0, 0.5, 1.5), (-3, 0.5, 1.5), (0.1, 0.5, 1.5), (20, 20, 20.5), (86_400, 300, 300.5)],
)
def test_retry_after(setup: Setup, retry_after_s: float | None, least_s: float, most_s: float) -> None:
    """A server that says when to come back bans who comes sooner; one that says tomorrow is asked sooner."""
    setup.memory.files[CONFIG_HANDLE] = b"config"
    setup.recording.fail_after(0, times=1, error=BackendError("too many requests", retry_after_s=retry_after_s))
    assert setup.backend.stat(CONFIG_HANDLE).size_bytes == 6
    (pause,) = setup.clock.pauses
    assert least_s <= pause <= most_s


def test_retry_after_does_not_last_longer_than_all_tries(setup: Setup) -> None:
    """A server that asks for minutes each time must not hold a run for hours."""
    setup.recording.fail_after(0, error=BackendError("too many requests", retry_after_s=86_400))
    with pytest.raises(BackendError, match="too many requests"):
        setup.backend.stat(CONFIG_HANDLE)
    assert 2 <= len(setup.clock.pauses) <= 3
    assert sum(setup.clock.pauses) <= 15 * 60


@pytest.mark.parametrize("wrong", [b"", b"a pac", b"a pack and more"])
def test_short_or_long_body_is_no_data(setup: Setup, wrong: bytes) -> None:
    """A proxy that cuts bodies, or ignores the range that was asked for, must not deliver a damaged blob."""

    answers = [wrong]

    class WrongLength(WrappingBackend):
        def load(self, handle: Handle, offset_bytes: int = 0, length_bytes: int | None = None) -> bytes:
            return answers.pop() if answers else super().load(handle, offset_bytes, length_bytes)

        def load_into(self, handle: Handle, offset_bytes: int, buffer: memoryview) -> None:
            Backend.load_into(self, handle, offset_bytes, buffer)

    (handle,) = save_all(setup.memory, FileKind.PACK, [b"a pack"])
    backend = setup.wrap(WrongLength(setup.memory))
    assert backend.load(handle, 0, 6) == b"a pack"
    answers.append(wrong)
    buffer = bytearray(6)
    backend.load_into(handle, 0, memoryview(buffer))
    assert buffer == b"a pack"
    assert len(setup.clock.pauses) == 2
    assert f"{len(wrong)} bytes came where 6 were asked for" in setup.told.texts[0]


def test_hopeless_file_is_not_waited_for_again(setup: Setup) -> None:
    """A check of thousands of blobs in one unreachable pack must not wait 15 minutes for each."""
    handle, other = save_all(setup.backend, FileKind.PACK, [b"a pack", b"another"])
    setup.recording.fail_after(0, operations=[Operation.LOAD])
    with pytest.raises(BackendError):
        setup.backend.load(handle)
    setup.clock.pauses.clear()
    with pytest.raises(BackendError, match="not tried again"):
        setup.backend.load(handle, 1, 2)
    assert setup.clock.pauses == []
    setup.recording.heal()
    assert setup.backend.load(other) == b"another"
    setup.clock.now_s += 3601
    assert setup.backend.load(handle) == b"a pack"


class FlakyList(WrappingBackend):
    """A listing that breaks off after each few entries, and starts anew in another order."""

    breaks = 5

    def list(self, kind: FileKind) -> Iterator[FileInfo]:
        self.breaks -= 1
        files = sorted(super().list(kind), key=lambda info: info.name, reverse=bool(self.breaks % 2))
        yield from files[: 4 if self.breaks else None]
        if self.breaks:
            raise BackendError("the connection was reset")


def test_listing_repeats_nothing(setup: Setup) -> None:
    """A file listed twice is counted, checked or forgotten twice (restic issue 1638)."""
    handles = save_all(setup.memory, FileKind.SNAPSHOT, [b"%d" % number for number in range(20)])
    listed = [info.name for info in setup.wrap(FlakyList(setup.memory)).list(FileKind.SNAPSHOT)]
    assert sorted(listed) == sorted(handle.name for handle in handles)


def test_error_of_the_caller_is_not_swallowed(setup: Setup) -> None:
    """An error in the loop over a listing is the caller's, even where it is a transient one of the storage."""
    save_all(setup.memory, FileKind.SNAPSHOT, [b"one", b"two"])
    seen = []

    def loop() -> None:
        for info in setup.backend.list(FileKind.SNAPSHOT):
            seen.append(info)
            raise BackendError("the caller's own")

    with pytest.raises(BackendError, match="the caller's own"):
        loop()
    assert len(seen) == 1
    assert setup.clock.pauses == []


@pytest.mark.parametrize("atomic_replace", [True, False])
def test_lost_answer_of_a_save(atomic_replace: bool) -> None:
    """The file was stored, only the answer did not arrive: a save that then fails would end the backup."""
    setup = Setup(atomic_replace=atomic_replace)
    setup.recording.lose_answer_after(0, operations=[Operation.SAVE])
    (handle,) = save_all(setup.backend, FileKind.PACK, [b"a pack"])
    assert setup.memory.files[handle] == b"a pack"
    assert setup.recording.removed() == 0


@pytest.mark.parametrize("kind", [FileKind.PACK, FileKind.CONFIG])
@pytest.mark.parametrize("atomic_replace", [True, False])
@pytest.mark.parametrize("check_fails", [0, 1, 2])
def test_lost_answer_on_an_append_only_server(kind: FileKind, atomic_replace: bool, check_fails: int) -> None:
    """It refuses to remove and to replace, be it ours: what is stored byte for byte is saved, however long the
    server cannot be asked about it.
    """

    setup = Setup(atomic_replace=atomic_replace)

    class AppendOnly(WrappingBackend):
        def save(self, handle: Handle, content: Content) -> None:
            if handle in setup.memory.files:
                raise BackendError("403: there is such a file", permanent=True)
            super().save(handle, content)

        def remove(self, handle: Handle) -> None:
            raise BackendError("403: append-only", permanent=True)

    setup.recording.lose_answer_after(0, operations=[Operation.SAVE])
    setup.recording.fail_after(0, times=check_fails, operations=[Operation.STAT])
    backend = setup.wrap(AppendOnly(setup.recording))
    handle = CONFIG_HANDLE if kind is FileKind.CONFIG else handle_of(b"ours", kind)
    backend.save(handle, content_of(b"ours"))
    assert setup.memory.files == {handle: b"ours"}
    assert "succeeded after" in setup.told.texts[-1]


def test_what_another_stored_is_not_ours() -> None:
    """A refusal after a lost connection is no success where the bytes that are there are others."""
    setup = Setup(atomic_replace=False)
    setup.memory.files[CONFIG_HANDLE] = b"1234"
    setup.recording.fail_after(0, times=1, operations=[Operation.SAVE])
    with pytest.raises(BackendError, match="already"):
        setup.backend.save(CONFIG_HANDLE, content_of(b"4321"))
    assert setup.memory.files[CONFIG_HANDLE] == b"1234"


def test_refusal_of_the_first_try_stands() -> None:
    """A file that was there before is no answer that was lost: the caller learns of it."""
    setup = Setup(atomic_replace=False)
    (handle,) = save_all(setup.memory, FileKind.PACK, [b"a pack"])
    with pytest.raises(BackendError, match="already"):
        setup.backend.save(handle, content_of(b"a pack"))
    assert setup.recording.loaded() == 0


class CutSave(WrappingBackend):
    """A store that keeps half of the first file when the connection breaks."""

    cut = True

    def save(self, handle: Handle, content: Content) -> None:
        if self.cut:
            self.cut = False
            assert isinstance(self.inner, MemoryBackend)
            self.inner.files[handle] = bytes(content.data[: content.size_bytes // 2])
            raise BackendError("the connection was reset")
        super().save(handle, content)


def test_half_a_file_is_removed_before_the_next_try() -> None:
    """Where files cannot be replaced, the rest of a broken upload must make way."""
    setup = Setup(atomic_replace=False)
    (handle,) = save_all(setup.wrap(CutSave(setup.memory)), FileKind.PACK, [b"a whole pack"])
    assert setup.memory.files[handle] == b"a whole pack"


def test_config_of_another_is_never_removed() -> None:
    """Two `init` at once: the one that lost must not remove the other's config."""
    setup = Setup(atomic_replace=False)
    setup.memory.files[CONFIG_HANDLE] = b"the other's"
    setup.recording.fail_after(0, times=1)
    with pytest.raises(BackendError, match="already"):
        setup.backend.save(CONFIG_HANDLE, content_of(b"mine"))
    assert setup.memory.files[CONFIG_HANDLE] == b"the other's"


def test_lost_answer_of_a_removal(setup: Setup) -> None:
    """A lock that was removed with the answer lost is removed, not missing (restic issue 2452)."""
    (handle,) = save_all(setup.backend, FileKind.LOCK, [b"a lock"])
    setup.recording.lose_answer_after(0)
    setup.backend.remove(handle)
    assert handle not in setup.memory.files


@pytest.mark.parametrize("how", ["close", "interrupt"])
def test_interrupt_ends_the_pauses(how: str) -> None:
    """Ctrl-C must not wait a minute for the next try; locks can still be removed, if it works at once."""
    recording = RecordingBackend(MemoryBackend())
    recording.fail_after(0)
    backend = RetryBackend(recording, first_pause_s=60)
    errors: list[BackendError] = []

    def work() -> None:
        try:
            backend.stat(CONFIG_HANDLE)
        except BackendError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    while not recording.calls:
        pass
    WrappingBackend(backend).interrupt() if how == "interrupt" else backend.close()
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert len(errors) == 1
    with pytest.raises(BackendError):
        backend.stat(CONFIG_HANDLE)
    assert len(recording.calls) == 2
    recording.heal()
    (handle,) = save_all(backend, FileKind.LOCK, [b"a lock"])
    backend.remove(handle)
