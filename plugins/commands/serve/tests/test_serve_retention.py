"""The retention lock: what stays however much somebody wants it gone, and what was removed comes back."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from limpet.contracts.backend import FileKind
from limpet_command_serve.removed import keep_removed, purge_removed
from limpet_command_serve.retention import DAY_S, RetentionError, RetentionLock

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
    repository = tmp_path / "web1" / "db"
    pack = repository / "data" / "ab" / "abcd"
    pack.parent.mkdir(parents=True)
    pack.write_bytes(b"data")
    keep_removed(tmp_path, ("web1", "db"), pack, NOW_S)
    assert not pack.exists()
    kept = tmp_path / ".removed" / "2026-03-01" / "web1" / "db"
    shutil.copytree(kept, repository, dirs_exist_ok=True)
    assert pack.read_bytes() == b"data"
    with pytest.raises(FileNotFoundError):
        keep_removed(tmp_path, ("web1", "db"), pack.with_name("gone"), NOW_S)


def test_removed_files_go_when_their_days_are_over(tmp_path: Path) -> None:
    """Never a day too early, and nothing that is not ours."""
    for name in ("2026-01-29", "2026-01-30", "2026-02-28", "notes", "20260101"):
        (tmp_path / ".removed" / name).mkdir(parents=True)
    assert [folder.name for folder in purge_removed(tmp_path, 30, NOW_S)] == ["2026-01-29"]
    assert not (tmp_path / ".removed" / "2026-01-29").exists()
    assert purge_removed(tmp_path / "nothing", 30, NOW_S) == []
