"""The table of mounts: which file system a path is on decides what is frozen."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from limpet.contracts.mounts import Mount, mount_of, mounts, place_of

TABLE = """\
21 60 0:20 / /proc rw,nosuid shared:12 - proc proc rw
60 1 253:0 / / rw,relatime shared:1 - ext4 /dev/mapper/vg-root rw
70 60 253:1 / /home rw shared:2 - xfs /dev/mapper/vg-home rw
71 70 8:1 / /home/hidden rw - ext4 /dev/sda1 rw
72 70 0:40 /@home/u /home rw - btrfs /dev/sda2 rw
73 72 0:41 / /home/a\\040b rw - ext4 /dev/sda3 rw
74 60 0:42 / /mnt rw - ext4 /dev/sda4 rw
75 74 0:43 / /mnt rw - ext4 /dev/sda5 rw
"""


@pytest.fixture
def table(tmp_path: Path) -> list[Mount]:
    """What can be reached of the table above."""
    (tmp_path / "mountinfo").write_text(TABLE)
    return list(mounts(str(tmp_path / "mountinfo")))


def test_what_is_hidden_is_left_out(table: list[Mount]) -> None:
    """Two file systems at one place: the one below is not what is read; the root, mounted last, hides nothing."""
    assert [(mount.folder, mount.source) for mount in table] == [
        ("/proc", "proc"),
        ("/", "/dev/mapper/vg-root"),
        ("/home", "/dev/sda2"),
        ("/home/a b", "/dev/sda3"),
        ("/mnt", "/dev/sda5"),
    ]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("/", "/dev/mapper/vg-root"),
        ("/homer", "/dev/mapper/vg-root"),
        ("/home", "/dev/sda2"),
        ("/home/a b/c", "/dev/sda3"),
        ("/proc/1", "proc"),
    ],
)
def test_the_mount_of_a_path(table: list[Mount], path: str, source: str) -> None:
    """The wrong volume frozen is a backup of a moving target."""
    mount = mount_of(path, table)
    assert mount is not None
    assert mount.source == source


def test_where_it_is_in_the_file_system(table: list[Mount]) -> None:
    """A folder of a file system may be mounted, not its root."""
    mount = mount_of("/home/x/y", table)
    assert mount is not None
    assert mount.inside("/home/x/y") == "/@home/u/x/y"
    assert mount.inside("/home") == "/@home/u"


def test_the_systems_own_table() -> None:
    """What the kernel of today prints has to be understood."""
    found = mounts()
    if not Path("/proc/self/mountinfo").exists():
        assert found == []
        return
    root = mount_of("/", found)
    assert root is not None
    assert mount_of("/proc/self", found) in found
    assert mounts("/no/such/table") == []


def test_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a symlink leads to is on another volume than the symlink, which is what a backup stores of it."""
    (tmp_path / "folder/inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to("folder/inner")
    real = os.path.realpath(tmp_path)
    monkeypatch.chdir(tmp_path)
    for path, place in {
        "link": "link",
        "link/": "link",
        "link/x": "folder/inner/x",
        ".": "",
        "link/..": "folder",
        "folder": "folder",
    }.items():
        assert place_of(path) == os.path.join(real, place).rstrip("/"), path
    assert place_of("/") == "/"
