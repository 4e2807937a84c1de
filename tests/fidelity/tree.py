"""A tree with one of everything that a Linux file system can hold. Needs root."""

from __future__ import annotations

import os
import random
import socket
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

MIB = 1024 * 1024
SPARSE_MIB = 128
DEEP_NAMES, DEEP_NAME = 30, b"d" * 200
NANOSECONDS = 123_456_789
TIMES_S = {"1901": -(2**31), "1969": -1, "1970": 0, "2038": 2**31, "2242": 2**33}
CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0)
"""cap_net_bind_service, effective."""


def make_tree(folder: Path, *, entries: int) -> None:
    """Three folders: `kinds` of all kinds, `many` with so many entries, `deep` with a path of 6,000 bytes."""
    kinds = folder / "kinds"
    kinds.mkdir(parents=True)
    for make in (_contents, _specials, _hard_links, _symlinks, _names, _attributes, _owners_and_modes, _times):
        inner = kinds / make.__name__.strip("_")
        inner.mkdir()
        make(inner)
    _many(folder / "many", entries)
    _deep(folder / "deep")
    for path in (kinds, folder / "many", folder / "deep", folder):
        os.utime(path, ns=(0, 1_000_000_000 * 10**9 + 1))


def _contents(folder: Path) -> None:
    source = random.Random(6)
    for size in (0, 1, 4096, 512 * 1024, 512 * 1024 + 1, 8 * MIB, 9 * MIB + 17):
        (folder / f"of-{size}-bytes").write_bytes(source.randbytes(size))
    with (folder / "huge").open("wb") as file:
        for _ in range(11):
            file.write(source.randbytes(10 * MIB))
    (folder / "zeros").write_bytes(bytes(3 * MIB))
    with (folder / "sparse").open("wb") as file:
        for offset in (7 * MIB + 4096, SPARSE_MIB // 2 * MIB):
            file.seek(offset)
            file.write(source.randbytes(64 * 1024))
        file.truncate(SPARSE_MIB * MIB)
    with (folder / "only-a-hole").open("wb") as file:
        file.truncate(20 * MIB + 1)
    (folder / "empty-folder").mkdir()


def _specials(folder: Path) -> None:
    os.mkfifo(folder / "fifo", 0o640)
    os.mkfifo(folder / "closed-fifo", 0o600)
    os.chmod(folder / "closed-fifo", 0)
    os.mknod(folder / "char", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    os.mknod(folder / "block", 0o660 | stat.S_IFBLK, os.makedev(7, 300_000))
    os.mknod(folder / "largest-device", 0o600 | stat.S_IFCHR, os.makedev(4095, 1_048_575))
    _socket(folder / "socket")


def _socket(path: Path) -> None:
    with _folder(path.parent), socket.socket(socket.AF_UNIX) as made:  # a path of a socket has 107 bytes at most
        made.bind(path.name)


def _hard_links(folder: Path) -> None:
    (folder / "other").mkdir()
    (folder / "file").write_bytes(b"linked")
    (folder / "large").write_bytes(random.Random(7).randbytes(2 * MIB))
    (folder / "empty").touch()
    (folder / "symlink").symlink_to("nowhere")
    os.mkfifo(folder / "fifo")
    os.mknod(folder / "device", 0o600 | stat.S_IFCHR, os.makedev(1, 5))
    _socket(folder / "socket")
    for name in ("file", "large", "empty", "symlink", "fifo", "device", "socket"):
        os.link(folder / name, folder / "other" / name, follow_symlinks=False)
        os.link(folder / name, folder / f"{name}-too", follow_symlinks=False)


def _symlinks(folder: Path) -> None:
    targets: dict[str, str | bytes] = {
        "dangling": "does/not/exist",
        "to-folder": "..",
        "absolute": "/etc/passwd",
        "longest": "x/" * 2047,
        "not-utf8": b"\xff\xfe",
        "odd": 'new\nline "quoted" \\ \x1b[31m',
    }
    for name, target in targets.items():
        os.symlink(os.fsencode(target), os.fsencode(folder / name))


def _names(folder: Path) -> None:
    # fmt: off
    names = [
        b"\xff\xfe\x80", b"cut-\xc3", b"a\nb", b"\"'\\`$(x)", b" spaces ", b"-rf", b"*?[x]", b"z" * 255, b"...",
        b"\x01\x1b[31m\x7f", b"<&>", b"%s%n", b"u\xcc\x88", "\xfc".encode(), "\xad\ue000\ufeff".encode(),
        "\N{SNOWMAN}\u2028\U0001f40c".encode(),
    ]
    # fmt: on
    for number, name in enumerate(names):
        path = os.path.join(os.fsencode(folder), name)
        with open(path, "wb") as file:
            file.write(b"%d" % number)
        os.utime(path, ns=(0, number))
        os.mkdir(path[:-1] + b"." if len(name) == 255 else path + b".d")


def _attributes(folder: Path) -> None:
    for name in ("file", "folder/file"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"with attributes")
    (folder / "link").symlink_to("file")
    os.mkfifo(folder / "fifo")
    for path in (folder / "file", folder / "folder"):
        os.setxattr(path, "user.text", b"value")
        os.setxattr(path, "user.binary", bytes(range(256)))
        os.setxattr(path, "user.empty", b"")
        os.setxattr(path, "user.\N{SNOWMAN}", b"name")
        os.setxattr(path, "security.limpet", b"s")
    for name in ("file", "folder", "link", "fifo"):
        os.setxattr(folder / name, "trusted.limpet", b"t\0", follow_symlinks=False)
    (folder / "large-value").touch()
    os.setxattr(folder / "large-value", "user.large", b"v" * 3900)
    (folder / "acl").touch()
    os.setxattr(folder / "acl", "system.posix_acl_access", _acl(4, 1234, 6))
    (folder / "default-acl").mkdir()
    os.setxattr(folder / "default-acl", "system.posix_acl_default", _acl(7, 4_000_000_000, 5))
    (folder / "default-acl" / "heir").touch()
    for name, owner in (("capable", 0), ("capable-of-another", 1000)):
        (folder / name).write_bytes(b"#!/bin/sh\n")
        os.chown(folder / name, owner, owner)
        os.chmod(folder / name, 0o755)
        os.setxattr(folder / name, "security.capability", CAPABILITY)


def _acl(mask: int, user: int, rights: int) -> bytes:
    """The kernel's form of u::rw-, u:USER:RIGHTS, g::r--, m::MASK, o::---."""
    nobody = 0xFFFFFFFF
    entries = [(1, 6, nobody), (2, rights, user), (4, 4, nobody), (16, mask, nobody), (32, 0, nobody)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def _owners_and_modes(folder: Path) -> None:
    for mode in (0, 0o400, 0o4755, 0o2755, 0o6711, 0o1644, 0o2644, 0o7777):
        path = folder / f"file-{mode:o}"
        path.write_bytes(b"mode")
        os.chown(path, 1000, 1000)
        os.chmod(path, mode)
    for mode in (0, 0o555, 0o1777, 0o2775, 0o7000):
        path = folder / f"folder-{mode:o}"
        path.mkdir()
        (path / "inside").write_bytes(b"inside")
        os.chown(path, 1000, 1001)
        os.chmod(path, mode)
    for name, uid, gid in (("known", 1, 2), ("unknown", 54321, 54322), ("huge", 4_000_000_000, 4_000_000_001)):
        (folder / name).touch()
        os.chown(folder / name, uid, gid)
        os.symlink("x", folder / f"{name}-link")
        os.chown(folder / f"{name}-link", uid, gid, follow_symlinks=False)
        os.mkfifo(folder / f"{name}-fifo")
        os.chown(folder / f"{name}-fifo", uid, gid)


def _times(folder: Path) -> None:
    makers: dict[str, Callable[[Path], object]] = {
        "file": lambda path: path.write_bytes(b"time"),
        "empty": Path.touch,
        "folder": Path.mkdir,
        "link": lambda path: path.symlink_to("x"),
        "fifo": os.mkfifo,
        "device": lambda path: os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3)),
    }
    for year, seconds in TIMES_S.items():
        for kind, make in makers.items():
            path = folder / f"{kind}-{year}"
            make(path)
            ns = seconds * 10**9 + NANOSECONDS
            os.utime(path, ns=(ns, ns), follow_symlinks=False)
    _read_only_folder(folder / "read-only")


def _read_only_folder(folder: Path) -> None:
    """Its time and mode can be set only after what is in it was made."""
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "file").write_bytes(b"x")
    for path in (folder / "inner", folder):
        os.chmod(path, 0o555)
        os.utime(path, ns=(1, 1))


