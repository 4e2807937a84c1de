"""What an argument such as `device:///dev/vg0/home` or `device:/srv/vm.img` names."""

from __future__ import annotations

import os

from limpet.errors import UsageError

FOLDER = "/device"
"""Where devices are in a snapshot."""


def local_path(rest: str) -> str:
    """The absolute path that follows `device:`; links stay, so that `/dev/vg0/home` is the same thing tomorrow.

    UsageError for a device of another machine, and for none.
    """
    path = rest
    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        path = slash + path
        if host or not slash:
            raise UsageError(f"device:{rest} names no path of this machine: write device:///dev/NAME or device:/PATH")
    if not path or "\0" in path:
        raise UsageError("device: names no device: write device:///dev/NAME, or device:/PATH for an image")
    path = os.path.abspath(path)
    return path[1:] if path.startswith("//") else path


def snapshot_path(path: str) -> str:
    """The file in the snapshot that holds what is at `path`."""
    return FOLDER + path
