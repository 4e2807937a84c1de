"""POSIX ACLs of Linux as the long text that tar archives carry. Source: acl(5), <linux/posix_acl_xattr.h>."""

from __future__ import annotations

import struct

_VERSION = 2
_HEADER = struct.Struct("<I")
_ENTRY = struct.Struct("<HHI")  # tag, permissions, id
_WORDS = {0x01: b"user", 0x02: b"user", 0x04: b"group", 0x08: b"group", 0x10: b"mask", 0x20: b"other"}
_NAMED = {0x02, 0x08}


def acl_text(value: bytes) -> bytes | None:
    """A line for each entry, with ids as numbers: the names may stand for others elsewhere. None for no ACL we know."""
    entries = len(value) - _HEADER.size
    if entries < 0 or entries % _ENTRY.size or _HEADER.unpack_from(value)[0] != _VERSION:
        return None
    lines = []
    for tag, permissions, identifier in _ENTRY.iter_unpack(value[_HEADER.size :]):
        if tag not in _WORDS:
            return None
        name = b"%d" % identifier if tag in _NAMED else b""
        letters = bytes(
            letter if permissions & bit else ord("-") for letter, bit in zip(b"rwx", (4, 2, 1), strict=True)
        )
        lines.append(b"%b:%b:%b\n" % (_WORDS[tag], name, letters))
    return b"".join(lines)
