"""Names in a tree that must never reach the file system."""

from __future__ import annotations

_NOT_NAMES = frozenset({b"", b".", b".."})


def invalid_name(name: bytes) -> str | None:
    """Why a node's name cannot be the name of a file; None if it can.

    A tree is not trusted: a name with a separator or `..` would lead out of the target.
    """
    if b"/" not in name and b"\0" not in name and name not in _NOT_NAMES:
        return None
    if not name:
        return "it is empty"
    if name in {b".", b".."}:
        return "it stands for another folder"
    if b"/" in name:
        return "it contains a separator"
    return "it contains a NUL byte"
