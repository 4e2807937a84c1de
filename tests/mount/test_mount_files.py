"""A snapshot in a mount is the folder that was backed up: everything of every path, read in every way."""

from __future__ import annotations

import filecmp
import mmap
import os
import random
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.mount.mounting import JUDGED, Mounts, forget_names
from tests.services.process import program, unavailable
from tests.trees import IS_ROOT, facts, make_tree

MIB = 1 << 20
LONGEST = b"n" * 255
ODD_NAMES = (
    b" ", b"-rf", b"a\nb", b"\x01\x1b[31m\x7f", b"\xff\xfe\x80", "nä\u202eme".encode(), b"*?[x]", b"back\\slash",
    b"%s%T", LONGEST,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Seen:
    """A folder, and the same folder in the mount."""

    source: Path
    mounted: Path
    point: Path
    """Where the repository is mounted."""


@pytest.fixture(scope="module")
def seen(shared_mounts: Mounts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """One of everything, backed up and mounted."""
    source = tmp_path_factory.mktemp("files") / "source"
    make_tree(source)
    _make_more(source)
    shared_mounts.site.run("backup", source)
    mount = shared_mounts.start()
    yield Seen(source, mount.point / "snapshots" / "latest" / str(source).lstrip("/"), mount.point)
    ended = mount.end()
    assert ended.code == 0, ended.err
    assert shared_mounts.site.files("locks") == set()


def _make_more(source: Path) -> None:
    odd = source / "odd"
    odd.mkdir()
    for number, name in enumerate(ODD_NAMES):
        Path(os.fsdecode(os.path.join(os.fsencode(odd), name))).write_bytes(b"%d" % number)
    deep = source / "a" / "b" / "b" / "a" / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "b").write_text("the innermost")
    (source / "a" / "b" / "a").write_text("another")
    os.link(source / "odd" / " ", source / "a" / "hard link")
    long_target = source / "link of 4000 bytes"
    long_target.symlink_to("x" * 200 + "/" + "y" * 3799)


def test_everything_of_every_path(seen: Seen) -> None:
    """Mode, owner, time, attributes, content, link target, device, hard links: what is missing nobody gets back."""
    expected = facts(seen.source)
    assert len(expected) > 730
    assert facts(seen.mounted) == expected


def test_status_of_every_path(seen: Seen) -> None:
    """Sizes, link counts and all three times are as they were; `du` and `ls -l` say what they said."""
    checked = 0
    for path in paths_of(seen.source):
        was, now = os.lstat(seen.source / path), os.lstat(seen.mounted / path)
        assert stat.filemode(now.st_mode) == stat.filemode(was.st_mode), path
        assert (now.st_mtime_ns, now.st_ctime_ns) == (was.st_mtime_ns, was.st_ctime_ns), path
        if not stat.S_ISDIR(was.st_mode):
            assert (now.st_nlink, now.st_size) == (was.st_nlink, was.st_size), path
        if stat.S_ISREG(was.st_mode):
            needed = -(-was.st_size // 512)
            assert now.st_blocks == needed or (path.name == "sparse" and was.st_blocks <= now.st_blocks < needed), path
        checked += 1
    assert checked > 730


def test_inodes(seen: Seen) -> None:
    """`find`, `tar` and `rsync` know a file by its inode: the same names share one, nothing else does, it stays."""
    by_inode: dict[int, set[int]] = {}
    numbers = {}
    for path in [Path(), *paths_of(seen.source)]:
        was, now = os.lstat(seen.source / path), os.lstat(seen.mounted / path)
        by_inode.setdefault(now.st_ino, set()).add(was.st_ino)
        numbers[path] = now.st_ino
        assert now.st_ino > 1
    assert all(len(same) == 1 for same in by_inode.values())
    assert len({numbers[Path("zz")], numbers[Path("dir/b")], numbers[Path("dir/sub/a")]}) == 1
    forget_names()
    for path in reversed(numbers):
        assert os.lstat(seen.mounted / path).st_ino == numbers[path], path
    for entry in os.scandir(seen.mounted):
        assert entry.inode() == numbers[Path(entry.name)], entry.name


def test_names_that_repeat(seen: Seen) -> None:
    """Below `a/b/b` restic's mount once had loops: find walks it to the end, without a warning."""
    done = subprocess.run(["find", "a"], cwd=seen.mounted, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    expected = subprocess.run(["find", "a"], cwd=seen.source, capture_output=True, text=True, check=True).stdout
    assert sorted(done.stdout.splitlines()) == sorted(expected.splitlines())
    assert (seen.mounted / "a/b/b/a/a/b/b").read_text() == "the innermost"


def test_odd_names(seen: Seen) -> None:
    """A name that is no text, or as long as one can be, is found in the listing and by itself."""
    folder = os.fsencode(seen.mounted / "odd")
    assert sorted(os.listdir(folder)) == sorted(ODD_NAMES)
    for number, name in enumerate(ODD_NAMES):
        assert Path(os.fsdecode(os.path.join(folder, name))).read_bytes() == b"%d" % number
    for missing in ("not here", "x" * 255, "x" * 256):
        with pytest.raises(OSError, match=r"No such file|File name too long"):
            os.lstat(os.path.join(seen.mounted, "odd", missing))


def test_dots(seen: Seen) -> None:
    """The way up is where one came from, for the shell and for what reads the entries of a folder."""
    inner = os.stat(seen.mounted / "a" / "b")
    assert os.stat(seen.mounted / "a" / "b" / ".").st_ino == inner.st_ino
    assert os.stat(seen.mounted / "a" / "b" / "b" / "..").st_ino == inner.st_ino
    listed = subprocess.run(["ls", "-a", seen.mounted / "a"], capture_output=True, text=True, check=True).stdout
    assert listed.split("\n")[:2] == [".", ".."]


def test_sizes_add_up(seen: Seen) -> None:
    """`du` counts a hard link once and a file by its size; `df` does not claim that there is room."""
    apparent = ["du", "--apparent-size", "--bytes", "-s"]
    statuses = [os.lstat(seen.source / path) for path in paths_of(seen.source)]
    files = sum({one.st_ino: one.st_size for one in statuses if stat.S_ISREG(one.st_mode)}.values())
    shown = int(subprocess.run([*apparent, seen.mounted], capture_output=True, text=True, check=True).stdout.split()[0])
    assert 0 <= shown - files < MIB
    space = os.statvfs(seen.mounted)
    assert (space.f_bavail, space.f_namemax) == (0, 255) or JUDGED


def test_parts_of_a_file(seen: Seen) -> None:
    """Programs read from anywhere, across the borders of blobs and beyond the end."""
    draw = random.Random(5)
    with (seen.source / "large").open("rb") as source, (seen.mounted / "large").open("rb") as mounted:
        size = os.fstat(source.fileno()).st_size
        for _ in range(150):
            offset, length = draw.randrange(size + 100), draw.choice((1, 100, 4096, 150_000, 3_000_000))
            assert os.pread(mounted.fileno(), length, offset) == os.pread(source.fileno(), length, offset)
        assert os.pread(mounted.fileno(), 10, size) == b""
        assert os.pread(mounted.fileno(), 10, size + (1 << 40)) == b""


def test_huge_file(mounts: Mounts, tmp_path: Path) -> None:
    """Offsets beyond 32 bits, in a file that is far larger than any memory for it."""
    huge = tmp_path / "huge"
    with huge.open("wb") as file:
        file.truncate(5 << 30)
        file.seek(3 << 30)
        file.write(b"in the middle")
    mounts.site.run("backup", huge)
    mount = mounts.start()
    with (mount.point / "snapshots" / "latest" / str(huge).lstrip("/")).open("rb") as file:
        assert os.pread(file.fileno(), 13, 3 << 30) == b"in the middle"
        assert os.pread(file.fileno(), 100, (5 << 30) - 10) == bytes(10)
        assert os.fstat(file.fileno()).st_size == 5 << 30
    assert mount.end().code == 0


def test_mapped_into_memory(seen: Seen) -> None:
    """Databases and `git` map files: pages come when they are touched."""
    with (seen.mounted / "large").open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        content = (seen.source / "large").read_bytes()
        assert mapped[5_000_000:5_000_100] == content[5_000_000:5_000_100]
        assert mapped[:] == content


def test_found_by_size_and_time(seen: Seen) -> None:
    """`find` with conditions on what a file is."""
    for condition in (["-size", "+1M"], ["-newer", "many"], ["-links", "+1", "-type", "f"], ["-perm", "-2000"]):
        results = [
            subprocess.run(["find", ".", *condition], cwd=folder, capture_output=True, check=True).stdout.split(b"\n")
            for folder in (seen.source, seen.mounted)
        ]
        assert sorted(results[0]) == sorted(results[1])
        assert len(results[0]) > 1


def test_copied_by_rsync(seen: Seen, tmp_path: Path) -> None:
    """The usual way to get a folder back: with hard links, ACLs, attributes and holes, nothing is lost."""
    copy = tmp_path / "copy"
    flags = ["-aHAX", "--numeric-ids", "--sparse"]
    subprocess.run([program("rsync"), *flags, f"{seen.mounted}/", f"{copy}/"], check=True, capture_output=True)
    assert facts(copy) == facts(seen.source)
    # and it sees no difference between the two
    changes = [str(program("rsync")), "-naHAXi", "--numeric-ids", f"{seen.mounted}/", f"{seen.source}/"]
    shown = subprocess.run(changes, check=True, capture_output=True, text=True).stdout
    assert [line for line in shown.splitlines() if not line.startswith(".d..t")] == []


def test_copied_sparse(seen: Seen, tmp_path: Path) -> None:
    """`cp --sparse` makes of a file with holes one that takes as little room."""
    copy = tmp_path / "copy"
    subprocess.run(["cp", "--sparse=always", "--preserve=all", seen.mounted / "sparse", copy], check=True)
    assert filecmp.cmp(copy, seen.source / "sparse", shallow=False)
    assert os.stat(copy).st_blocks * 512 < MIB


def test_archived_by_tar(seen: Seen, tmp_path: Path) -> None:
    """tar takes names, links and special files out of the mount, and finds hard links by their inodes."""
    copy = tmp_path / "copy"
    copy.mkdir()
    flags = ["--numeric-owner", "--xattrs", "--xattrs-include=*"]
    archive = tmp_path / "archive.tar"
    subprocess.run(["tar", "-c", "--format=posix", *flags, "-f", archive, "-C", seen.mounted, "."], check=True)
    subprocess.run(["tar", "-x", "-p", *flags, "-f", archive, "-C", copy], check=True, capture_output=True)
    expected = facts(seen.source)
    found = facts(copy)
    assert found.keys() == expected.keys()
    assert {path: fact[5:] for path, fact in found.items()} == {path: expected[path][5:] for path in found}


def test_many_readers_at_once(seen: Seen, shared_mounts: Mounts) -> None:
    """Several programs look at once, at the same files and at others: each gets what is there."""
    expected = {path: (seen.source / path).read_bytes() for path in ("large", "twice", "hello", "sparse", "many/77")}
    mount = shared_mounts.start()  # of which the kernel has no page yet
    mounted = mount.point / seen.mounted.relative_to(seen.point)

    def read(number: int) -> bool:
        draw = random.Random(number)
        for _ in range(6):
            path = draw.choice(list(expected))
            with (mounted / path).open("rb") as file:
                offset = draw.randrange(len(expected[path]))
                if os.pread(file.fileno(), MIB, offset) != expected[path][offset : offset + MIB]:
                    return False
                if file.read() != expected[path]:
                    return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(read, range(32)))
    assert mount.end().code == 0


def test_reading_beside_listing(seen: Seen, shared_mounts: Mounts) -> None:
    """A folder of many entries is listed while a large file is read: neither waits for the other's end."""
    mount = shared_mounts.start()
    mounted = mount.point / seen.mounted.relative_to(seen.point)
    stop = threading.Event()
    lists: list[int] = []

    def look() -> None:
        while not stop.is_set():
            lists.append(len(list(os.scandir(mounted / "many"))))

    looker = threading.Thread(target=look)
    looker.start()
    try:
        for name in ("large", "twice", "sparse"):
            assert filecmp.cmp(mounted / name, seen.source / name, shallow=False)
    finally:
        stop.set()
        looker.join()
    assert set(lists) == {700}
    assert mount.end().code == 0


WRITES: dict[str, Callable[[Path], object]] = {
    "write": lambda root: os.open(root / "hello", os.O_RDWR),
    "truncate": lambda root: os.truncate(root / "hello", 1),
    "create": lambda root: os.open(root / "new", os.O_WRONLY | os.O_CREAT),
    "mkdir": lambda root: os.mkdir(root / "new"),
    "unlink": lambda root: os.unlink(root / "hello"),
    "rmdir": lambda root: os.rmdir(root / "empty dir"),
    "rename": lambda root: os.rename(root / "hello", root / "other"),
    "link": lambda root: os.link(root / "hello", root / "other"),
    "symlink": lambda root: os.symlink("hello", root / "other"),
    "mknod": lambda root: os.mkfifo(root / "other"),
    "chmod": lambda root: os.chmod(root / "hello", 0o600),
    "chown": lambda root: os.chown(root / "hello", 1, 1),
    "utime": lambda root: os.utime(root / "hello"),
    "setxattr": lambda root: os.setxattr(root / "hello", "user.new", b"x"),
    "removexattr": lambda root: os.removexattr(root / "hello", "user.note"),
}


@pytest.mark.parametrize("name", WRITES)
def test_nothing_can_be_written(seen: Seen, name: str) -> None:
    """A backup that can be changed by accident is none: every way to write ends with `Read-only file system`."""
    with pytest.raises(OSError, match="Read-only file system"):
        WRITES[name](seen.mounted)


@pytest.mark.parametrize("view", ["", "ids", "snapshots"])
def test_views_cannot_be_written(seen: Seen, view: str) -> None:
    """The same for the folders above the snapshots."""
    with pytest.raises(OSError, match="Read-only file system"):
        os.mkdir(seen.point / view / "new")
    with pytest.raises(OSError, match="Read-only file system"):
        os.unlink(seen.point / "snapshots" / "latest")


def test_missing_attribute(seen: Seen) -> None:
    """Programs that ask for an attribute that is not there must get that answer, not another error."""
    with pytest.raises(OSError, match="No data available"):
        os.getxattr(seen.mounted / "empty", "user.nothing")
    assert os.listxattr(seen.mounted / "empty") == []
    if not IS_ROOT:
        unavailable("ACLs of other users are set by root")
    shown = subprocess.run(
        [program("getfacl"), "-n", "-c", seen.mounted / "hello"], capture_output=True, text=True, check=True
    )
    assert "user:1000:r--" in shown.stdout


def paths_of(root: Path) -> list[Path]:
    """All paths below, relative."""
    found = []
    for folder, folders, files in os.walk(root):
        found += [Path(folder, name).relative_to(root) for name in [*folders, *files]]
    return found
