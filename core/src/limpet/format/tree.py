"""A tree: the nodes of one folder, as the JSON document whose hash is the tree's id.

Source: FORMAT.md; `{"nodes":[...]}` and a newline, nodes strictly ascending by raw name. As in restic, reading
does not insist on the order and writing does. A damaged tree is an IntegrityError.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import orjson

from limpet.errors import IntegrityError
from limpet.format import Buffer
from limpet.format import fields as read
from limpet.format.gojson import json_value, unquote_name
from limpet.format.node import Node, decode_node, encode_node

_OPENING = b'{"nodes":['
_CLOSING = b"]}\n"
_BATCH_SIZE = 1 << 20
# Where one node ends and the next begins. Extended attributes begin the same way, but go on with their value.
_ESCAPED = re.compile(rb"[<>&]|\xe2\x80[\xa8\xa9]")
_BORDER = re.compile(rb'\}(?=,\{"name":"(?:[^"\\]++|\\.)*+","type":")', re.DOTALL)


def encode_tree(node_jsons: Iterable[bytes]) -> bytes:
    """The tree of nodes that are already JSON, given in ascending order of their raw names."""
    return b"".join((_OPENING, b",".join(node_jsons), _CLOSING))


def encode_nodes(nodes: Iterable[Node]) -> bytes:
    """The tree of these nodes; IntegrityError unless their raw names are strictly ascending and not empty."""
    parts: list[bytes] = []
    last = b""
    for node in nodes:
        if node.name <= last:
            raise IntegrityError(f"nodes are not in order or appear twice: {node.name!r} after {last!r}")
        last = node.name
        parts.append(encode_node(node))
    return encode_tree(parts)


def encode_tree_fields(nodes: Iterable[read.Fields]) -> bytes:
    """The tree of nodes that are JSON objects, each as it is; IntegrityError as `encode_nodes`."""
    parts: list[bytes] = []
    last = b""
    for fields in nodes:
        name = unquote_name(read.string(fields, "name"))
        if name <= last:
            raise IntegrityError(f"nodes are not in order or appear twice: {name!r} after {last!r}")
        last = name
        parts.append(json_value(fields))
    return encode_tree(parts)


def decode_tree(data: Buffer) -> list[Node]:
    """All nodes of a tree, in the order in which they are stored."""
    return list(iter_tree(data))


def iter_tree(data: Buffer) -> Iterator[Node]:
    """The nodes of a tree one by one; a huge tree is taken apart in batches of about a MiB of JSON.

    IntegrityError where the damage is met, after the nodes before it.
    """
    return map(decode_node, iter_tree_fields(data))


def iter_tree_fields(data: Buffer, batch_size_bytes: int = _BATCH_SIZE) -> Iterator[read.Fields]:
    """The nodes one by one as their JSON objects, with nothing in them checked but that they are objects."""
    for _, batch in iter_tree_parts(data, batch_size_bytes):
        for fields in batch:
            yield read.as_object(fields, "a node")


def decode_tree_fields(data: Buffer) -> list[read.Fields]:
    """The nodes as their JSON objects with nothing in them checked but that they are objects."""
    nodes: list[read.Fields] = []
    for _, batch in iter_tree_parts(data):
        for node in batch:
            if type(node) is not dict:
                raise IntegrityError("a node is not a JSON object")
        nodes += batch
    return nodes


def reencodes(data: Buffer) -> bool:
    """Whether reading and writing the tree again gives the same bytes.

    Only such a tree may be rewritten: in any other something would be lost without a word. Damaged: False.
    """
    view = memoryview(data)
    position = len(_OPENING)
    if view[:position] != _OPENING:
        return False
    separator = last = b""
    try:
        for node in iter_tree(view):
            expected = separator + encode_node(node)
            end = position + len(expected)
            if node.name <= last or view[position:end] != expected:
                return False
            position, separator, last = end, b",", node.name
    except IntegrityError:
        return False
    return view[position:] == _CLOSING


def reencodes_fields(data: Buffer, nodes: Sequence[read.Fields]) -> bool:
    """Whether the tree's JSON objects, just decoded, surely give the same bytes again; a quick answer, often True.

    False says nothing: names that JSON escapes are beyond it.
    """
    return b"".join((_OPENING[:-1], orjson.dumps(nodes), _CLOSING[1:])) == data and not _ESCAPED.search(data)


def iter_tree_parts(data: Buffer, part_size_bytes: int = _BATCH_SIZE) -> Iterator[tuple[bytes, list[read.Fields]]]:
    """The tree in parts of about this size: each as a tree of its own, with its nodes' JSON objects.

    IntegrityError where the damage is met, after the parts before it.
    """
    view = memoryview(data)
    position = len(_OPENING)
    part_size = part_size_bytes
    if view.nbytes > 2 * part_size_bytes and view[:position] == _OPENING:
        while border := _BORDER.search(view, position + part_size):
            part = b"".join((_OPENING, view[position : border.end()], _CLOSING))
            try:
                nodes = _nodes(part)
            except IntegrityError:
                part_size *= 2  # the border lay inside something unknown, or the tree is damaged: larger ends it
                continue
            yield part, nodes
            position, part_size = border.end() + 1, part_size_bytes
        view = memoryview(_OPENING + bytes(view[position:]))
    yield bytes(view), _nodes(view)


def _nodes(data: Buffer) -> list[read.Fields]:
    nodes = read.array(read.decode_object(data, "a tree"), "nodes")
    if nodes is None:
        raise IntegrityError("a tree has no list of nodes")
    return nodes
