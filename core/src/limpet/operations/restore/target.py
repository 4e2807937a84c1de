"""The target folder and every folder below it, reached from its descriptor down without following a symlink.

Each component is opened by itself with O_NOFOLLOW, relative to the descriptor of the folder above. So nobody who
swaps a folder for a symlink while we run can lead us outside, and no path is too long for the system.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict

from limpet import filesystem

FOLDER_FLAGS = filesystem.FOLDER_FLAGS | filesystem.NO_FOLLOW
OPEN_FOLDERS = 128
NEW_FOLDER_MODE = 0o700
_FIRST_TRIES = 2


class Target:
    """Folders below the target by their relative path (`b"a/b"`, `b""` the target itself).

    Descriptors are kept for the folders used last. One is valid until the next `open_folder`.
    """

    def __init__(self, root_fd: int, *, allow_recursive_removal: bool = False) -> None:
        self._root_fd = root_fd
        self._allow_recursive_removal = allow_recursive_removal
        self._open: OrderedDict[bytes, int] = OrderedDict()

    @property
    def exists(self) -> bool:
        """Whether the target is there; in a dry run it need not be."""
        return self._root_fd >= 0

    def open_folder(self, path: bytes) -> int:
        """A descriptor of the folder; OSError where it is none, or a symlink is on the way."""
        if not path:
            return self._root_fd
        descriptor = self._open.get(path)
        if descriptor is not None:
            self._open.move_to_end(path)
            return descriptor
        start, descriptor = self._nearest_open(path)
        while start < len(path):
            end = path.find(b"/", start)
            if end < 0:
                end = len(path)
            descriptor = os.open(path[start:end], FOLDER_FLAGS, dir_fd=descriptor)
            self._keep(path[:end], descriptor)
            start = end + 1
        return descriptor

    def forget(self, path: bytes) -> None:
        """Close the folder's descriptor and those below it: another folder may take its place."""
        below = path + b"/"
        for known in [known for known in self._open if known == path or known.startswith(below)]:
            os.close(self._open.pop(known))

    def close(self) -> None:
        """Close all folders but the target, which belongs to who opened it."""
        while self._open:
            os.close(self._open.popitem()[1])

    def stat(self, folder: bytes, name: bytes) -> os.stat_result | None:
        """Status of what is there, not followed; None if there is nothing, or no such folder."""
        try:
            return os.stat(name, dir_fd=self.open_folder(folder), follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if is_symlink_error(error):
                return None
            raise

    def make_folder(self, folder: bytes, name: bytes) -> bool:
        """Make sure that there is a folder of this name; True if it is a new one.

        Anything else of that name is removed. Its owner alone may use a new folder until its metadata is restored.
        """
        parent = self.open_folder(folder)
        path = join(folder, name)
        for _ in range(_FIRST_TRIES):
            try:
                os.mkdir(name, NEW_FOLDER_MODE, dir_fd=parent)
                return True
            except FileExistsError:
                pass
            try:
                descriptor = os.open(name, FOLDER_FLAGS, dir_fd=parent)
            except OSError as error:
                if not isinstance(error, NotADirectoryError) and not is_symlink_error(error):
                    raise
                os.unlink(name, dir_fd=parent)
                continue
            self.forget(path)
            self._keep(path, descriptor)
            _make_usable(descriptor)
            return False
        raise FileExistsError(f"{os.fsdecode(name)} keeps coming back while it is being replaced")

    def clear(self, folder: bytes, name: bytes) -> None:
        """Remove what has this name, so that something else can take it. An empty folder goes too, a full one only
        where recursive removal was allowed; nothing there is fine.
        """
        parent = self.open_folder(folder)
        try:
            os.unlink(name, dir_fd=parent)
        except FileNotFoundError:
            return
        except (IsADirectoryError, PermissionError) as error:
            # Linux says EISDIR for a folder, POSIX EPERM.
            if not self._is_folder(parent, name):
                raise
            if self._allow_recursive_removal:
                self.remove_tree(folder, name)
                return
            try:
                os.rmdir(name, dir_fd=parent)
            except OSError as cause:
                raise cause from error

    def remove_tree(self, folder: bytes, name: bytes, *, dry_run: bool = False) -> list[bytes]:
        """Remove a file or a folder with all in it; the paths removed, what is in a folder before the folder."""
        top = join(folder, name)
        if not self._is_folder(self.open_folder(folder), name):
            if not dry_run:
                os.unlink(name, dir_fd=self.open_folder(folder))
            return [top]
        removed: list[bytes] = []
        pending = [(top, False)]
        while pending:
            path, is_emptied = pending.pop()
            if is_emptied:
                parent, _, last = path.rpartition(b"/")
                self.forget(path)
                if not dry_run:
                    os.rmdir(last, dir_fd=self.open_folder(parent))
                removed.append(path)
                continue
            pending.append((path, True))
            for entry in os.listdir(self.open_folder(path)):
                raw = os.fsencode(entry)
                descriptor = self.open_folder(path)
                if self._is_folder(descriptor, raw):
                    pending.append((join(path, raw), False))
                    continue
                if not dry_run:
                    os.unlink(raw, dir_fd=descriptor)
                removed.append(join(path, raw))
        return removed

    @staticmethod
    def _is_folder(parent: int, name: bytes) -> bool:
        try:
            return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
        except FileNotFoundError:
            return False

    def _nearest_open(self, path: bytes) -> tuple[int, int]:
        """Where the first component that is not open starts in `path`, and the descriptor of the folder above it."""
        end = path.rfind(b"/")
        while end > 0:
            above = path[:end]
            descriptor = self._open.get(above)
            if descriptor is not None:
                self._open.move_to_end(above)
                return end + 1, descriptor
            end = path.rfind(b"/", 0, end)
        return 0, self._root_fd

    def _keep(self, path: bytes, descriptor: int) -> None:
        self._open[path] = descriptor
        if len(self._open) > OPEN_FOLDERS:
            os.close(self._open.popitem(last=False)[1])


def join(folder: bytes, name: bytes) -> bytes:
    """The relative path of `name` in `folder`."""
    return folder + b"/" + name if folder else name


def is_symlink_error(error: OSError) -> bool:
    """Whether O_NOFOLLOW refused a symlink: ELOOP, or EMLINK as FreeBSD has it."""
    return error.errno in {errno.ELOOP, errno.EMLINK}


def _make_usable(descriptor: int) -> None:
    """Let the owner write into a folder that denied it; its mode is restored last."""
    mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    if mode & NEW_FOLDER_MODE != NEW_FOLDER_MODE and os.geteuid() != 0:
        try:
            os.fchmod(descriptor, mode | NEW_FOLDER_MODE)
        except PermissionError:
            return  # not ours: writing into it will say so
