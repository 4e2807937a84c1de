"""The retention lock: what stays however much somebody wants it gone, and what was removed comes back."""

from __future__ import annotations

import asyncio
import shutil
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from limpet.contracts.backend import FileKind
from limpet.errors import MissingFileError
from limpet_command_serve.names import StoredFile
from limpet_command_serve.quota import Usage, folder_sizes
from limpet_command_serve.removed import KeepingStore, kept_too_long
from limpet_command_serve.retention import DAY_S, RetentionDays, RetentionError, RetentionLock
from limpet_command_serve.retention_policy import RetentionPolicy
from limpet_command_serve.rights import Rights
from limpet_command_serve.rights_file import UserRights, encode_rights
from limpet_command_serve.store import Removal

NOW_S = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()
LOCKED = [FileKind.PACK, FileKind.INDEX, FileKind.SNAPSHOT]


@pytest.mark.parametrize("kind", LOCKED)
def test_nothing_younger_goes(kind: FileKind) -> None:
    """The promise, to the second; a clock that was set back locks longer, never shorter."""
    lock = RetentionLock(30)
    lock.check(kind, NOW_S - 30 * DAY_S, NOW_S)
    for stored_s in (NOW_S - 30 * DAY_S + 1, NOW_S, NOW_S + DAY_S):
        with pytest.raises(RetentionError, match="30 days"):
            lock.check(kind, stored_s, NOW_S)


def test_the_message_says_until_when() -> None:
    """The user has to know when to try again."""
    with pytest.raises(RetentionError, match=r"before 2026-03-31 12:00:00 UTC"):
        RetentionLock(30).check(FileKind.PACK, NOW_S, NOW_S)


@pytest.mark.parametrize("kind", [FileKind.CONFIG, FileKind.KEY])
def test_config_and_keys_never_go(kind: FileKind) -> None:
    """They are the oldest files of all, and without them nothing can be read."""
    with pytest.raises(RetentionError, match="administrator"):
        RetentionLock(1).check(kind, 0, NOW_S)
    RetentionLock(0).check(kind, NOW_S, NOW_S)


def test_locks_always_go() -> None:
    """A lock that cannot be removed would stop every prune."""
    RetentionLock(30).check(FileKind.LOCK, NOW_S, NOW_S)


def test_what_is_removed_comes_back_by_one_copy(tmp_path: Path) -> None:
    """An old pack may hold the newest data: an attacker who removes it must not win."""
    folders, name = ("web1", "db"), "ab" * 32
    store = KeepingStore(str(tmp_path), RetentionDays(30, None), lambda: NOW_S)
    store.create(folders)
    repository = tmp_path / "web1" / "db"
    pack, lock = repository / "data" / "ab" / name, repository / "locks" / name
    pack.write_bytes(b"data")
    lock.write_bytes(b"lock")
    assert store.remove(StoredFile(folders, FileKind.PACK, name)) == Removal(4, 0)
    assert store.remove(StoredFile(folders, FileKind.LOCK, name)) == Removal(4, 4)
    with pytest.raises(MissingFileError):
        store.remove(StoredFile(folders, FileKind.PACK, name))
    assert not pack.exists()
    assert not lock.exists()
    kept = repository / ".removed" / "until-2026-03-31"
    shutil.copytree(kept, repository, dirs_exist_ok=True)
    assert pack.read_bytes() == b"data"
    assert not lock.exists(), "locks are not kept"


def test_the_days_of_the_server_and_of_the_user(tmp_path: Path) -> None:
    """A user's own days add to the server's and never take away; removed files wait for the longest of all."""
    path = tmp_path / "rights.json"
    path.write_bytes(encode_rights({"web1": Rights(retention_days=90), "web2": Rights(retention_days=1)}))
    days = RetentionDays(30, UserRights(path, print))
    assert [days.of(user) for user in ("web1", "web2", "web3")] == [90, 30, 30]
    assert days.longest() == 90
    assert days.keeps(FileKind.PACK)
    assert not days.keeps(FileKind.LOCK)
    assert RetentionDays(0, None).longest() == 0
    assert not RetentionDays(0, None).keeps(FileKind.PACK)
    with pytest.raises(RetentionError, match="before 2126"):
        RetentionLock(RetentionDays(10**9, None).longest()).check(FileKind.PACK, NOW_S, NOW_S)


