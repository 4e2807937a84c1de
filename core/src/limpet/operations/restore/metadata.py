"""Owner, extended attributes, times and mode of restored files, without following a symlink.

The order matters: a change of owner clears setuid bits and file capabilities, an ACL changes the mode's group bits,
and everything but the mode itself may need the right to write.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass

from limpet import filesystem
from limpet.operations.restore.options import XattrSelector
from limpet.operations.restore.record import Record

PERMISSION_BITS = 0o7777


@dataclass(frozen=True, slots=True)
class MetadataPolicy:
    """What of a record is applied and how."""

    ownership_by_name: bool = False
    select_xattr: XattrSelector | None = None
    ignore_permission_errors: bool = False
    """Only root can give files away: anybody else's restore goes on without."""

    def owner(self, record: Record) -> tuple[int, int]:
        """User and group id that the file gets; 0 for a name unknown here, as in restic."""
        if self.ownership_by_name:
            return filesystem.user_id(record.user) or 0, filesystem.group_id(record.group) or 0
        return record.uid, record.gid


def restore_metadata(descriptor: int, record: Record, policy: MetadataPolicy) -> None:
    """Apply the record to an open regular file or folder. OSError: the first failure, after all else was applied."""
    failed = None
    uid, gid = policy.owner(record)
    # Called for every file, so the steps are written out: each in its own try, that one failure does not stop the rest.
    try:
        os.chown(descriptor, uid, gid)
    except OSError as error:
        failed = error
    try:
        filesystem.write_xattrs(descriptor, record.xattrs, policy.select_xattr)
    except OSError as error:
        failed = failed or error
    try:
        os.utime(descriptor, ns=(record.atime_ns, record.mtime_ns))
    except OSError as error:
        failed = failed or error
    try:
        os.chmod(descriptor, record.mode & PERMISSION_BITS)
    except OSError as error:
        failed = failed or error
    _raise_unless_ignored(failed, policy)


def restore_metadata_at(parent: int, folder_path: bytes, record: Record, policy: MetadataPolicy) -> None:
    """Apply the record to a symlink, device or fifo by its name in an open folder; OSError as `restore_metadata`.

    `folder_path` serves only where the system has no path through descriptors.
    """
    name = record.name
    path = filesystem.entry_path(parent, name, folder_path)
    steps: list[Callable[[], None]] = [
        lambda: filesystem.set_owner(name, *policy.owner(record), dir_fd=parent),
        lambda: filesystem.write_xattrs(path, record.xattrs, policy.select_xattr),
        lambda: filesystem.set_times(name, record.atime_ns, record.mtime_ns, dir_fd=parent),
    ]
    if not stat.S_ISLNK(record.mode):
        steps.append(lambda: filesystem.set_mode(name, record.mode & PERMISSION_BITS, dir_fd=parent))
    failed = None
    for step in steps:
        try:
            step()
        except OSError as error:
            failed = failed or error
    _raise_unless_ignored(failed, policy)


def _raise_unless_ignored(error: OSError | None, policy: MetadataPolicy) -> None:
    if error is None or (policy.ignore_permission_errors and isinstance(error, PermissionError)):
        return
    raise error
