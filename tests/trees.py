"""A folder with one of everything, and the facts by which two folders are compared, without any walker of ours."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path

IS_ROOT = os.geteuid() == 0
ACL = bytes.fromhex("0200000001000600ffffffff02000400e803000004000400ffffffff10000400ffffffff20000000ffffffff")
CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")

Facts = dict[bytes, tuple[object, ...]]


def facts(root: Path) -> Facts:
    """All there is to know of each path below the root; hard links by the first of their paths."""
    found: Facts = {}
    first_names: dict[tuple[int, int], bytes] = {}
    pending = [b""]
    while pending:
        relative = pending.pop()
        path = os.fsencode(root) + relative
        status = os.lstat(path)
        attributes = sorted(
            (name, os.getxattr(path, name, follow_symlinks=False)) for name in os.listxattr(path, follow_symlinks=False)
        )
        kind: object = None
        if stat.S_ISREG(status.st_mode):
            with open(path, "rb") as file:
                kind = (status.st_size, hashlib.file_digest(file, "sha256").hexdigest())
        elif stat.S_ISLNK(status.st_mode):
            kind = os.readlink(path)
        elif stat.S_ISDIR(status.st_mode):
            pending += [relative + b"/" + os.fsencode(name) for name in sorted(os.listdir(path), reverse=True)]
        elif stat.S_ISBLK(status.st_mode) or stat.S_ISCHR(status.st_mode):
            kind = status.st_rdev
        same_as = relative
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            same_as = first_names.setdefault((status.st_dev, status.st_ino), relative)
        found[relative] = (
            status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, tuple(attributes), kind, same_as,
        )  # fmt: skip
    del found[b""]
    return found


def make_tree(root: Path) -> None:
    """One of everything that restic can save."""
    root.mkdir()
    os.chdir(root)
    files: Mapping[bytes, bytes] = {
        b"empty": b"",
        b"hello": b"hello world\n",
        b"not utf8 \xff\xfe": b"x" * 1000,
        b"new\nline \x1b[31m": b"y",
        b"large": os.urandom(9_000_000),
        b"twice": b"\1" * 3_000_000,
        b"mode 4755": b"#!",
        b"mode 2755": b"#!",
        b"mode 0": b"secret",
    }
    for name, content in files.items():
        with open(name, "wb") as file:
            file.write(content)
    with open("sparse", "wb") as file:
        file.truncate(30_000_000)
        file.seek(15_000_000)
        file.write(b"island" * 1000)
    for folder in ("dir/sub", "many", "locked/inner", "sticky", "empty dir"):
        os.makedirs(folder)
    for i in range(700):
        Path("many", str(i)).write_bytes(b"%d" % i * 40)
    Path("dir/sub/a").write_bytes(b"a")
    os.link("dir/sub/a", "dir/b")
    os.link("dir/sub/a", "zz")
    Path("locked/inner/f").write_bytes(b"f")
    os.symlink("hello", "link")
    os.symlink(b"nowhere\xff", "dangling")
    os.symlink("/etc", "to etc")
    os.mkfifo("fifo")
    for noted in ("hello", "dir"):
        os.setxattr(noted, "user.note", b"\0 binary \xff")
        os.setxattr(noted, "user.empty", b"")
    os.setxattr("hello", "system.posix_acl_access", ACL)
    if IS_ROOT:
        os.mknod("char", 0o640 | stat.S_IFCHR, os.makedev(1, 3))
        os.mknod("block", 0o600 | stat.S_IFBLK, os.makedev(7, 200))
        os.chown("hello", 1234, 5678)
        os.chown("mode 4755", 1234, 5678)
        os.chown("link", 12, 34, follow_symlinks=False)
        os.setxattr("large", "security.capability", CAPABILITY)
        os.setxattr("link", "trusted.note", b"on the symlink", follow_symlinks=False)
    os.chmod("mode 4755", 0o4755)
    os.chmod("mode 2755", 0o2755)
    os.chmod("mode 0", 0)
    os.chmod("sticky", 0o1777)
    os.utime("hello", ns=(-5_000_000_001, -1_000_000_001))
    os.utime("link", ns=(1, 1_234_567_890_123_456_789), follow_symlinks=False)
    os.utime("many", ns=(5, 1_600_000_000_123_456_789))
    os.chmod("locked/inner", 0o555)
    os.chmod("locked", 0o555)
    os.chdir("/")
