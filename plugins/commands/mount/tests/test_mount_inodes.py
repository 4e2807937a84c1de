"""Inode numbers of hard links: one for one file, and no memory for all that was ever seen."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from limpet.operations.browse import ViewFolder
from limpet.operations.browse.folders import TreeFolder, Trees
from limpet.operations.browse.views import View
from limpet.testing.handmade import Handmade
from limpet_command_mount import inodes
from limpet_command_mount.inodes import Directory, Inodes


@pytest.fixture
def table() -> Inodes:
    """Nothing was seen yet."""
    trees = Trees(Handmade().repository)
    snapshot: Callable[[object], TreeFolder] = lambda _: TreeFolder(None, trees)  # noqa: E731
    return Inodes(ViewFolder((), View, snapshot))


def fields(inode: int, *content: str) -> dict[str, object]:
    """The node of a file with two names."""
    return {"type": "file", "links": 2, "device_id": 7, "inode": inode, "content": list(content)}


def root(table: Inodes) -> Directory:
    """The root of a snapshot."""
    folder = TreeFolder(None, Trees(Handmade().repository))
    return table.child(table.root, b"snapshot", folder, identity=b"id")


def test_a_file_that_changed_between_its_names(table: Inodes) -> None:
    """Two names of one file are one number; where their contents differ neither may be served for the other."""
    first = table.hard_link(root(table), 0, fields(1, "aa"))
    assert table.hard_link(root(table), 1, fields(1, "aa")) == first
    changed = table.hard_link(root(table), 2, fields(1, "bb"))
    assert changed != first
    (kept, other) = table.place(first), table.place(changed)
    assert kept is not None
    assert other is not None
    assert (kept.place, other.place) == (0, 2)


def test_what_was_forgotten_takes_no_memory(table: Inodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """`find` over millions of hard links must not fill the memory of a mount that stays for months."""
    monkeypatch.setattr(inodes, "KEPT_FORGOTTEN", 10)
    held = table.hard_link(root(table), 0, fields(1))
    numbers = [table.hard_link(root(table), place, fields(place + 1)) for place in range(1, 100)]
    for number in numbers:
        table.forget(number, 1)
    assert [number for number in numbers if table.place(number) is not None] == numbers[-10:]
    assert table.place(held) is not None
    table.hard_link(root(table), 99, fields(100))
    table.forget(numbers[-1], 1)
    assert table.place(numbers[-1]) is not None
