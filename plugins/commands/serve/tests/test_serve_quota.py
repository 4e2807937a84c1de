"""Quotas: what may be stored, side by side uploads included, and what is counted at the start."""

from __future__ import annotations

import threading
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from limpet.contracts.backend import FileKind
from limpet.errors import BackendError
from limpet_command_serve.quota import Limits, QuotaError, Reservation, Usage, folder_sizes, repository_of

REPOSITORY = ("web1", "db")
MIB = 1 << 20


def empty() -> Usage:
    """That of a server without a file."""
    usage = Usage()
    usage.count(list)
    return usage


def store(
    usage: Usage, limits: Limits, size: int, kind: FileKind = FileKind.PACK, repository: tuple[str, ...] = REPOSITORY
) -> None:
    """An upload that says how long it is, and succeeds."""
    with Reservation(usage, repository, limits, kind, size) as room:
        room.count(size)
        room.keep(size)


@pytest.mark.parametrize("size", [3 * MIB, None], ids=["length", "chunks"])
def test_uploads_side_by_side_cannot_pass_a_limit(size: int | None) -> None:
    """Each of them alone would fit: never are there more bytes than may be, and as many come through as have room."""
    usage, limits = empty(), Limits(repository_bytes=10 * MIB)
    together = threading.Barrier(8)

    def upload(_: int) -> bool:
        try:
            with Reservation(usage, REPOSITORY, limits, FileKind.PACK, size) as room:
                together.wait(timeout=10)  # all are under way at the same time
                for _ in range(48):
                    room.count(MIB // 16)
                    assert usage.used_bytes() <= 10 * MIB
                room.keep(3 * MIB)
        except QuotaError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(upload, range(8))) == 3
    assert usage.used_bytes() == 9 * MIB


def test_who_says_much_and_sends_little_holds_little() -> None:
    """Uploads that are opened and stand still must not keep the room of others who come with their bytes."""
    usage, limits = empty(), Limits(repository_bytes=10 * MIB)
    with ExitStack() as stalled:
        for _ in range(100):
            room = stalled.enter_context(Reservation(usage, REPOSITORY, limits, FileKind.PACK, 9 * MIB))
            room.count(100)
        store(usage, limits, 9 * MIB)
        with pytest.raises(QuotaError):
            room.count(MIB)
    assert usage.used_bytes() == 9 * MIB


def test_what_can_never_fit_is_refused_before_it_comes() -> None:
    """A client that sends a pack of 128 MiB only to hear that there is no room has sent it for nothing."""
    usage, limits = empty(), Limits(repository_bytes=10 * MIB)
    store(usage, limits, 9 * MIB)
    with pytest.raises(QuotaError, match="2097152 bytes more"):
        Reservation(usage, REPOSITORY, limits, FileKind.PACK, 2 * MIB).__enter__()
    usage.count(list)


def test_an_upload_of_unknown_length_is_counted_as_it_comes() -> None:
    """Chunked bodies say no length: to the last byte that fits they pass, with the next one they end."""
    usage, limits = empty(), Limits(instance_bytes=5 * MIB + 7)
    with Reservation(usage, REPOSITORY, limits, FileKind.PACK, None) as room:
        for _ in range(5):
            room.count(MIB)
        room.count(7)
        with pytest.raises(QuotaError, match="server's quota of 5242887 bytes"):
            room.count(1)
    assert usage.used_bytes() == 0


def test_room_of_a_failed_upload_is_given_back() -> None:
    """Broken uploads must not fill a quota with nothing."""
    usage, limits = empty(), Limits(user_bytes=MIB)
    for _ in range(3):
        with Reservation(usage, REPOSITORY, limits, FileKind.PACK, MIB) as room:
            room.count(100)
    assert usage.used_bytes() == 0
    assert not usage.by_user()
    assert not usage.by_repository()


def test_deletions_make_room_again() -> None:
    """Who has pruned must be able to go on."""
    usage, limits = empty(), Limits(repository_bytes=2 * MIB)
    store(usage, limits, 2 * MIB)
    with pytest.raises(QuotaError, match="repository's quota"):
        store(usage, limits, 1)
    usage.add(REPOSITORY, -MIB)
    store(usage, limits, MIB)


def test_a_full_repository_still_takes_a_lock_and_an_index() -> None:
    """Without them nobody could forget and prune, and a full repository would be full for ever."""
    usage, limits = empty(), Limits(repository_bytes=MIB)
    store(usage, limits, MIB)
    store(usage, limits, 150, FileKind.LOCK)
    store(usage, limits, 20_000, FileKind.INDEX)
    with pytest.raises(QuotaError):
        store(usage, limits, 100_000, FileKind.INDEX)


