"""Calls to the file system that are not the same on every system, each with a plain fallback.

Nothing else in Limpet asks which system it runs on. Names and paths are bytes; times are nanoseconds. Errors are
`OSError`: the caller knows which item it was about.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, cast

NAME_ENCODING, NAME_ERRORS = "utf-8", "surrogateescape"
"""How `os.fsencode` turns names into bytes on every system that Limpet knows, inlined where it is hot."""

CLOSE_ON_EXEC = getattr(os, "O_CLOEXEC", 0)
NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
NO_WAIT = getattr(os, "O_NONBLOCK", 0)
"""Flags of `os.open`, 0 where a system has none such."""

FOLDER_FLAGS = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | CLOSE_ON_EXEC
_FILE_FLAGS = os.O_RDONLY | CLOSE_ON_EXEC | NO_WAIT
_NO_ATIME = getattr(os, "O_NOATIME", 0)
_SHORT_PATH_BYTES = 2048  # well below PATH_MAX everywhere
_O_PATH = getattr(os, "O_PATH", 0)
_HAS_XATTRS = hasattr(os, "listxattr")
_HAS_SEEK_DATA = hasattr(os, "SEEK_DATA")
_HAS_FD_PATHS = os.path.isdir("/proc/self/fd")
_NO_XATTRS = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENODATA if hasattr(errno, "ENODATA") else errno.ENOTSUP}


def open_folder(path: bytes, *, dir_fd: int | None = None, follow: bool = True) -> int:
    """A descriptor of the folder, whatever the length of `path`; its access time is left alone where allowed.

    Without `follow`, a symlink in the last place is an error.
    """
    last = 0 if follow else NO_FOLLOW
    if len(path) <= _SHORT_PATH_BYTES:
        return _open_quietly(path, FOLDER_FLAGS | last, dir_fd)
    *heads, tail = split_path(path)
    folder_fd = dir_fd
    try:
        for head in heads:
            previous, folder_fd = folder_fd, _open_quietly(head, FOLDER_FLAGS, folder_fd)
            if previous is not None and previous != dir_fd:
                os.close(previous)
        return _open_quietly(tail, FOLDER_FLAGS | last, folder_fd)
    finally:
        if folder_fd is not None and folder_fd != dir_fd:
            os.close(folder_fd)


def open_file(name: bytes, *, dir_fd: int | None = None) -> int:
    """A descriptor for reading `name`, never through a symlink, never waiting for a fifo's other end.

    The access time is left alone where allowed. The caller checks with `os.fstat` that it is what it expected.
    """
    return _open_quietly(name, _FILE_FLAGS | NO_FOLLOW, dir_fd)


def split_path(path: bytes) -> list[bytes]:
    """`path` cut at slashes into pieces short enough for one system call each; together they name the same."""
    pieces = []
    while len(path) > _SHORT_PATH_BYTES:
        cut = path.rfind(b"/", 1, _SHORT_PATH_BYTES)
        if cut < 0:
            break  # one name of that length: the system call will say so
        pieces.append(path[:cut])
        path = path[cut:].lstrip(b"/")
    pieces.append(path)
    return pieces


def lstat(path: bytes) -> os.stat_result:
    """The status of `path` itself, whatever its length."""
    folder, _, name = path.rstrip(b"/").rpartition(b"/")
    if len(path) <= _SHORT_PATH_BYTES or not folder:
        return os.lstat(path)
    folder_fd = open_folder(folder)
    try:
        return os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
    finally:
        os.close(folder_fd)


def entry_path(dir_fd: int, name: bytes, folder: bytes) -> bytes:
    """A short path of `name` in an open folder, for calls that take no `dir_fd`; below `folder` as a fallback."""
    if _HAS_FD_PATHS:
        return b"/proc/self/fd/%d/%b" % (dir_fd, name)
    return folder + b"/" + name


def read_xattrs(
    target: int | bytes, unreadable: Callable[[bytes, OSError], None] | None = None
) -> list[tuple[bytes, bytes]]:
    """Names and values in the system's order, of an open file or of the path itself (a symlink's own).

    Nothing where the file system has none. An attribute that cannot be read is told to `unreadable` and left
    out; without it, and if the names cannot be listed, OSError.
    """
    if not _HAS_XATTRS:
        return []
    if not isinstance(target, int) and len(target) > _SHORT_PATH_BYTES:
        with _short_path(target) as short:
            return read_xattrs(short, unreadable)
    try:
        names = _list_xattrs(target)
    except OSError as error:
        if error.errno in _NO_XATTRS:
            return []
        raise
    follow = isinstance(target, int)
    found = []
    for text in names:
        name = os.fsencode(text)
        try:
            found.append((name, os.getxattr(target, name, follow_symlinks=follow)))
        except OSError as error:
            if error.errno in _NO_XATTRS:
                continue  # removed since it was listed
            if unreadable is None:
                raise
            unreadable(name, error)
    return found


def read_xattrs_below(folder: bytes, name: bytes) -> list[tuple[bytes, bytes]]:
    """Extended attributes of `name` itself in the folder, whatever the length of the path."""
    if len(folder) + len(name) < _SHORT_PATH_BYTES:
        return read_xattrs(folder + b"/" + name)
    folder_fd = open_folder(folder)
    try:
        return read_xattrs(entry_path(folder_fd, name, folder))
    finally:
        os.close(folder_fd)


def read_link(folder: bytes, name: bytes) -> bytes:
    """What the symlink `name` in the folder points to, whatever the length of the path."""
    if len(folder) + len(name) < _SHORT_PATH_BYTES:
        return os.readlink(folder + b"/" + name)
    folder_fd = open_folder(folder)
    try:
        return os.readlink(name, dir_fd=folder_fd)
    finally:
        os.close(folder_fd)


def write_xattrs(
    target: int | bytes, attributes: Iterable[tuple[bytes, bytes]], chosen: Callable[[bytes], bool] | None = None
) -> None:
    """Make the extended attributes those given: set all, remove others. Only names that `chosen` accepts count.

    A file system without them is no error, as in restic. OSError for any attribute that is refused.
    """
    if not _HAS_XATTRS:
        return
    if not isinstance(target, int) and len(target) > _SHORT_PATH_BYTES:
        with _short_path(target) as short:
            write_xattrs(short, attributes, chosen)
        return
    follow = isinstance(target, int)
    wanted = {name: value for name, value in attributes if chosen is None or chosen(name)}
    try:
        present = {os.fsencode(name) for name in _list_xattrs(target)}
        for name, value in wanted.items():
            os.setxattr(target, name, value, follow_symlinks=follow)
        for name in present - wanted.keys():
            if chosen is None or chosen(name):
                os.removexattr(target, name, follow_symlinks=follow)
    except OSError as error:
        if error.errno not in _NO_XATTRS:
            raise


def next_data(fd: int, offset_bytes: int) -> tuple[int, int] | None:
    """Where the next data at or after the offset begins and ends; None if only a hole or nothing is left.

    Where holes cannot be found, all up to the end of the file is data. Moves the descriptor's position.
    """
    if _HAS_SEEK_DATA:
        try:
            begin = os.lseek(fd, offset_bytes, os.SEEK_DATA)
            return begin, os.lseek(fd, begin, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return None
            if error.errno not in {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}:
                raise
    end = os.lseek(fd, 0, os.SEEK_END)
    return (offset_bytes, end) if offset_bytes < end else None


def may_have_holes(status: os.stat_result) -> bool:
    """Whether fewer blocks are allocated than the size needs: worth asking `next_data`."""
    blocks: int | None = getattr(status, "st_blocks", None)
    return blocks is not None and blocks * 512 < status.st_size


def on_device(status: os.stat_result, devices: Mapping[int, int]) -> os.stat_result:
    """The status with another device's number, where `devices` has one for its own and it may be a hard link."""
    device = devices.get(status.st_dev)
    if device is None or status.st_nlink < 2 or stat.S_ISDIR(status.st_mode):
        return status
    # As pickle takes it apart: there is no other way to get at all of its fields.
    (numbers, named) = cast("tuple[Any, Any]", status.__reduce__())[1]
    return os.stat_result((*numbers[:2], device, *numbers[3:]), named)


