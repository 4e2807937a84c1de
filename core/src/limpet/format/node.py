"""A node: one entry of a tree, with its metadata, and its JSON as restic writes it.

Source: FORMAT.md, "JSON: ids depend on every byte"; fields that Limpet does not know are kept in `extra`.
The fast way from a stat result to JSON is in `statnode`.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Sequence
from dataclasses import dataclass, field

from limpet.contracts.source import StatLike
from limpet.errors import IntegrityError
from limpet.format import fields as read
from limpet.format.filemode import NodeType, go_mode_from_stat, node_type_from_stat, st_mode_from_go
from limpet.format.gojson import JsonValue, json_string, json_value, quote_name, unquote_name
from limpet.format.statnode import node_json
from limpet.format.timestamps import ZERO_TIME, Time, format_time
from limpet.ids import BlobId

__all__ = [
    "Node",
    "NodeType",
    "decode_node",
    "encode_node",
    "extended_attributes_of",
    "go_mode_from_stat",
    "link_target_of",
    "node_from_stat",
    "node_json",
    "raw_name",
    "st_mode_from_go",
    "subtree_of",
]


@dataclass(slots=True)
class Node:
    """One entry of a folder.

    `mode` is Go's FileMode. `size` is bytes. `device_id` is the device that holds the file, only there for
    hard links; `device` what a device node stands for. `content` is None for what is no file.
    """

    name: bytes
    type: NodeType
    mode: int = 0
    mtime: Time = ZERO_TIME
    atime: Time = ZERO_TIME
    ctime: Time = ZERO_TIME
    uid: int = 0
    gid: int = 0
    user: str = ""
    group: str = ""
    inode: int = 0
    device_id: int = 0
    size: int = 0
    links: int = 0
    link_target: bytes = b""
    extended_attributes: list[tuple[bytes, bytes]] = field(default_factory=list)
    generic_attributes: dict[str, JsonValue] | None = None
    device: int = 0
    content: list[BlobId] | None = None
    subtree: BlobId | None = None
    error: str = ""
    extra: dict[str, JsonValue] = field(default_factory=dict)


_TYPES = {node_type.value: node_type for node_type in NodeType}
_COMMON = frozenset((
    "name", "type", "mode", "mtime", "atime", "ctime", "uid", "gid", "user", "group", "inode", "device_id", "size",
    "links", "content",
))  # fmt: skip
_RARE = frozenset((
    "linktarget", "linktarget_raw", "extended_attributes", "generic_attributes", "device", "subtree", "error",
))  # fmt: skip
_KNOWN = _COMMON | _RARE


def node_from_stat(
    name: bytes,
    stat: StatLike,
    *,
    user: str = "",
    group: str = "",
    size: int | None = None,
    content: Sequence[bytes] | None = None,
    subtree: bytes | None = None,
    link_target: bytes | None = None,
    xattrs: Sequence[tuple[bytes, bytes]] = (),
    atime_ns: int | None = None,
) -> Node:
    """The node of a file by its status: what `node_json` writes at once, with the same arguments."""
    node_type = node_type_from_stat(stat.st_mode)
    always_counted = node_type not in (NodeType.DIR, NodeType.FIFO, NodeType.SOCKET, NodeType.IRREGULAR)
    is_hard_link = stat.st_nlink > 1 and node_type is not NodeType.DIR
    return Node(
        name=name,
        type=node_type,
        mode=go_mode_from_stat(stat.st_mode),
        mtime=Time(stat.st_mtime_ns),
        atime=Time(stat.st_mtime_ns if atime_ns is None else atime_ns),
        ctime=Time(stat.st_ctime_ns),
        uid=stat.st_uid,
        gid=stat.st_gid,
        user=user,
        group=group,
        inode=stat.st_ino,
        device_id=stat.st_dev if is_hard_link else 0,
        size=(stat.st_size if size is None else size) if node_type is NodeType.FILE else 0,
        links=stat.st_nlink if always_counted or is_hard_link else 0,
        link_target=link_target or b"",
        extended_attributes=list(xattrs),
        device=stat.st_rdev if node_type in (NodeType.DEV, NodeType.CHARDEV) else 0,
        content=None if content is None else [BlobId(blob_id) for blob_id in content],
        subtree=None if subtree is None else BlobId(subtree),
    )


def encode_node(node: Node) -> bytes:
    """The node's JSON, byte for byte restic's; fields that restic does not know come last."""
    parts = [b'{"name":%b,"type":"%b"' % (quote_name(node.name), node.type.value.encode())]
    _append_number(parts, b"mode", node.mode)
    for key, time in (b"mtime", node.mtime), (b"atime", node.atime), (b"ctime", node.ctime):
        parts.append(b',"%b":"%b"' % (key, format_time(*time).encode()))
    parts.append(b',"uid":%d,"gid":%d' % (node.uid, node.gid))
    if node.user:
        parts.append(b',"user":' + json_string(node.user))
    if node.group:
        parts.append(b',"group":' + json_string(node.group))
    _append_number(parts, b"inode", node.inode)
    _append_number(parts, b"device_id", node.device_id)
    _append_number(parts, b"size", node.size)
    _append_number(parts, b"links", node.links)
    _append_link_target(parts, node.link_target)
    if node.extended_attributes:
        pairs = (b'{"name":%b,"value":"%b"}' % (json_string(n), _base64(v)) for n, v in node.extended_attributes)
        parts.append(b',"extended_attributes":[%b]' % b",".join(pairs))
    if node.generic_attributes:
        parts.append(b',"generic_attributes":' + json_value(dict(sorted(node.generic_attributes.items()))))
    _append_number(parts, b"device", node.device)
    if node.content is None:
        parts.append(b',"content":null')
    else:
        parts.append(b',"content":[%b]' % b",".join([b'"%b"' % blob_id.hex().encode() for blob_id in node.content]))
    if node.subtree is not None:
        parts.append(b',"subtree":"%b"' % node.subtree.hex().encode())
    if node.error:
        parts.append(b',"error":' + json_string(node.error))
    for name, value in node.extra.items():
        parts.append(b",%b:%b" % (json_string(name), json_value(value)))
    parts.append(b"}")
    return b"".join(parts)


def _append_number(parts: list[bytes], key: bytes, value: int) -> None:
    if value:
        parts.append(b',"%b":%d' % (key, value))


def _append_link_target(parts: list[bytes], target: bytes) -> None:
    if not target:
        return
    parts.append(b',"linktarget":' + json_string(target))
    try:
        target.decode()
    except UnicodeDecodeError:
        parts.append(b',"linktarget_raw":"%b"' % _base64(target))


def _base64(value: bytes) -> bytes:
    return b2a_base64(value, newline=False)


def decode_node(fields: read.Fields) -> Node:
    """The node from its decoded JSON object; IntegrityError naming it and the field that makes no sense."""
    try:
        return _decode(read.as_object(fields, "a node"))
    except IntegrityError as error:
        name = fields.get("name") if isinstance(fields, dict) else None
        raise IntegrityError(f"node {str(name)[:80]!r}: {error}") from error


def raw_name(fields: read.Fields) -> bytes:
    """The name alone of a node that is still its JSON object; IntegrityError if it makes no sense."""
    name = fields.get("name")
    return unquote_name(name if type(name) is str else read.string(fields, "name"))


def subtree_of(fields: read.Fields) -> BlobId | None:
    """The tree alone of a folder's node that is still its JSON object."""
    value = fields.get("subtree")
    return None if value is None else BlobId(read.id_from_hex(value))


