"""Names in a tree that must never reach the file system."""

from __future__ import annotations


def invalid_name(name: bytes) -> str | None:
    """Why a node's name cannot be the name of a file; None if it can.

    A tree is not trusted: a name with a separator or `..` would lead out of the target.
    """
    if not name:
        return "it is empty"
    if name in {b".", b".."}:
        return "it stands for another folder"
    if b"/" in name:
        return "it contains a separator"
    if b"\0" in name:
        return "it contains a NUL byte"
    return None