def is_only_in_cloud(status: object) -> bool:
    """Whether reading the file would fetch it from a cloud service first: macOS and Windows mark such files."""
    dataless, recall_on_access = 0x40000000, 0x400000
    return bool(
        getattr(status, "st_flags", 0) & dataless or getattr(status, "st_file_attributes", 0) & recall_on_access
    )


def set_owner(name: bytes, uid: int, gid: int, *, dir_fd: int | None = None) -> None:
    """Give `name` itself to the owner and group; nothing where the system has no owners."""
    if hasattr(os, "chown"):
        os.chown(name, uid, gid, dir_fd=dir_fd, follow_symlinks=False)


def set_mode(name: bytes, permissions: int, *, dir_fd: int | None = None) -> None:
    """Set the permission bits of `name`; a symlink is not followed but OSError (ELOOP)."""
    if not (_O_PATH and _HAS_FD_PATHS):
        os.chmod(name, permissions, dir_fd=dir_fd, follow_symlinks=os.chmod not in os.supports_follow_symlinks)
        return
    # Older Linux has no such call; the path of a descriptor leads to just the file that was opened.
    fd = os.open(name, _O_PATH | NO_FOLLOW | CLOSE_ON_EXEC, dir_fd=dir_fd)
    try:
        if stat.S_ISLNK(os.fstat(fd).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
        os.chmod(b"/proc/self/fd/%d" % fd, permissions)
    finally:
        os.close(fd)


def set_times(name: bytes, atime_ns: int, mtime_ns: int, *, dir_fd: int | None = None) -> None:
    """Set the times of `name` itself, to the nanosecond."""
    if os.utime in os.supports_follow_symlinks:
        os.utime(name, ns=(atime_ns, mtime_ns), dir_fd=dir_fd, follow_symlinks=False)
    elif not stat.S_ISLNK(os.lstat(name).st_mode):
        os.utime(name, ns=(atime_ns, mtime_ns))


def make_node(name: bytes, mode: int, device: int = 0, *, dir_fd: int | None = None) -> None:
    """Make a fifo, device or socket of the `st_mode` given; OSError (ENOTSUP) where there is no such call."""
    if not hasattr(os, "mknod"):
        raise OSError(errno.ENOTSUP, "this system cannot make special files", name)
    os.mknod(name, mode, device, dir_fd=dir_fd)


@lru_cache(maxsize=4096)
def user_name(uid: int) -> str:
    """The user's name, empty if the id has none."""
    try:
        import pwd  # noqa: PLC0415  # only on Unix

        return pwd.getpwuid(uid).pw_name
    except (ImportError, KeyError, OverflowError, OSError):
        return ""


@lru_cache(maxsize=4096)
def group_name(gid: int) -> str:
    """The group's name, empty if the id has none."""
    try:
        import grp  # noqa: PLC0415  # only on Unix

        return grp.getgrgid(gid).gr_name
    except (ImportError, KeyError, OverflowError, OSError):
        return ""


@lru_cache(maxsize=4096)
def user_id(name: str) -> int | None:
    """The id of the user of that name here, None if there is no such user."""
    try:
        import pwd  # noqa: PLC0415  # only on Unix

        return pwd.getpwnam(name).pw_uid
    except (ImportError, KeyError, ValueError, OSError):
        return None


@lru_cache(maxsize=4096)
def group_id(name: str) -> int | None:
    """The id of the group of that name here, None if there is no such group."""
    try:
        import grp  # noqa: PLC0415  # only on Unix

        return grp.getgrnam(name).gr_gid
    except (ImportError, KeyError, ValueError, OSError):
        return None


def _open_quietly(path: bytes, flags: int, dir_fd: int | None) -> int:
    """Open without touching the access time; only the owner may ask for that, so others ask again without."""
    try:
        return os.open(path, flags | _NO_ATIME, dir_fd=dir_fd)
    except PermissionError as error:
        if error.errno != errno.EPERM or not _NO_ATIME:
            raise
    return os.open(path, flags, dir_fd=dir_fd)


@contextmanager
def _short_path(path: bytes) -> Iterator[bytes]:
    """Another path of the same entry, short enough for a system call; valid inside the `with`."""
    folder, _, name = path.rstrip(b"/").rpartition(b"/")
    folder_fd = open_folder(folder)
    try:
        yield entry_path(folder_fd, name, folder)
    finally:
        os.close(folder_fd)


def _list_xattrs(target: int | bytes) -> list[str]:
    return os.listxattr(target) if isinstance(target, int) else os.listxattr(target, follow_symlinks=False)