def link_target_of(fields: read.Fields) -> bytes:
    """The target alone of a symlink's node that is still its JSON object."""
    raw_target = read.base64(fields, "linktarget_raw")
    return read.string(fields, "linktarget").encode() if raw_target is None else raw_target


def extended_attributes_of(fields: read.Fields) -> list[tuple[bytes, bytes]]:
    """Names and values of the extended attributes alone of a node that is still its JSON object."""
    return [_decode_attribute(value) for value in read.array(fields, "extended_attributes") or ()]


def _decode(fields: read.Fields) -> Node:
    mtime = read.time(fields, "mtime")
    node = Node(
        unquote_name(read.string(fields, "name")),
        _TYPES.get(read.string(fields, "type"), NodeType.INVALID),
        read.uint(fields, "mode", read.UINT32),
        mtime,
        # Without --with-atime the two are one: half the work for most nodes.
        mtime if fields.get("atime") == fields.get("mtime") else read.time(fields, "atime"),
        read.time(fields, "ctime"),
        read.uint(fields, "uid", read.UINT32),
        read.uint(fields, "gid", read.UINT32),
        read.string(fields, "user"),
        read.string(fields, "group"),
        read.uint(fields, "inode"),
        read.uint(fields, "device_id"),
        read.uint(fields, "size"),
        read.uint(fields, "links"),
    )
    content = fields.get("content")
    if content is not None:
        node.content = [BlobId(read.id_from_hex(value)) for value in read.array(fields, "content") or ()]
    if not _COMMON.issuperset(fields):
        _decode_rare(fields, node)
    return node


def _decode_rare(fields: read.Fields, node: Node) -> None:
    """What plain files do not have."""
    node.link_target = link_target_of(fields)
    if "extended_attributes" in fields:
        node.extended_attributes = extended_attributes_of(fields)
    if fields.get("generic_attributes") is not None:
        node.generic_attributes = read.as_object(fields["generic_attributes"], "generic_attributes")
    node.device = read.uint(fields, "device")
    node.subtree = subtree_of(fields)
    node.error = read.string(fields, "error")
    node.extra = {key: value for key, value in fields.items() if key not in _KNOWN}


def _decode_attribute(value: object) -> tuple[bytes, bytes]:
    fields = read.as_object(value, "an extended attribute")
    return read.string(fields, "name").encode(), read.base64(fields, "value") or b""
