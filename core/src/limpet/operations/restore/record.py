"""Nodes as a restore needs them: decoded as far as planning goes, and the metadata kept as a small byte string.

A full `Node` costs 13 us; a restore looks at the times and owners of most files only when it sets them, which is in
another process. What is left undecided here is checked there, and costs that one file alone.
"""

from __future__ import annotations

import marshal
from typing import NamedTuple

from limpet.errors import IntegrityError
from limpet.format import fields as read
from limpet.format.filemode import NodeType, st_mode_from_go
from limpet.format.gojson import unquote_name
from limpet.format.node import Node, decode_node
from limpet.format.timestamps import parse_time
from limpet.ids import BlobId

_TYPES = {node_type.value: node_type for node_type in NodeType}
_PLAIN_RECORD_LENGTH = 8
_WITHOUT_MORE = frozenset({NodeType.FILE, NodeType.DIR})
"""Of these the record says all that there is."""


class Record(NamedTuple):
    """What is set on a restored file beside its content. Times are nanoseconds since 1970."""

    name: bytes
    mode: int
    """As in `st_mode`, with the type's bits."""
    uid: int
    gid: int
    user: str
    group: str
    atime_ns: int
    mtime_ns: int
    xattrs: tuple[tuple[bytes, bytes], ...] = ()


class Entry:
    """One node of a tree. `content` is empty for what is no file."""

    __slots__ = ("_fields", "content", "links", "name", "size", "type")

    def __init__(self, fields: read.Fields) -> None:
        """IntegrityError if what planning needs makes no sense."""
        self._fields = fields
        self.name = unquote_name(read.string(fields, "name"))
        self.type = _TYPES.get(read.string(fields, "type"), NodeType.INVALID)
        self.links = read.uint(fields, "links")
        self.size = read.uint(fields, "size")
        content: list[BlobId] = []
        if self.type is NodeType.FILE:
            content = [BlobId(read.id_from_hex(value)) for value in read.array(fields, "content") or ()]
        self.content = content

    @property
    def subtree(self) -> BlobId | None:
        """The tree of a folder."""
        found = read.identifier(self._fields, "subtree")
        return None if found is None else BlobId(found)

    @property
    def mtime_ns(self) -> int:
        """Modification time in nanoseconds since 1970."""
        return read.time(self._fields, "mtime").ns

    @property
    def link_key(self) -> tuple[NodeType, int, int]:
        """Type, inode and device of the file system: nodes that share them were one file."""
        return self.type, read.uint(self._fields, "inode"), read.uint(self._fields, "device_id")

    def node(self) -> Node:
        """All of the node."""
        return decode_node(self._fields)

    def record(self) -> bytes:
        """The metadata, about 150 bytes, for `decode_record`."""
        get = self._fields.get
        user, group, atime, mtime = get("user", ""), get("group", ""), get("atime"), get("mtime")
        if (
            type(user) is type(group) is type(atime) is type(mtime) is str
            and self.type in _WITHOUT_MORE
            and get("extended_attributes") is None
        ):
            mode, uid, gid = (read.uint(self._fields, key, read.UINT32) for key in ("mode", "uid", "gid"))
            return marshal.dumps((self.name, mode, uid, gid, user, group, atime, mtime))
        return encode_record(self.node())


def encode_record(node: Node) -> bytes:
    """The record of a whole node."""
    mode = st_mode_from_go(node.mode)
    times = (node.atime.ns, node.mtime.ns)
    xattrs = tuple(node.extended_attributes)
    return marshal.dumps((node.name, mode, node.uid, node.gid, node.user, node.group, *times, xattrs))


def decode_record(record: bytes) -> Record:
    """What a record made in this run says; IntegrityError for a time that makes no sense."""
    values = marshal.loads(record)
    if len(values) != _PLAIN_RECORD_LENGTH:
        return Record._make(values)
    name, mode, uid, gid, user, group, atime, mtime = values
    mtime_ns = parse_time(mtime).ns
    atime_ns = mtime_ns if atime == mtime else parse_time(atime).ns
    return Record(name, st_mode_from_go(mode), uid, gid, user, group, atime_ns, mtime_ns)


def record_name(record: bytes) -> bytes:
    """The name alone."""
    name = marshal.loads(record)[0]
    if not isinstance(name, bytes):
        raise IntegrityError("a record without a name")
    return name