def test_removed_files_go_when_their_days_are_over(tmp_path: Path) -> None:
    """Never a day too early, and nothing that is not ours."""
    names = ["until-2026-02-28", "until-2026-03-01", "until-2026-03-02", "notes", "2026-01-01", "until-20260101"]
    for name in names:
        (tmp_path / "web1" / ".removed" / name / "data").mkdir(parents=True)
        (tmp_path / "web1" / ".removed" / name / "data" / "x").write_bytes(b"12345")
    (kept,) = kept_too_long(tmp_path, NOW_S)
    assert (kept.folders, kept.until, kept.size_bytes()) == (("web1",), date(2026, 2, 28), 5)
    kept.delete()
    assert sorted(path.name for path in (tmp_path / "web1" / ".removed").iterdir()) == sorted(names[1:])
    assert list(kept_too_long(tmp_path / "nothing", NOW_S)) == []


@pytest.mark.parametrize(("is_counted", "left_bytes"), [(True, 7), (False, 0)])
def test_what_is_gone_for_good_frees_what_it_took(tmp_path: Path, is_counted: bool, left_bytes: int) -> None:
    """Sums that go below what is there let people pass their quota, also where the quota comes after a while."""
    usage, told = Usage(), list[str]()
    for day, size in (("until-2026-01-01", 5), ("until-9999-01-01", 7)):
        folder = tmp_path / "web1" / ".removed" / day / "data"
        folder.mkdir(parents=True)
        (folder / "x").write_bytes(bytes(size))
    if is_counted:
        usage.count(lambda: folder_sizes(tmp_path))
    policy = RetentionPolicy(RetentionDays(30, None), tmp_path, usage, told.append)

    async def purge() -> None:
        await policy.start()
        while not told:
            await asyncio.sleep(0.01)
        await policy.close()

    asyncio.run(asyncio.wait_for(purge(), 20))
    assert "kept until 2026-01-01 is gone for good: 5 bytes" in told[0]
    assert usage.used_bytes() == left_bytes
    if not is_counted:
        usage.count(lambda: folder_sizes(tmp_path))
        assert usage.used_bytes() == 7


def test_what_is_stored_and_removed_again_is_kept_once(tmp_path: Path) -> None:
    """Two copies in one place would count twice; and the first one is what the lock was about."""
    name = "ab" * 32
    store = KeepingStore(str(tmp_path), RetentionDays(30, None), lambda: NOW_S)
    store.create(())
    for content, freed_bytes in ((b"first", 0), (b"second", 6)):
        (tmp_path / "data" / "ab" / name).write_bytes(content)
        assert store.remove(StoredFile((), FileKind.PACK, name)) == Removal(len(content), freed_bytes)
    assert [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()] == [b"first"]


def test_what_was_promised_stays(tmp_path: Path) -> None:
    """Who has the longest lock is removed: what went before is kept as long as it was said then, to the day."""
    rights, name = tmp_path / "rights.json", "ab" * 32
    rights.write_bytes(encode_rights({"web1": Rights(retention_days=90)}))
    days = RetentionDays(30, UserRights(rights, print))
    now_s = NOW_S
    store = KeepingStore(str(tmp_path / "root"), days, lambda: now_s)
    store.create(("web1",))
    pack = tmp_path / "root" / "web1" / "data" / "ab" / name
    pack.write_bytes(b"data")
    store.remove(StoredFile(("web1",), FileKind.PACK, name))
    rights.write_bytes(encode_rights({}))
    assert days.of("web1") == 30
    assert days.longest() == 30
    for passed in (31, 90):
        assert list(kept_too_long(tmp_path / "root", NOW_S + passed * DAY_S)) == []
    assert len(list(kept_too_long(tmp_path / "root", NOW_S + 91 * DAY_S))) == 1
