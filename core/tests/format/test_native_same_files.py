"""The comparison of files with the parent's nodes, in C and in Python: the same answers, whatever a node says."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limpet.contracts.source import Entry
from limpet.format import _index_py, _native, _same_files_py
from limpet.format.filemode import go_mode_from_stat
from limpet.format.statnode import node_json
from limpet.format.timestamps import local_second

KNOWN, UNKNOWN = b"\1" * 32, b"\2" * 32
Taken = tuple[bytes, Any, dict[str, Any], list[bytes]]


@dataclass(frozen=True)
class Status:
    """What the comparison reads of a status, and the encoder besides."""

    st_mode: int = 0o100644
    st_ino: int = 77
    st_dev: int = 2049
    st_nlink: int = 1
    st_uid: int = 1000
    st_gid: int = 100
    st_size: int = 5
    st_mtime_ns: int = 1_700_000_000_123_456_700
    st_ctime_ns: int = 1_700_000_001_000_000_000
    st_atime_ns: int = 0
    st_rdev: int = 0


def owner(st_mode: int, uid: int, gid: int) -> tuple[int, int, int, str, str]:
    """Some users have names."""
    return go_mode_from_stat(st_mode), uid, gid, "" if uid == 0 else f"user{uid}", f"group{gid}"


def node_of(status: Status, name: bytes = b"file", content: list[bytes] | None = None) -> dict[str, Any]:
    """The node that a backup writes for the status, as read from the parent's tree."""
    _mode, _uid, _gid, user, group = owner(status.st_mode, status.st_uid, status.st_gid)
    chunks = [KNOWN] if content is None else content
    written = node_json(
        json.dumps(name.decode()).encode(),
        status,
        user=user,
        group=group,
        content=chunks,
    )
    node: dict[str, Any] = json.loads(written)
    return node


def make(name: bytes, status: Any, node: dict[str, Any], content: list[bytes]) -> Taken:
    """What fills a slot."""
    return name, status, node, content


def in_c() -> _native.SameFiles:
    """On a table that knows one blob."""
    table = _native.IndexTable()
    table.add(0, KNOWN, table.add_pack(bytes(32)), 0, 50, 0)
    return _native.SameFiles(table, make, local_second, owner)


def in_python() -> _same_files_py.SameFiles:
    """On a table that knows one blob."""
    table = _index_py.IndexTable()
    table.add(0, KNOWN, table.add_pack(bytes(32)), 0, 50, 0)
    return _same_files_py.SameFiles(table, make, local_second, owner)


BOTH: list[Callable[[], Any]] = [in_c, in_python]


def is_taken(files: Any, status: Any, node: Any, **entry: Any) -> bool:
    """Whether one file is taken over; slot, counts and others have to say the same."""
    slots: list[Any] = [None]
    one = Entry(b"file", status, **entry)
    count, size_bytes, others = files.settle([one], {b"file": node}, slots)
    if slots[0] is None:
        assert (count, size_bytes) == (0, 0)
        assert others == [(0, one, node)]
        return False
    assert (count, size_bytes, others) == (1, status.st_size, [])
    name, taken_status, taken_node, content = slots[0]
    assert (name, taken_status, taken_node) == (b"file", status, node)
    assert content == [bytes.fromhex(text) for text in node.get("content") or ()]
    return True


@pytest.mark.parametrize("files", BOTH)
@pytest.mark.parametrize(
    "status",
    [
        Status(),
        Status(st_mtime_ns=0, st_ctime_ns=1_700_000_000_000_000_001),
        Status(st_mtime_ns=-1_500_000_000, st_ctime_ns=-1),
        Status(st_mtime_ns=100_000_000, st_ctime_ns=999_999_999),
        Status(st_nlink=3),
        Status(st_uid=0, st_size=0),
        Status(st_mode=0o104755, st_size=1 << 40, st_ino=(1 << 62) + 1),
    ],
)
def test_unchanged_file_is_taken_over(files: Callable[[], Any], status: Status) -> None:
    """Else every backup would look twice at every file."""
    assert is_taken(files(), status, node_of(status))


@pytest.mark.parametrize("files", BOTH)
@pytest.mark.parametrize(
    "change",
    [
        {"st_ino": 78},
        {"st_size": 6},
        {"st_nlink": 2},
        {"st_uid": 1001},
        {"st_gid": 101},
        {"st_mode": 0o100600},
        {"st_mode": 0o100644 ^ 0o140000},
        {"st_mtime_ns": Status.st_mtime_ns + 100},
        {"st_mtime_ns": Status.st_mtime_ns + 1},
        {"st_mtime_ns": Status.st_mtime_ns + 1_000_000_000},
        {"st_ctime_ns": Status.st_ctime_ns + 1},
        {"st_ctime_ns": Status.st_ctime_ns - 1},
        {"st_ino": 1 << 64},
    ],
)
def test_any_change_is_seen(files: Callable[[], Any], change: dict[str, int]) -> None:
    """A change that is not seen is not in the backup."""
    assert not is_taken(files(), replace(Status(), **change), node_of(Status()))


