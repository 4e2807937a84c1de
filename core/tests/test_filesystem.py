"""What differs between file systems: long paths, attributes, holes, owners, times, names."""

from __future__ import annotations

import errno
import os
import pwd
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from limpet import filesystem

DEPTH = 30
NAME = b"n" * 200


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[bytes]:
    """A path of more than 6,000 bytes, that pytest, which recurses, need not remove."""
    path = os.fsencode(tmp_path / "deep")
    os.mkdir(path)
    fd = os.open(path, os.O_RDONLY)
    for _ in range(DEPTH):
        os.mkdir(NAME, dir_fd=fd)
        inner = os.open(NAME, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
        path += b"/" + NAME
    os.close(fd)
    yield path
    subprocess.run(["rm", "-rf", tmp_path / "deep"], check=True)


def supports_xattrs(folder: Path) -> bool:
    """Whether the test's own folder can have user attributes."""
    try:
        os.setxattr(folder, "user.probe", b"")
        os.removexattr(folder, "user.probe")
    except OSError:
        return False
    return True


class TestOpening:
    """Folders and files by descriptor."""

    def test_folder_of_a_long_path(self, deep: bytes) -> None:
        """A file below 4,096 bytes of path is as dear as any other."""
        with pytest.raises(OSError, match="too long"):
            os.open(deep, os.O_RDONLY)
        before = len(os.listdir("/proc/self/fd"))
        fd = filesystem.open_folder(deep)
        os.close(os.open(b"leaf", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        again = filesystem.open_folder(deep[:-201], follow=False)
        assert os.stat(NAME + b"/leaf", dir_fd=again).st_size == 0
        assert filesystem.lstat(deep + b"/leaf").st_size == 0
        assert stat.S_ISDIR(filesystem.lstat(deep).st_mode)
        with pytest.raises(FileNotFoundError):
            filesystem.lstat(deep + b"/missing")
        os.close(fd)
        os.close(again)
        with pytest.raises(FileNotFoundError):
            filesystem.open_folder(deep + b"/missing/" + NAME)
        assert len(os.listdir("/proc/self/fd")) == before, "a descriptor was left open"

    def test_folder_below_a_folder(self, deep: bytes, tmp_path: Path) -> None:
        """Restore holds its target open and goes on from there."""
        start = filesystem.open_folder(os.fsencode(tmp_path))
        relative = deep.removeprefix(os.fsencode(tmp_path) + b"/")
        fd = filesystem.open_folder(relative, dir_fd=start)
        assert os.path.samestat(os.fstat(fd), filesystem.lstat(deep))
        os.fstat(start)  # still open
        os.close(fd)
        os.close(start)

    def test_symlinks_in_the_last_place(self, tmp_path: Path) -> None:
        """A symlink swapped in must not lead the reader elsewhere."""
        (tmp_path / "real").mkdir()
        (tmp_path / "file").write_bytes(b"x")
        (tmp_path / "link").symlink_to("real")
        (tmp_path / "alias").symlink_to("file")
        os.close(filesystem.open_folder(os.fsencode(tmp_path / "link")))
        with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
            filesystem.open_folder(os.fsencode(tmp_path / "link"), follow=False)
        with pytest.raises(OSError, match="Too many levels"):
            filesystem.open_file(os.fsencode(tmp_path / "alias"))

    def test_a_fifo_does_not_block(self, tmp_path: Path) -> None:
        """A file replaced by a fifo would stop the backup for ever."""
        os.mkfifo(tmp_path / "fifo")
        fd = filesystem.open_file(os.fsencode(tmp_path / "fifo"))
        assert stat.S_ISFIFO(os.fstat(fd).st_mode)
        os.close(fd)

    def test_reading_leaves_no_trace(self, tmp_path: Path) -> None:
        """A backup that changes every access time makes mail readers and cleaners err."""
        file = tmp_path / "file"
        file.write_bytes(b"x")
        os.utime(file, ns=(1, 10**18))
        fd = filesystem.open_file(os.fsencode(file))
        os.read(fd, 1)
        os.close(fd)
        assert file.stat().st_atime_ns == 1

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
    def test_files_of_others_open_too(self, tmp_path: Path) -> None:
        """Only the owner may leave the access time alone; a readable file must not be lost for that."""
        fd = os.open(tmp_path, os.O_RDONLY)
        (tmp_path / "file").write_bytes(b"x")
        tmp_path.chmod(0o755)
        os.seteuid(65534)
        try:
            opened = filesystem.open_file(b"file", dir_fd=fd)
        finally:
            os.seteuid(0)
        assert os.read(opened, 9) == b"x"
        os.close(opened)
        os.close(fd)

    def test_cut_paths_name_the_same(self, deep: bytes) -> None:
        """A cut in the wrong place would open another folder."""
        pieces = filesystem.split_path(deep)
        assert b"/".join(pieces) == deep
        assert max(map(len, pieces)) <= 2048
        assert filesystem.split_path(b"/a//b/") == [b"/a//b/"]
        assert filesystem.split_path(b"x" * 5000) == [b"x" * 5000]


class TestAttributes:
    """Extended attributes."""

    @pytest.fixture(autouse=True)
    def _needs_xattrs(self, tmp_path: Path) -> None:
        if not supports_xattrs(tmp_path):
            pytest.skip("the file system of the test folder has no user attributes")

    def test_round_trip(self, tmp_path: Path, deep: bytes) -> None:
        """Attributes carry ACLs and capabilities; their order is part of a tree's id."""
        file = tmp_path / "file"
        file.touch()
        wanted = [(b"user.b", b"\0\xff"), (b"user.a", b""), (b"user.\xff", b"v" * 1000)]
        fd = os.open(file, os.O_RDONLY)
        for target in (os.fsencode(file), fd, deep):
            filesystem.write_xattrs(target, wanted)
            assert sorted(filesystem.read_xattrs(target)) == sorted(wanted)
        listed = [os.fsencode(name) for name in os.listxattr(file)]
        assert [name for name, _value in filesystem.read_xattrs(fd)] == listed
        os.close(fd)

    def test_others_are_removed_where_chosen(self, tmp_path: Path) -> None:
        """A restored file has the attributes of the snapshot and no older ones, as far as the user asked for it."""
        target = os.fsencode(tmp_path)
        filesystem.write_xattrs(target, [(b"user.old", b"1"), (b"user.kept", b"2")])
        filesystem.write_xattrs(
            target, [(b"user.new", b"3"), (b"user.not", b"4")], lambda name: name in {b"user.old", b"user.new"}
        )
        assert dict(filesystem.read_xattrs(target)) == {b"user.kept": b"2", b"user.new": b"3"}

    def test_of_a_symlink_are_its_own(self, tmp_path: Path) -> None:
        """A symlink must not be saved with the attributes of what it points to."""
        (tmp_path / "file").touch()
        os.setxattr(tmp_path / "file", "user.a", b"1")
        (tmp_path / "link").symlink_to("file")
        assert filesystem.read_xattrs(os.fsencode(tmp_path / "link")) == []

    def test_errors_that_matter_escape(self, tmp_path: Path) -> None:
        """A missing file is no file without attributes."""
        with pytest.raises(FileNotFoundError):
            filesystem.read_xattrs(os.fsencode(tmp_path / "gone"))
        with pytest.raises(FileNotFoundError):
            filesystem.write_xattrs(os.fsencode(tmp_path / "gone"), [(b"user.a", b"")])

    def test_without_support_there_are_none(self) -> None:
        """Backing up /proc or an old network share must not fail for every file."""
        assert filesystem.read_xattrs(b"/proc/self/status") == []
        filesystem.write_xattrs(b"/proc/self/status", [])


class TestHoles:
    """Sparse files."""

    def test_data_between_holes(self, tmp_path: Path) -> None:
        """A 1 TB image with 1 GB of data is read in the time for 1 GB."""
        mib = 1 << 20
        fd = os.open(tmp_path / "sparse", os.O_RDWR | os.O_CREAT)
        os.ftruncate(fd, 10 * mib)
        os.pwrite(fd, b"x" * mib, 4 * mib)
        ranges = []
        position = 0
        while (found := filesystem.next_data(fd, position)) is not None:
            ranges.append(found)
            position = found[1]
        status = os.fstat(fd)
        if filesystem.may_have_holes(status):
            assert ranges == [(4 * mib, 5 * mib)]
        assert sum(end - begin for begin, end in ranges) >= mib
        assert filesystem.next_data(fd, 10 * mib) is None
        os.close(fd)

    def test_files_without_holes(self, tmp_path: Path) -> None:
        """All data must be seen as data, also by the fallback for systems that cannot tell."""
        file = tmp_path / "full"
        file.write_bytes(b"x" * 5000)
        fd = os.open(file, os.O_RDONLY)
        assert filesystem.next_data(fd, 0) == (0, 5000)
        assert filesystem.next_data(fd, 4999) == (4999, 5000)
        assert filesystem.next_data(fd, 5000) is None
        os.close(fd)


class TestNodes:
    """Owners, times, special files."""

    def test_times_to_the_nanosecond(self, tmp_path: Path) -> None:
        """restic and ours compare times exactly: a rounded one makes every file look changed."""
        (tmp_path / "link").symlink_to("nowhere")
        fd = os.open(tmp_path, os.O_RDONLY)
        filesystem.set_times(b"link", 1_600_000_000_123_456_789, -1_000_000_001, dir_fd=fd)
        status = os.stat(b"link", dir_fd=fd, follow_symlinks=False)
        assert (status.st_atime_ns, status.st_mtime_ns) == (1_600_000_000_123_456_789, -1_000_000_001)
        os.close(fd)

    def test_fifos(self, tmp_path: Path) -> None:
        """Restore makes what is no file by this call alone."""
        fd = os.open(tmp_path, os.O_RDONLY)
        filesystem.make_node(b"fifo", stat.S_IFIFO | 0o600, dir_fd=fd)
        assert stat.S_ISFIFO((tmp_path / "fifo").stat().st_mode)
        with pytest.raises(FileExistsError):
            filesystem.make_node(b"fifo", stat.S_IFIFO | 0o600, dir_fd=fd)
        os.close(fd)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
    def test_owner_of_a_symlink(self, tmp_path: Path) -> None:
        """Following the link would give away someone else's file."""
        (tmp_path / "file").touch()
        (tmp_path / "link").symlink_to("file")
        filesystem.set_owner(os.fsencode(tmp_path / "link"), 12, 34)
        assert ((tmp_path / "link").lstat().st_uid, (tmp_path / "link").lstat().st_gid) == (12, 34)
        assert (tmp_path / "file").stat().st_uid == 0

    def test_names_of_owners(self) -> None:
        """Names outlive numbers on another machine; an id without a name has none, and is no error."""
        me = pwd.getpwuid(os.getuid())
        assert filesystem.user_name(me.pw_uid) == me.pw_name
        assert filesystem.user_id(me.pw_name) == me.pw_uid
        assert filesystem.group_id(filesystem.group_name(me.pw_gid)) == me.pw_gid
        assert filesystem.user_name(2**32 - 5) == filesystem.group_name(2**32 - 5) == ""
        assert filesystem.user_name(2**70) == ""
        assert filesystem.user_id("no such user") is filesystem.group_id("no such group") is None
        assert filesystem.user_id("nul\0") is None

    def test_files_in_the_cloud(self) -> None:
        """On this system there are none: a file left out for that would be lost."""
        assert not filesystem.is_only_in_cloud(os.stat(__file__))


def test_long_names_are_refused_by_the_system(tmp_path: Path) -> None:
    """A name that no file can have must end in the system's own error."""
    with pytest.raises(OSError, match="too long") as caught:
        filesystem.open_folder(os.fsencode(tmp_path) + b"/" + b"x" * 5000)
    assert caught.value.errno == errno.ENAMETOOLONG