@pytest.mark.parametrize(
    ("limits", "others"),
    [
        (Limits(repository_bytes=MIB), ("web1", "www")),
        (Limits(user_bytes=MIB), ("web2",)),
    ],
    ids=["repository", "user"],
)
def test_a_limit_concerns_its_own_bytes_only(limits: Limits, others: tuple[str, ...]) -> None:
    """One who fills his quota must not fill another's."""
    usage = empty()
    store(usage, limits, MIB)
    store(usage, limits, MIB, repository=others)
    with pytest.raises(QuotaError):
        store(usage, limits, MIB)


def test_a_user_has_all_repositories_of_his_folder() -> None:
    """A second repository is no second quota."""
    usage, limits = empty(), Limits(user_bytes=2 * MIB)
    store(usage, limits, MIB, repository=("web1",))
    store(usage, limits, MIB, repository=("web1", "www"))
    with pytest.raises(QuotaError, match="user's quota"):
        store(usage, limits, 1, repository=("web1", "db"))


def test_nothing_is_counted_twice() -> None:
    """What is stored or removed while the first quota is given is in the count or beside it, never both, or neither."""
    usage, stored = Usage(), Counter[tuple[str, ...]]()
    counting = threading.Thread(target=lambda: usage.count(lambda: list(stored.items())))
    with Reservation(usage, REPOSITORY, Limits(), FileKind.PACK, None) as room:
        room.count(10)
        with usage.changing():
            counting.start()
            stored[REPOSITORY] += 100
            usage.add(REPOSITORY, 100)
        counting.join(0.1)
        assert counting.is_alive(), "an upload is under way"
        stored[REPOSITORY] += 10
        room.keep(10)
    counting.join(10)
    assert usage.used_bytes() == 110
    with usage.changing():
        usage.add(REPOSITORY, -100)
    assert usage.by_repository() == {REPOSITORY: 10}


def test_a_count_that_waits_holds_up_nobody() -> None:
    """It waits for uploads that wait for a thread: were those held up by it, who came in already, all would stand."""
    usage, is_counted = Usage(), threading.Event()

    def count() -> None:
        usage.count(list)
        is_counted.set()

    counting = threading.Thread(target=count, daemon=True)
    coming = threading.Thread(target=lambda: store(usage, Limits(), 10), daemon=True)
    with usage.changing():
        counting.start()
        assert not is_counted.wait(0.1), "an upload is under way"
        coming.start()
        coming.join(10)
        assert not coming.is_alive()
    assert is_counted.wait(10)


def test_names_that_hold_nothing_take_no_memory() -> None:
    """Each upload that fails may have a repository's name of its own."""
    usage = empty()
    tracemalloc.start()
    try:
        for number in range(10_000):
            with Reservation(usage, ("web1", f"{number}"), Limits(), FileKind.PACK, 1) as room:
                room.count(1)
        assert tracemalloc.get_traced_memory()[0] < MIB
    finally:
        tracemalloc.stop()


def test_a_count_that_fails_leaves_others_at_work() -> None:
    """A storage that is away for a moment must not stop all uploads for ever, nor be taken for an empty one."""
    usage = Usage()

    def fail() -> Iterator[tuple[tuple[str, ...], int]]:
        yield REPOSITORY, 5
        raise BackendError("away")

    with pytest.raises(BackendError):
        usage.count(fail)
    with usage.changing():
        pass
    assert usage.used_bytes() == 0
    usage.count(lambda: [(REPOSITORY, 5)])
    assert usage.used_bytes() == 5


def test_what_is_there_is_counted(tmp_path: Path) -> None:
    """After a restart the quota goes on where it was, removed files that are kept among it."""
    files = {
        "config": 1,
        "data/ab/x": 10,
        "web1/config": 100,
        "web1/db/data/cd/y": 1000,
        "web1/db/.removed/2026-01-01/snapshots/z": 10_000,
        ".removed/2026-01-01/data/ab/z": 100_000,
    }
    for name, size in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
    (tmp_path / "web1" / "loop").symlink_to(tmp_path)
    (tmp_path / "web1" / ".uploads").mkdir()
    (tmp_path / "web1" / ".uploads" / "of another server").write_bytes(bytes(10**6))
    usage = Usage()
    usage.count(lambda: folder_sizes(tmp_path))
    assert usage.by_repository() == {(): 100_011, ("web1",): 100, ("web1", "db"): 11_000}
    assert usage.by_user() == {"web1": 11_100}
    assert usage.used_bytes() == 111_111


@pytest.mark.parametrize(
    ("parts", "repository"),
    [
        ("data/ab/x", ()),
        ("a/data/ab/x", ("a",)),
        ("a/b/locks/x", ("a", "b")),
        ("a/b/c/x", ("a", "b")),
        ("a/.removed/2026-01-01/data/ab/x", ("a",)),
        (".htpasswd", ()),
        ("config", ()),
        ("", ()),
    ],
)
def test_the_repository_of_a_path(parts: str, repository: tuple[str, ...]) -> None:
    """Bytes must be counted for the repository that the server's addresses mean."""
    assert repository_of([part for part in parts.split("/") if part]) == repository
