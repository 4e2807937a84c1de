"""One entry of a snapshot as `ls` and `find` show it: restic's long line, its JSON documents, and ncdu's.

An entry is its path and the JSON object of its node as it is stored: of most nodes only a few fields are looked at.
"""

from __future__ import annotations

import re
from functools import lru_cache

from limpet.cli.formatting import format_bytes
from limpet.cli.times import format_local
from limpet.format import fields as read
from limpet.format.fields import Fields
from limpet.format.gojson import json_string
from limpet.format.node import link_target_of, raw_name
from limpet.format.timestamps import NS_PER_S, ZERO_TIME, format_time, parse_time

MODE_LETTERS = "dalTLDpSugct?"
"""Go's letters for the bits of a FileMode, from bit 31 down."""
PERMISSION_LETTERS = "rwxrwxrwx"
NCDU_BLOCK_SIZE = 512

_DIR, _SYMLINK, _DEVICE, _FIFO, _SOCKET, _SETUID, _SETGID, _CHARDEV, _STICKY = (
    1 << bit for bit in (31, 27, 26, 25, 24, 23, 22, 21, 20)
)
_TYPE_BITS = {
    "dir": _DIR,
    "symlink": _SYMLINK,
    "dev": _DEVICE,
    "chardev": _DEVICE | _CHARDEV,
    "fifo": _FIFO,
    "socket": _SOCKET,
}
_GO_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{0,8}[1-9])?Z")


def file_size(fields: Fields) -> int:
    """The size that a listing shows: of files only."""
    return read.uint(fields, "size") if fields.get("type") == "file" else 0


@lru_cache(4096)
def mode_text(mode: int) -> str:
    """A Go FileMode as Go shows it: `drwxr-xr-x`, `Lrwxrwxrwx`, `ugrwxr-xr-x`."""
    letters = "".join(letter for bit, letter in enumerate(MODE_LETTERS) if mode & (1 << (31 - bit)))
    permissions = "".join(letter if mode & (1 << (8 - bit)) else "-" for bit, letter in enumerate(PERMISSION_LETTERS))
    return (letters or "-") + permissions


def long_line(path: bytes, fields: Fields, *, human_readable: bool) -> bytes:
    """Mode, owner, size, time, path and link target: a line of `ls --long`."""
    node_type = read.string(fields, "type")
    size_bytes = read.uint(fields, "size") if node_type == "file" else 0
    size = format_bytes(size_bytes) if human_readable else f"{size_bytes:6d}"
    mode = mode_text(read.uint(fields, "mode", read.UINT32) | _TYPE_BITS.get(node_type, 0))
    uid, gid = read.uint(fields, "uid"), read.uint(fields, "gid")
    head = f"{mode} {uid:5d} {gid:5d} {size} {_local_time(read.string(fields, 'mtime'))} ".encode()
    return head + path + (b" -> " + link_target_of(fields) if node_type == "symlink" else b"")


def node_json(path: bytes, fields: Fields) -> bytes:
    """The entry's document of `ls --json`."""
    node_type, mode = read.string(fields, "type"), read.uint(fields, "mode", read.UINT32)
    size = f'"size":{read.uint(fields, "size")},' if node_type == "file" else ""
    inode = read.uint(fields, "inode")
    return b'{"name":%b,"type":%b,"path":%b,%b' % (
        json_string(raw_name(fields)),
        json_string(node_type),
        json_string(path),
        (
            f'"uid":{read.uint(fields, "uid")},"gid":{read.uint(fields, "gid")},{size}'
            f"{_mode_members(mode)},{_time_members(fields)}{_unless_zero('inode', inode)}"
            ',"message_type":"node","struct_type":"node"}'
        ).encode(),
    )


def match_json(path: bytes, fields: Fields) -> bytes:
    """The entry's document of `find --json`: what is stored but the content and the attributes."""
    mode = read.uint(fields, "mode", read.UINT32)
    permissions = json_string(mode_text(mode))
    parts = [b'{"path":%b,"permissions":%b,"type":%b' % (json_string(path), permissions, _string(fields, "type"))]
    numbers = f"{_unless_zero('mode', mode)},{_time_members(fields)}"
    parts.append(f'{numbers},"uid":{read.uint(fields, "uid")},"gid":{read.uint(fields, "gid")}'.encode())
    parts.extend(b',"%b":%b' % (key.encode(), _string(fields, key)) for key in ("user", "group") if fields.get(key))
    for key in ("inode", "device_id", "size", "links"):
        parts.append(_unless_zero(key, read.uint(fields, key)).encode())
    if target := link_target_of(fields):
        parts.append(b',"linktarget":' + json_string(target))
    if fields.get("error"):
        parts.append(b',"error":' + _string(fields, "error"))
    return b"".join((*parts, b"}"))


def ncdu_json(fields: Fields) -> bytes:
    """The entry in ncdu's export format (https://dev.yorhel.nl/ncdu/jsonfmt)."""
    size = file_size(fields)
    stored = read.uint(fields, "mode", read.UINT32)
    special = (0o4000, _SETUID), (0o2000, _SETGID), (0o1000, _STICKY)
    mode = (stored & 0o777) | sum(bits for bits, flag in special if stored & flag)
    is_special = fields.get("type") not in {"dir", "file"}
    mtime = max(0, read.time(fields, "mtime").ns // NS_PER_S)  # ncdu knows no time before 1970
    return b'{"name":%b,%b' % (
        json_string(raw_name(fields)),
        (
            f'"asize":{size},"dsize":{-(-size // NCDU_BLOCK_SIZE) * NCDU_BLOCK_SIZE}'
            f',"dev":{read.uint(fields, "device_id")},"ino":{read.uint(fields, "inode")}'
            f',"nlink":{read.uint(fields, "links")},"notreg":{"true" if is_special else "false"}'
            f',"uid":{read.uint(fields, "uid")},"gid":{read.uint(fields, "gid")},"mode":{mode},"mtime":{mtime}}}'
        ).encode(),
    )


def go_time_text(value: object) -> str:
    """A stored time as Go writes it again: most are as they have to be."""
    if type(value) is str:
        return value if _GO_TIME.fullmatch(value) else format_time(*parse_time(value))
    return format_time(*ZERO_TIME)


@lru_cache(1 << 14)
def _local_time(text: str) -> str:
    return format_local(parse_time(text).ns if text else ZERO_TIME.ns)


def _mode_members(mode: int) -> str:
    return f'"mode":{mode},"permissions":"{mode_text(mode)}"' if mode else f'"permissions":"{mode_text(0)}"'


def _time_members(fields: Fields) -> str:
    mtime, atime = fields.get("mtime"), fields.get("atime")
    mtime_text = go_time_text(mtime)
    atime_text = mtime_text if atime == mtime else go_time_text(atime)
    return f'"mtime":"{mtime_text}","atime":"{atime_text}","ctime":"{go_time_text(fields.get("ctime"))}"'


def _unless_zero(key: str, value: int) -> str:
    return f',"{key}":{value}' if value else ""


def _string(fields: Fields, key: str) -> bytes:
    return json_string(read.string(fields, key))
