"""Who may do what: the table, folders, and the file that keeps the rights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limpet.contracts.backend import FileKind
from limpet.errors import UsageError
from limpet_command_serve.rights import FULL_RIGHTS, Access, Action, Rights, Verdict, may_enter, verdict
from limpet_command_serve.rights_file import UserRights, decode_rights, encode_rights, rights_path

RIGHTS = st.builds(
    Rights,
    st.sampled_from(Access),
    st.none() | st.integers(0, 1 << 50),
    st.none() | st.integers(0, 10_000),
)


@pytest.mark.parametrize("access", [Access.APPEND_ONLY, Access.WRITE_ONLY, Access.READ_ONLY])
@pytest.mark.parametrize("kind", FileKind)
def test_only_full_users_remove_anything_but_locks(access: Access, kind: FileKind) -> None:
    """The one promise of all three: what is stored stays."""
    expected = Verdict.ALLOW if kind is FileKind.LOCK else Verdict.REFUSE
    assert verdict([access], Action.REMOVE, kind) is expected


@pytest.mark.parametrize("kind", [FileKind.PACK, FileKind.SNAPSHOT])
def test_write_only_users_read_nothing_back(kind: FileKind) -> None:
    """A stolen machine must not give away what it and others backed up; its backups must work nevertheless."""
    assert verdict([Access.WRITE_ONLY], Action.READ, kind) is Verdict.REFUSE
    assert verdict([Access.WRITE_ONLY], Action.LIST, kind) is Verdict.HIDE
    assert verdict([Access.WRITE_ONLY], Action.WRITE, kind) is Verdict.ALLOW


def test_read_only_users_lock_and_write_nothing_else() -> None:
    """Restic locks a repository to restore from it."""
    writable = {kind for kind in FileKind if verdict([Access.READ_ONLY], Action.WRITE, kind) is Verdict.ALLOW}
    assert writable == {FileKind.LOCK}
    assert verdict([Access.READ_ONLY], Action.CREATE, None) is Verdict.REFUSE
    assert all(verdict([Access.READ_ONLY], Action.READ, kind) is Verdict.ALLOW for kind in FileKind)


def test_the_server_narrows_what_the_user_may() -> None:
    """With --append-only not even a full user removes, and a read-only one gains nothing by it."""
    assert verdict([Access.FULL, Access.APPEND_ONLY], Action.REMOVE, FileKind.PACK) is Verdict.REFUSE
    assert verdict([Access.APPEND_ONLY, Access.READ_ONLY], Action.WRITE, FileKind.PACK) is Verdict.REFUSE
    assert verdict([], Action.REMOVE, FileKind.PACK) is Verdict.ALLOW


def test_folders_of_users() -> None:
    """With private repositories, and for users with a quota always, the first folder is the user's name."""
    assert may_enter("web1", (), FULL_RIGHTS, private=False)
    assert may_enter("web1", ("web1", "db"), FULL_RIGHTS, private=True)
    for folders in [(), ("web10",), ("web",), ("other", "web1")]:
        assert not may_enter("web1", folders, FULL_RIGHTS, private=True)
        assert not may_enter("web1", folders, Rights(quota_bytes=1), private=False)
    assert not may_enter("", ("",), FULL_RIGHTS, private=True)


@settings(max_examples=50)
@given(st.dictionaries(st.text(min_size=1, max_size=5), RIGHTS, max_size=4))
def test_the_file_keeps_all_rights(rights: dict[str, Rights]) -> None:
    """What an administrator granted is what the server reads."""
    known = decode_rights(encode_rights(rights))
    assert {user: known.get(user, FULL_RIGHTS) for user in rights} == rights


@pytest.mark.parametrize(
    "users",
    [
        {"web1": {"access": "writeonly"}},
        {"web1": {"acess": "write-only"}},
        {"web1": {"quota_bytes": "10G"}},
        {"web1": {"retention_days": -1}},
        {"web1": {"retention_days": True}},
        {"web1": "write-only"},
    ],
)
def test_a_mistake_in_the_file_gives_nobody_more(users: object) -> None:
    """A misspelt word that is ignored would make a write-only user a full one."""
    with pytest.raises(UsageError, match="web1"):
        decode_rights(json.dumps({"version": 1, "users": users}).encode())


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 2, "users": {}}', '{"version": 1}'])
def test_what_is_no_file_of_rights_is_refused(text: str) -> None:
    """A file of a newer version may hold limits that this one does not know."""
    with pytest.raises(UsageError):
        decode_rights(text.encode())


def test_a_file_that_vanishes_takes_no_limits_away(tmp_path: Path) -> None:
    """Whoever deletes or breaks the file must not set write-only users free; a new file counts without a restart."""
    path = rights_path(tmp_path / ".htpasswd")
    told: list[str] = []
    rights = UserRights(path, told.append)
    assert rights.of("web1") == FULL_RIGHTS
    limited = Rights(Access.WRITE_ONLY, 10, 3)
    path.write_bytes(encode_rights({"web1": limited}))
    assert rights.of("web1") == limited
    path.unlink()
    assert rights.of("web1") == limited
    path.write_text("{")
    assert rights.of("web1") == limited
    assert len(told) == 3
    assert all(str(path) in line for line in told)
    with pytest.raises(UsageError, match=r"rights\.json"):
        UserRights(path, told.append)
