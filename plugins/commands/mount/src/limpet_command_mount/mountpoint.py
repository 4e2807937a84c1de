"""Whether a folder can be mounted on, and whether something is."""

from __future__ import annotations

import os
import re

from limpet.errors import UsageError


def require_mountpoint(path: str, repository: str | None) -> None:
    """UsageError unless the path is a folder to mount on that has nothing to do with that of a local repository.

    A mount over its own repository, or in it, would read itself and never answer (restic issue 5234).
    """
    try:
        is_folder = os.path.isdir(path)
        if not is_folder:
            os.stat(path)
    except FileNotFoundError as error:
        raise UsageError(f"mountpoint {path} does not exist") from error
    except OSError as error:
        raise UsageError(f"mountpoint {path} is inaccessible: {error.strerror}") from error
    if not is_folder:
        raise UsageError(f"mountpoint {path} is not a directory")
    if not os.access(path, os.W_OK | os.X_OK):
        raise UsageError(f"mountpoint {path} is not writeable or not executable")
    if repository is not None:
        _refuse_overlap(os.path.realpath(path), os.path.realpath(repository))


def is_mounted_on(real_path: str) -> bool:
    """Whether something is mounted there, by the kernel's table: who asks the folder itself may wait for the mount."""
    shown = re.sub(rb"[ \t\n\\]", lambda found: b"\\%03o" % ord(found[0]), os.fsencode(real_path))
    with open("/proc/self/mountinfo", "rb") as table:
        return any(line.split()[4] == shown for line in table)


def _refuse_overlap(mountpoint: str, repository: str) -> None:
    why = "; the mount would have to read itself, choose another folder"
    if mountpoint == repository:
        raise UsageError(f"mountpoint {mountpoint} is the local repository directory{why}")
    common = os.path.commonpath([mountpoint, repository])
    if common == repository:
        raise UsageError(f"mountpoint {mountpoint} is inside the local repository directory {repository}{why}")
    if common == mountpoint:
        raise UsageError(f"local repository directory {repository} is inside the mountpoint {mountpoint}{why}")