def _many(folder: Path, entries: int) -> None:
    folder.mkdir()
    with _folder(folder):
        for number in range(entries):
            descriptor = os.open(f"entry-{number:06}", os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600 | number % 0o100)
            if number % 2:
                os.write(descriptor, b"%d" % (number % 100))
            os.utime(descriptor, ns=(0, number * 1_000_000_007))
            os.close(descriptor)


def _deep(folder: Path) -> None:
    folder.mkdir()
    descriptor = os.open(folder, os.O_RDONLY)
    for level in range(DEEP_NAMES):
        os.mkdir(DEEP_NAME, dir_fd=descriptor)
        inner = os.open(DEEP_NAME, os.O_RDONLY, dir_fd=descriptor)
        os.symlink(f"level {level}", "link", dir_fd=descriptor)
        os.utime(inner, ns=(0, level))
        os.close(descriptor)
        descriptor = inner
    leaf = os.open("leaf", os.O_CREAT | os.O_WRONLY, 0o640, dir_fd=descriptor)
    os.write(leaf, b"6,000 bytes down")
    os.setxattr(leaf, "user.deep", b"yes")
    os.close(leaf)
    os.mkfifo("fifo", dir_fd=descriptor)
    os.close(descriptor)


@contextmanager
def _folder(folder: Path) -> Iterator[None]:
    before = os.open(".", os.O_RDONLY)
    os.chdir(folder)
    try:
        yield
    finally:
        os.fchdir(before)
        os.close(before)