@pytest.mark.parametrize("files", BOTH)
def test_device_counts_for_hard_links_only(files: Callable[[], Any]) -> None:
    """It changes with every snapshot of a file system (restic issue 3041)."""
    assert is_taken(files(), Status(st_dev=1), node_of(Status()))
    assert not is_taken(files(), Status(st_dev=1, st_nlink=2), node_of(Status(st_nlink=2)))


@pytest.mark.parametrize("files", BOTH)
def test_lost_blob(files: Callable[[], Any]) -> None:
    """A file whose data the index does not know has to be read again (restic issue 2571)."""
    assert is_taken(files(), Status(), node_of(Status(), content=[KNOWN, KNOWN]))
    assert not is_taken(files(), Status(), node_of(Status(), content=[KNOWN, UNKNOWN]))


@pytest.mark.parametrize("files", BOTH)
def test_what_is_made_is_left_to_the_caller(files: Callable[[], Any]) -> None:
    """It is in no file system that could be asked later."""
    assert not is_taken(files(), Status(), node_of(Status()), made=True)


@pytest.mark.parametrize("files", BOTH)
def test_folder_of_several(files: Callable[[], Any]) -> None:
    """Each slot belongs to its entry, and what the parent does not know comes back with its place."""
    entries = [Entry(b"a", Status()), Entry(b"b", Status(st_size=9)), Entry(b"new", Status()), Entry(b"z", Status())]
    old = {b"a": node_of(Status(), b"a"), b"b": node_of(Status(), b"b"), b"z": node_of(Status(), b"z")}
    slots: list[Any] = [None] * 4
    count, size_bytes, others = files().settle(entries, old, slots)
    assert (count, size_bytes) == (2, 10)
    assert [slot and slot[0] for slot in slots] == [b"a", None, None, b"z"]
    assert others == [(1, entries[1], old[b"b"]), (2, entries[2], None)]


@pytest.mark.parametrize("files", BOTH)
def test_real_status(files: Callable[[], Any], tmp_path: Any) -> None:
    """What the system gives is what counts."""
    (tmp_path / "file").write_bytes(b"12345")
    status = os.stat(tmp_path / "file")
    assert is_taken(files(), status, node_of(status))  # type: ignore[arg-type]
    os.utime(tmp_path / "file", ns=(1, 1))
    assert not is_taken(files(), os.stat(tmp_path / "file"), node_of(status))  # type: ignore[arg-type]


odd_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 70), 1 << 70),
    st.floats(),
    st.text(max_size=70),
    st.lists(st.text(), max_size=2),
)


@settings(max_examples=400, deadline=None)
@given(
    st.dictionaries(st.sampled_from([*node_of(Status(st_nlink=2)), "other"]), odd_values, max_size=2),
    st.lists(st.sampled_from(list(node_of(Status(st_nlink=2)))), max_size=1),
    st.sampled_from([1, 2]),
)
def test_odd_nodes(changes: dict[str, Any], missing: list[str], links: int) -> None:
    """A damaged or hostile tree must not break the run, nor make a file pass for unchanged."""
    node = {**node_of(Status(st_nlink=links)), **changes}
    for key in missing:
        node.pop(key, None)
    in_c_taken = is_taken(in_c(), Status(st_nlink=links), node)
    if in_c_taken:
        assert is_taken(in_python(), Status(st_nlink=links), node)
    if not changes and not missing:
        assert in_c_taken


def test_wrong_arguments() -> None:
    """A mistake in the caller must end in an error, not in a crash of the interpreter."""
    files = in_c()
    with pytest.raises(TypeError):
        _native.SameFiles(_index_py.IndexTable(), make, local_second, owner)  # type: ignore[arg-type]
    wrong: list[Any] = [([], {}), ((), {}, []), ([], [], []), ([Entry(b"a", Status())], {}, [])]
    for arguments in wrong:
        with pytest.raises(TypeError):
            files.settle(*arguments)
    with pytest.raises(AttributeError):
        files.settle([object()], {}, [None])  # type: ignore[list-item]
    with pytest.raises(ZeroDivisionError):
        _native.SameFiles(_native.IndexTable(), make, local_second, lambda mode, *_: (mode // 0, 0, 0, "", "")).settle(
            [Entry(b"file", Status())], {b"file": node_of(Status())}, [None]
        )
